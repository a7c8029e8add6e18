"""The lock on a dataset's OUT: one run at a time, from its first look to its last word.

The journal has a lock of its own, which each round of making takes and gives back; this one spans
them, and the judging and laying out between and after.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path

from filelock import FileLock, Timeout

from pix2pix_batch.errors import InputError
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.text import escape

LOCK = "dataset.lock"

LOCK_SECONDS = 0.5
"""Seconds to wait: ``status`` holds a lock for a moment to see whether it is free."""


def lock_of(out: Path) -> Path:
    return out / DIRECTORY / LOCK


@contextmanager
def lock_directory(out: Path) -> Iterator[None]:
    """Directories that lack are made, and are gone afterwards where nothing was put there.

    Raises :class:`InputError` where another run has the lock, and where it cannot be taken.
    """
    path = lock_of(out)
    places = (path.parent, out, *out.parents)
    made = list(takewhile(lambda place: not place.exists(), places))
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=LOCK_SECONDS)
        if not path.exists():  # who held it was refused, and has removed it
            lock.release()
            raise Timeout(str(path))
    except Timeout as error:
        raise InputError(
            f"{escape(out)}: another run is writing there (it holds {escape(path)}); wait for it, "
            "or choose another OUT"
        ) from error
    except OSError as error:
        _remove(made)
        raise InputError(
            f"{escape(path)}: cannot be written ({error.strerror}); check its permissions, or give "
            "another directory as OUT"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # somebody has removed it meanwhile
            if made and os.listdir(path.parent) == [LOCK]:
                path.unlink()
        lock.release()
        _remove(made)


def _remove(directories: list[Path]) -> None:
    """Those that are empty."""
    for directory in directories:
        with suppress(OSError):
            directory.rmdir()
