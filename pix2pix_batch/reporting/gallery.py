"""What the report shows of single images: before and after, and what was not converted."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from operator import attrgetter
from pathlib import Path
from urllib.parse import quote

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.pages import locate
from pix2pix_batch.journal.record import MADE
from pix2pix_batch.reporting.raster_sides import RasterSide, RasterSides
from pix2pix_batch.reporting.statistics import DOUBT, Group, Statistics, Values
from pix2pix_batch.reporting.thumbnail import Thumbnail, thumbnails
from pix2pix_batch.storage import files, remote
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import escape

PICTURES = 4_000_000
"""Bytes of text for all thumbnails of a page."""

LONGEST_NAME, LONGEST_TEXT, LONGEST_LINK = 160, 400, 1500
"""Characters; of a longer name the end is shown, and what has a longer link has none."""


@dataclass(frozen=True)
class Side:
    """An input or an output. ``missing``: why it cannot be shown; empty where it is."""

    link: str
    picture: Thumbnail | None
    missing: str = ""


@dataclass(frozen=True)
class Card:
    """One image before and after. ``name`` is shown, ``text`` and ``folder`` are searched.
    ``image``: the same on two cards of one image; ``variant``: of a dataset's input, else 0."""

    name: str
    text: str
    folder: str
    image: int
    variant: int
    distance: float | None
    flags: str
    before: Side
    after: Side

    @property
    def far(self) -> bool:
        return self.distance is not None and self.distance >= DOUBT

    @property
    def missing_reason(self) -> str:
        """Why neither is shown."""
        before, after = self.before.missing, self.after.missing
        return before if before == after else f"input: {before}; output: {after}"

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height that the slider takes."""
        picture = self.after.picture or self.before.picture
        return (picture.width, picture.height) if picture else (1, 1)


@dataclass(frozen=True)
class Failure:
    """One input that was not converted. ``count``: how many of its images were not made."""

    name: str
    text: str
    folder: str
    link: str
    reason: str
    count: int


class Gallery:
    """What the page shows of a job's images."""

    def __init__(self, out: Path, outputs: str, tally: Statistics) -> None:
        """``out``: where the page goes, to which links are relative."""
        self.out, self.outputs, self.tally = out.resolve(), outputs, tally
        self.is_remote = not store_of(outputs).is_local
        self.root = str(tally.job.get("input", ""))
        self.rasters = RasterSides(tally.job)
        self._numbers: dict[str, int] = {}

    def cards(self) -> tuple[list[Card], list[Card], list[Card]]:
        """The samples, by name and variant; the doubtful, the furthest first; the flagged, as the
        samples."""
        kinds = self.tally.samples, self.tally.doubtful, self.tally.odd
        mixed = [values for pair in zip_longest(*kinds) for values in pair if values is not None]
        pairs = [self._paths(values) for values in mixed]
        sides: dict[str, RasterSide | None] = {}
        for before, after in pairs:
            sides |= {before: self.rasters.find_input(before)}
            sides |= {after: self.rasters.find_output(after)}
        rasters = {path: side for path, side in sides.items() if side is not None}
        made = thumbnails(chain.from_iterable(pairs), PICTURES, rasters)
        samples, doubtful, odd = ([self._card(values, made) for values in kind] for kind in kinds)
        order = attrgetter("text", "variant")
        return sorted(samples, key=order), doubtful, sorted(odd, key=order)

    def failures(self, most: int) -> list[tuple[Group, list[Failure]]]:
        """Each reason, with up to ``most`` that failed for it."""
        return [
            (group, sorted(map(self._failure, group.examples[:most]), key=attrgetter("text")))
            for group in self.tally.groups
        ]

    def _paths(self, values: Values) -> tuple[str, str]:
        """Where the input and the output of a line lie."""
        source = self._input(self._source(values)[0], str(values.get("stamp", "")))
        output = str(values.get("output", ""))  # none where it lies in a tar
        return source, files.join(self.outputs, output) if output else ""

    def _card(self, values: Values, made: dict[str, Thumbnail | str]) -> Card:
        distance = values.get("distance")
        before, after = (self._side(path, made[path]) for path in self._paths(values))
        if self.tally.is_dataset:  # its images are laid out elsewhere in the end
            after = replace(after, link="")
        distance = float(distance) if isinstance(distance, int | float) else None
        flags = shorten(str(values.get("flags", "")), LONGEST_NAME)
        name, variant = self._source(values)
        called, text, folder = _split_name(name)
        if variant:
            called += f", variant {variant}"
        image = self._numbers.setdefault(str(values["name"]), len(self._numbers))
        number = int(variant) if variant.isdecimal() else 0
        return Card(called, text, folder, image, number, distance, flags, before, after)

    def _failure(self, values: Values) -> Failure:
        reason = shorten(str(values.get("reason", "")), LONGEST_TEXT)
        name = str(values["name"])
        link = self._link(self._input(name, ""))
        return Failure(*_split_name(name), link, reason, values.get("variants", 1))

    def _source(self, values: Values) -> tuple[str, str]:
        """The input of a line, and which variant of it that is; empty where there are none."""
        name = str(values["name"])
        if not self.tally.is_dataset:
            return name, ""
        source, _, variant = name.rpartition("/")
        return source, printable(variant)

    def _input(self, name: str, stamp: str) -> str:
        """Where an input lies. Of a list it is not known what its paths are relative to."""
        if self.root != "list":
            return files.join(self.root, name)
        places = [files.absolute(name), files.join(os.sep, name)]
        for path in places:
            with suppress(ImageError):
                if not stamp or files.stamp_of(locate(path)[0]) == stamp:
                    return path
        return places[-1]

    def _side(self, path: str, made: Thumbnail | str) -> Side:
        if isinstance(made, str):
            return Side(self._link(path), None, shorten(made, LONGEST_TEXT))
        return Side(self._link(path), made)

    def _link(self, path: str) -> str:
        """A path relative to the page, any bytes in it escaped; empty where there is no file, the
        page goes to a store, or the link is too long."""
        path = locate(path)[0]
        if self.is_remote or "\0" in path or not os.path.lexists(path):
            return ""
        if f"{os.sep}{MADE}{os.sep}" in path:  # it goes when the dataset is laid out
            return ""
        link = "./" + quote(os.fsencode(os.path.relpath(os.path.realpath(path), self.out)))
        return link if len(link) <= LONGEST_LINK else ""


def _split_name(name: str) -> tuple[str, str, str]:
    """A name as it is shown, as it is searched, and the folder it lies in."""
    whole = printable(name)
    folder = whole.rpartition("://")[2].partition("/")[0] if "/" in whole else ""
    return _shorten_start(whole), whole.lower()[-LONGEST_TEXT:], _shorten_start(folder)


def _shorten_start(text: str) -> str:
    """The end of a long name: that is where names differ."""
    return text if len(text) <= LONGEST_NAME else "..." + text[-LONGEST_NAME:]


def printable(text: str) -> str:
    """Without control characters, and URLs without passwords and signatures."""
    return escape(remote.redact(text) if "://" in text else text)


def shorten(text: str, longest: int) -> str:
    text = printable(text)
    return text if len(text) <= longest else text[:longest] + "..."
