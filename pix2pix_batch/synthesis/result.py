"""The result of ``synthesize``: the dataset, and the summary of its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pix2pix_batch.dataset.naming import source_of
from pix2pix_batch.journal.record import COPY, DONE, QUARANTINED, Record
from pix2pix_batch.reporting.summary import FAILURES_PRINTED, Summary
from pix2pix_batch.synthesis.directory import Changes


@dataclass
class ImageSummary(Summary):
    """The summary of a run's images over all its rounds, without the copies of the inputs.

    ``lost``: the last record of each image or copy that failed in this run; ``remarks``: what was
    wrong with each input that was read for all that.
    """

    lost: dict[str, Record] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def add(self, records: Iterable[Record]) -> None:
        for record in records:
            before = self.lost.pop(record.name, None)
            if record.status != DONE:
                self.lost[record.name] = record
            elif record.warning:
                self.remarks.setdefault(source_of(record.name), record.warning)
            if record.name.endswith(COPY):
                continue
            if before is not None:  # an earlier round had tried it
                self.failed -= 1
                self.quarantined -= before.status == QUARANTINED
                self.retriable -= not before.stamp
            super().add([record])

    @property
    def refusals(self) -> Counter[tuple[str, str]]:
        """What failed, by input and reason, with the number of its images; 0 where only the copy
        did."""
        found: Counter[tuple[str, str]] = Counter()
        for record in self.lost.values():
            found[source_of(record.name), record.reason] += not record.name.endswith(COPY)
        return found

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints of the run. ``docs/synthesize.md``."""
        failures = [
            {"name": name, "reason": reason, "variants": count}
            for (name, reason), count in list(self.refusals.items())[:FAILURES_PRINTED]
        ]
        warnings = [
            {"name": name, "warning": said}
            for name, said in list(self.remarks.items())[:FAILURES_PRINTED]
        ]
        return {
            "images_wanted": self.total,
            "images_made": self.converted,
            "images_made_before": self.skipped,
            "images_failed": self.failed,
            "images_failed_before": self.failed_before,
            "images_quarantined": self.quarantined,
            "images_doubtful": self.doubtful,
            "images_unmeasured": self.unmeasured,
            "inputs_warned": len(self.remarks),
            "files_ignored": self.ignored,
            "images_unread": self.unread,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "device": self.device,
            "backend": self.backend,
            "precision": self.precision,
            "model": self.model,
            "warnings": warnings,
            "failures": failures,
        }


@dataclass
class SynthesisResult:
    """A dataset and how it came about.

    ``header``: the manifest's first line, empty where none is laid out; ``job``: the run's
    summary; ``inputs``: how many there are; ``since``: how they differ from those of the dataset
    that was there; ``mended``: what of that one had gone; ``before``: there was nothing to do;
    ``card_stays``: its card had been changed, and was left.
    """

    header: dict[str, Any] = field(default_factory=dict)
    job: ImageSummary = field(default_factory=ImageSummary)
    inputs: int = 0
    since: Changes | None = None
    mended: str = ""
    before: bool = False
    card_stays: bool = False

    @property
    def images(self) -> int:
        return sum(self.header.get("splits", {}).values())

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints. ``docs/synthesize.md`` says what each is."""
        about = {
            key: self.header.get(key)
            for key in ("splits", "rejected", "flagged", "diversity", "inputs_failed")
        }
        since = vars(self.since) if self.since is not None else None
        return {
            "images": self.images,
            **about,
            "inputs": self.inputs,
            "inputs_since": since,
            "nothing_to_do": self.before,
            **self.job.figures(),
        }

    @property
    def exit_code(self) -> int:
        """As of a job; 3 also where an input has failed of which all images are there."""
        return self.job.exit_code or (3 if self.header.get("inputs_failed") else 0)
