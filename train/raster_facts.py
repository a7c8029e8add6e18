"""What a raster's file says of itself, without its samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.kinds import suffix_of
from pix2pix_batch.imaging.raster import library, numpy_raster
from pix2pix_batch.imaging.raster.paged import open_named


@dataclass(frozen=True)
class RasterFacts:
    """``kind``: the type of its samples, by NumPy's name; ``names`` and ``nodata``: of its bands;
    ``system``: its CRS in short, empty without; ``transform``: rasterio's six numbers, ``None``
    where it does not say where it lies."""

    width: int
    height: int
    kind: str
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    system: str = ""
    transform: tuple[float, ...] | None = None

    @property
    def bands(self) -> int:
        return len(self.names)


def read_facts(path: Path, channels: int | None = None) -> RasterFacts:
    """Of transparency nothing is told. ``channels``: of the recipe, where it says what the rasters
    are. Raises :class:`ImageError`."""
    if suffix_of(path.name) == numpy_raster.SUFFIX:
        return _read_numpy(path, channels)
    rasterio = library.rasterio()
    with library.explain_errors("read as a raster"), open_named(str(path)) as file:
        own = [
            index for index, colour in enumerate(file.colorinterp)
            if colour != rasterio.enums.ColorInterp.alpha
        ]  # fmt: skip
        kinds = {file.dtypes[index] for index in own}
        if len(kinds) != 1:
            listed = ", ".join(sorted(kinds)) or "no samples"
            raise ImageError(f"its bands are of different types ({listed}); make them of one")
        return RasterFacts(
            file.width,
            file.height,
            kinds.pop(),
            tuple(file.descriptions[index] or "" for index in own),
            tuple(file.nodatavals[index] for index in own),
            _name_system(file.crs),
            None if file.transform.is_identity else tuple(file.transform)[:6],
        )


def _name_system(crs: Any) -> str:
    if not crs:
        return ""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def _read_numpy(path: Path, channels: int | None) -> RasterFacts:
    array = numpy_raster.load_array(str(path))
    height, width, bands = array.shape
    numpy_raster.require_bands_last(array.shape, channels)
    kind = array.dtype.newbyteorder("=").name
    return RasterFacts(width, height, kind, ("",) * bands, (None,) * bands)


def describe_mismatch(one: RasterFacts, other: RasterFacts) -> str:
    """How the places of a pair's rasters differ, as far as both tell theirs; else nothing."""
    if one.system and other.system and one.system != other.system:
        return f"its CRS is {other.system}, its partner's {one.system}; warp one to the other's"
    if one.transform and other.transform and one.system and other.system:
        pixel = max(abs(one.transform[0]), abs(one.transform[1]), 1e-12)
        moved = np.abs(np.subtract(one.transform, other.transform))
        reach = np.array([other.width, other.height, 1] * 2)
        if float((moved * reach).max()) > pixel / 2:
            return (
                "it lies elsewhere than its partner: their transforms differ by "
                f"{float((moved * reach).max() / pixel):.3g} pixels; cut both to one grid"
            )
    return ""
