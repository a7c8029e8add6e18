"""Very many names: sorted by way of a file, and as a set of hashes."""

from __future__ import annotations

import os
import random
import tracemalloc
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.storage import name_set
from pix2pix_batch.storage.name_set import HashSet, Names, find_repeated, intersect

ANY = st.text(st.characters(exclude_categories=())) | st.binary().map(os.fsdecode)


@given(st.lists(ANY, max_size=60), st.integers(1, 20), st.integers(1, 5))
def test_names_come_back_sorted(given_names: list[str], run: int, batch: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name_set, "RUN", run)
        patch.setattr(name_set, "BATCH", batch)
        kept = Names(given_names)
        assert list(kept) == sorted(given_names)
        assert list(kept) == sorted(given_names)  # again
        assert len(kept) == len(given_names)
        one, other = iter(kept), iter(kept)  # both at once
        for name in sorted(given_names):
            assert next(one) == next(other) == name


@given(st.lists(ANY, max_size=200))
def test_seen_is_a_set(texts: list[str]) -> None:
    seen, known = HashSet(), set[str]()
    for text in texts:
        assert seen.add(text) is (text not in known)
        known.add(text)
        assert text in seen
    assert len(seen) == len(known)
    assert "somewhere else entirely" not in seen


def test_seen_grows() -> None:
    seen = HashSet()
    assert all(seen.add(f"{number}.png") for number in range(20_000))
    assert not any(seen.add(f"{number}.png") for number in range(20_000))
    assert not any(f"{number}.jpg" in seen for number in range(20_000))


@given(st.lists(st.sampled_from("abcdefgh")), st.lists(st.sampled_from("abcdefgh")))
def test_what_is_repeated_and_what_meets(first: list[str], second: list[str]) -> None:
    hashes = array("q", map(hash, first))
    for letter in "abcdefgh":
        assert (letter in find_repeated(hashes)) == (first.count(letter) > 1)
        both = letter in first and letter in second
        assert (letter in intersect(hashes, array("q", map(hash, second)))) == both


def test_memory_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """40,000 names of 24 letters, which as a list take over 2.7 MB; and as a set over 4.8 MB."""
    monkeypatch.setattr(name_set, "RUN", 1 << 13)
    shuffled = random.Random(0).sample(range(40_000), 40_000)
    tracemalloc.start()
    kept = Names(f"some-image-{number:09}.png" for number in shuffled)
    count = sum(1 for _ in kept)
    _, sorting = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tracemalloc.start()
    seen = HashSet()
    for name in kept:
        seen.add(name)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == len(seen) == 40_000
    assert sorting < 1.4e6
    assert size < 40_000 * 22
