"""The generators of pix2pixHD (Wang et al. 2018, arXiv 1711.11585, section 3.1 and appendix).

The global generator is a ResNet with more halvings. A local enhancer works at twice its size: what
it makes of the image, halved, is added to the features of a global generator that sees the image
at half its size, and goes through blocks of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from pix2pix_batch.generators.description import Layout, Part, Shapes
from pix2pix_batch.generators.layers import IMAGE, Convolution, Layer, Resample
from pix2pix_batch.generators.positions import (
    Entry,
    cut_into_stages,
    map_blocks,
    map_pair,
    read_blocks,
    read_entries,
)
from pix2pix_batch.generators.residual import (
    MAX_BLOCKS,
    OUTER_KERNEL,
    ResidualGenerator,
    filters,
    read_residual,
)

LOCAL_DOWN, LOCAL_UP = "model1_1", "model1_2"
"""What pix2pixHD calls a local enhancer's halves, before and after the addition."""
BEFORE = 1 << 20
"""Places that the first half is moved up, so that the two are one sequence."""


@dataclass(frozen=True)
class GlobalGenerator(ResidualGenerator):
    """All that is needed to build a global generator."""

    family: ClassVar[str] = "pix2pixhd-global"
    title: ClassVar[str] = "pix2pixHD's global generator"
    known_as: ClassVar[str] = "pix2pixHD's global generator (--netG global)"

    downs: int = 4

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """As the reference's ResNet, but for the number of halvings."""
        found = read_residual(shapes)
        if found is None or filters(found.stages.before) or found.upsample != "transposed":
            return None
        return found.layout()


@dataclass(frozen=True)
class LocalEnhancer(ResidualGenerator):
    """All that is needed to build a global generator with a local enhancer around it.

    ``downs`` and ``blocks`` are those of the global generator.
    """

    family: ClassVar[str] = "pix2pixhd-local"
    title: ClassVar[str] = "pix2pixHD's local enhancer"
    known_as: ClassVar[str] = "pix2pixHD's local enhancer (--netG local)"

    downs: int = 3
    ngf: int = 32
    """Filters of the enhancer's first layer; the global generator's has twice as many."""
    local_blocks: int = 3
    """Residual blocks of the enhancer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_sound({"local_blocks": (1, MAX_BLOCKS)})

    @property
    def multiple(self) -> int:
        return 2 << self.downs

    @property
    def summary(self) -> str:
        return f"{super().summary}, {self.local_blocks} local blocks"

    def width(self, halvings: int) -> int:
        """Of the global generator, whose image is half the size."""
        return 2 * self.ngf << halvings

    @cached_property
    def layers(self) -> Sequence[Layer]:
        return [
            Resample("half", IMAGE, self.in_channels, "average"),
            *self.encoder("half"),
            *self.residual_blocks(),
            *self.decoder(),
            self.stem("local.stem", IMAGE, self.ngf),
            self._join_halves(),
            *self.blocks_from("local.down", "local.block", self.local_blocks, 2 * self.ngf),
            self.up("local.up", f"local.block.{self.local_blocks - 1}.1", 2 * self.ngf),
            self.last("local.up"),
        ]

    def _join_halves(self) -> Convolution:
        """The enhancer's halving, and the global generator's features on top."""
        return Convolution(
            "local.down", "local.stem", self.ngf, 2 * self.ngf, 3, stride=2, bias=self.conv_bias,
            added="up.0",
        )  # fmt: skip

    def part_of(self, weight: str) -> Part:
        return "decoder" if weight.startswith("up.") else super().part_of(weight)

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """Three sequences, of which two have names of their own."""
        prefix = _find_prefix(shapes)
        if prefix is None:
            return None
        whole, down, up = (
            read_entries(shapes, f"{prefix}{name}") for name in ("model", LOCAL_DOWN, LOCAL_UP)
        )
        inner = cut_into_stages([*whole])
        first = [entry._replace(place=entry.place - BEFORE) for entry in down]
        local = cut_into_stages([*first, *up])
        if inner is None or local is None or len(inner.before) != len(inner.after) + 1:
            return None
        stem, last = local.before[0].kernel, local.after[-1].kernel
        if len(local.before) != 2 or len(local.after) != 2 or stem[2:] != (OUTER_KERNEL,) * 2:
            return None
        ngf, downs = stem[0], len(inner.after)
        blocks = read_blocks(inner.blocks, 2 * ngf << downs)
        if blocks is None or read_blocks(local.blocks, 2 * ngf) != blocks:
            return None
        fields = {
            "in_channels": stem[1], "out_channels": last[0], "downs": downs,
            "blocks": len(inner.blocks), "ngf": ngf, "dropout": blocks.dropout,
            "padding": "reflect" if blocks.reflects else "zeros",
            "local_blocks": len(local.blocks),
        }  # fmt: skip
        modules = map_pair("stem", inner.before[0]) | map_blocks(inner.blocks)
        modules |= _map_levels("down", inner.before[1:]) | _map_levels("up", inner.after[::-1])
        modules |= map_pair("local.stem", local.before[0]) | map_pair("local.down", local.before[1])
        modules |= {f"local.{ours}": theirs for ours, theirs in map_blocks(local.blocks).items()}
        modules |= map_pair("local.up", local.after[0]) | {"last.conv": local.after[1].prefix}
        called = f"a local enhancer with {downs} halvings and ngf {ngf}"
        return Layout(modules, fields, frozenset({"last.conv"}), called, normless=blocks.normless)


def _find_prefix(shapes: Shapes) -> str | None:
    """What comes before the names of a local enhancer's parts."""
    for key in shapes:
        before, name, _ = key.partition(f"{LOCAL_DOWN}.")
        if name and not before.strip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_."):
            return before
    return None


def _map_levels(ours: str, entries: Sequence[Entry]) -> dict[str, str]:
    modules: dict[str, str] = {}
    for level, entry in enumerate(entries):
        modules |= map_pair(f"{ours}.{level}", entry)
    return modules
