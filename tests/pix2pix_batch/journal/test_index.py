"""The flat index: what a dictionary would say, in 16 bytes a name."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.journal import index
from pix2pix_batch.journal.index import DETAIL, OURS, Index, decode_status

STATUSES = ("done", "failed", "quarantined")

EVENTS = st.lists(
    st.tuples(
        st.text(max_size=2),
        st.sampled_from(["claim", "unheard of", *STATUSES]),
        st.integers(0, index.DETAILS),
    ),
    max_size=60,
)


@given(events=EVENTS, pending=st.integers(1, 20))
@settings(max_examples=100)
def test_says_what_a_dictionary_would(events: list[tuple[str, str, int]], pending: int) -> None:
    """However often it is merged: ours once claimed or done, and the last status and detail."""
    before, index.PENDING = index.PENDING, pending
    try:
        found = Index()
        ours: set[str] = set()
        last: dict[str, tuple[str, int]] = {}
        for name, event, detail in events:
            if event == "claim":
                found.claim(name)
                ours.add(name)
                continue
            found.update(name, event, detail)
            if event in STATUSES:
                last[name] = event, detail
            if event == "done":
                ours.add(name)
    finally:
        index.PENDING = before
    for name in {name for name, *_ in events} | {"never met"}:
        state = found.get(name)
        assert bool(state & OURS) == (name in ours)
        assert (decode_status(state), state >> DETAIL) == last.get(name, ("", 0))
    assert len(found) == len(ours | last.keys())


def test_takes_sixteen_bytes_a_name() -> None:
    found = Index()
    for number in range(10_000):
        found.claim(f"{number}.png")
        found.update(f"{number}.png", "done", number)
    assert len(found) == 10_000
    assert found.nbytes == 16 * 10_000
    assert [found.get(f"{number}.png") >> DETAIL for number in range(10_000)] == list(range(10_000))
