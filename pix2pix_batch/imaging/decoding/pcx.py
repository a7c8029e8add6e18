"""ZSoft's PCX files (PCX File Format Technical Reference Manual), alone or several in one (DCX)."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from itertools import takewhile

import numpy as np
from PIL import ImageFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.opening import HINT

DCX = b"\xb1\x68\xde\x3a"
HEADER = 128
RUN = 0xC0
"""The two bits that are set in a byte which counts how often the next one comes."""

RUNS = re.compile(rb"([\xc0-\xff])(.)|[\0-\xbf]+", re.S)


def is_pcx(data: bytes) -> bool:
    return data[:1] == b"\n" and len(data) >= HEADER and data[1] <= 5 and data[2] <= 1


def refusal(data: bytes) -> str:
    """Why a file is not read; empty where it may be.

    A table of colours of 8 bits is the last 769 bytes, after a 12; byte 68 is 2 where the samples
    are grey. Pillow takes them for that where no table is there.
    """
    bits, planes, colours = data[3], data[65], data[68]
    if bits == 8 and planes == 4:
        return "PCX of four planes (with transparency), which is not read; store it as PNG"
    if bits == 8 and planes == 1 and colours != 2 and data[-769:-768] != b"\x0c":
        return "damaged: its colours are not the last 769 bytes: cut short, or something follows"
    return ""


def find_remark(data: bytes) -> str:
    """Of the palette in the header (bytes 16 to 63), which programs heed or not: of two colours,
    and of sixteen in files of version 3, which are said to have none."""
    version, bits, planes, colours = data[1], data[3], data[65], data[16:22]
    if bits == 1 and planes == 1 and colours not in (bytes(6), b"\0\0\0\xff\xff\xff"):
        return "its palette of two colours, of which programs differ, is taken for black and white"
    if version == 3 and bits * planes == 4:
        return "it says that it has no palette; what stands in its place is taken for one"
    return ""


def take_first_page(data: bytes) -> bytes:
    """Of several in one (DCX), the first, whose table of colours Pillow looks for in the last."""
    if not data.startswith(DCX):
        return data
    places = struct.unpack_from("<1024I", data[:4100].ljust(4100, b"\0"), 4)
    told = list(takewhile(bool, places))  # up to the first that is 0
    later = [place for place in told if place > told[0]]
    return data[told[0] : min(later, default=len(data))] if told else data


def prepare_for_pillow(data: bytes) -> bytes:
    """The file as Pillow can read it, which takes the samples of all files for runs, and rows for
    as long as the picture's width needs, though they may be longer (bytes 66 and 67)."""
    if not is_pcx(data):
        return data
    _, row, width = measure(data)
    if data[2] == 0:
        return _pack_rows(data, _take)
    if ImageFile.LOAD_TRUNCATED_IMAGES and has_table(data):
        return unpack(data) or data
    return data if row <= width + width % 2 else unpack(data) or data


def unpack(data: bytes) -> bytes | None:
    """The file with runs that end with their row, as Pillow asks for; ``None`` where there are less
    samples than the picture has."""
    made = _pack_rows(data, _unpack)
    return None if made is data else made


def has_table(data: bytes) -> bool:
    """Whether the last 769 bytes are a table of colours, or of greys."""
    return data[3] == 8 and data[65] == 1 and data[-769:-768] == b"\x0c"


def find_end(data: bytes) -> int:
    """Where the data of the samples ends."""
    return len(data) - 769 if has_table(data) else len(data)


def require_samples(data: bytes, made: int) -> None:
    """Raises :class:`ImageError` where samples are lacking before a table of colours, but for those
    that fill the last row up, unless what is there is to be taken. ``made``: how many are there."""
    count, row, width = measure(data)
    lacks = has_table(data) and made < count * row - (row - width)
    if lacks and not ImageFile.LOAD_TRUNCATED_IMAGES:
        raise ImageError(f"damaged: cut short (its data ends before its last row){HINT}")


def measure(data: bytes) -> tuple[int, int, int]:
    """How many rows there are, of all planes; how many bytes each has, and how many of these the
    picture's width needs."""
    left, top, right, bottom, row = struct.unpack_from("<4H54xH", data, 4)
    count = (bottom - top + 1) * data[65]
    return count, row, ((right - left + 1) * data[3] + 7) // 8


def _pack_rows(data: bytes, read: Callable[[bytes, int], tuple[bytes, int]]) -> bytes:
    """The file with rows of what the width needs, and no run of several; as it is where samples are
    lacking. Raises :class:`ImageError` where Pillow would take the table of colours for them."""
    count, row, width = measure(data)
    if count <= 0 or not 0 < width <= row:
        return data
    samples, end = read(data, count * row)
    require_samples(data, len(samples))
    if has_table(data) and count * row < 1000 * len(data):
        samples = samples.ljust(count * row, b"\0")
    if len(samples) < count * row:
        return data if data[2] else _pack_file(data, samples, row, end)
    rows = np.frombuffer(samples, np.uint8).reshape(count, row)[:, :width]
    return _pack_file(data, rows.tobytes(), width, end)


def _take(data: bytes, length: int) -> tuple[bytes, int]:
    end = min(HEADER + length, find_end(data))
    return data[HEADER:end], end


def _unpack(data: bytes, length: int) -> tuple[bytes, int]:
    """``length`` bytes of runs, or as many as there are, and where what follows them begins."""
    parts, made, end = [], 0, HEADER
    for found in RUNS.finditer(data, HEADER, find_end(data)):
        count, value = found.groups()
        part = value * (count[0] & ~RUN) if count else found[0][: length - made]
        parts.append(part)
        made += len(part)
        end = found.end() if count else found.start() + len(part)
        if made >= length:
            break
    return b"".join(parts)[:length], end


def _pack_file(data: bytes, samples: bytes, row: int, end: int) -> bytes:
    """The file with other samples, none of which is a run of several, in rows of ``row`` bytes."""
    runs = re.sub(rb"[\xc0-\xff]", lambda found: b"\xc1" + found[0], samples)
    head = data[:2] + b"\1" + data[3:66] + struct.pack("<H", row) + data[68:HEADER]
    return head + runs + data[end:]
