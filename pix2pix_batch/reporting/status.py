"""What an OUT's journals tell of its job, also while a run is going. ``pix2pix-batch status``."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import lock, state
from pix2pix_batch.dataset.state import Complete
from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.events import (
    Begun,
    Counted,
    Ended,
    Event,
    Header,
    Recorded,
    Returned,
)
from pix2pix_batch.journal.input_count import InputCount
from pix2pix_batch.journal.reader import (
    is_locked,
    read_events,
    read_first_lines,
    require_readable,
    select_valid,
)
from pix2pix_batch.journal.record import DONE, FAILED, GONE, QUARANTINED
from pix2pix_batch.journal.shard import Shard, lock_of, shards_of
from pix2pix_batch.reporting.statistics import OTHER, Group, Statistics
from pix2pix_batch.storage import files
from pix2pix_batch.text import escape

LATELY = 300.0
"""Seconds: the last rate is over as many."""


@dataclass(frozen=True)
class FailureGroup:
    """Inputs that were not converted for one ``reason``, in which ``N`` is put for numbers and
    quoted names. ``example``: one's name, and ``example_reason`` its own reason."""

    reason: str
    count: int
    example: str
    example_reason: str


# The fields of status's JSON object.
@dataclass(frozen=True)
class Status:
    """Where a job stands. ``docs/status.md`` says what each figure means.

    ``total``: inputs in all; ``None`` where no run has counted them. ``tars``: those that are done,
    whose images the other figures count. ``running``: the runs that are writing now, ``all`` or
    shards. ``warned``: of those done, the ones read with a warning. ``begun`` and ``ended``: of the
    last run, Unix time; ``ended`` is ``None`` where it was killed or goes on. ``rate`` and
    ``lately``: images a second. ``shards``: those that have begun, of a job that was shared out,
    and ``missing`` those that have not. ``dataset``: of one that is finished, what it holds; empty
    of one that is not; ``None`` for what ``convert`` makes.
    """

    job: dict[str, Any]
    running: list[str]
    begun: float | None
    ended: float | None
    outcome: str
    total: int | None
    done: int
    failed: int
    quarantined: int
    retriable: int
    unfinished: int
    tars: int
    rate: float
    lately: float
    seconds: float
    failures: list[FailureGroup] = field(default_factory=list)
    quarantine: list[FailureGroup] = field(default_factory=list)
    warned: int = 0
    shards: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    dataset: dict[str, Any] | None = None

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {**asdict(self), "left": self.left}

    @property
    def left(self) -> int | None:
        """Inputs of which nothing is known yet."""
        known = self.done + self.failed + self.quarantined
        return None if self.total is None else max(0, self.total - known)


def read_status(place: str | os.PathLike[str], journal: str | None = None) -> Status:
    """Read the journals of the OUT ``place``, which a run may be writing. Takes no lock.

    ``journal``: the directory they are in, where OUT is a URL and it was chosen.

    Raises :class:`InputError` where there is no journal, :class:`OutputError` where one cannot
    be read.
    """
    out = files.journal_directory(place, journal)
    if not out.is_dir():
        raise InputError(f"{escape(out)}: no such directory; give the OUT of a job")
    running = [str(shard) for shard in shards_of(out, "lock") if is_locked(lock_of(out, shard))]
    if not running and (is_locked(lock_of(out)) or is_locked(lock.lock_of(out))):
        running = ["all"]
    story = RunStatistics()
    tally = Statistics(story.observe(read_events(out)))
    pace, counts = tally.pace, story.count_present(tally.counts)
    groups = {
        status: [
            _make_group(group)
            for group in tally.groups
            if group.status == status and group.examples and counts[status]
        ]
        for status in (FAILED, QUARANTINED)
    }
    begun, missing = _list_shards(out)
    complete = state.read(out) if tally.is_dataset else None
    known = sum(counts.values())
    total = story.input_count.total
    if missing:
        total = None
    elif tally.has_tars:  # a tar's images are counted as they are made
        total = known if story.outcome == Ended.FINISHED else None
    elif total is not None and total < known:  # counted before some of these were there
        total = None
    return Status(
        job={key: value for key, value in tally.job.items() if key != "schema"},
        running=running,
        begun=story.begun,
        ended=story.ended,
        outcome=story.outcome,
        total=total if complete is None else complete.images["wanted"],
        done=counts[DONE],
        failed=counts[FAILED],
        quarantined=counts[QUARANTINED],
        retriable=min(tally.retriable, counts[FAILED] + counts[QUARANTINED]),
        unfinished=tally.unfinished,
        tars=tally.tars,
        rate=round(pace.images / pace.seconds, 3) if pace.seconds else 0.0,
        lately=round(story.recent_rate(time.time() if running else None), 3),
        seconds=round(pace.seconds, 1),
        failures=groups[FAILED],
        quarantine=groups[QUARANTINED],
        warned=tally.warned,
        shards=begun,
        missing=missing,
        dataset=_describe_dataset(complete) if tally.is_dataset else None,
    )


def _make_group(group: Group) -> FailureGroup:
    first = group.examples[0]
    own = group.reason if group.reason == OTHER else str(first.get("reason", ""))
    return FailureGroup(group.reason, group.count, str(first["name"]), own)


def _list_shards(out: Path) -> tuple[list[str], list[str]]:
    """Those that have a journal, and those of the same number that have none."""
    lines = read_first_lines(out)
    require_readable(lines)
    there = [line.shard for line in select_valid(lines) if line.shard is not None]
    count = max((shard.count for shard in there), default=0)
    every = [Shard(number, count) for number in range(1, count + 1)]
    return list(map(str, there)), [str(shard) for shard in every if shard not in there]


def _describe_dataset(found: Complete | None) -> dict[str, Any]:
    if found is None:
        return {}
    header = found.header
    told = ("inputs", "inputs_failed", "splits", "rejected", "flagged")
    return {
        "layout": found.mark.get("layout"),
        "images": sum(header.get("splits", {}).values()),
        **{key: header.get(key) for key in told},
        "wrong": found.wrong,
    }


class RunStatistics:
    """What the journals' lines say of the job's runs."""

    def __init__(self) -> None:
        self.begun: float | None = None
        self.ended: float | None = None
        self.outcome = ""
        self.input_count = InputCount()
        self._gone: dict[str, int] = {}
        self._recent: deque[tuple[float, int]] = deque()
        self._is_dataset = False

    def observe(self, events: Iterator[Event]) -> Iterator[Event]:
        """The events, noted as they pass."""
        fresh = 0
        for event in events:
            if isinstance(event, Recorded):
                if self._is_dataset and event.is_copy:
                    continue
                if not event.is_tar:  # whose images have records of their own
                    fresh += event.status != GONE
            elif isinstance(event, Returned):
                self._count_returned(event.at, fresh)
                fresh = 0
            elif isinstance(event, Header):
                self._is_dataset |= event.is_dataset
            elif isinstance(event, Begun | Counted | Ended):
                self._note_run(event)
            yield event

    def _count_returned(self, at: float, count: int) -> None:
        self._recent.append((at, count))
        while self._recent[0][0] < at - LATELY:
            self._recent.popleft()

    def _note_run(self, event: Begun | Counted | Ended) -> None:
        if isinstance(event, Begun):
            self.input_count.note(event)
            if event.at >= (self.begun or 0):
                self.begun, self.ended, self.outcome = event.at, None, ""
        elif isinstance(event, Ended):
            if event.at >= (self.ended or self.begun or 0):
                self.ended, self.outcome = event.at, event.outcome
        else:
            self.input_count.note(event)
            if event.gone is not None:
                self._gone = event.gone if isinstance(event.gone, dict) else {}

    def count_present(self, recorded: Mapping[str, int]) -> dict[str, int]:
        """Inputs by their last status, without those that a count of an earlier version did not
        find, of which only the number is known."""
        return {
            status: max(0, recorded.get(status, 0) - int(self._gone.get(status, 0)))
            for status in (DONE, FAILED, QUARANTINED)
        }

    def recent_rate(self, now: float | None) -> float:
        """Images a second in the last minutes before ``now``, or before the last chunk."""
        if not self._recent:
            return 0.0
        last = max(at for at, _ in self._recent)
        end = last if now is None else max(now, last)
        start = max(end - LATELY, self.begun or 0)
        count = sum(count for at, count in self._recent if at > start)
        return count / (end - start) if end > start else 0.0
