"""A generator that changes nothing, of any number of bands, for tests of what carries samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from pix2pix_batch import bundle, generators
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.generators.description import Layout, Norm, Part, Shapes
from pix2pix_batch.generators.layers import IMAGE, Convolution, Layer, LayeredDescription
from pix2pix_batch.value_ranges import BandRange, ValueRange


@dataclass(frozen=True)
class Identity(LayeredDescription):
    """Two 1x1 convolutions without activations."""

    family: ClassVar[str] = "identity"
    title: ClassVar[str] = "identity"
    known_as: ClassVar[str] = "nothing"

    multiple = 1
    embedding_source = "first"

    norm: Norm = "none"
    dropout: bool = False

    def __post_init__(self) -> None:
        self.require_sound({}, ("dropout",))

    @property
    def summary(self) -> str:
        return "identity"

    @property
    def layers(self) -> Sequence[Layer]:
        between = {"kernel": 1, "padding": 0, "normed": False, "activation": "none"}
        inner, outer = self.in_channels, self.out_channels
        return [
            Convolution("first", IMAGE, inner, inner, **between),  # type: ignore[arg-type]
            Convolution("last", "first", inner, outer, **between),  # type: ignore[arg-type]
        ]

    def part_of(self, weight: str) -> Part:
        return "encoder"

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        return None


@contextmanager
def identity_family() -> Iterator[None]:
    """While it is known."""
    generators.register(Identity)
    try:
        yield
    finally:
        generators.unregister("identity")


def save_identity(
    path: Path, side: ValueRange | None, made: ValueRange | None = None, size: int = 64
) -> Path:
    """A bundle whose outputs' bands are the inputs', the first of them where there are fewer.
    ``side``, ``made``: of the inputs and of the outputs, the inputs' too by default."""
    made = made or side
    architecture = Identity(side.channels if side else 3, made.channels if made else 3)
    net = architecture.build()
    for value in net.parameters():
        value.data.zero_()
        if value.ndim == 4:
            value.data[:, :, 0, 0] = torch.eye(*value.shape[:2])
    info = BundleInfo(path.stem, architecture, size, "tile", input_range=side, output_range=made)
    bundle.save(path, info, net.eval(), half=False)
    return path


def whole_range(dtype: str, bands: int, nodata: float | None = None) -> ValueRange:
    """All that the type holds, of every band; of floats -1000 to 9000."""
    limits = {"uint8": (0, 255), "uint16": (0, 65535), "int16": (-32768, 32767)}
    return ValueRange(dtype, (BandRange(*limits.get(dtype, (-1000, 9000))),) * bands, nodata)
