"""What an output keeps of the raster that it was made of, beside its values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pix2pix_batch.imaging.metadata.tiff import Fields

GEOTIFF, COG = "GTiff", "COG"
"""GDAL's drivers that write outputs."""

LOSSLESS = ("DEFLATE", "LZW", "ZSTD", "LZMA", "PACKBITS", "NONE")
"""Compressions of GeoTIFF that keep every value, by GDAL's names."""

PREDICTED = ("DEFLATE", "LZW", "ZSTD")
"""Compressions that do better on differences of neighbours."""


# The fields that GDAL has of a file.
@dataclass(frozen=True)
class RasterProfile:
    """``crs``, ``transform``, ``gcps`` (points and their system), ``rpcs``: where it lies, as
    rasterio has them. ``descriptions`` and ``colours``: of the bands that were read, their names
    and interpretations. ``is_point``: whether places are those of pixels' middles.

    How the file is laid out: ``compression``, by GDAL's name; ``block``: height and width of its
    tiles, ``None`` for strips; ``interleave``; ``overviews``: the factors by which its smaller
    copies are.

    ``has_gaps``: whether it can hold pixels without data: it has a mask, or a value for none, or
    floating point, whose NaN is one. ``nodata``: the file's value for none, which a file of the
    samples as they were read can have; ``None`` where there is no such value.
    """

    crs: Any = None
    transform: Any = None
    gcps: tuple[Any, Any] | None = None
    rpcs: Any = None
    descriptions: tuple[str, ...] = ()
    colours: tuple[Any, ...] = ()
    is_point: bool = False
    compression: str = "DEFLATE"
    block: tuple[int, int] | None = None
    interleave: str = "pixel"
    overviews: tuple[int, ...] = ()
    has_gaps: bool = False
    nodata: float | None = None

    def without_place(self) -> RasterProfile:
        """The same profile without where the raster lies."""
        return replace(self, crs=None, transform=None, gcps=None, rpcs=None, is_point=False)


@dataclass(frozen=True)
class RasterExtras:
    """What a writer of rasters is told besides the samples.

    ``profile``: of the input; ``is_picture``: whether the samples are a picture's, which was not
    read as a raster: it is then written as one, and copied; ``creation``: options of GDAL's driver,
    by upper-case name, which go before what the input has; ``nodata``: the value that stands for
    none; ``names``: of the bands; ``limits``: of each band the least and the largest value that it
    may have; ``is_copy``: whether the samples are the input's own, which stay as they are also
    where they have the value for none in some bands; ``described``: what EXIF, XMP and IPTC say, as
    fields of TIFF.
    """

    profile: RasterProfile = field(default_factory=RasterProfile)
    is_picture: bool = False
    creation: tuple[tuple[str, str], ...] = ()
    nodata: float | None = None
    names: tuple[str, ...] = ()
    limits: tuple[tuple[float, float], ...] = ()
    is_copy: bool = False
    described: Fields = field(default_factory=dict)
