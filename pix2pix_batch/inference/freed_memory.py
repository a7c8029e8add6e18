"""What the C library does with memory that is freed, in this process.

Only glibc can be told; elsewhere these functions do nothing.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4  # <malloc.h>
LARGE_BLOCK = 1 << 20
"""Bytes that are worth a mapping of their own."""
MANY_BLOCKS = 65536
"""glibc's own limit to how many blocks are mapped one by one."""


def give_back_at_once() -> None:
    """Let the C library give each large block back to the system as it is freed, until
    :func:`keep`.

    So nothing stays of what laying out an engine's weights takes for a while.
    """
    if mallopt := _libc_function("mallopt"):
        mallopt(M_MMAP_MAX, MANY_BLOCKS)
        mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK)


def keep() -> None:
    """Let the C library keep what is freed, instead of giving it back to the system.

    An image's activations are some 40 MB, allocated and freed layer by layer; returning them
    to the system and faulting them in again costs about a fifth of the time.
    """
    if mallopt := _libc_function("mallopt"):
        # Both are needed: large blocks that the C library maps one by one are given back when
        # freed, whatever the threshold of the heap is.
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def give_back() -> None:
    """Give what the C library has kept of freed memory back to the system."""
    if trim := _libc_function("malloc_trim"):
        trim(0)


def _libc_function(name: str) -> Callable[..., int] | None:
    if sys.platform != "linux":
        return None
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    return found
