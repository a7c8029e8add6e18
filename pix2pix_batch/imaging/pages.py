"""Pages of TIFF files as images of their own: what they are called, and reading them.

A page is named by its file and its number from 1, ``stack.tif#3``.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import urlsplit

from pix2pix_batch.errors import ImageError, Pix2PixBatchError
from pix2pix_batch.imaging.metadata import exif
from pix2pix_batch.imaging.metadata.tiff import Tiff
from pix2pix_batch.imaging.metadata.tiff_pages import (
    Page,
    ReadAt,
    find_patches,
    list_pages,
    reader_of,
    require_page,
    select_page,
)
from pix2pix_batch.storage import common, files, local, remote
from pix2pix_batch.storage.store import store_of

SUFFIXES = frozenset({".tif", ".tiff"})
"""Of files that may have pages."""

MARK = "#"
"""Between a file's name and a page's number; twice or more where a file is really called so."""

MARKED = re.compile(rf"(.+?)({MARK}+)([1-9][0-9]{{0,4}})", re.DOTALL)
"""A page's name."""

MISNUMBERED = re.compile(rf"(.+?){MARK}+(?:0[0-9]*|-[0-9]+)", re.DOTALL)
"""What would be one if it had a number from 1 on."""

BLOCK = 1 << 16
"""Bytes that are asked of a store at once."""


def list_pages_of_file(path: str) -> list[Page]:
    """The pages of the file at a path or URL. Raises :class:`ImageError` where it cannot be
    read."""
    if not store_of(path).is_local:
        return list_pages(_open_remote(path))
    try:
        with local.open_regular(path) as file:
            return _list_local(path, common.stamp(os.fstat(file.fileno())))
    except (OSError, ValueError) as error:
        raise local.unreadable(path, error) from error


@lru_cache(16)
def _list_local(path: str, stamp: str) -> list[Page]:
    """``stamp``: of the file, whose pages are listed anew when it changes."""
    with local.open_regular(path) as file:
        return list_pages(lambda at, length: os.pread(file.fileno(), length, at))


def find_patches_of_file(path: str, number: int) -> list[tuple[int, bytes]]:
    """:func:`find_patches` of a file of this machine. Raises :class:`ImageError`."""
    listed = list_pages_of_file(path)
    with local.open_regular(path) as file:
        return find_patches(lambda at, length: os.pread(file.fileno(), length, at), listed, number)


@contextlib.contextmanager
def open_tiff(path: str, number: int = 0) -> Iterator[Tiff | None]:
    """The directories of a TIFF file of this machine, that of the page first, without reading its
    samples; ``None`` of any other file. Raises ``OSError``, ``ValueError`` where the file is empty,
    and :class:`ImageError`."""
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
    ):
        tiff = exif.parse(data)
        if tiff is not None and number:
            tiff.first = require_page(list_pages_of_file(path), number).at
        yield tiff


def _open_remote(url: str) -> ReadAt:
    """Reads a block at a time; of the web, whose servers need not know ranges, all at once."""
    if remote.scheme(url) in remote.WEB:
        return reader_of(remote.read(url, common.LARGEST))
    size = remote.size_of(url)

    @lru_cache(4)
    def read_block(number: int) -> bytes:
        return remote.read_range(url, number * BLOCK, min(size, (number + 1) * BLOCK))

    def read_at(at: int, length: int) -> bytes:
        end = min(at + length, size)
        if at >= end:
            return b""
        parts = range(at // BLOCK, (end - 1) // BLOCK + 1)
        start = at - parts.start * BLOCK
        return b"".join(map(read_block, parts))[start : start + length]

    return read_at


def count_pages(path: str) -> int:
    """How many pages the file at a path or URL has; 0 where that cannot be told, for whatever
    reason: who converts it says why."""
    try:
        return len(list_pages_of_file(path))
    except Pix2PixBatchError:
        return 0


def read_size(path: str, number: int) -> tuple[int, int] | None:
    """Height and width of a page; ``None`` where they are not told."""
    try:
        page = require_page(list_pages_of_file(path), number)
    except ImageError:
        return None
    return (page.height, page.width) if page.height and page.width else None


def may_have_pages(name: str) -> bool:
    """Whether a file is called as one that may have them."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def split_name(name: str) -> tuple[str, str, int]:
    """A page's name as its file's, the mark, and its number; 0 of what is no page's by its name
    alone."""
    if name[-1:].isdecimal() and (match := MARKED.fullmatch(name)):
        file, mark, number = match.groups()
        if may_have_pages(file if store_of(name).is_local else urlsplit(file).path):
            return file, mark, int(number)
    return name, "", 0


def explain_misnumbered(name: str, folder: str = "") -> str:
    """Say why a name with a page's mark names no page, though the file is there.

    Args:
        name: A local path, relative to ``folder``.
        folder: Where it lies; empty for the working directory.

    Returns:
        A reason that follows "is" or the name; empty if this is not what is wrong with it.
    """
    found = MISNUMBERED.fullmatch(name)
    if found is None or not may_have_pages(found[1]):
        return ""
    path = os.path.join(folder, found[1])
    if os.path.lexists(os.path.join(folder, name)) or not os.path.isfile(path):
        return ""
    count = count_pages(path)
    last = f" to {found[1]}{MARK}{count}" if count > 1 else ""
    return f"no page: pages are counted from 1, {found[1]}{MARK}1{last}"


def locate(path: str) -> tuple[str, int]:
    """The file and the page, 0 for none, that a path or URL names. A file that is really called
    so goes before a page. What of ``path`` follows the file's name is the page's mark."""
    file, _, number = split_name(path)
    if not number:
        return path, 0
    return (path, 0) if store_of(path).exists(path) else (file, number)


def name_page(name: str, number: int, path: str = "") -> str:
    """Name a page of a file.

    Args:
        name: The name of the file, which the page's name begins with.
        number: The page's number, from 1.
        path: Where the file lies. If a file there is really called like the page, the mark between
            name and number is repeated.
    """
    mark = MARK
    while path and store_of(path).is_local and os.path.lexists(f"{path}{mark}{number}"):
        mark += MARK
    return f"{name}{mark}{number}"


def read_file(path: str) -> bytes:
    """The bytes of a file, or of the page that ``path`` names as a file of its own. Raises
    :class:`ImageError`."""
    file, number = locate(path)
    data = files.read_file(file)[0]
    return select_page(data, number) if number else data
