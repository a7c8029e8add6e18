"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole(path: Path, *, sync: bool = False) -> Iterator[BinaryIO]:
    """A file to write that gets the name ``path`` when the block ends well, else is removed.

    It stands beside ``path`` meanwhile, whose directory is made where it lacks. ``sync``: flushed
    to the disk first, for what must survive a power cut. Raises ``OSError``.
    """
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")  # a long name's own may be too long
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
