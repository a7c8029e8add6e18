"""A job's progress for people: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.text import duration, format_count

LINE_SECONDS = 10.0
"""How often a line is printed where the output is no terminal."""

WAIT_SECONDS = 60.0
"""The same while it waits for workers."""

RATE_WINDOW = 15.0
"""The rate shown is that of the last this many seconds."""

ARRIVALS = 4
"""Nor of fewer chunks: where a batch takes a minute, nothing comes back within most windows."""


@dataclass(frozen=True)
class Progress:
    """Where a job stands. ``total`` is ``None`` until the inputs are counted; ``waiting``: for how
    many seconds it has waited for a cluster's first workers, while it does."""

    summary: Summary
    total: int | None
    workers: int
    dashboard: str
    seconds: float
    stopping: bool = False
    waiting: float | None = None


class ProgressReporter:
    """Tells ``watch`` where a job stands, as often as it is asked to. ``total``, ``workers`` and
    ``dashboard`` are filled in as they become known; ``seconds``: since the job began."""

    def __init__(
        self, watch: Callable[[Progress], None] | None, summary: Summary, stop: threading.Event
    ) -> None:
        self.watch, self.summary, self.stop = watch, summary, stop
        self.total: int | None = None
        self.workers, self.dashboard = 0, ""
        self._start = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start

    def show(self, waiting: float | None = None) -> None:
        """``waiting``: for workers, so many seconds."""
        if self.watch is not None:
            self.watch(
                Progress(
                    self.summary,
                    self.total,
                    self.workers,
                    self.dashboard,
                    self.seconds,
                    self.stop.is_set(),
                    waiting,
                )
            )


class Display:
    """Call it with :class:`Progress`; use it as a context manager, which says where it ended."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.live = self.stream.isatty()
        self.history: list[tuple[float, int]] = []
        self.printed = 0.0
        self.waited, self.gone = False, False
        self.last: Progress | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        if self.live and (self.last is not None or self.waited):
            self._write("\r\x1b[K")
        elif self.last is not None:
            self._say(" | ".join(format_counts(self.last)))

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.waiting is not None:
            self._show_waiting(progress.waiting, now)
            return
        if self.last is None:
            self._say(("\r\x1b[K" if self.live and self.waited else "") + announce(progress))
            self.printed = now
        asked = progress.stopping and not (self.last and self.last.stopping)
        self.last = progress
        summary = progress.summary
        count = summary.converted + summary.failed
        if [one for _, one in self.history[-2:]] == [count, count]:
            self.history.pop()  # of each count only when it was first seen, and last
        self.history.append((now, count))
        while now - self.history[0][0] > RATE_WINDOW and len(self.history) > 2 * ARRIVALS:
            self.history.pop(0)
        if self.live:
            self._write("\r\x1b[K" + self.line(progress))
        elif asked or (
            now - self.printed >= LINE_SECONDS and summary.converted + summary.failed
        ):  # whoever asks it to stop is told at once
            self.printed = now
            self._say(self.line(progress))

    def _show_waiting(self, seconds: float, now: float) -> None:
        """Once, then now and then for how long."""
        if not self.waited:
            self._say("The cluster has no workers yet: waiting for some (Ctrl-C ends it).")
        elif self.live:
            self._write(f"\r\x1b[Kwaiting for workers, {duration(seconds)}")
        elif now - self.printed >= WAIT_SECONDS:
            self._say(f"waiting for workers, {duration(seconds)}")
        else:
            return
        self.waited, self.printed = True, now

    def _say(self, text: str) -> None:
        self._write(f"{text}\n")

    def _write(self, text: str) -> None:
        """A reader that has gone away (``| head``) or a full disk does not end a job."""
        if self.gone:
            return
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            self.gone = True

    def rate(self) -> float:
        """Images a second lately."""
        (then, before), (now, after) = self.history[0], self.history[-1]
        return (after - before) / (now - then) if now > then else 0.0

    def line(self, progress: Progress) -> str:
        rate, total = self.rate(), progress.total
        at, *others = format_counts(progress)
        parts = [at, f"{rate:.1f} images/s"]
        if total and rate > 0:
            parts.append(f"{duration((total - count_finished(progress.summary)) / rate)} left")
        parts += others
        if progress.stopping:
            parts.append(
                "stopping: finishing what is in flight, not counted yet (Ctrl-C again to drop it)"
            )
        return " | ".join(parts)


def count_finished(summary: Summary) -> int:
    """The inputs of which it is known what became."""
    return summary.converted + summary.failed + summary.skipped + summary.failed_before


def format_counts(progress: Progress) -> list[str]:
    """How far a job is, how much of that was done before, and how much failed."""
    summary, total, now = progress.summary, progress.total, count_finished(progress.summary)
    parts = [
        f"{now:,} of {total:,} ({100 * now // total} %)" if total else format_count(now, "image")
    ]
    if summary.skipped:
        parts.append(f"{summary.skipped:,} done before")
    if summary.failed:
        parts.append(f"{summary.failed:,} failed")
    if summary.failed_before:
        parts.append(f"{summary.failed_before:,} failed before")
    return parts


def announce(progress: Progress) -> str:
    summary = progress.summary
    workers = format_count(progress.workers, "worker")
    text = (
        f"{summary.model} on {summary.device} ({summary.backend}, {summary.precision}), {workers}"
    )
    return f"{text}, dashboard {progress.dashboard}" if progress.dashboard else text
