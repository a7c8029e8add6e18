"""Reading files and naming their places, wherever they lie: each function asks the path's store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pix2pix_batch.errors import ImageError
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.store import ByteStream, store_of

if TYPE_CHECKING:
    from pix2pix_batch.item import Item

PIECE = 1 << 20
"""Bytes read at a time."""


def join(place: str | os.PathLike[str], name: str) -> str:
    """The path or URL of ``name`` within ``place``; a URL or an absolute path stays itself."""
    base = os.fspath(place)
    return store_of(base).join(base, name) if store_of(name).is_local else name


def absolute(place: str | os.PathLike[str]) -> str:
    """A path or URL that stays the same in another directory."""
    text = remote.normalise(os.fspath(place))
    return store_of(text).absolute(text)


def journal_directory(out: str | os.PathLike[str], chosen: str | None = None) -> Path:
    """The directory in which the journal of ``out`` lies: ``out`` itself where it is local.

    Else ``chosen``, or one in the user's state directory (XDG) whose name is made of ``out``.
    Raises :class:`InputError` for a ``chosen`` one beside a local ``out``.
    """
    text = remote.normalise(os.fspath(out))
    return store_of(text).journal_directory(text, chosen)


def is_on_disk(item: Item) -> bool:
    """Whether an input is a file of this machine, neither behind a URL nor within a tar."""
    return item.content is None and store_of(item.path).is_local


def size_of(item: Item) -> int:
    """An input's bytes; 0 where that is not known at once."""
    if item.content is not None:
        return len(item.content)
    return store_of(item.path).file_size(item.path)


def read(item: Item) -> tuple[bytes, str]:
    """An input's bytes and its stamp. Raises :class:`ImageError`."""
    if item.content is not None:
        return item.content, item.stamp
    return read_file(item.path, item.stamp)


def read_file(path: str, known: str = "") -> tuple[bytes, str]:
    """A file's bytes and its stamp; ``known``: the stamp, where a store has told it before.

    Raises :class:`ImageError`.
    """
    return store_of(path).read(path, known)


def stamp_of(path: str) -> str:
    """A file's stamp as it is now. Raises :class:`ImageError`."""
    return store_of(path).stamp_of(path)


def open_stream(path: str) -> ByteStream:
    """A file to be read from front to back. Raises :class:`ImageError`."""
    return store_of(path).open_stream(path)


def pieces(path: str) -> Iterator[bytes]:
    """A file's bytes, a megabyte at a time. Raises :class:`ImageError`."""
    with closing(open_stream(path)) as file:
        try:
            while piece := file.read(PIECE):
                yield piece
        except Exception as error:
            raise ImageError(f"cannot be read ({remote.explain_error(error)})") from error


def digest_beginning(path: str) -> str:
    """BLAKE2b, hex, of a file's first mebibyte. Raises :class:`ImageError`."""
    digest, left = hashlib.blake2b(), PIECE
    for piece in pieces(path):
        digest.update(piece[:left])
        left -= len(piece)
        if left <= 0:
            break
    return digest.hexdigest()
