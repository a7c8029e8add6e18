"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(
    path: Path, *, sync: bool = False, prefix: str = ".", make_directory: bool = True
) -> Iterator[BinaryIO]:
    """A file to write that gets the name ``path`` when the block ends well, else is removed.

    It stands beside ``path`` meanwhile, under a name that begins with ``prefix``; the directory is
    made where it lacks, unless ``make_directory`` is false. ``sync``: flushed to the disk first,
    for what must survive a power cut. Raises ``OSError``.
    """
    # not after its own name, which may be as long as names can be
    temporary = path.with_name(f"{prefix}{uuid.uuid4().hex}.tmp")
    if make_directory:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(directory: Path) -> None:
    """Remove what :func:`whole` was writing directly in ``directory`` when its process was killed.

    Nothing else may be writing there. Raises ``OSError``.
    """
    if directory.is_dir():
        for path in directory.iterdir():
            if re.fullmatch(r"\.[0-9a-f]{32}\.tmp", path.name):
                path.unlink()
