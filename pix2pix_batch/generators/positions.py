"""What the keys of a checkpoint of numbered layers say: which are convolutions, which blocks.

Networks that are a sequence (``nn.Sequential``) have their layers' places in their keys, and the
shapes say what each is. So they are read whatever comes before the number (``model.``,
``module.netG.model.``), and whatever a residual block calls its own sequence (``conv_block``,
``block``, ...).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pix2pix_batch.generators.description import LayoutError, Shapes

NUMBERED = re.compile(r"(?:(?P<root>.*?)\.)?(?P<place>\d+)\.(?P<rest>.+)")
FILTER = "filt"
"""What CUT calls the fixed kernel of a layer that blurs."""


class Entry(NamedTuple):
    """One place of a sequence.

    ``prefix``: its keys begin with this and a dot. ``kernel``: the shape of its convolution's
    weight, ``()`` where it has none; ``parts``: of a residual block its own sequence; ``filter``:
    whether it holds a fixed kernel; ``scaled``: whether it has a norm's scale or statistics.
    """

    place: int
    prefix: str
    kernel: tuple[int, ...] = ()
    parts: tuple[Entry, ...] = ()
    filter: bool = False
    scaled: bool = False


def find_root(shapes: Iterable[str]) -> str | None:
    """What most of the numbered keys have before their first number."""
    roots: Counter[str] = Counter()
    for key in shapes:
        if found := NUMBERED.fullmatch(key):
            roots[found["root"] or ""] += 1
    return max(roots, key=roots.__getitem__) if roots else None


def read_entries(shapes: Shapes, root: str) -> list[Entry]:
    """The places of the sequence whose keys begin with ``root``, in order."""
    start = f"{root}." if root else ""
    found: dict[int, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        if not key.startswith(start):
            continue
        place, dot, rest = key.removeprefix(start).partition(".")
        if dot and place.isdecimal():
            found.setdefault(int(place), {})[rest] = shape
    return [_entry(place, f"{start}{place}", found[place]) for place in sorted(found)]


def _entry(place: int, prefix: str, tensors: Mapping[str, tuple[int, ...]]) -> Entry:
    weight = tensors.get("weight", ())
    if len(weight) == 4:
        return Entry(place, prefix, kernel=weight)
    if FILTER in tensors:
        return Entry(place, prefix, filter=True)
    if "weight" in tensors or "running_mean" in tensors:
        return Entry(place, prefix, scaled=True)
    inner = find_root(tensors)
    parts = () if inner is None else tuple(read_entries(tensors, inner))
    start = f"{prefix}.{inner}." if inner else f"{prefix}."
    return Entry(place, prefix, parts=tuple(_within(part, start) for part in parts))


def _within(part: Entry, start: str) -> Entry:
    return part._replace(prefix=f"{start}{part.place}")


class Stages(NamedTuple):
    """A generator with residual blocks, cut into what comes before, the blocks and what comes
    after: convolutions and fixed filters, norms left out."""

    before: list[Entry]
    blocks: list[Entry]
    after: list[Entry]
    scaled: list[Entry]


def cut_into_stages(entries: Sequence[Entry]) -> Stages | None:
    """``None`` where there is no run of residual blocks with convolutions before and after."""
    blocks = [entry for entry in entries if entry.parts]
    if not blocks or blocks[-1].place - blocks[0].place != len(blocks) - 1:
        return None
    first, last = blocks[0].place, blocks[-1].place
    layers = [entry for entry in entries if entry.kernel or entry.filter]
    return Stages(
        [entry for entry in layers if entry.place < first],
        blocks,
        [entry for entry in layers if entry.place > last],
        [entry for entry in entries if entry.scaled],
    )


class BlockLayout(NamedTuple):
    """How all residual blocks of a network are laid out. ``convolutions``: the places of the two
    in the block; ``reflects``: whether padding layers come before them; ``dropout``: whether
    there is one more layer between; ``normless``: whether there is no room for norms."""

    convolutions: tuple[int, int]
    reflects: bool
    dropout: bool
    normless: bool


def read_blocks(blocks: Sequence[Entry], width: int) -> BlockLayout | None:
    """Of blocks of two 3x3 convolutions of ``width``; ``None`` for other ones.

    A block is [pad,] convolution, norm, ReLU, [dropout,] [pad,] convolution, norm. Raises
    :class:`LayoutError` where they are not alike.
    """
    found = set()
    for block in blocks:
        convolutions = [part for part in block.parts if part.kernel]
        if [part.kernel for part in convolutions] != [(width, width, 3, 3)] * 2:
            return None
        found.add((convolutions[0].place, convolutions[1].place))
    if len(found) != 1:
        raise LayoutError("its residual blocks are not all alike; only those of one kind are known")
    first, second = found.pop()
    padded = first == 1
    between = second - first - 1 - padded  # norm, ReLU, perhaps dropout
    if first > 1 or not 1 <= between <= 3:
        return None
    return BlockLayout((first, second), padded, between == 3, between == 1)


def norm_after(entry: Entry) -> str:
    """The name of the norm of a convolution: the next place of its sequence."""
    above, dot, own = entry.prefix.rpartition(".")
    return f"{above}{dot}{int(own) + 1}"


def map_pair(ours: str, entry: Entry) -> dict[str, str]:
    """A convolution and its norm, by our name of the two."""
    return {f"{ours}.conv": entry.prefix, f"{ours}.norm": norm_after(entry)}


def map_blocks(blocks: Sequence[Entry]) -> dict[str, str]:
    """The two convolutions of each residual block, and their norms."""
    modules: dict[str, str] = {}
    for number, block in enumerate(blocks):
        convolutions = [part for part in block.parts if part.kernel]
        for part, entry in enumerate(convolutions):
            modules |= map_pair(f"block.{number}.{part}", entry)
    return modules
