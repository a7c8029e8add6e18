"""``dataset check``: all that can be wrong with training pairs, before any training."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.decoding.opening import open_quietly
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.train import notes, pair_files, pairs, plausible, sides, threads
from pix2pix_batch.train.check_result import Check, Problem, Sample
from pix2pix_batch.train.deep_samples import describe_remedies
from pix2pix_batch.train.file_data import FileSplit
from pix2pix_batch.train.jitter import Jitter, Pixels
from pix2pix_batch.train.mosaic_data import MosaicData
from pix2pix_batch.train.mosaic_recipe import Mosaic
from pix2pix_batch.train.pair_doubts import NOT_WIDE, EvidenceBySplit, is_wide
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.palettes import Palettes, few_colours
from pix2pix_batch.train.raster_check import check_rasters, describe_unread_rasters
from pix2pix_batch.train.raster_data import RasterSplit
from pix2pix_batch.train.raster_files import EMPTY, RasterReader
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.sampling import generator_at, spread_indices
from pix2pix_batch.train.survey import Survey, hold_out

SHEET_PAIRS = 12


def check(data: Path, recipe: Recipe, tolerance: Tolerance = USUAL) -> Check:
    """Look at every file of the data that a recipe would train on.

    Args:
        data: As in :func:`pix2pix_batch.train.data.open_data`.
        recipe: The recipe.
        tolerance: What is made of damaged and of large files.

    Raises:
        InputError: There is no data at all.
    """
    if recipe.mosaic is not None:
        return _check_mosaics(data, recipe, recipe.mosaic, tolerance)
    if recipe.takes_rasters:
        return _check_files(data, recipe, RasterReader(recipe, tolerance))
    return _check_files(data, recipe, Reader(tolerance))


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
    surveyed = _survey(data, recipe)
    result = Check(
        data, recipe, surveyed.layout, surveyed.name_sides(), problems=list(surveyed.problems)
    )
    _count_splits(result, surveyed)
    unlike_pictures = check_rasters(result, surveyed, reader)
    jitter, repeats = Jitter.of(recipe), _Repeats()
    evidence = EvidenceBySplit(surveyed.layout == "side-by-side")
    palettes = Palettes()
    sound = []
    reported = {file for file, _ in result.problems if not isinstance(reader, RasterReader)}
    unread: dict[str, list[str]] = {}
    for seen in threads.map_ahead(
        lambda pair: _read_pair(pair, recipe, jitter, reader), surveyed.pairs
    ):
        _count(result, seen)
        for file, what in seen.problems:
            if file in unlike_pictures:
                unread.setdefault(unlike_pictures[file], []).append(file)
            elif file not in reported:
                result.problems.append((file, what))
        result.problems += repeats.add(seen)
        palettes.add(seen.colours)
        if seen.look is not None:
            evidence.add(seen.pair.split, seen.look)
        if not seen.problems:
            sound.append(seen.pair)
    result.problems += [
        (files[0], describe_unread_rasters(side, files)) for side, files in unread.items()
    ]
    if (
        surveyed.layout == "side-by-side"
        and sound
        and not any(is_wide(pair, reader) for pair in sound)
    ):
        result.doubts.append(NOT_WIDE)
    result.doubts += surveyed.doubts
    remedies = partial(describe_remedies, sound, recipe)
    result.doubts += [*evidence.doubts(remedies), *palettes.doubts()]
    result.notes += notes.list_notes(result, surveyed)
    shown_split = [pair for pair in sound if pair.split == "train"] or sound
    result.samples = _file_samples(shown_split, recipe, jitter, reader)
    result.warnings |= reader.warnings
    return result


def _survey(data: Path, recipe: Recipe) -> Survey:
    """Find the pairs. If there are rasters alone, or more pairs with them, they are found whatever
    the recipe takes."""
    found, refusal = None, None
    try:
        found = pairs.survey(data, val_fraction=0, rasters=recipe.takes_rasters)
    except InputError as error:
        refusal = error
    if not recipe.takes_rasters and (found is None or found.problems):
        with suppress(InputError):
            other = pairs.survey(data, val_fraction=0, rasters=True)
            if found is None or len(other.pairs) > len(found.pairs):
                return other
    if found is None:
        assert refusal is not None
        raise refusal
    return found


def _count_splits(result: Check, surveyed: Survey) -> None:
    """Hold out what training would, problems or not."""
    has_val = bool(surveyed.split("val"))
    try:
        if result.recipe.val_fraction:
            hold_out(surveyed, result.recipe.val_fraction)
    except InputError as error:
        result.problems.append((str(result.data), str(error).removeprefix(f"{surveyed.data}: ")))
    counts = surveyed.counts()
    result.splits = {name: counts[name] for name in sides.SPLITS if counts[name]}
    result.held_out = counts["val"] > 0 and not has_val
    if not counts["train"]:
        result.problems.append((str(result.data), "has no training pairs (split 'train')"))


def _read_pair(pair: Pair, recipe: Recipe, jitter: Jitter, reader: Reader) -> _Seen:
    """Read a pair as training would, to the last pixel."""
    modes = [mode for mode in map(_mode, pair.files()) if mode]
    if problems := pair_files.check_headers([pair], reader=reader):
        return _Seen(pair, modes, problems=tuple(problems))
    if isinstance(reader, RasterReader):
        return _read_rasters(pair, modes, recipe, jitter, reader)
    channels = recipe.side_channels
    wanted = channels if pair.b is not None else (max(channels),)
    read: list[Pixels] = []
    for path, number in zip(pair.files(), wanted, strict=True):
        try:
            image = reader.image(path, number)
            read += pair_files.cut_in_half(image, channels, path) if pair.b is None else (image,)
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
    """Read a pair of rasters, which are compared as pictures."""
    try:
        size = reader.find_large(pair)
        if size is not None and recipe.fit == "tile":
            return _read_large_rasters(pair, modes, size, jitter, reader)
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


def _read_large_rasters(
    pair: Pair, modes: list[str], size: tuple[int, int], jitter: Jitter, reader: RasterReader
) -> _Seen:
    """Window by window. Raises :class:`ImageError`."""
    jitter.choose_middle(*size)
    digests = []
    for path, side in zip(pair.files(), (reader.a, reader.b), strict=True):
        digest = hashlib.sha256(repr(size).encode())
        first, is_constant, has_data = None, True, False
        for window in reader.list_windows(path, side):
            pixels, there = reader.bands_of(path, side, window)
            first = pixels[0, 0].copy() if first is None else first
            is_constant = is_constant and bool((pixels == first).all())
            has_data = has_data or there is None or bool(there.any())
            digest.update(pixels.tobytes())
        if not has_data:
            raise ImageError(f"{path}: {EMPTY}")
        digests.append(None if is_constant else digest.digest())
    looked = plausible.compare_sides(*reader.pair(pair), False)
    return _Seen(pair, modes, size[::-1], (digests[0], digests[1]), look=looked)


def _mode(path: Path) -> str | None:
    try:
        with open_quietly(path) as image:
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
    kind = RasterSplit if recipe.takes_rasters else FileSplit
    split = kind(chosen, recipe, jitter, reader)
    samples: list[Sample] = []
    for i, pair in enumerate(chosen):
        images = split.read_jittered(i, generator_at(recipe.seed, i, 1))
        a, b = reader.draw(*images) if isinstance(reader, RasterReader) else images
        samples.append((pair.name, a, b))
    return samples


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
