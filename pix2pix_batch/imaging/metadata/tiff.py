"""Directories of TIFF files, in which EXIF and GeoTIFF keep what they say.

Pillow reads and writes their values too, but guesses types anew, and compressed TIFF files get no
directories of EXIF's from it. Here a field keeps its type and its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

# The sizes of a type's values and of what byte order turns round in them; TIFF 6.0, section 2,
# and for 16 to 18 BigTIFF.
SIZES = {
    1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2),
    9: (4, 4), 10: (8, 4), 11: (4, 4), 12: (8, 8), 13: (4, 4), 16: (8, 8), 17: (8, 8), 18: (8, 8),
}  # fmt: skip
BYTE, ASCII, SHORT, LONG, DOUBLE = 1, 2, 3, 4, 12

LARGEST = 1 << 20
"""Bytes of values that are taken from one directory; what real files say takes a few thousand."""


@dataclass(frozen=True)
class Field:
    """Values of one TIFF type (a key of :data:`SIZES`), in little-endian bytes."""

    kind: int
    data: bytes

    @property
    def count(self) -> int:
        return len(self.data) // SIZES[self.kind][0]

    @classmethod
    def of(cls, kind: int, *values: float) -> Field:
        return cls(kind, struct.pack(f"<{len(values)}{_CODES[kind]}", *values))

    def numbers(self) -> tuple[float, ...]:
        """The values of whole or floating numbers; nothing of other types."""
        code = _CODES.get(self.kind)
        return struct.unpack(f"<{self.count}{code}", self.data) if code else ()


_CODES = {
    SHORT: "H", LONG: "I", 6: "b", 8: "h", 9: "i", 11: "f", DOUBLE: "d", 13: "I", 16: "Q", 17: "q",
}  # fmt: skip

Fields = Mapping[int, "Field | Fields"]
"""A directory by tag; one within it stands under the tag that points to it."""


class Tiff:
    """The directories of a TIFF file, or of a block of EXIF, which has the same form."""

    def __init__(self, data: bytes) -> None:
        """Raises :class:`ValueError` where ``data`` is no TIFF file."""
        orders = {b"II": "<", b"MM": ">"}
        if len(data) < 8 or data[:2] not in orders:
            raise ValueError("not a TIFF file")
        self.data = data
        self.order = orders[data[:2]]
        (version,) = struct.unpack_from(f"{self.order}H", data, 2)
        if version not in (42, 43):
            raise ValueError("not a TIFF file")
        self.big = version == 43
        try:
            (self.first,) = self._unpack("Q" if self.big else "I", 8 if self.big else 4)
        except struct.error as error:
            raise ValueError("a TIFF file cut short") from error

    def _unpack(self, codes: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self.order + codes, self.data, at)

    def directory(
        self, wanted: Collection[int] | None = None, at: int | None = None, limit: int = LARGEST
    ) -> dict[int, Field]:
        """The fields of ``wanted`` tags in the directory at the offset ``at``, or in the first.

        Fields that are damaged, or beyond ``limit`` bytes together, are left out.
        """
        at = self.first if at is None else at
        fields: dict[int, Field] = {}
        try:
            (entries,) = self._unpack("Q" if self.big else "H", at)
            at += 8 if self.big else 2
            for _ in range(min(entries, 0xFFFF)):
                tag, kind, count = self._unpack("HHQ" if self.big else "HHI", at)
                inline, at = at + (12 if self.big else 8), at + (20 if self.big else 12)
                if (wanted is not None and tag not in wanted) or kind not in SIZES:
                    continue
                length = count * SIZES[kind][0]
                where = inline
                if length > (8 if self.big else 4):
                    (where,) = self._unpack("Q" if self.big else "I", inline)
                if length <= limit and where + length <= len(self.data):
                    fields[tag] = Field(kind, self._little(kind, where, length))
                    limit -= length
        except struct.error:  # cut short: what came before stands
            pass
        return fields

    def after(self, at: int) -> int:
        """The offset of the directory that follows the one at ``at``; 0 for none."""
        try:
            (entries,) = self._unpack("Q" if self.big else "H", at)
            at += 8 + 20 * entries if self.big else 2 + 12 * entries
            return self._unpack("Q" if self.big else "I", at)[0]
        except struct.error:
            return 0

    def beginning_at(self, at: int) -> bytes:
        """The file with another of its directories as the first."""
        if self.big:
            return self.data[:8] + struct.pack(self.order + "Q", at) + self.data[16:]
        return self.data[:4] + struct.pack(self.order + "I", at) + self.data[8:]

    def _little(self, kind: int, at: int, length: int) -> bytes:
        data = self.data[at : at + length]
        unit = SIZES[kind][1]
        if self.order == "<" or unit == 1:
            return data
        code = {2: "H", 4: "I", 8: "Q"}[unit]
        return struct.pack(
            f"<{length // unit}{code}", *struct.unpack(f">{length // unit}{code}", data)
        )


def encode(fields: Fields, at: int) -> bytes:
    """A little-endian directory for the even file offset ``at``, its values and directories."""
    table = b""
    rest = b""
    start = at + 2 + 12 * len(fields) + 4
    for tag in sorted(fields):
        field = fields[tag]
        rest += b"\0" * (len(rest) % 2)
        if not isinstance(field, Field):
            table += struct.pack("<HHII", tag, LONG, 1, start + len(rest))
            rest += encode(field, start + len(rest))
        elif len(field.data) <= 4:
            table += struct.pack("<HHI", tag, field.kind, field.count) + field.data.ljust(4, b"\0")
        else:
            table += struct.pack("<HHII", tag, field.kind, field.count, start + len(rest))
            rest += field.data
    return struct.pack("<H", len(fields)) + table + b"\0\0\0\0" + rest


def add_fields(data: bytes, fields: Fields) -> bytes:
    """A little-endian TIFF file with ``fields`` too; its pixels stay where they are."""
    if not fields:
        return data
    tiff = Tiff(data)
    assert tiff.order == "<" and not tiff.big
    body = data + b"\0" * (len(data) % 2)
    own = tiff.directory(limit=len(data))
    return body[:4] + struct.pack("<I", len(body)) + body[8:] + encode({**fields, **own}, len(body))
