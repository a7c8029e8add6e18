"""The pages of TIFF files: pictures of one file that are not each other's copies or masks.

Directories of smaller copies and of masks (overviews, thumbnails, GDAL's masks) belong to the page
that they follow.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from pix2pix_batch.errors import ImageError
from pix2pix_batch.text import format_count

MOST = 1 << 16
"""Directories that are looked at: a damaged file may have any number."""

# Tags: TIFF 6.0, appendix A
NEW_SUBFILE, SUBFILE, WIDTH, HEIGHT = 254, 255, 256, 257
BESIDE = 0b101
"""Of NewSubfileType: a smaller copy (bit 0) or a mask (bit 2) of another picture."""

NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""The types of whole numbers, as :mod:`struct` has them (TIFF 6.0, section 2; BigTIFF)."""

PAGES_OPTION = "(convert takes each with --pages all)"
"""What can be done about pages that are not read, where images are converted."""

ReadAt = Callable[[int, int], bytes]
"""From an offset so many bytes of a file, fewer at its end."""


@dataclass(frozen=True)
class Page:
    """A page of a TIFF file.

    Attributes:
        at: The offset of its directory.
        end: Where the file has the offset of the directory that follows the page and what belongs
            to it.
        height: In pixels; 0 if the directory does not say it.
        width: In pixels; 0 if the directory does not say it.
        damage: Why the page cannot be read; empty if it can.
    """

    at: int
    end: int = 0
    height: int = 0
    width: int = 0
    damage: str = ""


@dataclass(frozen=True)
class Form:
    """How a TIFF file writes numbers: ``order``, ``<`` or ``>``, and whether it is BigTIFF."""

    order: str
    big: bool

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        return struct.Struct(self.order + ("HHQ8s" if self.big else "HHI4s"))

    @property
    def first(self) -> int:
        """Where the offset of the first directory stands."""
        return 8 if self.big else 4


def list_pages(read_at: ReadAt) -> list[Page]:
    """The pages of a file, in order; none of what is no TIFF file. Where the chain of directories
    is damaged, the last page says so."""
    form = _read_form(read_at)
    if form is None:
        return []
    pages: list[Page] = []
    seen: set[int] = set()
    at = _unpack(form.offset, read_at(form.first, form.offset.size))
    while at:
        if at in seen or len(seen) == MOST:
            pages.append(Page(at, damage="its directories lead round in a circle"))
            break
        seen.add(at)
        read = _read_directory(read_at, form, at)
        if read is None:
            pages.append(Page(at, damage="its directory is cut off"))
            break
        page, is_beside, at = read
        if not is_beside:
            pages.append(page)
        elif pages:
            pages[-1] = replace(pages[-1], end=page.end)
    return pages


def _read_form(read_at: ReadAt) -> Form | None:
    head = read_at(0, 4)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 4:
        return None
    version = struct.unpack(f"{order}H", head[2:])[0]
    return Form(order, version == 43) if version in (42, 43) else None


def _unpack(form: struct.Struct, data: bytes) -> int:
    """0 where the file ends before."""
    return int(form.unpack(data)[0]) if len(data) == form.size else 0


def _read_directory(read_at: ReadAt, form: Form, at: int) -> tuple[Page, bool, int] | None:
    """The directory at an offset, whether it is beside another's, and the offset of the next;
    ``None`` where it is not all there."""
    entries = _unpack(form.count, read_at(at, form.count.size))
    if not 0 < entries <= 0xFFFF:
        return None
    length = entries * form.entry.size
    start = at + form.count.size
    data = read_at(start, length + form.offset.size)
    if len(data) < length:
        return None
    values = {}
    for tag, kind, count, value in form.entry.iter_unpack(data[:length]):
        if tag in (NEW_SUBFILE, SUBFILE, WIDTH, HEIGHT) and kind in NUMBERS and count == 1:
            values[tag] = struct.unpack_from(form.order + NUMBERS[kind], value)[0]
    is_beside = bool(values.get(NEW_SUBFILE, 0) & BESIDE) or values.get(SUBFILE, 1) == 2
    page = Page(at, start + length, values.get(HEIGHT, 0), values.get(WIDTH, 0))
    return page, is_beside, _unpack(form.offset, data[length:])


def require_page(pages: list[Page], number: int) -> Page:
    """The page ``number`` of those that were found. Raises :class:`ImageError`."""
    if number > len(pages):
        raise ImageError(f"has {format_count(len(pages), 'page')}, and no page {number}")
    page = pages[number - 1]
    if page.damage:
        raise ImageError(f"damaged: page {number}: {page.damage}")
    return page


def find_patches(read_at: ReadAt, pages: list[Page], number: int) -> list[tuple[int, bytes]]:
    """Find what has to be changed in a file for it to have one page alone.

    Args:
        read_at: Reads so many bytes at an offset of the file.
        pages: The pages of the file.
        number: The page's number, from 1.

    Returns:
        Offsets, and the bytes to be read there in place of the file's.

    Raises:
        ImageError: There is no such page, or it is damaged.
    """
    page = require_page(pages, number)
    form = _read_form(read_at)
    assert form is not None
    first = form.first, form.offset.pack(page.at)
    return [first, (page.end, bytes(form.offset.size))]


def select_page(data: bytes, number: int) -> bytes:
    """The file ``data`` with the page ``number`` alone. Raises :class:`ImageError`."""
    read_at, whole = reader_of(data), memoryview(data)
    parts: list[bytes | memoryview] = []
    at = 0
    for start, patch in sorted(find_patches(read_at, list_pages(read_at), number)):
        parts += [whole[at:start], patch]
        at = start + len(patch)
    return b"".join((*parts, whole[at:]))[: len(data)]  # of which the end may be cut off


def describe_left_pages(count: int) -> str:
    """A warning that of so many pages one alone is read."""
    return f"has {count:,} pages, of which the first is read {PAGES_OPTION}"


def count_in(data: bytes) -> int:
    """How many pages a file's bytes hold, those that are damaged too; 0 of what is no TIFF file."""
    return len(list_pages(reader_of(data)))


def reader_of(data: bytes) -> ReadAt:
    """Reads from a file's bytes."""
    return lambda at, length: data[at : at + length]
