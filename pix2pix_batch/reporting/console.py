"""What the commands say to people: how a job ended, and what a bundle says of itself."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2pix_batch import bundle
from pix2pix_batch.journal.shard import Shard, journal_of
from pix2pix_batch.text import escape, format_count

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.inputs.choice import LeftAlone
    from pix2pix_batch.reporting.summary import Summary
    from pix2pix_batch.reporting.verification import Verification

SHOWN_FAILURES = 10
NO_IMAGE = "no image suffix"
NO_TAR = "not tars; IN is one of tars, as it has no image at its top"
LITTER = "hidden or left there by systems and programs"
"""Why files are left alone."""

TOLD_OF_ORIGINS = (
    ("recipe", "name"),
    ("data", "training_pairs"),
    ("training", "step"),
    ("training", "init"),
    ("training", "init_provenance"),
)
"""Sections and keys of the provenance of a model that another one's weights come from."""

DEEPEST = 6
"""Levels of a bundle's provenance that are indented; what is deeper stands on one line."""


def format_job(summary: Summary, out: Path) -> Iterator[str]:
    """A job's summary, in lines. ``out``: its output directory."""
    shard = Shard.parse(summary.shard) if summary.shard else None
    journal = escape(journal_of(out, shard))
    if summary.dry_run:
        yield (
            f"{_format_planned(summary)} would be converted, "
            f"{summary.skipped:,} are done, {summary.failed:,} would fail"
            f"{_format_failed_before(summary)}"
        )
    else:
        speed = f"{summary.images_per_second:.1f} images/s, start-up included"
        rate = f" ({speed})" if summary.converted else ""
        yield (
            f"{summary.converted:,} converted, {summary.skipped:,} skipped (done before), "
            f"{summary.failed:,} failed{_format_failed_before(summary)} in {summary.seconds:.1f} "
            f"s{rate}"
        )
    if summary.note:
        yield f"note: {summary.note}"
    if summary.renamed:
        renamed = format_count(summary.renamed, "output")
        yield f"{renamed} renamed, for the names would clash or be too long:"
        names = [f"{escape(name)} -> {escape(output)}" for name, output in summary.renames]
        known = "" if summary.dry_run else f"; the journal has each output: {journal}"
        yield from _format_first(names, summary.renamed, known)
    yield from _format_not_taken(summary)
    yield from format_doubtful(summary)
    yield from format_unmeasured(summary)
    warnings = [(record.name, record.warning) for record in summary.warnings]
    yield from format_warnings(warnings, summary.warned, f"; all are in {journal}")
    yield from _format_warned_before(summary)
    yield from _format_failures(summary, journal)
    yield from format_outdated(
        summary.outdated, summary.outdated_such, "; 'status OUT --verify' tells them all"
    )
    yield from format_end(summary)


def _format_planned(summary: Summary) -> str:
    """What a dry run counts: of tars, the images are known once they are read."""
    if not (tars := summary.tars):
        return format_count(summary.planned, "image")
    images = summary.planned - tars
    counted = format_count(tars, "tar")
    return f"{format_count(images, 'image')} and {counted}" if images else counted


def format_doubtful(summary: Summary) -> Iterator[str]:
    """How many images are far from the model's training inputs."""
    if count := summary.doubtful:
        look, them = ("looks", "it") if count == 1 else ("look", "them")
        seen = f"; the report shows {them}" if summary.page else ""
        yield (
            f"{format_count(count, 'image')} {look} unlike what {summary.model} was "
            f"trained on: farther off than almost all of its training inputs{seen}:"
        )
        yield from _format_first(map(escape, summary.doubts), count)


def format_end(summary: Summary) -> Iterator[str]:
    """Where the report is, and what ended the job before its end."""
    if summary.page:
        yield f"report: {escape(summary.page)}"
    if summary.fatal:
        yield f"error: {summary.fatal}"
    if summary.interrupted:
        yield _format_interruption(summary)


def format_warnings(found: Iterable[tuple[str, str]], count: int, rest: str = "") -> Iterator[str]:
    """Images, by name, that were read although something was wrong with them; the first of them,
    and of how many. ``rest``: where the others stand."""
    if not count:
        return
    were = "image was" if count == 1 else "images were"
    yield f"{count:,} {were} read with a warning (--strict refuses such):"
    lines = [f"{escape(name)}: {escape(said)}" for name, said in islice(found, SHOWN_FAILURES)]
    yield from _format_first(lines, count, rest)


def _format_warned_before(summary: Summary) -> Iterator[str]:
    """With --strict: what earlier runs without it have made."""
    if count := summary.warned_before:
        yield (
            f"{format_count(count, 'output')} made by earlier runs, of images read with a warning, "
            "which --strict would refuse; remove them and run again to have them refused:"
        )
        yield from _format_first(
            map(escape, summary.warned_before_such), count, "; the journal has the warnings"
        )


def format_outdated(count: int, such: Iterable[str], rest: str = "") -> Iterator[str]:
    """Files in OUT whose inputs have failed since they were made; the first of them. ``rest``:
    where the others stand."""
    if count:
        were = "output is" if count == 1 else "outputs are"
        yield (
            f"{count:,} {were} outdated: made before, of an input that now fails. Nothing is "
            "removed; mend the input and run again, or remove:"
        )
        yield from _format_first(map(escape, such), count, rest)


def _format_not_taken(summary: Summary) -> Iterator[str]:
    """What lies in the input and is none."""
    others = summary.ignored - summary.tars_left
    yield from _format_others(others, summary.others_are, summary.others)
    give = "give tars as IN ('IN/*.tar') to have what they hold"
    yield from _format_tars(summary.tars_left, summary.tars_left_such, give)
    yield from format_unread(summary.unread, summary.unread_kinds)
    if count := summary.empty_tars:
        hold = "holds" if count == 1 else "hold"
        tars = format_count(count, "tar")
        yield f"{tars} {hold} no image that is read; what else is there goes along:"
        yield from _format_first(map(escape, summary.empty_tars_such), count)
    yield from _format_ignored(summary.litter, f"{LITTER} (see --include)", summary.litter_such)
    yield from _format_ignored(summary.excluded, "as --exclude asks", summary.excluded_such)
    if summary.links:
        links = format_count(summary.links, "link")
        yield f"{links} to directories not followed (see --follow-links)"


def format_left_alone(left: LeftAlone) -> Iterator[str]:
    """What lies in a directory and is left alone."""
    yield from _format_others(left.other.count, NO_IMAGE, left.other.first)
    yield from _format_tars(left.tar.count, left.tar.first, "unpack them")
    yield from format_unread(left.unread.count, left.unread.lines())
    yield from _format_ignored(left.litter.count, LITTER, left.litter.first)


def _format_others(count: int, what: str, such: Iterable[str]) -> Iterator[str]:
    if count:
        yield f"{format_count(count, 'file')} left alone, {what}:"
        yield from _format_first(map(escape, such), count)


def _format_tars(count: int, such: Iterable[str], remedy: str) -> Iterator[str]:
    if count:
        yield f"{format_count(count, 'tar')} left alone; {remedy}:"
        yield from _format_first(map(escape, such), count)


def format_unmeasured(summary: Summary) -> Iterator[str]:
    """Images of which is not known whether the model was trained on such."""
    if count := summary.unmeasured:
        were = "was" if count == 1 else "were"
        yield (
            f"{format_count(count, 'image')} {were} not measured (too small): how far from "
            "the training inputs is not known:"
        )
        yield from _format_first(map(escape, summary.unmeasured_such), count)


def format_unread(count: int, kinds: Iterable[str]) -> Iterator[str]:
    """Images that are no inputs, for their ``kinds`` are not read."""
    if count:
        yield f"{format_count(count, 'image')} left alone, of kinds that are not read here:"
        yield from (f"  {line}" for line in kinds)


def _format_ignored(count: int, why: str, such: list[str]) -> Iterator[str]:
    """``such``: the first of them; none is known of those in tars."""
    if count:
        what = format_count(count, "file or directory", "files and directories")
        yield f"{what} left alone, {why}" + (":" if such else "")
        if such:
            yield from _format_first(map(escape, such), count)


def _format_interruption(summary: Summary) -> str:
    """What to do after it."""
    if summary.as_before:
        return (
            "Interrupted before anything was replaced. Run the same command again, with "
            "--overwrite, to begin anew."
        )
    return "Interrupted. Run the same command again (without --overwrite) to go on from here."


def _format_failed_before(summary: Summary) -> str:
    return f", {summary.failed_before:,} failed before" if summary.failed_before else ""


def _format_failures(summary: Summary, journal: str) -> Iterator[str]:
    fail = "would fail" if summary.dry_run else "failed"
    for record in summary.failures[:SHOWN_FAILURES]:
        yield f"  {fail}: {escape(record.name)}: {record.reason}"
    more = summary.failed - SHOWN_FAILURES
    if summary.failed and not summary.dry_run:
        tail = f"  ... and {more:,} more; all" if more > 0 else "  All"
        yield f"{tail} are in {journal}. {_advise_retry(summary)}"
    elif more > 0:
        yield f"  ... and {more:,} more"
    if summary.failed_before:
        yield (
            f"{format_count(summary.failed_before, 'input')} failed before and did not change "
            "since: not tried again (see --retry-failed; 'pix2pix-batch status OUT' lists them)"
        )


def _advise_retry(summary: Summary) -> str:
    """What the next run does about the failures."""
    if summary.retriable == summary.failed:
        return "Run again to retry them."
    if not summary.retriable:
        return "The next run leaves them alone while they do not change (see --retry-failed)."
    return (
        f"The next run retries {summary.retriable:,} of them, for the reason did not lie in the "
        "image; --retry-failed retries all."
    )


def format_verification(found: Verification, dataset: bool = False) -> Iterator[str]:
    """What checking the outputs found, in lines. ``dataset``: they are a dataset's files, also
    copies of inputs, its manifest and its card."""
    nouns = ("file of the dataset", "files of the dataset") if dataset else ("output",)
    yield f"{format_count(found.checked, *nouns)} checked, {found.wrong:,} wrong"
    yield from format_outdated(found.outdated, found.outdated_such[:SHOWN_FAILURES], "; --json")
    for kind, examples in found.examples.items():
        yield f"{kind}: {found.counts[kind]:,}"
        names = [f"{escape(output)}: {escape(why)}" for output, why in examples[:SHOWN_FAILURES]]
        yield from _format_first(names, found.counts[kind], "; the journal has all")
    if found.wrong:
        yield (
            "The next run of the same command makes those again whose inputs are there, and only "
            "these (no --overwrite needed)."
        )


def _format_first(lines: Iterable[str], count: int, tail: str = "") -> Iterator[str]:
    """The first of ``count`` lines, indented, and how many more there are."""
    shown_lines = [f"  {line}" for line in lines]
    yield from shown_lines
    if (more := count - len(shown_lines)) > 0:
        yield f"  ... and {more:,} more{tail}"


def format_bundle(info: BundleInfo, path: Path, width: int) -> Iterator[str]:
    """A bundle's description as ``key: value`` lines of up to ``width`` columns; of the models that
    its weights come from only what tells them apart."""
    a = info.architecture
    values = {
        "name": info.name,
        "file": path,
        "bytes": f"{path.stat().st_size:,}",
        "sha256": bundle.fingerprint(path),
        "domains": f"{info.source_domain or '?'} -> {info.target_domain or '?'}",
        "image size": f"{info.image_size}x{info.image_size}, other sizes: {info.fit}",
        "channels": f"{a.in_channels} -> {a.out_channels}",
        **({} if info.labels is None else {"labels": info.labels.summary}),
        **({} if info.input_range is None else {"inputs": info.input_range.describe()}),
        **({} if info.output_range is None else {"outputs": info.output_range.describe()}),
        "architecture": a.summary,
        "norm": a.norm,
        "dropout blocks": len(a.dropout_blocks),
        "provenance": _cut_origins(info.provenance),
    }
    yield from _format_values(values, width)


def _cut_origins(provenance: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """A provenance in which those of the models that it comes from are in short."""
    cut = dict(provenance)
    training, between = cut.get("training"), cut.get("interpolated")
    if isinstance(training, dict):
        cut["training"] = _cut_origin(training, "init_provenance", depth)
    if isinstance(between, dict) and _is_objects(between.get("of")):
        of = [_cut_origin(one, "provenance", depth) for one in between["of"]]
        cut["interpolated"] = between | {"of": of}
    return cut


def _cut_origin(holder: dict[str, Any], key: str, depth: int) -> dict[str, Any]:
    """``holder`` with a few lines in place of the provenance that it has at ``key``."""
    origin = holder.get(key)
    if not isinstance(origin, dict) or depth == DEEPEST:
        return {name: value for name, value in holder.items() if name != key}
    cut = _cut_origins(origin, depth + 1)
    short = {name: value for name, value in cut.items() if not isinstance(value, dict | list)}
    for section, name in TOLD_OF_ORIGINS:
        if isinstance(cut.get(section), dict) and name in cut[section]:
            short["recipe" if name == "name" else name] = cut[section][name]
    if "interpolated" in cut:
        short["interpolated"] = cut["interpolated"]
    return holder | {key: short}


def _format_values(values: Mapping[str, Any], width: int, depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    for key, value in values.items():
        start = f"{indent}{escape(key)}:"
        if isinstance(value, str):
            text = escape(" ".join(value.split()))  # foreign: no control characters to terminals
            line = f"{start} {text}".rstrip()
            yield from _wrap(line, width, f"{indent}  ") if " " in text else [line]
        elif isinstance(value, dict) and value and depth < DEEPEST:
            yield start
            yield from _format_values(value, width, depth + 1)
        elif _is_objects(value) and depth < DEEPEST:
            for number, item in enumerate(value, 1):
                yield f"{indent}{escape(key)} {number}:"
                yield from _format_values(item, width, depth + 1)
        elif isinstance(value, Path):
            yield f"{start} {escape(value)}"
        else:
            yield f"{start} {escape(json.dumps(value, ensure_ascii=False))}"


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) for i in value)


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
