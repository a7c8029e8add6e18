"""What the generators with residual blocks have in common (Johnson et al. 2016, arXiv 1603.08155).

A 7x7 convolution, some that halve the image and double the channels, residual blocks, some that
double the image and halve the channels, a 7x7 convolution to the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, NamedTuple

from pix2pix_batch.generators.description import Layout, LayoutError, Norm, Part, Shapes
from pix2pix_batch.generators.layers import IMAGE, Convolution, Layer, LayeredDescription
from pix2pix_batch.generators.positions import (
    BlockLayout,
    Entry,
    Stages,
    cut_into_stages,
    find_root,
    map_blocks,
    map_pair,
    read_blocks,
    read_entries,
)

MAX_DOWNS, MAX_BLOCKS = 6, 64
Padding = Literal["reflect", "zeros"]
OUTER_KERNEL, OUTER_PADDING = 7, 3


@dataclass(frozen=True)
class ResidualGenerator(LayeredDescription):
    """``downs``: halvings of the image; ``blocks``: residual blocks of two 3x3 convolutions;
    ``ngf``: filters of the first layer; ``dropout``: whether there is dropout in the blocks;
    ``padding``: of the blocks' convolutions."""

    downs: int = 2
    blocks: int = 9
    ngf: int = 64
    norm: Norm = "instance"
    dropout: bool = False
    padding: Padding = "reflect"

    def __post_init__(self) -> None:
        self.require_sound({"downs": (1, MAX_DOWNS), "blocks": (1, MAX_BLOCKS), "ngf": (1, 512)})
        if self.padding not in ("reflect", "zeros"):
            raise ValueError(f"padding must be reflect or zeros, not {self.padding!r}")

    @property
    def multiple(self) -> int:
        return 1 << self.downs

    @property
    def least_side(self) -> int:
        """The blocks mirror one pixel, of two at least; the outer layers three."""
        return max(2 * self.multiple, OUTER_PADDING + 1)

    @property
    def summary(self) -> str:
        return f"{self.title}, {self.downs} downs, {self.blocks} blocks, ngf {self.ngf}"

    @property
    def embedding_source(self) -> str:
        return self._before_blocks

    @property
    def _before_blocks(self) -> str:
        """The name of the features that the first residual block reads."""
        return f"down.{self.downs - 1}"

    @cached_property
    def layers(self) -> Sequence[Layer]:
        return [*self.encoder(), *self.residual_blocks(), *self.decoder(), self.last()]

    def part_of(self, weight: str) -> Part:
        """What draws at less than the blocks' scale is texture."""
        stage = weight.partition(".")[0]
        if stage in ("stem", "down"):
            return "encoder"
        return "decoder" if stage == "block" else "texture"

    def width(self, halvings: int) -> int:
        """Channels after so many halvings."""
        return self.ngf << halvings

    def encoder(self, source: str = IMAGE) -> Iterator[Layer]:
        yield self.stem("stem", source, self.width(0))
        before = "stem"
        for i in range(self.downs):
            yield self.down(f"down.{i}", before, self.width(i))
            before = f"down.{i}"

    def stem(self, name: str, source: str, outputs: int) -> Convolution:
        return Convolution(
            name, source, self.in_channels, outputs, OUTER_KERNEL, padding=OUTER_PADDING,
            reflects=True, bias=self.conv_bias,
        )  # fmt: skip

    def down(self, name: str, source: str, inputs: int) -> Convolution:
        return Convolution(name, source, inputs, 2 * inputs, 3, stride=2, bias=self.conv_bias)

    def residual_blocks(self) -> Iterator[Layer]:
        return self.blocks_from(self._before_blocks, "block", self.blocks, self.width(self.downs))

    def blocks_from(self, source: str, prefix: str, count: int, width: int) -> Iterator[Layer]:
        """``count`` residual blocks; their dropout blocks are numbered from 0."""
        reflects = self.padding == "reflect"
        for number in range(count):
            first, second = f"{prefix}.{number}.0", f"{prefix}.{number}.1"
            noise = number if prefix == "block" else None
            yield Convolution(
                first, source, width, width, 3, reflects=reflects, bias=self.conv_bias,
                noise_block=noise,
            )  # fmt: skip
            yield Convolution(
                second, first, width, width, 3, reflects=reflects, bias=self.conv_bias,
                activation="none", added=source,
            )  # fmt: skip
            source = second

    def decoder(self) -> Iterator[Layer]:
        before = f"block.{self.blocks - 1}.1"
        for i in reversed(range(self.downs)):
            yield self.up(f"up.{i}", before, self.width(i + 1))
            before = f"up.{i}"

    def up(self, name: str, source: str, inputs: int) -> Convolution:
        return Convolution(
            name, source, inputs, inputs // 2, 3, stride=2, transposed=True, bias=self.conv_bias
        )

    def last(self, source: str = "up.0") -> Convolution:
        return Convolution(
            "last", source, self.ngf, self.out_channels, OUTER_KERNEL, padding=OUTER_PADDING,
            reflects=True, normed=False, activation="tanh",
        )  # fmt: skip


class Residual(NamedTuple):
    """What a checkpoint of numbered layers with residual blocks is.

    ``upsample``: ``transposed``, ``nearest`` where the convolutions are plain ones that can only
    follow an enlargement. ``stages`` holds fixed filters too.
    """

    stages: Stages
    inner: BlockLayout
    in_channels: int
    out_channels: int
    downs: int
    ngf: int
    upsample: str

    def fields(self) -> dict[str, object]:
        """Those of :class:`ResidualGenerator`."""
        return {
            "in_channels": self.in_channels, "out_channels": self.out_channels,
            "downs": self.downs, "blocks": len(self.stages.blocks), "ngf": self.ngf,
            "dropout": self.inner.dropout,
            "padding": "reflect" if self.inner.reflects else "zeros",
        }  # fmt: skip

    def modules(self) -> dict[str, str]:
        """The checkpoint's name of each of our modules."""
        before = [entry for entry in self.stages.before if entry.kernel]
        after = [entry for entry in self.stages.after if entry.kernel]
        modules = map_pair("stem", before[0]) | {"last.conv": after[-1].prefix}
        for i, entry in enumerate(before[1:]):
            modules |= map_pair(f"down.{i}", entry)
        for i, entry in enumerate(reversed(after[:-1])):
            modules |= map_pair(f"up.{i}", entry)
        return modules | map_blocks(self.stages.blocks)

    def layout(self, **fields: object) -> Layout:
        """Of a checkpoint that is this. ``fields``: those of the family's own."""
        called = f"a ResNet with {self.downs} halvings and ngf {self.ngf}"
        return Layout(
            self.modules(), self.fields() | fields, frozenset({"last.conv"}), called,
            normless=self.inner.normless,
        )  # fmt: skip


def read_residual(shapes: Shapes) -> Residual | None:
    """``None`` where the checkpoint is none. Raises :class:`LayoutError`."""
    root = find_root(shapes)
    stages = None if root is None else cut_into_stages(read_entries(shapes, root))
    if stages is None:
        return None
    before = [entry.kernel for entry in stages.before if entry.kernel]
    after = [entry.kernel for entry in stages.after if entry.kernel]
    if len(before) < 2 or not _are_outer(before[0]):
        return None
    ngf, downs = before[0][0], len(before) - 1
    widths = [ngf << i for i in range(downs + 1)]
    # a local enhancer's inner generator ends so, too
    alone = not root or all(key.startswith(f"{root}.") for key in shapes)
    if alone and _are_downs(before[1:], widths) and _read_ups(after, widths):
        raise LayoutError("lacks the last layer of a ResNet, the 7x7 convolution to the picture")
    if len(before) != len(after) or not _are_outer(after[-1]):
        return None
    upsample = _read_ups(after[:-1], widths)
    if not _are_downs(before[1:], widths) or upsample is None or after[-1][1] != ngf:
        return None
    inner = read_blocks(stages.blocks, widths[-1])
    if inner is None:
        return None
    return Residual(stages, inner, before[0][1], after[-1][0], downs, ngf, upsample)


def _are_outer(*kernels: tuple[int, ...]) -> bool:
    return all(kernel[2:] == (OUTER_KERNEL, OUTER_KERNEL) for kernel in kernels)


def _are_downs(kernels: Sequence[tuple[int, ...]], widths: Sequence[int]) -> bool:
    return list(kernels) == [(wide, narrow, 3, 3) for narrow, wide in pairwise(widths)]


def _read_ups(kernels: Sequence[tuple[int, ...]], widths: Sequence[int]) -> str | None:
    """By the order of a kernel's channels: those of a transposed convolution are inputs first."""
    pairs = list(pairwise(widths))[::-1]
    if list(kernels) == [(wide, narrow, 3, 3) for narrow, wide in pairs]:
        return "transposed"
    return "nearest" if list(kernels) == [(n, w, 3, 3) for n, w in pairs] else None


def filters(entries: Sequence[Entry]) -> list[Entry]:
    """Those that are fixed kernels."""
    return [entry for entry in entries if entry.filter]
