"""Decoders without checkerboards (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").

A transposed 4x4 convolution of stride 2 gives each of the four pixels that it makes of one a
kernel of its own, so that even a flat input can come out as a grid. Doubling by nearest
neighbour followed by a 3x3 convolution cannot. That is itself a transposed 4x4 convolution of
stride 2 and padding 1, with the kernel ``K3 * ones(2, 2)``: keeping the weights of that form
while they are trained gives the better decoder, and the bundle and its engines stay as they are.
"""

from __future__ import annotations

import torch

from pix2pix_batch.generator import UNet


def projection() -> torch.Tensor:
    """``float64 (16, 16)``: the nearest kernel of the form ``K3 * ones(2, 2)``, least squares."""
    spread = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            spread[i : i + 2, j : j + 2, i, j] = 1
    basis = spread.reshape(16, 9)
    return basis @ torch.linalg.pinv(basis)


PROJECTION = projection()


@torch.no_grad()
def keep_resizing(generator: UNet) -> None:
    """Bring the decoder's kernels back to those of doubling and a 3x3 convolution."""
    for block in generator.up:
        weight = block.conv.weight
        matrix = PROJECTION.to(weight.device, weight.dtype)
        weight.copy_((weight.reshape(-1, 16) @ matrix).view_as(weight))
