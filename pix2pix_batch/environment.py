"""The environment variables of this package, and what each may say."""

from __future__ import annotations

import os

from pix2pix_batch.errors import InputError
from pix2pix_batch.text import escape

CODEC_THREADS = "PIX2PIX_BATCH_CODEC_THREADS"
"""Threads that a worker decodes and encodes in."""

CACHE = "PIX2PIX_BATCH_CACHE"
"""The directory of engines."""

MOST_THREADS = 4096


def require_valid() -> None:
    """Raises :class:`InputError` where one of the variables says what cannot be."""
    read_codec_threads(1)
    read_cache()


def read_codec_threads(usual: int) -> int:
    """``usual`` where the variable is not set or empty. Raises :class:`InputError`."""
    said = os.environ.get(CODEC_THREADS, "").strip()
    if not said:
        return usual
    if not (said.isascii() and said.isdecimal()) or not 1 <= int(said[:9]) <= MOST_THREADS:
        raise InputError(
            f"{CODEC_THREADS}: must be a whole number from 1 to {MOST_THREADS}, not "
            f"{escape(said)!r}; mend the environment variable, or unset it"
        )
    return int(said[:9])


def read_cache() -> str:
    """Empty where the variable is not set. Raises :class:`InputError`."""
    said = os.environ.get(CACHE, "")
    if said and os.path.lexists(said) and not os.path.isdir(said):
        raise InputError(
            f"{CACHE}: {escape(said)} is no directory; set it to a directory of your own, or "
            "unset it"
        )
    return said
