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
    """Raises :class:`ImageError` where samples of the type ``kind`` are not the model's: floats
    take every real type, whole numbers their own alone. ``remedy``: how they are made such."""
    try:
        found = np.dtype(kind)
    except TypeError:
        found = None
    if found is not None and found == np.dtype(side.dtype).newbyteorder(found.byteorder):
        return
    if found is not None and not side.is_whole and found.kind in "iuf":
        return
    name = kind if found is None else found.newbyteorder("=").name
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


def reduction(height: int, width: int, longest: int) -> int:
    """Of how many pixels one is taken, of each row and column, for ``longest`` a side."""
    return max(1, -(-max(height, width) // longest))


def count_pixel_bytes(side: ValueRange) -> int:
    """Bytes of all bands of a pixel."""
    return side.channels * np.dtype(side.dtype).itemsize
