"""The PatchGAN discriminator (Isola et al. 2017, sections 3.2.2 and 6.1.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.utils.parametrizations import spectral_norm

from pix2pix_batch.generators.generator import init_weights
from pix2pix_batch.generators.unet import MAX_WIDTH
from pix2pix_batch.generators.unet_network import LEAKY_SLOPE, NORM_EPS
from pix2pix_batch.train.convolution import Down

DiscNorm = Literal["batch", "instance", "none"]

RECEPTIVE_FIELDS = {1: 0, 16: 1, 34: 2, 70: 3, 142: 4, 286: 5}
"""Halvings of the discriminator by the pixels that one of its logits sees (section 6.1.2).

1 is the PixelGAN, whose filters are 1x1; 286 sees a whole image of 256: the ImageGAN.
"""


class PatchGAN(nn.Module):
    """Judges overlapping patches of an image, or of ``(input, output)`` pairs.

    ``in_channels``: of all that it is given; ``ndf``: filters of the first layer; ``patch``: the
    receptive field of a logit, a key of :data:`RECEPTIVE_FIELDS`. ``norm`` follows every
    convolution but the first and the last; ``spectral``: every convolution's weight is divided
    by its largest singular value (Miyato et al. 2018).
    """

    def __init__(
        self,
        in_channels: int,
        ndf: int = 64,
        patch: int = 70,
        norm: DiscNorm = "batch",
        spectral: bool = False,
    ) -> None:
        super().__init__()
        halvings = RECEPTIVE_FIELDS[patch]
        kernel, padding = (1, 0) if patch == 1 else (4, 1)
        # Batch norm has a shift of its own, which makes a bias before it useless.
        bias = norm != "batch"
        widths = [ndf * min(1 << i, MAX_WIDTH) for i in range(max(1, halvings) + 1)]
        strides = [2 if i < halvings else 1 for i in range(len(widths))]
        modules: list[nn.Module] = []
        before = in_channels
        for i, (width, stride) in enumerate(zip(widths, strides, strict=True)):
            modules.append(Down(before, width, kernel, stride, padding, bias=bias or i == 0))
            if i > 0 and norm != "none":
                modules.append(NORMS[norm](width))
            # in place: no gradient needs what it was
            modules.append(nn.LeakyReLU(LEAKY_SLOPE, inplace=True))
            before = width
        modules.append(Down(before, 1, kernel, 1, padding, bias=True))
        self.layers = nn.Sequential(*modules)
        init_weights(self)
        if spectral:
            for module in self.layers:
                if isinstance(module, nn.Conv2d):
                    spectral_norm(module)

    def forward(self, *images: Tensor, parts: int = 1) -> Tensor:
        """Judge images: one logit for each patch.

        Args:
            images: ``(N, C, H, W)`` in [-1, 1] each; they are joined along the channels.
            parts: Into how many equal parts the batch is divided for batch norm, which takes each
                by its own statistics, as if they were given one after the other.

        Returns:
            ``(N, 1, h, w)`` logits.
        """
        x = torch.cat(images, dim=1)
        for layer in self.layers:
            if parts > 1 and isinstance(layer, BatchNorm):
                x = torch.cat([layer(part) for part in x.chunk(parts)])
            else:
                x = layer(x)
        return x

    def list_features(self, *images: Tensor) -> list[list[Tensor]]:
        """What the layers make of images, after their activations, the logits last; a list that
        holds one such list."""
        x, features = torch.cat(images, dim=1), []
        for layer in self.layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                features.append(x)
        return [[*features, x]]


class MultiScale(nn.Module):
    """Discriminators of one kind, each of images half the size of the one before's (Wang et al.
    2018, section 3.2)."""

    def __init__(self, judges: Sequence[PatchGAN]) -> None:
        super().__init__()
        self.judges = nn.ModuleList(judges)

    def forward(self, *images: Tensor, parts: int = 1) -> list[Tensor]:
        """See :meth:`PatchGAN.forward`; returns the logits of each."""
        return [
            judge(*scaled, parts=parts)
            for judge, scaled in zip(self.judges, self._scale(images), strict=True)
        ]

    def list_features(self, *images: Tensor) -> list[list[Tensor]]:
        """See :meth:`PatchGAN.list_features`; returns a list for each."""
        features = []
        for judge, scaled in zip(self.judges, self._scale(images), strict=True):
            assert isinstance(judge, PatchGAN)
            features += judge.list_features(*scaled)
        return features

    def _scale(self, images: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
        """The images at each size, the averages of 3x3 pixels at every other one."""
        for k in range(len(self.judges)):
            if k:
                images = [F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) for x in images]
            yield images


def make_discriminator(
    in_channels: int, ndf: int, patch: int, norm: DiscNorm, spectral: bool, scales: int
) -> PatchGAN | MultiScale:
    """Make a :class:`PatchGAN`, or several that judge the images at several scales.

    Args:
        in_channels: Channels of source and target together.
        ndf: Filters of the first layer.
        patch: The side, in pixels, of what one logit sees.
        norm: The norm that follows the convolutions.
        spectral: Whether the weights are under spectral norm.
        scales: How many of them; each but the first sees images of half the size.
    """
    judges = [PatchGAN(in_channels, ndf, patch, norm, spectral) for _ in range(scales)]
    return judges[0] if scales == 1 else MultiScale(judges)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": lambda width: nn.BatchNorm2d(width, eps=NORM_EPS),
    # Instance norm by another name: InstanceNorm2d's own second derivative, which the gradient
    # penalty takes, is wrong for a batch of one image in channels-last (PyTorch 2.15).
    "instance": lambda width: nn.GroupNorm(width, width, eps=NORM_EPS, affine=False),
}
