"""What is measured between two records of a training run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pix2pix_batch.train.metrics import finite


@dataclass(frozen=True)
class StepRecord:
    """What is known each ``every`` steps; a line of ``metrics.jsonl``."""

    step: int
    epoch: float
    losses: dict[str, float]
    lr: float
    images_per_second: float
    data_share: float
    device: str
    precision: str
    validation: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        return self.__dict__ | {
            "losses": dict(self.losses),
            "validation": finite(self.validation),
        }


class Meter:
    """Means of the losses since the last record, and where the time went since it was made."""

    def __init__(self, before: dict[str, Any] | None = None) -> None:
        """``before``: what a stopped run left, as :meth:`state` has it; earlier versions left no
        times."""
        left = before or {}
        self.start = time.monotonic() - left.get("seconds", 0.0)
        self._end: float | None = None
        self.waited: float = left.get("waited", 0.0)
        self.timed: int = left.get("timed", 0)
        self.steps: int = left.get("steps", 0)
        self.sums: dict[str, float] = dict(left.get("sums", {}))

    @contextmanager
    def time_waiting(self) -> Iterator[None]:
        before = time.monotonic()
        yield
        self.waited += time.monotonic() - before

    def add(self, losses: dict[str, float]) -> None:
        """Add a step's losses. Those that an earlier version had not logged, with which the run
        began, count from the next record on."""
        if self.steps == 0:
            self.sums = dict.fromkeys(losses, 0.0)
        self.timed += 1
        self.steps += 1
        self.sums = {n: total + losses[n] for n, total in self.sums.items() if n in losses}

    def means(self) -> dict[str, float]:
        return {name: value / self.steps for name, value in self.sums.items()}

    def stop(self) -> None:
        """What comes now is no step."""
        self._end = time.monotonic()

    def seconds(self) -> float:
        return max((self._end or time.monotonic()) - self.start, 1e-9)

    def state(self, sums: dict[str, float]) -> dict[str, Any]:
        """What a run that is stopped leaves. ``sums``: the mean ones of all processes."""
        times = {"timed": self.timed, "seconds": self.seconds(), "waited": self.waited}
        return {"steps": self.steps, "sums": sums, **times}
