"""Signals that ask a job to end, raised in this process."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator

import pytest

from pix2pix_batch.execution import interruption
from pix2pix_batch.execution.interruption import interruptible
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.signals import STOP_SIGNALS


@pytest.fixture(autouse=True)
def as_shells_start_programs() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_each_signal_that_ends_programs_lets_what_is_in_flight_finish(number: int) -> None:
    stop, summary = threading.Event(), Summary(model="m")
    before = signal.getsignal(number)
    with interruptible(stop, summary):
        signal.raise_signal(number)
        assert stop.is_set()
        summary.interrupted = True
    assert summary.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once() -> None:
    stop, summary = threading.Event(), Summary(model="m")
    with interruptible(stop, summary):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")
    assert summary.interrupted


def test_what_is_sent_to_a_process_and_its_group_counts_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, summary = threading.Event(), Summary(model="m")
    monkeypatch.setattr(interruption, "AGAIN", math.inf)
    with interruptible(stop, summary):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        monkeypatch.setattr(interruption, "AGAIN", -1.0)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("not reached")
    assert summary.interrupted


def test_signals_that_are_ignored_or_used_otherwise_stay_so() -> None:
    stop, seen = threading.Event(), []
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup has it
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    with interruptible(stop, Summary(model="m")):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGUSR1)
        assert not stop.is_set()
    assert seen == [signal.SIGUSR1]
