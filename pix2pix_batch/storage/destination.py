"""Putting outputs in their place in OUT, whole, on disk or in a store behind a URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pix2pix_batch.storage.store import Destination, Outputs, store_of


def open_destination(out: str | os.PathLike[str]) -> Destination:
    """OUT, for a few outputs one soon after the other."""
    return store_of(out).open_destination(os.fspath(out))


def place(out: str | os.PathLike[str], output: str, data: bytes) -> None:
    """Write ``data`` to ``output`` within ``out``, as :func:`open_output` does."""
    with open_destination(out) as destination:
        destination.place(output, data)


@contextmanager
def open_output(out: str | os.PathLike[str], output: str) -> Iterator[IO[bytes]]:
    """A file to write ``output`` to, which is in its place within ``out``, whole, once the block
    has ended well. Raises :class:`ImageError`, or :class:`OutputError` where nothing more can be
    written."""
    with open_destination(out) as destination, destination.open_output(output) as file:
        yield file


def list_outputs(out: str | os.PathLike[str]) -> Outputs:
    """Which outputs are there. A remote directory is listed once, when it is first asked for."""
    return store_of(out).list_outputs(os.fspath(out))


def require_writable(out: str | os.PathLike[str]) -> None:
    """Raises :class:`InputError` for a store that cannot take outputs, as far as can be told."""
    store_of(out).require_writable(os.fspath(out))
