"""What ``synthesize`` says to people when it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pix2pix_batch.text import counted, shown

if TYPE_CHECKING:
    from pix2pix_batch.dataset.synthesis import Made

SHOWN_FAILURES = 10


def of_dataset(made: Made, out: str) -> Iterator[str]:
    """The dataset and how it came about, in lines."""
    job = made.job
    for (name, reason), count in list(job.refused.items())[:SHOWN_FAILURES]:
        times = f" ({count:,} variants)" if count > 1 else ""
        yield f"  failed: {shown(name)}{times}: {reason}"
    if (more := len(job.refused) - SHOWN_FAILURES) > 0:
        yield f"  ... and {more:,} more"
    if job.note:
        yield f"note: {job.note}"
    if made.header:
        yield from _dataset(made, out)
    if job.fatal:
        yield f"error: {job.fatal}"
    if job.interrupted:
        yield "Interrupted. Run the same command again (without --overwrite) to go on from here."


def _dataset(made: Made, out: str) -> Iterator[str]:
    header = made.header
    splits = ", ".join(f"{split} {count:,}" for split, count in header["splits"].items())
    which = "holds" if made.before else "made"
    yield (
        f"{shown(out)}: {which} {counted(made.images, 'image')} of "
        f"{counted(header['inputs'], 'input')} ({splits})"
        + (": nothing to do" if made.before else f" in {made.job.seconds:.1f} s")
    )
    for title in ("rejected", "flagged"):
        if header[title]:
            yield f"{title}: {_counts(header[title])}"
    if header["failed"]:
        yield (
            f"{counted(header['failed'], 'input')} failed; the same command tries again what did "
            "not fail for good, and --retry-failed all"
        )
    if (diversity := header["diversity"]) is not None:
        yield f"variants of an input differ by {diversity:.2f} of 255 on average"
    yield f"card: {shown(os.path.join(out, 'README.md'))}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
