"""What a run trains on where one side, or both, are rasters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.raster.survey import Survey
from pix2pix_batch.train import plausible, threads
from pix2pix_batch.train.file_data import FileData, FileSplit
from pix2pix_batch.train.jitter import Crop, Pixels
from pix2pix_batch.train.pair_files import Pair
from pix2pix_batch.train.range_recipe import RangeRecipe
from pix2pix_batch.train.raster_facts import describe_shifted
from pix2pix_batch.train.raster_files import RasterReader, RasterSide, Window
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.sampling import generator_at, spread_indices
from pix2pix_batch.train.value_statistics import (
    list_samples,
    measure_percentiles,
    require_span,
)
from pix2pix_batch.value_ranges import ValueRange, ValueRanges

MEASURED = 2000
"""Training pairs that percentiles are measured on at most, chosen by the recipe's seed."""


class RasterSplit(FileSplit):
    """A :class:`FileSplit` of rasters. Each pair has ``valid`` too, ``bool (H, W)``: where there is
    something to learn."""

    reader: RasterReader

    def read(self, index: int) -> tuple[Pixels, ...]:
        return self._read(index, None)

    def read_source(self, index: int) -> Pixels:
        pair = self.listed[index]
        path = pair.files()[int(self.reader.swap)]
        window = self.reader.find_middle(path, self.reader.source)
        return self.reader.bands_of(path, self.reader.source, window)[0]

    def _read(self, index: int, window: Window | None) -> tuple[Pixels, ...]:
        a, b, valid = self.reader.values(self.listed[index], window)
        return (b, a, valid) if self.reader.swap else (a, b, valid)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        size = self._find_large(index)
        if size is None:
            return super().__getitem__(index)
        with self._name_errors(index):
            crop = self.jitter.choose_middle(*size)
        return self.listed[index].name, *self._read_crop(index, crop)

    def read_jittered(self, index: int, random: np.random.Generator) -> tuple[Pixels, ...]:
        size = self._find_large(index)
        if size is None:
            return super().read_jittered(index, random)
        with self._name_errors(index):
            crop = self.jitter.choose_crop(*size, random)
        return self._read_crop(index, crop)

    def _find_large(self, index: int) -> tuple[int, int] | None:
        """Height and width of a pair of which no more is read than a crop. What is resized is read
        as a whole."""
        return None if self.jitter.resize_side else self.reader.find_large(self.listed[index])

    def _read_crop(self, index: int, crop: Crop) -> tuple[Pixels, ...]:
        return crop.mirror(self._read(index, Window(crop.top, crop.left, crop.size, crop.size)))


class RasterData(FileData):
    """Pairs of files, with what their samples mean, ``ranges``."""

    reader: RasterReader
    split_type = RasterSplit

    def __init__(
        self,
        data: Path,
        recipe: Recipe,
        tolerance: Tolerance = USUAL,
        ranges: ValueRanges | None = None,
    ) -> None:
        """``ranges``: those of a model, or of a run that goes on; else percentiles are measured on
        the training pairs. Raises :class:`InputError`."""
        super().__init__(data, recipe, tolerance)
        if self.reader.shifted:
            self.notes.append(describe_shifted(self.reader.shifted))
        self.ranges = ranges or measure_ranges(self.reader, self.train.listed, recipe)
        self.reader.set_ranges(self.ranges)

    @cached_property
    def doubts(self) -> list[str]:
        return [*super().doubts, *doubt_ranges(self.reader, self.train.listed)]

    def _open_reader(self, tolerance: Tolerance) -> RasterReader:
        return RasterReader(self.recipe, tolerance)


def doubt_ranges(reader: RasterReader, listed: Sequence[Pair]) -> list[str]:
    """Find out whether most values of a side lie beyond its range, and would all be its ends.

    Args:
        reader: Reads the files, and knows the ranges.
        listed: The pairs, of which some are looked at.

    Returns:
        Reasons to doubt, for people.
    """
    chosen = [listed[i] for i in spread_indices(len(listed), plausible.COMPARED)]
    doubts = []
    for place, side in enumerate((reader.a, reader.b)):
        if side.range.is_eight_bit:  # no value lies beyond
            continue
        survey, said = Survey(side.range), list[str]()
        for pair in chosen:
            path = pair.files()[place]
            with suppress(ImageError):  # training, or dataset check, names it
                pixels, there = reader.bands_of(path, side, reader.find_middle(path, side))
                survey.add(pixels, None if there is None else np.all(there, axis=2), said)
        doubts += [f"{'AB'[place]}: {text}" for text in said]
    return doubts


def measure_ranges(reader: RasterReader, listed: Sequence[Pair], recipe: Recipe) -> ValueRanges:
    """Measure the percentiles that the recipe's ranges ask for.

    Args:
        reader: Reads the files.
        listed: The pairs that are measured.
        recipe: The recipe.

    Raises:
        InputError: A file cannot be read, or the percentiles make no range.
    """
    chosen = list(listed)
    if len(chosen) > MEASURED:
        places = generator_at(recipe.seed, 0, 3).choice(len(chosen), MEASURED, replace=False)
        chosen = [chosen[place] for place in sorted(places)]
    sides = (
        ("input", recipe.input_range, reader.source, int(reader.swap)),
        ("output", recipe.output_range, reader.target, int(not reader.swap)),
    )
    ranges = []
    for name, range_recipe, side, place in sides:
        if range_recipe is None:
            ranges.append(side.range)
            continue
        files = [pair.files()[place] for pair in chosen]
        try:
            ranges.append(_measure_side(reader, files, range_recipe, side))
        except ValueError as error:
            raise InputError(f"{name}_range: {error}") from error
        except ImageError as error:
            raise InputError(str(error)) from error
    return ValueRanges(*ranges)


def _measure_side(
    reader: RasterReader, files: Sequence[Path], range_recipe: RangeRecipe, side: RasterSide
) -> ValueRange:
    channels = side.bare.channels
    draft = range_recipe.make_range(channels, [None] * channels)
    wanted = [band.percentiles for band in draft.bands]
    if not any(wanted):
        return draft

    def samples() -> Iterator[list[np.ndarray]]:
        windows = ((path, window) for path in files for window in reader.list_windows(path, side))
        read = threads.map_ahead(
            lambda raster_side: reader.bands_of(raster_side[0], side, raster_side[1]), windows
        )
        for pixels, there in read:
            yield list_samples(pixels, there, draft)

    percentiles = measure_percentiles(samples, draft.dtype, wanted)
    for number, (values, band) in enumerate(zip(percentiles, draft.bands, strict=True), 1):
        if band.percentiles is None:
            continue
        if values is None:
            above = " above 0" if band.scale == "log" else ""
            raise ValueError(f"band {number}: no training image has data{above} there")
        require_span(*values, band, number)
    return range_recipe.make_range(channels, percentiles)
