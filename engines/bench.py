"""How fast an engine runs on the machine that is here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pix2pix_batch.inference.engine import Engine, Overlapping

WARM_UP = 3.0
"""Seconds before measuring: the GPU's clocks settle."""

SECONDS = 10.0


@dataclass(frozen=True)
class Speed:
    """How fast an engine is, from bytes to bytes.

    Attributes:
        images_per_second: With two batches under way if the engine can do that.
        latency_ms: The median time of one batch.
        batches: How many batches were measured.
    """

    images_per_second: float
    latency_ms: float
    batches: int


def measure(
    engine: Engine,
    images: np.ndarray,
    masks: list[np.ndarray] | None = None,
    *,
    seconds: float = SECONDS,
    warm_up: float = WARM_UP,
) -> Speed:
    """Measure how fast an engine is, from bytes to bytes.

    Args:
        engine: Any engine. If it can have two batches under way, the second half measures it so.
        images: ``(N, S, S, C)``, one batch as the engine takes it.
        masks: Dropout masks, ``bool (N, C, H, W)`` each, for an engine that takes them.
        seconds: How long is measured altogether.
        warm_up: How long the engine runs before that.
    """

    def call() -> None:
        engine(images, masks)

    measure_calls(call, warm_up)
    times = measure_calls(call, seconds / 2)
    latency = 1000 * float(np.median(times))
    if isinstance(engine, Overlapping):
        times = measure_calls(_make_overlapping_call(engine, images, masks), seconds / 2)
        engine.finish()
    else:
        times += measure_calls(call, seconds / 2)
    return Speed(len(times) * engine.batch_size / sum(times), latency, len(times))


def measure_calls(call: Callable[[], None], seconds: float) -> list[float]:
    """Seconds of each call, for so long and three times at least."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def _make_overlapping_call(
    engine: Overlapping, images: np.ndarray, masks: list[np.ndarray] | None
) -> Callable[[], None]:
    """Make a call that begins a batch and ends the one before it; one is under way before and
    after."""
    engine.start(images, masks)

    def call() -> None:
        engine.start(images, masks)
        engine.finish()

    return call
