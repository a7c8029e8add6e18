"""Rasters that GDAL reads, window by window."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from pix2pix_batch.errors import ImageError, NotToleratedError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.metadata import exif
from pix2pix_batch.imaging.metadata.tiff_pages import describe_left_pages, select_page
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.bands import (
    choose_bands,
    describe_other_names,
    describe_other_numbers,
)
from pix2pix_batch.imaging.raster.blocks import BlockChecker
from pix2pix_batch.imaging.raster.paged import PagedFile
from pix2pix_batch.imaging.raster.profile import LOSSLESS, RasterProfile
from pix2pix_batch.imaging.raster.samples import (
    choose_step,
    clean,
    count_pixel_bytes,
    find_common_nodata,
    remedy_of,
    require_type,
)
from pix2pix_batch.imaging.raster.survey import Survey
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange

WHITE = 255
"""Over which pictures are laid where they are transparent."""

MOST_BANDS = 1024
"""Bands that a file may have of which some are read; what a damaged header says is soon more."""


# The interface of a raster, and the state of a file that GDAL has open.
class GdalRaster:
    """What GDAL reads; a :class:`~pix2pix_batch.imaging.raster.reading.Raster`."""

    def __init__(
        self,
        place: str | bytes,
        side: ValueRange,
        bands: Sequence[str] = (),
        page: int = 0,
        *,
        is_told: bool = True,
        is_picture: bool = False,
    ) -> None:
        """See :func:`pix2pix_batch.imaging.raster.reading.open_raster`."""
        rasterio = library.rasterio()
        self.is_picture = is_picture
        self.side, self.pixel_bytes = side, count_pixel_bytes(side)
        self.warnings: list[str] = []
        self._survey = Survey(side, is_told)
        self._memory: Any = None
        with library.explain_errors("read as a raster"):
            if isinstance(place, bytes):
                place = select_page(place, page) if page else place
                self._memory = rasterio.io.MemoryFile(place)
            elif page:
                self._memory = PagedFile(place, pages.find_patches_of_file(place, page))
            path = place if isinstance(place, str) and not page else self._memory.name
            self._file = self._open(path)
        self._blocks: BlockChecker | None = None
        try:
            with library.explain_errors("read as a raster"):  # also tags that GDAL does not know
                self._begin(bands)
            if self._file.driver == "GTiff" and _read_orientation(place, page) != 1:
                self.warnings.append("its orientation is left out: rasters are read as they lie")
            self._blocks = BlockChecker(self._file, place, self.indexes)
        except BaseException:
            self.close()
            raise

    def _open(self, path: str) -> Any:
        """Nothing is left open where it cannot be opened."""
        try:
            return library.open_dataset(path)
        except BaseException:
            if self._memory is not None:
                self._memory.close()
            raise

    def _begin(self, bands: Sequence[str]) -> None:
        file = self._file
        self._require_local()
        self._require_whole()
        self.height, self.width = file.height, file.width
        if not 1 <= file.count <= MOST_BANDS:
            raise ImageError(f"has {format_count(file.count, 'band')}; up to {MOST_BANDS} are read")
        if self.side.is_picture and file.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE"):
            self.warnings.append("its colour profile is left out: it is read window by window")
        if file.driver == "GTiff" and (count := len(file.subdatasets)) > 1:
            self.warnings.append(describe_left_pages(count))
        enums = library.rasterio().enums
        colours, self._alpha = list(file.colorinterp), None
        if enums.ColorInterp.alpha in colours:
            self._alpha = colours.index(enums.ColorInterp.alpha) + 1
        names = tuple(description or "" for description in file.descriptions)
        own = [k for k in range(file.count) if k + 1 != self._alpha] if not bands else None
        if self.is_picture:
            self._require_plain_samples()
            if not bands and self.side.channels not in (file.count, len(own or ())):
                many = self.side.channels
                what = f"has {format_count(file.count, 'band')}, and the model takes {many}"
                raise self._explain_unlike(what, f"with {many}")
        self.indexes = choose_bands(names, file.count, own, self.side, bands)
        types = [file.dtypes[index - 1] for index in self.indexes]
        for index, kind in zip(self.indexes, types, strict=True):
            require_type(kind, self.side, f"band {index}", remedy_of(self.side))
        self._nodata = [file.nodatavals[index - 1] for index in self.indexes]
        flags = file.mask_flag_enums[self.indexes[0] - 1]
        self._has_mask = enums.MaskFlags.per_dataset in flags and enums.MaskFlags.alpha not in flags
        if self._alpha in self.indexes:  # what GDAL calls any fourth band of 8 bits
            self._alpha = None
        remarks = (
            describe_other_numbers(names, bands),
            describe_other_names(names, self.indexes, self.side.names, bool(bands)),
        )
        self.warnings += filter(None, remarks)
        self.profile = self._read_profile(names)

    def _require_plain_samples(self) -> None:
        """GDAL leaves samples of a picture as they are that are indices, as it has those of grey
        whose white is 0 too, or that have fewer bits."""
        palette = library.rasterio().enums.ColorInterp.palette
        for index in self._file.indexes:
            if self._file.tags(index, ns="IMAGE_STRUCTURE").get("NBITS"):
                raise self._explain_unlike("has samples of fewer than 8 bits", "with 8")
            if self._file.colorinterp[index - 1] == palette:
                raise self._explain_unlike("has a palette, or white as 0", "as grey or RGB")

    def _explain_unlike(self, what: str, remedy: str) -> ImageError:
        return ImageError(describe_unlike(self._file.height, self._file.width, what, remedy))

    def _require_local(self) -> None:
        """A VRT names the files that it is made of, which may lie anywhere."""
        for path in self._file.files if self._file.driver == "VRT" else ():
            if path.startswith("/vsi") and not path.startswith("/vsimem/"):
                raise ImageError(f"is a VRT of {path}, which is no file here; fetch it first")
            if not path.startswith("/vsimem/") and not os.path.isfile(path):
                raise ImageError(f"is a VRT of {path}, which is not there; mend the VRT")

    def _require_whole(self) -> None:
        """Beyond the end of plain samples, as ENVI has them, GDAL reads zeros."""
        file, tags = self._file, self._file.tags(ns="ENVI")
        if file.driver != "ENVI" or tags.get("file_compression", "0") != "0":
            return
        size = sum(np.dtype(kind).itemsize for kind in file.dtypes) * file.height * file.width
        size += int(tags.get("header_offset", "0"))
        found = os.path.getsize(file.files[0])
        if found < size:
            told = f"{found:,} of {size:,} bytes are there"
            raise ImageError(f"cannot be read: it is cut short: {told}")

    def _read_profile(self, names: tuple[str, ...]) -> RasterProfile:
        file = self._file
        tags = file.tags(ns="IMAGE_STRUCTURE")
        # a GeoTIFF without it has none; of others GDAL does not tell it
        untold = "NONE" if file.driver == "GTiff" else "DEFLATE"
        compression = str(tags.get("COMPRESSION", untold)).upper()
        floats = any(np.dtype(file.dtypes[index - 1]).kind == "f" for index in self.indexes)
        has_nodata = (
            any(value is not None for value in self._nodata) or self.side.nodata is not None
        )
        is_tiled = file.driver == "GTiff" and file.profile.get("tiled", False)
        block = file.block_shapes[self.indexes[0] - 1] if is_tiled else None
        return replace(
            _read_place(file),
            descriptions=tuple(names[index - 1] for index in self.indexes),
            colours=tuple(file.colorinterp[index - 1] for index in self.indexes),
            compression=compression if compression in LOSSLESS else "DEFLATE",
            block=None if block is None else (int(block[0]), int(block[1])),
            # GeoTIFF knows nothing but these two; ENVI has "line" too.
            interleave="pixel" if tags.get("INTERLEAVE", "PIXEL") == "PIXEL" else "band",
            overviews=tuple(file.overviews(self.indexes[0])),
            has_gaps=bool(floats or has_nodata or self._has_mask or self._alpha),
            nodata=find_common_nodata(self._nodata, self.side),
        )

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Read a window; see :meth:`.reading.Raster.read`."""
        window = library.rasterio().windows.Window(left, top, width, height)
        window_read = self._read(window, (height, width))
        if self._blocks and (damage := self._blocks.find_damage(top, left, height, width)):
            self._blocks.close()
            # One damage is told once; further blocks need not be checked.
            self._blocks = None
            self.warnings.append(damage)
        return window_read

    def read_reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`.reading.Raster`."""
        step = choose_step(self.height, self.width, longest)
        return self._read(None, (-(-self.height // step), -(-self.width // step)))

    def count_reduced(self, longest: int) -> int:
        """See :class:`.reading.Raster`."""
        step = choose_step(self.height, self.width, longest)
        factors = self._file.overviews(self.indexes[0])
        factor = max((overview for overview in factors if overview <= step), default=1)
        return self.height * self.width * self.pixel_bytes // factor**2

    def _read(self, window: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """The window, all for ``None``, as so many rows and columns."""
        with library.explain_errors("read"):
            every = len(self.indexes), *shape
            planes = self._file.read(self.indexes, window=window, out_shape=every)
            masked = self._read_mask(window, shape)
        nodata = [[value] for value in self._nodata]
        cleaned = clean(np.moveaxis(planes, 0, 2), masked, nodata, self.side, self.warnings)
        if self.is_picture and self._alpha is not None and masked is not None:
            cleaned[0][masked] = WHITE
        self._survey.add(*cleaned, self.warnings)
        return cleaned

    def _read_mask(self, window: Any, shape: tuple[int, int]) -> np.ndarray | None:
        if self._alpha is not None:
            alpha = self._file.read(self._alpha, window=window, out_shape=shape)
            if self.is_picture and ((alpha > 0) & (alpha < np.iinfo(alpha.dtype).max)).any():
                raise NotToleratedError(
                    describe_unlike(self.height, self.width, "is transparent in part", "without")
                )
            return alpha == 0
        if self._has_mask:
            return self._file.read_masks(self.indexes[0], window=window, out_shape=shape) == 0
        return None

    def close(self) -> None:
        self._file.close()
        if self._blocks:
            self._blocks.close()
        if self._memory is not None:
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def describe_unlike(height: int, width: int, what: str, remedy: str) -> str:
    """Say that a picture is read by windows, which would make another one of it than reading it as
    a whole, for ``what`` it is like; ``remedy``: how to save it."""
    return (
        f"{what}, which is not heeded in an image of {width:,}x{height:,} pixels, read by windows; "
        f"save it {remedy}, or use --max-pixels {height * width} to have it read as a whole"
    )


def _read_orientation(place: str | bytes, page: int) -> int:
    """Of a TIFF file; ``page``: of one at a path. Raises :class:`ImageError`."""
    if isinstance(place, bytes):
        tiff = exif.parse(place)
        return exif.read_orientation(tiff) if tiff is not None else 1
    with library.explain_errors("read"), pages.open_tiff(place, page) as tiff:
        return exif.read_orientation(tiff) if tiff is not None else 1


def read_place(data: bytes, has_gaps: bool) -> RasterProfile:
    """Read where a GeoTIFF lies, and nothing else of it."""
    rasterio = library.rasterio()
    with (
        library.explain_errors("read"),
        rasterio.io.MemoryFile(data, ext=".tif") as memory,
        memory.open() as file,
    ):
        return replace(_read_place(file), has_gaps=has_gaps)


def _read_place(file: Any) -> RasterProfile:
    """Where an open file lies."""
    gcps, system = file.gcps
    return RasterProfile(
        crs=file.crs,
        transform=None if file.transform.is_identity else file.transform,
        gcps=(gcps, system) if gcps else None,
        rpcs=file.rpcs,
        is_point=file.tags().get("AREA_OR_POINT") == "Point",
    )
