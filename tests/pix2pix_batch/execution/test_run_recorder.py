"""A run's bookkeeping, and what people are told of it when it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pix2pix_batch.errors import OutputError
from pix2pix_batch.execution.run_recorder import RunRecorder
from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.reporting import console
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.synthesis.console import format_dataset
from pix2pix_batch.synthesis.result import ImageSummary, SynthesisResult
from tests.end_to_end.command import small_disk

JOB = {"model": "f00", "fit": "tile"}
DONE = Record("a", "done", "1:1", "a.png")


def ended(out: Path, *, overwrite: bool, begins: bool) -> ImageSummary:
    """A run's summary, interrupted before or after its first chunk was sent."""
    summary = ImageSummary(interrupted=True)
    ledger = RunRecorder(Journal(out, JOB, overwrite=overwrite), summary, None, None)
    if begins:
        ledger.begin(1)
    ledger.end()
    return summary


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("begins", [False, True])
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, there: bool, overwrite: bool, begins: bool
) -> None:
    """Without --overwrite where a journal knows what the run was to do; else with it."""
    if there:
        journal = Journal(tmp_path, JOB)
        journal.add([DONE])
        journal.close()
    summary = ended(tmp_path, overwrite=overwrite, begins=begins)
    lines = (
        list(console.format_job(summary, tmp_path)),
        list(format_dataset(SynthesisResult(job=summary), "out")),
    )
    history = History(tmp_path, JOB)
    for last in (one[-1] for one in lines):
        if "with --overwrite" in last:
            assert last.startswith("Interrupted before anything was replaced.")
            assert overwrite and not history.overwrites
            assert history.status_of("a", "1:1") == "done"
        else:
            assert "(without --overwrite) to go on" in last
            assert history.overwrites == overwrite


def test_a_run_that_begins_later_is_told_of_anew(tmp_path: Path) -> None:
    """As the rounds of a dataset, which have one summary."""
    Journal(tmp_path, JOB).close()
    summary = Summary()
    for overwrite, expected in ((True, True), (False, False)):
        RunRecorder(Journal(tmp_path, JOB, overwrite=overwrite), summary, None, None).end()
        assert summary.as_before == expected


def test_what_is_converted_counts_though_the_journals_disk_is_full(tmp_path: Path) -> None:
    summary = ImageSummary()
    with small_disk(tmp_path, "64k") as disk:
        journal = Journal(disk / "out", JOB)
        recorder = RunRecorder(journal, summary, None, None)
        recorder.begin(1)
        with pytest.raises(OutputError, match="No space left"):
            recorder.record([replace(DONE, name=f"{i:0999}") for i in range(100)], 1.0, "w")
        assert summary.converted == 100
        recorder.end()
    assert "No space left" in summary.fatal
