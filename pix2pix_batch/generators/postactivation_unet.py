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
DOWN, UP, LAST = "down{}.model.0", "up{}.model.0", "final.2"


@dataclass(frozen=True)
class PostActivationUNet(LayeredDescription):
    """``downs``: halvings of the image; ``ngf``: filters of the first layer; ``dropout``: whether
    it was trained with it, from the encoder's fourth block to the decoder's full width."""

    family: ClassVar[str] = "unet-postactivation"
    title: ClassVar[str] = "U-Net with skips after the activation"
    known_as: ClassVar[str] = "PyTorch-GAN's U-Net (down1.model.0)"

    in_channels: int = 3
    out_channels: int = 3
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

    @cached_property
    def layers(self) -> Sequence[Layer]:
        return [*self._encoder(), *self._decoder(), *self._last()]

    def _encoder(self) -> Iterator[Layer]:
        before, inputs = IMAGE, self.in_channels
        for i in range(self.downs):
            noise = i - FIRST_DROPOUT if i >= FIRST_DROPOUT else None
            yield Convolution(
                f"down.{i}", before, inputs, self.width(i), 4, stride=2, bias=self.conv_bias,
                normed=0 < i < self.downs - 1, activation="leaky_relu", noise_block=noise,
            )  # fmt: skip
            before, inputs = f"down.{i}", self.width(i)

    def _decoder(self) -> Iterator[Layer]:
        """Block ``up.i`` makes what is joined with ``down.i - 1``."""
        before, inputs, blocks = self.embedding_source, self.width(self.downs - 1), self.downs
        for i in reversed(range(1, blocks)):
            outputs = self.width(i - 1)
            noise = 2 * blocks - FIRST_DROPOUT - 1 - i if i > blocks - self._noisy_ups else None
            yield Convolution(
                f"up.{i}", before, inputs, outputs, 4, stride=2, transposed=True,
                bias=self.conv_bias, noise_block=noise,
            )  # fmt: skip
            before, inputs = f"up.{i}.joined", 2 * outputs
            yield Join(before, f"up.{i}", f"down.{i - 1}", outputs, outputs)

    @property
    def _noisy_ups(self) -> int:
        """Blocks of the decoder with dropout, from the innermost on: those of full width."""
        return max(1, self.downs - FIRST_DROPOUT)

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
