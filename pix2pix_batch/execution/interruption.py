"""Signals that ask a job to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.signals import handle_signals


@contextmanager
def interruptible(stop: threading.Event, summary: Summary) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM sets ``stop``, which lets what is in flight finish; the second
    ends at once. ``summary`` is told. In other threads than the main one nothing changes: whoever
    is there handles signals."""

    def on_signal(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        summary.signal = number
        stop.set()

    try:
        with handle_signals((signal.SIGINT, signal.SIGTERM), on_signal):
            yield
    except KeyboardInterrupt:
        summary.interrupted = True
