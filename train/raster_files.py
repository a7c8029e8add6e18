"""Pairs of which one side, or both, are rasters: of any bands and type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pix2pix_batch.errors import ImageError, NotToleratedError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.composite import show
from pix2pix_batch.imaging.decoding.opening import pixel_limit
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.large_pictures import open_large_picture
from pix2pix_batch.imaging.raster.reading import Raster, open_raster
from pix2pix_batch.imaging.raster.samples import choose_step
from pix2pix_batch.inference.large_images import may_be_large_picture
from pix2pix_batch.item import Item
from pix2pix_batch.memory_limit import explain_too_large
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.raster_facts import (
    RasterFacts,
    describe_mismatch,
    describe_other_kind,
    describe_other_order,
    is_shifted,
    may_be_raster,
    read_facts,
    reword,
)
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import ValueRange, ValueRanges

BESIDE = (
    "is one file: rasters are not side by side: give directories A/ and B/, or a manifest, whose "
    "files are one side each"
)


HELD = 64 << 20
"""Bytes of samples up to which a raster is read as a whole: what is wrong anywhere in it shows."""

PANEL = 8 << 20
"""Bytes of samples that are read at once of what is larger: several threads do."""

STEP = 256
"""Sides of panels are multiples of this: blocks of files are mostly of 256 or 512 pixels."""

LONGEST = 1024
"""Pixels a side at which such rasters are looked at as pictures."""

EMPTY = "holds no data: every pixel is its value for none, or masked; leave the pair out"


class RasterSide(NamedTuple):
    """A side of the pairs, inputs or targets.

    Attributes:
        range: What its samples mean.
        bare: What is known of that before any file is read
            (:func:`pix2pix_batch.train.range_recipe.bare_range`).
        bands: What names its bands in the files; empty if ``range`` names them.
        shown: The indices of the bands that pictures of it show.
    """

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


class Window(NamedTuple):
    """A part of a raster."""

    top: int
    left: int
    height: int
    width: int


class Extent(NamedTuple):
    """A raster's size; ``is_large``: whether it is read window by window."""

    height: int
    width: int
    is_large: bool


class RasterReader(Reader):
    """Reads rasters as ``convert`` does, and pictures of 8 bits, where a side is these, too.

    ``a``, ``b``: what the sides are; whoever measures ranges puts these there. ``kinds``: of each
    side, by its place, a file and the type that all must have; the first file's, if none is given.
    ``first_names``: as ``kinds``, of the bands' names, whose order all must have.
    """

    refusal_of_one_file = BESIDE

    def __init__(self, recipe: Recipe, tolerance: Tolerance = USUAL) -> None:
        super().__init__(tolerance)
        range_recipes = recipe.input_range, recipe.output_range
        ranges_of_sides = [
            RasterSide(bare, bare, () if own is None else own.choose_words(bare.channels), shown)
            for bare, own, shown in zip(
                recipe.bare_ranges, range_recipes, recipe.shown_bands, strict=True
            )
        ]
        self.shifted: list[Path] = []
        self.kinds: dict[int, tuple[Path, str]] = {}
        self.first_names: dict[int, tuple[Path, tuple[str, ...]]] = {}
        self._extents: dict[Path, Extent] = {}
        self._last_facts: dict[int, tuple[Path, RasterFacts]] = {}
        self.swap = recipe.direction == "BtoA"
        self.a, self.b = ranges_of_sides[::-1] if self.swap else ranges_of_sides

    @classmethod
    def plain(cls, tolerance: Tolerance = USUAL) -> RasterReader:
        """A reader for :meth:`bands_of` alone, which is told the side there."""
        return cls(Recipe.model_validate({"name": "plain"}), tolerance)

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

    def find_extent(self, path: Path, side: RasterSide) -> Extent:
        """Find the size of a file of one side. Raises :class:`ImageError` naming it."""
        extent = self._extents.get(path)
        if extent is None:
            extent = self._extents[path] = self._read_extent(path, side)
        return extent

    def _read_extent(self, path: Path, side: RasterSide) -> Extent:
        if self.is_picture(path, side.range):
            width, height = super().size(path)
            return Extent(height, width, False)
        try:
            with self._open(path, side) as raster:
                size = raster.height * raster.width * raster.pixel_bytes
                return Extent(raster.height, raster.width, size > HELD)
        except ImageError as error:
            raise ImageError(f"{path}: {reword(error, path)}") from error

    def find_large(self, pair: Pair) -> tuple[int, int] | None:
        """Height and width of a pair of which a side is read window by window; ``None`` of
        others. Raises :class:`ImageError` naming the file."""
        if pair.b is None:
            return None
        a, b = self.find_extent(pair.a, self.a), self.find_extent(pair.b, self.b)
        if not (a.is_large or b.is_large):
            return None
        _require_same_size(pair, a[:2], b[:2])
        return a[:2]

    def find_middle(self, path: Path, side: RasterSide) -> Window | None:
        """A part of a large raster that is held, to say how its samples lie; ``None`` for all of
        another. Raises :class:`ImageError` naming the file."""
        height, width, is_large = self.find_extent(path, side)
        if not is_large:
            return None
        high, wide = min(height, LONGEST), min(width, LONGEST)
        return Window((height - high) // 2, (width - wide) // 2, high, wide)

    def list_windows(self, path: Path, side: RasterSide) -> Iterator[Window | None]:
        """List the windows by which a file is read, which cover all of it; ``None`` if it is read
        as a whole. Raises :class:`ImageError` naming the file."""
        height, width, is_large = self.find_extent(path, side)
        if not is_large:
            yield None
            return
        a_pixel = side.bare.channels * np.dtype(side.bare.dtype).itemsize
        step = max(STEP, int((PANEL / a_pixel) ** 0.5) // STEP * STEP)
        for top in range(0, height, step):
            for left in range(0, width, step):
                yield Window(top, left, min(step, height - top), min(step, width - left))

    def values(self, pair: Pair, window: Window | None = None) -> Values:
        """Read both sides of a pair, or a window of them. Raises :class:`ImageError` naming the
        file."""
        if pair.b is None:
            raise ImageError(f"{pair.a}: {BESIDE}")
        a, in_a = self.bands_of(pair.a, self.a, window)
        b, in_b = self.bands_of(pair.b, self.b, window)
        _require_same_size(pair, a.shape[:2], b.shape[:2])
        source, target = (in_b, in_a) if self.swap else (in_a, in_b)
        valid = np.ones(a.shape[:2], bool)
        if source is not None:
            valid &= source.any(axis=2)
        if target is not None:
            valid &= target.all(axis=2)
        for path, there in ((pair.a, in_a), (pair.b, in_b)):
            if window is None and there is not None and not there.any():
                raise ImageError(f"{path}: {EMPTY}")
        return Values(a, b, valid)

    def bands_of(
        self, path: Path, side: RasterSide, window: Window | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read the bands of a raster.

        Args:
            path: The file.
            side: Which bands, and what they mean.
            window: The part that is read; ``None`` for all.

        Returns:
            ``(H, W, C)`` of the side's type, with the middle of a band's range where it has no
            data, and ``bool (H, W, C)``, where there is data, or ``None`` if there is data
            everywhere.

        Raises:
            ImageError: It cannot be read; names the file.
        """
        if self.is_picture(path, side.range):
            image = self.image(path, side.range.channels)
            if window is not None:
                top, left, height, width = window
                image = image[top : top + height, left : left + width]
            return image, None
        return self._read_bands(
            path, side, lambda raster: raster.read(*(window or (0, 0, raster.height, raster.width)))
        )

    def _read_bands(
        self,
        path: Path,
        side: RasterSide,
        read: Callable[[Raster], tuple[np.ndarray, np.ndarray | None]],
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read bands by ``read``, as :meth:`bands_of` returns them."""
        try:
            with self._open(path, side) as raster:
                pixels, valid = read(raster)
                warnings = [reword(said, path) for said in raster.warnings]
        except ImageError as error:
            raise ImageError(f"{path}: {reword(error, path)}") from error
        except MemoryError as error:
            raise ImageError(f"{path}: is {explain_too_large()}") from error
        if warnings:
            if self.tolerance.strict:
                raise NotToleratedError(f"{path}: {'; '.join(warnings)}: refused by --strict")
            self._note_warnings(path, warnings)
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

    def _note_warnings(self, path: Path, warnings: list[str]) -> None:
        """Beside those of its other windows."""
        known = filter(None, self.warnings.get(str(path), "").split("; "))
        self.warnings[str(path)] = "; ".join(dict.fromkeys((*known, *warnings)))

    def is_picture(self, path: Path, side: ValueRange) -> bool:
        """Whether a file is read as a picture of 8 bits, as ``convert`` decides it."""
        if not is_picture(path, side):
            return False
        file, page = pages.locate(str(path))
        item = Item(file, file, "", "", page=page)
        if not (may_be_large_picture(item, self.tolerance) and library.is_installed()):
            return True
        try:  # Pillow does not tell the size of all
            facts = read_facts(path)
        except ImageError:  # whoever decodes it says why
            return True
        return facts.width * facts.height <= pixel_limit(self.tolerance)

    def _open(self, path: Path, side: RasterSide) -> Raster:
        file, page = pages.locate(str(path))
        if is_picture(path, side.range):
            return open_large_picture(file, side.bare, side.bands, page)
        return open_raster(file, file, side.bare, side.bands, page, is_told=False)

    def size(self, path: Path, place: int = 0) -> tuple[int, int]:
        """See :meth:`Reader.size`; a raster's bands and type are looked at too."""
        side = self.b if place else self.a
        if self.is_picture(path, side.range):
            return super().size(path, place)
        with self._open(path, side) as raster:
            size = raster.width, raster.height
        facts = read_facts(path, side.bare.channels)
        self._last_facts[place] = path, facts
        wrong = describe_other_kind(
            path, facts.kind, *self.kinds.setdefault(place, (path, facts.kind))
        )
        if not (side.bands or any(side.bare.names)):
            first, names = self.first_names.setdefault(place, (path, facts.names))
            wrong = wrong or describe_other_order(facts.names, first, names)
        if wrong:
            raise ImageError(wrong)
        return size

    def describe_mismatch(self, pair: Pair) -> str:
        """See :meth:`Reader.describe_mismatch`; of a pair whose sizes were just read, no raster is
        opened again."""
        if pair.b is None:
            return ""
        first, other = (self._find_facts(path, place) for place, path in enumerate(pair.files()))
        if first and other and is_shifted(first, other):
            self.shifted.append(pair.b)
        return describe_mismatch(first, other) if first and other else ""

    def _find_facts(self, path: Path, place: int) -> RasterFacts | None:
        """What a file says of itself; ``None`` of pictures that do not say where they lie."""
        last, facts = self._last_facts.get(place, (None, None))
        if last == path:
            return facts
        if not may_be_raster(path) or not library.is_installed():
            return None
        try:
            return read_facts(path)
        except ImageError:  # GDAL does not read all pictures
            return None

    def explain_unread(self, reason: str, path: Path) -> str:
        return reword(reason, path)

    def pair(self, pair: Pair, channels: object = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw both sides as :func:`pix2pix_batch.imaging.composite.show` does, for whoever looks
        at them as pictures; large ones by every n-th pixel."""
        if self.find_large(pair) is None:
            a, b, _ = self.values(pair)
        else:
            assert pair.b is not None
            a, b = self._read_reduced(pair.a, self.a), self._read_reduced(pair.b, self.b)
        return self.pictures(a, b)

    def _read_reduced(self, path: Path, side: RasterSide) -> np.ndarray:
        if self.is_picture(path, side.range):
            image = self.image(path, side.range.channels)
            step = choose_step(image.shape[0], image.shape[1], LONGEST)
            return np.ascontiguousarray(image[::step, ::step])
        return self._read_bands(path, side, lambda raster: raster.read_reduced(LONGEST))[0]

    def pictures(self, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Draw the samples of both sides, ``uint8 (H, W, 3)`` each."""
        return show(a, self.a.range, self.a.shown), show(b, self.b.range, self.b.shown)

    def draw(
        self, source: np.ndarray, target: np.ndarray, valid: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw a pair as pictures; the target is grey where there is nothing to learn.

        Args:
            source: ``(H, W, C)``.
            target: ``(H, W, C)``.
            valid: ``bool (H, W)``, where both have data.
        """
        given, wanted = self.source, self.target
        drawn = show(target, wanted.range, wanted.shown, valid)
        return show(source, given.range, given.shown), drawn


def _require_same_size(pair: Pair, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a != b:
        raise ImageError(f"{pair.b}: its size differs from that of {pair.a}")


def is_picture(path: Path, side: ValueRange) -> bool:
    """Whether a file is a picture of 8 bits, of whatever size."""
    return side.is_picture and suffix_of(path.name) not in RASTERS
