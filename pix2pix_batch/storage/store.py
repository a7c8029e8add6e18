"""What is asked of a place where files lie, and which of the two kinds of places a path is of."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Protocol

from pix2pix_batch.storage import remote
from pix2pix_batch.storage.common import NameRules
from pix2pix_batch.storage.local import LocalStore
from pix2pix_batch.storage.remote_store import RemoteStore


class ByteStream(Protocol):
    """A file that is read once, from front to back."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Destination(Protocol):
    """OUT, for a few outputs one soon after the other. A context manager, for one thread.

    An output never lies outside OUT: directories of it that are links count as where they lead, and
    none can be put there meanwhile. All methods raise :class:`~pix2pix_batch.errors.ImageError`,
    or :class:`~pix2pix_batch.errors.OutputError` where nothing more can be written.
    """

    def __enter__(self) -> Destination: ...

    def __exit__(self, *error: object) -> None: ...

    def place(self, output: str, data: bytes) -> None:
        """Write ``data`` to ``output``, a path within OUT, whole or not at all."""

    def remove(self, output: str) -> None:
        """Remove ``output``, if it is there."""

    def open_output(self, output: str) -> AbstractContextManager[IO[bytes]]:
        """A file to write ``output`` to, which is in its place, whole, once the block has ended
        well."""


class Outputs(Protocol):
    """The outputs that are there."""

    def has(self, output: str) -> bool:
        """Whether something has the name ``output`` within OUT."""


class Store(Protocol):
    """The disks of this machine, or the stores behind URLs; both have no state of their own.

    Every ``path`` is a path or URL of the store's own kind, ``out`` that of OUT.
    """

    is_local: bool
    """Whether its files lie on this machine: they have paths, can be links, can be mapped."""

    def join(self, base: str, name: str) -> str:
        """The place of ``name`` within ``base``."""

    def absolute(self, path: str) -> str:
        """A path that stays the same in another directory."""

    def resolve(self, path: str) -> str:
        """The same for all names of one place that links give it."""

    def find_within(self, path: str, directory: str) -> str | None:
        """As :func:`pix2pix_batch.storage.local.find_within`."""

    def stamp_of(self, path: str) -> str:
        """What changes with the file. Raises :class:`~pix2pix_batch.errors.ImageError`."""

    def exists(self, path: str) -> bool:
        """Whether something has that name, as far as the store can tell: the web cannot."""

    def file_size(self, path: str) -> int:
        """In bytes; 0 where that is not known at once."""

    def read(self, path: str, known: str = "") -> tuple[bytes, str]:
        """A file's bytes and its stamp, which may be ``known`` already. Raises
        :class:`~pix2pix_batch.errors.ImageError`, also for a file of more than
        :data:`~pix2pix_batch.storage.common.LARGEST` bytes."""

    def open_beginning(self, path: str, size: int) -> IO[bytes]:
        """A file of whose beginning ``size`` bytes are looked at. Raises
        :class:`~pix2pix_batch.errors.ImageError` or ``OSError``."""

    def open_stream(self, path: str) -> ByteStream:
        """Raises :class:`~pix2pix_batch.errors.ImageError`."""

    def open_list(self, path: str) -> IO[bytes]:
        """A file that names others. Raises :class:`~pix2pix_batch.errors.InputError`."""

    def require_installed(self, path: str) -> None:
        """Raises :class:`~pix2pix_batch.errors.InputError` where a package lacks that reaches
        it; nothing is asked of the store itself."""

    def require_writable(self, out: str) -> None:
        """Raises :class:`~pix2pix_batch.errors.InputError` where it cannot take outputs, as far
        as can be told."""

    def name_rules(self, out: str) -> NameRules:
        """What names of files can be there, be ``out`` there yet or not."""

    def journal_directory(self, out: str, chosen: str | None) -> Path:
        """As :func:`pix2pix_batch.storage.files.journal_directory`."""

    def open_destination(self, out: str) -> Destination: ...

    def list_outputs(self, out: str) -> Outputs: ...


LOCAL: Store = LocalStore()
REMOTE: Store = RemoteStore()


def store_of(path: str | os.PathLike[str]) -> Store:
    """The store in which a path or URL lies; ``file:`` URLs should be normalised before."""
    return REMOTE if remote.is_url(path) else LOCAL
