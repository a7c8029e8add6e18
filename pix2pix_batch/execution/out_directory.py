"""The directory of a job's journal, and of its outputs where these are no URL."""

from __future__ import annotations

from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.text import escape


def make_directory(out: Path) -> list[Path]:
    """Make ``out``; returns the directories that were not there before, the deepest first.

    Raises :class:`InputError`.
    """
    if (out / DIRECTORY).is_symlink():
        raise InputError(
            f"{escape(out / DIRECTORY)}: is a link, and the journal might be written elsewhere; "
            "remove it"
        )
    try:
        made = list(takewhile(lambda place: not place.exists(), (out, *out.parents)))
        out.mkdir(parents=True, exist_ok=True)
        return made
    except FileExistsError as error:
        raise _is_a_file(out) from error
    except OSError as error:
        raise InputError(
            f"{escape(out)}: cannot be made ({error.strerror}); give another directory as OUT"
        ) from error


def remove_empty(made: list[Path]) -> None:
    """Remove directories that were made for nothing."""
    for directory in made:
        with suppress(OSError):  # somebody else has put something there
            directory.rmdir()


def require_no_file(out: Path) -> None:
    """Raises :class:`InputError` where a file stands in the place of the directory."""
    if out.exists() and not out.is_dir():
        raise _is_a_file(out)


def _is_a_file(out: Path) -> InputError:
    return InputError(f"{escape(out)}: is a file; OUT must be a directory")
