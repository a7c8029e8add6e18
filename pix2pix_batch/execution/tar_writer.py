"""Where a tar's members go: to another tar, or to plain files."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.storage import destination

PIECE = 1 << 20
"""Bytes written at a time."""


class TarWriter:
    """A tar whose bytes depend on its members' names and contents alone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self._place = file, hashlib.blake2b(digest_size=16), 0
        self._archive = tarfile.TarFile(
            fileobj=self,  # type: ignore[arg-type]
            mode="w",
            format=tarfile.PAX_FORMAT,
            # Not the locale's, tarfile's default: the bytes must be the same on every machine.
            encoding="utf-8",
            errors="surrogateescape",
        )

    def tell(self) -> int:
        return self._place

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._hash.update(data)
        self._place += len(data)
        return len(data)

    def add(self, name: str, size: int, content: bytes | IO[bytes]) -> None:
        header = tarfile.TarInfo(name)  # mode 0644, and all else, time and owner too, 0
        header.size = size
        self._archive.addfile(header)
        for piece in _content(content):
            self.write(piece)
        self.write(bytes(-size % tarfile.BLOCKSIZE))
        # The content was written past tarfile, which pads the archive's end by its own count of
        # bytes.
        self._archive.offset = self._place
        self._archive.members = []  # type: ignore[attr-defined]  # which would grow with the tar

    def end(self) -> str:
        """Write the end mark. Returns the hash of all that was written."""
        self._archive.close()
        return self._hash.hexdigest()


class FolderTarget:
    """Plain files in a directory of OUT."""

    def __init__(self, out: str, directory: str) -> None:
        self._out, self._directory = out, directory

    def add(self, name: str, size: int, content: bytes | IO[bytes]) -> None:
        """Raises :class:`ImageError`."""
        with destination.open_output(
            self._out, f"{self._directory}/{os.path.normpath(name)}"
        ) as file:
            file.writelines(_content(content))

    def end(self) -> str:
        return ""


def _content(content: bytes | IO[bytes]) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    content.seek(0)
    while piece := content.read(PIECE):
        yield piece


@contextmanager
def target_of(settings: Settings, item: Item) -> Iterator[TarWriter | FolderTarget]:
    """The place of a tar's output. Raises what :func:`destination.open_output` does."""
    if settings.unpack:
        yield FolderTarget(settings.out, item.output)
        return
    with destination.open_output(settings.out, item.output) as file:
        yield TarWriter(file)
