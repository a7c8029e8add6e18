"""Weights without training. Needs no more than PyTorch and the package."""

from __future__ import annotations

import torch

from pix2pix_batch.generators.unet_network import UNet


def fill_with_contrast(net: UNet) -> None:
    """Random weights with which images use most of the range and seldom saturate."""
    random = torch.Generator().manual_seed(0)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=random)
        elif value.ndim == 4:  # 4 of the 16 taps of a transposed convolution meet a pixel
            taps = 4 * value.shape[0] if name.startswith("up") else 16 * value.shape[1]
            strength = 0.6 if name.startswith("up.0") else 1.4
            value.normal_(0.0, strength / taps**0.5, generator=random)
        elif value.ndim == 1:
            value.normal_(float(name.endswith("norm.weight")), 0.1, generator=random)
