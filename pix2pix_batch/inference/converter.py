"""What a worker does with a chunk: decode in threads, translate, encode in threads."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pix2pix_batch.errors import EngineError, ImageError, NotToleratedError, OutputError
from pix2pix_batch.imaging import image_statistics, images, kinds
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.imaging.raster.profile import RasterExtras
from pix2pix_batch.imaging.raster.reading import Raster
from pix2pix_batch.imaging.raster.streaming import StreamedTiles
from pix2pix_batch.imaging.tiling import SharingTiles
from pix2pix_batch.inference import carried_metadata, input_reading, large_images
from pix2pix_batch.inference.batch_builder import BatchBuilder
from pix2pix_batch.inference.carried_metadata import Metadata
from pix2pix_batch.inference.engine_cache import domain_of, engine_of, info_of, turn
from pix2pix_batch.inference.fitting import Fitted, fit_to_model
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.integrity import digest_of
from pix2pix_batch.journal.record import Record
from pix2pix_batch.noise import SOURCE, noise_key, on_input
from pix2pix_batch.storage import files

if TYPE_CHECKING:
    from pix2pix_batch.generators.generator import NormStatistics
    from pix2pix_batch.inference.engine import Translated

CODEC_THREADS = 2
"""Threads a worker decodes and encodes in, beside its one inference thread, unless the
environment says :data:`CODEC_THREADS_VARIABLE`."""

CODEC_THREADS_VARIABLE = "PIX2PIX_BATCH_CODEC_THREADS"
"""Set for the workers of GPUs, which leave the cores to the codecs."""

FAR_THREADS = 16
"""The same where inputs or outputs lie behind URLs: most of them then wait for an answer."""

READ_AHEAD = 32 << 20
"""Files of up to this many bytes together are decoded ahead of the engine."""

TOGETHER = 8
"""Images that a codec thread decodes or encodes without a word with the others, at most. Handing
one over costs two changes of thread, a tenth of a small JPEG's time
(``benchmarks/pipeline.py``)."""

SMALL = 1 << 20
"""Bytes of files that are decoded together, at most: beside larger ones that cost is nothing."""


Place = Callable[[str, bytes], None]
"""Puts an output's bytes where they belong, by its name."""


class Watch(Protocol):
    """What a step is done under: told what is done ("decoding it"), to which image, and to how
    many images at once."""

    def __call__(self, doing: str, name: str, count: int = 1) -> AbstractContextManager[None]: ...


def _no_watch(doing: str, name: str, count: int = 1) -> AbstractContextManager[None]:
    return contextlib.nullcontext()


def codec_threads(far: bool = False) -> int:
    if far:
        return FAR_THREADS
    return int(os.environ.get(CODEC_THREADS_VARIABLE, CODEC_THREADS))


@dataclass
class PendingImage:
    """One image on its way through the engine."""

    item: Item
    stamp: str
    content: bytes
    tiles: Fitted | StreamedTiles
    alpha: np.ndarray | None
    metadata: Metadata
    waiting: int
    input: str = ""
    warning: str = ""
    pixels: np.ndarray | None = None
    squares: list[float] = field(default_factory=list)
    norms: NormStatistics | None = None
    raster: RasterExtras | None = None
    failed: bool = False


class Converter:
    """Converts one chunk on this worker."""

    def __init__(
        self,
        settings: Settings,
        place: Place | None = None,
        watch: Watch | None = None,
    ) -> None:
        """``place``: by default into OUT.

        ``watch`` is entered for each step of each image, with what is done, to which, and to how
        many at once.
        """
        assert settings.batch_size is not None
        self.settings = settings
        self.place = place
        self.watch = watch or _no_watch
        self.info = info_of(settings.model, settings.fingerprint)
        self.architecture = self.info.architecture
        self.makes_pictures = self.info.ranges.output.is_picture
        self.domain = domain_of(settings.model, settings.fingerprint)
        self.lane: BatchBuilder[tuple[PendingImage, int]] = BatchBuilder(
            engine_of(settings), settings, self.architecture, self.info.ranges.input.dtype
        )
        self.plain: BatchBuilder[tuple[PendingImage, int]] | None = None
        self.threads = codec_threads(settings.far)
        self.records: list[Record] = []
        self.translated = 0  # tiles
        self.writing: deque[tuple[Future[list[Record]], int]] = deque()
        self.unwritten = 0  # images in there
        self.fatal = ""

    def run(self, items: Iterable[Item]) -> None:
        """Fill :attr:`records`; stops early, with :attr:`fatal` set, where OUT takes no more."""
        with ThreadPoolExecutor(self.threads, "codec") as pool:
            with contextlib.nullcontext() if self.lane.overlapping is None else turn:
                try:
                    self._run(items, pool)
                except OutputError as error:
                    self.fatal = str(error)
                finally:
                    self._drop()
            self._collect(0)

    def _run(self, items: Iterable[Item], pool: ThreadPoolExecutor) -> None:
        for work in self._decode_ahead(items, pool):
            if self.fatal:
                return
            if isinstance(work, Record):
                self.records.append(work)
                continue
            if work.item.variant == SOURCE or not work.waiting:
                self._hand_over([work], pool)
                continue
            try:
                self._add_tiles(work, pool)
            except ImageError as error:  # of an image that is read as it goes on
                work.failed, reason = True, str(error)
                if isinstance(work.tiles, StreamedTiles):
                    work.tiles.raster.close()
                    work.tiles.store.remove()
                self.records.append(Record(work.item.name, "failed", work.stamp, reason=reason))
        for lane in self._lanes():
            if lane.owners and not self.fatal:
                self._translate(lane, pool)
            while lane.flying:
                self._finish(lane, pool)

    def _add_tiles(self, work: PendingImage, pool: ThreadPoolExecutor) -> None:
        """Raises :class:`ImageError`."""
        lane = self._lane_of(work)
        for index, tile in work.tiles.list_numbered():
            key = self._key(work, index)
            if key is not None and self.settings.input_noise:
                tile = on_input(key, tile, self.settings.input_noise)
            if lane.add(tile, (work, index), key):
                self._translate(lane, pool)

    def _lanes(self) -> list[BatchBuilder[tuple[PendingImage, int]]]:
        return [self.lane] if self.plain is None else [self.lane, self.plain]

    def _lane_of(self, work: PendingImage) -> BatchBuilder[tuple[PendingImage, int]]:
        """Engines other than PyTorch's have noise for all of a batch or for none."""
        if self.lane.mixes or not self.settings.noise or self._variant(work):
            return self.lane
        if self.plain is None:
            settings = replace(self.settings, noise=False)
            dtype = self.info.ranges.input.dtype
            self.plain = BatchBuilder(engine_of(settings), settings, self.architecture, dtype)
        return self.plain

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
        for lane in self._lanes():
            while lane.overlapping is not None and lane.flying:
                lane.flying.popleft()
                with contextlib.suppress(EngineError):  # the next batch would be taken for this one
                    lane.overlapping.finish()

    def _decode_ahead(
        self, items: Iterable[Item], pool: ThreadPoolExecutor
    ) -> Iterator[PendingImage | Record]:
        """The items' images in order, decoded some way ahead of their use."""
        ahead: deque[tuple[Future[list[PendingImage | Record]], list[Item], int]] = deque()
        batch, size, count = len(self.lane.buffer), 0, 0
        wanted = self.threads  # images; as many as fill a batch, once it is known
        few: list[Item] = []  # to be decoded together
        few_size = 0

        def send() -> None:
            nonlocal few, few_size
            if few:
                ahead.append((pool.submit(self._decode_all, few), few, few_size))
                few, few_size = [], 0

        def first() -> Iterator[PendingImage | Record]:
            nonlocal size, count, wanted
            coming, those, used = ahead.popleft()
            for made in coming.result():
                if isinstance(made, PendingImage):
                    wanted = max(self.threads, math.ceil(batch / len(made.tiles)))
                yield made
            size, count = size - used, count - len(those)

        last: Item | None = None
        for item in items:
            if item.variant is not None and last is not None and last.path == item.path:
                few.append(item)  # a variant of the one before, which is decoded once
                count += 1
                continue
            last = item
            with self.watch("reading it", item.name):
                length = files.size_of(item)
            if len(few) >= self._together(wanted) or few_size + length > SMALL:
                send()
            while ahead and (count >= wanted or size + length > READ_AHEAD):
                yield from first()
            few.append(item)
            few_size, size, count = few_size + length, size + length, count + 1
        send()
        while ahead:
            yield from first()

    def _together(self, images: int) -> int:
        """How many of so many images one thread should take at once."""
        if self.settings.far:  # where each is waited for
            return 1
        return max(1, min(TOGETHER, images // (2 * self.threads)))

    def _decode_all(self, items: Sequence[Item]) -> list[PendingImage | Record]:
        """Of variants of one input, the first decodes it."""
        found: list[PendingImage | Record] = []
        for item, before in zip(items, (None, *items), strict=False):
            again = item.variant is not None and before is not None and before.path == item.path
            found.append(_copy_decoded(found[-1], item) if again else self._decode(item))
        return found

    def _decode(self, item: Item) -> PendingImage | Record:
        stamp = ""
        try:
            input_reading.require_form(item.form, self.info)
            with self.watch("reading it", item.name):
                large = large_images.open_large(item, self.info, self.settings)
            if large is not None:
                stamp = item.stamp or files.stamp_of(item.path)
                return self._begin_large(item, large, stamp)
            with self.watch("reading it", item.name):
                data, stamp = input_reading.read_file(item, self.info, self.settings)
            with self.watch("decoding it", item.name):
                picture = input_reading.decode_item(item, data, self.info, self.settings)
            height, width = picture.pixels.shape[:2]
            kinds.require_size(item.form, width * (1 + self.settings.beside), height)
            kept = carried_metadata.collect(data, picture, self.settings)
            profile = picture.profile
            if profile is None and OUTPUT_FORMATS[item.form].driver and not self.makes_pictures:
                profile = input_reading.place_of(kept.fields, picture.alpha is not None)
            extras = input_reading.make_extras(profile, item.form, self.info, self.settings)
            tiles = fit_to_model(
                picture.pixels,
                self.settings.fit,
                self.settings.size,
                self.architecture,
                by_band=picture.profile is not None,
            )
        except ImageError as error:
            refused = isinstance(error, NotToleratedError)
            under = self.settings.tolerance.journal_entry if refused else ""
            return Record(item.name, "failed", stamp, reason=str(error), under=under)
        content = hashlib.sha256(data).digest() if self.settings.noise else b""
        work = PendingImage(item, stamp, content, tiles, picture.alpha, kept, len(tiles))
        work.warning = "; ".join(filter(None, (*picture.warnings, kept.remark)))
        work.raster = extras
        if self.settings.inspect:
            work.input = digest_of(data)
        if item.variant is not None:
            work.pixels, work.alpha = picture.pixels, None
        return work

    def _begin_large(self, item: Item, raster: Raster, stamp: str) -> PendingImage:
        """An image that does not fit in memory. Raises :class:`ImageError`."""
        tiles = large_images.make_tiles(raster, item, stamp, self.info, self.settings)
        content = large_images.hash_content(item.path) if self.settings.noise else b""
        work = PendingImage(item, stamp, content, tiles, None, Metadata(), len(tiles))
        work.squares = tiles.squares
        return work

    def _translate(
        self, lane: BatchBuilder[tuple[PendingImage, int]], pool: ThreadPoolExecutor
    ) -> None:
        """Run the engine on what is in the buffer and hand on the images that are complete.

        An engine that can begins this batch before the one before it is done, so that the GPU
        works while that one's images go on.
        """
        owners, tiles, masks = lane.take()
        self.translated += len(owners)
        first = owners[0][0].item.name
        if lane.overlapping is None:
            with turn, self.watch("translating it", first, len(owners)):
                made = lane.translate(tiles, masks, self._norms(lane, owners[0]))
            self._hand_on(owners, made, pool)
            return
        with self.watch("translating it", first, len(owners)):
            lane.overlapping.start(tiles, masks)
        lane.flying.append(owners)
        if len(lane.flying) > 1:
            self._finish(lane, pool)

    def _norms(
        self, lane: BatchBuilder[tuple[PendingImage, int]], owner: tuple[PendingImage, int]
    ) -> NormStatistics | None:
        """What all tiles of an image are normed by, measured when the first of them comes."""
        work, _ = owner
        if not isinstance(work.tiles, SharingTiles | StreamedTiles) or work.tiles.part is None:
            return None
        if work.norms is None:
            work.norms = lane.measure_norms(work.tiles.parts)
        return work.norms

    def _finish(
        self, lane: BatchBuilder[tuple[PendingImage, int]], pool: ThreadPoolExecutor
    ) -> None:
        assert lane.overlapping is not None
        owners = lane.flying.popleft()
        with self.watch("translating it", owners[0][0].item.name, len(owners)):
            made = lane.overlapping.finish()
        self._hand_on(owners, made, pool)

    def _hand_on(
        self, owners: list[tuple[PendingImage, int]], made: Translated, pool: ThreadPoolExecutor
    ) -> None:
        if self.domain is not None:
            squares = self.domain.squares(made.embeddings[: len(owners)])
            for (work, _), square in zip(owners, squares, strict=True):
                work.squares.append(float(square))
        ready = []
        for (work, index), tile in zip(owners, made.images, strict=False):
            if work.failed:
                continue
            work.tiles.add_tile(index, tile)
            work.waiting -= 1
            if work.waiting == 0:
                ready.append(work)
        self._hand_over(ready, pool)

    def _hand_over(self, ready: Sequence[PendingImage], pool: ThreadPoolExecutor) -> None:
        step = self._together(len(ready))
        for start in range(0, len(ready), step):
            self._collect(2 * max(len(self.lane.buffer), self.threads))
            few = ready[start : start + step]
            self.writing.append((pool.submit(self._write_all, few), len(few)))
            self.unwritten += len(few)

    def _collect(self, leave: int) -> None:
        while self.unwritten > leave:
            written, count = self.writing.popleft()
            self.records += written.result()
            self.unwritten -= count

    def _write_all(self, few: Sequence[PendingImage]) -> list[Record]:
        """What became of them, until OUT takes no more."""
        records = []
        with files.Destination(self.settings.out) as destination:
            for work in few:
                try:
                    records.append(self._write(work, self.place or destination.place))
                except OutputError as error:
                    self.fatal = str(error)
                    break
        return records

    def _write(self, work: PendingImage, place: Place) -> Record:
        item = work.item
        if isinstance(work.tiles, StreamedTiles):
            return self._write_large(work, work.tiles, place)
        try:
            picture = images.Picture(self._output_pixels(work), work.alpha)
            with self.watch("encoding it", item.name):
                data = images.write(
                    picture,
                    item.form,
                    self.settings.quality,
                    work.metadata.exif,
                    work.metadata.fields,
                    (b"" if item.variant == SOURCE else self.settings.origin) or work.metadata.xmp,
                    work.raster,
                    work.metadata.iptc,
                )
        except MemoryError:
            return Record(item.name, "failed", reason="too large for this machine's memory")
        except Exception as error:
            reason = f"cannot be written as {item.form}: {error}"
            return Record(item.name, "failed", work.stamp, reason=reason)
        try:
            with self.watch("writing it", item.name):
                beside = self._place(item, work.metadata, data, place)
        except ImageError as error:  # for no reason of the input's own: it is tried again
            return Record(item.name, "failed", reason=str(error))
        is_made = item.variant != SOURCE  # and no copy of the input
        distance = self._distance(work) if is_made else None
        look = image_statistics.Appearance(look="", flags="")
        if is_made and self.settings.inspect:
            assert work.tiles.result is not None
            look = image_statistics.measure_appearance(work.tiles.result)
        return Record(
            item.name,
            "done",
            work.stamp,
            item.output,
            hash=digest_of(data),
            distance=distance,
            input=work.input,
            warning=work.warning,
            unmeasured=True if is_made and distance is None and self.domain is not None else None,
            beside=beside or None,
            **look,
        )

    def _write_large(self, work: PendingImage, tiles: StreamedTiles, place: Place) -> Record:
        """As :meth:`_write`, of an image whose rows lie on the disk."""
        item = work.item
        try:
            squares = tiles.all_squares() if self.domain is not None else []
            with self.watch("writing it", item.name):
                beside = self._place_sidecars(item, work.metadata, place)
            watched = partial(self.watch, "writing it", item.name)
            hashed = large_images.write_output(tiles, item, self.info, self.settings, watched)
        except ImageError as error:
            return Record(item.name, "failed", reason=str(error))
        finally:
            tiles.raster.close()
        if self.settings.keep_times:
            time = carried_metadata.modification_time(item)
            carried_metadata.date(Path(self.settings.out) / item.output, time)
        warning = "; ".join(tiles.raster.warnings)
        record = Record(item.name, "done", work.stamp, item.output, hash=hashed)
        record = replace(record, warning=warning, beside=beside or None)
        distance = None if self.domain is None else self.domain.distance(squares, tiles.shares)
        unmeasured = True if distance is None and self.domain is not None else None
        return replace(record, distance=distance, unmeasured=unmeasured)

    def _output_pixels(self, work: PendingImage) -> np.ndarray:
        """The output's pixels."""
        if work.item.variant == SOURCE:
            assert work.pixels is not None
            return work.pixels
        assert work.tiles.result is not None
        if self.settings.beside:
            assert work.pixels is not None
            return images.side_by_side(work.pixels, work.tiles.result)
        return work.tiles.result

    def _distance(self, work: PendingImage) -> float | None:
        """From the model's training inputs, where the bundle can tell."""
        if self.domain is None:
            return None
        return self.domain.distance(work.squares, work.tiles.shares)

    def _place(self, item: Item, kept: Metadata, data: bytes, place: Place) -> tuple[str, ...]:
        """The output and what goes beside it, which is there when the output is, and is returned
        by name."""
        beside = self._place_sidecars(item, kept, place)
        place(item.output, data)
        if self.settings.keep_times:
            time = carried_metadata.modification_time(item)
            carried_metadata.date(Path(self.settings.out) / item.output, time)
        return beside

    def _place_sidecars(self, item: Item, kept: Metadata, place: Place) -> tuple[str, ...]:
        if not item.sidecars and kept.ground is None:  # as nearly all
            return ()
        out = Path(self.settings.out)
        beside = []
        for sidecar in carried_metadata.list_sidecar_outputs(item, kept, item.output):
            place(sidecar.name, sidecar.data)
            beside.append(sidecar.name)
            if self.settings.keep_times:
                carried_metadata.date(out / sidecar.name, sidecar.time)
        return tuple(beside)


def _copy_decoded(made: PendingImage | Record, item: Item) -> PendingImage | Record:
    """What was decoded, or not, for another variant of the same input."""
    if isinstance(made, Record):
        return replace(made, name=item.name)
    return replace(
        made, item=item, tiles=made.tiles.restart(), waiting=len(made.tiles), squares=[], norms=None
    )
