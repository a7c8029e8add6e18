"""A plain convolution to a few channels, as matrix products.

In a direct one, most of what a vector register holds stays empty; the planes that these products
make fill it. Each product's size depends on the image's size alone, so that an image's bits do not
depend on others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pix2pix_batch.inference.convolution_rule import block_rows, thin_plain_buffers
from pix2pix_batch.inference.workspace import Workspace


class ThinPlainConvolution:
    """A convolution of stride 1 to few channels, of an input that is already padded.

    For each row of the kernel one product makes all of its columns' outputs; these are added up
    plane by plane. float32.
    """

    @staticmethod
    def order_kernel(weight: Tensor) -> Tensor:
        """``(k, k, outputs, inputs)`` of a weight ``(outputs, inputs, k, k)``."""
        return weight.permute(2, 3, 0, 1).contiguous()

    def __init__(self, kernel: Tensor, size: tuple[int, int], workspace: Workspace) -> None:
        """Reserve the buffers.

        Args:
            kernel: The kernel, as :meth:`order_kernel` returns it.
            size: Height and width of the output.
            workspace: Buffers that the convolutions use in turn.
        """
        self.side, _, self.outputs, self.inputs = kernel.shape
        self.kernels = kernel.flatten(1, 2)
        self.size, self.workspace = size, workspace
        self.padded_width = size[1] + self.side - 1
        self.rows = block_rows(size[0], self.padded_width)
        self.shapes = thin_plain_buffers(self.outputs, self.side, self.rows, size[1])
        for name, shape in self.shapes.items():
            workspace.reserve(name, torch.Size(shape).numel())

    def __call__(self, padded: Tensor, out: Tensor) -> Tensor:
        """``padded``: ``(height, width, inputs)``, contiguous. The result is written into ``out``,
        ``(height, width, outputs)``, and returned."""
        pixels = padded.view(-1, self.inputs)
        planes, sums = (self.workspace.view(name, *shape) for name, shape in self.shapes.items())
        flat = planes.view(self.side * self.outputs, -1)
        for first in range(0, self.size[0], self.rows):
            top = min(first, self.size[0] - self.rows)
            for k, kernel in enumerate(self.kernels):
                begin = (top + k) * self.padded_width
                seen = pixels[begin : begin + flat.shape[1]].T
                if k == 0:
                    torch.mm(kernel, seen, out=flat)
                else:
                    flat.addmm_(kernel, seen)
            width = self.size[1]
            torch.add(planes[0, :, :, :width], planes[1, :, :, 1 : 1 + width], out=sums)
            for k in range(2, self.side):
                sums.add_(planes[k, :, :, k : k + width])
            out[top : top + self.rows].copy_(sums.permute(1, 2, 0))
        return out
