"""Winograd's convolution for 3x3 kernels of stride 1, in plain PyTorch.

F(4x4, 3x3) (Lavin and Gray 2015, arXiv 1509.09308, section 4.3) makes 4x4 outputs from 6x6 inputs
with 36 products instead of 144. Transforming an image's tiles is a product with a matrix of 36x36
numbers, all tiles at once, and so is transforming back; the products over the channels are 36
matrix products. Every product has a size of its own, of one image, so that an image's bits do not
depend on others.

The points are 0, +-3/4, +-3/2 and infinity: with these, which float32 has exactly, 256 channels of
random numbers round to 0.7 times the error that the usual 0, +-1, +-2 leave.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.inference.convolution_rule import (
    SMALL_KERNEL,
    SMALL_OUTPUTS,
    SMALL_POINTS,
    SMALL_ROWS,
    small_tiles,
    small_workspace_shapes,
)
from pix2pix_batch.inference.workspace import Workspace

POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
"""The finite ones."""


def evaluation(degree: int) -> np.ndarray:
    """``(6, degree + 1)``: a polynomial's values at the points, from its coefficients."""
    rows = [[point**k for k in range(degree + 1)] for point in POINTS]
    return np.array([*rows, [0.0] * degree + [1.0]])


def interpolation() -> np.ndarray:
    """``(6, 6)``: of each point, the coefficients of the polynomial of degree 5 that is 1 there and
    0 at the others; a column is a coefficient."""
    rows = []
    for i, point in enumerate(POINTS):
        others = [other for k, other in enumerate(POINTS) if k != i]
        basis = np.poly(others)[::-1] / np.prod([point - other for other in others])
        rows.append([*basis, 0.0])
    return np.array([*rows, np.poly(POINTS)[::-1]])


INPUT = np.kron(interpolation(), interpolation())
KERNEL = np.kron(evaluation(SMALL_KERNEL - 1), evaluation(SMALL_KERNEL - 1))
OUTPUT = np.kron(evaluation(SMALL_OUTPUTS - 1).T, evaluation(SMALL_OUTPUTS - 1).T)
"""The transforms of a tile of inputs ``(36, 36)``, of a kernel ``(36, 9)``, of a tile of products
``(16, 36)``: the filter is the transpose of a product of polynomials (Winograd 1980, chapter V)."""


class Winograd3x3:
    """One 3x3 convolution of stride 1 of images of one size, one at a time. float32."""

    @staticmethod
    def transform_kernel(weight: Tensor) -> Tensor:
        """``(36, inputs, outputs)`` of a weight ``(outputs, inputs, 3, 3)``."""
        # In float64, as it is done once: what is rounded here is wrong in every image.
        taps = weight.double().flatten(2).permute(2, 1, 0).flatten(1)
        kernel = (torch.from_numpy(KERNEL) @ taps).view(-1, weight.shape[1], weight.shape[0])
        return kernel.float().contiguous()

    def __init__(self, kernel: Tensor, size: tuple[int, int], workspace: Workspace) -> None:
        """Reserve the buffers.

        Args:
            kernel: The kernel, as :meth:`transform_kernel` returns it.
            size: Height and width of the output.
            workspace: Buffers that the convolutions use in turn.
        """
        _, self.inputs, self.outputs = kernel.shape
        self.kernel, self.size, self.workspace = kernel, size, workspace
        self.tiles = small_tiles(size)
        self.into, self.back = torch.from_numpy(INPUT).float(), torch.from_numpy(OUTPUT).float()
        self.rows = min(self.tiles[0], max(1, SMALL_ROWS // self.tiles[1]))
        self.shapes = small_workspace_shapes(self.rows, self.tiles[1], self.inputs, self.outputs)
        for name, shape in self.shapes.items():
            workspace.reserve(name, int(np.prod(shape)))

    def __call__(self, padded: Tensor, out: Tensor) -> Tensor:
        """``padded``: ``(height, width, inputs)``, contiguous. The result is written into ``out``,
        ``(height, width, outputs)``, and returned."""
        for first in range(0, self.tiles[0], self.rows):
            # The last block begins early and makes some rows twice: a product of fewer rows may
            # round otherwise.
            self._transform(padded, min(first, self.tiles[0] - self.rows), out)
        return out

    def _transform(self, padded: Tensor, first: int, out: Tensor) -> None:
        """The rows of tiles from ``first`` on."""
        columns, side = self.tiles[1], SMALL_POINTS
        across, channels = padded.stride(0), self.inputs
        step = SMALL_OUTPUTS
        tiles = padded.as_strided(
            (side, side, self.rows, columns, channels),
            (across, channels, step * across, step * channels, 1),
            padded.storage_offset() + first * step * across,
        )
        inputs, factors, products, outputs = (
            self.workspace.view(name, *shape) for name, shape in self.shapes.items()
        )
        inputs.view(tiles.shape).copy_(tiles)
        torch.mm(self.into, inputs, out=factors)
        count = self.rows * columns
        torch.bmm(factors.view(-1, count, channels), self.kernel, out=products)
        torch.mm(self.back, products.view(side * side, -1), out=outputs)
        made = outputs.view(step, step, self.rows, columns, self.outputs).permute(2, 0, 3, 1, 4)
        self._place(made, first * step, out)

    def _place(self, made: Tensor, top: int, out: Tensor) -> None:
        """``made``: ``(rows, 4, columns, 4, outputs)``, of which the image may end within."""
        height, width = self.size
        if width % SMALL_OUTPUTS == 0 and top + SMALL_OUTPUTS * self.rows <= height:
            part = out[top : top + SMALL_OUTPUTS * self.rows]
            part.view(made.shape).copy_(made)
            return
        whole = made.reshape(self.rows * SMALL_OUTPUTS, -1, self.outputs)
        part = out[top : top + len(whole)]
        part.copy_(whole[: len(part), :width])
