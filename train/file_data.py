"""Pairs of image files to train on, and those of them that are held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.train import pair_files, pairs
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.deep_samples import (
    describe_remedies,
    describe_suitable_ranges,
    format_remedies,
)
from pix2pix_batch.train.jitter import Jitter, Pixels
from pix2pix_batch.train.pair_doubts import find_doubts
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.sampling import generator_at, shuffle_indices
from pix2pix_batch.train.signature import Part
from pix2pix_batch.train.survey import Survey
from pix2pix_batch.value_ranges import ValueRanges


class FileSplit:
    def __init__(self, listed: list[Pair], recipe: Recipe, jitter: Jitter, reader: Reader) -> None:
        self.listed, self.recipe, self.jitter, self.reader = listed, recipe, jitter, reader

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, index: int) -> tuple[Pixels, ...]:
        """Source and target, and what else there is, at their own size."""
        sides = self.reader.pair(self.listed[index], self.recipe.side_channels)
        return sides if self.recipe.direction == "AtoB" else sides[::-1]

    def read_source(self, index: int) -> Pixels:
        """The source, or a part of one that is too large to be held."""
        return self.read(index)[0]

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        images = self.read(index)
        with self._name_errors(index):
            return self.listed[index].name, *self.jitter.without_jitter(*images)

    def read_jittered(self, index: int, random: np.random.Generator) -> tuple[Pixels, ...]:
        source, target, *valid = self.read(index)
        with self._name_errors(index):
            return self.jitter.random(source, target, random, *valid)

    @contextmanager
    def _name_errors(self, index: int) -> Iterator[None]:
        """The jitter sees pixels only; its errors get the file's name here."""
        try:
            yield
        except ImageError as error:
            raise ImageError(f"{self.listed[index].a}: {error}") from error


def find_pairs(data: Path, recipe: Recipe) -> Survey:
    """As :func:`pairs.find`; where only rasters that the recipe does not take make pairs, that is
    said. Raises :class:`InputError`."""
    try:
        return pairs.find(data, val_fraction=recipe.val_fraction, rasters=recipe.takes_rasters)
    except InputError as error:
        found: list[Pair] = []
        with suppress(InputError):
            found = pairs.find(data, val_fraction=0, rasters=True).pairs
        remedies = describe_remedies(found, recipe)
        if not remedies:
            raise
        raise InputError(
            f"{data}: holds rasters, and the recipe {recipe.name!r} takes pictures. "
            f"{format_remedies(remedies)}"
        ) from error


# The parts of a data set, split and read, as the trainer asks for them.
class FileData:
    """Pairs of image files; see :mod:`pix2pix_batch.train.pairs`."""

    split_type = FileSplit

    def __init__(self, data: Path, recipe: Recipe, tolerance: Tolerance = USUAL) -> None:
        self.recipe = recipe
        self.reader = reader = self._open_reader(tolerance)
        self.ranges = ValueRanges(*recipe.bare_ranges)
        surveyed = find_pairs(data, recipe)
        sizes: Counter[tuple[int, int]] = Counter()
        problems = pair_files.check_headers(surveyed.pairs, sizes, reader)
        hint = describe_suitable_ranges(problems, surveyed.pairs, recipe)
        pairs.require_sound(data, problems, hint)
        if not surveyed.split("train"):
            raise InputError(f"{data}: has no training pairs (split 'train')")
        if recipe.val_fraction and not surveyed.split("val"):
            raise InputError(
                f"{data}: the validation split is empty; put pairs there, or set val_fraction=0 "
                "to train without validation"
            )
        self.place = data
        self.jitter = Jitter.of(recipe)
        self.seed = recipe.seed
        self.train = self.split_type(surveyed.split("train"), recipe, self.jitter, reader)
        self.val = self.split_type(surveyed.split("val"), recipe, self.jitter, reader)
        self.epoch = len(self.train)
        self.layout = surveyed.layout
        advice = recipes.advise_size(recipe, sizes)
        self.notes = [
            text for text in (surveyed.name_sides(), surveyed.describe_links(), advice) if text
        ]
        self._doubts_of_names = surveyed.doubts
        both = [side for split in surveyed.sides for side in (split.a, split.b)]
        self.pair_directories = [*surveyed.pair_directories, *both]
        self.parts = [
            Part(
                (pair.name, pair.split), tuple(Path(pages.locate(str(f))[0]) for f in pair.files())
            )
            for pair in surveyed.pairs
        ]

    def _open_reader(self, tolerance: Tolerance) -> Reader:
        return Reader(tolerance)

    @cached_property
    def doubts(self) -> list[str]:
        channels = self.recipe.side_channels
        remedies = partial(describe_remedies, self.train.listed, self.recipe)
        listed = [*self.train.listed, *self.val.listed]
        shown = find_doubts(self.layout, listed, channels, self.reader, remedies)
        return [*self._doubts_of_names, *shown]

    def sample(self, k: int) -> tuple[Pixels, ...]:
        epoch, position = divmod(k, self.epoch)
        index = int(shuffle_indices(self.seed, epoch, self.epoch)[position])
        return self.train.read_jittered(index, generator_at(self.seed, k, 1))
