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
        """A window: ``(height, width, C)`` of the model's type, and ``bool (height, width)``,
        false where there is no data; ``None`` where there is everywhere. Raises
        :class:`ImageError`."""

    def read_reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
        """As :meth:`read`, of all of it, every n-th pixel: ``longest`` at most a side. Raises
        :class:`ImageError`."""

    def count_reduced(self, longest: int) -> int:
        """Bytes of samples that :meth:`read_reduced` decodes."""

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
) -> Raster:
    """Open the raster at the path ``place``, or whose bytes it is, for a model whose inputs are
    ``side``. ``name``: of the file; ``bands``: numbers or names of those that are the model's, in
    its order; ``page``: of a GeoTIFF, from 1; 0 for the first of any file;
    ``is_told``: whether the values of ``side`` are known yet. Raises :class:`ImageError`."""
    if name.lower().endswith(numpy_raster.SUFFIX):
        return NumpyRaster(place, side, bands, is_told=is_told)
    return GdalRaster(place, side, bands, page, is_told=is_told)
