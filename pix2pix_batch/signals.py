"""Handling signals for as long as a block lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], None] | signal.Handlers

STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""What terminals, ``timeout``, service managers and batch systems send to end a program."""


def list_heeded() -> list[int]:
    """The :data:`STOP_SIGNALS` that would end the program as it is: not those that whoever started
    it has it ignore, as ``nohup`` does with SIGHUP, nor those that a program around this package
    handles otherwise, but for SIGINT and SIGTERM, which mean an end to all."""
    found = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    return [
        number
        for number, handler in found.items()
        if handler == signal.SIG_DFL
        or (number in (signal.SIGINT, signal.SIGTERM) and handler != signal.SIG_IGN)
    ]


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
