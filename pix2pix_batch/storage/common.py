"""What all that reads and writes files has in common."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pix2pix_batch.errors import ImageError, OutputError
from pix2pix_batch.storage import remote
from pix2pix_batch.text import escape

DIRECTORY = ".pix2pix-batch"
"""Within OUT: the journals, their locks, and files not yet in place."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What passes when somebody makes room: the same command then goes on."""

FATAL = FULL | {errno.EROFS}
"""What makes writing on useless for every image, not for one. A disk that is read-only from the
start is wrong use; one that becomes so ends the job as a full one does."""

LEAST_FREE = 1 << 20
"""Bytes under which a disk is full."""

LARGEST = 1 << 30
"""Bytes of an image file that are read at most: nine times the pixels that
:data:`PIL.Image.MAX_IMAGE_PIXELS` allows. A larger one would only fill the memory."""


@dataclass(frozen=True)
class NameRules:
    """What a place asks of names: the most bytes that one may have, ``None`` for no limit, and
    whether names that differ in case alone are one file there."""

    longest: int | None = None
    folds_case: bool = False


def stamp(status: os.stat_result) -> str:
    """Size and modification time: changes when the file does, without opening it."""
    return f"{status.st_size}:{status.st_mtime_ns}"


IN_THE_WAY = {
    errno.ENOTDIR: "in OUT, a file has the name of a directory of its output",
    errno.EISDIR: "in OUT, a directory has the name of its output",
}
"""Why an output cannot be written where an input has become a directory, or the other way round."""


def explain(error: Exception) -> str:
    """What the system says was wrong."""
    return getattr(error, "strerror", None) or str(error)


def require_size(data: bytes, size: int) -> bytes:
    """The ``data`` of a file of ``size`` bytes. Raises :class:`ImageError` for too large a one."""
    if size > LARGEST:
        raise ImageError(f"the file is larger than {LARGEST:,} bytes, the most that is read")
    return data


def parts_of(output: str) -> list[str]:
    """The directories and the name of an output. Raises :class:`ImageError` where it would leave
    OUT or meet the journal."""
    parts = output.split("/")
    if "\0" in output or {"", ".", "..", DIRECTORY} & set(parts):
        raise ImageError("its output would lie outside OUT; give it another name")
    return parts


def explain_output_error(out: str, error: OSError) -> ImageError | OutputError:
    """Why an output of ``out`` cannot be written: it, or no other either."""
    if error.errno in FATAL:
        return OutputError(
            f"{escape(remote.redact(out))}: {error.strerror}; make room there, then run the same "
            "command again: it goes on where this run stopped"
        )
    if error.errno in IN_THE_WAY:
        return ImageError(f"{IN_THE_WAY[error.errno]}; remove what is there, then run again")
    return ImageError(f"its output cannot be written ({explain(error)})")


@contextmanager
def output_errors(out: str) -> Iterator[None]:
    """Within it, an ``OSError`` is raised as :func:`explain_output_error` explains it."""
    try:
        yield
    except OSError as error:
        raise explain_output_error(out, error) from error


def require_room(out: str) -> None:
    """Raises :class:`OutputError` where the disk is full: what a library said of it may be less
    clear."""
    if shutil.disk_usage(out).free < LEAST_FREE:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise explain_output_error(out, full)
