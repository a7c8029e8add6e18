"""What a worker does with a chunk: decode in threads, translate, encode in threads."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2pix_batch import images, storage
from pix2pix_batch.errors import ImageError, OutputError
from pix2pix_batch.journal import Record
from pix2pix_batch.noise import dropout_masks, noise_key
from pix2pix_batch.opened import engine_of, loaded, turn
from pix2pix_batch.scan import Item
from pix2pix_batch.settings import Settings
from pix2pix_batch.storage import file_size, read_file
from pix2pix_batch.tiling import Resized, Tiles

CODEC_THREADS = 2
"""Threads a worker decodes and encodes in, beside its one inference thread."""

READ_AHEAD = 32 << 20
"""Files of up to this many bytes together are decoded ahead of the engine."""


@dataclass
class Work:
    """One image on its way through the engine."""

    item: Item
    stamp: str
    content: bytes
    tiles: Tiles | Resized
    alpha: np.ndarray | None
    waiting: int


class Converter:
    """Converts one chunk on this worker."""

    def __init__(
        self, settings: Settings, place: Callable[[str, bytes], None] | None = None
    ) -> None:
        """``place`` puts an output's bytes where they belong, by its name; by default into OUT."""
        from pix2pix_batch.engine import Overlapping

        assert settings.batch_size is not None
        self.settings = settings
        self.place = place or functools.partial(storage.place, Path(settings.out))
        self.engine = engine_of(settings)
        self.overlapping = self.engine if isinstance(self.engine, Overlapping) else None
        self.flying: deque[list[tuple[Work, int]]] = deque()
        self.architecture = loaded(settings.model, settings.fingerprint)[0].architecture
        channels = self.architecture.in_channels
        shape = (settings.batch_size, settings.size, settings.size, channels)
        self.buffer = np.zeros(shape, np.uint8)
        self.owners: list[tuple[Work, int]] = []
        self.records: list[Record] = []
        self.writing: deque[Future[Record]] = deque()
        self.fatal = ""

    def run(self, items: Sequence[Item]) -> None:
        """Fill :attr:`records`; stops early, with :attr:`fatal` set, where OUT takes no more."""
        with ThreadPoolExecutor(CODEC_THREADS, "codec") as pool:
            with contextlib.nullcontext() if self.overlapping is None else turn:
                try:
                    self._run(items, pool)
                finally:
                    self._drop()
            self._collect(0)

    def _run(self, items: Sequence[Item], pool: ThreadPoolExecutor) -> None:
        for work in self._decoded(items, pool):
            if self.fatal:
                return
            if isinstance(work, Record):
                self.records.append(work)
                continue
            for index, tile in enumerate(work.tiles):
                self.buffer[len(self.owners)] = tile
                self.owners.append((work, index))
                if len(self.owners) == len(self.buffer):
                    self._translate(pool)
        if self.owners and not self.fatal:
            self._translate(pool)
        while self.flying:
            self._finish(pool)

    def _drop(self) -> None:
        """The engine lives longer than a chunk: leave nothing of this one in it."""
        while self.overlapping is not None and self.flying:
            self.flying.popleft()
            self.overlapping.finish()

    def _decoded(self, items: Sequence[Item], pool: ThreadPoolExecutor) -> Iterator[Work | Record]:
        """The items' images in order, decoded some way ahead of their use."""
        ahead: deque[tuple[Future[Work | Record], int]] = deque()
        size = 0
        for item in items:
            length = file_size(item.path)
            while ahead and (len(ahead) >= len(self.buffer) or size + length > READ_AHEAD):
                future, used = ahead.popleft()
                size -= used
                yield future.result()
            ahead.append((pool.submit(self._decode, item), length))
            size += length
        while ahead:
            yield ahead.popleft()[0].result()

    def _decode(self, item: Item) -> Work | Record:
        stamp = ""
        try:
            data, stamp = read_file(item.path)
            picture = images.read(data, self.architecture.in_channels)
            tiles = fitted(picture.pixels, self.settings.fit, self.settings.size)
        except ImageError as error:
            return Record(item.name, "failed", stamp, reason=str(error))
        content = hashlib.sha256(data).digest() if self.settings.noise else b""
        return Work(item, stamp, content, tiles, picture.alpha, len(tiles))

    def _translate(self, pool: ThreadPoolExecutor) -> None:
        """Run the engine on what is in the buffer and hand on the images that are complete.

        An engine that can begins this batch before the one before it is done, so that the GPU
        works while that one's images go on.
        """
        self.buffer[len(self.owners) :] = 0
        masks = self._masks() if self.settings.noise else None
        owners, self.owners = self.owners, []
        if self.overlapping is None:
            with turn:
                made = self.engine(self.buffer, masks).images
            self._hand_on(owners, made, pool)
            return
        self.overlapping.start(self.buffer, masks)
        self.flying.append(owners)
        if len(self.flying) > 1:
            self._finish(pool)

    def _finish(self, pool: ThreadPoolExecutor) -> None:
        assert self.overlapping is not None
        owners = self.flying.popleft()
        self._hand_on(owners, self.overlapping.finish().images, pool)

    def _hand_on(
        self, owners: list[tuple[Work, int]], made: np.ndarray, pool: ThreadPoolExecutor
    ) -> None:
        for (work, index), tile in zip(owners, made, strict=False):
            work.tiles.put(index, tile)
            work.waiting -= 1
            if work.waiting == 0:
                self._collect(2 * len(self.buffer))
                self.writing.append(pool.submit(self._write, work))

    def _masks(self) -> list[np.ndarray]:
        shapes = self.architecture.mask_shapes(self.settings.size, self.settings.size)
        masks = [np.ones((len(self.buffer), *shape), bool) for shape in shapes]
        for position, (work, index) in enumerate(self.owners):
            key = noise_key(self.settings.seed, work.content, index)
            for mask, value in zip(masks, dropout_masks(key, shapes), strict=True):
                mask[position] = value
        return masks

    def _collect(self, leave: int) -> None:
        while len(self.writing) > leave:
            try:
                self.records.append(self.writing.popleft().result())
            except OutputError as error:
                self.fatal = str(error)

    def _write(self, work: Work) -> Record:
        item = work.item
        assert work.tiles.result is not None
        try:
            picture = images.Picture(work.tiles.result, work.alpha)
            data = images.write(picture, item.form, self.settings.quality)
        except Exception as error:
            reason = f"cannot be written as {item.form}: {error}"
            return Record(item.name, "failed", work.stamp, reason=reason)
        try:
            self.place(item.output, data)
        except ImageError as error:
            return Record(item.name, "failed", work.stamp, reason=str(error))
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        return Record(item.name, "done", work.stamp, item.output, hash=digest)


def fitted(pixels: np.ndarray, fit: str, size: int) -> Tiles | Resized:
    """The image as tiles of the model's size. Raises :class:`ImageError`."""
    if fit == "resize":
        return Resized(pixels, size)
    height, width = pixels.shape[:2]
    if fit == "exact" and (height, width) != (size, size):
        raise ImageError(
            f"is {width}x{height}, the model's size is {size}x{size}; use --fit tile or resize"
        )
    return Tiles(pixels, size)
