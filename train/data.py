"""What a run trains on: an endless, reproducible stream of pairs, and fixed ones to look at.

The ``k``-th training sample depends on the recipe's seed and on ``k`` alone, not on who makes it
or when: that is what makes resuming exact and the number of processes free.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.train.file_data import FileData
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.mosaic_data import MosaicData
from pix2pix_batch.train.pair_files import Reader
from pix2pix_batch.train.raster_data import RasterData
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
    ``parts``: what has to be the same on resuming; ``pair_directories``: those of which every image
    is taken for a pair or for one of its sides; ``train`` and ``val``: the pairs without jitter;
    ``ranges``: what samples mean.
    """

    place: Path
    epoch: int
    pair_directories: list[Path]
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
    """Open training data as a recipe reads it.

    Args:
        data: A directory of pairs, a manifest, or a directory of mosaics.
        recipe: The recipe.
        tolerance: What is made of damaged and of large files.
        ranges: What samples mean; ``None`` to take it from the recipe, which may have it measured.

    Raises:
        InputError: The names, or the headers of the files, show that something is wrong.
    """
    if recipe.mosaic is not None:
        return MosaicData(data, recipe, recipe.mosaic, tolerance)
    if recipe.takes_rasters:
        return RasterData(data, recipe, tolerance, ranges)
    return FileData(data, recipe, tolerance)


def fingerprint(split: Split) -> str:
    """SHA-256, hex, of every pair's name and pixels without jitter: what a model was made from."""
    digest = hashlib.sha256()
    for index in range(len(split)):
        name, source, target, *valid = split[index]
        # The shapes too: else pixels of one pair might pass for those of another.
        digest.update(json.dumps([name, source.shape, target.shape]).encode())
        digest.update(b"".join(pixels.tobytes() for pixels in (source, target, *valid)))
    return digest.hexdigest()


class LevelMappings:
    """Functions that turn samples of inputs and of outputs into levels: ``(N, H, W, C)`` of the
    side's type to ``float32 (N, C, H, W)`` in [-1, 1], channels last."""

    def __init__(self, ranges: ValueRanges) -> None:
        self.input = ValueMapping(ranges.input).to_levels
        self.output = ValueMapping(ranges.output).to_levels
