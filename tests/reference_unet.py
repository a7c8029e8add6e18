"""The reference's U-Net, stated again from its description, to compare ours against.

Blocks within blocks, in the order and with the names that its checkpoints have. Nothing here
comes from or depends on :mod:`pix2pix_batch`.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)


class FixedDropout(nn.Module):
    """Stands where the reference has dropout; multiplies by ``mask`` where one is set."""

    mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        return x if self.mask is None else x * self.mask


class Masked(nn.Module):
    """A network whose dropout masks can be set; its layers are under the name ``model``."""

    model: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def set_masks(self, masks: list[Tensor]) -> None:
        """Put dropout masks in place, in the order of the modules."""
        spots = [module for module in self.modules() if isinstance(module, FixedDropout)]
        for spot, mask in zip(spots, masks, strict=True):
            spot.mask = mask


class SkipBlock(nn.Module):
    """One level: halve, go through ``inner``, double, and put the input beside the result."""

    def __init__(
        self,
        outer: int,
        filters: int,
        inner: SkipBlock | None,
        *,
        norm: str,
        dropout: bool = False,
        images: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.outermost = images is not None
        source, target = images or (outer, outer)
        bias = norm in ("instance", "affine")
        down = nn.Conv2d(source, filters, 4, stride=2, padding=1, bias=bias)
        up = nn.ConvTranspose2d(
            filters * (1 if inner is None else 2),
            target,
            4,
            stride=2,
            padding=1,
            bias=bias or self.outermost,
        )
        layers: list[nn.Module]
        if self.outermost:
            assert inner is not None
            layers = [down, inner, nn.ReLU(inplace=True), up, nn.Tanh()]
        elif inner is None:
            layers = [nn.LeakyReLU(0.2, inplace=True), down, nn.ReLU(inplace=True), up]
            layers += [make_norm(norm, outer)]
        else:
            layers = [nn.LeakyReLU(0.2, inplace=True), down, make_norm(norm, filters), inner]
            layers += [nn.ReLU(inplace=True), up, make_norm(norm, outer)]
            layers += [FixedDropout()] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


def make_norm(norm: str, channels: int) -> nn.Module:
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm in ("instance", "affine"):
        return nn.InstanceNorm2d(channels, affine=norm == "affine")
    return nn.Identity()


class ReferenceUNet(Masked):
    """``norm``: batch, instance, affine (instance norm with scale and shift) or none.

    Keys begin with ``model.model.``.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        downs: int = 8,
        ngf: int = 64,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        block = SkipBlock(8 * ngf, 8 * ngf, None, norm=norm)
        for _ in range(downs - 5):
            block = SkipBlock(8 * ngf, 8 * ngf, block, norm=norm, dropout=True)
        for wide in (4, 2, 1):
            block = SkipBlock(wide * ngf, 2 * wide * ngf, block, norm=norm)
        self.model = SkipBlock(0, ngf, block, norm=norm, images=(in_channels, out_channels))


def lively(net: Net, seed: int = 0) -> Net:
    """``net`` with weights, scales, shifts and statistics that all leave traces in the output."""
    random = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=random)
        elif value.ndim == 4:
            fan = value[0].numel() ** 0.5
            value.normal_(0.0, 1.5 / fan, generator=random)
        else:
            value.normal_(float(name.endswith(".weight")), 0.3, generator=random)
    return net
