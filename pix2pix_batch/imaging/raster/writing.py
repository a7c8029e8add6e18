"""Writing rasters row by row: GeoTIFF and COG through GDAL."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Any, Self

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.metadata.tiff import (
    ASCII,
    XMP,
    Field,
    add_fields,
    add_fields_to_file,
)
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.creation import NO, complete_options
from pix2pix_batch.imaging.raster.profile import COG, GEOTIFF, PREDICTED, RasterExtras

BLOCK = 256
"""Side of the tiles of a GeoTIFF whose input has none, as GDAL's default."""

LARGE = 1024
"""Pixels of a side from which on a file that was not in tiles gets them."""

COLUMNS = 4096
"""Columns that are written at once, about."""

GDAL_TEXTS = {
    270: "TIFFTAG_IMAGEDESCRIPTION", 305: "TIFFTAG_SOFTWARE", 306: "TIFFTAG_DATETIME",
    315: "TIFFTAG_ARTIST", 316: "TIFFTAG_HOSTCOMPUTER", 33432: "TIFFTAG_COPYRIGHT",
}  # fmt: skip
"""Texts of EXIF, by their tags, that GDAL's drivers write, by its names."""


class GapFiller:
    """How an output says where there is no data: by a value, or by a mask.

    ``nodata``: the value, ``None`` where there is a mask or nothing can lack; ``has_mask``.
    """

    def __init__(self, dtype: np.dtype, extras: RasterExtras) -> None:
        self.nodata = extras.nodata
        self.has_mask = False
        self._limits = extras.limits
        self._moves_values = not extras.is_copy
        if self.nodata is None and extras.profile.has_gaps:
            if dtype.kind == "f":
                self.nodata = float("nan")
            else:
                self.has_mask = True

    @property
    def is_needed(self) -> bool:
        """Whether it matters where there is no data."""
        return self.has_mask or self.nodata is not None

    def apply(self, pixels: np.ndarray, valid: np.ndarray | None) -> np.ndarray:
        """Write the value for no data where ``valid``, ``bool (H, W)``, is false, into a copy of
        ``pixels``, ``(H, W, C)``. Real values that happen to be that one are moved to their
        neighbour, but not in copies of inputs."""
        if self.nodata is None:
            return pixels
        filled = pixels.copy()
        value = filled.dtype.type(self.nodata)
        if self._moves_values and not np.isnan(self.nodata):
            for band in range(filled.shape[2]):
                plane = filled[:, :, band]
                plane[plane == value] = self._find_neighbour(value, band)
        if valid is not None:
            filled[~valid] = value
        return filled

    def _find_neighbour(self, value: Any, band: int) -> Any:
        """The next value within the band's range, upwards unless there is none."""
        _, most = self._limits[band] if self._limits else (value, value + 1)
        if value.dtype.kind == "f":
            return np.nextafter(value, value.dtype.type(np.inf if value < most else -np.inf))
        return value + 1 if value < most else value - 1


class RasterWriter:
    """A raster that is written from the top down; a context manager, after which the file at the
    path is whole."""

    def __init__(
        self,
        path: str,
        driver: str,
        shape: tuple[int, int, int],
        dtype: np.dtype,
        extras: RasterExtras,
    ) -> None:
        """``shape``: height, width and bands. Raises :class:`ImageError`."""
        self.path, self.driver, self.shape, self.extras = path, driver, shape, extras
        self.gaps = GapFiller(dtype, extras)
        self._plain = path if driver == GEOTIFF else f"{path}.plain.tif"
        options = self._options(dtype)
        with library.explain_errors(library.WRITTEN):
            height, width, bands = shape
            self._file = library.rasterio().open(
                self._plain, "w", driver=GEOTIFF, height=height, width=width, count=bands,
                dtype=dtype.name, nodata=self.gaps.nodata, **options,
            )  # fmt: skip
            self._describe()

    @property
    def block_rows(self) -> int:
        """Rows of its blocks: what is written at once is to be a multiple of them."""
        return int(self._file.block_shapes[0][0])

    def _options(self, dtype: np.dtype) -> dict[str, Any]:
        profile, (height, width, bands) = self.extras.profile, self.shape
        options: dict[str, Any] = {"BIGTIFF": "IF_SAFER"}
        given = complete_options(dict(self.extras.creation)) if self.driver == GEOTIFF else {}
        block = profile.block
        if block is None and max(height, width) > LARGE:
            block = BLOCK, BLOCK
        has_strips = given.get("TILED", "").upper() in NO
        if block is not None and all(side % 16 == 0 for side in block) and not has_strips:
            options |= {"TILED": "YES", "BLOCKYSIZE": block[0], "BLOCKXSIZE": block[1]}
        if bands > 1:
            options["INTERLEAVE"] = profile.interleave
        if self.driver == COG:  # copied once more, compressed then
            return options
        compression = profile.compression if profile.compression != "NONE" else None
        options |= {"COMPRESS": compression or "NONE"} | given
        is_predicted = str(options["COMPRESS"]).upper() in PREDICTED
        if is_predicted and not {"PREDICTOR", "NBITS"} & set(given):
            options["PREDICTOR"] = 3 if dtype.kind == "f" else 2
        return options

    def _describe(self) -> None:
        profile, bands, file = self.extras.profile, self.shape[2], self._file
        enums = library.rasterio().enums
        if profile.crs is not None:
            file.crs = profile.crs
        if profile.transform is not None:
            file.transform = profile.transform
        if profile.gcps is not None:
            file.gcps = profile.gcps
        if profile.rpcs is not None:
            file.rpcs = profile.rpcs
        if profile.is_point:
            file.update_tags(AREA_OR_POINT="Point")
        same = len(profile.colours) == bands
        if {"PHOTOMETRIC", "ALPHA"} & dict(self.extras.creation).keys():
            pass  # says what colours the bands are
        elif same and profile.colours != tuple(file.colorinterp):
            with contextlib.suppress(Exception):  # of kinds that a GeoTIFF has not
                file.colorinterp = profile.colours
        elif not same and bands == 3 and file.dtypes[0] == "uint8":
            file.colorinterp = (
                enums.ColorInterp.red, enums.ColorInterp.green, enums.ColorInterp.blue,
            )  # fmt: skip
        if self.driver == COG:
            self._tell_gdal()
        names = self.extras.names if any(self.extras.names) else profile.descriptions
        if len(names) == bands:
            for band, name in enumerate(names, 1):
                if name:
                    file.set_band_description(band, name)

    def _tell_gdal(self) -> None:
        """What GDAL's driver itself can write of EXIF and XMP."""
        described = self.extras.described
        texts = {
            name: field.data.rstrip(b"\0").decode("utf-8", "replace")
            for tag, name in GDAL_TEXTS.items()
            if isinstance(field := described.get(tag), Field) and field.kind == ASCII
        }
        self._file.update_tags(**texts)
        packet = described.get(XMP)
        if isinstance(packet, Field):
            # one text with no name, which rasterio has to be given as two
            name, _, rest = packet.data.decode("utf-8", "replace").partition("=")
            self._file.update_tags(ns="xml:XMP", **{name: rest})

    def write(self, top: int, pixels: np.ndarray, valid: np.ndarray | None) -> None:
        """Write rows over the whole width.

        Args:
            top: The first row.
            pixels: ``(h, W, C)``.
            valid: ``bool (h, W)``, where there is data; ``None`` for everywhere.

        Raises:
            ImageError: GDAL cannot write them.
        """
        height, width = pixels.shape[:2]
        across = int(self._file.block_shapes[0][1])
        step = max(across, COLUMNS // across * across)
        for left in range(0, width, step):  # a few blocks at a time: each copy is small
            part = np.s_[:, left : left + step]
            window = library.rasterio().windows.Window(left, top, min(step, width - left), height)
            mask = None if valid is None else valid[part]
            with library.explain_errors(library.WRITTEN):
                filled = self.gaps.apply(pixels[part], mask)
                self._file.write(np.moveaxis(filled, 2, 0), window=window)
                if self.gaps.has_mask:
                    mask = np.ones(filled.shape[:2], bool) if mask is None else mask
                    self._file.write_mask(mask, window=window)

    def finish(self) -> None:
        """Have the file whole. Raises :class:`ImageError`."""
        rasterio = library.rasterio()
        with library.explain_errors(library.WRITTEN):
            self._file.close()
            factors = list(self.extras.profile.overviews)
            if self.driver == GEOTIFF and factors:
                resampling = rasterio.enums.Resampling.average
                with rasterio.open(self._plain, "r+") as file:
                    file.build_overviews(factors, resampling)
            if self.driver == GEOTIFF and not self._plain.startswith("/vsimem/"):
                add_fields_to_file(self._plain, self.extras.described)  # GDAL does not write them
            if self.driver == COG:
                options = {"COMPRESS": "DEFLATE", "PREDICTOR": "YES", "BIGTIFF": "IF_SAFER"}
                compression = self.extras.profile.compression
                if compression in ("LZW", "ZSTD"):
                    options["COMPRESS"] = compression
                given = dict(self.extras.creation)
                if given.get("COMPRESS", "DEFLATE").upper() not in PREDICTED or "NBITS" in given:
                    del options["PREDICTOR"]
                rasterio.shutil.copy(self._plain, self.path, driver=COG, **(options | given))
                rasterio.shutil.delete(self._plain)

    def abandon(self) -> None:
        """Leave nothing of it."""
        with contextlib.suppress(Exception):
            self._file.close()
        for path in {self._plain, self.path} - {""}:
            with contextlib.suppress(Exception):
                if path.startswith("/vsimem/"):
                    library.rasterio().shutil.delete(path)
                else:
                    os.unlink(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.abandon()


def encode(
    pixels: np.ndarray, valid: np.ndarray | None, driver: str, extras: RasterExtras
) -> bytes:
    """Encode a whole raster as a file.

    Args:
        pixels: ``(H, W, C)``.
        valid: ``bool (H, W)``, where there is data; ``None`` for everywhere.
        driver: GDAL's driver that writes it.
        extras: What the file says beside the pixels.

    Returns:
        The bytes of the file.

    Raises:
        ImageError: GDAL cannot write it.
    """
    height, width, bands = pixels.shape
    with library.rasterio().io.MemoryFile(ext=".tif") as memory:
        shape = height, width, bands
        with RasterWriter(memory.name, driver, shape, pixels.dtype, extras) as writer:
            writer.write(0, pixels, valid)
        data: bytes = memory.read()
    if not data:
        raise ImageError("cannot be written: GDAL has made an empty file")
    return add_fields(data, extras.described) if driver == GEOTIFF else data


def copy(data: bytes, driver: str, extras: RasterExtras) -> bytes:
    """Write a GeoTIFF anew with a driver, with all that it says.

    Args:
        data: The bytes of the GeoTIFF.
        driver: GDAL's driver that writes the copy.
        extras: Has the creation options, and the fields that GDAL does not write itself.

    Returns:
        The bytes of the copy.

    Raises:
        ImageError: GDAL cannot write it.
    """
    rasterio = library.rasterio()
    given = dict(extras.creation)
    creation = {"COMPRESS": "DEFLATE", "BIGTIFF": "IF_SAFER"}
    creation |= complete_options(given) if driver == GEOTIFF else given
    with (
        library.explain_errors(library.WRITTEN),
        rasterio.io.MemoryFile(data, ext=".tif") as source,
        rasterio.io.MemoryFile(ext=".tif") as target,
    ):
        rasterio.shutil.copy(source.name, target.name, driver=driver, **creation)
        copied: bytes = target.read()
    if not copied:
        raise ImageError("cannot be written: GDAL has made an empty file")
    return add_fields(copied, extras.described) if driver == GEOTIFF else copied
