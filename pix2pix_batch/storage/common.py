"""What all that reads and writes files has in common."""

from __future__ import annotations

import errno
import os

DIRECTORY = ".pix2pix-batch"
"""Within OUT: the journals, their locks, and files not yet in place."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What passes when somebody makes room: the same command then goes on."""


def stamp(status: os.stat_result) -> str:
    """Size and modification time: changes when the file does, without opening it."""
    return f"{status.st_size}:{status.st_mtime_ns}"
