"""What every network of a generator can do, whatever its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from pix2pix_batch.generators.description import Description

Masks = Sequence[Tensor] | Mapping[int, Tensor]
NormStatistics = Mapping[str, tuple[Tensor, Tensor]]
"""Mean and variance of each channel before a norm, ``float32 (C,)``, by the layer's name."""


class Generator(nn.Module):
    """A network that translates images.

    The weights of its convolutions are called ``<module>.conv.weight``, those of their norms
    ``<module>.norm.weight``: bundles keep the former in half precision.
    """

    architecture: Description

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
