"""A job's result: how many images became what, and the first of those that did not."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pix2pix_batch.distance import DOUBT
from pix2pix_batch.journal.record import DONE, QUARANTINED, Record

FAILURES_KEPT = 1000
"""Failures held in memory for the summary; the journal has all."""

EXAMPLES = 10
"""Outputs named of those that are counted."""

DOUBTS_SHOWN = 3
"""Images named of those that are doubtful, the most distant ones, or not measured."""

FAILURES_PRINTED = 100
"""Failures that ``--json`` prints: what a person or a log can still take in."""


# The fields of the summary's JSON object, and what the terminal shows beside them.
@dataclass
class Summary:
    """A job's result. ``docs/summary.md`` says what each figure counts.

    ``retriable``: how many of the failed are tried again by the next run, for the reason did not
    lie in the input. ``doubtful``: images far from the model's training inputs
    (``docs/distance.md``), the furthest in ``doubts`` with their distance. ``unmeasured``: images
    too small for that to be told, some in ``unmeasured_such``; ``warned``: images that were read
    although something was wrong with them. ``failures`` and ``warnings``: the first, by input; the
    journal has them all. ``renames``: the first inputs and outputs of those renamed; ``others``:
    the first of the files left alone, and ``others_are`` what is wrong with them; ``tars_left``:
    the tars among these, the first in ``tars_left_such``; ``page``: the path of the report;
    ``signal``: the number of the one that interrupted it, where that is known;
    ``outdated``: files in OUT that were the outputs of inputs that now fail, the first in
    ``outdated_such``; ``warned_before``: with ``strict``, outputs of earlier runs whose inputs were
    read with a warning, the first in ``warned_before_such``; ``unread``: images of kinds that are
    not read, ``unread_in_tars`` of them within tars; ``unread_kinds``: which, and what to do;
    ``empty_tars``: tars without an image, the first in ``empty_tars_such``;
    ``as_before``: the run was to overwrite, and ended before it replaced anything.
    """

    # what became of the inputs
    total: int = 0
    tars: int = 0
    planned: int = 0
    converted: int = 0
    skipped: int = 0
    renamed: int = 0
    renames: list[tuple[str, str]] = field(default_factory=list)
    failed: int = 0
    quarantined: int = 0
    failed_before: int = 0
    retriable: int = 0
    failures: list[Record] = field(default_factory=list)
    # what is said of those that were converted
    warned: int = 0
    warnings: list[Record] = field(default_factory=list)
    doubtful: int = 0
    doubts: dict[str, float] = field(default_factory=dict)
    unmeasured: int = 0
    unmeasured_such: list[str] = field(default_factory=list)
    # what is of earlier runs
    as_before: bool = False
    outdated: int = 0
    outdated_such: list[str] = field(default_factory=list)
    warned_before: int = 0
    warned_before_such: list[str] = field(default_factory=list)
    # what was left alone
    ignored: int = 0
    others: list[str] = field(default_factory=list)
    others_are: str = ""
    tars_left: int = 0
    tars_left_such: list[str] = field(default_factory=list)
    litter: int = 0
    litter_such: list[str] = field(default_factory=list)
    excluded: int = 0
    excluded_such: list[str] = field(default_factory=list)
    links: int = 0
    unread: int = 0
    unread_in_tars: int = 0
    unread_kinds: list[str] = field(default_factory=list)
    empty_tars: int = 0
    empty_tars_such: list[str] = field(default_factory=list)
    # the run
    model: str = ""
    device: str = ""
    backend: str = ""
    precision: str = ""
    seconds: float = 0.0
    images_per_second: float = 0.0
    shard: str = ""
    dry_run: bool = False
    interrupted: bool = False
    signal: int = 0
    fatal: str = ""
    note: str = ""
    page: str = ""

    FIGURES = (
        "total", "planned", "converted", "skipped", "failed", "quarantined", "failed_before",
        "outdated", "doubtful", "unmeasured", "warned", "warned_before", "renamed", "ignored",
        "unread", "litter", "excluded", "links", "seconds", "images_per_second", "device",
        "backend", "precision", "model", "outcome", "fatal",
    )  # fmt: skip

    def add(self, records: Iterable[Record]) -> None:
        """Count what became of some inputs."""
        for record in records:
            if record.members is not None:  # a tar: its images count instead
                self.total += record.members - 1
                self.tars += 1
                self.litter += record.litter or 0
                self.excluded += record.excluded or 0
                self.unread_in_tars += record.unread or 0
                if not record.members:
                    self.empty_tars += 1
                    self.empty_tars_such += (
                        [record.name] if len(self.empty_tars_such) < EXAMPLES else []
                    )
                continue
            if record.status == DONE:
                self.converted += 1
                if record.warning:
                    self._warn(record)
                if record.unmeasured:
                    self.unmeasured += 1
                    self.unmeasured_such = sorted({*self.unmeasured_such, record.name})
                    del self.unmeasured_such[DOUBTS_SHOWN:]
                if record.distance is not None and record.distance >= DOUBT:
                    self._doubt(record.name, record.distance)
                continue
            self.failed += 1
            self.add_outdated(record.outdated)
            self.quarantined += record.status == QUARANTINED
            self.retriable += not record.stamp
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append(record)

    def _doubt(self, name: str, distance: float) -> None:
        self.doubtful += 1
        doubts = {**self.doubts, name: distance}
        furthest = sorted(doubts, key=lambda one: (-doubts[one], one))[:DOUBTS_SHOWN]
        self.doubts = {one: doubts[one] for one in furthest}

    def _warn(self, record: Record) -> None:
        self.warned += 1
        if len(self.warnings) < FAILURES_KEPT:
            self.warnings.append(record)

    def add_outdated(self, output: str) -> None:
        """One whose input failed, if there is one: empty where not."""
        if output:
            self.outdated += 1
            self.outdated_such += [output] if len(self.outdated_such) < EXAMPLES else []

    def add_warned_before(self, output: str) -> None:
        """One that was made before, of an input that was read with a warning."""
        self.warned_before += 1
        self.warned_before_such += [output] if len(self.warned_before_such) < EXAMPLES else []

    def remark(self, *texts: str) -> None:
        """Add to the note; empty ones are left out."""
        self.note = "; ".join(filter(None, (self.note, *texts)))

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        failures = [
            {"name": record.name, "reason": record.reason}
            for record in self.failures[:FAILURES_PRINTED]
        ]
        warnings = [
            {"name": record.name, "warning": record.warning}
            for record in self.warnings[:FAILURES_PRINTED]
        ]
        figures = {name: getattr(self, name) for name in self.FIGURES}
        return {**figures, "warnings": warnings, "failures": failures}

    def counts(self) -> dict[str, int]:
        """What became of the inputs."""
        names = ("total", "converted", "skipped", "failed", "failed_before")
        return {name: getattr(self, name) for name in names}

    @property
    def outcome(self) -> str:
        """How a run ended: ``finished``, ``interrupted``, or ``stopped`` where it could not go
        on."""
        if self.interrupted:
            return "interrupted"
        return "stopped" if self.fatal else "finished"

    @property
    def exit_code(self) -> int:
        """0 all done, 3 some failed, 130 interrupted, 143 by SIGTERM. A dry run that ends is
        done."""
        if self.interrupted:
            return 128 + (self.signal or signal.SIGINT)
        wrong = self.failed or self.failed_before or self.fatal
        return 3 if wrong and not self.dry_run else 0
