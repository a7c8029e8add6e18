"""A journal's lines are what was written, and what is none of ours is passed over."""

from __future__ import annotations

import json
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.journal import events
from pix2pix_batch.journal.record import STATUSES, Record, to_line

times = st.floats(0, 2e9)
shards = st.sampled_from(["", "1/2", "2/2"])
counts = st.dictionaries(st.sampled_from(["total", "converted", "failed"]), st.integers(0))
written = st.one_of(
    st.builds(events.Claimed, st.lists(st.text(), max_size=3)),
    st.builds(events.Returned, times, times, st.text()),
    st.builds(events.Begun, times, st.none() | st.integers(1), shards),
    st.builds(
        events.Counted,
        st.none() | st.integers(0),
        st.none() | counts | st.lists(st.text(), max_size=3),
        shards,
        st.lists(st.text(), max_size=3),
    ),
    st.builds(
        events.Ended, times, st.sampled_from(["finished", "interrupted", "stopped"]), counts, shards
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
keys = st.sampled_from(
    ["name", "status", "claim", "schema", "at", "seconds", "worker", "begin", "workers", "end",
     "outcome", "total", "gone", "back", "shard", "members", "stamp"]
)  # fmt: skip


@given(written)
def test_a_line_is_read_as_what_was_written(event: events.Event) -> None:
    assert not isinstance(event, events.Header | events.Recorded)
    assert events.parse_event(event.line()) == event


@given(
    st.builds(
        Record,
        name=st.text(),
        status=st.sampled_from(STATUSES[1:]),
        stamp=st.text(),
        reason=st.text(),
        members=st.none() | st.integers(0),
        distance=st.none() | st.floats(0, 100),
    )
)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    event = events.parse_event(record.line())
    if not record.name:  # empty values are not written
        assert event is None
        return
    assert isinstance(event, events.Recorded)
    assert event.record() == record
    assert event.is_tar == (record.members is not None)


@given(st.dictionaries(keys, json_values, max_size=6))
def test_whatever_somebody_has_written_there_is_typed_or_passed_over(
    values: dict[str, object],
) -> None:
    """Each field is of its type, so that nobody who reads events has to look."""
    event = events.event_of(json.loads(to_line(values)))
    if isinstance(event, events.Recorded):
        assert isinstance(event.name, str)
        assert isinstance(event.status, str)
        assert event.get("stamp") == "" or event.get("stamp") == values["stamp"]
    elif isinstance(event, events.Claimed):
        assert all(isinstance(name, str) for name in event.names)
    elif isinstance(event, events.Returned | events.Begun | events.Ended):
        assert isinstance(event.at, int | float)
    for one in fields(event) if event is not None else ():
        if one.name in ("worker", "shard", "outcome"):
            assert isinstance(getattr(event, one.name), str)
        if one.name in ("workers", "total"):
            assert isinstance(getattr(event, one.name), int | None)


def test_what_is_none_of_ours() -> None:
    for line in (
        b'{"name": "a"}\n',
        b'{"claim": 5}\n',
        b'{"at": "now"}\n',
        b"{}\n",
        b'{"begin": 1',
    ):
        assert events.parse_event(line) is None
