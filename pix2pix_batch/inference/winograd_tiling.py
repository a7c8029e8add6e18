"""How Winograd convolutions of the U-Net are cut into tiles and blocks, and their buffers.

Needs no torch, as :mod:`pix2pix_batch.inference.convolution_rule` does not.
"""

from __future__ import annotations

from typing import NamedTuple

OUTPUTS = 3
"""Outputs of a Winograd convolution's tile along each axis."""
POINTS = OUTPUTS + 1
FEW_OUTPUTS = 2
"""The same where there are few pixels."""
FEW_POINTS = FEW_OUTPUTS + 1
FEW_TILES = 64
"""Of a block of few pixels, at most where an image has fewer: with more, what is between the
products and their transforms leaves the cache (``benchmarks/convolutions.py``)."""


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


BLOCKS = {"AVX2": Blocks(176, 144, True), "AVX512": Blocks(88, 144, False)}
"""By what PyTorch calls the instruction set."""


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
    most = min(rows, -(-blocks.tiles // columns))
    # An image that is cut shares no block, so that it is cut the same in a batch of any size.
    images = max(1, min(batch, blocks.group // (rows * columns))) if most == rows else 1
    return Tiling(transposed, rows, columns, images, -(-rows // -(-rows // most)))


class FewTiling(NamedTuple):
    """How the images of a convolution of few pixels are cut into blocks of whole images.

    ``rows``, ``columns``: tiles of an image, or of each phase of a transposed convolution's output,
    which has tiles of its own; ``images``: of a block.
    """

    transposed: bool
    rows: int
    columns: int
    images: int

    @property
    def phases(self) -> tuple[int, int]:
        """Along each axis, of the input and of the output."""
        return (1, 2) if self.transposed else (2, 1)

    def buffers(self, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
        """Work out the buffers of a block.

        Args:
            inputs: The layer's input channels.
            outputs: Its output channels.

        Returns:
            The shape of each buffer, by its name.
        """
        (s, o), grid = self.phases, (self.images, self.rows, self.columns)
        high, wide = (s * FEW_OUTPUTS * count + 2 for count in (self.rows, self.columns))
        return {
            "padded": (self.images, high, wide, inputs),
            "lines": (self.images, self.rows, s, wide, inputs),
            "v": (FEW_POINTS, o, *grid, s, s, inputs),
            "m": (FEW_POINTS, o, *grid, outputs),
            "z": (FEW_POINTS, o, FEW_OUTPUTS, o, *grid, outputs),
        }


def tile_few(shape: tuple[int, int, int], transposed: bool) -> FewTiling:
    """Cut a batch of images of few pixels into blocks.

    Args:
        shape: Batch size, and height and width of the layer's input.
        transposed: Whether it is a transposed convolution.

    Returns:
        The tiling.
    """
    batch, *size = shape
    rows, columns = (n // (1 if transposed else 2) // FEW_OUTPUTS for n in size)
    most = max(1, min(batch, FEW_TILES // (rows * columns)))
    return FewTiling(transposed, rows, columns, -(-batch // -(-batch // most)))
