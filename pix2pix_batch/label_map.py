"""Images whose pixels are labels, which a generator reads one-hot. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import InputError

Colour = tuple[int, int, int]

IDS, IDS_AND_EDGES = "ids", "ids+edges"
"""What stands for a palette where pixels hold the labels' numbers."""
MOST = 64
"""Channels that a generator takes at most."""


@dataclass(frozen=True)
class LabelMap:
    """How pixels become channels: one a label, on where the pixel has it, as pix2pixHD reads them.

    ``count``: labels, numbered from 0; ``edges``: whether one more channel is on where neighbours
    differ; ``palette``: each label's colour, or ``None`` where pixels hold their numbers.
    """

    count: int
    edges: bool = False
    palette: tuple[Colour, ...] | None = None

    def __post_init__(self) -> None:
        """Raises ``ValueError``."""
        if type(self.count) is not int or not 1 <= self.count <= MOST:
            raise ValueError(f"labels: count must be from 1 to {MOST}, not {self.count!r}")
        if type(self.edges) is not bool:
            raise ValueError(f"labels: edges must be true or false, not {self.edges!r}")
        if self.palette is None:
            return
        if len(self.palette) != self.count or len(set(self.palette)) != self.count:
            raise ValueError("labels: the palette must have a colour of its own for each label")
        for colour in self.palette:
            if len(colour) != 3 or not all(type(v) is int and 0 <= v <= 255 for v in colour):
                raise ValueError(f"labels: {colour!r} is no colour of three numbers up to 255")

    @property
    def channels(self) -> int:
        """That a generator of such images has."""
        return self.count + self.edges

    @property
    def summary(self) -> str:
        """For people."""
        kind = "by number" if self.palette is None else "by colour"
        return f"{self.count} labels {kind}" + (" and edges" if self.edges else "")

    def as_dict(self) -> dict[str, object]:
        """What a bundle's metadata holds."""
        palette = None if self.palette is None else [list(colour) for colour in self.palette]
        return {"count": self.count, "edges": self.edges, "palette": palette}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelMap:
        """Raises ``ValueError`` and ``TypeError``."""
        palette = values.get("palette")
        colours = None if palette is None else tuple(tuple(colour) for colour in palette)
        return cls(**{**values, "palette": colours})


def parse_labels(text: str, channels: int) -> LabelMap:
    """Of a generator with so many channels: ``ids``, ``ids+edges``, or a file with a colour a line,
    ``R G B`` or ``#rrggbb``, the first of label 0; a channel more than colours is for edges. Raises
    :class:`InputError`."""
    if text in (IDS, IDS_AND_EDGES):
        edges = text == IDS_AND_EDGES
        return _make(text, channels - edges, edges, None)
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--labels {text}: cannot be read ({error}); give ids, ids+edges, or a text file with "
            "a colour a line"
        ) from error
    told = (line.partition("//")[0].strip() for line in lines)
    colours = tuple(_parse_colour(text, line) for line in told if line)
    if channels - len(colours) not in (0, 1):
        raise InputError(
            f"--labels {text}: has {len(colours)} colours, the model {channels} channels; it takes "
            "one for each, or one less where the last is for edges"
        )
    return _make(text, len(colours), channels > len(colours), colours)


def _make(text: str, count: int, edges: bool, palette: tuple[Colour, ...] | None) -> LabelMap:
    try:
        return LabelMap(count, edges, palette)
    except ValueError as error:
        raise InputError(f"--labels {text}: {error}") from error


def _parse_colour(text: str, line: str) -> Colour:
    if found := re.fullmatch(r"#([0-9a-fA-F]{2})([0-9a-fA-F]{2})([0-9a-fA-F]{2})", line):
        red, green, blue = (int(part, 16) for part in found.groups())
    elif found := re.fullmatch(r"(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})", line):
        red, green, blue = map(int, found.groups())
    else:
        raise InputError(f"--labels {text}: {line!r} is no colour; write it as 'R G B' or #rrggbb")
    return red, green, blue
