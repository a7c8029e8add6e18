"""Signals that ask a job to end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.signals import handle_signals, list_heeded

AGAIN = 1.0
"""Seconds after which another signal than Ctrl-C counts as a second one: ``timeout`` signals a
process and then its group."""


@contextmanager
def interruptible(stop: threading.Event, summary: Summary) -> Iterator[None]:
    """The first Ctrl-C or other signal that ends programs sets ``stop``, which lets what is in
    flight finish; a second ends at once. ``summary`` is told. In other threads than the main one
    nothing changes: whoever is there handles signals."""
    first = 0.0

    def on_signal(number: int, frame: object) -> None:
        nonlocal first
        if not stop.is_set():
            summary.signal, first = number, time.monotonic()
            stop.set()
        elif number == signal.SIGINT or time.monotonic() - first > AGAIN:
            raise KeyboardInterrupt

    try:
        with handle_signals(list_heeded(), on_signal):
            yield
    except KeyboardInterrupt:
        summary.interrupted = True
