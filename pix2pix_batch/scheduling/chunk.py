"""Chunks, and what becomes of one whose worker died."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pix2pix_batch.inputs.scan import Item
from pix2pix_batch.records.record import Record
from pix2pix_batch.scheduling.marker import Trace

STRIKES = 3
"""Workers that must have died with an image in hand before it is quarantined: workers also die
for other reasons, and hardly ever of those three times on one image."""

CRASHES = 2
"""As :data:`STRIKES` where the process crashed (a segmentation fault, say), which nobody outside
does to it; the first time it may have been an earlier image that left memory in ruins."""

DEATHS = 5
"""Workers that may die on a chunk with no image to blame."""

RESENT = 30
"""Times that a chunk is sent again, whatever the reason."""

SHORTEST_DELAY, LONGEST_DELAY = 0.25, 20.0
"""Seconds before a chunk is sent again: twice as many each time."""


@dataclass(frozen=True)
class Chunk:
    """The items of one Dask task.

    ``careful``: to be converted one after the other, each named in the marker before it is
    touched; ``strikes``: workers that died with its image in hand, of an image sent alone;
    ``deaths``: workers that died on it with no image to blame; ``resent``: how often it was sent
    again.
    """

    items: tuple[Item, ...]
    careful: bool = False
    strikes: int = 0
    deaths: int = 0
    resent: int = 0

    @property
    def delay(self) -> float:
        """Seconds to wait before it is sent."""
        return min(LONGEST_DELAY, SHORTEST_DELAY * 2**self.resent) if self.resent else 0.0

    def again(self) -> Chunk:
        return replace(self, resent=self.resent + 1)

    def carefully(self) -> Chunk:
        return replace(self.again(), careful=True)


@dataclass(frozen=True)
class Outcome:
    """What is known of a chunk whose worker died: records, and what is sent again."""

    records: list[Record]
    chunks: list[Chunk]


def not_begun(chunk: Chunk) -> Outcome:
    """The worker died before it came to the chunk, which is not to blame."""
    if chunk.resent >= RESENT:
        return _given_up(chunk, f"{RESENT} workers died before they came to it")
    return Outcome([], [chunk.again()])


def begun(chunk: Chunk, trace: Trace, limit: float) -> Outcome:
    """The worker died while it ran the chunk. ``limit``: seconds an image may take."""
    names = {record.name for record in trace.records}
    left = tuple(item for item in chunk.items if item.name not in names)
    if not left:
        return Outcome(trace.records, [])
    if trace.records:  # it got on
        chunk = replace(chunk, deaths=0, resent=0)
    if not chunk.careful or trace.index is None:
        suspect = replace(chunk.carefully(), items=left, deaths=chunk.deaths + 1)
        if suspect.deaths < DEATHS and suspect.resent < RESENT:
            return Outcome(trace.records, [suspect])
        given_up = _given_up(suspect, f"{suspect.deaths} workers died as they began it")
        return Outcome(trace.records + given_up.records, [])
    blamed = chunk.items[trace.index]
    rest = tuple(item for item in left if item.name != blamed.name)
    chunks = [replace(chunk, items=rest)] if rest else []  # what stopped it is no longer in it
    alone = Chunk((blamed,), True, chunk.strikes + 1, chunk.deaths, chunk.resent + 1)
    records = list(trace.records)
    if trace.hung:
        records.append(_hung(blamed, trace, limit))
    elif alone.strikes >= (CRASHES if trace.signal else STRIKES):
        signal = f" ({trace.signal})" if trace.signal else ""
        reason = f"killed its worker {alone.strikes} times{signal}"
        records.append(Record(blamed.name, "quarantined", trace.stamp, reason=reason))
    else:
        chunks.append(alone)
    return Outcome(records, chunks)


def split(chunk: Chunk) -> Outcome:
    """The worker died, and nobody can say on which of its chunks: halves, down to one image."""
    if len(chunk.items) > 1:
        middle = len(chunk.items) // 2
        halves = (chunk.items[:middle], chunk.items[middle:])
        return Outcome([], [replace(chunk.again(), items=half) for half in halves])
    deaths = chunk.deaths + 1
    if deaths >= DEATHS:
        return _given_up(chunk, f"{deaths} workers died that had it at hand, alone")
    return Outcome([], [replace(chunk.again(), deaths=deaths)])


def _hung(item: Item, trace: Trace, limit: float) -> Record:
    """An image that cannot be read in time may lie on a disk that does not answer."""
    reason = f"{trace.hung} took longer than {limit:g} s"
    if trace.hung.startswith(("reading", "writing")):
        return Record(item.name, "failed", reason=f"{reason}; is its disk still there?")
    return Record(item.name, "quarantined", trace.stamp, reason=reason)


def _given_up(chunk: Chunk, reason: str) -> Outcome:
    """Not the images' own fault, as far as is known: they have no stamp, and are tried again."""
    return Outcome([Record(item.name, "failed", reason=reason) for item in chunk.items], [])
