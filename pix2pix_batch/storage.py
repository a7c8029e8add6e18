"""Reading inputs and putting outputs in their place."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from pathlib import Path

from pix2pix_batch import journal
from pix2pix_batch.errors import ImageError, OutputError

FATAL = journal.FULL | {errno.EROFS}
"""What makes writing on useless for every image, not for one. A disk that is read-only from the
start is wrong use; one that becomes so ends the job as a full one does."""


def file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def read_file(path: str) -> tuple[bytes, str]:
    """A file's bytes and its :func:`journal.stamp`. Raises :class:`ImageError`."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError("not a regular file")
        with open(path, "rb") as file:
            return file.read(), journal.stamp(os.fstat(file.fileno()))
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})") from error


def place(out: Path, output: str, data: bytes) -> None:
    """Write ``data`` to ``out / output``, whole or not at all, and never outside ``out``.

    Raises :class:`ImageError`, or :class:`OutputError` where nothing more can be written.
    """
    target = out / output
    temporary = out / journal.DIRECTORY / "tmp" / uuid.uuid4().hex
    try:
        if not target.parent.resolve().is_relative_to(out.resolve()):
            raise ImageError("its output would lie outside OUT, through a link in OUT")
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno in FATAL:
            raise OutputError(
                f"{out}: {error.strerror}; make room there, then run the same command again: "
                "it goes on where this run stopped"
            ) from error
        raise ImageError(f"its output cannot be written ({error.strerror})") from error
    finally:
        temporary.unlink(missing_ok=True)
