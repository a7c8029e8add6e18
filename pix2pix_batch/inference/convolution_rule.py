"""Which convolutions of the generator are matrix products, and the memory that these take.

Needs no torch: how many workers fit is reckoned before it is imported
(:mod:`pix2pix_batch.execution.capacity`). The products are in
:mod:`pix2pix_batch.inference.winograd` and :mod:`pix2pix_batch.inference.thin_convolution`.
"""

from __future__ import annotations

import math
import platform
from typing import Literal, NamedTuple

OUTPUTS = 3
"""Outputs of a Winograd convolution's tile along each axis."""
POINTS = OUTPUTS + 1
ENOUGH_CHANNELS = {"AVX2": 40, "AVX512": 50}
"""Inputs times outputs over their sum, the products' work over the transforms', from which on
Winograd's way was measured ahead (``benchmarks/convolutions.py``), on a busy machine and near the
lower bound not in every run; by what PyTorch calls the instruction set. Wider registers shorten the
products more than the transforms."""
ENOUGH_OUTPUTS = 16
"""Along each axis, of each phase. Fewer are too few tiles for a matrix product of full speed."""
LARGEST_KERNEL = 2**26
"""Bytes. The innermost layers' would be larger, and gain the least."""


class Blocks(NamedTuple):
    """How a Winograd convolution's matrix products are laid out (``benchmarks/convolutions.py``).

    ``tiles``: of a block, at least, if an image has so many: enough for a matrix product of full
    speed, and few enough for the cache; ``group``: tiles of a block of several small images, at
    most; ``outputs_first``: whether the kernel's inputs lie side by side in memory, not its
    outputs.
    """

    tiles: int
    group: int
    outputs_first: bool


BLOCKS = {"AVX2": Blocks(176, 484, True), "AVX512": Blocks(88, 144, False)}
"""By what PyTorch calls the instruction set."""
FEW_CHANNELS = 8
"""Outputs of which a direct convolution leaves registers empty (AVX2 has 8 floats in one)."""


PATCH_CHANNELS = 256
"""Inputs and outputs, at least, of a product with patches: of fewer, what is moved to it and from
it takes longer than it spares."""
PATCH_PIXELS = {"AVX2": (16, 64)}
"""Of its smaller image, at most: of a convolution, and of a transposed one. Where there are more,
oneDNN's direct way keeps up, as it does with AVX-512 (``benchmarks/convolutions.py``)."""
PATCH_ROWS = 256
"""Of its matrix, a row for a pixel, at most where images have fewer: enough for a product of full
speed."""

Way = Literal["direct", "winograd", "thin", "patches"]


def is_independent_of_batch(precision: str) -> bool:
    """Whether an image's result on a CPU is the same, bit for bit, in a batch of any size.

    On x86 oneDNN's convolutions in float32 with one thread add up each pixel's products in an order
    that does not depend on the number of images, whichever instruction set they use
    (``tests/pix2pix_batch/test_any_batch.py`` holds each that a CPU has to it). In bfloat16 with
    AMX they do not: of random weights about one image of fifty had bits that changed with the
    number of images, though none with its place or its neighbours. Elsewhere nobody has looked.
    """
    return precision == "fp32" and platform.machine().lower() in ("x86_64", "amd64")


def is_thin(outputs: int, transposed: bool) -> bool:
    """Whether a layer is a thin convolution, on a CPU whose instruction set is known."""
    return transposed and outputs < FEW_CHANNELS


def is_faster(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> bool:
    """Say whether a layer takes less time by Winograd's way than by oneDNN's direct convolution,
    and its kernel, four times as large, not too much memory.

    Args:
        inputs: The layer's input channels.
        outputs: Its output channels.
        size: Height and width of its input.
        transposed: Whether it is a transposed convolution.
        instruction_set: The CPU's, as PyTorch calls it.

    Returns:
        Whether to run it by Winograd's way.
    """
    return (
        has_enough_work(inputs, outputs, size, transposed, instruction_set)
        and 4 * transformed_weights(inputs, outputs) <= LARGEST_KERNEL
    )


def has_enough_work(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> bool:
    """Say whether a layer takes less time by Winograd's way, whatever memory its kernel takes.

    The arguments are those of :func:`is_faster`.

    Returns:
        Whether Winograd's way takes less time.
    """
    enough = ENOUGH_CHANNELS.get(instruction_set, math.inf)
    return inputs * outputs / (inputs + outputs) >= enough and min(size) >= (
        ENOUGH_OUTPUTS if transposed else 2 * ENOUGH_OUTPUTS
    )


def transformed_weights(inputs: int, outputs: int) -> int:
    """Numbers of a Winograd convolution's kernel: 64 for the 16 of each pair of channels."""
    return POINTS**2 * 4 * inputs * outputs


def choose_way(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> Way:
    """Choose how a layer takes the least time.

    The arguments are those of :func:`is_faster`.

    Returns:
        The way to run it.
    """
    if is_thin(outputs, transposed):
        return "thin"
    shape = inputs, outputs, size, transposed, instruction_set
    if is_faster(*shape):
        return "winograd"
    return "patches" if is_patches(*shape) else "direct"


def is_patches(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> bool:
    """Say whether a layer takes less time as a product with patches than by oneDNN's direct
    convolution.

    The arguments are those of :func:`is_faster`.

    Returns:
        Whether the product takes less time.
    """
    most = PATCH_PIXELS.get(instruction_set, (0, 0))[transposed]
    pixels = math.prod(size) // (1 if transposed else 4)
    return min(inputs, outputs) >= PATCH_CHANNELS and 1 < pixels <= most


def images_a_product(batch: int, pixels: int) -> int:
    """How many images of so many pixels share a product with patches."""
    return max(1, min(batch, PATCH_ROWS // pixels))


def patch_buffers(
    images: int, size: tuple[int, int], inputs: int, outputs: int, *, transposed: bool
) -> dict[str, tuple[int, ...]]:
    """Work out the buffers of a product with patches.

    Args:
        images: How many images share the product.
        size: Height and width of the layer's input.
        inputs: Its input channels.
        outputs: Its output channels.
        transposed: Whether it is a transposed convolution.

    Returns:
        The shape of each buffer, by its name.
    """
    height, width = size
    if transposed:
        return {
            "rows": (images, height, 2, width, 4, outputs),
            "sums": (images, height, 2, width, 2, outputs),
        }
    return {
        "padded": (images, height + 2, width + 2, inputs),
        "patches": (images, height // 2, width // 2, 4, 4 * inputs),
    }


def thin_buffers(outputs: int, size: tuple[int, int]) -> dict[str, int]:
    """Numbers in each buffer of a thin convolution of an input of ``size``, one image at a time."""
    pixels = outputs * math.prod(size)
    return {"products": 16 * pixels, "rows": 8 * pixels, "phases": 4 * pixels}


def tiles(size: int, transposed: bool) -> int:
    """Tiles along an axis of ``size`` outputs (of each phase). A transposed convolution's first
    phase begins one place before the image."""
    return -(-(size + transposed) // OUTPUTS)


class Tiling(NamedTuple):
    """How a Winograd convolution's images are cut into blocks.

    ``rows``, ``columns``: tiles of an image; ``images``: of a block; ``block_rows``: rows of
    tiles of a block, at most.
    """

    transposed: bool
    rows: int
    columns: int
    images: int
    block_rows: int

    @property
    def phases(self) -> tuple[int, int]:
        """Along each axis, of the input and of the output."""
        return (1, 2) if self.transposed else (2, 1)

    def buffers(self, count: int, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """Work out the buffers of a block of tiles.

        Args:
            count: Rows of tiles in the block.
            inputs: The layer's input channels.
            outputs: Its output channels.

        Returns:
            The shape of each buffer, by its name.
        """
        (s, o), grid = self.phases, (self.images, count, self.columns)
        across = s * (OUTPUTS * self.columns + 1)
        line = (self.columns, OUTPUTS, o * outputs)
        return {
            "lines": (self.images, count, s, across, inputs),
            "v": (POINTS, *grid, s, s * inputs),
            "m": (POINTS, *grid, o, o * outputs),
            "sum": (*grid, o, o * outputs),
            "z": (POINTS, self.images, count, o, *line),
            "sums": (self.images, count, o, *line),
        }


def tile(shape: tuple[int, int, int], transposed: bool, blocks: Blocks) -> Tiling:
    """Cut a batch into blocks of tiles.

    Args:
        shape: Batch size, and height and width of the layer's input.
        transposed: Whether it is a transposed convolution.
        blocks: How large blocks are; with a ``group`` of 0 each image is alone.

    Returns:
        The tiling.
    """
    batch, *size = shape
    rows, columns = (tiles(n // (1 if transposed else 2), transposed) for n in size)
    images = max(1, min(batch, blocks.group // (rows * columns)))
    most = rows if images > 1 else min(rows, -(-blocks.tiles // columns))
    return Tiling(transposed, rows, columns, images, -(-rows // -(-rows // most)))


BLOCK_PIXELS = 4096
"""Pixels of a block of a product of these, at most, so that what it makes stays in the cache."""


def is_thin_plain(kernel: int, stride: int, outputs: int) -> bool:
    """Say whether a plain convolution is computed as matrix products, for its few outputs.

    Args:
        kernel: Side of its kernel.
        stride: Its stride.
        outputs: Its output channels.

    Returns:
        Whether it is.
    """
    return kernel > 1 and stride == 1 and outputs < FEW_CHANNELS


def block_rows(height: int, across: int) -> int:
    """Rows of a block of images that are so high, and so wide with their border."""
    return min(height, max(1, BLOCK_PIXELS // across))


def thin_plain_buffers(
    outputs: int, kernel: int, rows: int, width: int
) -> dict[str, tuple[int, ...]]:
    """Work out the buffers of a plain convolution that is matrix products.

    Args:
        outputs: Its output channels.
        kernel: Side of its kernel.
        rows: Rows of a block of the output.
        width: Width of the output.

    Returns:
        The shape of each buffer, by its name.
    """
    return {
        "planes": (kernel, outputs, rows, width + kernel - 1),
        "sums": (outputs, rows, width),
    }


SMALL_KERNEL, SMALL_OUTPUTS = 3, 4
"""Along each axis, of a Winograd convolution of stride 1, F(4x4, 3x3)."""
SMALL_POINTS = SMALL_KERNEL + SMALL_OUTPUTS - 1
SMALL_ENOUGH_CHANNELS = 32
"""As :data:`ENOUGH_CHANNELS`."""
SMALL_ENOUGH_OUTPUTS = 16
"""Along each axis."""
SMALL_ROWS = 64
"""Tiles of a block, at least where an image has so many (``benchmarks/resnet.py``)."""


def is_small_winograd(
    kernel: int, stride: int, inputs: int, outputs: int, size: tuple[int, int], *, transposed: bool
) -> bool:
    """Say whether a layer of a network with 3x3 kernels takes less time by Winograd's way than by
    oneDNN's direct convolution, and its kernel not too much memory.

    Args:
        kernel: Side of the layer's kernel.
        stride: Its stride.
        inputs: Its input channels.
        outputs: Its output channels.
        size: Height and width of its output.
        transposed: Whether it is a transposed convolution.

    Returns:
        Whether to run it by Winograd's way.
    """
    return (
        has_small_winograds_work(kernel, stride, inputs, outputs, size, transposed=transposed)
        and 4 * SMALL_POINTS**2 * inputs * outputs <= LARGEST_KERNEL
    )


def has_small_winograds_work(
    kernel: int, stride: int, inputs: int, outputs: int, size: tuple[int, int], *, transposed: bool
) -> bool:
    """Say whether a layer of a network with 3x3 kernels takes less time by Winograd's way, whatever
    memory its kernel takes.

    The arguments are those of :func:`is_small_winograd`.

    Returns:
        Whether Winograd's way takes less time.
    """
    return (
        (kernel, stride, transposed) == (SMALL_KERNEL, 1, False)
        and inputs * outputs / (inputs + outputs) >= SMALL_ENOUGH_CHANNELS
        and min(size) >= SMALL_ENOUGH_OUTPUTS
    )


def small_tiles(size: tuple[int, int]) -> tuple[int, int]:
    """Tiles along each axis of so many outputs."""
    return -(-size[0] // SMALL_OUTPUTS), -(-size[1] // SMALL_OUTPUTS)


def small_workspace_shapes(
    rows: int, columns: int, inputs: int, outputs: int
) -> dict[str, tuple[int, ...]]:
    """Work out the buffers of a Winograd convolution of stride 1.

    Args:
        rows: Rows of tiles in a block.
        columns: Tiles in a row.
        inputs: The layer's input channels.
        outputs: Its output channels.

    Returns:
        The shape of each buffer, by its name.
    """
    points, tiles = SMALL_POINTS**2, rows * columns
    return {
        "tiles": (points, tiles * inputs),
        "factors": (points, tiles * inputs),
        "products": (points, tiles, outputs),
        "outputs": (SMALL_OUTPUTS**2, tiles * outputs),
    }


def small_workspace(tiles: tuple[int, int], inputs: int, outputs: int) -> dict[str, int]:
    """Count the numbers in the buffers of a Winograd convolution of stride 1.

    Args:
        tiles: Rows and columns of tiles of an image.
        inputs: The layer's input channels.
        outputs: Its output channels.

    Returns:
        How many numbers each buffer holds, by its name.
    """
    rows = min(tiles[0], max(1, SMALL_ROWS // tiles[1]))
    shapes = small_workspace_shapes(rows, tiles[1], inputs, outputs)
    return {name: math.prod(shape) for name, shape in shapes.items()}
