"""Chunks, and how a chunk whose worker died is sent again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pix2pix_batch.execution.marker import Trace
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import ITEM_TIMEOUT, Record
from pix2pix_batch.text import format_count

STRIKES = 3
"""The number of workers that must die while processing an image before it is quarantined. Workers
also die for other reasons, but hardly ever three times on the same image."""

CRASHES = 2
"""As :data:`STRIKES` where the process crashed (a segmentation fault, say), which nobody outside
does to it; the first time it may have been an earlier image that left memory in ruins."""

DEATHS = 5
"""The number of workers that may die on a chunk before its first image."""

RESENT = 30
"""How often a chunk is sent again at most, whatever the reason."""

MEMBERS = 20
"""Harmful images that a tar may have before it is quarantined as a whole."""

SHORTEST_DELAY, LONGEST_DELAY = 0.25, 20.0
"""Seconds before a chunk is sent again: twice as many each time."""


@dataclass(frozen=True)
class Chunk:
    """The items of one Dask task.

    ``careful``: convert the items one after the other, and name each in the marker before it is
    touched; ``strikes``: how many workers died while processing its image, of an image that is sent
    alone; ``deaths``: how many workers died on it before an image was begun; ``resent``: how often
    it was sent again. Of a tar, which is always sent alone: ``suspect_member``: the name of the
    image that has the strikes; ``excluded_records``: records of the images that are not to be tried
    any more.
    """

    items: tuple[Item, ...]
    careful: bool = False
    strikes: int = 0
    deaths: int = 0
    resent: int = 0
    suspect_member: str = ""
    excluded_records: tuple[Record, ...] = ()

    @property
    def is_part(self) -> bool:
        """Whether it is a part of an image, which is always sent alone."""
        return self.items[0].rows is not None

    @property
    def delay(self) -> float:
        """Seconds to wait before it is sent."""
        return min(LONGEST_DELAY, SHORTEST_DELAY * 2**self.resent) if self.resent else 0.0

    def retry(self) -> Chunk:
        return replace(self, resent=self.resent + 1)

    def retry_carefully(self) -> Chunk:
        return replace(self.retry(), careful=True)


@dataclass(frozen=True)
class Outcome:
    """What follows for a chunk whose worker died: records, and chunks that are sent again."""

    records: list[Record]
    chunks: list[Chunk]

    @property
    def is_progress(self) -> bool:
        """Whether it is known of an image what becomes of it, as was not before."""
        found_harmful = any(chunk.excluded_records and not chunk.resent for chunk in self.chunks)
        return bool(self.records) or found_harmful


def after_unstarted_death(chunk: Chunk) -> Outcome:
    """The worker died before it came to the chunk, which is not to blame."""
    if chunk.resent >= RESENT:
        return _give_up(chunk, f"{RESENT} workers died before they came to it")
    return Outcome([], [chunk.retry()])


def after_started_death(chunk: Chunk, trace: Trace, limit: float) -> Outcome:
    """The worker died while it ran the chunk. ``limit``: seconds an image may take."""
    names = {record.name for record in trace.records}
    left = tuple(item for item in chunk.items if item.name not in names)
    if not left:
        return Outcome(trace.records, [])
    if left[0].tar:  # what is known of its images is known again when it is made
        # A tar is written whole or not at all, so its images are made once more anyway.
        trace = replace(trace, records=[])
    if trace.records:  # it got on
        chunk = replace(chunk, deaths=0, resent=0)
    if not chunk.careful or trace.index is None:
        careful_retry = replace(chunk.retry_carefully(), items=left, deaths=chunk.deaths + 1)
        if careful_retry.deaths < DEATHS and careful_retry.resent < RESENT:
            return Outcome(trace.records, [careful_retry])
        given_up = _give_up(
            careful_retry, f"{format_count(careful_retry.deaths, 'worker')} died on beginning it"
        )
        return Outcome(trace.records + given_up.records, [])
    blamed = chunk.items[trace.index]
    if trace.member:
        return _after_member_death(chunk, trace, limit)
    rest = tuple(item for item in left if item.name != blamed.name)
    chunks = [replace(chunk, items=rest)] if rest else []  # what stopped it is no longer in it
    # Strikes against a member of a tar are not strikes against the tar itself.
    strikes = 1 if chunk.suspect_member else chunk.strikes + 1
    verdict = _judge_image(blamed.name, trace, strikes, limit)
    if verdict is not None:
        return Outcome([*trace.records, verdict], chunks)
    alone = replace(chunk.retry(), items=(blamed,), strikes=strikes, suspect_member="")
    return Outcome(trace.records, [*chunks, alone])


def _after_member_death(chunk: Chunk, trace: Trace, limit: float) -> Outcome:
    """As :func:`after_started_death`, when an image of a tar was being processed, which is then
    left out."""
    strikes = chunk.strikes + 1 if chunk.suspect_member == trace.member else 1
    verdict = _judge_image(trace.member, trace, strikes, limit)
    if verdict is not None and len(chunk.excluded_records) == MEMBERS:
        reason = f"more than {MEMBERS} of its images kill or hang their workers"
        return Outcome([Record(chunk.items[0].name, "quarantined", trace.stamp, reason=reason)], [])
    if verdict is not None:
        # A new chunk that is not careful: the harmful image is left out, so the tar may run at full
        # speed, with all its tries before it.
        return Outcome(
            [], [Chunk(chunk.items, excluded_records=(*chunk.excluded_records, verdict))]
        )
    again = replace(chunk.retry(), strikes=strikes, suspect_member=trace.member)
    if again.resent >= RESENT:
        return _give_up(again, f"{RESENT} workers died on its images, each on another")
    return Outcome([], [again])


def _judge_image(name: str, trace: Trace, strikes: int, limit: float) -> Record | None:
    """The record of the image that was being processed when its worker died; ``None`` if it is
    tried once more."""
    if trace.hung:
        return _time_limit_record(name, trace, limit)
    # A signal that the process could catch is its own crash; SIGKILL, which cannot be caught, may
    # have come from outside.
    if strikes < (CRASHES if trace.signal else STRIKES):
        return None
    signal = f" ({trace.signal})" if trace.signal else ""
    reason = f"killed its worker {strikes} times{signal}"
    return Record(name, "quarantined", trace.stamp, reason=reason)


def split_chunk(chunk: Chunk) -> Outcome:
    """Halve a chunk whose worker died when nothing tells which chunk was at fault, down to one
    image."""
    if len(chunk.items) > 1:
        middle = len(chunk.items) // 2
        halves = (chunk.items[:middle], chunk.items[middle:])
        return Outcome([], [replace(chunk.retry(), items=half) for half in halves])
    deaths = chunk.deaths + 1
    if deaths >= DEATHS:
        return _give_up(chunk, f"{deaths} workers died that had it at hand, alone")
    return Outcome([], [replace(chunk.retry(), deaths=deaths)])


def _time_limit_record(name: str, trace: Trace, limit: float) -> Record:
    """An image that cannot be read in time may lie on a disk that does not answer."""
    reason = f"{trace.hung} took longer than {limit:g} s"
    if trace.hung.startswith(("reading", "writing")):
        return Record(name, "failed", reason=f"{reason}; is its disk still there?")
    under = f"{ITEM_TIMEOUT}={limit:g}"
    return Record(name, "quarantined", trace.stamp, reason=reason, under=under)


def _give_up(chunk: Chunk, reason: str) -> Outcome:
    """Not the images' own fault, as far as is known: they have no stamp, and are tried again."""
    return Outcome([Record(item.name, "failed", reason=reason) for item in chunk.items], [])
