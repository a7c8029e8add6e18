"""Trying again what a network mount refuses for a moment."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

PASSING = frozenset(
    {errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EAGAIN}
)
"""What a server says, or is said of it, while it starts anew or its disks change over."""

WAITS = (0.5, 1.0, 2.0)
"""Seconds before each further try: less than a chunk's work altogether, for all may be refused."""

Result = TypeVar("Result")


def patiently(action: Callable[[], Result], waits: Sequence[float] = WAITS) -> Result:
    """What ``action`` returns. Raises its ``OSError``, one that may pass only after the waits."""
    for wait in waits:
        try:
            return action()
        except OSError as error:
            if error.errno not in PASSING:
                raise
            time.sleep(wait)
    return action()
