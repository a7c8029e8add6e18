"""What ``dataset check`` has to say of rasters: their samples, band by band, and what to train
with."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.text import format_count
from pix2pix_batch.train import threads
from pix2pix_batch.train.pair_files import Pair
from pix2pix_batch.train.range_recipe import bare_range
from pix2pix_batch.train.raster_facts import (
    RasterFacts,
    describe_mismatch,
    describe_other_order,
    is_shifted,
    may_be_raster,
    read_facts,
)
from pix2pix_batch.train.raster_files import EMPTY, RasterReader, RasterSide
from pix2pix_batch.train.recipe_schema import PICTURES
from pix2pix_batch.train.value_statistics import BandStatistics, list_samples
from pix2pix_batch.value_ranges import LIMITS, ValueRange

PERCENTS = (2.0, 50.0, 98.0)
WIDE = 100.0
"""The upper percentile over the lower from which on a logarithmic scale is suggested: radar's
intensities lie so far apart, and hardly anything else."""


@dataclass
class SideSurvey:
    """The rasters of A or of B. ``kinds``, ``systems``: how many have which type and CRS;
    ``examples``: a file of each type;
    ``bands``: their statistics; ``names`` and ``nodata``: of the first."""

    files: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Path] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    systems: Counter[str] = field(default_factory=Counter)
    bands: list[BandStatistics] = field(default_factory=list)
    names: tuple[str, ...] = ()
    nodata: float | None = None

    @property
    def first(self) -> Path:
        return next(iter(self.examples.values()))

    @property
    def is_picture(self) -> bool:
        return set(self.kinds) == {"uint8"} and set(self.counts) <= set(PICTURES)

    def as_dict(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "types": dict(self.kinds),
            "bands": [
                {
                    "name": name,
                    "min": statistics.least if statistics.count else None,
                    **{
                        f"p{p:g}": statistics.estimate(p) if statistics.count else None
                        for p in PERCENTS
                    },
                    "max": statistics.most if statistics.count else None,
                    "no_data": round(statistics.absent_share, 6),
                }
                for name, statistics in zip(self.names, self.bands, strict=True)
            ],
            "systems": dict(self.systems),
            "nodata": self.nodata,
        }

    def lines(self, side: str) -> Iterator[str]:
        kinds = ", ".join(kind for kind, _ in self.kinds.most_common())
        places = ", ".join(name[:40] or "no CRS" for name, _ in self.systems.most_common(3))
        bands = format_count(len(self.bands), "band")
        yield f"rasters {side}: {format_count(self.files, 'file')}, {kinds}, {bands}, {places}"
        heads = "".join(f"{head:>11}" for head in ("min", "2 %", "median", "98 %", "max"))
        yield f"  {'band':16}{heads}{'no data':>9}"
        for number, (name, statistics) in enumerate(zip(self.names, self.bands, strict=True), 1):
            label = f"{number} {name}"[:16]
            if not statistics.count:
                yield f"  {label:16}  no samples with data"
                continue
            values = statistics.least, *(statistics.estimate(p) for p in PERCENTS), statistics.most
            cells = "".join(f"{value:>11.5g}" for value in values)
            yield f"  {label:16}{cells}{statistics.absent_share:>9.1%}"

    def suggest(self, is_input: bool) -> list[str]:
        """Recipe lines. Inputs' rare values beyond the percentiles count as these; outputs are
        told whole, for none could be made beyond."""
        word = "input" if is_input else "output"
        kind = self.kinds.most_common(1)[0][0]
        section: dict[str, Any] = {"type": kind if kind in LIMITS else "float32"}
        if self.nodata is not None and np.isfinite(self.nodata):
            section["nodata"] = self.nodata
        if section["type"] != "uint8":
            section["percentiles"] = [2, 98] if is_input else [0, 100]
        if all(_is_wide(statistics) for statistics in self.bands):
            section |= {"scale": "log", "percentiles": [2, 98]}
        if all(self.names) and len(set(self.names)) == len(self.names):
            section["bands"] = list(self.names)
        channels = f"{word.removesuffix('put')}_channels: {len(self.bands)}"
        return [channels, f"{word}_range: {_format_flow(section)}"]


def _is_wide(statistics: BandStatistics) -> bool:
    """Whether values lie magnitudes apart."""
    if statistics.dtype != "float32" or not statistics.count:
        return False
    low, _, high = (statistics.estimate(percent) for percent in PERCENTS)
    return low > 0 and high / low >= WIDE


def _format_flow(values: dict[str, Any]) -> str:
    """Format values as YAML on one line; JSON is some, and plain words need no quotes."""
    parts = []
    for key, value in values.items():
        text = json.dumps(value, ensure_ascii=False)
        parts.append(f"{key}: {value if isinstance(value, str) else text}")
    return "{" + ", ".join(parts) + "}"


@dataclass
class RasterSurvey:
    """Of both sides, where they are rasters; ``problems``, ``warnings``: as of ``dataset check``;
    ``partly``: files with pixels that lack data in some bands only; ``without_system``: files
    without a CRS whose partners have one; ``shifted``: of B, that lie beside their partners, as
    :func:`is_shifted` says; ``unlike_pictures``: those that
    are no pictures of 8 bits, each with its side. ``is_asked``: whether a recipe says what they
    are: then reading the pairs tells which of them are not so."""

    is_asked: bool = False
    sides: dict[str, SideSurvey] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
    partly: list[Path] = field(default_factory=list)
    without_system: list[Path] = field(default_factory=list)
    shifted: list[Path] = field(default_factory=list)
    unlike_pictures: dict[str, str] = field(default_factory=dict)

    def add(self, pair: Pair, looks: Sequence[FileLook]) -> None:
        for side, look in zip("AB", looks, strict=True):
            self.problems += [(str(look.path), text) for text in look.problems]
            if look.warning:
                self.warnings[str(look.path)] = look.warning
            if look.partly:
                self.partly.append(look.path)
            if look.facts is not None:
                self._add_file(side, look, look.facts)
        first, other = (look.facts for look in looks)
        if first is None or other is None:
            return
        if not self.is_asked and (what := describe_mismatch(first, other)):
            self.problems.append((str(pair.b), what))
        if is_shifted(first, other):
            self.shifted.append(looks[1].path)
        if bool(first.system) != bool(other.system):
            self.without_system.append(looks[bool(first.system)].path)

    def _add_file(self, side: str, look: FileLook, facts: RasterFacts) -> None:
        if facts.kind != "uint8" or facts.bands not in PICTURES:
            self.unlike_pictures[str(look.path)] = side
        mine = self.sides.setdefault(side, SideSurvey())
        if not mine.files:
            mine.names, mine.nodata = look.names, next(iter(facts.nodata), None)
            mine.bands = [BandStatistics(look.kind) for _ in look.bands]
        mine.files += 1
        mine.systems[facts.system] += 1
        first = next(iter(mine.kinds), facts.kind)
        mine.kinds[facts.kind] += 1
        mine.examples.setdefault(facts.kind, look.path)
        mine.counts[facts.bands] += 1
        fits = facts.kind == first and len(look.bands) == len(mine.bands)
        other_order = describe_other_order(look.names, mine.first, mine.names)
        if fits and not other_order:
            for statistics, other in zip(mine.bands, look.bands, strict=True):
                statistics.merge(other)
        elif self.is_asked:
            return
        elif facts.kind != first:
            self.problems.append(
                (str(look.path), f"has samples of {facts.kind}, and files before of {first}; all "
                 "of a side must be of one type, and on one scale")
            )  # fmt: skip
        elif fits:
            self.problems.append((str(look.path), other_order))
        else:
            self.problems.append(
                (str(look.path), f"has {format_count(len(look.bands), 'band')}, and files before "
                 f"{len(mine.bands)}")
            )  # fmt: skip


@dataclass(frozen=True)
class FileLook:
    """What was read of a file. ``facts``: ``None`` for pictures; ``bands``: their statistics;
    ``warning``: what is odd of it; ``partly``: how many pixels lack data in some bands only."""

    path: Path
    facts: RasterFacts | None = None
    kind: str = ""
    names: tuple[str, ...] = ()
    bands: tuple[BandStatistics, ...] = ()
    problems: tuple[str, ...] = ()
    warning: str = ""
    partly: int = 0


def survey_rasters(listed: Sequence[Pair], reader: RasterReader | None) -> RasterSurvey:
    """Read all rasters among the files of ``listed``. ``reader``: of a recipe that takes rasters;
    ``None`` where it does not say what they are."""
    result = RasterSurvey(reader is not None)
    if reader is None and not any(may_be_raster(path) for pair in listed for path in pair.files()):
        return result
    if not library.is_installed():
        return result
    both = [pair for pair in listed if pair.b is not None]
    looks = threads.map_ahead(
        lambda pair: [_look(path, reader, place) for place, path in enumerate(pair.files())], both
    )
    for pair, look in zip(both, looks, strict=True):
        result.add(pair, look)
    return result


def _look(path: Path, reader: RasterReader | None, place: int) -> FileLook:
    if reader is None and not may_be_raster(path):
        return FileLook(path)
    try:
        side = None if reader is None else (reader.b if place else reader.a)
        facts = read_facts(path, None if side is None else side.bare.channels)
        if np.dtype(facts.kind).kind not in "iuf":
            raise ImageError(f"has samples of {facts.kind}; real numbers are read")
        if reader is None and facts.kind == "uint8" and facts.bands in PICTURES:
            return FileLook(path)
        if reader is None or side is None:
            kind = facts.kind if facts.kind in LIMITS else "float32"
            bare = bare_range(kind, [""] * facts.bands, None)
            own, side = RasterReader.plain(), RasterSide(bare, bare)
            names = facts.names
        else:
            own = reader
            chosen = side.bare.names
            kind = side.bare.dtype
            is_named = side.bands or any(chosen) or len(chosen) != facts.bands
            names = chosen if is_named else facts.names
        read = _read_bands(path, own, side, bare_range(kind, [""] * len(names), None))
    except ImageError as error:
        # of a recipe's reader, what is wrong is found where the pair is read
        said = str(error).removeprefix(f"{path}: ")
        return FileLook(path, problems=() if reader is not None else (said,))
    problems = (EMPTY,) if read.is_empty and reader is None else ()
    warning = own.warnings.get(str(path), "")
    return FileLook(path, facts, kind, names, tuple(read.bands), problems, warning, read.partly)


@dataclass
class BandsRead:
    """What the values of a file are like: its ``bands``; ``partly``: how many pixels lack data in
    some bands only; ``is_empty``: whether none has any."""

    bands: list[BandStatistics]
    partly: int = 0
    is_empty: bool = True


def _read_bands(
    path: Path, reader: RasterReader, side: RasterSide, counted: ValueRange
) -> BandsRead:
    """Window by window, where it is large. ``counted``: as of :func:`list_samples`. Raises
    :class:`ImageError`."""
    bands_read = BandsRead([BandStatistics(counted.dtype) for _ in counted.bands])
    for window in reader.list_windows(path, side):
        pixels, there = reader.bands_of(path, side, window)
        size = pixels.shape[0] * pixels.shape[1]
        samples = list_samples(pixels, there, counted)
        for statistics, values in zip(bands_read.bands, samples, strict=True):
            statistics.add(values, size - values.size)
        bands_read.is_empty &= there is not None and not there.any()
        if there is not None:
            bands_read.partly += int((there.any(axis=2) & ~there.all(axis=2)).sum())
    return bands_read
