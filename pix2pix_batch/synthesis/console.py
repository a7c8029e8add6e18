"""What ``synthesize`` says to people when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pix2pix_batch.reporting.console import (
    format_doubtful,
    format_end,
    format_unmeasured,
    format_unread,
    format_warnings,
)
from pix2pix_batch.text import escape, format_count

if TYPE_CHECKING:
    from pix2pix_batch.synthesis.result import ImageSummary, SynthesisResult

SHOWN_FAILURES = 10


def format_dataset(made: SynthesisResult, out: str) -> Iterator[str]:
    """The dataset and how it came about, in lines."""
    job = made.job
    yield from _format_failures(job)
    yield from format_doubtful(job)
    yield from format_warnings(job.remarks.items(), len(job.remarks), "; the report shows more")
    yield from format_unmeasured(job)
    yield from format_unread(job.unread, job.unread_kinds)
    if job.note:
        yield f"note: {job.note}"
    if made.since is not None:
        yield f"inputs since the last time: {made.since}"
    if made.mended:
        yield f"{made.mended}; it was laid out anew"
    if made.header:
        yield from _format_content(made, out)
    elif job.total:
        yield _format_run(job)
    yield from format_end(job)


def _format_failures(job: ImageSummary) -> Iterator[str]:
    refused = list(job.refusals.items())
    for (name, reason), count in refused[:SHOWN_FAILURES]:
        times = f" ({count:,} variants)" if count > 1 else ""
        yield f"  failed: {escape(name)}{times}: {reason}"
    if (more := len(refused) - SHOWN_FAILURES) > 0:
        yield f"  ... and {more:,} more"


def _format_run(job: ImageSummary) -> str:
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


def _format_content(made: SynthesisResult, out: str) -> Iterator[str]:
    header = made.header
    splits = ", ".join(f"{split} {count:,}" for split, count in header["splits"].items())
    if not made.before:
        yield _format_run(made.job)
    yield (
        f"{escape(out)}: {format_count(made.images, 'image')} of "
        f"{format_count(header['inputs'], 'input')} "
        f"({splits})" + (": nothing to do" if made.before else "")
    )
    for title in ("rejected", "flagged"):
        if header[title]:
            yield f"{title}: {_format_counts(header[title])}"
    if header["inputs_failed"]:
        yield f"{format_count(header['inputs_failed'], 'input')} failed; {_advise_retry(made)}"
    if (diversity := header["diversity"]) is not None:
        yield f"variants of an input differ by {diversity:.2f} of 255 on average"
    stays = " (stays as it was changed by hand: its figures may be old)" if made.card_stays else ""
    yield f"card: {escape(os.path.join(out, 'README.md'))}{stays}"


def _advise_retry(made: SynthesisResult) -> str:
    """What the next run does about the failures."""
    if made.job.retriable:
        return "the same command tries again what did not fail for good, --retry-failed all"
    return "the same command leaves what is unchanged alone (see --retry-failed)"


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
