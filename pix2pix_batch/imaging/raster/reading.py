"""Reading rasters window by window: through GDAL, and NumPy's own files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np

from pix2pix_batch.imaging.raster import numpy_raster
from pix2pix_batch.imaging.raster.gdal_raster import GdalRaster
from pix2pix_batch.imaging.raster.numpy_raster import NumpyRaster
from pix2pix_batch.imaging.raster.profile import RasterProfile
from pix2pix_batch.value_ranges import ValueRange


class Raster(Protocol):
    """An open raster whose bands are a model's; a context manager.

    ``pixel_bytes``: that a pixel of the model's takes; ``warnings``: what was odd of it, as far as
    it was read.
    """

    height: int
    width: int
    pixel_bytes: int
    profile: RasterProfile
    warnings: list[str]

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a window.

        Args:
            top: Its first row.
            left: Its first column.
            height: In pixels.
            width: In pixels.

        Returns:
            ``(height, width, C)`` of the model's type, and ``bool (height, width)``, false where
            there is no data, or ``None`` if there is data everywhere.

        Raises:
            ImageError: The file cannot be read.
        """

    def read_reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Read every n-th pixel of the whole raster, as :meth:`read` returns it, so that no side is
        longer than ``longest``. Raises :class:`ImageError`."""

    def count_reduced(self, longest: int) -> int:
        """Count the bytes of samples that :meth:`read_reduced` decodes."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def open_raster(
    place: str | bytes,
    name: str,
    side: ValueRange,
    bands: Sequence[str] = (),
    page: int = 0,
    *,
    is_told: bool = True,
    is_picture: bool = False,
) -> Raster:
    """Open a raster for a model.

    Args:
        place: The path of the file, or its bytes.
        name: The file's name, whose suffix says how it is read.
        side: What the model's inputs mean.
        bands: Names or numbers of the bands that are the model's, in its order; empty to choose
            them (:func:`.bands.choose_bands`).
        page: The page of a GeoTIFF, from 1; 0 for the first of any file.
        is_told: Whether the values of ``side`` are known yet. If not, nothing is said of values
            beyond them.
        is_picture: Whether it is a picture that is read so because it is large. What is transparent
            is then white, and what is so in part is refused when it is read.

    Raises:
        ImageError: The file cannot be read, or does not fit the model.
    """
    if name.lower().endswith(numpy_raster.SUFFIX):
        return NumpyRaster(place, side, bands, is_told=is_told)
    return GdalRaster(place, side, bands, page, is_told=is_told, is_picture=is_picture)
