"""Trying again what a network mount or a store refuses for a moment."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from random import uniform
from typing import TypeVar

TRANSIENT_ERRNOS = frozenset(
    {errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EAGAIN}
)
"""What a server says, or is said of it, while it starts anew or its disks change over."""

WAITS = (0.5, 1.0, 2.0)
"""Seconds before each further try: less than a chunk's work altogether, for all may be refused."""

Result = TypeVar("Result")


def retry(
    action: Callable[[], Result],
    waits: Sequence[float],
    may_pass: Callable[[Exception], bool],
    jitter: float = 0.0,
) -> Result:
    """What ``action`` returns, tried again after each of ``waits``, in seconds, while its error may
    pass. ``jitter``: the part of a wait by which it may be longer or shorter, so that not all
    workers come back at once. Raises what ``action`` does, in the end."""
    for wait in waits:
        try:
            return action()
        except Exception as error:
            if not may_pass(error):
                raise
        time.sleep(wait * uniform(1 - jitter, 1 + jitter))
    return action()


def retry_disk(action: Callable[[], Result], waits: Sequence[float] = WAITS) -> Result:
    """What ``action`` returns. Raises its ``OSError``, one that may pass only after the waits."""
    return retry(
        action, waits, lambda error: isinstance(error, OSError) and error.errno in TRANSIENT_ERRNOS
    )
