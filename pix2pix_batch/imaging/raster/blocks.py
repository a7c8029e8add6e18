"""Damage in a GeoTIFF's blocks that GDAL passes over: data that goes on beyond their rows, and then
checksums to which it does not come."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pix2pix_batch.imaging.decoding.checksums import is_whole_zlib
from pix2pix_batch.imaging.decoding.tiff_damage import (
    COUNTED,
    WRONG_CHECKSUM,
    describe_surplus,
    exceeds,
)


class BlockChecker:
    """Reads the blocks that windows need of an open ``file`` of rasterio's, each once."""

    def __init__(self, file: Any, place: str | bytes, indexes: Sequence[int]) -> None:
        """``place``: the path, or the bytes; ``indexes``: of the bands, from 1."""
        structure = file.tags(ns="IMAGE_STRUCTURE")
        self._file, self._seen = file, set[tuple[int, int, int]]()
        is_apart = structure.get("INTERLEAVE") == "BAND"
        self._bands = list(indexes) if is_apart else indexes[:1]
        self._bytes: Any = None
        self._counted = _COUNTED.get(structure.get("COMPRESSION", ""))
        bits = structure.get("NBITS") or file.tags(1, ns="IMAGE_STRUCTURE").get("NBITS")
        self._pixel = (1 if is_apart else file.count) * np.dtype(file.dtypes[0]).itemsize
        if bits or len(set(file.dtypes)) > 1:  # of depths that are packed
            self._counted = None
        known = self._counted or structure.get("COMPRESSION") == "DEFLATE"
        if file.driver == "GTiff" and known:
            self._bytes = io.BytesIO(place) if isinstance(place, bytes) else open(place, "rb")  # noqa: SIM115

    def find_damage(self, top: int, left: int, height: int, width: int) -> str:
        """Check the blocks of a window that were not checked yet.

        Args:
            top: The window's first row.
            left: Its first column.
            height: In pixels.
            width: In pixels.

        Returns:
            A warning if a block is damaged; else nothing.
        """
        if self._bytes is None:
            return ""
        for row, block in self._iterate(top, left, height, width):
            if self._counted is None:
                if not is_whole_zlib([block]):
                    return WRONG_CHECKSUM
            elif exceeds(block, self._counted, *self._reckon_lengths(row)):
                return describe_surplus(self._counted)
        return ""

    def _reckon_lengths(self, row: int) -> tuple[int, int]:
        """Compute the bytes of the samples of a block in a given row of blocks, and of a full
        block."""
        high, wide = self._file.block_shapes[self._bands[0] - 1]
        is_strip = not self._file.profile.get("tiled", False)
        own = min(high, self._file.height - row * high) if is_strip else high
        return own * wide * self._pixel, high * wide * self._pixel

    def _iterate(self, top: int, left: int, height: int, width: int) -> Iterator[tuple[int, bytes]]:
        """Blocks, each with its row among them."""
        high, wide = self._file.block_shapes[self._bands[0] - 1]
        for band in self._bands:
            for row in range(top // high, -(-(top + height) // high)):
                for column in range(left // wide, -(-(left + width) // wide)):
                    if (band, row, column) in self._seen:
                        continue
                    self._seen.add((band, row, column))
                    place, length = (self._tell(what, band, row, column) for what in PARTS)
                    if place and length:  # else there is nothing, which means zero
                        self._bytes.seek(int(place))
                        yield row, self._bytes.read(int(length))

    def _tell(self, what: str, band: int, row: int, column: int) -> str | None:
        found: str | None = self._file.get_tag_item(f"{what}_{column}_{row}", "TIFF", bidx=band)
        return found

    def close(self) -> None:
        if self._bytes is not None:
            self._bytes.close()


_COUNTED = {name.upper(): compression for compression, name in COUNTED.items()}
"""By GDAL's names."""

PARTS = ("BLOCK_OFFSET", "BLOCK_SIZE")
"""What GDAL tells of a block."""
