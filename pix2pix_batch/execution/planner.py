"""Decides how many items the next chunk has, from figures alone: it has no clock and knows nothing
of Dask.

A chunk is planned in batches of the engine, as many as take :data:`CHUNK_SECONDS`, and one where
a batch takes longer. Towards the job's end, which shows once no item follows those in sight,
rounds of ever smaller chunks, one for each worker, have all workers end together.
"""

from __future__ import annotations

import math

CHUNK_SECONDS = 1.5
"""Work that a chunk should hold: enough to make Dask's cost small, little enough to lose."""

FIRST_CHUNK = 8
"""Items of a chunk, at most, before it is known what they take; a batch where that is padded."""

LEAST_SECONDS = 0.25
"""Work that a chunk should hold at the job's end: more than what it costs beside."""

OVERRUN_FACTOR = 2
"""A worker takes no further image of a chunk after so many times what it was to take: its images
are larger than those before, or the machine has become slower. The rest is planned anew."""

LARGEST_CHUNK = 4096
"""Items. Dask's cost of a task, some milliseconds, is nothing beside theirs (``docs/scale.md``)."""

IN_SIGHT = 131_072
"""Items to look ahead at most: some 45 MB on the client; as many may be in flight."""

WAITING_CHUNKS = 1
"""How many chunks wait at a worker beside those that it runs, so that it never idles; one more if
chunks are short."""

SMOOTHING = 0.8
"""What a chunk's figures count for once the next has come back: the last five or so decide, so
that noise is smoothed, and a machine that becomes slower is followed."""

GROWTH = 4
"""How many times as large as any before a chunk may be."""

PADDED_BATCHES = 10
"""Batches that a chunk should hold where its last one is padded, half a batch in the mean: so that
padding costs 5 %."""


class ChunkPlanner:
    """Plans chunks by how long earlier ones took.

    ``batch_size``: tiles of a full batch; ``pads``: the engine takes full batches only.
    """

    def __init__(self, batch_size: int, pads: bool = False) -> None:
        self.batch_size, self.pads = batch_size, pads
        self._items = self._tiles = self._seconds = 0.0
        self._largest, self._was_cut = 0, False
        # Of the round that has begun: chunks, and their size.
        self._chunks_left, self._round_size = 0, 0

    def learn(self, items: int, tiles: int, seconds: float, cut: bool = False) -> None:
        """Take account of a chunk that came back: its items, their tiles and the seconds of work;
        ``cut``: it had more items, but took too long."""
        self._was_cut = self._was_cut or cut
        if not items:
            return
        self._items = self._items * SMOOTHING + items
        self._tiles = self._tiles * SMOOTHING + tiles
        self._seconds = self._seconds * SMOOTHING + seconds
        self._largest = max(self._largest, items)

    def chunk_size(self, workers: int) -> int:
        """Items of a chunk in the midst of a job."""
        if not self._items:
            return self._first_size()
        batch = self._items_a_batch()
        count = max(1, round(self._wanted_seconds() / (batch * self._seconds_an_item())))
        most = min(LARGEST_CHUNK, IN_SIGHT // (2 * max(1, workers)), GROWTH * self._largest)
        size = max(1, min(count, most // batch)) * batch
        if self._was_cut and not self.pads:  # it is not the engine that takes the time
            size = min(size, max(FIRST_CHUNK, int(CHUNK_SECONDS / self._seconds_an_item())))
        return size

    def look_ahead(self, workers: int) -> int:
        """How many items to scan ahead, so that the end of the job is seen in time."""
        return 2 * max(1, workers) * self.chunk_size(workers)

    def next_size(self, in_sight: int, ended: bool, workers: int) -> int:
        """Items of the next chunk, of those ``in_sight``; ``ended``: no more follow these."""
        usual = self.chunk_size(workers)
        if not ended or in_sight >= self.look_ahead(workers):
            self._chunks_left = 0
            return self._whole(min(usual, in_sight))
        if self._chunks_left == 0:
            self._begin_round(in_sight, max(1, workers))
        # the last round has no size: what is left, in equal parts
        size = self._round_size or math.ceil(in_sight / self._chunks_left)
        self._chunks_left -= 1
        return min(size, in_sight)

    def chunk_time_budget(self) -> float:
        """Seconds after which a worker should take no further image of a chunk."""
        return OVERRUN_FACTOR * self._wanted_seconds()

    def chunks_to_queue(self, workers: int) -> int:
        """Chunks that a worker should have at hand beside those that it runs."""
        if not self._items:
            return WAITING_CHUNKS
        seconds = self._seconds_an_item() * self.chunk_size(workers)
        return WAITING_CHUNKS + (seconds < CHUNK_SECONDS / 3)

    def _wanted_seconds(self) -> float:
        """What a chunk should take. Images of several tiles leave a last batch that is not full."""
        if self.pads and self._tiles > self._items:
            batch = self.batch_size / self._tiles * self._seconds
            return max(CHUNK_SECONDS, PADDED_BATCHES * batch)
        return CHUNK_SECONDS

    def _begin_round(self, in_sight: int, workers: int) -> None:
        """One chunk for each worker, of half of what is left; or of all, where little is."""
        least = self._least(workers)
        self._chunks_left = workers
        self._round_size = 0
        if in_sight > workers * least:
            self._round_size = self._whole(max(least, in_sight // (2 * workers)))

    def _least(self, workers: int) -> int:
        """Items that are worth a chunk."""
        if not self._items:
            return self._first_size()
        if self.pads:
            return self._items_a_batch()
        of_time = int(LEAST_SECONDS / self._seconds_an_item())
        return max(1, min(of_time, self.chunk_size(workers)))

    def _seconds_an_item(self) -> float:
        # Never 0, by which it is divided: a coarse clock may say that a chunk took no time.
        return max(self._seconds / self._items, 1e-6)

    def _first_size(self) -> int:
        return self.batch_size if self.pads else min(FIRST_CHUNK, self.batch_size)

    def _whole(self, size: int) -> int:
        """In whole batches, where it is one and more."""
        batch = self._items_a_batch()
        return size if size < batch else size - size % batch

    def _items_a_batch(self) -> int:
        """Items whose tiles fill a batch, as far as is known; one at least."""
        if not self._tiles:
            return self.batch_size
        items = self.batch_size * (self._items / self._tiles)
        # The small number undoes rounding, which would make 9 of 8.000000001. At most four batches:
        # images that fail have no tiles, and many of them would make a batch seem endless.
        return max(1, min(4 * self.batch_size, math.ceil(items - 1e-6)))
