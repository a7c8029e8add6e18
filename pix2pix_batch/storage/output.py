"""Writing the files that small commands leave, each whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.storage.whole import whole


def write(path: Path, content: bytes) -> None:
    """Raises :class:`OutputError`."""
    try:
        with whole(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); make room, or choose another place"
        ) from error


def require_place(path: Path | None, suffixes: tuple[str, ...]) -> None:
    """See before long work that a file can be written. Raises :class:`InputError`."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: its name must end in {' or '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give a file's name")
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: is no directory that can be written to; create it first")
