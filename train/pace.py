"""How long a run still takes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from math import ceil

WARM_UP = 2
"""First steps that are not counted: memory, kernels and readers are only made ready in them."""

WINDOW = 200
"""Last steps that are counted, so that a machine that has become slower is believed."""

FEW = 64
"""Under so many steps the slowest and the fastest eighth are left out: one hiccup says nothing."""

FORWARD = 1 / 7
"""What an image takes in a validation, as a share of what it takes in a step: the paper's
generator is 12 of 87 GFLOP at 256x256, counting each multiplication and addition of a step."""

TOLD_AFTER = 10
"""Steps after which :meth:`Pace.left` is to be believed."""


LONGEST = 500
"""Steps after which there is a validation, unless an epoch is longer."""


def choose_interval(last: int, epoch: int, validation: float) -> int:
    """Choose how many steps lie between two validations.

    An epoch or :data:`LONGEST`, if that is more; in a run of fewer than ten such, a tenth of it.
    But training takes at least as long as validating does.

    Args:
        last: The run's steps.
        epoch: The steps of an epoch.
        validation: What a validation takes, in steps.
    """
    return max(1, ceil(validation), min(max(epoch, LONGEST), ceil(last / 10)))


class Pace:
    """Seconds left of a run, from its steps and from its pauses for validations and checkpoints.

    ``first``: steps that were done before; ``last``: the run's; ``every``: steps between
    pauses; ``pause_steps``: what a pause takes, in steps, as long as none was seen; ``clock``:
    seconds.
    """

    def __init__(
        self,
        first: int,
        last: int,
        every: int,
        pause_steps: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.step, self.last, self.every = first, last, every
        self.pause_steps, self.clock = pause_steps, clock
        self.pauses: deque[float] = deque(maxlen=8)
        self.times: deque[float] = deque(maxlen=WINDOW)
        self.count = 0
        self.paused = True
        self.mark = clock()

    def end_step(self) -> None:
        """A step has ended; it began when the last step or pause did."""
        seconds = self._since_mark()
        self.step, self.paused = self.step + 1, False
        self.count += 1
        if self.count == WARM_UP + 1:
            self.times.clear()
        self.times.append(seconds)

    def end_pause(self) -> None:
        """A validation or a checkpoint has ended, or both."""
        self.pauses.append(self._since_mark())
        self.paused = True

    def seconds_a_step(self) -> float | None:
        """Seconds of a step, without pauses; ``None`` before the first step."""
        if not self.times:
            return None
        times = sorted(self.times)
        cut = -(-len(times) // 8) if 3 <= len(times) < FEW else 0
        times = times[cut : len(times) - cut]
        return sum(times) / len(times)

    def left(self) -> float | None:
        """Seconds until the last step's checkpoint is written; ``None`` before the first step."""
        each = self.seconds_a_step()
        if each is None:
            return None
        pause = sum(self.pauses) / len(self.pauses) if self.pauses else self.pause_steps * each
        due = self.step % self.every == 0 or self.step == self.last
        done = -(-self.step // self.every) if due else self.step // self.every
        pauses = -(-self.last // self.every) - done + (due and not self.paused)
        return each * (self.last - self.step) + pause * pauses

    def _since_mark(self) -> float:
        before, self.mark = self.mark, self.clock()
        return self.mark - before
