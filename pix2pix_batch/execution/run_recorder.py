"""Records the results of a run's inputs in the journal and counts them in the summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pix2pix_batch.errors import OutputError
from pix2pix_batch.execution.guard import Guard
from pix2pix_batch.journal.events import Counted, Ended
from pix2pix_batch.journal.record import DONE, Record
from pix2pix_batch.journal.roll_call import Presence
from pix2pix_batch.journal.shard import Shard
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.reporting.summary import Summary


class RunRecorder:
    """Records a run, from its beginning to its end. ``outdated``: the earlier outputs of inputs
    that are tried again; these outputs stay if the inputs fail.

    ``root``: the directory of the inputs, where they are in one; ``shard``: which part of the job
    the run does; ``drop_rename``: told the name of each input that failed; ``remove_leftovers``:
    told each record, before it is journaled. All methods raise :class:`OutputError`.
    """

    def __init__(
        self,
        journal: Journal,
        summary: Summary,
        root: Path | str | None,
        shard: Shard | None,
        outdated: dict[str, str] | None = None,
        drop_rename: Callable[[str], None] | None = None,
        remove_leftovers: Callable[[Record], None] | None = None,
    ) -> None:
        self.journal, self.summary = journal, summary
        self.begun = False
        self._drop_rename, self._remove_leftovers = drop_rename, remove_leftovers
        self._outdated = {} if outdated is None else outdated
        self._guard = Guard(root, journal.directory)
        self._shard = str(shard) if shard else ""
        counted = journal.input_count
        self._total = counted.of(shard)
        self._counted_before = counted.of(shard) if shard else counted.total
        self._presence = Presence()

    def begin(self, workers: int) -> None:
        """The first chunk is about to be sent."""
        self.begun = True
        self.journal.begin(workers, self._shard)

    def claim(self, *chunks: list[str]) -> None:
        """Outputs of items of these names are about to be written, chunk by chunk."""
        self.journal.claim(*chunks)

    def record(self, records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        """Record the results of a chunk, which came back after ``seconds`` of work on the worker of
        that address. Failures while IN or OUT is gone are not the inputs' own,
        and are not recorded."""
        try:
            self._guard.check(records)
        except OutputError:
            self._write_records([one for one in records if one.status == DONE], seconds, worker)
            raise
        self._write_records(records, seconds, worker)

    def _write_records(self, records: list[Record], seconds: float, worker: str) -> None:
        if self._remove_leftovers is not None:
            for record in records:
                self._remove_leftovers(record)
        records = [self._add_outdated(record) for record in records]
        try:
            self.journal.add(records, seconds, worker)
        finally:
            # Their outputs are there, also where the journal's disk is full.
            self.summary.add(records)
        if self._drop_rename is not None:
            for record in records:
                if record.status != DONE:
                    self._drop_rename(record.name)

    def _add_outdated(self, record: Record) -> Record:
        before = self._outdated.pop(record.name, "")
        if record.status == DONE or not before:
            return record
        return replace(record, outdated=before)

    def sync(self) -> None:
        """Flush what was recorded to the disk."""
        self.journal.sync()

    def count(self, total: int | None, presence: Presence | None = None) -> None:
        """The number of inputs, for ``status``, once it is known, where the journal has another;
        ``presence``: which of those recorded have gone or come back since earlier runs, where all
        have been looked at."""
        before = self._presence
        now = before if presence is None else presence
        if total is None:
            return
        total = now.count_all(total, self._counted_before)
        if total == self._total and now is before:
            return
        # what the journal does not have yet: a scan in the background may have found some before
        gone = (now.gone - before.gone) | (before.back - now.back)
        back = (now.back - before.back) | (before.gone - now.gone)
        if gone or back or total != self._total:
            names = None if presence is None else sorted(gone)
            self.journal.add_event(Counted(total, names, self._shard, sorted(back)))
        self._total, self._presence = total, now

    def end(self) -> None:
        """Close the journal. It has the run's end, if the run began: one that was killed has
        none. What cannot be written any more is the summary's ``fatal``."""
        summary = self.summary
        try:
            if self.begun:
                now = round(time.time(), 3)
                self.journal.add_event(Ended(now, summary.outcome, summary.counts(), self._shard))
            self.journal.sync()
        except OutputError as error:
            summary.fatal = summary.fatal or str(error)
        finally:
            summary.as_before = self.journal.is_draft
            self.journal.close()
