"""The pix2pix generator: a U-Net (Isola et al. 2017, arXiv 1611.07004, section 6.1.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch.generators.description import Norm
from pix2pix_batch.generators.generator import Generator, Masks
from pix2pix_batch.generators.unet import Architecture

LEAKY_SLOPE = 0.2  # section 6.1.1: "all ReLUs in the encoder are leaky, with slope 0.2"
NORM_EPS = 1e-5  # the reference implementation leaves PyTorch's default


class BatchNorm(nn.BatchNorm2d):
    """Batch norm; with ``per_image`` each image has statistics of its own, in training too.

    That is what the paper's batch of one image does, at any batch size. The running statistics
    are kept all the same.
    """

    def __init__(self, channels: int, *, per_image: bool) -> None:
        super().__init__(channels, eps=NORM_EPS)
        self.per_image = per_image

    def forward(self, x: Tensor) -> Tensor:
        normalised = self._normalise(x)
        if self.training and normalised.requires_grad and x.device.type == "cpu":
            layout = torch.contiguous_format
            if x.is_contiguous(memory_format=torch.channels_last):
                layout = torch.channels_last
            # what joining gives back are parts of wider images, for which PyTorch's batch norm has
            # no fast way back on the CPU
            normalised.register_hook(lambda gradient: gradient.contiguous(memory_format=layout))
        return normalised

    def _normalise(self, x: Tensor) -> Tensor:
        if not self.per_image or (self.training and len(x) == 1):
            return super().forward(x)
        if self.training and x.device.type == "cpu":
            return self._normalise_each(x)
        running = (self.running_mean, self.running_var) if self.training else (None, None)
        momentum = 0.1 if self.momentum is None else self.momentum
        return norm_each(x, *running, self.weight, self.bias, momentum, self.eps)

    def _normalise_each(self, x: Tensor) -> Tensor:
        """The same one image after the other: instance norm turns channels-last images around."""
        assert self.running_mean is not None and self.running_var is not None
        normalised, means, scales = zip(
            *(
                torch.native_batch_norm(
                    image, self.weight, self.bias, None, None, True, 0.0, self.eps
                )
                for image in x.split(1)
            ),
            strict=True,
        )
        pixels = x.shape[2] * x.shape[3]
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            variance = (torch.stack(scales) ** -2 - self.eps) * (pixels / max(1, pixels - 1))
            for kept, found in (
                (self.running_mean, torch.stack(means)),
                (self.running_var, variance),
            ):
                kept.lerp_(found.mean(0).to(kept.dtype), momentum)
        return torch.cat(normalised)


class InstanceNorm(nn.InstanceNorm2d):
    """Instance norm without scale and shift, of single pixels too."""

    def forward(self, x: Tensor) -> Tensor:
        return norm_each(x, None, None, None, None, 0.0, self.eps)


def norm_each(
    x: Tensor, mean: Tensor | None, variance: Tensor | None, scale: Tensor | None,
    shift: Tensor | None, momentum: float, eps: float,
) -> Tensor:  # fmt: skip
    """Each image by its own statistics, whose running averages go into ``mean`` and ``variance``.

    :func:`torch.nn.functional.instance_norm` is the same, but refuses single pixels, of which the
    shift is left; TensorFlow's tutorial has such a norm at the bottleneck.
    """
    enabled = torch.backends.cudnn.enabled
    return torch.instance_norm(x, scale, shift, mean, variance, True, momentum, eps, enabled)


class Block(nn.Module):
    """A convolution, down or up, and its norm."""

    conv: nn.Conv2d | nn.ConvTranspose2d
    norm: nn.Module | None

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.Module | None) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)


def make_norm(norm: Norm, channels: int) -> nn.Module | None:
    """The norm that follows a convolution to ``channels``."""
    if norm == "none":
        return None
    if norm == "instance":
        return InstanceNorm(channels, eps=NORM_EPS)
    return BatchNorm(channels, per_image=norm == "batch-statistics")


class UNet(Generator):
    """The generator. ``(N, in_channels, H, W)`` in [-1, 1] to ``(N, out_channels, H, W)``.

    ``H`` and ``W`` must be multiples of ``2 ** downs``. ``down.0`` is the outermost encoder
    block, ``up.0`` the outermost decoder block; ``up.i`` undoes ``down.i``.
    """

    architecture: Architecture

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        last = a.downs - 1
        downs, ups = [], []
        for i in range(a.downs):
            into, out = a.channels(i)
            bias = a.conv_bias or (a.bias and i in (0, last))
            down = nn.Conv2d(*into, 4, 2, 1, bias=bias)
            up = nn.ConvTranspose2d(*out, 4, 2, 1, bias=a.conv_bias or i == 0)
            downs.append(Block(down, make_norm(a.norm, into[1]) if 0 < i < last else None))
            ups.append(Block(up, make_norm(a.norm, out[1]) if i > 0 else None))
        self.down: Sequence[Block] = nn.ModuleList(downs)  # type: ignore[assignment]
        self.up: Sequence[Block] = nn.ModuleList(ups)  # type: ignore[assignment]

    def embed(self, x: Tensor) -> Tensor:
        """The embeddings of ``x`` alone, in half the time."""
        return self._encode(x)[-1].mean(dim=(2, 3))

    def _encode(self, x: Tensor) -> list[Tensor]:
        """What each block of the encoder puts out."""
        skips = [self.down[0](x)]
        for block in self.down[1:]:
            skips.append(block(F.leaky_relu(skips[-1], LEAKY_SLOPE)))
        return skips

    def translate(self, x: Tensor, masks: Masks | None = None) -> tuple[Tensor, Tensor]:
        """The translated images and their embeddings.

        ``masks``: one multiplier a dropout block, shaped ``(N, *mask_shapes(H, W)[k])`` with
        the values 0 and 2 (inverted dropout at rate 0.5), or multipliers of any decoder blocks but
        0, by their numbers; ``None``: no noise. In training mode
        with no masks given, they are drawn from PyTorch's global generator.

        The embedding is the bottleneck averaged over its pixels: ``(N, width(downs - 1))``.
        """
        a = self.architecture
        self.require_images(x)
        mask_of = self.multipliers(x, masks)

        skips = self._encode(x)
        embedding = skips[-1].mean(dim=(2, 3))

        x = skips.pop()
        joined = False
        for i in range(a.downs - 1, 0, -1):
            x = self.up[i](F.relu(x, inplace=joined))
            if i in mask_of:
                x = x * mask_of[i].to(x.dtype)
            if a.skips:
                x = torch.cat((skips.pop(), x), dim=1)
                joined = True  # a copy, which nothing else needs
        return torch.tanh(self.up[0](F.relu(x, inplace=joined))), embedding
