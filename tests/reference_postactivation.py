"""PyTorch-GAN's U-Net, stated again from its description, to compare ours with.

Each block is a sequence called ``model``; skips are taken after the activation; dropout stands in
both halves. Nothing here comes from or depends on :mod:`pix2pix_batch`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.reference_resnets import norms
from tests.reference_unet import FixedDropout


class Block(nn.Module):
    def __init__(self, *layers: nn.Module | None) -> None:
        super().__init__()
        self.model = nn.Sequential(*(layer for layer in layers if layer is not None))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PostActivation(nn.Module):
    """``down1`` ... ``up1`` ... ``final``."""

    def __init__(
        self, in_channels: int = 3, out_channels: int = 3, *, downs: int = 8, ngf: int = 4,
        norm: str = "instance",
    ) -> None:  # fmt: skip
        super().__init__()
        make, self.downs = norms[norm], downs
        widths = [ngf * min(8, 2**i) for i in range(downs)]
        for i, width in enumerate(widths):
            conv = nn.Conv2d(widths[i - 1] if i else in_channels, width, 4, 2, 1, bias=False)
            normed = make(width) if 0 < i < downs - 1 else None
            drop = FixedDropout() if i >= 3 else None
            self.add_module(f"down{i + 1}", Block(conv, normed, nn.LeakyReLU(0.2), drop))
        for k, width in enumerate(widths[-2::-1], 1):
            inputs = widths[-1] if k == 1 else 2 * widths[-k]
            conv = nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=False)
            drop = FixedDropout() if k <= downs - 4 else None
            self.add_module(f"up{k}", Block(conv, make(width), nn.ReLU(), drop))
        self.final = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.ZeroPad2d((1, 0, 1, 0)),
            nn.Conv2d(2 * ngf, out_channels, 4, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for i in range(1, self.downs + 1):
            x = self.get_submodule(f"down{i}")(x)
            skips.append(x)
        for k in range(1, self.downs):
            x = torch.cat((self.get_submodule(f"up{k}")(x), skips[-k - 1]), 1)
        return self.final(x)

    def set_masks(self, masks: list[Tensor]) -> None:
        """Put dropout masks in place, in running order."""
        spots = [module for module in self.modules() if isinstance(module, FixedDropout)]
        for spot, mask in zip(spots, masks, strict=True):
            spot.mask = mask
