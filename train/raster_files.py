"""Pairs of which one side, or both, are rasters: of any bands and type."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from pix2pix_batch.errors import ImageError, NotToleratedError
from pix2pix_batch.imaging.composite import show
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.imaging.raster.reading import Raster, open_raster
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.raster_facts import read_facts
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import ValueRange, ValueRanges

BESIDE = (
    "is one file: rasters are not side by side: give directories A/ and B/, or a manifest, whose "
    "files are one side each"
)


EMPTY = "holds no data: every pixel is its value for none, or masked; leave the pair out"


class RasterSide(NamedTuple):
    """``range``: what samples mean; ``bare``: as far as it is known before any file is read
    (:func:`pix2pix_batch.train.range_recipe.bare_range`); ``bands``: what names them in the files,
    nothing where they are told by ``range``; ``shown``: the indices of the bands that pictures of
    it show."""

    range: ValueRange
    bare: ValueRange
    bands: tuple[str, ...] = ()
    shown: tuple[int, ...] | None = None


class Values(NamedTuple):
    """A pair's samples, A first, of each side's type; ``valid``: ``bool (H, W)``, where A has data
    in one band at least and B in all of them: where there is something to learn."""

    a: np.ndarray
    b: np.ndarray
    valid: np.ndarray


class RasterReader(Reader):
    """Reads rasters as ``convert`` does, and pictures of 8 bits, where a side is these, too.

    ``a``, ``b``: what the sides are; whoever measures ranges puts these there. ``kinds``: of each
    side, by its place, a file and the type that all must have; the first file's, if none is given.
    """

    refusal_of_one_file = BESIDE

    def __init__(self, recipe: Recipe, tolerance: Tolerance = USUAL) -> None:
        super().__init__(tolerance)
        given = recipe.input_range, recipe.output_range
        found = [
            RasterSide(bare, bare, () if own is None else own.choose_words(bare.channels), shown)
            for bare, own, shown in zip(recipe.bare_ranges, given, recipe.shown_bands, strict=True)
        ]
        self.kinds: dict[int, tuple[Path, str]] = {}
        self.swap = recipe.direction == "BtoA"
        self.a, self.b = found[::-1] if self.swap else found

    @classmethod
    def plain(cls) -> RasterReader:
        """One for :meth:`bands_of` alone, of sides that are told there."""
        return cls(Recipe.model_validate({"name": "plain"}))

    @property
    def source(self) -> RasterSide:
        return self.b if self.swap else self.a

    @property
    def target(self) -> RasterSide:
        return self.a if self.swap else self.b

    def set_ranges(self, ranges: ValueRanges) -> None:
        """Once they are known."""
        source = self.source._replace(range=ranges.input)
        target = self.target._replace(range=ranges.output)
        self.a, self.b = (target, source) if self.swap else (source, target)

    def without_bound(self) -> RasterReader:
        """Rasters have none."""
        return self

    def values(self, pair: Pair) -> Values:
        """Both sides of a pair. Raises :class:`ImageError` naming the file."""
        if pair.b is None:
            raise ImageError(f"{pair.a}: {BESIDE}")
        a, in_a = self.bands_of(pair.a, self.a)
        b, in_b = self.bands_of(pair.b, self.b)
        if a.shape[:2] != b.shape[:2]:
            raise ImageError(f"{pair.b}: its size differs from that of {pair.a}")
        source, target = (in_b, in_a) if self.swap else (in_a, in_b)
        valid = np.ones(a.shape[:2], bool)
        if source is not None:
            valid &= source.any(axis=2)
        if target is not None:
            valid &= target.all(axis=2)
        for path, there in ((pair.a, in_a), (pair.b, in_b)):
            if there is not None and not there.any():
                raise ImageError(f"{path}: {EMPTY}")
        return Values(a, b, valid)

    def bands_of(self, path: Path, side: RasterSide) -> tuple[np.ndarray, np.ndarray | None]:
        """``(H, W, C)`` of the side's type, and where there is data, ``bool (H, W, C)``; ``None``
        where there is everywhere. What lacks data has the middle of its band's range. Raises
        :class:`ImageError` naming the file."""
        if is_picture(path, side.range):
            return self.image(path, side.range.channels), None
        try:
            with self._open(path, side) as raster:
                pixels, valid = raster.read(0, 0, raster.height, raster.width)
                warnings = list(raster.warnings)
        except ImageError as error:
            raise ImageError(f"{path}: {reword(error)}") from error
        except MemoryError as error:
            raise ImageError(f"{path}: is too large for this machine's memory") from error
        if warnings:
            if self.tolerance.strict:
                raise NotToleratedError(f"{path}: {'; '.join(warnings)}: refused by --strict")
            self.warnings[str(path)] = "; ".join(warnings)
        there = None
        if valid is not None:
            there = np.repeat(valid[:, :, None], pixels.shape[2], axis=2)
        if not side.range.is_whole:
            lacks = pixels == np.array(side.bare.fills, pixels.dtype)
            if lacks.any():
                there = ~lacks if there is None else there & ~lacks
        if there is not None:
            np.copyto(pixels, np.array(side.range.fills, pixels.dtype), where=~there)
        return pixels, there

    def _open(self, path: Path, side: RasterSide) -> Raster:
        return open_raster(str(path), path.name, side.bare, side.bands)

    def size(self, path: Path, place: int = 0) -> tuple[int, int]:
        """See :meth:`Reader.size`; a raster's bands and type are looked at too."""
        side = self.b if place else self.a
        if is_picture(path, side.range):
            return super().size(path, place)
        with self._open(path, side) as raster:
            size = raster.width, raster.height
        kind = read_facts(path).kind
        first, same = self.kinds.setdefault(place, (path, kind))
        if kind != same:
            raise ImageError(
                f"has samples of {kind}, and {first} of {same}; all of a side must be of one type, "
                "and on one scale: convert them (gdal_translate -ot)"
            )
        return size

    def explain_unread(self, reason: str) -> str:
        return reword(reason)

    def pair(self, pair: Pair, channels: object = None) -> tuple[np.ndarray, np.ndarray]:
        """Both sides as :func:`pix2pix_batch.imaging.composite.show` shows them, for whoever
        looks at them as pictures."""
        a, b, _ = self.values(pair)
        return self.pictures(a, b)

    def pictures(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """``uint8 (H, W, 3)`` of both sides' samples."""
        return show(a, self.a.range, self.a.shown), show(b, self.b.range, self.b.shown)

    def draw(
        self, source: np.ndarray, target: np.ndarray, valid: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As pictures, and what there is nothing to learn of grey in the target's."""
        one, other = self.source, self.target
        return (
            show(source, one.range, one.shown), show(target, other.range, other.shown, valid)
        )  # fmt: skip


def is_picture(path: Path, side: ValueRange) -> bool:
    """Whether a file is read as a picture of 8 bits, as ``convert`` decides it."""
    return side.is_picture and suffix_of(path.name) not in RASTERS


def reword(reason: ImageError | str) -> str:
    """What is said of a model and of options of ``convert``, as of a recipe."""
    text = str(reason)
    for before, after in (
        ("choose them with --bands", "choose them with 'bands' in the recipe's range"),
        ("--bands names", "the recipe's range names"),
        ("the model takes", "the recipe takes"),
        ("the model was trained with", "the recipe has"),
    ):
        text = text.replace(before, after)
    return text
