"""Progress for people: a live line on a terminal; elsewhere a line now and then and at the end."""

from __future__ import annotations

import io

import pytest

from pix2pix_batch.reporting import progress
from pix2pix_batch.reporting.progress import Display, Progress
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.text import duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def follow(stream: io.StringIO, clock: list[float], counts: list[int], total: int | None) -> None:
    """A job that converts ``counts`` images so far, a second apart."""
    summary = Summary(model="tiny", device="cpu", backend="onednn", precision="fp32")
    with Display(stream) as display:
        for count in counts:
            clock[0] += 1
            summary.converted = count
            display(Progress(summary, total, 2, "", clock[0]))


def test_a_pipe_gets_a_line_now_and_then_and_the_last(clock: list[float]) -> None:
    stream = io.StringIO()
    follow(stream, clock, [40 * second for second in range(26)], 1000)
    assert stream.getvalue().splitlines() == [
        "tiny on cpu (onednn, fp32), 2 workers",
        "400 of 1,000 (40 %) | 40.0 images/s | 15 s left",
        "800 of 1,000 (80 %) | 40.0 images/s | 5 s left",
        "1,000 of 1,000 (100 %)",
    ]


def test_the_rate_of_a_slow_engine_is_that_of_several_chunks(clock: list[float]) -> None:
    """Where 8 images come each minute, most windows of a few seconds see none."""
    stream = io.StringIO()
    follow(stream, clock, [8 * (second // 60) for second in range(900)], 1000)
    rates = [line.split(" | ")[1] for line in stream.getvalue().splitlines()[1:-1]]
    assert set(rates[-50:]) <= {"0.1 images/s", "0.2 images/s"}  # 8 a minute are 0.13
    assert all("left" in line for line in stream.getvalue().splitlines()[10:-1])


def test_a_short_job_gets_its_last_line_too(clock: list[float]) -> None:
    stream = io.StringIO()
    follow(stream, clock, [8], None)
    assert stream.getvalue().splitlines()[1:] == ["8 images"]


def test_the_last_line_tells_where_a_job_that_failed_stood(clock: list[float]) -> None:
    stream = io.StringIO()
    summary = Summary(converted=3, skipped=2, failed=1)
    with pytest.raises(KeyboardInterrupt), Display(stream) as display:
        display(Progress(summary, 10, 1, "", 0.0, stopping=True))
        summary.converted = 4
        raise KeyboardInterrupt
    assert stream.getvalue().splitlines()[-1] == "7 of 10 (70 %) | 2 done before | 1 failed"


def test_who_stops_a_job_is_told_at_once_and_once_also_off_a_terminal() -> None:
    stream = io.StringIO()
    summary = Summary()
    with Display(stream) as display:
        for stopping in (False, True, True):
            display(Progress(summary, 10, 1, "", 0.0, stopping=stopping))
    said = [line for line in stream.getvalue().splitlines() if "stopping" in line]
    assert len(said) == 1
    assert said[0].endswith("what is in flight, not counted yet (Ctrl-C again to drop it)")


def test_nothing_is_said_of_a_job_that_never_began() -> None:
    stream = io.StringIO()
    with Display(stream):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_keeps_no_line(clock: list[float]) -> None:
    stream = Terminal()
    follow(stream, clock, [10, 20], 40)
    head, *lines = stream.getvalue().split("\r\x1b[K")
    assert head == "tiny on cpu (onednn, fp32), 2 workers\n"
    assert lines[1:] == ["20 of 40 (50 %) | 10.0 images/s | 2 s left", ""]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (42, "42 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (18720, "5 h 12 min"),
        (170000, "47 h 13 min"),
        (187200, "2 days 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_line_about_waiting_is_cleared_at_the_end(clock: list[float]) -> None:
    stream = Terminal()
    with Display(stream) as display:
        for seconds in (0.0, 7.0):
            display(Progress(Summary(), None, 0, "", seconds, waiting=seconds))
    assert stream.getvalue().endswith("waiting for workers, 7 s\r\x1b[K")
