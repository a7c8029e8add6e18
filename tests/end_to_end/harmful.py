"""Images that kill, hang, slow or break the worker that opens them, for real.

Loaded by each Dask worker through ``DASK_DISTRIBUTED__WORKER__PRELOAD``, it gives Pillow a format
whose images do to their decoder what damaged files do now and then to a C library. Others wait at
a gate, so that a test decides how long a job lasts, and not the machine's speed.
"""

from __future__ import annotations

import ctypes
import hashlib
import io
import math
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image, ImageFile

MAGIC = b"HARM"
HEAD = 40
"""Bytes of the magic and of what the image does; then its pixels follow, 64x64."""

GATE = "HARMFUL_GATE"
"""The environment's name for the path of a gate, which is shut while that file is there."""

HELD = "HARMFUL_HELD"
"""The environment's name for the digests of good images that wait at the gate as well."""

SLOW = 0.5
"""Seconds."""


def harmful(path: Path, what: str) -> Path:
    """Write an image at ``path`` that does ``what``; see :meth:`Harmful._open`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = bytes(path.name, "utf-8").ljust(64, b"~") * (64 * 3)
    path.write_bytes((MAGIC + what.encode()).ljust(HEAD) + pixels)
    return path


def preloaded(gate: Path | None = None, held: Iterable[Path] = ()) -> dict[str, str]:
    """What the environment must say that workers load this, and where their gate is.

    ``held``: good images that wait there, too, told by their content: not by how many a worker has
    opened before, which depends on chunks, on the first look and on what is decoded ahead.
    """
    found = {"DASK_DISTRIBUTED__WORKER__PRELOAD": __file__}
    if gate is not None:
        found[GATE] = str(gate)
    if digests := [_digest(path.read_bytes()) for path in held]:
        found[HELD] = " ".join(digests)
    return found


def shut(gate: Path) -> Path:
    """While the file ``gate`` is there, ``slow`` images are slow, and ``held`` ones wait."""
    gate.touch()
    return gate


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _wait(seconds: float) -> None:
    """At the gate."""
    gate, end = os.environ.get(GATE, ""), time.monotonic() + seconds
    while os.path.exists(gate) and time.monotonic() < end:
        time.sleep(0.02)


class Harmful(ImageFile.ImageFile):
    format = "MSP"  # one whose samples are known to be read rightly

    def _open(self) -> None:
        assert self.fp is not None
        what = self.fp.read(HEAD)[len(MAGIC) :].decode().strip()
        if what == "segfault":
            signal.raise_signal(signal.SIGSEGV)  # in this thread, as a decoder does it
        elif what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "hang":
            time.sleep(3600)
        elif what == "hang with the interpreter's lock":
            ctypes.PyDLL(None).sleep(3600)
        elif what == "memory":
            raise MemoryError
        elif what == "slow":
            _wait(SLOW)
        elif what == "held":
            _wait(math.inf)
        self._mode, self._size = "RGB", (64, 64)
        self.tile = [ImageFile._Tile("raw", (0, 0, 64, 64), HEAD, ("RGB", 0, 1))]


Image.register_open("HARM", Harmful, lambda prefix: prefix.startswith(MAGIC))


def _holding(open_image: Callable[..., Image.Image], held: set[str]) -> Callable[..., Image.Image]:
    def open_held(file: Any, *arguments: Any, **options: Any) -> Image.Image:
        if isinstance(file, io.BytesIO) and _digest(file.getvalue()) in held:
            _wait(math.inf)
        return open_image(file, *arguments, **options)

    return open_held


if HELD in os.environ:
    Image.open = _holding(Image.open, set(os.environ[HELD].split()))
