"""How fast a job went over time, in little memory whatever its length."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeGuard

FIRST_WIDTH = 0.5
"""Seconds of a bin at first; it doubles when there are too many."""

BINS = 4096

COLUMNS = 120
"""Points of the curve."""

PAUSE = 60.0
"""Seconds at least without any work that are a pause, not slowness."""


@dataclass(frozen=True)
class Curve:
    """``rates``: images a second in columns of ``width`` seconds each; ``pauses``: where, in
    seconds of work, the job had stopped for a while."""

    width: float
    rates: list[float]
    pauses: list[float]


class Throughput:
    """Images over time: each chunk's, spread over the seconds that were worked on it."""

    def __init__(self) -> None:
        self.width = FIRST_WIDTH
        self.images = 0
        self.begun, self.ended = math.inf, -math.inf
        self._bins: dict[int, float] = defaultdict(float)
        self._begins: list[float] = []

    def begin(self, at: object) -> None:
        """A run began: idle time before it is a pause, however short."""
        if _is_time(at):
            self._begins.append(at)

    def add(self, at: object, seconds: object, images: int) -> None:
        """``images`` came back at ``at``, in Unix time, after ``seconds`` of work on them.

        What is no time is passed over: journals are files that anybody may have edited.
        """
        if not _is_time(at):
            return
        start = at - (max(seconds, 0.0) if _is_time(seconds) else 0.0)
        while (at - start) / self.width > BINS / 4:
            self._double_bins()
        self.images += images
        self.begun, self.ended = min(self.begun, start), max(self.ended, at)
        first, last = int(start // self.width), int(at // self.width)
        for index in range(first, last + 1):
            self._bins[index] += images / (last + 1 - first)
        while len(self._bins) > BINS:
            self._double_bins()

    def _double_bins(self) -> None:
        self.width *= 2
        bins, self._bins = self._bins, defaultdict(float)
        for index, images in bins.items():
            self._bins[index // 2] += images

    def _stretches(self) -> list[tuple[int, int]]:
        """First bin and last bin plus one of each time without a pause."""
        pause = max(PAUSE / self.width, 3)
        indices = sorted(self._bins)
        if not indices:
            return []
        begun = sorted(int(at // self.width) for at in self._begins)
        gaps = [
            (a, b)
            for a, b in pairwise(indices)
            if b - a > pause or (b - a > 1 and bisect_right(begun, b) > bisect_right(begun, a))
        ]
        starts = [indices[0], *(b for _, b in gaps)]
        ends = [*(a for a, _ in gaps), indices[-1]]
        return [(a, b + 1) for a, b in zip(starts, ends, strict=True)]

    @property
    def seconds(self) -> float:
        """The time that was worked, without pauses."""
        return self.width * sum(last - first for first, last in self._stretches())

    def curve(self) -> Curve:
        """Pauses left out. Empty where the job was too short to have a course."""
        stretches = self._stretches()
        every = [self._bins.get(i, 0.0) for a, b in stretches for i in range(a, b)]
        step = max(1, math.ceil(len(every) / COLUMNS))
        width = step * self.width
        columns = [every[i : i + step] for i in range(0, len(every), step)]
        rates = [sum(column) / (len(column) * self.width) for column in columns]
        pauses, at = [], 0.0
        for first, last in stretches[:-1]:
            at += (last - first) * self.width
            pauses.append(at)
        return Curve(width, rates, pauses)


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e11
