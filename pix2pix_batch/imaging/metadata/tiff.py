"""Directories of TIFF files, in which EXIF and GeoTIFF keep what they say.

Pillow reads and writes their values too, but guesses types anew, and compressed TIFF files get no
directories of EXIF's from it. Here a field keeps its type and its bytes.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass

# The sizes of a type's values and of what byte order turns round in them; TIFF 6.0, section 2,
# and for 16 to 18 BigTIFF.
SIZES = {
    1: (1, 1), 2: (1, 1), 3: (2, 2), 4: (4, 4), 5: (8, 4), 6: (1, 1), 7: (1, 1), 8: (2, 2),
    9: (4, 4), 10: (8, 4), 11: (4, 4), 12: (8, 8), 13: (4, 4), 16: (8, 8), 17: (8, 8), 18: (8, 8),
}  # fmt: skip
BYTE, ASCII, SHORT, LONG, DOUBLE, LONG8 = 1, 2, 3, 4, 12, 16

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

XMP = 700
"""The tag of an XMP packet (XMP specification, part 3, section 1.1.3)."""

Fields = Mapping[int, "Field | Fields"]
"""A directory by tag; one within it stands under the tag that points to it."""


def xmp_field(packet: bytes) -> Fields:
    """The field of a TIFF file with an XMP packet; none of an empty one."""
    return {XMP: Field(BYTE, packet)} if packet else {}


class Tiff:
    """The directories of a TIFF file, or of a block of EXIF, which has the same form."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        """``data``: a file's bytes, or a map of them. Raises :class:`ValueError` where it is no
        TIFF file."""
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
        """Read the fields of a directory. Damaged fields are left out.

        Args:
            wanted: The tags that are read; ``None`` for all.
            at: The offset of the directory; ``None`` for the first.
            limit: The most bytes that the fields may have together; what is beyond is left out.

        Returns:
            The fields by their tags.
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

    def find_lost(self, wanted: Collection[int]) -> list[int]:
        """Find the ``wanted`` tags, of integers, that the first directory has without a value."""
        try:
            (entries,) = self._unpack("Q" if self.big else "H", self.first)
            start, step = self.first + (8 if self.big else 2), 20 if self.big else 12
            tags = {self._unpack("H", start + step * n)[0] for n in range(min(entries, 0xFFFF))}
        except struct.error:
            return []
        fields = self.directory(wanted, limit=max(len(self.data), 1))
        return sorted(
            tag
            for tag in tags.intersection(wanted)
            if tag not in fields
            or not (fields[tag].numbers() or fields[tag].kind == BYTE)
            or not fields[tag].data
        )

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
        head = self.head(at)
        return head + self.data[len(head) :]

    def head(self, at: int) -> bytes:
        """How the file begins with the directory at the offset ``at`` as the first."""
        if self.big:
            return self.data[:8] + struct.pack(self.order + "Q", at)
        return self.data[:4] + struct.pack(self.order + "I", at)

    def _little(self, kind: int, at: int, length: int) -> bytes:
        return _turn_bytes(self.data[at : at + length], kind, self.order)


def _turn_bytes(data: bytes, kind: int, order: str) -> bytes:
    """Values in little-endian bytes in the ``order`` of a file, or the other way round."""
    unit = SIZES[kind][1]
    if order == "<" or unit == 1:
        return data
    codes = f"{len(data) // unit}" + {2: "H", 4: "I", 8: "Q"}[unit]
    return struct.pack(f">{codes}", *struct.unpack(f"<{codes}", data))


def encode(
    fields: Fields, at: int, *, big: bool = False, order: str = "<", after: int = 0
) -> bytes:
    """Encode a directory with its values, and the directories within it.

    Args:
        fields: The fields by their tags.
        at: The offset that it is for, an even number.
        big: Whether the file is a BigTIFF.
        order: The file's byte order, ``<`` or ``>``.
        after: The offset of the directory that follows; 0 for none.
    """
    number, count, room = ("Q", "Q", 8) if big else ("I", "H", 4)
    table = b""
    rest = b""
    start = at + struct.calcsize("<" + count) + (20 if big else 12) * len(fields) + room
    for tag in sorted(fields):
        field = fields[tag]
        rest += b"\0" * (len(rest) % 2)
        where = struct.pack(order + number, start + len(rest))
        if not isinstance(field, Field):
            table += struct.pack(f"{order}HH{number}", tag, LONG8 if big else LONG, 1) + where
            rest += encode(field, start + len(rest), big=big, order=order)
            continue
        data = _turn_bytes(field.data, field.kind, order)
        table += struct.pack(f"{order}HH{number}", tag, field.kind, field.count)
        if len(data) <= room:
            table += data.ljust(room, b"\0")
        else:
            table += where
            rest += data
    return (
        struct.pack(order + count, len(fields)) + table + struct.pack(order + number, after) + rest
    )


def add_fields(data: bytes, fields: Fields) -> bytes:
    """A TIFF file with ``fields`` too, where it has not such already; its pixels, and its further
    directories, stay where they are."""
    if not fields:
        return data
    head, tail = _extend(Tiff(data), fields)
    return head + data[len(head) :] + tail


def add_fields_to_file(path: str | os.PathLike[str], fields: Fields) -> None:
    """Add fields as :func:`add_fields` does, to a file on the disk. Raises ``OSError``."""
    if not fields:
        return
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            head, tail = _extend(Tiff(data), fields)
        file.seek(0, os.SEEK_END)
        file.write(tail)
        file.flush()
        file.seek(0)
        file.write(head)


def _extend(tiff: Tiff, fields: Fields) -> tuple[bytes, bytes]:
    """How the file is to begin, and what is to follow it, with ``fields`` in its first
    directory."""
    length = len(tiff.data)
    own = tiff.directory(limit=length)
    pad = b"\0" * (length % 2)
    at, after = length + len(pad), tiff.after(tiff.first)
    directory = encode({**fields, **own}, at, big=tiff.big, order=tiff.order, after=after)
    return tiff.head(at), pad + directory
