"""The pairs that were found in a directory, and which of them are held out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import format_count
from pix2pix_batch.train import sides
from pix2pix_batch.train.pair_files import Pair
from pix2pix_batch.train.sides import Sides

Layout = Literal["side-by-side", "folders", "manifest"]


@dataclass
class Survey:
    """What lies in a directory: its pairs, and every problem as ``(file, what is wrong)``.

    ``pair_directories``: those of which every image is taken for a pair; ``sides``: the directories
    of two sides; ``hint``: what to do about files without partner, where that is not told with
    them; ``links``: those to directories within, which are not followed; ``doubts``: by the
    directories' names; ``rasters``: whether files that are rasters and no pictures are images too.
    """

    data: Path
    layout: Layout
    pairs: list[Pair] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    pair_directories: list[Path] = field(default_factory=list)
    sides: list[Sides] = field(default_factory=list)
    hint: str = ""
    links: int = 0
    doubts: list[str] = field(default_factory=list)
    rasters: bool = False

    def split(self, name: str) -> list[Pair]:
        return [pair for pair in self.pairs if pair.split == name]

    def list_files(self, folder: Path) -> Iterator[Path]:
        """The images below ``folder``; links to directories are counted."""
        left = LeftAlone()
        yield from image_files(folder, left, self.rasters)
        self.links += left.links

    def describe_links(self) -> str:
        """What to say of links to directories; empty where there are none."""
        if not self.links:
            return ""
        links, are = format_count(self.links, "link"), "is" if self.links == 1 else "are"
        return (
            f"{links} to directories {are} not followed, and what lies there is not used; put the "
            "files themselves there, or list them in a manifest"
        )

    def counts(self) -> Counter[str]:
        return Counter(pair.split for pair in self.pairs)

    def name_sides(self) -> str:
        """Which directories are A and which B, where their names do not say so themselves."""
        kinds = [sides.read_name(side).kind for part in self._directories() for side in part]
        if set(kinds) <= {sides.Kind.A, sides.Kind.B}:
            return ""
        names = [dict.fromkeys(side.name for side in part) for part in self._directories()]
        return ", ".join(f"{'AB'[i]}: {'/, '.join(listed)}/" for i, listed in enumerate(names)
                         if listed)  # fmt: skip

    def _directories(self) -> tuple[list[Path], list[Path]]:
        """A's and B's directories, not those of splits in them."""
        directories: tuple[list[Path], list[Path]] = ([], [])
        for pair in self.sides:
            for listed, side in zip(directories, (pair.a, pair.b), strict=True):
                is_split = sides.read_name(side).kind is None and side.parent != self.data
                listed.append(side.parent if is_split else side)
        return directories


def hold_out(survey: Survey, fraction: float) -> None:
    """Make a ``val`` split of about ``fraction`` of the training pairs, where there is none.

    Raises :class:`InputError` where there is one training pair only.
    """
    train = survey.split("train")
    if survey.split("val") or not train:
        return
    if len(train) == 1:
        raise InputError(
            f"{survey.data}: holds one training pair only, and none for validation; give more "
            "pairs, or set val_fraction=0 to train on it without validation"
        )
    ranked = sorted(train, key=lambda pair: _unit_hash(pair.name))
    chosen = {id(pair) for pair in ranked if _unit_hash(pair.name) < fraction}
    chosen = chosen or {id(ranked[0])}
    if len(chosen) == len(train):
        chosen.discard(id(ranked[-1]))
    survey.pairs = [Pair(p.name, "val", p.a, p.b) if id(p) in chosen else p for p in survey.pairs]


def _unit_hash(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return (
        int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        / 2**64
    )
