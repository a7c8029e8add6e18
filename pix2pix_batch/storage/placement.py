"""Outputs in directories of OUT that are other mounts, where each is written beside its place.

A file cannot be moved from one mount to another, so what is not whole yet lies hidden in the
directory itself. A note beside the journal says where, so that the next run removes what a killed
worker left.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

BEGINNING, NOTE = ".pix2pix-batch-", ".note"
"""How the names of such files begin, which hides them, and those of notes end."""


def create(name: str, directory: int) -> int:
    """The descriptor of a new file in the open ``directory``. Raises ``OSError``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o666, dir_fd=directory)


@contextmanager
def open_to_place(notes: int, target: int, inside: Sequence[str], name: str) -> Iterator[int]:
    """The descriptor of a file to write and close, which is ``name`` in the open directory
    ``target`` once the block has ended well. ``notes``: the open directory of the notes;
    ``inside``: the path of ``target`` within OUT. Raises ``OSError``.
    """
    mark = uuid.uuid4().hex
    temporary, note = f"{BEGINNING}{mark}", f"{mark}{NOTE}"
    with open(create(note, notes), "wb") as file:
        # The note comes before the file, so that no moment leaves a file that no note tells of.
        file.write(os.fsencode("/".join([*inside, temporary])))
    try:
        try:
            yield create(temporary, target)
            os.replace(temporary, name, src_dir_fd=target, dst_dir_fd=target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(note, dir_fd=notes)


def remove(out: Path, note: Path) -> None:
    """Remove what a note tells of, if it is still there. Raises ``OSError``."""
    # Distrusted: whoever can write into OUT could have a note point at any file.
    parts = os.fsdecode(note.read_bytes()).split("/")
    if parts[-1].startswith(BEGINNING) and not {"", ".", ".."} & set(parts):
        with suppress(FileNotFoundError, NotADirectoryError):
            out.joinpath(*parts).unlink()
