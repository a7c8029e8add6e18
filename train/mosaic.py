"""Training pairs cut from two aligned mosaics of the whole Earth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.train.pair_files import Reader

Band = tuple[float, float]

MAX_TRIES = 10_000
"""Windows tried for one crop before giving up: with a tenth of the area fit, 1e-458 fail."""


@dataclass(frozen=True)
class MosaicPair:
    """Two aligned plate carrée mosaics: pixel x is longitude -180..180, y latitude 90..-90.

    ``a`` and ``b``: ``uint8`` arrays ``(H, W, 3)``; ``land``: ``bool (H, W)``.
    """

    a: np.ndarray
    b: np.ndarray
    land: np.ndarray

    @classmethod
    def open(
        cls,
        a: Path,
        b: Path,
        sea: Sequence[tuple[int, int, int]],
        tolerance: int,
        sea_in: str = "source",
        reader: Reader | None = None,
    ) -> MosaicPair:
        """Read both mosaics.

        Args:
            a: The source.
            b: The target.
            sea: Colours that are no land.
            tolerance: By how many levels a pixel may differ from such a colour and still be no
                land.
            sea_in: ``source`` or ``target``: which of the mosaics has these colours.
            reader: Reads the files.

        Raises:
            InputError: They cannot be read, or are of different sizes.
        """
        # of a whole Earth: many pixels are no sign of harm, unless somebody says so
        reader, arrays = (reader or Reader()).without_bound(), []
        for path in (a, b):
            if not path.is_file():
                raise InputError(
                    f"{path}: there is no such file; the recipe trains on the mosaics "
                    f"{a.name} and {b.name} in DATA; for pairs of files give another "
                    "recipe, such as --recipe default"
                )
            try:
                arrays.append(reader.picture(path, 3).pixels)
            except ImageError as error:
                reason = str(error).removeprefix(f"{path}: ")
                raise InputError(f"{path}: cannot be read as an image ({reason})") from error
        if arrays[0].shape != arrays[1].shape:
            raise InputError(f"{b}: its size differs from that of {a}; they must be aligned")
        seen = arrays[0 if sea_in == "source" else 1].astype(np.int16)
        land = np.ones(seen.shape[:2], bool)
        for colour in sea:
            land &= np.abs(seen - np.array(colour, np.int16)).max(axis=2) > tolerance
        return cls(arrays[0], arrays[1], land)

    def column(self, longitude: float) -> int:
        return round((longitude + 180) / 360 * self.a.shape[1])

    def row(self, latitude: float) -> int:
        return round((90 - latitude) / 180 * self.a.shape[0])

    def rows(self, latitudes: Band) -> tuple[int, int]:
        """The first row and the one after the last."""
        return self.row(max(latitudes)), self.row(min(latitudes))


class CropSampler:
    """Random crops of both mosaics together, turned, stretched and mirrored the same way.

    There is one Earth and a generator soon knows it by heart; any turn and an own scale for
    each axis make every crop a new place. Crops lie wholly inside one of the longitude
    ``bands`` and the ``latitudes``, and their surroundings show at least ``min_land`` of land.
    ``scales``: range of mosaic pixels a crop's pixel, along each axis; ``turn``: by any angle, or
    with ``"quarter"`` by right angles only, which do not blur as resampling between pixels does.
    """

    def __init__(
        self,
        mosaics: MosaicPair,
        bands: list[Band],
        latitudes: Band,
        *,
        size: int,
        scales: tuple[float, float],
        turn: bool | Literal["quarter"],
        flip: bool,
        min_land: float,
    ) -> None:
        self.mosaics, self.size, self.min_land = mosaics, size, min_land
        self.scales, self.turn, self.flip = scales, turn, flip
        self.columns = [(mosaics.column(west), mosaics.column(east)) for west, east in bands]
        self.rows = mosaics.rows(latitudes)
        widths = np.array([right - left for left, right in self.columns], float)
        self.weights = widths / widths.sum()

    def _window(self, side: int, random: np.random.Generator) -> tuple[slice, slice]:
        """A square of ``side`` mosaic pixels with enough land."""
        for _ in range(MAX_TRIES):
            left, right = self.columns[random.choice(len(self.columns), p=self.weights)]
            if right - left < side or self.rows[1] - self.rows[0] < side:
                continue
            x = int(random.integers(left, right - side + 1))
            y = int(random.integers(self.rows[0], self.rows[1] - side + 1))
            window = slice(y, y + side), slice(x, x + side)
            if self.mosaics.land[window].mean() >= self.min_land:
                return window
        raise InputError(
            f"no window of {side} mosaic pixels with min_land {self.min_land} lies in train_bands "
            "and latitudes; widen them, or lower size, scales or min_land"
        )

    def _turn(self, random: np.random.Generator) -> np.ndarray:
        """A matrix of rotation."""
        if self.turn == "quarter":
            return np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), int(random.integers(4)))
        angle = random.uniform(0, 2 * np.pi) if self.turn else 0.0
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def pair(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw a crop of A and of B, ``uint8 (size, size, 3)`` each."""
        low, high = np.log(self.scales)
        mirror = random.choice((-1, 1), 2) if self.flip else np.ones(2)
        stretch = np.exp(random.uniform(low, high, 2)) * mirror
        turn = self._turn(random)
        matrix = turn @ np.diag(stretch)
        side = int(np.ceil(np.abs(matrix).sum(axis=1).max() * self.size)) + 4
        window = self._window(side, random)
        shift = side / 2 - matrix @ np.full(2, self.size / 2)
        crops = [
            self._resample(Image.fromarray(mosaic[window]), matrix, shift)
            for mosaic in (self.mosaics.a, self.mosaics.b)
        ]
        return crops[0], crops[1]

    def _resample(self, window: Image.Image, matrix: np.ndarray, shift: np.ndarray) -> np.ndarray:
        """``uint8 (size, size, 3)``: the window at ``matrix @ (x, y) + shift``."""
        size = (self.size, self.size)
        if self.turn is True:
            affine = (*matrix[0], shift[0], *matrix[1], shift[1])
            return np.asarray(
                window.transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
            )
        # Right angles keep rows and columns apart, which Pillow resizes several times as fast.
        ends = np.sort([shift, shift + matrix @ np.full(2, self.size)], axis=0)
        crop = np.asarray(window.resize(size, Image.Resampling.BICUBIC, box=(*ends[0], *ends[1])))
        x, y = matrix.sum(axis=1) > 0  # whether its axes run as the crop's
        crop = crop[:: 1 if y else -1, :: 1 if x else -1]
        return np.ascontiguousarray(crop if matrix[0, 0] else crop.transpose(1, 0, 2))


def grid_windows(
    mosaics: MosaicPair,
    bands: list[Band],
    latitudes: Band,
    *,
    size: int,
    stride: int,
    min_land: float,
) -> list[tuple[slice, slice]]:
    """List the crops on a grid that show enough land.

    Args:
        mosaics: Both pictures of the Earth.
        bands: Bands of longitude that crops lie in: west and east in degrees.
        latitudes: The latitudes between which they lie, in degrees.
        size: The side of a crop.
        stride: Pixels from one to the next.
        min_land: The least share of land, 0 to 1.

    Returns:
        Rows and columns of each crop.
    """
    windows = []
    top, bottom = mosaics.rows(latitudes)
    for west, east in bands:
        left, right = mosaics.column(west), mosaics.column(east)
        for y in range(top, bottom - size + 1, stride):
            for x in range(left, right - size + 1, stride):
                window = slice(y, y + size), slice(x, x + size)
                if mosaics.land[window].mean() >= min_land:
                    windows.append(window)
    return windows
