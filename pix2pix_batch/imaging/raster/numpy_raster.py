"""Rasters as NumPy's own files, ``.npy``: read window by window, and written."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Self

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.raster.bands import choose_bands
from pix2pix_batch.imaging.raster.profile import RasterExtras, RasterProfile
from pix2pix_batch.imaging.raster.samples import (
    choose_step,
    clean,
    count_pixel_bytes,
    require_type,
)
from pix2pix_batch.imaging.raster.survey import Survey
from pix2pix_batch.imaging.raster.writing import GapFiller
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange

SUFFIX = ".npy"

MOST_CHANNELS = 64
"""Bands of a model at most (:class:`pix2pix_batch.train.range_recipe.RangeRecipe`)."""

FEWEST_ROWS = 4
"""An image of no more rows, and of more bands than rows, is hardly one."""


def load_array(place: str | bytes) -> np.ndarray:
    """What the ``.npy`` at the path ``place`` holds, or whose bytes it is, as ``(H, W, C)``; of a
    path a map of the file. Raises :class:`ImageError`."""
    try:
        if isinstance(place, bytes):
            array = np.load(io.BytesIO(place), allow_pickle=False)
        else:
            array = np.load(place, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError) as error:
        raise ImageError(f"cannot be read as an array of NumPy's: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or 0 in array.shape:
        shape = getattr(array, "shape", "no array")
        raise ImageError(f"is an array of shape {shape}; it must be (H, W) or (H, W, C)")
    return array if array.ndim == 3 else array[:, :, None]


def require_bands_last(shape: Sequence[int], channels: int | None = None) -> None:
    """Raises :class:`ImageError` where an array of ``shape``, three numbers, seems to be
    ``(C, H, W)``, as PyTorch and rasterio have them: it would be read as an image of C rows.
    ``channels``: of the model, where that is known."""
    first, rows, last = shape
    if first >= min(rows, last) or last == channels:
        return
    if first == channels or first <= FEWEST_ROWS or first <= MOST_CHANNELS < last:
        raise ImageError(
            f"is an array of shape {tuple(shape)}, which would be {format_count(first, 'row')} of "
            f"{format_count(last, 'band')}, for bands come last, (H, W, C). If its bands come "
            "first, put them last: numpy.moveaxis(array, 0, -1); if not, make it a GeoTIFF"
        )


class NumpyRaster:
    """An array of NumPy's, ``(H, W)`` or ``(H, W, C)``, from a ``.npy``; a
    :class:`~pix2pix_batch.imaging.raster.reading.Raster`."""

    def __init__(
        self,
        place: str | bytes,
        side: ValueRange,
        bands: Sequence[str] = (),
        *,
        is_told: bool = True,
    ) -> None:
        """See :func:`pix2pix_batch.imaging.raster.reading.open_raster`."""
        self.side, self.pixel_bytes = side, count_pixel_bytes(side)
        self.warnings: list[str] = []
        self._array = array = load_array(place)
        self.height, self.width, count = self._array.shape
        require_bands_last(array.shape, side.channels)
        rounded = "numpy.rint(array)" if side.is_whole and array.dtype.kind == "f" else "array"
        require_type(array.dtype, side, "it", f"{rounded}.astype({side.dtype!r})")
        indexes = choose_bands(("",) * count, count, None, side, bands)
        self._bands = [index - 1 for index in indexes]
        self._survey = Survey(side, is_told)
        floats = array.dtype.kind == "f"
        self.profile = RasterProfile(has_gaps=floats or side.nodata is not None)

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a window; see :meth:`.reading.Raster.read`."""
        return self._clean(self._array[top : top + height, left : left + width, self._bands])

    def read_reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`.reading.Raster`."""
        step = choose_step(self.height, self.width, longest)
        return self._clean(self._array[::step, ::step][:, :, self._bands])

    def count_reduced(self, longest: int) -> int:
        """See :class:`.reading.Raster`; of a map of a file, the rows that are looked at."""
        step = choose_step(self.height, self.width, longest)
        return self.height * self.width * self.pixel_bytes // step

    def _clean(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        nothing: list[list[float | None]] = [[] for _ in self._bands]
        cleaned = clean(window, None, nothing, self.side, self.warnings)
        self._survey.add(*cleaned, self.warnings)
        return cleaned

    def close(self) -> None:
        """Nothing is open but a map of the file, which goes with the array."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def encode(pixels: np.ndarray, valid: np.ndarray | None, extras: RasterExtras) -> bytes:
    """Encode a raster as a ``.npy`` file.

    Args:
        pixels: ``(H, W, C)``. A single band is written as ``(H, W)``.
        valid: ``bool (H, W)``, where there is data; ``None`` for everywhere. The file has no mask:
            integers for which no value stands for no data get the least of their band's range
            there.
        extras: What the raster says beside the pixels.
    """
    gaps = GapFiller(pixels.dtype, extras)
    filled = gaps.apply(pixels, valid)
    if gaps.has_mask and valid is not None:
        filled = filled.copy()
        filled[~valid] = [low for low, _ in extras.limits] or 0
    buffer = io.BytesIO()
    np.save(buffer, filled[:, :, 0] if filled.shape[2] == 1 else filled, allow_pickle=False)
    return buffer.getvalue()
