"""The checksum that zlib's data has at its end, which decoders that have all rows do not read."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

PIECE = 1 << 20
"""Bytes that are unpacked at a time."""


def is_whole_zlib(pieces: Iterable[bytes]) -> bool | None:
    """Whether the data, in one or several pieces, is what its checksum is of (RFC 1950); ``None``
    where it ends before that."""
    inflater = zlib.decompressobj()
    try:
        for rest in pieces:
            while rest and not inflater.eof:
                inflater.decompress(rest, PIECE)
                rest = inflater.unconsumed_tail
    except zlib.error:
        return False
    return True if inflater.eof else None
