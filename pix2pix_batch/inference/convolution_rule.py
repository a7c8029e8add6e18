"""Which convolutions of the generator are matrix products, and the memory that these take.

Needs no torch: how many workers fit is reckoned before it is imported
(:mod:`pix2pix_batch.execution.capacity`). The products are in
:mod:`pix2pix_batch.inference.winograd`, :mod:`pix2pix_batch.inference.few_pixel_winograd`,
:mod:`pix2pix_batch.inference.thin_convolution` and
:mod:`pix2pix_batch.inference.patch_convolution`.
"""

from __future__ import annotations

import math
import platform
from typing import Literal

from pix2pix_batch.inference.winograd_tiling import FEW_OUTPUTS, OUTPUTS

ENOUGH_CHANNELS = {"AVX2": 40, "AVX512": 50}
"""Inputs times outputs over their sum, the products' work over the transforms', from which on
Winograd's way was measured ahead (``benchmarks/convolutions.py``), on a busy machine and near the
lower bound not in every run; by what PyTorch calls the instruction set. Wider registers shorten the
products more than the transforms."""
ENOUGH_OUTPUTS = 16
"""Along each axis, of each phase. Fewer are too few tiles for a matrix product of full speed."""
FEW_ENOUGH_CHANNELS = {"AVX2": 50, "AVX512": 75}
"""As :data:`ENOUGH_CHANNELS`, of tiles of 2x2 outputs, which take more transforms: each phase of a
transposed convolution's output has its own."""
FEW_ENOUGH_OUTPUTS = 8
"""As :data:`ENOUGH_OUTPUTS`, of those. Of 4x4, four images are 16 tiles: the products took no less
time than direct ones with AVX2, and their kernels more than twice the memory."""
LARGEST_KERNEL = 1 << 26
"""Bytes. The innermost layers' would be larger, and gain the least."""
LARGEST_OF_SIXTEEN = 1 << 24
"""Bytes, where there are 16 outputs along an axis, which take as many products in tiles of 3x3 as
of 2x2, whose kernels are little more than half as large. From this size on those were as fast or
faster (``benchmarks/convolutions.py``)."""
FEW_LARGEST_KERNEL = 9 << 23
"""Bytes. The paper's generator's largest takes as many, at 8x8 pixels."""
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

Way = Literal["direct", "winograd", "few-pixel winograd", "thin", "patches"]


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


def list_tiles(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> dict[int, int]:
    """List the tiles with which a layer takes less time by Winograd's way than by oneDNN's direct
    convolution.

    Args:
        inputs: The layer's input channels.
        outputs: Its output channels.
        size: Height and width of its input.
        transposed: Whether it is a transposed convolution.
        instruction_set: The CPU's, as PyTorch calls it.

    Returns:
        By the tile's outputs along an axis, the one to be preferred first: the most bytes that its
        kernel may take.
    """
    work = inputs * outputs / (inputs + outputs)
    made = [n if transposed else n // 2 for n in size]
    found = {}
    if work >= ENOUGH_CHANNELS.get(instruction_set, math.inf) and min(made) >= ENOUGH_OUTPUTS:
        found[OUTPUTS] = LARGEST_KERNEL if min(made) > ENOUGH_OUTPUTS else LARGEST_OF_SIXTEEN
    if (
        work >= FEW_ENOUGH_CHANNELS.get(instruction_set, math.inf)
        and min(made) >= FEW_ENOUGH_OUTPUTS
        and all(n % FEW_OUTPUTS == 0 for n in made)
    ):
        found[FEW_OUTPUTS] = FEW_LARGEST_KERNEL
    return found


def choose_tile(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> int | None:
    """Choose the tile of a layer that takes less time by Winograd's way, and whose kernel does not
    take too much memory.

    The arguments are those of :func:`list_tiles`.

    Returns:
        The tile's outputs along an axis; ``None`` to run the layer otherwise.
    """
    for tile, most in list_tiles(inputs, outputs, size, transposed, instruction_set).items():
        if 4 * transformed_weights(inputs, outputs, tile) <= most:
            return tile
    return None


def transformed_weights(inputs: int, outputs: int, tile: int) -> int:
    """Numbers of a Winograd convolution's kernel, in place of the 16 of each pair of channels: 64
    with tiles of 3x3 outputs, 36 of 2x2."""
    return (tile + 1) ** 2 * 4 * inputs * outputs


def choose_way(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> Way:
    """Choose how a layer takes the least time.

    The arguments are those of :func:`list_tiles`.

    Returns:
        The way to run it.
    """
    if is_thin(outputs, transposed):
        return "thin"
    shape = inputs, outputs, size, transposed, instruction_set
    if tile := choose_tile(*shape):
        return "winograd" if tile == OUTPUTS else "few-pixel winograd"
    return "patches" if is_patches(*shape) else "direct"


def is_patches(
    inputs: int, outputs: int, size: tuple[int, int], transposed: bool, instruction_set: str
) -> bool:
    """Say whether a layer takes less time as a product with patches than by oneDNN's direct
    convolution.

    The arguments are those of :func:`list_tiles`.

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
