"""Decoding in threads, some way ahead of the engine."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from pix2pix_batch import environment
from pix2pix_batch.inference.pending_image import PendingImage, Watch
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record
from pix2pix_batch.storage import files

CODEC_THREADS = 2
"""Threads a worker decodes and encodes in, beside its one inference thread, unless the
environment says :data:`CODEC_THREADS_VARIABLE`."""

CODEC_THREADS_VARIABLE = environment.CODEC_THREADS
"""Set for the workers of GPUs, which leave the cores to the codecs."""

FAR_THREADS = 16
"""The same where inputs or outputs lie behind URLs: most of them then wait for an answer."""

READ_AHEAD = 32 << 20
"""Files of up to this many bytes together are decoded ahead of the engine."""

TOGETHER = 8
"""Images that a codec thread handles in one go before it hands over to another thread, at most.
Handing one over costs two changes of thread, a tenth of a small JPEG's time
(``benchmarks/pipeline.py``)."""

SMALL = 1 << 20
"""Bytes of files that are decoded together, at most: beside larger ones that cost is nothing."""

Decode = Callable[[Item], PendingImage | Record]
"""Makes an item's image ready for the engine, or says why there is none."""


def codec_threads(is_remote: bool = False) -> int:
    """Raises :class:`InputError` where the environment says no number."""
    if is_remote:
        return FAR_THREADS
    return environment.read_codec_threads(CODEC_THREADS)


def decode_ahead(
    items: Iterable[Item],
    decode: Decode,
    pool: ThreadPoolExecutor,
    watch: Watch,
    *,
    threads: int,
    batch: int,
    is_remote: bool,
) -> Iterator[PendingImage | Record]:
    """Decode items some way ahead of their use.

    Args:
        items: The items. Variants of one input follow each other and are decoded once.
        decode: Decodes an item.
        pool: Decodes in its threads.
        watch: Entered while a file's size is asked for.
        threads: How many threads the pool has.
        batch: How many tiles the engine takes at once.
        is_remote: Whether the files lie behind URLs.

    Yields:
        The images, in the order of the items; a record for an item that cannot be decoded.
    """
    queue = _Queue(pool, decode, threads, batch)
    last: Item | None = None
    for item in items:
        if item.variant is not None and _is_of_same(item, last):
            queue.add_variant(item)
            continue
        last = item
        with watch("reading it", item.name):
            # In this thread, not in the pool's: what is decoded ahead is bounded before it is read.
            length = files.size_of(item)
        if queue.is_enough(length, count_together(queue.max_ahead, threads, is_remote)):
            queue.send()
        while queue.is_full(length):
            yield from queue.take()
        queue.add(item, length)
    queue.send()
    while queue.ahead:
        yield from queue.take()


class _Queue:
    """Items that wait to be decoded, and those that are."""

    def __init__(self, pool: ThreadPoolExecutor, decode: Decode, threads: int, batch: int) -> None:
        self.pool, self.decode, self.threads, self.batch = pool, decode, threads, batch
        self.max_ahead = threads
        """Images ahead; as many as fill a batch, once it is known."""
        self.ahead: deque[tuple[Future[list[PendingImage | Record]], list[Item], int]] = deque()
        self.size = self.count = 0
        self.unsent: list[Item] = []
        """To be decoded together, of ``unsent_size`` bytes."""
        self.unsent_size = 0

    def add(self, item: Item, length: int) -> None:
        """Let it wait, a file of ``length`` bytes."""
        self.unsent.append(item)
        self.unsent_size += length
        self.size, self.count = self.size + length, self.count + 1

    def add_variant(self, item: Item) -> None:
        """Let it wait with the one before, which is of the same input and is decoded once."""
        self.unsent.append(item)
        self.count += 1

    def is_enough(self, length: int, together: int) -> bool:
        """Whether what waits is sent before an item of ``length`` bytes is added to it."""
        return len(self.unsent) >= together or self.unsent_size + length > SMALL

    def is_full(self, length: int) -> bool:
        """Whether something is taken out before an item of ``length`` bytes is added."""
        # A single file above the limit still gets its turn, once nothing else is ahead.
        beyond = self.count >= self.max_ahead or self.size + length > READ_AHEAD
        return bool(self.ahead) and beyond

    def send(self) -> None:
        """Have decoded what waits."""
        if self.unsent:
            made = self.pool.submit(_decode_all, self.unsent, self.decode)
            self.ahead.append((made, self.unsent, self.unsent_size))
            self.unsent, self.unsent_size = [], 0

    def take(self) -> Iterator[PendingImage | Record]:
        """The first that were sent together, once they are decoded."""
        coming, items, used = self.ahead.popleft()
        for made in coming.result():
            if isinstance(made, PendingImage):
                tiles = max(1, len(made.tiles))  # none of an image whose rows are there
                # By the last image: of large images few fill a batch, and more ahead would only
                # take memory.
                self.max_ahead = max(self.threads, math.ceil(self.batch / tiles))
            yield made
        self.size, self.count = self.size - used, self.count - len(items)


def _is_of_same(item: Item, before: Item | None) -> bool:
    return before is not None and (before.path, before.page) == (item.path, item.page)


def count_together(images: int, threads: int, is_remote: bool) -> int:
    """Choose how many images one thread takes at once.

    Args:
        images: How many images are wanted ahead.
        threads: How many threads decode.
        is_remote: Whether the files lie behind URLs, so that each is waited for.

    Returns:
        The number of images, at least 1.
    """
    if is_remote:  # where each is waited for
        return 1
    # Twice as many groups as threads at least, so that none waits while another has several images.
    return max(1, min(TOGETHER, images // (2 * threads)))


def _decode_all(items: Sequence[Item], decode: Decode) -> list[PendingImage | Record]:
    """Of variants of one input, the first decodes it."""
    decoded: list[PendingImage | Record] = []
    for item, before in zip(items, (None, *items), strict=False):
        again = item.variant is not None and _is_of_same(item, before)
        decoded.append(_copy_decoded(decoded[-1], item) if again else decode(item))
    return decoded


def _copy_decoded(made: PendingImage | Record, item: Item) -> PendingImage | Record:
    """What was decoded, or not, for another variant of the same input."""
    if isinstance(made, Record):
        return replace(made, name=item.name)
    return replace(
        made,
        item=item,
        tiles=made.tiles.restart(),
        waiting=len(made.tiles),
        norms=None,
        squared_distances=[],
    )
