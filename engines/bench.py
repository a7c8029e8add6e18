"""How fast an engine runs on the GPU that is here."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from pix2pix_batch.engines.runtime import TensorRTEngine

WARM_UP = 3.0
"""Seconds before measuring: the GPU's clocks settle."""

SECONDS = 10.0


@dataclass(frozen=True)
class Speed:
    """``latency_ms``: of one batch, median, from bytes to bytes; ``images_per_second``: with two
    batches under way, bytes to bytes too."""

    images_per_second: float
    latency_ms: float
    batches: int


def measure(
    engine: TensorRTEngine, images: np.ndarray, masks: list[np.ndarray] | None = None
) -> Speed:
    """``images``: one batch, as the engine takes it."""
    end = time.perf_counter() + WARM_UP
    while time.perf_counter() < end:
        engine(images, masks)
    times: list[float] = []
    end = time.perf_counter() + SECONDS / 2
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        engine(images, masks)
        times.append(time.perf_counter() - start)
    batches, start = 0, time.perf_counter()
    engine.start(images, masks)
    while time.perf_counter() - start < SECONDS / 2 or batches < 3:
        engine.start(images, masks)
        engine.finish()
        batches += 1
    engine.finish()
    seconds = time.perf_counter() - start
    return Speed(
        images_per_second=(batches + 1) * engine.batch_size / seconds,
        latency_ms=1000 * float(np.median(times)),
        batches=batches + 1,
    )
