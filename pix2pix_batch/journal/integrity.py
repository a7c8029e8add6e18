"""Checks whether bytes are the image that a job made."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from PIL import UnidentifiedImageError

from pix2pix_batch.imaging.decoding.opening import open_quietly

Some = TypeVar("Some")

MISSING, UNREADABLE, DAMAGED, CHANGED = "missing", "unreadable", "damaged", "changed"
KINDS = (MISSING, UNREADABLE, DAMAGED, CHANGED)
"""What can be wrong with an output: it is missing; it cannot be read; it is no whole image; it is
an image, but not the one that the job made."""

BATCH = 32
"""Files that are looked at together, a fraction of a second of work."""

Finding = tuple[str, str]
"""What is wrong, one of :data:`KINDS`, and why; both are empty if nothing is wrong."""

FINE: Finding = ("", "")


def batches(outputs: Iterable[Some]) -> Iterator[list[Some]]:
    """:data:`BATCH` at a time."""
    left = iter(outputs)
    while batch := list(islice(left, BATCH)):
        yield batch


def new_digest(data: bytes = b"") -> hashlib.blake2b:
    """What digests of outputs are made with, ``data`` first."""
    return hashlib.blake2b(data, digest_size=16)


def digest_of(data: bytes) -> str:
    """As the journal has it."""
    return new_digest(data).hexdigest()


def digest_of_file(path: Path) -> str:
    """As :func:`digest_of`, without holding the file. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, new_digest).hexdigest()


def examine(data: bytes, digest: str) -> Finding:
    """What is wrong with the bytes of an image. ``digest``: empty where it is not known."""
    if digest and digest_of(data) == digest:  # whatever its size, the image that the job made
        return FINE
    if why := _find_damage(data):
        return DAMAGED, why
    return (CHANGED, "is not the image that the job made") if digest else FINE


def _find_damage(data: bytes) -> str:
    """Why the bytes are no whole image; empty where they are one."""
    if not data:
        return "is empty"
    try:
        with open_quietly(io.BytesIO(data)) as image:
            # Opening reads the header only; damage shows when the pixels are decoded.
            image.load()
    except UnidentifiedImageError:
        return "is no image"
    except Exception as error:  # decoders raise almost anything
        return f"does not decode ({' '.join(str(error).split())[:200]})"
    return ""
