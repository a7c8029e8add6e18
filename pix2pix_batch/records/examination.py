"""Whether bytes are the image that a job made."""

from __future__ import annotations

import hashlib
import io

from PIL import Image

MISSING, UNREADABLE, DAMAGED, CHANGED = "missing", "unreadable", "damaged", "changed"
KINDS = (MISSING, UNREADABLE, DAMAGED, CHANGED)
"""What can be wrong with an output: not there; cannot be read; is no whole image; is an image,
but not the one that the job made."""

Finding = tuple[str, str]
"""What is wrong, one of :data:`KINDS`, and why; both empty where nothing is."""

FINE: Finding = ("", "")


def digest_of(data: bytes) -> str:
    """As the journal has it."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def examined(data: bytes, digest: str) -> Finding:
    """What is wrong with the bytes of an image. ``digest``: empty where it is not known."""
    if why := _damage(data):
        return DAMAGED, why
    if digest and digest_of(data) != digest:
        return CHANGED, "is not the image that the job made"
    return FINE


def _damage(data: bytes) -> str:
    """Why the bytes are no whole image; empty where they are one."""
    if not data:
        return "is empty"
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception as error:  # decoders raise almost anything
        return f"does not decode ({' '.join(str(error).split())[:200]})"
    return ""
