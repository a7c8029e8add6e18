"""What the commands say to people: how a job ended, and what a bundle says of itself."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2pix_batch import bundle
from pix2pix_batch.text import counted, shown

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.summary import Summary

SHOWN_FAILURES = 10
DEEPEST = 4
"""Levels of a bundle's provenance that are indented; what is deeper stands on one line."""


def of_job(summary: Summary, out: Path) -> Iterator[str]:
    """A job's summary, in lines. ``out``: its output directory."""
    journal = shown(out / ".pix2pix-batch" / "journal.jsonl")
    if summary.dry_run:
        yield (
            f"{counted(summary.planned, 'image')} would be converted, "
            f"{summary.skipped:,} are done, {summary.failed:,} would fail"
        )
    else:
        rate = f" ({summary.images_per_second:.1f} images/s)" if summary.converted else ""
        yield (
            f"{summary.converted:,} converted, {summary.skipped:,} skipped (done before), "
            f"{summary.failed:,} failed in {summary.seconds:.1f} s{rate}"
        )
    if summary.note:
        yield f"note: {summary.note}"
    if summary.renamed:
        yield f"{counted(summary.renamed, 'output')} renamed, for the names would clash:"
        names = [f"{shown(name)} -> {shown(output)}" for name, output in summary.renames]
        known = "" if summary.dry_run else f"; the journal has each output: {journal}"
        yield from _first(names, summary.renamed, known)
    if summary.ignored:
        yield f"{counted(summary.ignored, 'file')} left alone, {summary.others_are}:"
        yield from _first(map(shown, summary.others), summary.ignored)
    if summary.links:
        links = counted(summary.links, "link")
        yield f"{links} to directories not followed (see --follow-links)"
    yield from _failures(summary, journal)
    if summary.fatal:
        yield f"error: {summary.fatal}"
    if summary.interrupted:
        yield "Interrupted. Run the same command again (without --overwrite) to go on from here."


def _failures(summary: Summary, journal: str) -> Iterator[str]:
    fail = "would fail" if summary.dry_run else "failed"
    for record in summary.failures[:SHOWN_FAILURES]:
        yield f"  {fail}: {shown(record.name)}: {record.reason}"
    more = summary.failed - SHOWN_FAILURES
    if summary.failed and not summary.dry_run:
        tail = f"  ... and {more:,} more; all" if more > 0 else "  All"
        yield f"{tail} are in {journal}; run again to retry them."
    elif more > 0:
        yield f"  ... and {more:,} more"


def _first(lines: Iterable[str], count: int, tail: str = "") -> Iterator[str]:
    """The first of ``count`` lines, indented, and how many more there are."""
    shown_lines = [f"  {line}" for line in lines]
    yield from shown_lines
    if (more := count - len(shown_lines)) > 0:
        yield f"  ... and {more:,} more{tail}"


def of_bundle(info: BundleInfo, path: Path, width: int) -> Iterator[str]:
    """A bundle's description as ``key: value`` lines of up to ``width`` columns."""
    a = info.architecture
    values = {
        "name": info.name,
        "file": path,
        "bytes": f"{path.stat().st_size:,}",
        "sha256": bundle.fingerprint(path),
        "domains": f"{info.source_domain or '?'} -> {info.target_domain or '?'}",
        "image size": f"{info.image_size}x{info.image_size}, other sizes: {info.fit}",
        "channels": f"{a.in_channels} -> {a.out_channels}",
        "architecture": f"U-Net, {a.downs} downs, ngf {a.ngf}",
        "norm": a.norm,
        "dropout blocks": len(a.dropout_blocks),
        "provenance": info.provenance,
    }
    yield from _lines(values, width)


def _lines(values: Mapping[str, Any], width: int, depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    for key, value in values.items():
        start = f"{indent}{shown(key)}:"
        if isinstance(value, str):
            text = shown(" ".join(value.split()))  # foreign: no control characters to terminals
            line = f"{start} {text}".rstrip()
            yield from _wrapped(line, width, f"{indent}  ") if " " in text else [line]
        elif isinstance(value, dict) and value and depth < DEEPEST:
            yield start
            yield from _lines(value, width, depth + 1)
        elif isinstance(value, Path):
            yield f"{start} {shown(value)}"
        else:
            yield f"{start} {shown(json.dumps(value, ensure_ascii=False))}"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
