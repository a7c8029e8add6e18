"""Checksums of a GeoTIFF's blocks, which GDAL does not come to where damaged data goes on beyond
their rows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from pix2pix_batch.imaging.decoding.checksums import is_whole_zlib

WRONG_CHECKSUM = "damaged: wrong checksum of its data (compression: Deflate)"


class BlockChecker:
    """Reads the blocks that windows need of an open ``file`` of rasterio's, each once."""

    def __init__(self, file: Any, place: str | bytes, indexes: Sequence[int]) -> None:
        """``place``: the path, or the bytes; ``indexes``: of the bands, from 1."""
        structure = file.tags(ns="IMAGE_STRUCTURE")
        self._file, self._seen = file, set[tuple[int, int, int]]()
        self._bands = list(indexes) if structure.get("INTERLEAVE") == "BAND" else indexes[:1]
        self._bytes: Any = None
        if file.driver == "GTiff" and structure.get("COMPRESSION") == "DEFLATE":
            self._bytes = io.BytesIO(place) if isinstance(place, bytes) else open(place, "rb")  # noqa: SIM115

    def finds_damage(self, top: int, left: int, height: int, width: int) -> bool:
        """Whether a block of the window, that was not looked at yet, is damaged."""
        if self._bytes is None:
            return False
        return any(
            is_whole_zlib([block]) is False for block in self._iterate(top, left, height, width)
        )

    def _iterate(self, top: int, left: int, height: int, width: int) -> Iterator[bytes]:
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
                        yield self._bytes.read(int(length))

    def _tell(self, what: str, band: int, row: int, column: int) -> str | None:
        found: str | None = self._file.get_tag_item(f"{what}_{column}_{row}", "TIFF", bidx=band)
        return found

    def close(self) -> None:
        if self._bytes is not None:
            self._bytes.close()


PARTS = ("BLOCK_OFFSET", "BLOCK_SIZE")
"""What GDAL tells of a block."""
