"""What becomes of a chunk whose worker died: every image accounted for, and an end to it."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.execution.chunk import (
    CRASHES,
    DEATHS,
    MEMBERS,
    RESENT,
    STRIKES,
    Chunk,
    after_started_death,
    after_unstarted_death,
    split_chunk,
)
from pix2pix_batch.execution.marker import Trace
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record


def item(number: int) -> Item:
    return Item(f"/in/{number}", str(number), f"{number}.png", "png")


def chunk(count: int) -> Chunk:
    return Chunk(tuple(map(item, range(count))))


def done(some: Item) -> Record:
    return Record(some.name, "done", "1:1", some.output)


def worked(given: Chunk, bad: dict[str, str]) -> tuple[list[Record], Trace | None]:
    """What a worker and the marker say of a chunk; ``bad``: the deed of each harmful image."""
    found = [index for index, one in enumerate(given.items) if one.name in bad]
    if not found:
        return [done(one) for one in given.items], None
    if not given.careful:
        return [], Trace()
    index = found[0]
    deed = bad[given.items[index].name]
    return [], Trace(
        [done(one) for one in given.items[:index]],
        index,
        "7:7",
        hung="decoding it" if deed == "hang" else "",
        signal="Segmentation fault" if deed == "crash" else "",
    )


@given(
    count=st.integers(1, 40),
    bad=st.dictionaries(st.integers(0, 39).map(str), st.sampled_from(["kill", "hang", "crash"])),
    random_deaths=st.lists(st.integers(0, 60), max_size=6),
)
def test_the_guilty_are_found_and_the_innocent_converted(
    count: int, bad: dict[str, str], random_deaths: list[int]
) -> None:
    """Also where workers are killed now and then, whatever they are doing."""
    waiting, records, sent = deque([chunk(count)]), [], 0
    while waiting:
        one = waiting.popleft()
        results, trace = worked(one, bad)
        if trace is None and sent in random_deaths:
            results, trace = [], Trace(index=0 if one.careful else None, stamp="7:7")
        sent += 1
        assert sent < 50 * count + 50, "for ever"
        records += results
        if trace is not None:
            outcome = after_started_death(one, trace, 5)
            records += outcome.records
            waiting += outcome.chunks
    assert sorted(record.name for record in records) == sorted(map(str, range(count)))
    struck = {record.name for record in records if record.status != "done"}
    guilty = {name for name in bad if int(name) < count}
    assert guilty <= struck
    assert len(random_deaths) >= STRIKES or struck == guilty
    for record in records:
        if record.status != "done":
            assert (record.status, record.stamp) == ("quarantined", "7:7")
            if record.name in bad:
                assert record.under == "item_timeout=5" * ("took longer" in record.reason)
                assert record.reason == {
                    "hang": "decoding it took longer than 5 s",
                    "kill": f"killed its worker {STRIKES} times",
                    "crash": f"killed its worker {CRASHES} times (Segmentation fault)",
                }.get(bad[record.name]) or len(random_deaths)


@given(
    count=st.integers(1, 60),
    bad=st.dictionaries(st.integers(0, 59), st.sampled_from(["kill", "hang", "crash"])),
    random_deaths=st.lists(st.integers(0, 60), max_size=6),
)
def test_a_tar_is_made_without_its_guilty_images(
    count: int, bad: dict[int, str], random_deaths: list[int]
) -> None:
    tar = replace(item(0), name="0.tar", tar=True)
    waiting, sent = [Chunk((tar,))], 0
    records: list[Record] = []
    while waiting:
        one = waiting.pop()
        known = {record.name for record in one.excluded_records}
        found = [
            number for number in range(count) if number in bad and f"0.tar/{number}" not in known
        ]
        trace = None
        if found or sent in random_deaths:
            trace = Trace()
        if trace and one.careful:
            number = found[0] if found else count - 1
            deed = bad.get(number, "kill")
            trace = Trace(
                index=0,
                stamp="7:7",
                member=f"0.tar/{number}",
                hung="decoding it" if deed == "hang" else "",
                signal="Segmentation fault" if deed == "crash" else "",
            )
        sent += 1
        assert sent < 5 * count + 50, "for ever"
        if trace is None:
            records += [*one.excluded_records, done(tar)]
            continue
        outcome = after_started_death(one, trace, 5)
        records += outcome.records
        waiting += outcome.chunks
    guilty = {f"0.tar/{number}" for number in bad if number < count}
    if len(guilty) > MEMBERS:
        [record] = records
        assert (record.name, record.status, record.stamp) == ("0.tar", "quarantined", "7:7")
        return
    struck = {record.name for record in records if record.status == "quarantined"}
    assert guilty <= struck
    assert len(random_deaths) >= STRIKES or struck == guilty
    assert [record.name for record in records if record.status == "done"] == ["0.tar"]


def test_a_tar_that_kills_with_none_of_its_images_in_hand_is_quarantined_itself() -> None:
    one = Chunk((replace(item(0), tar=True),), careful=True, strikes=2, suspect_member="0/1.png")
    for _ in range(STRIKES - 1):
        [one] = after_started_death(one, Trace(index=0, stamp="7:7"), 5).chunks
    [record] = after_started_death(one, Trace(index=0, stamp="7:7"), 5).records
    assert (record.name, record.status) == ("0", "quarantined")


@given(count=st.integers(1, 30), guilty=st.sets(st.integers(0, 29)))
def test_without_markers_halves_close_in_on_the_guilty(count: int, guilty: set[int]) -> None:
    waiting, records, sent = deque([chunk(count)]), [], 0
    while waiting:
        one = waiting.popleft()
        sent += 1
        if guilty.isdisjoint(int(some.name) for some in one.items):
            records += map(done, one.items)
            continue
        outcome = split_chunk(one)
        records += outcome.records
        waiting += outcome.chunks
    assert sorted(record.name for record in records) == sorted(map(str, range(count)))
    failed = [record for record in records if record.status == "failed"]
    assert {int(record.name) for record in failed} == {n for n in guilty if n < count}
    assert all(record.stamp == "" for record in failed)  # tried again by the next run
    assert sent <= 2 * count - 1 + (DEATHS - 1) * len(failed)


def test_nothing_is_sent_for_ever() -> None:
    """Where workers die before they begin, or as they begin, with no image to blame."""
    for after, times in (
        (after_unstarted_death, RESENT + 1),
        (lambda one: after_started_death(one, Trace(), 5), DEATHS),
    ):
        waiting, records, sent = [chunk(3)], [], 0
        while waiting:
            sent += 1
            assert sent <= times
            outcome = after(waiting.pop())
            records += outcome.records
            waiting += outcome.chunks
        assert sent == times
        assert [(record.status, record.stamp) for record in records] == [("failed", "")] * 3


def test_waits_grow_and_end() -> None:
    delays, one = [], chunk(1)
    for _ in range(RESENT):
        delays.append(one.delay)
        one = one.retry()
    assert delays[0] == 0 < delays[1]
    assert delays == sorted(delays)
    assert delays[-1] == delays[-2] <= 60


def test_a_disk_that_does_not_answer_is_not_the_images_fault() -> None:
    trace = Trace([], 1, "7:7", hung="reading it")
    outcome = after_started_death(Chunk(chunk(3).items, careful=True), trace, 5)
    [record] = outcome.records
    assert (record.name, record.status, record.stamp) == ("1", "failed", "")
    assert "reading it took longer than 5 s" in record.reason


def test_images_of_a_tar_that_was_not_finished_count_once() -> None:
    """Its worker died as it wrote down what it had made: all is told again with the next try."""
    tar = replace(item(0), name="x.tar", tar=True)
    told = [Record(f"x.tar/{number}.png", "done", "1:1") for number in range(2)]
    outcome = after_started_death(Chunk((tar,), careful=True), Trace(told), limit=9)
    assert outcome.records == []
    assert [one.items for one in outcome.chunks] == [(tar,)]
    whole = Record("x.tar", "done", "1:1", "x.tar", members=2)
    assert after_started_death(
        Chunk((tar,), careful=True), Trace([*told, whole]), limit=9
    ).records == [
        *told,
        whole,
    ]
