"""Crops of two aligned mosaics to train on, and those of them that are held out."""

from __future__ import annotations

from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.mosaic import CropSampler, MosaicPair, grid_windows
from pix2pix_batch.train.mosaic_recipe import Mosaic
from pix2pix_batch.train.pair_files import Reader
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.sampling import generator_at
from pix2pix_batch.train.signature import Part
from pix2pix_batch.value_ranges import ValueRanges


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


# The parts of a data set, split and read, as the trainer asks for them.
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
        self.pair_directories: list[Path] = []
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
        held_out = " and ".join(f"folds.{name}" for name in mosaic.held_out_folds) or "val_bands"
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
