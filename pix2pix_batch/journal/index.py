"""A flat map from very many names to a small state each: 16 bytes a name."""

from __future__ import annotations

from array import array
from bisect import bisect_left

import numpy as np

from pix2pix_batch.journal.record import STATUSES

BUCKETS = 256
"""Parts by which the map is sorted and merged, so that this takes little memory besides."""

PENDING = 1 << 19
"""Entries that are collected before they are merged into the map."""

OURS, STATUS, DETAIL = 0b1, 0b1110, 4
"""A state is 64 bits: whether the job may have written the name's output, its status' place in
``STATUSES``, and above these a detail of 60 bits, such as a hash of the stamp."""

DETAILS = (1 << (64 - DETAIL)) - 1
CODES = {status: place << 1 for place, status in enumerate(STATUSES)}


class Index:
    """The last state of each name, by a 64-bit hash of it.

    Two of n names share a hash with a probability of n² / 2⁶⁵: three in a million for ten million
    names. The hash is Python's own, keyed anew in each process, so that nobody can choose names
    that meet.
    """

    def __init__(self) -> None:
        self._keys = [np.empty(0, np.int64) for _ in range(BUCKETS)]
        self._states = [np.empty(0, np.uint64) for _ in range(BUCKETS)]
        self._new_keys, self._new_states = array("q"), array("Q")

    def claim(self, name: str) -> None:
        """The output of ``name`` may be the job's from now on; its status stays."""
        self._add(name, OURS)

    def update(self, name: str, status: str, detail: int) -> None:
        """The new status of ``name``; what is done is the job's. Unknown ones are left out."""
        if code := CODES.get(status):
            ours = OURS if status == "done" else 0
            self._add(name, (detail & DETAILS) << DETAIL | code | ours)

    def _add(self, name: str, state: int) -> None:
        self._new_keys.append(hash(name))
        self._new_states.append(state)
        # Merging rewrites the map, so it is done once for many entries.
        if len(self._new_keys) >= PENDING:
            self._merge()

    def get(self, name: str) -> int:
        """The state of ``name``; 0 where nothing is known of it."""
        bucket, place = self.find(name)
        return 0 if place is None else self._states[bucket].data[place]

    def find(self, name: str) -> tuple[int, int | None]:
        """The part of the map that ``name`` belongs to, and its place there if it has one."""
        if self._new_keys:
            self._merge()
        key = hash(name)
        bucket = key % BUCKETS
        # A memoryview, whose items are Python's numbers: comparing NumPy's scalars one by one is
        # many times slower.
        keys = self._keys[bucket].data
        place = bisect_left(keys, key)
        return bucket, place if place < len(keys) and keys[place] == key else None

    def states(self) -> list[np.ndarray]:
        """All states, ``uint64``, in some order."""
        if self._new_keys:
            self._merge()
        return self._states

    def count_statuses(self) -> dict[str, int]:
        """How many names have each status."""
        codes = np.zeros(len(CODES), np.int64)
        for part in self.states():
            found = ((part & STATUS) >> 1).astype(np.intp)
            codes += np.bincount(found, minlength=len(CODES))
        return dict(zip(CODES, codes.tolist(), strict=True))

    def __len__(self) -> int:
        return sum(map(len, self.states()))

    @property
    def nbytes(self) -> int:
        """Bytes that the map takes."""
        self.states()
        return sum(part.nbytes for part in (*self._keys, *self._states))

    def _merge(self) -> None:
        keys = np.frombuffer(self._new_keys, np.int64)
        states = np.frombuffer(self._new_states, np.uint64)
        # Stable, so that of several entries of one name the last stays the last.
        order = np.argsort(keys % BUCKETS, kind="stable")
        ends = np.searchsorted(keys[order] % BUCKETS, np.arange(BUCKETS + 1))
        for bucket in range(BUCKETS):
            new = order[ends[bucket] : ends[bucket + 1]]
            if len(new):
                self._keys[bucket], self._states[bucket] = _last_states(
                    np.concatenate([self._keys[bucket], keys[new]]),
                    np.concatenate([self._states[bucket], states[new]]),
                )
        self._new_keys, self._new_states = array("q"), array("Q")


def _last_states(keys: np.ndarray, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each key once, sorted, with its last status and detail; ours if it ever was."""
    # Stable: entries of one key stay in the order of events, of which the last counts.
    order = np.argsort(keys, kind="stable")
    keys, states = keys[order], states[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    ours = np.bitwise_or.reduceat(states & np.uint64(OURS), first)
    # A claim alone has no status and must not hide the one that came before it.
    settled = np.where(states & np.uint64(STATUS), np.arange(len(states)), -1)
    last = np.maximum.reduceat(settled, first)
    kept = np.where(last < 0, np.uint64(0), states[last])
    return keys[first], kept | ours


def decode_status(state: int) -> str:
    return STATUSES[(state & STATUS) >> 1]
