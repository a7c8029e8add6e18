"""How long a run is said to take, against runs on simulated clocks."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.train.pace import TOLD_AFTER, Pace, choose_interval
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.run import advise_faster_run
from pix2pix_batch.train.watch import Progress

USUAL = 0.7
"""Seconds a step where this was written."""


class Run:
    """A run whose steps and pauses take given times, and what is expected after each step."""

    def __init__(
        self, step: float, last: int, every: int, *, pause: float = 0.0, first: int = 0,
        warm_up: float = 0.0, noise: float = 0.0, hiccup: float = 0.0, seed: int = 0,
    ) -> None:  # fmt: skip
        """``pause`` and ``warm_up`` in steps; ``hiccup``: how many steps one of the first takes."""
        self.now, self.first, self.last, self.every = 0.0, first, last, every
        random = np.random.default_rng(seed)
        self.times = step * random.uniform(1 - noise, 1 + noise, last - first)
        self.times[0] += warm_up * step
        if hiccup:
            self.times[2 + int(random.integers(8))] += hiccup * step
        self.pause = pause * step

    def pauses(self, step: int) -> bool:
        return step % self.every == 0 or step == self.last

    def follow(self, pause_steps: float = 0.0) -> Iterator[tuple[Pace, float]]:
        """Each step's expectation, and what is left in truth."""
        pace = Pace(self.first, self.last, self.every, pause_steps, lambda: self.now)
        end = sum(self.times) + self.pause * sum(
            map(self.pauses, range(self.first + 1, self.last + 1))
        )
        for step, taken in enumerate(self.times, self.first + 1):
            self.now += taken
            pace.end_step()
            yield pace, end - self.now
            if self.pauses(step):
                self.now += self.pause
                pace.end_pause()


speeds = st.floats(-3, 3).map(lambda power: USUAL * 10**power)


@settings(max_examples=40, deadline=None)
@given(
    step=speeds,
    last=st.integers(30, 600),
    every=st.integers(5, 200),
    pause=st.floats(0, 20),
    first=st.sampled_from([0, 0, 17]),
    warm_up=st.floats(0, 50),
    noise=st.floats(0, 0.3),
    hiccup=st.sampled_from([0.0, 0.0, 8.0]),
    seed=st.integers(0, 99),
)
def test_after_ten_steps_the_time_left_is_known_within_a_fifth(
    step: float, last: int, every: int, pause: float, first: int, warm_up: float, noise: float,
    hiccup: float, seed: int,
) -> None:  # fmt: skip
    """From a thousandth to a thousand times this machine's speed; also all the time later."""
    run = Run(
        step, last, every, pause=pause, first=first, warm_up=warm_up, noise=noise, hiccup=hiccup,
        seed=seed,
    )  # fmt: skip
    for pace, truth in run.follow(pause_steps=pause):
        if pace.count >= TOLD_AFTER and pace.count % 3 == 1 and pace.last - pace.step > 10:
            assert pace.left() == pytest.approx(truth, rel=0.2)


def test_pauses_are_learnt() -> None:
    """Where a validation takes as long as all the steps between, it is foreseen after the first."""
    run = Run(1.0, 1000, 50, pause=50)
    for pace, truth in run.follow(pause_steps=1):
        if pace.step > 50:
            assert pace.left() == pytest.approx(truth, rel=0.01, abs=1e-6)


def test_a_machine_that_becomes_slower_is_believed() -> None:
    run = Run(1.0, 2000, 500)
    run.times[1000:] *= 3
    for pace, truth in run.follow():
        if pace.step == 1300:
            assert pace.left() == pytest.approx(truth, rel=0.01)


def test_nothing_is_known_before_the_first_step_nor_left_after_the_last() -> None:
    assert Pace(3, 9, 2).left() is None
    *_, (pace, _) = Run(1.0, 21, 10, pause=3).follow()
    assert pace.left() == 0 and len(pace.pauses) == 3


@pytest.mark.parametrize(
    ("last", "epoch", "validation", "every"),
    [
        (28, 28, 0.9, 3),  # ten validations, the last of them at the end
        (1, 1, 0.1, 1),
        (28, 28, 14.3, 15),  # of 100 pairs, which takes as long as 14.3 steps
        (20_000, 400, 14.3, 500),
        (80_000, 800, 14.3, 800),
        (3_000, 1_500, 14.3, 300),
    ],
)
def test_how_often_it_is_validated(last: int, epoch: int, validation: float, every: int) -> None:
    assert choose_interval(last, epoch, validation) == every


def told(step: float, last: int, advice: str = "Take a GPU.") -> str:
    stream = io.StringIO()
    progress = Progress(stream, advice)
    progress.start(0, last)
    for pace, _ in Run(step, last, 10**9).follow():
        progress.step(pace.step, {"d": 0.5})
        progress.expect(pace)
        if pace.step == 20:
            break
    progress.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("step", "last", "text"),
    [
        (1.0, 10_010, "about 2 h 46 min left (1 s a step)\n"),
        (0.001, 10_010, "about 10 s left (1000 steps/s)\n"),
        (2.5, 34_570, "about 24 h 0 min left (2.5 s a step)\n"),
        (1.0, 5, ""),
    ],
)
def test_after_ten_steps_it_is_told_once(step: float, last: int, text: str) -> None:
    assert told(step, last) == text


def test_a_run_of_days_is_warned_of_with_what_to_do() -> None:
    assert told(10.0, 80_010).splitlines() == [
        "about 9 days 6 h left (10 s a step)",
        "note: this takes long. Take a GPU.",
    ]


def test_what_to_do_fits_the_recipe() -> None:
    default = advise_faster_run(Recipe(name="r"), "cpu")
    for part in ("--device cuda", "ngf=32", "ndf=32", "batch_size=4", "--epochs 100", "Ctrl-C"):
        assert part in default
    small = advise_faster_run(Recipe(name="r", ngf=32, batch_size=8, epochs=1), "cuda")
    assert "ngf" not in small and "batch_size" not in small and "epochs" not in small
    assert small.startswith("A run can be stopped")
