"""Handling signals for as long as a block lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handle_signals(numbers: Iterable[int], handler: Handler) -> Iterator[None]:
    """Have ``handler`` called for the signals ``numbers`` until the block ends. In other threads
    than the main one nothing changes: whoever is there handles signals."""
    before: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, other in before.items():
            signal.signal(number, other)
