"""Where files lie, and reading them, on disk or in a store behind a URL."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.storage import common, remote
from pix2pix_batch.storage.patience import patiently
from pix2pix_batch.storage.remote_stream import RemoteStream
from pix2pix_batch.text import escape

if TYPE_CHECKING:
    from pix2pix_batch.item import Item

LARGEST = 1 << 30
"""Bytes of an image file that are read at most: nine times the pixels that
:data:`PIL.Image.MAX_IMAGE_PIXELS` allows. A larger one would only fill the memory."""


def join(place: str | os.PathLike[str], name: str) -> str:
    """The path or URL of ``name`` within ``place``; a URL or an absolute path stays itself."""
    base = os.fspath(place)
    if remote.is_url(name):
        return name
    return f"{base.rstrip('/')}/{name}" if remote.is_url(base) else os.path.join(base, name)


def absolute(place: str | os.PathLike[str]) -> str:
    """A path or URL that stays the same in another directory."""
    text = remote.normalise(os.fspath(place))
    return text if remote.is_url(text) else os.path.abspath(text)


def journal_directory(out: str | os.PathLike[str], chosen: str | None = None) -> Path:
    """The directory in which the journal of ``out`` lies: ``out`` itself where it is local.

    Else ``chosen``, or one in the user's state directory (XDG) whose name is made of ``out``.
    Raises :class:`InputError` for a ``chosen`` one beside a local ``out``.
    """
    text = remote.normalise(os.fspath(out))
    if not remote.is_url(text):
        if chosen is not None:
            raise InputError("--journal is for an OUT that is a URL: a local one holds its journal")
        return Path(text)
    if chosen is not None:
        return Path(chosen)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = hashlib.sha256(remote.redact(text).encode("utf-8", "surrogateescape")).hexdigest()[:24]
    return Path(base) / "pix2pix-batch" / name


def file_size(path: str) -> int:
    """0 where it is not known at once."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def stamp_of(path: str) -> str:
    """A file's stamp as it is now. Raises :class:`ImageError`, also where it is a directory."""
    if remote.is_url(path):
        return remote.stamp_of(path)
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise ImageError("is a directory; name the files in it")
        return common.stamp(found)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def read_file(path: str, known: str = "") -> tuple[bytes, str]:
    """A file's bytes and its stamp; ``known``: the stamp, where a store has told it before.

    Raises :class:`ImageError`.
    """
    if remote.is_url(path):
        known = known or remote.stamp_of(path)
        data = remote.read(path, LARGEST + 1)
        return _require_size(data, len(data)), known
    try:
        return patiently(lambda: _read_local(path))
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def _read_local(path: str) -> tuple[bytes, str]:
    # With few calls to the system: at each one threads of Python may change, at some cost.
    descriptor, status = _open_regular(path)
    try:
        _require_size(b"", status.st_size)
        pieces = [os.read(descriptor, status.st_size + 1)]
        read = len(pieces[0])
        while pieces[-1] and read != status.st_size and read <= LARGEST:  # it is being written
            pieces.append(os.read(descriptor, LARGEST + 1 - read))
            read += len(pieces[-1])
    finally:
        os.close(descriptor)
    return _require_size(b"".join(pieces), read), common.stamp(status)


def size_of(item: Item) -> int:
    """An input's bytes; 0 where that is not known at once."""
    if item.content is not None:
        return len(item.content)
    return 0 if remote.is_url(item.path) else file_size(item.path)


def read(item: Item) -> tuple[bytes, str]:
    """An input's bytes and its stamp. Raises :class:`ImageError`."""
    if item.content is not None:
        return item.content, item.stamp
    return read_file(item.path, item.stamp)


def regular(path: str) -> IO[bytes]:
    """An open regular file; nothing else is waited for, as opening a pipe would.

    Raises :class:`ImageError` or ``OSError``.
    """
    return open(_open_regular(path)[0], "rb")


def _open_regular(path: str) -> tuple[int, os.stat_result]:
    """The descriptor of an open regular file, and its status, as :func:`regular`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def _require_size(data: bytes, size: int) -> bytes:
    if size > LARGEST:
        raise ImageError(f"the file is larger than {LARGEST:,} bytes, the most that is read")
    return data


def why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def unreadable(path: str | os.PathLike[str], error: Exception) -> ImageError:
    """Why a file of this machine cannot be read; of a link that leads nowhere, where it leads."""
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ELOOP):
        try:
            leads = escape(os.readlink(path))
        except (OSError, ValueError):  # it is no link
            leads = ""
        if leads and error.errno == errno.ELOOP:
            return ImageError(f"is a link that leads in a circle, by {leads}; mend or remove it")
        if leads:
            return ImageError(f"is a link to {leads}, which is not there; mend or remove it")
    return ImageError(f"cannot be read ({why(error)})")


def is_empty(path: str) -> bool:
    """Whether it is a file of this machine that holds nothing; also where its size is not told."""
    try:
        with regular(path) as file:
            return not file.read(1)
    except (ImageError, OSError, ValueError):
        return False


def open_stream(path: str) -> IO[bytes] | RemoteStream:
    """A file to be read from front to back. Raises :class:`ImageError`."""
    if remote.is_url(path):
        try:
            return RemoteStream(path)
        except InputError as error:
            raise ImageError(str(error)) from error
    try:
        return regular(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def pieces(path: str) -> Iterator[bytes]:
    """A file's bytes, a megabyte at a time. Raises :class:`ImageError`."""
    with closing(open_stream(path)) as file:
        try:
            while piece := file.read(1 << 20):
                yield piece
        except Exception as error:
            raise ImageError(f"cannot be read ({remote.explain_error(error)})") from error


def require_readable(path: str) -> None:
    """Raises :class:`ImageError`."""
    next(pieces(path), b"")


def is_readable(path: str) -> bool:
    try:
        require_readable(path)
    except ImageError:
        return False
    return True
