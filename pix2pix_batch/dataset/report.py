"""What ``synthesize`` says to people when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pix2pix_batch.report import of_interruption, of_unmeasured, of_unread, of_warnings
from pix2pix_batch.text import counted, shown

if TYPE_CHECKING:
    from pix2pix_batch.dataset.made import ImageSummary, Made

SHOWN_FAILURES = 10


def of_dataset(made: Made, out: str) -> Iterator[str]:
    """The dataset and how it came about, in lines."""
    job = made.job
    yield from _failures(job)
    yield from of_warnings(job.remarks.items(), len(job.remarks), "; the report shows more")
    yield from of_unmeasured(job.unmeasured)
    yield from of_unread(job.unread, job.unread_kinds)
    if job.note:
        yield f"note: {job.note}"
    if made.since is not None:
        yield f"inputs since the last time: {made.since}"
    if made.mended:
        yield f"{made.mended}; it was laid out anew"
    if made.header:
        yield from _dataset(made, out)
    elif job.total:
        yield _run(job)
    if job.page:
        yield f"report: {shown(job.page)}"
    if job.fatal:
        yield f"error: {job.fatal}"
    if job.interrupted:
        yield of_interruption(job)


def _failures(job: ImageSummary) -> Iterator[str]:
    refused = list(job.refused.items())
    for (name, reason), count in refused[:SHOWN_FAILURES]:
        times = f" ({count:,} variants)" if count > 1 else ""
        yield f"  failed: {shown(name)}{times}: {reason}"
    if (more := len(refused) - SHOWN_FAILURES) > 0:
        yield f"  ... and {more:,} more"


def _run(job: ImageSummary) -> str:
    """What became of the images; all runs together have made them."""
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (job.converted, "made"),
            (job.skipped, "made before"),
            (job.failed, "failed"),
            (job.failed_before, "failed before"),
        )
        if count
    ]
    rate = f" ({job.images_per_second:.1f} images/s)" if job.converted else ""
    return f"{', '.join(parts) or 'nothing'} in {job.seconds:.1f} s{rate}"


def _dataset(made: Made, out: str) -> Iterator[str]:
    header = made.header
    splits = ", ".join(f"{split} {count:,}" for split, count in header["splits"].items())
    if not made.before:
        yield _run(made.job)
    yield (
        f"{shown(out)}: {counted(made.images, 'image')} of {counted(header['inputs'], 'input')} "
        f"({splits})" + (": nothing to do" if made.before else "")
    )
    for title in ("rejected", "flagged"):
        if header[title]:
            yield f"{title}: {_counts(header[title])}"
    if header["inputs_failed"]:
        yield f"{counted(header['inputs_failed'], 'input')} failed; {_again(made)}"
    if (diversity := header["diversity"]) is not None:
        yield f"variants of an input differ by {diversity:.2f} of 255 on average"
    stays = " (stays as it was changed by hand: its figures may be old)" if made.card_stays else ""
    yield f"card: {shown(os.path.join(out, 'README.md'))}{stays}"


def _again(made: Made) -> str:
    """What the next run does about the failures."""
    if made.job.retriable:
        return "the same command tries again what did not fail for good, --retry-failed all"
    return "the same command leaves what is unchanged alone (see --retry-failed)"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
