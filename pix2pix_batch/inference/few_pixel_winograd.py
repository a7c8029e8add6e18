"""Winograd's convolution for the U-Net's 4x4 kernels of stride 2 where there are few pixels.

As in :mod:`pix2pix_batch.inference.winograd` a convolution is a 2x2 convolution of the image's four
phases, and a transposed one is four such. F(2x2, 2x2) (points 0, 1 and infinity) makes 2x2 of their
outputs from 9 products instead of 16, with sums and differences alone:

====================  ============================  ===================================
input (each axis)     kernel (each axis)            output (each axis)
====================  ============================  ===================================
v0 = d0 - d1          u0 = g0                       y0 = m0 + m1
v1 = d1               u1 = g0 + g1                  y1 = m1 + m2
v2 = d2 - d1          u2 = g1
====================  ============================  ===================================

F(3x3, 2x2) makes more of a product, but its tiles of 8 or 16 places reach beyond the image, so that
both take as many, and its kernel is 16/9 as large. Each phase of a transposed convolution's output
has tiles of its own, for which the input is transformed four times. A block is whole images; of it,
the points along the height (of each phase of the output) are done one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from pix2pix_batch.inference.strided_layer import StridedLayer
from pix2pix_batch.inference.winograd import Operation, multiplies_alike, transform_taps
from pix2pix_batch.inference.winograd_tiling import FEW_OUTPUTS, FEW_POINTS, tile_few

OUTPUTS_A_TIME = 64
"""Output channels whose weights are transformed at a time, so that what is between takes little
memory."""


class Line(NamedTuple):
    """What is done at one of the points along the height, of one phase of the output.

    ``into``: the input's transform; ``middle``: what is taken as it is, and where to; ``v``, ``m``:
    the products' factor and result; ``biased``: the part of it that reaches each output once, or
    ``None`` at the other points; ``width_out``: the output's transform along the width.
    """

    into: list[Operation]
    middle: tuple[Tensor, Tensor]
    v: Tensor
    m: Tensor
    biased: Tensor | None
    width_out: list[Operation]


class Block(NamedTuple):
    """All that is done with a number of images, on views of the workspace."""

    inside: Tensor
    border: list[Tensor]
    lines: list[Line]
    height_out: list[Operation]
    made: list[tuple[int, Tensor]]


def transform_kernel(weight: Tensor, transposed: bool) -> Tensor:
    """Transform the weight of a 4x4 convolution of stride 2.

    Args:
        weight: The weight, as PyTorch's module has it.
        transposed: Whether it is a transposed convolution's.

    Returns:
        The kernel, ``float32``: the output's phase (one, or two of a transposed convolution) and
        the point along the height; the same along the width, the point first; inputs; outputs.
        Inputs of a convolution are (row's phase, column's phase, channel).
    """
    first, second = weight.shape[:2]
    inputs, outputs = (first, second) if transposed else (4 * second, first)
    phases = 2 if transposed else 1
    kernel = torch.empty(phases, FEW_POINTS, FEW_POINTS, phases, inputs, outputs)
    parts = weight.split(OUTPUTS_A_TIME, 1 if transposed else 0)
    for part, into in zip(parts, kernel.split(OUTPUTS_A_TIME, -1), strict=True):
        points = product(range(FEW_POINTS), repeat=2)
        for (i, j), made in zip(points, transform_taps(part, transposed, _points), strict=True):
            by_phase = made.view(inputs, phases, phases, -1).permute(1, 2, 0, 3)
            # Of a transposed convolution's phases, the odd rows and columns come first there.
            into[:, i, j].copy_(by_phase.flip(0, 1))
    return kernel.flatten(2, 3).flatten(0, 1)


def _points(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """What a kernel's two taps along an axis are at the three points."""
    yield first
    yield first.add(second)
    yield second


# Everything that a call needs is worked out once, before it.
class FewPixelWinograd:
    """A :class:`StridedLayer` with an even number of outputs (of each phase) along each axis;
    float32, channels last."""

    def __init__(self, layer: StridedLayer) -> None:
        self.activate, self.workspace, self.bias = layer.activate, layer.workspace, layer.bias
        self.kernel = transform_kernel(layer.weight, layer.transposed)
        self.inputs, self.outputs = layer.channels
        tiling = tile_few(layer.shape, layer.transposed)
        # Else each product has one image only: slower, but its bits depend on no neighbour.
        if not multiplies_alike(self.kernel[0], tiling.rows * tiling.columns, tiling.images):
            tiling = tiling._replace(images=1)
        self.phases_in, self.phases_out = tiling.phases
        _, self.rows, self.columns, self.images = tiling
        self.shapes = tiling.buffers(self.inputs, self.outputs)
        for name, shape in self.shapes.items():
            self.workspace.reserve(name, math.prod(shape))
        self.blocks: dict[int, Block] = {}

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """``x (n, inputs, H, W)``; the result is written into ``out`` and returned."""
        for first in range(0, len(x), self.images):
            source, target = (
                one[first : first + self.images].permute(0, 2, 3, 1) for one in (x, out)
            )
            block = self._block(len(source))
            self.pad(source, block)
            for number, line in enumerate(block.lines):
                self.transform_input(line)
                self.multiply(number, line)
                self.transform_width(line)
            self.transform_height(target, block)
        return out

    # What is done

    @staticmethod
    def pad(source: Tensor, block: Block) -> None:
        block.inside.copy_(source)
        for side in block.border:  # each time: the workspace is shared with other layers
            side.zero_()

    @staticmethod
    def transform_input(line: Line) -> None:
        for function, one, two, to in line.into:
            function(one, two, out=to)
        middle, to = line.middle
        to.copy_(middle)

    def multiply(self, number: int, line: Line) -> None:
        torch.bmm(line.v, self.kernel[number], out=line.m)
        if self.bias is not None and line.biased is not None:
            line.biased.add_(self.bias)

    @staticmethod
    def transform_width(line: Line) -> None:
        for function, one, two, to in line.width_out:
            function(one, two, out=to)

    def transform_height(self, target: Tensor, block: Block) -> None:
        """The outputs along the height, activated, to where they belong in ``target``."""
        for function, one, two, to in block.height_out:
            function(one, two, out=to)
        o = self.phases_out
        n, high, wide, deep = target.stride()
        strides = (o * wide, wide, n, FEW_OUTPUTS * o * high, FEW_OUTPUTS * o * wide, deep)
        for row, made in block.made:
            to = target.as_strided(made.shape, strides, target.storage_offset() + row * high)
            if self.activate is None:
                to.copy_(made)
            else:
                self.activate(made, out=to)

    # On which views

    def _block(self, n: int) -> Block:
        """All that is done with ``n`` images. The workspace must not grow any more."""
        if n not in self.blocks:
            view = {name: self.workspace.view(name, *shape) for name, shape in self.shapes.items()}
            padded, z, phases = view["padded"][:n], view["z"], range(self.phases_out)
            self.blocks[n] = Block(
                padded[:, 1:-1, 1:-1],
                [padded[:, 0], padded[:, -1], padded[:, :, 0], padded[:, :, -1]],
                [
                    self._line(padded, phase, point, view)
                    for phase, point in product(phases, range(FEW_POINTS))
                ],
                _outputs(z, [z[0], z[2]]),
                [
                    (self.phases_out * i + phase, z[2 * i, phase, :, :, :n])
                    for i, phase in product(range(FEW_OUTPUTS), phases)
                ],
            )
        return self.blocks[n]

    def _line(self, padded: Tensor, phase: int, point: int, view: dict[str, Tensor]) -> Line:
        n, step = len(padded), self.phases_in
        image, high, wide, deep = padded.stride()
        lines, v, m = view["lines"][:n], view["v"][:, :, :n], view["m"]
        rows = [
            padded.as_strided(
                lines.shape,
                (image, FEW_OUTPUTS * step * high, high, wide, deep),
                (phase + step * i) * high + padded.storage_offset(),
            )
            for i in range(FEW_POINTS)
        ]
        into: list[Operation] = []
        if point == 1:
            lines = rows[1]
        else:
            into.append((torch.sub, rows[point], rows[1], lines))
        image, high, row, wide, deep = lines.stride()
        first, middle, last = (
            lines.as_strided(
                v.shape[1:],
                (wide, image, high, FEW_OUTPUTS * step * wide, row, wide, deep),
                step * j * wide + lines.storage_offset(),
            )
            for j in range(FEW_POINTS)
        )
        into += [(torch.sub, first, middle, v[0]), (torch.sub, last, middle, v[2])]
        return Line(
            into,
            (middle, v[1]),
            view["v"].view(len(self.kernel[0]), -1, self.kernel.shape[-2]),
            m.view(len(self.kernel[0]), -1, self.outputs),
            m[1] if point == 1 else None,
            _outputs(m, list(view["z"][point, phase])),
        )


def _outputs(m: Tensor, y: list[Tensor]) -> list[Operation]:
    """The operations that make a tile's two outputs along an axis, ``y``, from its points."""
    return [(torch.add, m[0], m[1], y[0]), (torch.add, m[1], m[2], y[1])]
