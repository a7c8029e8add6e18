"""Decoders without checkerboards (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts").

A transposed 4x4 convolution of stride 2 gives each of the four pixels that it makes of one a
kernel of its own, so that even a flat input can come out as a grid. Three forms of its kernel
cannot do so, and keeping the weights in one of them while they are trained gives the better
decoder: the bundle and its engines stay as they are.

``resize``: doubling by nearest neighbour followed by a 3x3 convolution, which together have the
kernel ``K3 * ones(2, 2)`` (and padding 1).

``smooth``: the same, but the innermost block doubles bilinearly, followed by a 1x1 convolution: a
multiple of the kernel ``outer([1, 3, 3, 1], [1, 3, 3, 1]) / 16``. What the bottleneck decides, for
32 pixels at once where there are 6 halvings, then comes out without steps. With nearest
neighbours, what the zeros around an image do to the deepest features, which differs from place to
place, is seen as a plaid in its flat areas.

``even``: the kernels of the four pixels have equal sums, and are free otherwise: 13 of 16 weights
are, where ``resize`` leaves 9. So details of a single pixel can be drawn, which neighbours that
share a kernel cannot. The innermost block is that of ``smooth``.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from pix2pix_batch.generators.unet_network import UNet


def _onto(basis: Tensor) -> Tensor:
    """``float64 (16, 16)``: a 4x4 kernel's nearest among those that ``basis``'s columns span."""
    return basis @ torch.linalg.pinv(basis)


def _even() -> Tensor:
    phases = torch.zeros(4, 4, 2, 2, dtype=torch.float64)
    for i in range(2):
        for j in range(2):
            phases[i::2, j::2, i, j] = 1
    sums = phases.reshape(16, 4)
    return torch.eye(16, dtype=torch.float64) - _onto(sums - sums.mean(dim=1, keepdim=True))


def _nearest() -> Tensor:
    spread = torch.zeros(4, 4, 3, 3, dtype=torch.float64)
    for i in range(3):
        for j in range(3):
            spread[i : i + 2, j : j + 2, i, j] = 1
    return _onto(spread.reshape(16, 9))


def _bilinear() -> Tensor:
    weights = torch.tensor([1, 3, 3, 1], dtype=torch.float64) / 4
    return _onto(torch.outer(weights, weights).reshape(16, 1))


NEAREST, BILINEAR, EVEN = _nearest(), _bilinear(), _even()


@cache
def _form_as(form: str, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The form on a device in a type; it stays there, since each step would wait for a copy."""
    return {"nearest": NEAREST, "bilinear": BILINEAR, "even": EVEN}[form].to(device, dtype)


@torch.no_grad()
def keep_form(generator: UNet, upsample: str) -> None:
    """Bring the kernels of the decoder's blocks that are trained back to those of ``upsample``:
    ``transposed`` (any), ``resize``, ``smooth`` or ``even``."""
    if upsample == "transposed":
        return
    for block in generator.up:
        weight = block.conv.weight
        if not weight.requires_grad:
            continue
        form = "even" if upsample == "even" else "nearest"
        if upsample != "resize" and block is generator.up[-1]:
            form = "bilinear"
        matrix = _form_as(form, weight.device, weight.dtype)
        weight.copy_((weight.reshape(-1, 16) @ matrix).view_as(weight))
