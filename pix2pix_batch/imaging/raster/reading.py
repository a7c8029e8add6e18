"""Reading rasters window by window: through GDAL, and NumPy's own files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.blocks import BlockChecker
from pix2pix_batch.imaging.raster.profile import LOSSLESS, RasterProfile
from pix2pix_batch.imaging.raster.survey import Survey, describe_other_names
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange

NUMPY = ".npy"
MOST_BANDS = 1024
"""Bands that a file may have of which some are read; what a damaged header says is soon more."""


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
    place: str | bytes, name: str, side: ValueRange, bands: Sequence[str] = ()
) -> Raster:
    """Open the raster at the path ``place``, or whose bytes it is, for a model whose inputs are
    ``side``. ``name``: of the file; ``bands``: numbers or names of those that are the model's, in
    its order. Raises :class:`ImageError`."""
    if name.lower().endswith(NUMPY):
        return NumpyRaster(place, side, bands)
    return GdalRaster(place, side, bands)


class GdalRaster:
    """What GDAL reads; a :class:`Raster`."""

    def __init__(self, place: str | bytes, side: ValueRange, bands: Sequence[str] = ()) -> None:
        """See :func:`open_raster`."""
        rasterio = library.rasterio()
        self.side, self.pixel_bytes = side, count_pixel_bytes(side)
        self.warnings: list[str] = []
        self._memory: Any = None
        with library.explain_errors("read as a raster"):
            if isinstance(place, bytes):
                self._memory = rasterio.io.MemoryFile(place)
            path = place if isinstance(place, str) else self._memory.name
            self._file = library.open_dataset(path)
        self._blocks: BlockChecker | None = None
        try:
            self._begin(bands)
            self._blocks = BlockChecker(self._file, place, self.indexes)
        except BaseException:
            self.close()
            raise

    def _begin(self, bands: Sequence[str]) -> None:
        file = self._file
        self._require_local()
        self.height, self.width = file.height, file.width
        if not 1 <= file.count <= MOST_BANDS:
            raise ImageError(f"has {format_count(file.count, 'band')}; up to {MOST_BANDS} are read")
        if self.side.is_picture and file.tags(ns="COLOR_PROFILE").get("SOURCE_ICC_PROFILE"):
            self.warnings.append("its colour profile is left out: it is read window by window")
        if file.driver == "GTiff" and file.tags(ns="TIFF").get("TIFFTAG_ORIENTATION", "1") != "1":
            self.warnings.append("its orientation is left out: rasters are read as they lie")
        if file.driver == "GTiff" and (pages := len(file.subdatasets)) > 1:
            self.warnings.append(f"has {pages:,} pages, of which the first is read")
        enums = library.rasterio().enums
        colours, self._alpha = list(file.colorinterp), None
        if enums.ColorInterp.alpha in colours:
            self._alpha = colours.index(enums.ColorInterp.alpha) + 1
        names = tuple(found or "" for found in file.descriptions)
        own = [k for k in range(file.count) if k + 1 != self._alpha] if not bands else None
        self.indexes = choose_bands(names, file.count, own, self.side, bands)
        types = [file.dtypes[index - 1] for index in self.indexes]
        for index, kind in zip(self.indexes, types, strict=True):
            require_type(kind, self.side, f"band {index}")
        self._nodata = [file.nodatavals[index - 1] for index in self.indexes]
        flags = file.mask_flag_enums[self.indexes[0] - 1]
        self._has_mask = enums.MaskFlags.per_dataset in flags and enums.MaskFlags.alpha not in flags
        if self._alpha in self.indexes:  # what GDAL calls any fourth band of 8 bits
            self._alpha = None
        if not bands and (remark := describe_other_names(self._chosen(names), self.side.names)):
            self.warnings.append(remark)
        self._survey = Survey(self.side)
        self.profile = self._read_profile(names)

    def _chosen(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(names[index - 1] for index in self.indexes)

    def _require_local(self) -> None:
        """A VRT names the files that it is made of, which may lie anywhere."""
        for path in self._file.files if self._file.driver == "VRT" else ():
            if path.startswith("/vsi") and not path.startswith("/vsimem/"):
                raise ImageError(f"is a VRT of {path}, which is no file here; fetch it first")
            if not path.startswith("/vsimem/") and not os.path.isfile(path):
                raise ImageError(f"is a VRT of {path}, which is not there; mend the VRT")

    def _read_profile(self, names: tuple[str, ...]) -> RasterProfile:
        file = self._file
        tags = file.tags(ns="IMAGE_STRUCTURE")
        compression = str(tags.get("COMPRESSION", "NONE")).upper()
        gcps, system = file.gcps
        floats = any(np.dtype(file.dtypes[index - 1]).kind == "f" for index in self.indexes)
        given = any(value is not None for value in self._nodata) or self.side.nodata is not None
        is_tiled = file.driver == "GTiff" and file.profile.get("tiled", False)
        block = file.block_shapes[self.indexes[0] - 1] if is_tiled else None
        return RasterProfile(
            crs=file.crs,
            transform=None if file.transform.is_identity else file.transform,
            gcps=(gcps, system) if gcps else None,
            rpcs=file.rpcs,
            descriptions=self._chosen(names),
            colours=tuple(file.colorinterp[index - 1] for index in self.indexes),
            is_point=file.tags().get("AREA_OR_POINT") == "Point",
            compression=compression if compression in LOSSLESS else "DEFLATE",
            block=None if block is None else (int(block[0]), int(block[1])),
            interleave=str(tags.get("INTERLEAVE", "PIXEL")).lower(),
            overviews=tuple(file.overviews(self.indexes[0])),
            has_gaps=bool(floats or given or self._has_mask or self._alpha),
        )

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`Raster`."""
        window = library.rasterio().windows.Window(left, top, width, height)
        made = self._read(window, (height, width))
        if self._blocks and (found := self._blocks.find_damage(top, left, height, width)):
            self._blocks.close()
            self._blocks = None
            self.warnings.append(found)
        return made

    def read_reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`Raster`."""
        step = reduction(self.height, self.width, longest)
        return self._read(None, (-(-self.height // step), -(-self.width // step)))

    def count_reduced(self, longest: int) -> int:
        """See :class:`Raster`."""
        step = reduction(self.height, self.width, longest)
        factors = self._file.overviews(self.indexes[0])
        factor = max((one for one in factors if one <= step), default=1)
        return self.height * self.width * self.pixel_bytes // factor**2

    def _read(self, window: Any, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """The window, all for ``None``, as so many rows and columns."""
        with library.explain_errors("read"):
            every = len(self.indexes), *shape
            planes = self._file.read(self.indexes, window=window, out_shape=every)
            masked = self._read_mask(window, shape)
        nodata = [[value] for value in self._nodata]
        made = clean(np.moveaxis(planes, 0, 2), masked, nodata, self.side, self.warnings)
        self._survey.add(*made, self.warnings)
        return made

    def _read_mask(self, window: Any, shape: tuple[int, int]) -> np.ndarray | None:
        if self._alpha is not None:
            return self._file.read(self._alpha, window=window, out_shape=shape) == 0
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


def read_place(data: bytes, has_gaps: bool) -> RasterProfile:
    """Where a GeoTIFF lies, and nothing else of it."""
    rasterio = library.rasterio()
    with (
        library.explain_errors("read"),
        rasterio.io.MemoryFile(data, ext=".tif") as memory,
        memory.open() as file,
    ):
        gcps, system = file.gcps
        return RasterProfile(
            crs=file.crs,
            transform=None if file.transform.is_identity else file.transform,
            gcps=(gcps, system) if gcps else None,
            rpcs=file.rpcs,
            is_point=file.tags().get("AREA_OR_POINT") == "Point",
            has_gaps=has_gaps,
        )


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


class NumpyRaster:
    """An array of NumPy's, ``(H, W)`` or ``(H, W, C)``, from a ``.npy``; a :class:`Raster`."""

    def __init__(self, place: str | bytes, side: ValueRange, bands: Sequence[str] = ()) -> None:
        """See :func:`open_raster`."""
        self.side, self.pixel_bytes = side, count_pixel_bytes(side)
        self.warnings: list[str] = []
        self._array = array = load_array(place)
        self.height, self.width, count = self._array.shape
        require_type(array.dtype, side, "it")
        indexes = choose_bands(("",) * count, count, None, side, bands)
        self._bands = [index - 1 for index in indexes]
        self._survey = Survey(side)
        floats = array.dtype.kind == "f"
        self.profile = RasterProfile(has_gaps=floats or side.nodata is not None)

    def read(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`Raster`."""
        return self._clean(self._array[top : top + height, left : left + width, self._bands])

    def read_reduced(self, longest: int) -> tuple[np.ndarray, np.ndarray | None]:
        """See :class:`Raster`."""
        step = reduction(self.height, self.width, longest)
        return self._clean(self._array[::step, ::step][:, :, self._bands])

    def count_reduced(self, longest: int) -> int:
        """See :class:`Raster`; of a map of a file, the rows that are looked at."""
        step = reduction(self.height, self.width, longest)
        return self.height * self.width * self.pixel_bytes // step

    def _clean(self, window: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        nothing: list[list[float | None]] = [[] for _ in self._bands]
        made = clean(window, None, nothing, self.side, self.warnings)
        self._survey.add(*made, self.warnings)
        return made

    def close(self) -> None:
        """Nothing is open but a map of the file, which goes with the array."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


def reduction(height: int, width: int, longest: int) -> int:
    """Of how many pixels one is taken, of each row and column, for ``longest`` a side."""
    return max(1, -(-max(height, width) // longest))


def count_pixel_bytes(side: ValueRange) -> int:
    """Bytes of all bands of a pixel."""
    return side.channels * np.dtype(side.dtype).itemsize


def choose_bands(
    names: Sequence[str],
    count: int,
    own: Sequence[int] | None,
    side: ValueRange,
    asked: Sequence[str],
) -> list[int]:
    """The numbers, from 1, of the bands that are the model's. ``names``: of the file's bands;
    ``own``: the indices of those that are no transparency; ``asked``: by the user.

    Those asked for; else those that have the names of the model's, in its order; else all, where
    they are as many. Raises :class:`ImageError`.
    """
    if asked:
        if len(asked) != side.channels:
            raise ImageError(
                f"--bands names {format_count(len(asked), 'band')}, and the model takes "
                f"{side.channels}"
            )
        return [_find_band(word, names, count) for word in asked]
    wanted = side.names
    if all(wanted) and set(wanted) <= set(names):
        return [names.index(name) + 1 for name in wanted]
    for found in (range(count), own or ()):
        if len(found) == side.channels:
            return [index + 1 for index in found]
    told = _list_names(names)
    takes = f"{side.channels}{_list_names(wanted)}"
    raise ImageError(
        f"has {format_count(count, 'band')}{told}, and the model takes {takes}; choose them with "
        "--bands"
    )


def _find_band(word: str, names: Sequence[str], count: int) -> int:
    if word in names and word:
        return names.index(word) + 1
    if word.isascii() and word.isdigit() and 1 <= int(word) <= count:
        return int(word)
    raise ImageError(
        f"has no band {word!r}: it has {format_count(count, 'band')}{_list_names(names)}"
    )


def _list_names(names: Sequence[str]) -> str:
    known = [name for name in names if name]
    more = ", ..." if len(known) > 16 else ""
    return f" ({', '.join(known[:16])}{more})" if known else ""


def require_type(kind: Any, side: ValueRange, what: str) -> None:
    """Raises :class:`ImageError` where samples of the type ``kind`` are not the model's: floats
    take every real type, whole numbers their own alone."""
    try:
        found = np.dtype(kind)
    except TypeError:
        found = None
    if found is not None and found == np.dtype(side.dtype).newbyteorder(found.byteorder):
        return
    if found is not None and not side.is_whole and found.kind in "iuf":
        return
    raise ImageError(
        f"{what} has samples of {kind}, and the model takes {side.dtype}; make them such first "
        f"(gdal_translate -ot), on the scale that the model was trained with"
    )


def clean(
    values: np.ndarray,
    masked: np.ndarray | None,
    nodata: Sequence[Sequence[float | None]],
    side: ValueRange,
    warnings: list[str],
) -> tuple[np.ndarray, np.ndarray | None]:
    """``(H, W, C)`` as the model takes it, and where it has data, as :meth:`Raster.read`.

    ``masked``: ``bool (H, W)``, true where the file has none; ``nodata``: of each band the values
    that stand for none, beside the model's own; ``warnings``: is added to. A pixel has no data
    where none of its bands has any; one that lacks a band by being no number gets the middle of
    its range there.
    """
    known = any(value is not None for own in nodata for value in (*own, side.nodata))
    if masked is None and side.is_whole and not known:
        return np.ascontiguousarray(values, dtype=side.dtype), None
    found = np.ascontiguousarray(values, dtype=side.dtype)
    if found is values or np.shares_memory(found, values):
        found = found.copy()
    lacks = np.zeros(found.shape, bool)
    unreal = None
    if not side.is_whole:
        unreal = ~np.isfinite(found)
        if np.isinf(found).any() and INFINITE not in warnings:
            warnings.append(INFINITE)
        lacks |= unreal
    for band, own in enumerate(nodata):
        for value in {*own, side.nodata}:
            if value is not None and np.isfinite(value):
                lacks[:, :, band] |= values[:, :, band] == value
    empty: np.ndarray = np.all(lacks, axis=2)
    if masked is not None:
        empty |= masked
    gaps = empty[:, :, None] if unreal is None else empty[:, :, None] | unreal
    if gaps.any():
        np.copyto(found, np.array(side.fills, found.dtype), where=gaps)
    return found, None if not empty.any() else ~empty


INFINITE = "its infinite values are taken for no data"
