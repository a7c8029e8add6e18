"""Images that kill, hang, slow or break the worker that opens them, for real.

Loaded by each Dask worker through ``DASK_DISTRIBUTED__WORKER__PRELOAD``, it gives Pillow a format
whose images do to their decoder what damaged files do now and then to a C library.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from PIL import Image, ImageFile

MAGIC = b"HARM"
HEAD = 40
"""Bytes of the magic and of what the image does; then its pixels follow, 64x64."""


def harmful(path: Path, what: str) -> Path:
    """Write an image at ``path`` that does ``what``; see :meth:`Harmful._open`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = bytes(path.name, "utf-8").ljust(64, b"~") * (64 * 3)
    path.write_bytes((MAGIC + what.encode()).ljust(HEAD) + pixels)
    return path


def preloaded() -> dict[str, str]:
    """What the environment must say that workers load this."""
    return {"DASK_DISTRIBUTED__WORKER__PRELOAD": __file__}


class Harmful(ImageFile.ImageFile):
    format = "HARM"

    def _open(self) -> None:
        assert self.fp is not None
        what = self.fp.read(HEAD)[len(MAGIC) :].decode().strip()
        if what == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "hang":
            time.sleep(3600)
        elif what == "hang with the interpreter's lock":
            ctypes.PyDLL(None).sleep(3600)
        elif what == "memory":
            raise MemoryError
        elif what == "slow":
            time.sleep(0.4)
        self._mode, self._size = "RGB", (64, 64)
        self.tile = [ImageFile._Tile("raw", (0, 0, 64, 64), HEAD, ("RGB", 0, 1))]


Image.register_open(Harmful.format, Harmful, lambda prefix: prefix.startswith(MAGIC))
