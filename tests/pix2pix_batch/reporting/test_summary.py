"""The summary: counts of all, names of the first, an exit code."""

from __future__ import annotations

import json

import pytest

from pix2pix_batch.journal.record import Record
from pix2pix_batch.reporting.summary import Summary


def failed(count: int) -> list[Record]:
    return [Record(f"{number}.png", "failed", "1:1", reason="damaged") for number in range(count)]


def test_counts_what_became_of_the_inputs() -> None:
    summary = Summary(total=4)
    summary.add([Record("a.png", "done", "1:1", "a.png"), *failed(2)])
    summary.add([Record("b.png", "done", "1:1", "b.png")])
    assert (summary.converted, summary.failed) == (2, 2)
    assert [record.name for record in summary.failures] == ["0.png", "1.png"]


def test_figures_hold_the_first_failures_and_the_count_of_all() -> None:
    summary = Summary()
    summary.add(failed(5000))
    figures = json.loads(json.dumps(summary.figures()))
    assert figures["failed"] == 5000
    assert len(figures["failures"]) == 100
    assert figures["failures"][99] == {"name": "99.png", "reason": "damaged"}
    assert len(summary.failures) == 1000


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"converted": 1}, 0),
        ({}, 0),
        ({"converted": 1, "failed": 1}, 3),
        ({"fatal": "the disk is full"}, 3),
        ({"failed": 1, "interrupted": True}, 130),
        ({"interrupted": True, "signal": 2}, 130),
        ({"interrupted": True, "signal": 15}, 143),
        ({"failed": 1, "dry_run": True}, 0),
        ({"interrupted": True, "dry_run": True}, 130),
    ],
)
def test_exit_code(values: dict[str, int], code: int) -> None:
    assert Summary(**values).exit_code == code  # type: ignore[arg-type]
