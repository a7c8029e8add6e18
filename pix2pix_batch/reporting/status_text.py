"""What ``status`` says to people of a job's directory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pix2pix_batch.reporting.status import LATELY, FailureGroup, Status
from pix2pix_batch.text import duration, escape, format_count

SHOWN_GROUPS = 10

ENDS = {
    "finished": "finished",
    "interrupted": "was interrupted",
    "stopped": "could not go on and stopped",
}
"""How a run ended, by its ``outcome``."""


def format_status(status: Status, out: str, now: float) -> Iterator[str]:
    """Where a job stands, in lines. ``now``: Unix time."""
    job, dataset = status.job, status.dataset
    kind = ""
    if dataset is not None:
        kind = f"a finished dataset ({dataset['layout']}) " if dataset else "an unfinished dataset "
        kind += "made by "
    chosen = (job.get(key) for key in ("format", "fit", "precision", "backend"))
    yield (
        f"{escape(out)}: {kind}{escape(job.get('model_name', '?'))} "
        f"(SHA-256 {job.get('model', '')[:12]}) "
        f"on {escape(job.get('input', '?'))}; {', '.join(str(one) for one in chosen if one)}"
    )
    yield _format_run(status, now)
    if status.shards:
        yield _format_shards(status)
    yield _format_state(status)
    yield from _format_content(dataset) if dataset else ()
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
            yield f"  {group.count:>7,}  {_format_group(group)}"
        if (more := len(groups) - SHOWN_GROUPS) > 0:
            yield f"  ... for {format_count(more, 'more reason')}"
    yield _advise_resume(status)


def _format_group(group: FailureGroup) -> str:
    """With the reason as one of them has it: numbers in it differ from one to the other."""
    own, such = escape(group.example_reason), escape(group.example)
    if group.count == 1:
        return f"{such}: {own}"
    return f"{own}, such as {such}" if own == group.reason else f"such as {such}: {own}"


def _format_run(status: Status, now: float) -> str:
    if status.running:
        who = "A run is" if status.running == ["all"] else f"Shards {', '.join(status.running)} are"
        since = f", since {duration(now - status.begun)}" if status.begun else ""
        return f"{who} writing now{since}."
    if status.ended is None:
        return "No run is writing." if status.begun is None else "The last run was cut off."
    ago = duration(max(0, now - status.ended))
    return f"No run is writing. The last one {ENDS.get(status.outcome, 'ended')} {ago} ago."


def _format_shards(status: Status) -> str:
    """How a job was shared out, and what of it nobody has begun."""
    number = len(status.shards) + len(status.missing)
    begun = f"{_format_some(status.shards)} of {format_count(number, 'shard')}"
    if not status.missing:
        return f"All {format_count(number, 'shard')} have begun."
    verb = "has" if len(status.missing) == 1 else "have"
    return f"Shard {begun}; {_format_some(status.missing)} {verb} not begun."


def _format_some(names: list[str]) -> str:
    more = len(names) - SHOWN_GROUPS
    return ", ".join(names[:SHOWN_GROUPS]) + (f" and {more:,} more" if more > 0 else "")


def _format_content(dataset: Mapping[str, Any]) -> Iterator[str]:
    """What a finished dataset holds."""
    splits = ", ".join(f"{escape(split)} {count:,}" for split, count in dataset["splits"].items())
    yield (
        f"{format_count(dataset['images'], 'image')} of "
        f"{format_count(dataset['inputs'], 'input')} in the "
        f"dataset: {splits}"
    )
    for title in ("rejected", "flagged"):
        if counts := dataset[title]:
            yield f"{title}: " + ", ".join(f"{escape(key)} {n:,}" for key, n in counts.items())
    if dataset["inputs_failed"]:
        yield f"{format_count(dataset['inputs_failed'], 'input')} could not be used"


def _format_state(status: Status) -> str:
    parts = [f"{status.done:,} done"]
    if status.tars:
        parts = [f"{format_count(status.done, 'image')} of {format_count(status.tars, 'tar')} done"]
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


def _advise_resume(status: Status) -> str:
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
