"""Calls that type checkers must know, and mistakes that they must find: ``mypy`` reads this, and
complains where one of these is none to it."""

from __future__ import annotations

from pathlib import Path

import pix2pix_batch
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.synthesis.result import SynthesisResult


def right(source: Path) -> tuple[Summary, SynthesisResult]:
    return (
        pix2pix_batch.convert(source, out="out", batch_size=8, exclude=("drafts/",), watch=print),
        pix2pix_batch.synthesize(source, "out", variants=2, layout="parquet", quality=None),
    )


def wrong(source: Path) -> None:
    pix2pix_batch.convert(source, "out", models="map2aerial")  # type: ignore[call-arg]
    pix2pix_batch.convert(source, "out", batch_size="8")  # type: ignore[arg-type]
    pix2pix_batch.convert(source)  # type: ignore[call-arg]
    pix2pix_batch.synthesize(source, "out", dry_run=True)  # type: ignore[call-arg]
