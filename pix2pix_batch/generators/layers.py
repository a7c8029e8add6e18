"""A generator as a list of layers, from which all that runs one is made. Needs no torch.

A family that is described so needs no code of its own for the network, the CPU's engine, ONNX, or
the reckoning of memory: :class:`LayeredDescription` has them from its layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

from pix2pix_batch.generators.description import Description

IMAGE = "image"
"""The name of the generator's input among the features."""

Activation = Literal["none", "relu", "leaky_relu", "tanh"]
Resampling = Literal["blur", "bilinear", "nearest", "average"]


# The parameters that a convolution has, as in any description of a network.
@dataclass(frozen=True)
class Convolution:
    """A convolution, then its norm, its activation, dropout, and the addition of other features.

    ``name``: of the features that it makes, and of its weights: ``<name>.conv.weight``; words that
    Python could have for variables, and numbers, with dots between.
    ``source``: the features that it reads. ``padding``: pixels on each side, zeros or, with
    ``reflects``, mirrored ones. ``transposed``: with as much output padding as it takes to put out
    ``stride`` times the size. ``slope``: of ``leaky_relu``, by default the paper's. ``added``:
    features that are added to its result. ``noise_block``: the number of the block whose dropout
    mask multiplies its result.
    """

    name: str
    source: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 1
    reflects: bool = False
    transposed: bool = False
    bias: bool = True
    normed: bool = True
    activation: Activation = "relu"
    slope: float = 0.2
    noise_block: int | None = None
    added: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.source, self.added) if self.added else (self.source,)

    @property
    def output_padding(self) -> int:
        """Of a transposed convolution."""
        return self.stride + 2 * self.padding - self.kernel

    def resize(self, side: int) -> int:
        """The output's side."""
        if self.transposed:
            return side * self.stride
        return (side + 2 * self.padding - self.kernel) // self.stride + 1


@dataclass(frozen=True)
class Resample:
    """A change of size without weights.

    ``blur``: [1, 2, 1] / 4 along each axis at every other pixel, with one mirrored pixel around
    (Zhang 2019, arXiv 1904.11486); ``average``: 3x3 at every other pixel, what lies outside not
    counting; ``bilinear`` and ``nearest``: to twice the size, half-pixel centres.
    """

    name: str
    source: str
    channels: int
    kind: Resampling

    @property
    def inputs(self) -> int:
        return self.channels

    @property
    def outputs(self) -> int:
        return self.channels

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.source,)

    def resize(self, side: int) -> int:
        return 2 * side if self.kind in ("bilinear", "nearest") else (side - 1) // 2 + 1


@dataclass(frozen=True)
class Join:
    """The channels of two layers of one size, one after the other."""

    name: str
    source: str
    other: str
    first: int
    second: int

    @property
    def inputs(self) -> int:
        return self.first

    @property
    def outputs(self) -> int:
        return self.first + self.second

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.source, self.other)

    def resize(self, side: int) -> int:
        return side


Layer = Convolution | Resample | Join


class Sized(NamedTuple):
    """A layer, and the size that it reads and puts out: height and width."""

    layer: Layer
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True)
class LayeredDescription(Description):
    """A :class:`Description` that says its layers, in running order, the last making the image.

    A subclass has :attr:`layers` and :attr:`embedding_source`, the name of the features that the
    embedding is made of, and says which of its weights belong to the encoder (:meth:`part_of`).
    """

    network: ClassVar[str] = "pix2pix_batch.generators.network:LayeredGenerator"

    in_channels: int = 3
    out_channels: int = 3

    @property
    def layers(self) -> Sequence[Layer]:
        raise NotImplementedError

    @property
    def embedding_source(self) -> str:
        raise NotImplementedError

    @property
    def takes_any_size(self) -> bool:
        return True

    @cached_property
    def _made_by(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @property
    def bottleneck(self) -> int:
        return self._made_by[self.embedding_source].outputs

    @property
    def image_blocks(self) -> tuple[str, ...]:
        images, found = {IMAGE}, []
        for layer in self.layers:
            if layer.source in images and isinstance(layer, Resample):
                images.add(layer.name)
            elif layer.source in images:
                found.append(layer.name)
        return *found, self.layers[-1].name

    @property
    def possible_noise_blocks(self) -> tuple[int, ...]:
        found = (getattr(layer, "noise_block", None) for layer in self.layers)
        return tuple(number for number in found if number is not None)

    def mask_shapes(
        self, height: int, width: int, blocks: int | None = None
    ) -> list[tuple[int, int, int]]:
        shapes = {
            layer.noise_block: (layer.outputs, *after)
            for layer, _, after in self.measure_layers(height, width)
            if isinstance(layer, Convolution)
        }
        return [shapes[number] for number in self.noise_blocks(blocks)]

    def measure_layers(self, height: int, width: int) -> Iterator[Sized]:
        """The layers, with their sizes for an image of ``height`` x ``width``."""
        sizes = {IMAGE: (height, width)}
        for layer in self.layers:
            before = sizes[layer.source]
            sizes[layer.name] = (layer.resize(before[0]), layer.resize(before[1]))
            yield Sized(layer, before, sizes[layer.name])

    @property
    def last_reads(self) -> dict[str, int]:
        """The place of the layer that reads features last, by their name."""
        return {name: k for k, layer in enumerate(self.layers) for name in layer.reads}
