"""The course of a job as an SVG path and the marks of its axes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pix2pix_batch.reporting.throughput import Curve

SHORTEST = 5
"""Columns that make a course worth drawing."""

WIDTH, HEIGHT = 1000, 100
"""Of the drawing, which is stretched to the page's width."""

STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
"""Seconds between the marks of the time axis; beyond, whole days."""

DAY = 86400

Marks = list[tuple[float, str]]
"""Where, in percent of the axis, and what is written there."""


@dataclass(frozen=True)
class Chart:
    """``line`` and ``area``: SVG paths; ``least``, ``most`` and ``mean``: images a second."""

    line: str
    area: str
    times: Marks
    rates: Marks
    pauses: list[float]
    least: float
    most: float
    mean: float


def chart(curve: Curve) -> Chart | None:
    """``None`` where the job was too short to have a course."""
    rates = curve.rates
    if len(rates) < SHORTEST or not max(rates) > 0:
        return None
    seconds = curve.width * len(rates)
    top, rate_step = _nice(max(rates))
    points = []
    for index, rate in enumerate(rates):
        y = HEIGHT * (1 - rate / top)
        points += [f"{WIDTH * (index + i) / len(rates):.4g} {y:.4g}" for i in (0, 1)]
    line = "M" + "L".join(points)
    step = next((step for step in STEPS if seconds / step <= 6), 0)
    step = step or DAY * math.ceil(seconds / DAY / 6)
    marks = range(0, int(seconds) + 1, step)
    whole = rates[1:-1]  # the first and last columns are not filled
    return Chart(
        line,
        f"{line}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z",
        [(100 * at / seconds, _words(at)) for at in marks],
        [
            (100 * n * rate_step / top, f"{n * rate_step:,g}")
            for n in range(round(top / rate_step) + 1)
        ],
        [WIDTH * at / seconds for at in curve.pauses],
        min(whole),
        max(whole),
        sum(rates) / len(rates),
    )


def _words(seconds: int) -> str:
    """``0``, ``90 s`` as ``1 min 30 s``, ``1 h``, ``2 d 12 h``."""
    parts = []
    for unit, length in (("d", DAY), ("h", 3600), ("min", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        parts += [f"{count} {unit}"] if count else []
    return " ".join(parts) or "0"


def _nice(most: float) -> tuple[float, float]:
    """An axis's end and the step of its marks: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(n * power for n in (1, 2, 5, 10) if n * power * 5 >= most)
    return step * math.ceil(most / step), step
