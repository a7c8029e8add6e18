"""The ResNet generator of CycleGAN (Zhu et al. 2017, arXiv 1703.10593, appendix 7.2).

The reference makes it with ``--netG resnet_9blocks`` or ``resnet_6blocks``, for pix2pix as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from pix2pix_batch.generators.description import Layout, Shapes
from pix2pix_batch.generators.layers import Convolution, Layer, Resample
from pix2pix_batch.generators.residual import ResidualGenerator, filters, read_residual

DOWNS = 2


@dataclass(frozen=True)
class ResNet(ResidualGenerator):
    """All that is needed to build a ResNet.

    ``upsample``: ``transposed`` convolutions, as the reference's, or doubling by ``nearest``
    neighbour and a plain 3x3 convolution, as PyTorch-GAN's.
    """

    family: ClassVar[str] = "resnet"
    title: ClassVar[str] = "ResNet"
    known_as: ClassVar[str] = "CycleGAN's and pix2pix's ResNet (--netG resnet_9blocks)"

    upsample: Literal["transposed", "nearest"] = "transposed"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.upsample not in ("transposed", "nearest"):
            raise ValueError(f"upsample must be transposed or nearest, not {self.upsample!r}")

    def decoder(self) -> Iterator[Layer]:
        if self.upsample == "transposed":
            yield from super().decoder()
            return
        for layer in super().decoder():
            enlarged = f"{layer.name}.enlarged"
            yield Resample(enlarged, layer.reads[0], layer.inputs, "nearest")
            yield Convolution(
                layer.name, enlarged, layer.inputs, layer.outputs, 3, bias=self.conv_bias
            )

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """Two halvings, if it is the reference's, and nothing that blurs."""
        found = read_residual(shapes)
        if found is None or filters(found.stages.before):
            return None
        if found.downs != DOWNS and found.upsample == "transposed":  # pix2pixHD's
            return None
        return found.layout(upsample=found.upsample)
