"""A file's samples as a model takes them: of its type, and where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.value_ranges import ValueRange

GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "float32": "Float32"}
"""Its names of the types that samples may have."""

INFINITE = "its infinite values are taken for no data"


def require_type(kind: Any, side: ValueRange, what: str, remedy: str) -> None:
    """Refuse samples of another type than the model's.

    A model of floats takes every real type, one of integers its own type alone.

    Args:
        kind: The type of the samples, as NumPy takes it.
        side: What the model's inputs mean.
        what: What has the samples, to begin the message.
        remedy: What makes them such, for the message.

    Raises:
        ImageError: The type does not fit.
    """
    try:
        dtype = np.dtype(kind)
    except TypeError:
        dtype = None
    if dtype is not None and dtype == np.dtype(side.dtype).newbyteorder(dtype.byteorder):
        return
    if dtype is not None and not side.is_whole and dtype.kind in "iuf":
        return
    name = kind if dtype is None else dtype.newbyteorder("=").name
    raise ImageError(
        f"{what} has samples of {name}, and the model takes {side.dtype}; make them such first "
        f"({remedy}), on the scale that the model was trained with"
    )


def remedy_of(side: ValueRange) -> str:
    """What makes a file of GDAL's of the type of ``side``."""
    return f"gdal_translate -ot {GDAL_TYPES[side.dtype]}"


def clean(
    values: np.ndarray,
    masked: np.ndarray | None,
    nodata: Sequence[Sequence[float | None]],
    side: ValueRange,
    warnings: list[str],
) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn a file's samples into those that the model takes, with gaps filled.

    A pixel has no data if none of its bands has any. Gaps, and bands of a pixel that are no number,
    get the middle of the band's range.

    Args:
        values: ``(H, W, C)`` as the file has them.
        masked: ``bool (H, W)``, true where the file says that there is no data; ``None`` if it does
            not say it of any pixel.
        nodata: Of each band the values that stand for no data in the file, beside the model's own.
        side: What the model's inputs mean.
        warnings: A warning is added to it where there are infinite values.

    Returns:
        ``(H, W, C)`` of the model's type, and where there is data, as :meth:`.reading.Raster.read`.
    """
    known = any(value is not None for own in nodata for value in (*own, side.nodata))
    if masked is None and side.is_whole and not known:
        return np.ascontiguousarray(values, dtype=side.dtype), None
    cleaned = np.ascontiguousarray(values, dtype=side.dtype)
    if cleaned is values or np.shares_memory(cleaned, values):
        cleaned = cleaned.copy()
    lacks = np.zeros(cleaned.shape, bool)
    unreal = None
    if not side.is_whole:
        unreal = ~np.isfinite(cleaned)
        if np.isinf(cleaned).any() and INFINITE not in warnings:
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
        np.copyto(cleaned, np.array(side.fills, cleaned.dtype), where=gaps)
    return cleaned, None if not empty.any() else ~empty


def find_common_nodata(values: Sequence[float | None], side: ValueRange) -> float | None:
    """Find the value for no data of a file of the model's type with bands that have ``values``.

    Returns:
        What they have in common, as the type holds it; ``None`` where they differ, or where it is
        none of the type's values.
    """
    first = values[0]
    if first is None or len(set(map(repr, values))) > 1:  # by what they read: NaN is not itself
        return None
    if side.is_whole:
        limits = np.iinfo(side.dtype)
        fits = float(first).is_integer() and limits.min <= first <= limits.max
        return float(first) if fits else None
    with np.errstate(over="ignore"):
        held = float(np.float32(first))
    return None if np.isinf(held) and not np.isinf(first) else held


def choose_step(height: int, width: int, longest: int) -> int:
    """The step at which rows and columns are taken so that no side is longer than ``longest``."""
    return max(1, -(-max(height, width) // longest))


def count_pixel_bytes(side: ValueRange) -> int:
    """Count the bytes of all bands of a pixel."""
    return side.channels * np.dtype(side.dtype).itemsize
