"""What a worker does with a chunk: decode in threads, translate, encode in threads."""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from pix2pix_batch.errors import EngineError, ImageError, NotToleratedError, OutputError
from pix2pix_batch.imaging import output_formats
from pix2pix_batch.imaging.raster.reading import Raster
from pix2pix_batch.imaging.raster.streaming import StreamedTiles
from pix2pix_batch.imaging.tiling import SharingTiles
from pix2pix_batch.inference import carried_metadata, input_reading, large_images
from pix2pix_batch.inference.batch_builder import BatchBuilder
from pix2pix_batch.inference.carried_metadata import Place
from pix2pix_batch.inference.decode_ahead import codec_threads, count_together, decode_ahead
from pix2pix_batch.inference.engine_cache import ENGINE_LOCK, domain_of, engine_of, info_of
from pix2pix_batch.inference.fitting import fit_to_model
from pix2pix_batch.inference.output_writer import OutputWriter
from pix2pix_batch.inference.pending_image import PendingImage, Watch, watch_nothing
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.integrity import digest_of
from pix2pix_batch.journal.record import Record
from pix2pix_batch.noise import SOURCE, noise_key, on_input
from pix2pix_batch.storage import files
from pix2pix_batch.storage.destination import open_destination

if TYPE_CHECKING:
    from pix2pix_batch.generators.generator import NormStatistics
    from pix2pix_batch.inference.engine import Translated


# The state of a chunk that is decoded, translated and written at once, in several threads.
class Converter:
    """Converts one chunk on this worker."""

    def __init__(
        self,
        settings: Settings,
        place: Place | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Open the model and the engine, which are kept for the next chunk.

        Args:
            settings: The job's, with a batch size.
            place: Writes an output; by default into OUT.
            watch: Entered for each step of each image, with what is done, to which image, and to
                how many at once; by default nothing watches.
        """
        assert settings.batch_size is not None
        self.settings = settings
        self.place = place
        self.watch = watch or watch_nothing
        self.info = info_of(settings.model, settings.fingerprint)
        self.architecture = self.info.architecture
        self.domain = domain_of(settings.model, settings.fingerprint)
        self.writer = OutputWriter(settings, self.info, self.domain, self.watch)
        self.builder: BatchBuilder[tuple[PendingImage, int]] = BatchBuilder(
            engine_of(settings), settings, self.architecture, self.info.ranges.input.dtype
        )
        self.plain_builder: BatchBuilder[tuple[PendingImage, int]] | None = None
        self.threads = codec_threads(settings.is_remote)
        self.records: list[Record] = []
        self.translated = 0  # tiles
        self.writing: deque[tuple[Future[list[Record]], int]] = deque()
        self.unwritten = 0  # images in there
        self.fatal = ""

    def run(self, items: Iterable[Item]) -> None:
        """Fill :attr:`records`; stops early, with :attr:`fatal` set, where OUT takes no more."""
        with ThreadPoolExecutor(self.threads, "codec") as pool:
            # Where batches overlap, held for the whole chunk: the engine returns them in the order
            # in which they began, whoever asks, so another thread would be given this one's images.
            with contextlib.nullcontext() if self.builder.overlapping is None else ENGINE_LOCK:
                try:
                    self._run(items, pool)
                except OutputError as error:
                    self.fatal = str(error)
                finally:
                    self._drop()
            # Within the pool, without the engine's lock: another thread may translate while this
            # one's outputs are written.
            self._collect(0)

    def _run(self, items: Iterable[Item], pool: ThreadPoolExecutor) -> None:
        decoded = decode_ahead(
            items, self._decode, pool, self.watch,
            threads=self.threads, batch=len(self.builder.buffer), is_remote=self.settings.is_remote,
        )  # fmt: skip
        for work in decoded:
            if self.fatal:
                return
            if isinstance(work, Record):
                self.records.append(work)
                continue
            # A copy of the input, or a large image whose rows all are on the disk: no tile to wait
            # for.
            if work.item.variant == SOURCE or not work.waiting:
                self._hand_over([work], pool)
                continue
            try:
                self._add_tiles(work, pool)
            except ImageError as error:  # of an image that is read as it goes on
                work.failed = True
                if isinstance(work.tiles, StreamedTiles):
                    work.tiles.raster.close()
                    if work.item.rows is None:  # else others may be at work on theirs
                        work.tiles.store.remove()
                self.records.append(self._describe_failure(work.item, work.stamp, error))
        for builder in self._builders():
            if builder.owners and not self.fatal:
                self._translate(builder, pool)
            while builder.in_flight:
                self._finish(builder, pool)

    def _add_tiles(self, work: PendingImage, pool: ThreadPoolExecutor) -> None:
        """Raises :class:`ImageError`."""
        builder = self._builder_of(work)
        for index, tile in work.tiles.list_numbered():
            # By the tile's number: the noise must not depend on which tiles share a batch.
            key = self._key(work, index)
            if key is not None and self.settings.input_noise:
                tile = on_input(key, tile, self.settings.input_noise)
            if builder.add(tile, (work, index), key):
                self._translate(builder, pool)

    def _builders(self) -> list[BatchBuilder[tuple[PendingImage, int]]]:
        return [self.builder] if self.plain_builder is None else [self.builder, self.plain_builder]

    def _builder_of(self, work: PendingImage) -> BatchBuilder[tuple[PendingImage, int]]:
        """Engines other than PyTorch's have noise for all of a batch or for none."""
        if self.builder.mixes or not self.settings.noise or self._variant(work):
            return self.builder
        if self.plain_builder is None:
            settings = replace(self.settings, noise=False)
            dtype = self.info.ranges.input.dtype
            self.plain_builder = BatchBuilder(
                engine_of(settings), settings, self.architecture, dtype
            )
        return self.plain_builder

    def _variant(self, work: PendingImage) -> int:
        variant = work.item.variant
        return int(self.settings.noise) if variant is None else variant

    def _key(self, work: PendingImage, index: int) -> bytes | None:
        """What names the noise of a tile; ``None`` where it has none."""
        if not (variant := self._variant(work)):
            return None
        return noise_key(self.settings.seed, work.content, index, variant)

    def _drop(self) -> None:
        """The engine lives longer than a chunk: leave nothing of this one in it."""
        for builder in self._builders():
            while builder.overlapping is not None and builder.in_flight:
                builder.in_flight.popleft()
                with contextlib.suppress(EngineError):  # the next batch would be taken for this one
                    builder.overlapping.finish()

    def _decode(self, item: Item) -> PendingImage | Record:
        stamp = ""
        try:
            if item.variant != SOURCE:
                input_reading.require_form(item.form, self.info)
            with self.watch("reading it", item.name):
                large = large_images.open_large(item, self.info, self.settings)
            if large is not None:
                stamp = item.stamp or files.stamp_of(item.path)
                return self._begin_large(item, large, stamp)
            with self.watch("reading it", item.name):
                data, stamp = input_reading.read_file(item, self.info, self.settings)
            with self.watch("decoding it", item.name):
                data = input_reading.select_own_page(item, data)
                picture = input_reading.decode_item(item, data, self.info, self.settings)
            height, width = picture.pixels.shape[:2]
            output_formats.require_size(item.form, width * (1 + self.settings.side_by_side), height)
            kept = carried_metadata.collect(data, picture, self.settings)
            tiles = fit_to_model(
                picture.pixels,
                self.settings.fit,
                self.settings.size,
                self.architecture,
                by_band=picture.profile is not None,
            )
        except ImageError as error:
            return self._describe_failure(item, stamp, error)
        # The noise depends on the file's content, not on its name, so that a renamed input keeps
        # its image.
        content = hashlib.sha256(data).digest() if self.settings.noise else b""
        work = PendingImage(item, stamp, content, tiles, picture.alpha, kept, len(tiles))
        work.warning = "; ".join(filter(None, (*picture.warnings, kept.remark)))
        work.profile = picture.profile
        if self.settings.inspect:
            work.input = digest_of(data)
        if item.variant is not None:
            work.pixels = picture.pixels
            work.alpha = None if picture.profile is None else picture.alpha
        return work

    def _describe_failure(self, item: Item, stamp: str, error: ImageError) -> Record:
        refused = isinstance(error, NotToleratedError)
        under = self.settings.tolerance.journal_entry if refused else ""
        return Record(item.name, "failed", stamp, reason=str(error), under=under)

    def _begin_large(self, item: Item, raster: Raster, stamp: str) -> PendingImage:
        """An image that does not fit in memory. Raises :class:`ImageError`."""
        tiles = large_images.make_tiles(raster, item, stamp, self.info, self.settings)
        content = large_images.hash_content(item.path) if self.settings.noise else b""
        kept = carried_metadata.collect_described(item, self.settings)
        work = PendingImage(item, stamp, content, tiles, None, kept, len(tiles))
        work.squared_distances = tiles.squared_distances
        return work

    def _translate(
        self, builder: BatchBuilder[tuple[PendingImage, int]], pool: ThreadPoolExecutor
    ) -> None:
        """Run the engine on what is in the buffer and hand on the images that are complete.

        An engine that can begins this batch before the one before it is done, so that the GPU
        works while that one's images go on.
        """
        owners, tiles, masks = builder.take()
        self.translated += len(owners)
        first = owners[0][0].item.name
        if builder.overlapping is None:
            with ENGINE_LOCK, self.watch("translating it", first, len(owners)):
                made = builder.translate(tiles, masks, self._norms(builder, owners[0]))
            self._hand_on(owners, made, pool)
            return
        with self.watch("translating it", first, len(owners)):
            builder.overlapping.start(tiles, masks)
        builder.in_flight.append(owners)
        if len(builder.in_flight) > 1:
            self._finish(builder, pool)

    def _norms(
        self, builder: BatchBuilder[tuple[PendingImage, int]], owner: tuple[PendingImage, int]
    ) -> NormStatistics | None:
        """What all tiles of an image are normed by, measured when the first of them comes."""
        work, _ = owner
        if not isinstance(work.tiles, SharingTiles | StreamedTiles) or work.tiles.part is None:
            return None
        if work.norms is None:
            work.norms = builder.measure_norms(work.tiles.parts)
        return work.norms

    def _finish(
        self, builder: BatchBuilder[tuple[PendingImage, int]], pool: ThreadPoolExecutor
    ) -> None:
        assert builder.overlapping is not None
        owners = builder.in_flight.popleft()
        with self.watch("translating it", owners[0][0].item.name, len(owners)):
            made = builder.overlapping.finish()
        self._hand_on(owners, made, pool)

    def _hand_on(
        self, owners: list[tuple[PendingImage, int]], made: Translated, pool: ThreadPoolExecutor
    ) -> None:
        if self.domain is not None:
            # Without the padding of a batch that is not full.
            squared_distances = self.domain.squared_distances(made.embeddings[: len(owners)])
            for (work, _), square in zip(owners, squared_distances, strict=True):
                work.squared_distances.append(float(square))
        ready = []
        for (work, index), tile in zip(owners, made.images, strict=False):
            # Its other tiles were in the batch already when it failed.
            if work.failed:
                continue
            work.tiles.add_tile(index, tile)
            work.waiting -= 1
            if work.waiting == 0:
                ready.append(work)
        self._hand_over(ready, pool)

    def _hand_over(self, ready: Sequence[PendingImage], pool: ThreadPoolExecutor) -> None:
        step = count_together(len(ready), self.threads, self.settings.is_remote)
        for start in range(0, len(ready), step):
            # Bounds the images in memory where writing is slower than the engine. Two batches: one
            # is written while the next becomes ready.
            self._collect(2 * max(len(self.builder.buffer), self.threads))
            group = ready[start : start + step]
            self.writing.append((pool.submit(self._write_all, group), len(group)))
            self.unwritten += len(group)

    def _collect(self, leave: int) -> None:
        # In the order in which they were given to the pool, so records come in a steady order.
        while self.unwritten > leave:
            written, count = self.writing.popleft()
            self.records += written.result()
            self.unwritten -= count

    def _write_all(self, group: Sequence[PendingImage]) -> list[Record]:
        """What became of them, until OUT takes no more."""
        records = []
        with open_destination(self.settings.out) as destination:
            for work in group:
                try:
                    records.append(self.writer.write(work, self.place or destination.place))
                except OutputError as error:
                    self.fatal = str(error)
                    break
        return records
