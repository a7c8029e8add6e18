"""What the commands say to people: how a job ended, and what a bundle says of itself."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pix2pix_batch import bundle
from pix2pix_batch.inputs.shard import Shard, journal_of
from pix2pix_batch.text import counted, duration, shown

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.inputs.choice import LeftAlone
    from pix2pix_batch.records.status import Group, Status
    from pix2pix_batch.records.verification import Verification
    from pix2pix_batch.summary import Summary

SHOWN_FAILURES = 10
SHOWN_GROUPS = 10
NO_IMAGE = "no image suffix"
LITTER = "hidden or left there by systems and programs"
"""Why files are left alone."""

ENDS = {
    "finished": "finished",
    "interrupted": "was interrupted",
    "stopped": "could not go on and stopped",
}
"""How a run ended, by its ``outcome``."""

DEEPEST = 6
"""Levels of a bundle's provenance that are indented; what is deeper stands on one line."""


def of_job(summary: Summary, out: Path) -> Iterator[str]:
    """A job's summary, in lines. ``out``: its output directory."""
    shard = Shard.parse(summary.shard) if summary.shard else None
    journal = shown(journal_of(out, shard))
    if summary.dry_run:
        yield (
            f"{counted(summary.planned, 'image')} would be converted, "
            f"{summary.skipped:,} are done, {summary.failed:,} would fail"
            f"{_failed_before(summary)}"
        )
    else:
        speed = f"{summary.images_per_second:.1f} images/s, start-up included"
        rate = f" ({speed})" if summary.converted else ""
        yield (
            f"{summary.converted:,} converted, {summary.skipped:,} skipped (done before), "
            f"{summary.failed:,} failed{_failed_before(summary)} in {summary.seconds:.1f} s{rate}"
        )
    if summary.note:
        yield f"note: {summary.note}"
    if summary.renamed:
        renamed = counted(summary.renamed, "output")
        yield f"{renamed} renamed, for the names would clash or be too long:"
        names = [f"{shown(name)} -> {shown(output)}" for name, output in summary.renames]
        known = "" if summary.dry_run else f"; the journal has each output: {journal}"
        yield from _first(names, summary.renamed, known)
    yield from _not_taken(summary)
    if summary.doubtful:
        look = "looks" if summary.doubtful == 1 else "look"
        seen = "; the report shows them" if summary.page else ""
        yield (
            f"{counted(summary.doubtful, 'image')} {look} unlike what {summary.model} was trained "
            f"on: farther off than 99 of 100 training inputs{seen}"
        )
    yield from of_unmeasured(summary.unmeasured)
    warnings = [(record.name, record.warning) for record in summary.warnings]
    yield from of_warnings(warnings, summary.warned, f"; all are in {journal}")
    yield from _warned_before(summary)
    yield from _failures(summary, journal)
    yield from of_outdated(
        summary.outdated, summary.outdated_such, "; 'status OUT --verify' tells them all"
    )
    if summary.page:
        yield f"report: {shown(summary.page)}"
    if summary.fatal:
        yield f"error: {summary.fatal}"
    if summary.interrupted:
        yield of_interruption(summary)


def of_warnings(found: Iterable[tuple[str, str]], count: int, rest: str = "") -> Iterator[str]:
    """Images, by name, that were read although something was wrong with them; the first of them,
    and of how many. ``rest``: where the others stand."""
    if not count:
        return
    were = "image was" if count == 1 else "images were"
    yield f"{count:,} {were} read with a warning (--strict refuses such):"
    lines = [f"{shown(name)}: {shown(said)}" for name, said in islice(found, SHOWN_FAILURES)]
    yield from _first(lines, count, rest)


def _warned_before(summary: Summary) -> Iterator[str]:
    """With --strict: what earlier runs without it have made."""
    if count := summary.warned_before:
        yield (
            f"{counted(count, 'output')} made by earlier runs, of images read with a warning, "
            "which --strict would refuse; remove them and run again to have them refused:"
        )
        yield from _first(
            map(shown, summary.warned_before_such), count, "; the journal has the warnings"
        )


def of_outdated(count: int, such: Iterable[str], rest: str = "") -> Iterator[str]:
    """Files in OUT whose inputs have failed since they were made; the first of them. ``rest``:
    where the others stand."""
    if count:
        were = "output is" if count == 1 else "outputs are"
        yield (
            f"{count:,} {were} outdated: made before, of an input that now fails. Nothing is "
            "removed; mend the input and run again, or remove:"
        )
        yield from _first(map(shown, such), count, rest)


def _not_taken(summary: Summary) -> Iterator[str]:
    """What lies in the input and is none."""
    yield from _others(summary.ignored, summary.others_are, summary.others)
    yield from of_unread(summary.unread, summary.unread_kinds)
    yield from _left_alone(summary.litter, f"{LITTER} (see --include)", summary.litter_such)
    yield from _left_alone(summary.excluded, "as --exclude asks", summary.excluded_such)
    if summary.links:
        links = counted(summary.links, "link")
        yield f"{links} to directories not followed (see --follow-links)"


def of_left(left: LeftAlone) -> Iterator[str]:
    """What lies in a directory and is left alone."""
    yield from _others(left.other.count, NO_IMAGE, left.other.first)
    yield from of_unread(left.unread.count, left.unread.lines())
    yield from _left_alone(left.litter.count, LITTER, left.litter.first)


def _others(count: int, what: str, such: Iterable[str]) -> Iterator[str]:
    if count:
        yield f"{counted(count, 'file')} left alone, {what}:"
        yield from _first(map(shown, such), count)


def of_unmeasured(count: int) -> Iterator[str]:
    """Images of which is not known whether the model was trained on such."""
    if count:
        were = "was" if count == 1 else "were"
        yield (
            f"{counted(count, 'image')} {were} not measured (too small): whether the model was "
            "trained on such is not known"
        )


def of_unread(count: int, kinds: Iterable[str]) -> Iterator[str]:
    """Images that are no inputs, for their ``kinds`` are not read."""
    if count:
        yield f"{counted(count, 'image')} left alone, of kinds that are not read here:"
        yield from (f"  {line}" for line in kinds)


def _left_alone(count: int, why: str, such: list[str]) -> Iterator[str]:
    """``such``: the first of them; none is known of those in tars."""
    if count:
        what = counted(count, "file or directory", "files and directories")
        yield f"{what} left alone, {why}" + (":" if such else "")
        if such:
            yield from _first(map(shown, such), count)


def of_interruption(summary: Summary) -> str:
    """What to do after it."""
    if summary.as_before:
        return (
            "Interrupted before anything was replaced. Run the same command again, with "
            "--overwrite, to begin anew."
        )
    return "Interrupted. Run the same command again (without --overwrite) to go on from here."


def _failed_before(summary: Summary) -> str:
    return f", {summary.failed_before:,} failed before" if summary.failed_before else ""


def _failures(summary: Summary, journal: str) -> Iterator[str]:
    fail = "would fail" if summary.dry_run else "failed"
    for record in summary.failures[:SHOWN_FAILURES]:
        yield f"  {fail}: {shown(record.name)}: {record.reason}"
    more = summary.failed - SHOWN_FAILURES
    if summary.failed and not summary.dry_run:
        tail = f"  ... and {more:,} more; all" if more > 0 else "  All"
        yield f"{tail} are in {journal}. {_again(summary)}"
    elif more > 0:
        yield f"  ... and {more:,} more"
    if summary.failed_before:
        yield (
            f"{counted(summary.failed_before, 'input')} failed before and did not change since: "
            "not tried again (see --retry-failed)"
        )


def _again(summary: Summary) -> str:
    """What the next run does about the failures."""
    if summary.retriable == summary.failed:
        return "Run again to retry them."
    if not summary.retriable:
        return "The next run leaves them alone while they do not change (see --retry-failed)."
    return (
        f"The next run retries {summary.retriable:,} of them, for the reason did not lie in the "
        "image; --retry-failed retries all."
    )


def of_status(status: Status, out: str, now: float) -> Iterator[str]:
    """Where a job stands, in lines. ``now``: Unix time."""
    from pix2pix_batch.records.status import LATELY

    job, dataset = status.job, status.dataset
    kind = ""
    if dataset is not None:
        kind = f"a finished dataset ({dataset['layout']}) " if dataset else "an unfinished dataset "
        kind += "made by "
    chosen = (job.get(key) for key in ("format", "fit", "precision", "backend"))
    yield (
        f"{shown(out)}: {kind}{shown(job.get('model_name', '?'))} "
        f"(SHA-256 {job.get('model', '')[:12]}) "
        f"on {shown(job.get('input', '?'))}; {', '.join(str(one) for one in chosen if one)}"
    )
    yield _run_of(status, now)
    if status.shards:
        yield _shards(status)
    yield _stand(status)
    yield from _content(dataset) if dataset else ()
    if status.rate:
        text = f"{status.rate:.1f} images/s over {duration(status.seconds)} of work"
        if status.running and status.lately and status.seconds > LATELY:
            text += f", {status.lately:.1f} in the last {duration(LATELY)}"
        if status.running and status.left and (rate := status.lately or status.rate):
            text += f"; {duration(status.left / rate)} left"
        yield text
    for kind, groups in (("failed", status.failures), ("quarantined", status.quarantine)):
        if groups:
            yield f"{kind}:"
        for group in groups[:SHOWN_GROUPS]:
            yield f"  {group.count:>7,}  {_group(group)}"
        if (more := len(groups) - SHOWN_GROUPS) > 0:
            yield f"  ... for {counted(more, 'more reason')}"
    yield _resume(status)


def _group(group: Group) -> str:
    """With the reason as one of them has it: numbers in it differ from one to the other."""
    own, such = shown(group.example_reason), shown(group.example)
    if group.count == 1:
        return f"{such}: {own}"
    return f"{own}, such as {such}" if own == group.reason else f"such as {such}: {own}"


def _run_of(status: Status, now: float) -> str:
    if status.running:
        who = "A run is" if status.running == ["all"] else f"Shards {', '.join(status.running)} are"
        since = f", since {duration(now - status.begun)}" if status.begun else ""
        return f"{who} writing now{since}."
    if status.ended is None:
        return "No run is writing." if status.begun is None else "The last run was cut off."
    ago = duration(max(0, now - status.ended))
    return f"No run is writing. The last one {ENDS.get(status.outcome, 'ended')} {ago} ago."


def _shards(status: Status) -> str:
    """How a job was shared out, and what of it nobody has begun."""
    number = len(status.shards) + len(status.missing)
    begun = f"{_some(status.shards)} of {counted(number, 'shard')}"
    if not status.missing:
        return f"All {counted(number, 'shard')} have begun."
    verb = "has" if len(status.missing) == 1 else "have"
    return f"Shard {begun}; {_some(status.missing)} {verb} not begun."


def _some(names: list[str]) -> str:
    more = len(names) - SHOWN_GROUPS
    return ", ".join(names[:SHOWN_GROUPS]) + (f" and {more:,} more" if more > 0 else "")


def _content(dataset: Mapping[str, Any]) -> Iterator[str]:
    """What a finished dataset holds."""
    splits = ", ".join(f"{shown(split)} {count:,}" for split, count in dataset["splits"].items())
    yield (
        f"{counted(dataset['images'], 'image')} of {counted(dataset['inputs'], 'input')} in the "
        f"dataset: {splits}"
    )
    for title in ("rejected", "flagged"):
        if counts := dataset[title]:
            yield f"{title}: " + ", ".join(f"{shown(key)} {n:,}" for key, n in counts.items())
    if dataset["inputs_failed"]:
        yield f"{counted(dataset['inputs_failed'], 'input')} could not be used"


def _stand(status: Status) -> str:
    parts = [f"{status.done:,} done"]
    if status.tars:
        parts = [f"{counted(status.done, 'image')} of {counted(status.tars, 'tar')} done"]
    elif status.total:
        share = 100 * status.done // status.total
        parts = [f"{status.done:,} of {status.total:,} done ({share} %)"]
    for count, what in (
        (status.failed, "failed"),
        (status.quarantined, "quarantined"),
        (status.left or 0, "left"),
        (status.warned, "read with a warning"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    return ", ".join(parts)


def _resume(status: Status) -> str:
    """What running the same command again would do."""
    if status.dataset and status.dataset["wrong"]:
        return "The same command again would make anew what is wrong, and lay the dataset out anew."
    if status.missing:
        return f"A run without --shard would do the rest; or one of --shard {status.missing[0]}" + (
            ", and so on." if len(status.missing) > 1 else "."
        )
    make = "convert" if status.dataset is None else "make"
    wrong = status.failed + status.quarantined
    does = []
    if status.left:
        does.append(f"{make} the {status.left:,} left")
    elif status.left is None:
        does.append(f"{make} what is left")
    if status.retriable:
        does.append(f"retry {status.retriable:,} of the failures")
    if alone := wrong - status.retriable:
        does.append(f"leave {alone:,} alone while unchanged (see --retry-failed)")
    if status.dataset is not None:
        then = "where its inputs have changed, it brings the dataset up to date"
        then = then if status.dataset else "then it lays the dataset out"
        return f"The same command again would {', '.join(does) or 'find nothing to do'}; {then}."
    if not does:
        return "All is done; the same command again would convert what is new or has changed."
    return f"The same command again would {', '.join(does)}."


def of_verification(found: Verification) -> Iterator[str]:
    """What checking the outputs found, in lines."""
    yield f"{counted(found.checked, 'output')} checked, {found.wrong:,} wrong"
    yield from of_outdated(found.outdated, found.outdated_such[:SHOWN_FAILURES], "; --json")
    for kind, examples in found.examples.items():
        yield f"{kind}: {found.counts[kind]:,}"
        names = [f"{shown(output)}: {shown(why)}" for output, why in examples[:SHOWN_FAILURES]]
        yield from _first(names, found.counts[kind], "; the journal has all")
    if found.wrong:
        yield (
            "The next run of the same command makes the wrong ones again, and only these "
            "(no --overwrite needed)."
        )


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
        elif _is_objects(value) and depth < DEEPEST:
            for number, item in enumerate(value, 1):
                yield f"{indent}{shown(key)} {number}:"
                yield from _lines(item, width, depth + 1)
        elif isinstance(value, Path):
            yield f"{start} {shown(value)}"
        else:
            yield f"{start} {shown(json.dumps(value, ensure_ascii=False))}"


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(i, dict) for i in value)


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
