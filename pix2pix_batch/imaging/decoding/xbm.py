"""X bitmaps: pictures as source code in C (Xlib - C Language X Interface, "XWriteBitmapFile")."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

HEAD = 1 << 12
"""Bytes of a file in which its width and height stand."""

SIDE = re.compile(rb"#[ \t]*define[ \t]+\w*(width|height)[ \t]+(\d+)")
ARRAY = re.compile(rb"\b(char|short)\b[^\n{;=]*bits[ \t]*\[[^\]\n]*\]\s*=\s*\{")
COMMENT = re.compile(rb"/\*.*?\*/", re.S)
NUMBER = re.compile(rb"\s*(-?)(?:0[xX]([0-9a-fA-F]+)|([0-9]+))\s*")


class Bitmap(NamedTuple):
    """``values``: of bytes, or of words of 16 bits (X version 10)."""

    width: int
    height: int
    values: list[int]
    is_of_words: bool

    @property
    def length(self) -> int:
        """How many values the picture has."""
        bits = 16 if self.is_of_words else 8
        return (self.width + bits - 1) // bits * self.height


def parse(data: bytes) -> Bitmap | None:
    """What the source says; ``None`` where it is no X bitmap, or its values are no numbers of their
    size."""
    text = data.lstrip()
    if not text.startswith((b"#", b"/*")):
        return None
    sides = {found[1]: int(found[2]) for found in SIDE.finditer(data, 0, HEAD)}
    array = ARRAY.search(data, 0, HEAD)
    if len(sides) < 2 or array is None:
        return None
    body = COMMENT.sub(b" ", data[array.end() :]).partition(b"}")[0]
    parts = body.split(b",")
    if not parts[-1].strip():
        parts.pop()
    largest = 0xFFFF if array[1] == b"short" else 0xFF
    values = []
    for part in parts:
        value = _read_number(part)
        if value is None or not -(largest + 1) // 2 <= value <= largest:
            return None
        values.append(value & largest)
    return Bitmap(sides[b"width"], sides[b"height"], values, largest > 0xFF)


def _read_number(text: bytes) -> int | None:
    """A whole number as C writes it: hexadecimal, octal after a 0, or decimal."""
    found = NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, sixteen, other = found.groups()
    try:
        value = int(sixteen, 16) if sixteen else int(other, 8 if other.startswith(b"0") else 10)
    except ValueError:
        return None
    return -value if sign else value


def prepare_for_pillow(data: bytes) -> bytes:
    """An X bitmap as Pillow reads it, whose numbers must be of two hexadecimal digits; other files
    as they are."""
    bitmap = parse(data)
    if bitmap is None:
        return data
    row = (bitmap.width + 7) // 8
    if bitmap.is_of_words:
        packed = struct.pack(f"<{len(bitmap.values)}H", *bitmap.values)
        long = row + row % 2
        body = b"".join(packed[at : at + row] for at in range(0, len(packed), max(long, 1)))
    else:
        body = bytes(bitmap.values)
    numbers = b",".join(b"0x%02x" % value for value in body)
    return b"#define a_width %d\n#define a_height %d\nstatic char a_bits[] = {\n%b};\n" % (
        bitmap.width,
        bitmap.height,
        numbers,
    )
