"""The PatchGAN discriminator (Isola et al. 2017, sections 3.2.2 and 6.1.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pix2pix_batch.architecture import MAX_WIDTH
from pix2pix_batch.generator import INIT_STD, LEAKY_SLOPE


class PatchGAN(nn.Module):
    """Judges overlapping patches of ``(input, output)`` pairs; 70x70 pixels with 3 layers.

    ``(N, in_channels, H, W)`` in [-1, 1], input and output stacked along the channels, to
    ``(N, 1, h, w)`` logits, one a patch. ``ndf``: filters of the first layer.
    """

    def __init__(self, in_channels: int, ndf: int = 64, layers: int = 3) -> None:
        super().__init__()
        modules: list[nn.Module] = [nn.Conv2d(in_channels, ndf, 4, 2, 1), nn.LeakyReLU(LEAKY_SLOPE)]
        width = ndf
        for i in range(1, layers + 1):
            wider = ndf * min(1 << i, MAX_WIDTH)
            stride = 2 if i < layers else 1
            modules += [
                nn.Conv2d(width, wider, 4, stride, 1, bias=False),
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(LEAKY_SLOPE),
            ]
            width = wider
        modules.append(nn.Conv2d(width, 1, 4, 1, 1))
        self.layers = nn.Sequential(*modules)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0.0, INIT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, INIT_STD)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.layers(torch.cat((source, target), dim=1))
