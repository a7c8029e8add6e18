"""Whether GDAL's drivers do what ``--creation-option`` tells them.

They pass over what does not suit the rest: the level of another compression than the one chosen,
the width of tiles where there are none. Here each is refused, with what to do.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.creation import NO, YES, find_pixel_need
from pix2pix_batch.imaging.raster.gdal_messages import clean
from pix2pix_batch.imaging.raster.profile import (
    COG,
    GEOTIFF,
    PREDICTED,
    RasterExtras,
    RasterProfile,
)
from pix2pix_batch.imaging.raster.writing import encode
from pix2pix_batch.value_ranges import ValueRange

LOSS = 0.2
"""Of the range, that what is lossy may change values by, on average: of an image of even steps, one
of zeros is a half away, and one of its middle value a quarter."""

SIDE = 64
"""Pixels of a side of the image that is tried."""

STEP, LARGEST = 16, 4096
"""Tiles' sides are multiples of the one (TIFF 6.0, section 15), and up to the other: a row of tiles
is held in memory."""

LERC = ("LERC", "LERC_DEFLATE", "LERC_ZSTD")

COARSE = "too coarse for baseline JPEG"
"""In libjpeg's remark about qualities below some 25, which GDAL's readers read."""

LOSSY = ("JPEG", "WEBP", "JXL", *LERC)
"""Compressions that change values, or may be told to."""

NEEDS = {
    "JXL_LOSSLESS": ("JXL",),
    "JXL_EFFORT": ("JXL",),
    "JXL_DISTANCE": ("JXL",),
    "JXL_ALPHA_DISTANCE": ("JXL",),
    "MAX_Z_ERROR": LERC,
    "MAX_Z_ERROR_OVERVIEW": LERC,
    "PREDICTOR": PREDICTED,
}
"""Options of compressions that GDAL's "GTiff" and "COG" drivers have alike, and of which."""

GEOTIFF_NEEDS = NEEDS | {
    "ZLEVEL": ("DEFLATE", "LERC_DEFLATE"),
    "ZSTD_LEVEL": ("ZSTD", "LERC_ZSTD"),
    "LZMA_PRESET": ("LZMA",),
    "JPEG_QUALITY": ("JPEG",),
    "JPEGTABLESMODE": ("JPEG",),
    "WEBP_LEVEL": ("WEBP",),
    "WEBP_LOSSLESS": ("WEBP",),
}
"""Options of GDAL's "GTiff" driver that belong to compressions, as its page has them."""

COG_NEEDS = NEEDS | {
    "LEVEL": ("DEFLATE", "ZSTD", "LZMA", "LERC_DEFLATE", "LERC_ZSTD"),
    "QUALITY": ("JPEG", "WEBP"),
    "OVERVIEW_QUALITY": ("JPEG", "WEBP"),
    "OVERVIEW_PREDICTOR": PREDICTED,
}
"""The same of its "COG" driver."""

OVERVIEWS = (
    "RESAMPLING", "OVERVIEW_RESAMPLING", "OVERVIEW_COUNT", "OVERVIEW_COMPRESS", "OVERVIEW_QUALITY",
    "OVERVIEW_PREDICTOR", "MAX_Z_ERROR_OVERVIEW",
)  # fmt: skip
"""Of COGs, what says how overviews are made."""

BESIDE = "no files are written beside outputs; a GeoTIFF says itself where it lies"
WARPED = "outputs have their inputs' pixels; warp them afterwards (gdalwarp)"
KEPT = "overviews are made anew, by the factors of the input's"
REFUSED = {
    "NUM_THREADS": "the order in which threads are done would decide the outputs' bytes; all "
    "workers write at the same time without it",
    **dict.fromkeys(("TFW", "RPB", "RPCTXT"), BESIDE),
    **dict.fromkeys(
        ("TILING_SCHEME", "TARGET_SRS", "EXTENT", "RES", "ZOOM_LEVEL", "ZOOM_LEVEL_STRATEGY",
         "WARP_RESAMPLING", "ALIGNED_LEVELS", "ADD_ALPHA"), WARPED,
    ),
    "COPY_SRC_OVERVIEWS": KEPT,
    "APPEND_SUBDATASET": "an output has one page",
    "STREAMABLE_OUTPUT": "outputs are files",
    "PROFILE": "what says where there is no data and what bands are called would be left out",
}  # fmt: skip
"""Options that are not carried out here, and why."""

BOOLEAN = ("TILED", "SPARSE_OK", "WEBP_LOSSLESS", "JXL_LOSSLESS")

AS_EVER = {"NUM_THREADS": ("1",), "PROFILE": ("GDALGEOTIFF",), "TILING_SCHEME": ("CUSTOM",)}
"""Values that change nothing; of the others of :data:`REFUSED` those for no."""


def require_creation_options(
    driver: str, creation: Sequence[tuple[str, str]], side: ValueRange
) -> None:
    """See before long work that the driver has the options and their values, and heeds each of
    them in files of ``side``. Raises :class:`InputError`."""
    if not creation:
        return
    told = dict(creation)
    reason = (
        _find_misfit(driver, told)
        or _find_bad_block(driver, told)
        or _find_cut(told, side)
        or _try(driver, told, side)
    )
    if reason:
        given = " ".join(f"{name}={value}" for name, value in creation)
        raise InputError(f"--creation-option {given}: {reason}")


def _find_misfit(driver: str, told: Mapping[str, str]) -> str:
    """Why GDAL would pass over one of the options given the others; else nothing."""
    needs = COG_NEEDS if driver == COG else GEOTIFF_NEEDS
    need = find_pixel_need(told)
    if need and told.get("INTERLEAVE", "PIXEL").upper() != "PIXEL":
        return f"{need} needs INTERLEAVE=PIXEL; leave out INTERLEAVE={told['INTERLEAVE']}"
    for name, value in told.items():
        compression = told.get("COMPRESS", "").upper()
        if name.startswith("OVERVIEW_"):
            compression = told.get("OVERVIEW_COMPRESS", compression).upper()
        if name in REFUSED and value.upper() not in AS_EVER.get(name, NO):
            return f"{name}: {REFUSED[name]}; leave it out"
        if name in BOOLEAN and value.upper() not in YES + NO:
            return f"{name} is YES or NO, not {value}"
        if name in needs and compression not in needs[name]:
            *others, last = needs[name]
            able = f"COMPRESS={' or '.join((', '.join(others), last)) if others else last}"
            instead = f", not to {compression}" if compression else "; give that too"
            return f"{name} belongs to {able}{instead}"
        if driver == COG and name in OVERVIEWS and told.get("OVERVIEWS", "").upper() == "NONE":
            return f"{name} says how overviews are made, and OVERVIEWS=NONE that there are none"
    return ""


def _find_bad_block(driver: str, told: Mapping[str, str]) -> str:
    tiled = told.get("TILED", "").upper()
    if "BLOCKXSIZE" in told and tiled in NO:
        return "BLOCKXSIZE is the width of tiles, and TILED=NO makes strips; leave out one of them"
    for name in ("BLOCKSIZE",) if driver == COG else ("BLOCKXSIZE", "BLOCKYSIZE"):
        value = told.get(name)
        if value is None or (name == "BLOCKYSIZE" and tiled in NO):
            continue
        if not value.isdecimal() or int(value) % STEP or not 0 < int(value) <= LARGEST:
            strips = "; of strips: give TILED=NO too" if name == "BLOCKYSIZE" else ""
            return (
                f"{name} is a multiple of {STEP} up to {LARGEST}, such as 256 or 512, not {value}"
                f"{strips}"
            )
    return ""


def _find_cut(told: Mapping[str, str], side: ValueRange) -> str:
    """Why values of ``side`` do not fit in the bits that they are to have; else nothing."""
    given = told.get("NBITS", "")
    if not given.isdecimal():  # GDAL says what is wrong with it
        return ""
    if not side.is_whole:
        cut = f"{side.dtype} has 32" if int(given) < 32 else ""
    else:
        values = [high for _, high in map(side.limits_of, side.bands)]
        most = int(max(values if side.nodata is None else [*values, side.nodata]))
        needed = most.bit_length()
        cut = f"values up to {most} need {needed}" if int(given) < needed else ""
    return f"NBITS={given} would cut the values: {cut} bits; leave it out" if cut else ""


def _try(driver: str, told: Mapping[str, str], side: ValueRange) -> str:
    """Write images, and look at what became of them: why that is not as told; else nothing. Outputs
    are interleaved as their inputs are, so both ways are tried."""
    for interleave in ("pixel", "band") if side.channels > 1 and driver == GEOTIFF else ("pixel",):
        reason = _try_layout(driver, told, side, RasterProfile(interleave=interleave))
        if reason:
            by_bands = interleave == "band" and "INTERLEAVE" not in told
            return f"{reason} (with INTERLEAVE=BAND; give INTERLEAVE=PIXEL)" if by_bands else reason
    return ""


def _try_layout(
    driver: str, told: Mapping[str, str], side: ValueRange, profile: RasterProfile
) -> str:
    """As :func:`_try`, of an input with this profile."""
    lows, highs = np.transpose([side.limits_of(band) for band in side.bands])
    pixels = np.linspace(lows, highs, SIDE * SIDE).reshape(SIDE, SIDE, -1).astype(side.dtype)
    extra = {} if driver == GEOTIFF or "OVERVIEWS" in told else {"OVERVIEW_COUNT": "1"}
    extras = RasterExtras(profile, creation=tuple((extra | dict(told)).items()))
    with _listen() as said:
        try:
            made = encode(pixels, None, driver, extras)
            found, ignored = _read_back(made, told)
        except ImageError as error:
            return str(error)
    remarks = [message for message in said if COARSE not in message]
    if remarks:
        return clean(remarks[0])
    if ignored:
        return f"{ignored} has no effect in a file of {side.channels} x {side.dtype}; leave it out"
    if found.shape != pixels.shape:
        bands = f"{found.shape[2]} bands in place of {side.channels}"
        return f"the file would be read with {bands}; choose another compression, or other colours"
    apart = np.abs(found.astype(np.float64) - pixels)
    # GDAL may leave out what it cannot encode
    is_lossy = told.get("COMPRESS", "").upper() in LOSSY or "DISCARD_LSB" in told
    survives = (apart.mean((0, 1)) <= LOSS * (highs - lows)).all() if is_lossy else not apart.any()
    return "" if survives else f"{side.dtype} does not survive it; choose another compression"


def _read_back(data: bytes, told: Mapping[str, str]) -> tuple[np.ndarray, str]:
    """All of a raster, ``(H, W, C)``, and the first of the options that it is not made by; else
    nothing. Raises :class:`ImageError`."""
    with (
        library.explain_errors("read again"),
        library.rasterio().io.MemoryFile(data) as memory,
        memory.open() as file,
    ):
        tags = file.tags(ns="IMAGE_STRUCTURE")
        alpha = library.rasterio().enums.ColorInterp.alpha in file.colorinterp
        high, wide = file.block_shapes[0]
        has_tiles = file.profile.get("tiled", False)
        bits = 8 * np.dtype(file.dtypes[0]).itemsize
        are: dict[str, Any] = {
            "BLOCKXSIZE": wide,
            "BLOCKYSIZE": high if has_tiles else told.get("BLOCKYSIZE"),
            "BLOCKSIZE": high,
            "INTERLEAVE": tags.get("INTERLEAVE") if file.count > 1 else told.get("INTERLEAVE"),
            "COMPRESS": tags.get("COMPRESSION", "NONE").removeprefix("YCbCr "),
            "NBITS": file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", bits),
            "ALPHA": told.get("ALPHA") if alpha else "NO",
        }
        ignored = (
            name for name, value in told.items()
            if str(are.get(name, value)).upper() != value.upper()
        )  # fmt: skip
        return np.moveaxis(file.read(), 0, 2), next(ignored, "")


@contextlib.contextmanager
def _listen() -> Iterator[list[str]]:
    """What GDAL warns of meanwhile."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("rasterio"), Listener(logging.WARNING)
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]
