"""A job's course over time: nothing gets lost, and no pause counts as work."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.reporting.chart import chart
from pix2pix_batch.reporting.throughput import BINS, COLUMNS, FIRST_WIDTH, Curve, Throughput

chunks = st.lists(
    st.tuples(st.floats(0, 1e8), st.floats(0, 1e4), st.integers(0, 500)), min_size=1, max_size=60
)


def make_throughput(*came: tuple[float, float, int]) -> Throughput:
    pace = Throughput()
    for at, seconds, images in came:
        pace.add(at, seconds, images)
    return pace


@given(chunks)
def test_the_curve_holds_every_image(came: list[tuple[float, float, int]]) -> None:
    pace = make_throughput(*came)
    curve = pace.curve()
    assert len(curve.rates) <= COLUMNS
    total = sum(images for *_, images in came)
    last = math.ceil(pace.seconds / pace.width) % (round(curve.width / pace.width) or 1)
    whole, rest = curve.rates[:-1] if last else curve.rates, curve.rates[-1] if last else 0
    counted = sum(whole) * curve.width + rest * last * pace.width
    assert counted == pytest.approx(total, abs=1e-6 * (total + 1))
    assert pace.images == total


@given(chunks)
def test_it_stays_small(came: list[tuple[float, float, int]]) -> None:
    pace = make_throughput(*came)
    assert len(pace._bins) <= BINS


def test_steady_work_is_a_level_line() -> None:
    """Two workers, 40 images in 2 seconds each: 40 images a second."""
    pace = make_throughput(*((2.0 * n + 2, 2.0, 40) for n in range(100) for _ in range(2)))
    curve = pace.curve()
    assert pace.seconds == pytest.approx(200, abs=2 * pace.width)
    assert curve.pauses == []
    assert curve.rates[1:-1] == pytest.approx([40] * (len(curve.rates) - 2), rel=0.25)


def test_slow_work_is_no_pause() -> None:
    """An image in five minutes."""
    pace = make_throughput(*((300.0 * n, 300.0, 1) for n in range(1, 11)))
    assert pace.curve().pauses == []
    assert pace.seconds == pytest.approx(3000, rel=0.02)


def test_a_pause_is_left_out() -> None:
    first = [(float(n), 1.0, 10) for n in range(1, 101)]
    again = [(1e6 + n, 1.0, 10) for n in range(1, 101)]
    pace = make_throughput(*first, *again)
    assert pace.seconds == pytest.approx(200, abs=4 * pace.width)
    assert pace.curve().pauses == [pytest.approx(100, abs=2 * pace.width)]


def test_time_between_two_runs_is_left_out_however_short() -> None:
    pace = make_throughput((10.0, 10.0, 10), (30.0, 10.0, 10))
    assert pace.seconds == pytest.approx(30, abs=1)
    pace.begin(15.0)
    assert pace.seconds == pytest.approx(20, abs=1.5)
    assert len(pace.curve().pauses) == 1


@pytest.mark.parametrize("at", ["yesterday", None, float("nan"), float("inf"), 1e300, True])
def test_what_is_no_time_is_passed_over(at: object) -> None:
    pace = Throughput()
    pace.begin(at)
    pace.add(at, 1.0, 3)
    pace.add(100.0, at, 3)
    assert pace.images in (3, 6) and pace.seconds < 200


# The chart


@given(
    st.floats(1e-3, 1e6),
    st.lists(st.floats(0, 1e6), max_size=COLUMNS),
    st.lists(st.floats(0, 1), max_size=3),
)
def test_everything_lies_in_the_chart(
    width: float, rates: list[float], pauses: list[float]
) -> None:
    drawn = chart(Curve(width, rates, [at * width * len(rates) for at in pauses]))
    if drawn is None:
        return
    points = drawn.line.removeprefix("M").split("L")
    ys = [float(point.split()[1]) for point in points]
    assert all(0 <= float(point.split()[0]) <= 1000 for point in points)
    assert all(0 <= y <= 100 for y in ys)
    for marks in (drawn.times, drawn.rates):
        assert 2 <= len(marks) <= 8 or marks == drawn.times
        assert all(-1e-6 <= at <= 100 + 1e-6 for at, _ in marks)
        assert len({text for _, text in marks}) == len(marks)
    assert all(0 <= at <= 1001 for at in drawn.pauses)


def test_the_marks_are_round() -> None:
    drawn = chart(Curve(10.0, [0.0, 30.0, 47.0, 47.0, 12.0, 12.0], []))
    assert drawn is not None
    assert [text for _, text in drawn.rates] == ["0", "10", "20", "30", "40", "50"]
    assert [text for _, text in drawn.times] == [
        "0",
        "10 s",
        "20 s",
        "30 s",
        "40 s",
        "50 s",
        "1 min",
    ]
    assert drawn.rates[-1][0] == drawn.times[-1][0] == 100
    assert drawn.line.startswith("M0 100L166.7 100L166.7 40L")


def test_there_is_no_chart_of_a_moment() -> None:
    assert chart(make_throughput((FIRST_WIDTH, FIRST_WIDTH, 9)).curve()) is None
    assert chart(Throughput().curve()) is None
    assert chart(Curve(1.0, [0.0] * 50, [])) is None
