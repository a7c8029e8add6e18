"""Where a picture lies on the ground: GeoTIFF's fields, world files and what a turn does to them.

A picture's transform leads from columns and rows, counted from its upper left corner, to the
coordinates of its reference system.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pix2pix_batch.imaging.metadata.tiff import DOUBLE, Field, Fields, Tiff

# OGC GeoTIFF 1.1 (19-008r4), section 7.
SCALE, TIE_POINTS, TRANSFORMATION = 33550, 33922, 34264
KEYS, DOUBLES, TEXTS = 34735, 34736, 34737
RPC = 50844
"""Rational polynomial coefficients ("RPCs in GeoTIFF"), which scenes from satellites carry."""

PLACES = (SCALE, TIE_POINTS, TRANSFORMATION, RPC)
MODEL_TYPE, RASTER_TYPE, GEODETIC, PROJECTED = 1024, 1025, 2048, 3072
PROJECTED_MODEL, GEOGRAPHIC_MODEL = 1, 2
POINT = 2
"""The raster type whose coordinates are counted from the middle of the first pixel."""

USER_DEFINED = 32767


@dataclass(frozen=True)
class Affine:
    """x = a·column + b·row + c, y = d·column + e·row + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    def __matmul__(self, first: Affine) -> Affine:
        """``first``, then this."""
        s, o = self, first
        values = (
            s.a * o.a + s.b * o.d,
            s.a * o.b + s.b * o.e,
            s.a * o.c + s.b * o.f + s.c,
            s.d * o.a + s.e * o.d,
            s.d * o.b + s.e * o.e,
            s.d * o.c + s.e * o.f + s.f,
        )
        return Affine(*(value + 0.0 for value in values))  # no negative zeros

    def at(self, column: float, row: float) -> tuple[float, float]:
        return (
            self.a * column + self.b * row + self.c,
            self.d * column + self.e * row + self.f,
        )


@dataclass(frozen=True)
class Turn:
    """How a stored picture of ``width`` by ``height`` pixels was turned upright.

    ``orientation``: EXIF's, 1 (upright already) to 8.
    """

    orientation: int = 1
    width: int = 0
    height: int = 0

    def __bool__(self) -> bool:
        return self.orientation != 1

    @property
    def sideways(self) -> bool:
        return self.orientation >= 5

    def to_stored(self, *, middles: bool = False) -> Affine:
        """Map places in the upright picture to those in the stored one. ``middles``: whether places
        are counted from the middle of the first pixel, not from its corner."""
        w, h = (self.width - 1, self.height - 1) if middles else (self.width, self.height)
        return {
            1: Affine(1, 0, 0, 0, 1, 0),
            2: Affine(-1, 0, w, 0, 1, 0),
            3: Affine(-1, 0, w, 0, -1, h),
            4: Affine(1, 0, 0, 0, -1, h),
            5: Affine(0, 1, 0, 1, 0, 0),
            6: Affine(0, 1, 0, -1, 0, h),
            7: Affine(0, -1, w, -1, 0, h),
            8: Affine(0, -1, w, 1, 0, 0),
        }[self.orientation]

    def upright(self, *, middles: bool = False) -> Affine:
        """Map places in the stored picture to those in the upright one."""
        back = {6: 8, 8: 6}.get(self.orientation, self.orientation)
        width, height = (self.height, self.width) if self.sideways else (self.width, self.height)
        return Turn(back, width, height).to_stored(middles=middles)


class GeoTiff:
    """The georeference in a TIFF file's fields."""

    def __init__(self, tiff: Tiff) -> None:
        self.fields = tiff.directory({*PLACES, KEYS, DOUBLES, TEXTS})
        self.keys = self._short_keys()

    def _numbers(self, tag: int) -> tuple[float, ...]:
        numbers = self.fields[tag].numbers() if tag in self.fields else ()
        return numbers if all(map(math.isfinite, numbers)) else ()

    def _short_keys(self) -> dict[int, int]:
        """The keys whose values stand in the directory of keys itself."""
        numbers = [int(number) for number in self._numbers(KEYS)]
        quads = [numbers[at : at + 4] for at in range(4, len(numbers) - 3, 4)]
        return {key: value for key, where, count, value in quads if (where, count) == (0, 1)}

    @property
    def _middles(self) -> bool:
        return self.keys.get(RASTER_TYPE) == POINT

    def _raster(self) -> Affine | None:
        """The transform from the file's own raster space (of corners or of middles)."""
        scale, ties, matrix = map(self._numbers, (SCALE, TIE_POINTS, TRANSFORMATION))
        if len(scale) >= 2 and all(scale[:2]) and len(ties) >= 6:
            column, row, _, x, y, _ = ties[:6]
            across, down = scale[:2]
            return Affine(across, 0, x - column * across, 0, -down, y + row * down)
        if len(matrix) == 16:
            return Affine(matrix[0], matrix[1], matrix[3], matrix[4], matrix[5], matrix[7])
        return None

    def affine(self, turn: Turn) -> Affine | None:
        """The upright picture's transform; ``None`` where there is none or it is no affine one."""
        raster = self._raster()
        if raster is None:
            return None
        corners = raster @ Affine(1, 0, -0.5, 0, 1, -0.5) if self._middles else raster
        return corners @ turn.to_stored() if turn else corners

    @property
    def epsg(self) -> int | None:
        """The code of the reference system, where it has one."""
        key = {PROJECTED_MODEL: PROJECTED, GEOGRAPHIC_MODEL: GEODETIC}.get(
            self.keys.get(MODEL_TYPE, 0), 0
        )
        code = self.keys.get(key, 0)
        return code if 0 < code < USER_DEFINED else None

    def select_fields(self, turn: Turn) -> Fields:
        """The fields that stay true of the upright picture."""
        if not turn:
            return self.fields
        places: dict[int, Field] = {}
        if (raster := self._raster()) is not None:
            t = raster @ turn.to_stored(middles=self._middles)
            rows = (t.a, t.b, 0, t.c, t.d, t.e, 0, t.f, 0, 0, 0, 0, 0, 0, 0, 1)
            places[TRANSFORMATION] = Field.of(DOUBLE, *rows)
        elif ties := self._numbers(TIE_POINTS):
            places[TIE_POINTS] = Field.of(DOUBLE, *self._move_tie_points(ties, turn))
        return {tag: field for tag, field in self.fields.items() if tag not in PLACES} | places

    def _move_tie_points(self, ties: Sequence[float], turn: Turn) -> list[float]:
        upright = turn.upright(middles=self._middles)
        moved: list[float] = []
        for at in range(0, len(ties) - 5, 6):
            moved += (*upright.at(*ties[at : at + 2]), *ties[at + 2 : at + 6])
        return moved


def world(transform: Affine) -> bytes:
    """A world file: six lines, the last two the place of the upper left pixel's middle."""
    return _lines(transform @ Affine(1, 0, 0.5, 0, 1, 0.5))


def turn_world_file(data: bytes, turn: Turn) -> bytes:
    """The world file of the upright picture. Raises :class:`ValueError` where ``data`` is none."""
    return _lines(_middles(data) @ turn.to_stored(middles=True))


def parse_world_file(data: bytes) -> Affine | None:
    """The transform that a world file tells; ``None`` where it is none."""
    try:
        return _middles(data) @ Affine(1, 0, -0.5, 0, 1, -0.5)
    except ValueError:
        return None


def _middles(data: bytes) -> Affine:
    numbers = [float(word.replace(b",", b".")) for word in data.split()[:6]]
    if len(numbers) < 6 or not all(map(math.isfinite, numbers)):
        raise ValueError("a world file is six numbers")
    a, d, b, e, c, f = numbers
    return Affine(a, b, c, d, e, f)


def _lines(middles: Affine) -> bytes:
    m = middles
    return "".join(f"{value!r}\n" for value in (m.a, m.d, m.b, m.e, m.c, m.f)).encode()
