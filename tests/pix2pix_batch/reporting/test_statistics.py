"""What the journals say in the end, whatever was tried before and in whatever order."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.journal.events import event_of
from pix2pix_batch.reporting.statistics import (
    DOUBTFUL,
    EXAMPLES,
    GROUPS,
    OTHER,
    SAMPLES,
    Statistics,
)

HEAD = {"schema": 2, "input": "/in"}
REASONS = ["empty", "damaged: 12 bytes missing", "damaged: 345 bytes missing", "gone"]


def statistics(lines: list[dict[str, Any]]) -> Statistics:
    return Statistics(event for event in map(event_of, lines) if event is not None)


def done(name: str, distance: float | None = None) -> dict[str, Any]:
    values = {"name": name, "status": "done", "output": f"{name}.png"}
    return values if distance is None else {**values, "distance": distance}


def failed(name: str, reason: str = "empty", status: str = "failed") -> dict[str, Any]:
    return {"name": name, "status": status, "reason": reason}


def line(name: str, what: int, distance: float | None) -> dict[str, Any]:
    if what < 2:
        return done(name, distance)
    return failed(name, REASONS[what - 2], "quarantined" if what == 5 else "failed")


records = st.lists(
    st.builds(
        line,
        st.integers(0, 30).map("{}.png".format),
        st.integers(0, 5),
        st.none() | st.floats(0, 300),
    ),
    max_size=120,
)


def test_what_is_too_small_to_be_measured_is_counted() -> None:
    small = {**done("a"), "unmeasured": True}
    assert statistics([HEAD, small, done("b", 12.0)]).unmeasured == 1
    tally = statistics([HEAD, small, done("a", 12.0)])
    assert (tally.unmeasured, tally.measured, tally.counts["done"]) == (0, 1, 1)


@given(records)
def test_every_input_counts_once_by_its_last_line(lines: list[dict[str, Any]]) -> None:
    tally = statistics([HEAD, *lines])
    last = {values["name"]: values for values in lines}
    expected = Counter(values["status"] for values in last.values())
    assert +tally.counts == expected
    measured = [values["distance"] for values in last.values() if "distance" in values]
    assert tally.measured == len(measured)
    assert tally.doubts == sum(distance >= 99 for distance in measured)
    assert sorted(values["name"] for values in tally.samples) == sorted(
        name for name, values in last.items() if values["status"] == "done"
    )
    assert all(values == last[values["name"]] for values in tally.samples)
    assert [values["distance"] for values in tally.doubtful] == sorted(
        (distance for distance in measured if distance >= 99), reverse=True
    )
    for group in tally.groups:
        assert len(group.examples) == group.count
        assert all(values == last[values["name"]] for values in group.examples)


@given(st.integers(0, 400), st.randoms(use_true_random=False))
def test_what_is_shown_does_not_depend_on_the_order(count: int, chance: random.Random) -> None:
    lines = [done(f"{n}.png", n % 100 + 0.5) if n % 3 else failed(f"{n}.png") for n in range(count)]
    one = statistics([HEAD, *lines])
    chance.shuffle(lines)
    other = statistics([HEAD, *lines])
    assert one.samples == other.samples
    assert one.doubtful == other.doubtful
    assert one.groups == other.groups


def test_samples_are_spread_over_all_inputs() -> None:
    """Each of ten equal parts of 5,000 names has some of the 48, as chance would have it."""
    tally = statistics([HEAD, *(done(f"{n:05}.png") for n in range(5000))])
    assert len(tally.samples) == SAMPLES
    parts = Counter(int(values["name"][:5]) // 500 for values in tally.samples)
    assert len(parts) >= 8 and max(parts.values()) <= 14


def test_the_furthest_are_shown() -> None:
    lines = [done(f"{n}.png", 99 + n / 1000) for n in range(1000)]
    random.Random(0).shuffle(lines)
    tally = statistics([HEAD, *lines])
    assert [values["name"] for values in tally.doubtful] == [
        f"{999 - n}.png" for n in range(DOUBTFUL)
    ]


def test_reasons_that_differ_in_numbers_and_names_are_one_group() -> None:
    reasons = [
        "damaged: image file is truncated (3 bytes not processed)",
        "damaged: image file is truncated (1,245 bytes not processed)",
        "cannot open 'a.png'",
        "cannot open 'b/c.png'",
        'cannot open "d.png"',
        "empty",
    ]
    tally = statistics([HEAD, *(failed(str(n), reason) for n, reason in enumerate(reasons))])
    assert [(group.count, group.reason) for group in tally.groups] == [
        (3, "cannot open '...'"),
        (2, "damaged: image file is truncated (N bytes not processed)"),
        (1, "empty"),
    ]


def test_too_many_reasons_are_counted_together() -> None:
    words = [f"{a}{b}" for a in "abcdefghijklm" for b in "abcdefghijklm"]
    tally = statistics([HEAD, *(failed(word, word) for word in words)])
    assert len(tally.groups) == GROUPS + 1
    assert (tally.groups[0].count, tally.groups[0].reason) == (len(words) - GROUPS, OTHER)
    assert len(tally.groups[0].examples) == EXAMPLES
    assert tally.counts["failed"] == len(words)


def test_work_is_counted_where_there_was_a_worker() -> None:
    lines = [
        {"begin": 1000.0, "workers": 2},
        failed("missing.png"),
        {"at": 1001.0, "seconds": 0.0, "worker": ""},
        done("a.png"),
        done("b.png"),
        {"at": 1010.0, "seconds": 4.0, "worker": "tcp://1"},
        {"end": 1011.0, "outcome": "finished"},
    ]
    tally = statistics([HEAD, *lines])
    assert tally.pace.images == 2
    assert tally.workers == 2
    assert tally.outcomes == ["finished"]
    assert statistics([HEAD, *lines[:-1]]).outcomes == ["begun"]
    assert statistics([HEAD, *lines, HEAD, *lines[:-1]]).outcomes == ["finished", "begun"]


def test_a_tar_is_no_image() -> None:
    lines = [
        failed("a.tar", "cannot be read"),
        done("a.tar/1.png"),
        done("a.tar/2.png"),
        {"name": "a.tar", "status": "done", "members": 2, "output": "a.tar"},
    ]
    tally = statistics([HEAD, *lines])
    assert +tally.counts == Counter(done=2)
    assert [values["name"] for values in tally.samples if "members" in values] == []
    assert tally.groups == []


def test_a_tar_is_no_image_of_the_rate() -> None:
    lines = [
        done("a.tar/1.png"),
        failed("a.tar/2.png"),
        {"name": "a.tar", "status": "done", "members": 2, "output": "a.tar", "failed": 1},
        {"at": 100.0, "seconds": 2.0, "worker": "one"},
        failed("b.tar", "cannot be read"),
        {"at": 102.0, "seconds": 2.0, "worker": "one"},
    ]
    assert statistics([HEAD, *lines]).pace.images == 3


def test_of_a_dataset_the_copies_of_inputs_are_no_images() -> None:
    lines = [
        done("a.png/source"),
        done("a.png/0"),
        {**done("a.png/1", 12.0), "flags": "flat,saturated"},
        failed("b.png/source"),
        failed("b.png/0"),
    ]
    tally = statistics([{**HEAD, "kind": "synthesize"}, *lines])
    assert +tally.counts == Counter(done=2, failed=1)
    assert {values["name"] for values in tally.samples} == {"a.png/0", "a.png/1"}
    assert (tally.flagged, tally.measured) == (1, 1)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3), st.integers(0, 2)), max_size=200))
def test_of_a_dataset_an_input_that_failed_is_one_example(
    lines: list[tuple[int, int, int]],
) -> None:
    """With the number of its variants that failed for that reason at last."""
    journal = [
        failed(f"{n}.png/{variant}", REASONS[what - 1]) if what else done(f"{n}.png/{variant}")
        for n, variant, what in lines
    ]
    tally = statistics([{**HEAD, "kind": "synthesize"}, *journal])
    last = {values["name"]: values for values in journal}
    expected = Counter(
        (values["name"].partition("/")[0], values["reason"][:7])
        for values in last.values()
        if values["status"] == "failed"
    )
    assert sum(group.count for group in tally.groups) == sum(expected.values())
    found = [
        (values["name"], values["reason"][:7], values["variants"])
        for group in tally.groups
        for values in group.examples
    ]
    assert len(found) == len({one[:2] for one in found})
    assert all(expected[one[:2]] == one[2] for one in found)
    reasons = Counter(reason for _, reason in expected)
    assert Counter(one[1] for one in found) == {
        reason: min(count, EXAMPLES) for reason, count in reasons.items()
    }


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans())))
def test_the_flagged_are_those_that_are_so_now(lines: list[tuple[int, bool, bool]]) -> None:
    journal = [
        {**done(str(n)), "flags": "flat" if odd else ""} if made else failed(str(n))
        for n, made, odd in lines
    ]
    tally = statistics([HEAD, *journal])
    last = {values["name"]: values for values in journal}
    flagged = sorted(name for name, values in last.items() if values.get("flags"))
    assert sorted(values["name"] for values in tally.odd) == flagged
    assert tally.flagged == len(flagged)


def test_what_lies_beyond_the_training_inputs_is_counted_apart() -> None:
    tally = statistics([HEAD, done("a", 99.99), done("b", 100.0), done("c", 730.0)])
    assert tally.distances[99] == 1 and tally.distances[100] == 2
    assert [values["name"] for values in tally.doubtful] == ["c", "b", "a"]


def test_foreign_values_do_no_harm() -> None:
    lines = [
        {"name": 7, "status": None},
        {"name": "a", "status": "done", "distance": "far", "output": 3},
        {"name": "b", "status": "done", "distance": float("nan")},
        {"name": "c", "status": "done", "distance": -4},
        {"name": "\udce9", "status": "failed", "reason": ["x"]},
        {"at": "now", "seconds": {}, "worker": ["x"]},
        {},
    ]
    tally = statistics(lines)
    assert tally.counts["done"] == 3 and tally.measured == 1
