"""What every network of a generator can do, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn

from pix2pix_batch.generators.description import Description

DROPOUT_RATE = 0.5  # section 6.1.1: "dropout rate of 50%"
INIT_STD = 0.02  # section 6.2: weights from a Gaussian with mean 0 and deviation 0.02

Masks = Sequence[Tensor] | Mapping[int, Tensor]
NormStatistics = Mapping[str, tuple[Tensor, Tensor]]
"""Mean and variance of each channel before a norm, ``float32 (C,)``, by the layer's name."""


class Generator(nn.Module):
    """A network that translates images.

    The weights of its convolutions are called ``<module>.conv.weight``, those of their norms
    ``<module>.norm.weight``: bundles keep the former in half precision.
    """

    architecture: Description

    def init_weights(self, generator: torch.Generator | None = None) -> Self:
        """See :func:`init_weights`."""
        init_weights(self, generator)
        return self

    def forward(self, x: Tensor, masks: Masks | None = None) -> Tensor:
        """Translate ``x``; see :meth:`translate`."""
        return self.translate(x, masks)[0]

    def translate(self, x: Tensor, masks: Masks | None = None) -> tuple[Tensor, Tensor]:
        """The translated images, ``(N, out_channels, H, W)``, and their embeddings, ``(N, D)``.

        ``x``: ``(N, in_channels, H, W)`` in [-1, 1]. ``masks``: one multiplier a dropout block,
        shaped ``(N, *mask_shapes(H, W)[k])`` with the values 0 and 2 (inverted dropout at rate
        0.5), or multipliers of any blocks that can take noise, by their numbers; ``None``: no
        noise, but in training mode, where they are drawn from PyTorch's global generator.
        """
        raise NotImplementedError

    def embed(self, x: Tensor) -> Tensor:
        """The embeddings of ``x`` alone, in less time."""
        raise NotImplementedError

    def require_images(self, x: Tensor) -> None:
        """Raises ``ValueError`` for what is no images that the network takes."""
        a = self.architecture
        if x.ndim != 4 or x.shape[1] != a.in_channels or 0 in x.shape:
            raise ValueError(
                f"expected images of shape (N, {a.in_channels}, H, W), got {tuple(x.shape)}"
            )
        for side in x.shape[2:]:
            if side % a.multiple or side < a.least_side:
                raise ValueError(
                    f"image sides must be multiples of {a.multiple} and at least {a.least_side}, "
                    f"got {x.shape[3]}x{x.shape[2]}"
                )

    def multipliers(self, x: Tensor, masks: Masks | None) -> Mapping[int, Tensor]:
        """The ``masks`` of :meth:`translate` for the images ``x``, by the blocks they are for; in
        training they are drawn where there are none."""
        if masks is None and self.training:
            masks = self.draw_masks(x)
        return multipliers_by_block(self.architecture, masks)

    def draw_masks(self, x: Tensor) -> list[Tensor]:
        """Inverted dropout of each dropout block for the images ``x``: 0, or what makes up for
        it."""
        return [
            torch.empty((len(x), *shape), device=x.device)
            .bernoulli_(1 - DROPOUT_RATE)
            .div_(1 - DROPOUT_RATE)
            for shape in self.architecture.mask_shapes(*x.shape[2:])
        ]


def multipliers_by_block(architecture: Description, masks: Masks | None) -> Mapping[int, Tensor]:
    """Each multiplier by the block whose output it is for."""
    if isinstance(masks, Mapping):
        return masks
    return dict(zip(architecture.dropout_blocks, masks or (), strict=bool(masks)))


def init_weights(network: nn.Module, generator: torch.Generator | None = None) -> None:
    """Weights from N(0, 0.02), norm scales from N(1, 0.02), biases 0 (section 6.2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, INIT_STD, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, INIT_STD, generator=generator)
            nn.init.zeros_(module.bias)
