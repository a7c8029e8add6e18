"""The 4x4 convolutions of stride 2 of few pixels, as a product with the image's patches.

A convolution is the product of each output's 4x4 inputs with the weights (im2col). A transposed one
is the product of each input with the weights, whose 4x4 results are added up where they overlap
(col2im). Layers of few pixels have many channels, so that patches and sums are little beside the
product, which is oneDNN's convolution with kernels of a single pixel.
"""

from __future__ import annotations

import math

from torch import Tensor

from pix2pix_batch.inference.convolution_rule import images_a_product, patch_buffers
from pix2pix_batch.inference.packed_convolution import PackedConvolution
from pix2pix_batch.inference.strided_layer import StridedLayer
from pix2pix_batch.inference.thin_convolution import TAPS, add_shifted

KERNEL, PADDING = 4, 1


class PatchConvolution:
    """A :class:`StridedLayer` as a product with patches; float32, channels last."""

    def __init__(self, layer: StridedLayer) -> None:
        batch, *size = layer.shape
        self.transposed, self.bias = layer.transposed, layer.bias
        self.activate, self.workspace = layer.activate, layer.workspace
        self.inputs, self.outputs = layer.channels
        if layer.transposed:  # (in, out, 4, 4)
            kernel = layer.weight.permute(2, 3, 1, 0).reshape(-1, self.inputs)
            grid = size
        else:  # (out, in, 4, 4)
            kernel = layer.weight.permute(0, 2, 3, 1).reshape(self.outputs, -1)
            grid = [n // 2 for n in size]
        self.images = images_a_product(batch, math.prod(grid))
        self.multiply = PackedConvolution(
            # A transposed one's bias comes after the taps are added up, else each output would get
            # it up to four times.
            kernel[..., None, None], None if layer.transposed else self.bias,
            [self.images, kernel.shape[1], *grid], padding=0, stride=1,
        )  # fmt: skip
        self.shapes = patch_buffers(
            self.images, (size[0], size[1]), *layer.channels, transposed=layer.transposed
        )
        for name, shape in self.shapes.items():
            layer.workspace.reserve(name, math.prod(shape))

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """``x (n, inputs, H, W)``; the result is written into ``out`` and returned."""
        for first in range(0, len(x), self.images):
            source, target = (one[first : first + self.images] for one in (x, out))
            if self.transposed:
                self._scatter(self.multiply(source), target.permute(0, 2, 3, 1))
            else:
                self._finish(self.multiply(self._gather(source)), target)
        return out

    def _finish(self, made: Tensor, target: Tensor) -> None:
        if self.activate is None:
            target.copy_(made)
        else:
            self.activate(made, out=target)

    def _gather(self, source: Tensor) -> Tensor:
        """The patches ``(n, 16 * inputs, H / 2, W / 2)``."""
        count = len(source)
        padded, patches = self._view_buffers(count)
        # Each time: the workspace is shared with other layers, which write over the border.
        padded.zero_()
        padded[:, PADDING:-PADDING, PADDING:-PADDING].copy_(source.permute(0, 2, 3, 1))
        image, line, pixel, one = padded.stride()
        patches.copy_(padded.as_strided(patches.shape, (image, 2 * line, 2 * pixel, line, one)))
        return patches.flatten(3).permute(0, 3, 1, 2)

    def _scatter(self, made: Tensor, target: Tensor) -> None:
        """The sums of what overlaps, with bias and activation, from ``(n, 16 * outputs, H, W)``."""
        rows, sums = self._view_buffers(len(made))
        taps = made.permute(0, 2, 3, 1).unflatten(3, (KERNEL, KERNEL, self.outputs))
        for phase, (own, other, shift) in enumerate(TAPS):
            add_shifted(taps[:, :, :, own], taps[:, :, :, other], shift, rows[:, :, phase], axis=1)
        if self.bias is not None:  # of each output's two taps along the width in one
            rows[..., 1:3, :].add_(self.bias)
        for phase, (own, other, shift) in enumerate(TAPS):
            part = sums[..., phase, :]
            add_shifted(rows[..., own, :], rows[..., other, :], shift, part, axis=-2)
        self._finish(sums.flatten(1, 2).flatten(2, 3), target)

    def _view_buffers(self, count: int) -> list[Tensor]:
        """Each buffer, for so many images."""
        return [self.workspace.view(name, *shape)[:count] for name, shape in self.shapes.items()]
