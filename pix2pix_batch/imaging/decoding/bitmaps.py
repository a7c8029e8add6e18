"""Windows' bitmaps (Microsoft's BITMAPINFOHEADER), and what Pillow makes of their colours."""

from __future__ import annotations

import struct

INFO_HEADER = 40
"""Length of BITMAPINFOHEADER, with which the later headers begin too."""

FILE_HEADER = 14
RAW = 0
"""Value of the compression field for uncompressed samples (BI_RGB)."""

WITHIN = {4: "JPEG", 5: "PNG"}
"""The compressions that are another file (BI_JPEG, BI_PNG)."""

NO_GREY = b"\0\0\1\0"
"""A colour that is not grey, blue first; nearly black, as colours that are not there are."""


def refusal(data: bytes) -> str:
    """Why a BMP file is not read; empty where it may be, and of other files."""
    if not data.startswith(b"BM") or len(data) < FILE_HEADER + INFO_HEADER:
        return ""
    header, bits, compression = struct.unpack_from("<I10xHI", data, FILE_HEADER)
    if header < INFO_HEADER:
        return ""
    if compression in WITHIN:
        form = WITHIN[compression]
        return f"BMP with a {form} file in place of samples, which is not read; take that file out"
    return "BMP of 2 bits, which is not read; store it as PNG" if bits == 2 else ""


def prepare_for_pillow(data: bytes) -> bytes:
    """A BMP file whose colours Pillow reads rightly (:func:`add_colour`); others as they are."""
    if not data.startswith(b"BM") or len(data) < FILE_HEADER + INFO_HEADER:
        return data
    made = add_colour(data[FILE_HEADER:])
    added = len(made) - (len(data) - FILE_HEADER)
    if not added:
        return data
    size, start = (int.from_bytes(data[at : at + 4], "little") + added for at in (2, 10))
    return b"BM" + struct.pack("<I4sI", size & 0xFFFFFFFF, data[6:10], start) + made


def add_colour(bitmap: bytes) -> bytes:
    """A bitmap without a file header, with one colour more if Pillow would misread its samples.

    Pillow drops a colour table that is a plain grey ramp, and then misreads the samples: with a
    table of black and white as 1 bit each, 4-bit samples as 8 bits. One more colour, which is not
    grey, prevents that.
    """
    header, bits, compression = struct.unpack_from("<I10xHI", bitmap)
    (used,) = struct.unpack_from("<I", bitmap, 32)
    count = used or 1 << min(bits, 8)
    greys = (0, 255) if count == 2 else range(min(count, 256))
    if header < INFO_HEADER or bits not in (4, 8) or compression != RAW:
        return bitmap
    if count > 256 or (bits == 8 and count != 2):
        return bitmap
    end = header + 4 * count
    table = bitmap[header:end]
    if any(table[4 * at : 4 * at + 3] != bytes([grey] * 3) for at, grey in enumerate(greys)):
        return bitmap
    more = struct.pack("<I", count + 1)
    return bitmap[:32] + more + bitmap[36:end] + NO_GREY + bitmap[end:]
