"""The U-Net of PyTorch-GAN's pix2pix, and of the models that were made from it.

Other than the paper's (:mod:`pix2pix_batch.generators.unet`), its decoder sees the encoder's
features after their activation; there is dropout in both; and the last layer doubles by nearest
neighbour and convolves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from pix2pix_batch.generators.description import Layout, LayoutError, Norm, Part, Shapes
from pix2pix_batch.generators.layers import (
    IMAGE,
    Convolution,
    Join,
    Layer,
    LayeredDescription,
    Resample,
)

MIN_DOWNS, MAX_DOWNS = 4, 10
MAX_WIDTH = 8
"""Times the first layer's filters."""
FIRST_DROPOUT = 3
"""The encoder's first block with dropout."""
TEXTURE_BLOCKS = 3
"""The decoder's outermost blocks."""
LEAKY_SLOPE = 0.2
DOWN, UP, LAST = "down{}.model.0", "up{}.model.0", "final.2"


@dataclass(frozen=True)
class PostActivationUNet(LayeredDescription):
    """``downs``: halvings of the image; ``ngf``: filters of the first layer; ``dropout``: whether
    it was trained with it, from the encoder's fourth block to the decoder's full width."""

    family: ClassVar[str] = "unet-postactivation"
    title: ClassVar[str] = "U-Net with skips after the activation"
    known_as: ClassVar[str] = "PyTorch-GAN's U-Net (down1.model.0)"

    downs: int = 8
    ngf: int = 64
    norm: Norm = "instance"
    dropout: bool = True

    def __post_init__(self) -> None:
        self.require_sound({"downs": (MIN_DOWNS, MAX_DOWNS), "ngf": (1, 1024)})

    @property
    def multiple(self) -> int:
        return 1 << self.downs

    @property
    def takes_any_size(self) -> bool:
        """It has seen its own size only, at whose scale its innermost features are one pixel."""
        return False

    @property
    def summary(self) -> str:
        return f"{self.title}, {self.downs} downs, ngf {self.ngf}"

    @property
    def embedding_source(self) -> str:
        return f"down.{self.downs - 1}"

    def width(self, block: int) -> int:
        """Channels that the encoder's block ``block`` puts out."""
        return self.ngf * min(1 << block, MAX_WIDTH)

    @property
    def encoder_slope(self) -> float:
        """Of the encoder's leaky ReLUs."""
        return LEAKY_SLOPE

    @property
    def outer_bias(self) -> bool:
        """Whether the encoder's convolutions that no norm follows have biases whatever the norm
        is."""
        return False

    @property
    def normed_downs(self) -> range:
        """The encoder's blocks with norms."""
        return range(1, self.downs - 1)

    @property
    def noisy_blocks(self) -> tuple[str, ...]:
        """The blocks that were trained with dropout, in running order: from the encoder's fourth
        on, and the decoder's of full width."""
        downs, ups = range(FIRST_DROPOUT, self.downs), max(1, self.downs - FIRST_DROPOUT)
        innermost = range(self.downs - 1, self.downs - ups, -1)
        return *(f"down.{i}" for i in downs), *(f"up.{i}" for i in innermost)

    def number_noise(self, block: str) -> int | None:
        """The number of the block's dropout mask."""
        blocks = self.noisy_blocks
        return blocks.index(block) if block in blocks else None

    @cached_property
    def layers(self) -> Sequence[Layer]:
        return [*self._encoder(), *self._decoder(), *self._last()]

    def _encoder(self) -> Iterator[Layer]:
        before, inputs = IMAGE, self.in_channels
        for i in range(self.downs):
            normed = i in self.normed_downs
            yield Convolution(
                f"down.{i}", before, inputs, self.width(i), 4, stride=2,
                bias=self.conv_bias or (self.outer_bias and not normed), normed=normed,
                activation="leaky_relu", slope=self.encoder_slope,
                noise_block=self.number_noise(f"down.{i}"),
            )  # fmt: skip
            before, inputs = f"down.{i}", self.width(i)

    def _decoder(self) -> Iterator[Layer]:
        """Block ``up.i`` makes what is joined with ``down.i - 1``."""
        before, inputs = f"down.{self.downs - 1}", self.width(self.downs - 1)
        for i in reversed(range(1, self.downs)):
            outputs = self.width(i - 1)
            yield Convolution(
                f"up.{i}", before, inputs, outputs, 4, stride=2, transposed=True,
                bias=self.conv_bias, noise_block=self.number_noise(f"up.{i}"),
            )  # fmt: skip
            before, inputs = f"up.{i}.joined", 2 * outputs
            yield Join(before, f"up.{i}", f"down.{i - 1}", outputs, outputs)

    def _last(self) -> Iterator[Layer]:
        """Its 4x4 kernel has one pixel more above and to the left: one of 5x5 with zeros."""
        width = 2 * self.ngf
        yield Resample("last.enlarged", "up.1.joined", width, "nearest")
        yield Convolution(
            "last", "last.enlarged", width, self.out_channels, 5, padding=2, normed=False,
            activation="tanh",
        )  # fmt: skip

    def part_of(self, weight: str) -> Part:
        side, block = weight.split(".")[:2]
        if side == "down":
            return "encoder"
        return "texture" if side == "last" or int(block) < TEXTURE_BLOCKS else "decoder"

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """Blocks with numbers in their names, each a sequence that its convolution begins."""
        downs = sum(bool(re.fullmatch(r"down\d+\.model\.0\.weight", key)) for key in shapes)
        if not downs or f"{DOWN.format(1)}.weight" not in shapes:
            return None
        if not MIN_DOWNS <= downs <= MAX_DOWNS:
            raise LayoutError(
                f"halves the image {downs} times; only U-Nets of PyTorch-GAN's layout with "
                f"{MIN_DOWNS} to {MAX_DOWNS} halvings can be used"
            )
        first, last = f"{DOWN.format(1)}.weight", f"{LAST}.weight"
        for key in (first, last):
            if len(shapes.get(key, ())) != 4:
                raise LayoutError(f"{key!r} is missing or no convolution's; get it again")
        modules = {"last.conv": LAST}
        for i in range(downs):
            modules |= _map(f"down.{i}", DOWN.format(i + 1), normed=0 < i < downs - 1)
        for i in range(1, downs):
            modules |= _map(f"up.{i}", UP.format(downs - i), normed=True)
        fields = {
            "in_channels": shapes[first][1], "out_channels": shapes[last][0], "downs": downs,
            "ngf": shapes[first][0], "dropout": True,
        }  # fmt: skip
        scaled = any(f"{name}.weight" in shapes for key, name in modules.items() if "norm" in key)
        called = f"a U-Net of PyTorch-GAN's layout with {downs} halvings and ngf {shapes[first][0]}"
        norms: tuple[Norm, ...] = () if scaled else ("instance",)
        return Layout(
            modules, fields, frozenset({"last.conv"}), called, norms=norms,
            enlarged={"last.conv": (0, 1, 0, 1)},
        )  # fmt: skip


def _map(ours: str, theirs: str, *, normed: bool) -> dict[str, str]:
    norm = f"{theirs.removesuffix('0')}1"
    return {f"{ours}.conv": theirs} | ({f"{ours}.norm": norm} if normed else {})
