"""The generators with residual blocks, stated again from their descriptions, to compare ours with.

CycleGAN's (Zhu et al. 2017, appendix 7.2), CUT's (Park et al. 2020; blurs of Zhang 2019) and
pix2pixHD's (Wang et al. 2018, section 3.1 and appendix). The layers stand at the places, and have
the names, that their checkpoints have. Nothing here comes from or depends on :mod:`pix2pix_batch`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests import reference_unet
from tests.reference_unet import FixedDropout, Masked

Norm = Callable[[int], nn.Module]

norms: dict[str, Norm] = {
    "batch": nn.BatchNorm2d,
    "instance": nn.InstanceNorm2d,
    "affine": lambda channels: nn.InstanceNorm2d(channels, affine=True),
    "tracked": lambda channels: nn.InstanceNorm2d(channels, affine=False, track_running_stats=True),
    "none": lambda channels: nn.Identity(),
}


def padded(kind: str, amount: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(amount)] if kind == "reflect" else []


class Residual(nn.Module):
    """x + norm(conv(relu(norm(conv(x))))), both 3x3."""

    def __init__(
        self, width: int, norm: Norm, bias: bool, dropout: bool, padding: str, word: str
    ) -> None:
        super().__init__()
        zeros = int(padding != "reflect")
        layers: list[nn.Module] = [*padded(padding, 1)]
        layers += [nn.Conv2d(width, width, 3, padding=zeros, bias=bias), norm(width), nn.ReLU()]
        layers += [FixedDropout()] if dropout else []
        layers += padded(padding, 1)
        layers += [nn.Conv2d(width, width, 3, padding=zeros, bias=bias), norm(width)]
        self.word = word
        self.add_module(word, nn.Sequential(*layers))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.get_submodule(self.word)(x)


def outer(inputs: int, outputs: int, bias: bool = True) -> list[nn.Module]:
    return [nn.ReflectionPad2d(3), nn.Conv2d(inputs, outputs, 7, bias=bias)]


def halving(inputs: int, norm: Norm, bias: bool) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, 2 * inputs, 3, stride=2, padding=1, bias=bias)
    return [conv, norm(2 * inputs), nn.ReLU()]


def doubling(inputs: int, norm: Norm, bias: bool) -> list[nn.Module]:
    half = inputs // 2
    conv = nn.ConvTranspose2d(inputs, half, 3, stride=2, padding=1, output_padding=1, bias=bias)
    return [conv, norm(half), nn.ReLU()]


class Sequence(Masked):
    """Layers under the name ``model``."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)


class PlainResNet(Sequence):
    """CycleGAN's, with ``downs`` halvings; ``upsample``: ``nearest`` has plain convolutions after
    an enlargement, as PyTorch-GAN's. Biases where the norm is no batch norm, unless told."""

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        blocks: int = 3,
        ngf: int = 4,
        norm: str = "instance",
        downs: int = 2,
        dropout: bool = False,
        padding: str = "reflect",
        upsample: str = "transposed",
        word: str = "conv_block",
        bias: bool | None = None,
    ) -> None:
        make = norms[norm]
        if bias is None:
            bias = norm in ("instance", "affine", "tracked")
        layers = [*outer(in_channels, ngf, bias), make(ngf), nn.ReLU()]
        for level in range(downs):
            layers += halving(ngf << level, make, bias)
        width = ngf << downs
        layers += [Residual(width, make, bias, dropout, padding, word) for _ in range(blocks)]
        for level in reversed(range(downs)):
            wide = ngf << (level + 1)
            if upsample == "transposed":
                layers += doubling(wide, make, bias)
            else:
                conv = nn.Conv2d(wide, wide // 2, 3, padding=1, bias=bias)
                layers += [nn.Upsample(scale_factor=2), conv, make(wide // 2), nn.ReLU()]
        super().__init__([*layers, *outer(ngf, out_channels), nn.Tanh()])


class Fixed(nn.Module):
    """A kernel along both axes, one channel at a time, kept as ``filt``."""

    filt: Tensor

    def __init__(self, channels: int, line: list[float]) -> None:
        super().__init__()
        self.kernel = torch.tensor(np.outer(line, line), dtype=torch.float32)
        self.register_buffer("filt", self.kernel[None, None].repeat(channels, 1, 1, 1))
        self.channels = channels


class BlurAndHalve(Fixed):
    def __init__(self, channels: int) -> None:
        super().__init__(channels, [0.25, 0.5, 0.25])

    def forward(self, x: Tensor) -> Tensor:
        mirrored = F.pad(x, [1] * 4, mode="reflect")
        return F.conv2d(mirrored, self.filt, stride=2, groups=self.channels)


class Interpolate(Fixed):
    """Zeros between the pixels, then the kernel; the outermost pixels repeated outside."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, [0.25, 0.75, 0.75, 0.25])

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        around = F.pad(x, [1] * 4, mode="replicate")
        spread = torch.zeros(n, c, 2 * height + 4, 2 * width + 4, dtype=x.dtype)
        spread[:, :, ::2, ::2] = around
        y = F.conv2d(spread, self.filt.flip(2, 3), groups=self.channels)
        return y[:, :, : 2 * height, : 2 * width]


class Cut(Sequence):
    """CUT's: its convolutions have stride 1; blurs halve, interpolation doubles."""

    def __init__(
        self, in_channels: int = 3, out_channels: int = 3, *, blocks: int = 3, ngf: int = 4,
        norm: str = "instance",
    ) -> None:  # fmt: skip
        make, bias = norms[norm], norm == "instance"
        layers = [*outer(in_channels, ngf, bias), make(ngf), nn.ReLU()]
        for width in (ngf, 2 * ngf):
            layers += [nn.Conv2d(width, 2 * width, 3, padding=1, bias=bias), make(2 * width)]
            layers += [nn.ReLU(), BlurAndHalve(2 * width)]
        layers += [
            Residual(4 * ngf, make, bias, False, "reflect", "conv_block") for _ in range(blocks)
        ]
        for width in (4 * ngf, 2 * ngf):
            layers += [Interpolate(width), nn.Conv2d(width, width // 2, 3, padding=1, bias=bias)]
            layers += [make(width // 2), nn.ReLU()]
        super().__init__([*layers, *outer(ngf, out_channels), nn.Tanh()])


class GlobalHD(PlainResNet):
    """pix2pixHD's global generator: more halvings, biases with every norm."""

    def __init__(self, *channels: int, norm: str = "instance", **values: int) -> None:
        super().__init__(*channels, norm=norm, bias=True, **{"downs": 4, **values})


class LocalHD(nn.Module):
    """A global generator without its last convolution, on the halved image, and an enhancer."""

    def __init__(
        self, in_channels: int = 3, out_channels: int = 3, *, downs: int = 3, blocks: int = 2,
        local_blocks: int = 2, ngf: int = 4, norm: str = "instance",
    ) -> None:  # fmt: skip
        super().__init__()
        make, wide = norms[norm], 2 * ngf
        whole = GlobalHD(in_channels, out_channels, downs=downs, blocks=blocks, ngf=wide, norm=norm)
        self.model = whole.model[:-3]
        first = [*outer(in_channels, ngf), make(ngf), nn.ReLU(), *halving(ngf, make, True)]
        second: list[nn.Module] = [
            Residual(wide, make, True, False, "reflect", "conv_block") for _ in range(local_blocks)
        ]
        second += [*doubling(wide, make, True), *outer(ngf, out_channels), nn.Tanh()]
        self.model1_1, self.model1_2 = nn.Sequential(*first), nn.Sequential(*second)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.conv2d(
            torch.ones_like(x[:1, :1]), torch.ones_like(x[:1, :1, :3, :3]), None, 2, 1
        )
        sums = F.conv2d(x.flatten(0, 1)[:, None], torch.ones_like(x[:1, :1, :3, :3]), None, 2, 1)
        half = (sums / inside).view(*x.shape[:2], *inside.shape[2:])
        return self.model1_2(self.model1_1(x) + self.model(half))


def lively(net: nn.Module) -> nn.Module:
    """``net`` with weights and statistics that all leave traces in the output."""
    reference_unet.lively(net)
    for module in net.modules():
        if isinstance(module, Fixed):
            module.filt.copy_(module.kernel.expand_as(module.filt))
    return net
