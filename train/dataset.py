"""``dataset check``: all that can be wrong with training pairs, before any training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.reporting import contact_sheet
from pix2pix_batch.reporting.console import format_left_alone, format_warnings
from pix2pix_batch.reporting.scale_bar import Scale
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import notes, pair_files, pairs, plausible, sides, threads
from pix2pix_batch.train.data import FileSplit, MosaicData, generator_at, spread_indices
from pix2pix_batch.train.jitter import Jitter, Pixels
from pix2pix_batch.train.mosaic_recipe import Mosaic
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.palettes import Palettes, few_colours
from pix2pix_batch.train.raster_check import check_rasters
from pix2pix_batch.train.raster_data import RasterSplit
from pix2pix_batch.train.raster_files import RasterReader
from pix2pix_batch.train.raster_survey import SideSurvey
from pix2pix_batch.train.recipe import Recipe

SHEET_PAIRS = 12
SHEET_COLUMNS = 3
COMMON = 4
"""Sizes and modes named in the text, the most common first; JSON has them all."""

LISTED = 50
"""Problems named in the text."""

IN_JSON = "; --json has them all"

Problem = tuple[str, str]
"""A file, and what is wrong with it and what to do."""

Sample = tuple[str, Pixels, Pixels]


@dataclass
class Check:
    """What was found. ``naming``: which directories are A and B; ``sizes``: those of one image of
    a pair; ``modes``: Pillow's; ``doubts``: why these may be no pairs, by what they show;
    ``warnings``: what is wrong with files that are read for all that; ``left``: what lies there
    and is left alone; ``rasters``: by side, those that are; ``suggested``: recipe lines;
    ``scales``: of bands that the sheet shows in a map's colours."""

    data: Path
    recipe: Recipe
    layout: str
    naming: str = ""
    splits: dict[str, int] = field(default_factory=dict)
    held_out: bool = False
    sizes: Counter[str] = field(default_factory=Counter)
    modes: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left: LeftAlone = field(default_factory=LeftAlone)
    samples: list[Sample] = field(default_factory=list)
    rasters: dict[str, SideSurvey] = field(default_factory=dict)
    suggested: list[str] = field(default_factory=list)
    scales: list[Scale] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "data": str(self.data),
            "layout": self.layout,
            "naming": self.naming,
            "splits": self.splits,
            "held_out": self.held_out,
            "sizes": dict(self.sizes.most_common()),
            "modes": {side: dict(modes.most_common()) for side, modes in self.modes.items()},
            **self._rasters_as_dict(),
            "training": describe_training(self.recipe),
            "problems": [{"file": file, "problem": what} for file, what in self.problems],
            "doubts": self.doubts,
            "warnings": [{"file": file, "warning": said} for file, said in self.warnings.items()],
            "notes": self.notes,
            "ignored": self.left.other.count,
            "unread": self.left.unread.count,
            "litter": self.left.litter.count,
        }

    def _rasters_as_dict(self) -> dict[str, Any]:
        if not self.rasters:
            return {}
        sides = {side: found.as_dict() for side, found in self.rasters.items()}
        return {"rasters": sides, "suggested": self.suggested}

    def lines(self) -> Iterator[str]:
        recipe = self.recipe
        pairs_noun = "crop" if recipe.mosaic else "pair"
        total = format_count(sum(self.splits.values()), pairs_noun)
        naming = f" ({escape(self.naming)})" if self.naming else ""
        yield f"{escape(self.data)}: {self.layout}{naming}, {total}"
        for name, count in self.splits.items():
            yield f"  {name:6}{count:>8,}" + (self._told_held_out() if name == "val" else "")
        if self.sizes:
            yield f"sizes   {_common(self.sizes)}"
        for side, modes in self.modes.items():
            yield f"modes   {side}: {_common(modes)}"
        for side, found_rasters in self.rasters.items():
            yield from found_rasters.lines(side)
        if self.suggested:
            yield "suggested for the recipe:"
            yield from (f"  {line}" for line in self.suggested)
        yield f"trains  {_describe_recipe(recipe)}"
        for note in self.notes:
            yield f"note: {note}"
        yield from format_left_alone(self.left)
        for doubt in self.doubts:
            yield f"doubt: {doubt}"
        yield from format_warnings(sorted(self.warnings.items()), len(self.warnings), IN_JSON)
        for file, what in self.problems[:LISTED]:
            yield f"problem: {escape(file)}: {escape(what)}"
        if (more := len(self.problems) - LISTED) > 0:
            yield f"and {format_count(more, 'problem')} more{IN_JSON}"
        yield ", ".join(self._ends())

    def _told_held_out(self) -> str:
        if not self.held_out:
            return ""
        share = self.splits["val"] / max(1, self.splits["val"] + self.splits.get("train", 0))
        return (
            f", held out: those whose names hash below val_fraction {self.recipe.val_fraction:g}, "
            f"here {share:.0%}"
        )

    def _ends(self) -> Iterator[str]:
        if self.problems or not self.doubts:
            yield format_count(len(self.problems), "problem") if self.problems else "no problems"
        if self.doubts:
            yield format_count(len(self.doubts), "doubt") + ": look at --sheet before training"

    def sheet(self) -> bytes:
        """A PNG of training samples, after the jitter. Raises :class:`InputError`."""
        if not self.samples:
            raise InputError(f"{self.data}: no sound pairs to draw a sheet of")
        side_in, side_out = ("B", "A") if self.recipe.direction == "BtoA" else ("A", "B")
        heads = [f"input ({side_in})", f"target ({side_out})"]
        return contact_sheet.render_png(
            [(name, images) for name, *images in self.samples],
            heads,
            SHEET_COLUMNS,
            scales=self.scales,
        )


def check(data: Path, recipe: Recipe, tolerance: Tolerance = USUAL) -> Check:
    """Look at every file in ``data``. Raises :class:`InputError` where there is no data at all."""
    if recipe.mosaic is not None:
        return _check_mosaics(data, recipe, recipe.mosaic, tolerance)
    if recipe.takes_rasters:
        return _check_files(data, recipe, RasterReader(recipe, tolerance))
    return _check_files(data, recipe, Reader(tolerance))


def describe_training(recipe: Recipe) -> dict[str, Any]:
    """What becomes of the pairs, as the recipe says."""
    resized = recipe.resized if recipe.fit == "resize" and recipe.mosaic is None else None
    return {
        "name": recipe.name,
        "direction": recipe.direction,
        "load_size": resized,
        "size": recipe.size,
        "flip": recipe.flip,
        "in_channels": recipe.in_channels,
        "out_channels": recipe.out_channels,
        "val_fraction": recipe.val_fraction,
    }


@dataclass(frozen=True)
class _Seen:
    """One pair, read. ``digests``: of A's and B's pixels, ``None`` for images of one colour;
    ``colours``: of each of its files that has a palette of few, by their numbers."""

    pair: Pair
    modes: list[str]
    shape: tuple[int, int] | None = None
    digests: tuple[bytes | None, bytes | None] = (None, None)
    problems: tuple[Problem, ...] = ()
    look: plausible.PairComparison | None = None
    colours: tuple[dict[int, bytes], ...] = ()


def _check_files(data: Path, recipe: Recipe, reader: Reader) -> Check:
    found = _survey(data, recipe)
    result = Check(data, recipe, found.layout, found.name_sides(), problems=list(found.problems))
    _count_splits(result, found)
    check_rasters(result, found, reader)
    jitter, repeats = Jitter.of(recipe), _Repeats()
    evidence = plausible.Evidence(found.layout == "side-by-side")
    palettes = Palettes()
    sound = []
    for seen in threads.map_ahead(
        lambda pair: _read_pair(pair, recipe, jitter, reader), found.pairs
    ):
        _count(result, seen)
        result.problems += seen.problems
        result.problems += repeats.add(seen)
        palettes.add(seen.colours)
        if seen.look is not None:
            evidence.add(seen.look)
        if not seen.problems:
            sound.append(seen.pair)
    if (
        found.layout == "side-by-side"
        and sound
        and not any(pairs.is_wide(pair, reader) for pair in sound)
    ):
        result.doubts.append(pairs.NOT_WIDE)
    result.doubts += found.doubts
    result.doubts += [*evidence.doubts(), *palettes.doubts()]
    result.notes += notes.list_notes(result, found)
    shown_split = [pair for pair in sound if pair.split == "train"] or sound
    result.samples = _file_samples(shown_split, recipe, jitter, reader)
    result.warnings = reader.warnings
    return result


def _survey(data: Path, recipe: Recipe) -> pairs.Survey:
    """Where there is nothing but rasters, these, whatever the recipe takes."""
    try:
        return pairs.survey(data, val_fraction=0, rasters=recipe.takes_rasters)
    except InputError:
        if recipe.takes_rasters:
            raise
        with suppress(InputError):
            return pairs.survey(data, val_fraction=0, rasters=True)
        raise


def _count_splits(result: Check, found: pairs.Survey) -> None:
    """Hold out what training would, problems or not."""
    given = bool(found.split("val"))
    try:
        if result.recipe.val_fraction:
            pairs.hold_out(found, result.recipe.val_fraction)
    except InputError as error:
        result.problems.append((str(result.data), str(error).removeprefix(f"{found.data}: ")))
    counts = found.counts()
    result.splits = {name: counts[name] for name in sides.SPLITS if counts[name]}
    result.held_out = counts["val"] > 0 and not given
    if not counts["train"]:
        result.problems.append((str(result.data), "has no training pairs (split 'train')"))


def _read_pair(pair: Pair, recipe: Recipe, jitter: Jitter, reader: Reader) -> _Seen:
    """Read a pair as training would, to the last pixel."""
    modes = [mode for mode in map(_mode, pair.files()) if mode]
    if problems := pair_files.check_headers([pair], reader=reader):
        return _Seen(pair, modes, problems=tuple(problems))
    if isinstance(reader, RasterReader):
        return _read_rasters(pair, modes, recipe, jitter, reader)
    channels = (recipe.in_channels, recipe.out_channels)
    if recipe.direction == "BtoA":
        channels = channels[::-1]
    wanted = channels if pair.b is not None else (max(channels),)
    read: list[Pixels] = []
    for path, number in zip(pair.files(), wanted, strict=True):
        try:
            image = reader.image(path, number)
            read += pair_files.halves(image, channels, path) if pair.b is None else (image,)
        except ImageError as error:
            problems.append((str(path), str(error).removeprefix(f"{path}: ")))
    if problems:
        return _Seen(pair, modes, problems=tuple(problems))
    a, b = read
    shape = (a.shape[1], a.shape[0])
    try:
        if recipe.fit == "tile":
            jitter.without_jitter(a, b)
    except ImageError as error:
        return _Seen(pair, modes, shape, problems=((str(pair.a), str(error)),))
    looked = plausible.compare_sides(a, b, pair.b is None)
    colours = tuple(few_colours(path) for path in pair.files())
    return _Seen(pair, modes, shape, (_digest(a), _digest(b)), look=looked, colours=colours)


def _read_rasters(
    pair: Pair, modes: list[str], recipe: Recipe, jitter: Jitter, reader: RasterReader
) -> _Seen:
    """The same of rasters, which are compared as pictures."""
    try:
        a, b, valid = reader.values(pair)
        shape = (a.shape[1], a.shape[0])
        if recipe.fit == "tile":
            jitter.without_jitter(a, b, valid)
    except ImageError as error:
        named = next((path for path in pair.files() if str(error).startswith(f"{path}: ")), pair.a)
        what = str(error).removeprefix(f"{named}: ")
        return _Seen(pair, modes, problems=((str(named), what),))
    looked = plausible.compare_sides(*reader.pictures(a, b), False)
    return _Seen(pair, modes, shape, (_digest(a), _digest(b)), look=looked)


def _mode(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            return image.mode
    except Exception:  # check_headers has the reason
        return None


def _digest(pixels: Pixels) -> bytes | None:
    if (pixels == pixels[0, 0]).all():
        return None
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()


def _count(result: Check, seen: _Seen) -> None:
    if seen.shape is not None:
        result.sizes["{}x{}".format(*seen.shape)] += 1
    sides = ("AB",) if seen.pair.b is None else ("A", "B")
    if len(seen.modes) == len(sides):
        for side, mode in zip(sides, seen.modes, strict=True):
            result.modes.setdefault(side, Counter())[mode] += 1


class _Repeats:
    """Finds images that are in two splits: what is validated on them, training has seen.

    The pixels are compared, not the files' bytes, each side by itself: the same input with
    another target, or the other way round, gives away as much. Images of one colour, such as
    tiles of open sea, may be alike without being the same place and do not count.
    """

    def __init__(self) -> None:
        self.first: dict[tuple[int, bytes], Pair] = {}

    def add(self, seen: _Seen) -> list[Problem]:
        pair = seen.pair
        others: dict[int, Pair] = {}
        for side, digest in enumerate(seen.digests):
            if digest is not None:
                other = self.first.setdefault((side, digest), pair)
                if other.split != pair.split:
                    others[side] = other
        if len(others) == 2 and others[0] is others[1]:
            return [(str(pair.a), _repeat("the same pair", pair, others[0], others[0].a))]
        return [
            (str(pair.files()[-1] if side else pair.a),
             _repeat(f"the same {'AB'[side]} image", pair, other, other.files()[-1 if side else 0]))
            for side, other in others.items()
        ]  # fmt: skip


def _repeat(what: str, pair: Pair, other: Pair, file: Path) -> str:
    return f"is in {pair.split!r}, and {what} is in {other.split!r}: {file}; remove one of them"


def _file_samples(
    listed: Sequence[Pair], recipe: Recipe, jitter: Jitter, reader: Reader
) -> list[Sample]:
    chosen = [listed[i] for i in spread_indices(len(listed), SHEET_PAIRS)]
    if isinstance(reader, RasterReader):
        rasters = RasterSplit(chosen, recipe, jitter, reader)
        drawn = [
            rasters.read_jittered(i, generator_at(recipe.seed, i, 1)) for i in range(len(chosen))
        ]
        return [
            (pair.name, *reader.draw(*images)) for pair, images in zip(chosen, drawn, strict=True)
        ]
    split = FileSplit(chosen, recipe, jitter, reader)
    return [
        (pair.name, *split.read_jittered(i, generator_at(recipe.seed, i, 1)))  # type: ignore[misc]
        for i, pair in enumerate(chosen)
    ]


def _check_mosaics(data: Path, recipe: Recipe, mosaic: Mosaic, tolerance: Tolerance) -> Check:
    if not data.is_dir():
        raise InputError(f"{data}: there is no such directory")
    result = Check(data, recipe, f"mosaics {mosaic.source} and {mosaic.target}")
    for side, name in (("A", mosaic.source), ("B", mosaic.target)):
        if mode := _mode(data / name):
            result.modes[side] = Counter([mode])
    try:
        opened = MosaicData(data, recipe, mosaic, tolerance)
        result.warnings = opened.reader.warnings
        result.splits = {"train": len(opened.train), "val": len(opened.val)}
        height, width = opened.sampler.mosaics.a.shape[:2]
        result.sizes = Counter([f"{width}x{height}"])
        if width != 2 * height:
            result.notes.append("a whole Earth is twice as wide as high; these mosaics are not")
        result.samples = [(f"sample {k}", *opened.sample(k)) for k in range(SHEET_PAIRS)]
    except InputError as error:
        result.problems.append((str(data), str(error)))
    return result


def _common(counts: Counter[str]) -> str:
    named = [f"{name} ({count:,})" for name, count in counts.most_common(COMMON)]
    more = len(counts) - COMMON
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _describe_recipe(recipe: Recipe) -> str:
    facts = describe_training(recipe)
    domains = [recipe.source_domain, recipe.target_domain]
    arrow = " -> ".join(reversed("AB") if recipe.direction == "BtoA" else "AB")
    parts = [arrow + (f" ({' -> '.join(domains)})" if all(domains) else "")]
    if facts["load_size"]:
        parts.append(f"resized to {facts['load_size']}x{facts['load_size']}")
    parts.append(f"cropped to {recipe.size}x{recipe.size}")
    if recipe.flip:
        parts.append("half of them mirrored")
    parts.append(f"{recipe.in_channels} -> {recipe.out_channels} channels")
    return ", ".join(parts)
