"""A transposed 4x4 convolution of stride 2 to a few channels, as one matrix product.

Direct convolutions compute as many outputs at a time as a vector register holds, 8 or 16, most of
which an image's 3 channels leave empty. Here the 16 taps of each output channel are the rows of a
matrix; its product with the pixels fills the registers, and what falls on the same place is added
up, plane by plane.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pix2pix_batch.inference.convolution_rule import thin_buffers
from pix2pix_batch.inference.strided_layer import StridedLayer

TAPS = ((1, 3, 1), (2, 0, -1))
"""Of an output's phase: the kernel's row that meets its own input row, the one that meets another,
and where that comes from: the input row before (1) or after (-1)."""
PIXELS = 4096
"""Pixels a product, at most, so that what it makes stays in the cache."""


class ThinConvolution:
    """A transposed :class:`StridedLayer` of few outputs; float32, channels last."""

    def __init__(self, layer: StridedLayer) -> None:
        _, height, width = layer.shape
        self.inputs, self.outputs = layer.channels
        self.kernel = layer.weight.permute(2, 3, 1, 0).reshape(-1, self.inputs).contiguous()
        self.bias = None if layer.bias is None else layer.bias.view(-1, 1, 1)
        self.size = height, width
        self.activate, self.workspace = layer.activate, layer.workspace
        for name, count in thin_buffers(self.outputs, self.size).items():
            layer.workspace.reserve(name, count)
        self.rows = max(1, PIXELS // width)

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """``x (n, inputs, H, W)``; the result is written into ``out`` and returned."""
        height, width = self.size
        planes = self.workspace.view("products", len(self.kernel), height * width)
        step = self.rows * width
        for image, target in zip(x, out, strict=True):
            pixels = image.permute(1, 2, 0).reshape(height * width, self.inputs)
            for begin in range(0, height * width, step):
                part = slice(begin, begin + step)
                torch.mm(self.kernel, pixels[part].T, out=planes[:, part])
            self._gather(planes, target)
        return out

    def _gather(self, planes: Tensor, target: Tensor) -> None:
        shape = (self.outputs, *self.size)
        taps = planes.view(4, 4, *shape)
        rows = self.workspace.view("rows", 2, 4, *shape)
        phases = self.workspace.view("phases", 2, 2, *shape)
        for phase, (own, other, shift) in enumerate(TAPS):
            add_shifted(taps[own], taps[other], shift, rows[phase], axis=-2)
        for phase, (own, other, shift) in enumerate(TAPS):
            add_shifted(rows[:, own], rows[:, other], shift, phases[:, phase], axis=-1)
        if self.bias is not None:
            phases.add_(self.bias)
        if self.activate is not None:
            self.activate(phases, out=phases)
        target.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).copy_(phases.permute(2, 3, 0, 4, 1))


def add_shifted(own: Tensor, other: Tensor, shift: int, out: Tensor, axis: int) -> None:
    """Compute ``out[k] = own[k] + other[k - shift]`` along an axis; nothing is added from outside.

    Args:
        own: The first term.
        other: The second term, of the same shape.
        shift: By how many places the second term is shifted, 1 or -1.
        out: Takes the sum.
        axis: The axis.
    """
    length = own.shape[axis] - 1
    begin, end = (1, 0) if shift > 0 else (0, 1)
    torch.add(
        own.narrow(axis, begin, length),
        other.narrow(axis, end, length),
        out=out.narrow(axis, begin, length),
    )
    edge = 0 if shift > 0 else length
    out.select(axis, edge).copy_(own.select(axis, edge))
