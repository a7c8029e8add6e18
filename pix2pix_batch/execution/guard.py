"""Checks that IN and OUT are still there: an unmounted file system fails all images, not one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from pix2pix_batch.errors import OutputError
from pix2pix_batch.journal.record import Record
from pix2pix_batch.text import escape

AGAIN = "then run the same command again: it goes on where this run stopped"


class Guard:
    """Checks the directories ``root`` of the inputs and ``kept`` of the journal. A directory that
    is missing at the start is not checked: workers may see what this machine does not.
    """

    def __init__(self, root: Path | str | None, kept: Path) -> None:
        self.root = root if root is not None and _holds_something(root) else None
        self.kept = kept

    def check(self, records: Iterable[Record]) -> None:
        """Raises :class:`OutputError` where images failed and IN or OUT is gone.

        A mount point whose file system is gone is an empty directory.
        """
        # The check costs calls to what may be a network mount, and where all went well both are
        # there.
        if all(record.status == "done" for record in records):
            return
        if not _holds_something(self.kept):
            raise OutputError(f"{escape(self.kept.parent)}: OUT is gone; mount it again, {AGAIN}")
        if self.root is not None and not _holds_something(self.root):
            raise OutputError(
                f"{escape(self.root)}: the input is gone or empty; mount it again, {AGAIN}"
            )


def _holds_something(directory: Path | str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
