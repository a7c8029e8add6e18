"""What a run trains on: an endless, reproducible stream of pairs, and fixed ones to look at.

The ``k``-th training sample depends on the recipe's seed and on ``k`` alone, not on who makes it
or when: that is what makes resuming exact and the number of processes free.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.train import pair_files, pairs
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.jitter import Jitter, Pixels
from pix2pix_batch.train.mosaic import CropSampler, MosaicPair, grid_windows
from pix2pix_batch.train.mosaic_recipe import Mosaic
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.signature import Part
from pix2pix_batch.value_ranges import ValueRanges


class Split(Protocol):
    """Fixed pairs without jitter: ``(name, source, target)``, ``(size, size, C)`` of the types
    that the data's ranges say; of rasters ``valid`` too, ``bool (size, size)``: where both have
    data."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Any, ...]: ...


class Data(Protocol):
    """Training pairs of one recipe.

    ``place``: where it is; ``reader``: what reads it; ``doubts``: why these may be no pairs, by
    what they show; ``notes``: what was found, for people; ``epoch``: training samples an epoch;
    ``parts``: what has to be the same on resuming; ``walked``: the directories of which every image
    is taken for a pair; ``train`` and ``val``: the pairs without jitter; ``ranges``: what samples
    mean.
    """

    place: Path
    epoch: int
    walked: list[Path]
    parts: list[Part]
    notes: list[str]
    ranges: ValueRanges

    @property
    def reader(self) -> Reader: ...
    @property
    def doubts(self) -> list[str]: ...
    @property
    def train(self) -> Split: ...
    @property
    def val(self) -> Split: ...

    def sample(self, k: int) -> tuple[Pixels, ...]:
        """The ``k``-th training pair, source and target, jittered; of rasters ``valid`` too, as in
        a :class:`Split`."""
        ...


def open_data(
    data: Path, recipe: Recipe, tolerance: Tolerance = USUAL, ranges: ValueRanges | None = None
) -> Data:
    """``ranges``: what samples mean, where that is not to be measured. Raises :class:`InputError`
    for all that the names and the files' headers show wrong."""
    if recipe.mosaic is not None:
        return MosaicData(data, recipe, recipe.mosaic, tolerance)
    if recipe.takes_rasters:
        from pix2pix_batch.train.raster_data import RasterData

        return RasterData(data, recipe, tolerance, ranges)
    return FileData(data, recipe, tolerance)


def generator_at(seed: int, *position: int) -> np.random.Generator:
    """Random numbers of their own for each position (up to three numbers) in a run.

    Philox is counter-based (Salmon et al. 2011): the position is the counter's upper part, so
    that streams never meet.
    """
    counter = [0, *position, *(0 for _ in range(3 - len(position)))]
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))


class FileSplit:
    def __init__(self, listed: list[Pair], recipe: Recipe, jitter: Jitter, reader: Reader) -> None:
        self.listed, self.recipe, self.jitter, self.reader = listed, recipe, jitter, reader

    def __len__(self) -> int:
        return len(self.listed)

    def read(self, index: int) -> tuple[Pixels, ...]:
        """Source and target, and what else there is, at their own size."""
        recipe, pair = self.recipe, self.listed[index]
        if recipe.direction == "AtoB":
            return self.reader.pair(pair, (recipe.in_channels, recipe.out_channels))
        a, b = self.reader.pair(pair, (recipe.out_channels, recipe.in_channels))
        return b, a

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


class FileData:
    """Pairs of image files; see :mod:`pix2pix_batch.train.pairs`."""

    split_type = FileSplit

    def __init__(self, data: Path, recipe: Recipe, tolerance: Tolerance = USUAL) -> None:
        self.recipe = recipe
        self.reader = reader = self._open_reader(tolerance)
        self.ranges = ValueRanges(*recipe.bare_ranges)
        found = pairs.find(data, val_fraction=recipe.val_fraction, rasters=recipe.takes_rasters)
        sizes: Counter[tuple[int, int]] = Counter()
        pairs.require_sound(data, pair_files.check_headers(found.pairs, sizes, reader))
        if not found.split("train"):
            raise InputError(f"{data}: has no training pairs (split 'train')")
        if recipe.val_fraction and not found.split("val"):
            raise InputError(
                f"{data}: the validation split is empty; put pairs there, or set val_fraction=0 "
                "to train without validation"
            )
        self.place = data
        self.jitter = Jitter.of(recipe)
        self.seed = recipe.seed
        self.train = self.split_type(found.split("train"), recipe, self.jitter, reader)
        self.val = self.split_type(found.split("val"), recipe, self.jitter, reader)
        self.epoch = len(self.train)
        self.layout = found.layout
        advice = recipes.advise_size(recipe, sizes)
        self.notes = [text for text in (found.name_sides(), found.describe_links(), advice) if text]
        self._doubts_of_names = found.doubts
        self.walked = found.walked
        self.parts = [Part((pair.name, pair.split), tuple(pair.files())) for pair in found.pairs]

    def _open_reader(self, tolerance: Tolerance) -> Reader:
        return Reader(tolerance)

    @cached_property
    def doubts(self) -> list[str]:
        channels = self.recipe.in_channels, self.recipe.out_channels
        if self.recipe.direction == "BtoA":
            channels = channels[::-1]
        shown = pairs.doubts(self.layout, self.train.listed, channels, self.reader)
        return [*self._doubts_of_names, *shown]

    def sample(self, k: int) -> tuple[Pixels, ...]:
        epoch, position = divmod(k, self.epoch)
        index = int(order(self.seed, epoch, self.epoch)[position])
        return self.train.read_jittered(index, generator_at(self.seed, k, 1))


@lru_cache(maxsize=2)
def order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the pairs in an epoch: each once."""
    return generator_at(seed, epoch, 0).permutation(count)


class MosaicSplit:
    def __init__(self, mosaics: MosaicPair, windows: list[tuple[slice, slice]], swap: bool) -> None:
        self.mosaics, self.windows, self.swap = mosaics, windows, swap

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[str, Pixels, Pixels]:
        rows, columns = self.windows[index]
        a, b = self.mosaics.a[rows, columns], self.mosaics.b[rows, columns]
        name = f"x{columns.start}-y{rows.start}"
        return (name, b, a) if self.swap else (name, a, b)


class MosaicData:
    """Crops of two aligned mosaics; see :mod:`pix2pix_batch.train.mosaic`."""

    def __init__(self, data: Path, recipe: Recipe, mosaic: Mosaic, tolerance: Tolerance) -> None:
        a, b = data / mosaic.source, data / mosaic.target
        self.reader = Reader(tolerance)
        mosaics = MosaicPair.open(
            a, b, mosaic.sea, mosaic.sea_tolerance, mosaic.sea_in, self.reader
        )
        self.place = data
        self.ranges = ValueRanges(*recipe.bare_ranges)
        self.swap = recipe.direction == "BtoA"
        self.seed = recipe.seed
        self.epoch = mosaic.crops_per_epoch
        self.doubts: list[str] = []
        self.notes: list[str] = []
        self.walked: list[Path] = []
        self.sampler = CropSampler(
            mosaics,
            mosaic.trained_bands,
            mosaic.latitudes,
            size=recipe.size,
            scales=mosaic.scales,
            turn=mosaic.turn,
            flip=recipe.flip,
            min_land=mosaic.min_land,
        )
        splits = []
        held_out = "val_bands" if mosaic.fold is None else f"folds.{mosaic.fold}"
        for key, bands in (
            ("train_bands", mosaic.trained_bands), (held_out, mosaic.held_out_bands)
        ):  # fmt: skip
            windows = grid_windows(
                mosaics,
                bands,
                mosaic.latitudes,
                size=recipe.size,
                stride=recipe.size // 2,
                min_land=mosaic.val_min_land,
            )
            if not windows:
                raise InputError(
                    f"{a}: no crop of {recipe.size} pixels with enough land lies in {key}; widen "
                    f"{key}, or lower size or val_min_land"
                )
            splits.append(MosaicSplit(mosaics, windows, self.swap))
        self.train, self.val = splits
        self.parts = [Part((path.name,), (path,)) for path in (a, b)]

    def sample(self, k: int) -> tuple[Pixels, Pixels]:
        a, b = self.sampler.pair(generator_at(self.seed, k, 1))
        return (b, a) if self.swap else (a, b)


def fingerprint(split: Split) -> str:
    """SHA-256, hex, of every pair's name and pixels without jitter: what a model was made from."""
    digest = hashlib.sha256()
    for index in range(len(split)):
        name, source, target, *valid = split[index]
        digest.update(json.dumps([name, source.shape, target.shape]).encode())
        digest.update(b"".join(pixels.tobytes() for pixels in (source, target, *valid)))
    return digest.hexdigest()


def spread_indices(length: int, count: int) -> list[int]:
    """Up to ``count`` indices into ``length``, evenly spread, the first and the last among them."""
    return [round(i) for i in np.linspace(0, length - 1, min(count, length))]


def to_unit(images: Tensor) -> Tensor:
    """``uint8 (N, H, W, C)`` to ``float32 (N, C, H, W)`` in [-1, 1], channels last."""
    return images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)


class LevelMappings:
    """``input`` and ``output``: samples, ``(N, H, W, C)`` of a side's type, to ``float32 (N, C, H,
    W)`` in [-1, 1], channels last."""

    def __init__(self, ranges: ValueRanges) -> None:
        self.input = ValueMapping(ranges.input).to_levels
        self.output = ValueMapping(ranges.output).to_levels
