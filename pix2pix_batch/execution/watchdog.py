"""A time limit on what a worker does to one image."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable

TICK = 1.0
"""Seconds between two looks, at most; a tenth of the limit where that is less."""

STATUS = 70
"""What the process exits with (sysexits' EX_SOFTWARE)."""


class Step:
    """Something that is under way while it is entered. ``count``: to how many images at once;
    ``age``: seconds an image, as far as this process was running.

    A class, not a function with a ``yield``: each image has half a dozen.
    """

    __slots__ = ("_under_way", "age", "count", "doing", "name")

    def __init__(self, under_way: dict[int, Step], doing: str, name: str, count: int) -> None:
        self._under_way = under_way
        self.doing, self.name, self.count, self.age = doing, name, count, 0.0

    def __enter__(self) -> None:
        self._under_way[id(self)] = self

    def __exit__(self, *error: object) -> None:
        del self._under_way[id(self)]


class Watchdog:
    """Ends this process when one step takes longer than ``limit`` seconds an image; 0: never.

    Nothing else can end a decoder that hangs in a C library. ``told`` is called before with what
    the step does and to which image. A step that also holds the interpreter's lock, so that no
    thread of Python can look, is ended by a timer of C, and nothing is told.

    Use it as a context manager around the chunk, and call it for each step: ``with
    watchdog("decoding it", name): ...``.
    """

    def __init__(self, limit: float, told: Callable[[str, str], None]) -> None:
        self.limit, self.told = limit, told
        self.tick = min(TICK, limit / 10)
        self._steps: dict[int, Step] = {}
        self._ended = threading.Event()
        self._nowhere = open(os.devnull, "w")  # noqa: SIM115 # where C's timer says what it ended
        self._thread = threading.Thread(target=self._check_limit, daemon=True, name="watchdog")

    def __enter__(self) -> Watchdog:
        if self.limit:
            self._restart_timer()
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self.limit:
            self._thread.join()
            faulthandler.cancel_dump_traceback_later()
        self._nowhere.close()

    def __call__(self, doing: str, name: str, count: int = 1) -> Step:
        return Step(self._steps, doing, name, count)

    def _check_limit(self) -> None:
        while not self._ended.wait(self.tick):
            self._age()
            self._restart_timer()

    def _restart_timer(self) -> None:
        """Wind up C's timer, which runs down where this thread does not get to run."""
        # Later than this thread, which can say what hangs: the timer is for when it cannot run.
        slack = 5 * self.tick
        faulthandler.dump_traceback_later(self.limit + slack, exit=True, file=self._nowhere)

    def _age(self) -> None:
        # By ticks, not by the clock: a process that was stopped for an hour has no slow images.
        # A copy, made in one go under the interpreter's lock: other threads begin and end steps
        # meanwhile.
        for step in list(self._steps.values()):
            step.age += self.tick / step.count
        late = max(self._steps.copy().values(), key=lambda step: step.age, default=None)
        if late is not None and late.age > self.limit:
            self.told(late.doing, late.name)
            # Not sys.exit, which would only end this thread, and at its end wait for the one that
            # hangs.
            os._exit(STATUS)
