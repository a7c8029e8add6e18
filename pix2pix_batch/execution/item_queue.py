"""What is sent to the workers next: the items that the scan has come to, cut into chunks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import islice

from pix2pix_batch.errors import Pix2PixBatchError
from pix2pix_batch.execution.chunk import Chunk
from pix2pix_batch.execution.planner import ChunkPlanner
from pix2pix_batch.execution.split_items import SplitItems
from pix2pix_batch.item import Item

LOOK_SECONDS = 0.1
"""How long the scan is read at a time, so that workers do not wait for a slow one."""


class ItemQueue:
    """Reads the scan ahead as far as the planner wants, and cuts what is there into chunks.

    ``ahead``: the items that were scanned and not sent yet; ``exhausted``: whether no item follows
    those; ``broken``: why the scan ended before its end, else empty.
    """

    def __init__(self, planner: ChunkPlanner, split: SplitItems, streamed: bool) -> None:
        """``streamed``: whether items come from a pipe, which may make one wait for ever."""
        self._planner, self._split, self._streamed = planner, split, streamed
        self.ahead: deque[Item] = deque()
        self.exhausted = False
        self.broken = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to be sent."""
        return self.exhausted and not self.ahead

    def plan_chunks(self, items: Iterator[Item], free: int, workers: int) -> list[Chunk]:
        """The next chunks, ``free`` at most; fewer where the scan takes its time or is at its end.
        ``workers``: how many there are to give them to."""
        chunks: list[Chunk] = []
        until = time.monotonic() + LOOK_SECONDS
        # of a pipe, what is there is sent before it is read on
        most = min(free, 1) if self._streamed else free
        # One chunk at least, however slow the scan: else nothing would ever be sent.
        while len(chunks) < most and not (chunks and time.monotonic() > until):
            self._look_ahead(items, until, workers)
            if not self.ahead:
                break
            chunks.append(self._next_chunk(workers))
        return chunks

    def _look_ahead(self, items: Iterator[Item], until: float, workers: int) -> None:
        """Have as many items in sight as the planner wants, or a batch where they come slowly."""
        batch = self._planner.batch_size
        wanted = self._planner.look_ahead(workers)
        if self._streamed:
            # One at a time: reading a whole batch from a pipe would wait for lines that may come
            # much later.
            wanted, batch = self._planner.chunk_size(workers), 1
        try:
            while not self.exhausted and len(self.ahead) < wanted:
                if len(self.ahead) >= batch and time.monotonic() > until:
                    return
                before = len(self.ahead)
                self.ahead.extend(islice(items, batch))
                self.exhausted = len(self.ahead) - before < batch
        except Pix2PixBatchError as error:  # what was found before is converted
            self.broken, self.exhausted = str(error), True

    def _next_chunk(self, workers: int) -> Chunk:
        """A tar goes alone, for it holds many images, and so does a part of an image."""
        # One worker gains nothing from parts: it makes the rows one after the other anyway.
        if workers > 1 and (parts := self._split.take(self.ahead[0])):
            self.ahead.popleft()
            self.ahead.extendleft(reversed(parts))
        size = self._planner.next_size(len(self.ahead), self.exhausted, workers)
        taken = [self.ahead.popleft()]
        while len(taken) < size and not _goes_alone(taken[0]) and not _goes_alone(self.ahead[0]):
            taken.append(self.ahead.popleft())
        return Chunk(tuple(taken))

    def restore_whole_items(self) -> None:
        """Of a run that ends now: have whole items ahead in place of their parts."""
        self.ahead = self._split.restore(self.ahead)


def _goes_alone(item: Item) -> bool:
    return item.tar or item.rows is not None
