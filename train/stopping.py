"""Signals that ask a run to end: a checkpoint first, then one sentence and the usual exit code."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pix2pix_batch.signals import STOP_SIGNALS, handle_signals, list_heeded

SAME_CTRL_C_SECONDS = 1.0
"""An interrupt within this many seconds of the first counts as the same Ctrl-C: ``timeout`` and
``torchrun`` signal a process and then its group."""


class TrainingStopped(KeyboardInterrupt):
    """A run that a signal ended. ``code``: the exit code, 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.name = signal.Signals(number).name
        self.code = 128 + number


class StopRequest:
    """Whether a run was asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.number: int | None = None
        self.at = 0.0
        self.is_deferring = False

    def __call__(self) -> bool:
        return self.number is not None

    def make_exception(self) -> TrainingStopped:
        return TrainingStopped(signal.SIGINT if self.number is None else self.number)

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """Inside the block a signal only records the request, and the caller checks for it;
        outside, it raises :class:`TrainingStopped` at once."""
        self.is_deferring = True
        try:
            yield
        finally:
            self.is_deferring = False

    def handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        is_first = self.number is None
        if is_first:
            self.number, self.at = number, now
        if not self.is_deferring or (
            # Only Ctrl-C: batch systems may send their signals again and again, and the checkpoint
            # must be finished.
            number == signal.SIGINT and now - self.at > SAME_CTRL_C_SECONDS
        ):
            raise TrainingStopped(number)


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Have :data:`STOP_SIGNALS` ask for a checkpoint and an end.

    A second Ctrl-C ends at once; other signals may come as often as they like.
    """
    stop = StopRequest()
    with handle_signals(list_heeded(), stop.handle):
        yield stop


def leave_to_parent() -> None:
    """Ignore interrupts in a process that reads data: the main process answers a signal to the
    whole group."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
