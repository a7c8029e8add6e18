"""Very many names in little memory: sorted by way of a file, and a set of their hashes."""

from __future__ import annotations

import heapq
import marshal
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

RUN = 1 << 17
"""Names that are sorted in memory at once: some 10 MB. What is more lies in a file."""

BATCH = 1 << 10
"""Names that are read back from the file at once, of each run."""


class Names:
    """Names, added in any order and read sorted, as often as needed.

    Up to :data:`RUN` are held in memory; more lie, sorted in runs of so many, in a temporary
    file without a name, which are merged as they are read.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._last: list[str] = []
        self._starts: list[int] = []
        self._count = 0
        self._file: IO[bytes] | None = None
        for name in names:
            self.add(name)

    def __len__(self) -> int:
        return self._count

    def add(self, name: str) -> None:
        """Not once reading has begun."""
        self._last.append(name)
        self._count += 1
        if len(self._last) >= RUN:
            self._spill()

    def _spill(self) -> None:
        self._last.sort()
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the names)
        self._starts.append(self._file.seek(0, 2))
        for start in range(0, len(self._last), BATCH):
            # Safe to read back: the file has no name, so only this process writes it. marshal, not
            # lines of text, because names may hold any character, newlines too.
            marshal.dump(self._last[start : start + BATCH], self._file)
        marshal.dump([], self._file)
        self._last = []

    def __iter__(self) -> Iterator[str]:
        self._last.sort()
        runs = [self._run(start) for start in self._starts]
        return heapq.merge(*runs, self._last) if runs else iter(self._last)

    def _run(self, place: int) -> Iterator[str]:
        file = self._file
        assert file is not None
        while True:
            # All runs share the file, and the merge moves about in it between them.
            file.seek(place)
            batch = marshal.load(file)
            place = file.tell()
            if not batch:
                return
            yield from batch


class HashSet:
    """A set of texts by their 64-bit hashes, 11 to 21 bytes each; it can only grow.

    Two of n texts are taken for one with a probability of n² / 2⁶⁵. The hash is Python's own,
    keyed anew in each process, so that nobody can choose texts that meet.
    """

    def __init__(self) -> None:
        self._slots = array("q", bytes(8 << 10))
        self._count = 0

    @classmethod
    def of(cls, hashes: np.ndarray) -> HashSet:
        """Of texts with these hashes."""
        seen = cls()
        for key in hashes.tolist():
            seen._insert(key or 1)
        return seen

    def __len__(self) -> int:
        return self._count

    def add(self, text: str) -> bool:
        """Whether it is new."""
        return self._insert(hash(text) or 1)  # 0 is an empty slot

    def _insert(self, key: int) -> bool:
        # Beyond three quarters, chains of taken slots grow long.
        if 4 * self._count >= 3 * len(self._slots):
            self._grow()
        slots, last = self._slots, len(self._slots) - 1
        place = key & last
        # Open addressing in one flat array: a Python set takes several times as much for each
        # entry.
        while found := slots[place]:
            if found == key:
                return False
            place = (place + 1) & last
        slots[place] = key
        self._count += 1
        return True

    def __contains__(self, text: str) -> bool:
        slots, last, key = self._slots, len(self._slots) - 1, hash(text) or 1
        place = key & last
        while found := slots[place]:
            if found == key:
                return True
            place = (place + 1) & last
        return False

    def _grow(self) -> None:
        old, self._slots = self._slots, array("q", bytes(16 * len(self._slots)))
        self._count = 0
        for key in filter(None, old):
            self._insert(key)


def find_repeated(hashes: array[int]) -> HashSet:
    """Those values that stand in ``hashes`` more than once."""
    values = np.sort(np.frombuffer(hashes, np.int64)) if len(hashes) else np.empty(0, np.int64)
    return HashSet.of(np.unique(values[1:][values[1:] == values[:-1]]))


def intersect(hashes: array[int], others: array[int]) -> HashSet:
    """Those values that stand in both."""
    if not (len(hashes) and len(others)):
        return HashSet()
    return HashSet.of(
        np.intersect1d(np.frombuffer(hashes, np.int64), np.frombuffer(others, np.int64))
    )
