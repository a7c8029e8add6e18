"""Which of the recorded inputs are there: compares what a run finds with what the journals know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pix2pix_batch.journal.history import History, directories_of
from pix2pix_batch.journal.index import STATUS


@dataclass(frozen=True)
class Presence:
    """What has changed since the counts of earlier runs: the names of recorded inputs that are
    ``gone``, and of those that were gone and are ``back``; how many are ``new``, and how many
    recorded ones are ``unsought``: no part of the run's input, so that nothing is known of them."""

    gone: frozenset[str] = frozenset()
    back: frozenset[str] = frozenset()
    new: int = 0
    unsought: int = 0

    def count_all(self, found: int, before: int | None) -> int | None:
        """How many inputs the job has, where the run has ``found`` so many, and ``before`` is the
        count of earlier runs. ``None`` where that cannot be told: it is not known of a new input
        whether it was in that count."""
        if not self.unsought:
            return found
        if before is None:
            return None
        left = before - len(self.gone)
        least = max(left, found + self.unsought)
        return least if least == left + self.new else None


class RollCall:
    """Told of each input that a run finds (:meth:`add`), it knows which are missing.

    Takes a byte for each name that ``history`` knows, and besides the names that it gives.
    """

    def __init__(self, history: History, seeks: Callable[[str], bool]) -> None:
        """``seeks``: whether a run that does not find an input of this name has looked for it."""
        self._history, self._seeks = history, seeks
        self._found = [bytearray(len(part)) for part in history.index.states()]
        self._back: set[str] = set()
        self._new = 0
        self._tars = set(history.tars)

    def add(self, name: str, *, is_tar: bool = False) -> None:
        """The input ``name`` is there."""
        bucket, place = self._history.index.find(name)
        is_known = False
        if place is not None:
            self._found[bucket][place] = True
            is_known = bool(self._history.index.states()[bucket].data[place] & STATUS)
        if is_gone := self._history.is_gone(name):
            self._back.add(name)
        self._new += is_gone or not is_known
        if is_tar:
            self._tars.add(name)

    def end(self) -> Presence:
        """After all have been told. Reads the journals once more if any may have gone, since the
        index does not hold names. Raises :class:`OutputError`."""
        history, back = self._history, frozenset(self._back)
        if self._count_missing() <= history.count_gone() - len(back):
            return Presence(frozenset(), back, self._new)
        gone, unsought = set[str](), 0
        for name in filter(self._is_missing, history.recorded_names()):
            if self._seeks(name):
                gone.add(name)
            else:
                unsought += 1
                self._settle(name)  # the journals may have more than one record of it
        return Presence(frozenset(gone), back, self._new, unsought)

    def _settle(self, name: str) -> None:
        bucket, place = self._history.index.find(name)
        assert place is not None
        self._found[bucket][place] = True

    def _count_missing(self) -> int:
        """Of all that the index has a status of, members of tars among them."""
        pairs = zip(self._history.index.states(), self._found, strict=True)
        return sum(
            int(np.count_nonzero((states & STATUS != 0) & (np.frombuffer(found, np.uint8) == 0)))
            for states, found in pairs
        )

    def _is_missing(self, name: str) -> bool:
        """Whether it is an input that was known, was not gone, and has not been found."""
        bucket, place = self._history.index.find(name)
        if place is None or self._found[bucket][place] or self._history.is_gone(name):
            return False
        shard = self._history.shard
        return (shard is None or shard.holds(name)) and not self._is_member(name)

    def _is_member(self, name: str) -> bool:
        """Whether it is of a tar, with which it comes and goes."""
        return bool(self._tars) and any(path in self._tars for path in directories_of(name))
