"""The tasks that run on Dask workers.

Importing this module does not import torch: the client does so to name the tasks.
"""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from pix2pix_batch import bundle
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.execution import preflight, tar_converter, tar_members
from pix2pix_batch.execution.marker import Marker, Trial
from pix2pix_batch.execution.preflight import WorkerRequirements
from pix2pix_batch.execution.watchdog import Watchdog
from pix2pix_batch.inference import engine_cache
from pix2pix_batch.inference.autotune import autotune, expected_settings
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.engine_cache import engine_of
from pix2pix_batch.inference.large_images import read_probe
from pix2pix_batch.inference.settings import Decision, Settings
from pix2pix_batch.inputs.choice import InputFilter
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import FAILED, Record
from pix2pix_batch.storage import files
from pix2pix_batch.text import describe_error

BROKEN = 3
"""If an engine fails with so many images at the beginning of a chunk, it fails with all."""


@dataclass(frozen=True)
class ChunkOptions:
    """How a chunk is to be run.

    ``marker``: the path of its marker, empty for none; ``careful``: convert one image after the
    other, and name each in the marker; ``limit``: seconds that a step of one image may take, 0 for
    no limit; ``time_budget``: seconds of work after which no further image is begun, 0 for no
    limit; ``needs``: what the worker must have, if it was not checked yet; ``excluded_records``:
    records of a tar's images that are not to be tried any more.
    """

    marker: str = ""
    careful: bool = False
    limit: float = 0.0
    time_budget: float = 0.0
    needs: WorkerRequirements | None = None
    excluded_records: tuple[Record, ...] = ()


@dataclass(frozen=True)
class ChunkResult:
    """The records of a chunk's items, made by the worker of that address in ``seconds`` of work.

    ``tiles``: how many the engine translated; ``left``: items that were not begun, because the
    chunk took too long. ``fatal``: why the rest of the job cannot be written. ``died``: another
    worker died on the chunk before this one received it, so nothing was done. ``unfit``: why this
    worker cannot work for the job.
    """

    records: list[Record]
    seconds: float = 0.0
    fatal: str = ""
    worker: str = ""
    died: bool = False
    unfit: str = ""
    tiles: int = 0
    left: tuple[Item, ...] = ()


@dataclass
class PartialResult:
    """The results of a chunk so far."""

    records: list[Record] = field(default_factory=list)
    fatal: str = ""
    tiles: int = 0
    left: tuple[Item, ...] = ()


def convert_chunk(
    settings: Settings, items: Sequence[Item], chunk_options: ChunkOptions | None = None
) -> ChunkResult:
    """Convert ``items``. There is one record for each, in any order, except for those that are
    left. Running it twice does no harm."""
    here, chunk_options = _address(), chunk_options or ChunkOptions()
    if chunk_options.needs and (
        lacks := preflight.find_problems_once(settings, chunk_options.needs)
    ):
        return ChunkResult([], worker=here, unfit="; ".join(lacks))
    try:
        mark = Marker(chunk_options.marker)
    # Dask itself gives a dead worker's task to the next; the client must hear of that death first.
    except FileExistsError:
        return ChunkResult([], worker=here, died=True)
    with mark:
        try:
            _open_engine(
                settings
            )  # not watched: PyTorch alone may take longer to load than an image may
            # After the engine is open, which only a worker's first chunk pays for: the planner must
            # not take it for the images' time.
            start = time.perf_counter()
            with Watchdog(chunk_options.limit, lambda doing, name: mark.hung(doing)) as watchdog:
                if chunk_options.careful:
                    done = _one_by_one(settings, items, chunk_options, mark, watchdog)
                else:
                    done = _together(settings, items, chunk_options, watchdog)
        except Broken as error:
            return ChunkResult([], worker=here, unfit=str(error))
    seconds = time.perf_counter() - start
    return ChunkResult(done.records, seconds, done.fatal, here, tiles=done.tiles, left=done.left)


class Broken(Exception):
    """Raised when the engine cannot be opened or fails with every image, so that this worker is of
    no use."""


def _open_engine(settings: Settings) -> None:
    # Pillow's remarks name no file; what is wrong with one is in its record
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        engine_of(settings)
        _spare_collector()
    except Exception as error:  # such as a GPU that has no memory left
        raise Broken(f"cannot open its engine: {describe_error(error)}") from error


@cache
def _spare_collector() -> None:
    """Have the garbage collector leave alone what stays: the modules of PyTorch and others are
    hundreds of thousands of objects, which it else looks through again and again (4 % of the time
    of small JPEGs). What is forked from a template has most of them spared already."""
    gc.collect()
    gc.freeze()


def _together(
    settings: Settings,
    items: Sequence[Item],
    chunk_options: ChunkOptions,
    watchdog: Watchdog,
    mark: Marker | None = None,
) -> PartialResult:
    """Records, of tars also those of their images, and what is fatal.

    With a ``mark`` a tar's images are each named in it.
    """
    hold = mark.member if mark else None
    converter = Converter(settings, watch=watchdog)
    timed = TimedItems([item for item in items if not item.tar], chunk_options.time_budget)
    converter.run(timed)
    done = PartialResult(converter.records, converter.fatal, converter.translated, timed.left)
    for item in items:
        if item.tar and not done.fatal:
            found, done.fatal = tar_converter.convert(
                settings, item, watchdog, hold, chunk_options.excluded_records
            )
            done.records += found
    return done


class TimedItems:
    """Gives items one after the other until ``time_budget`` seconds have passed.

    ``left``: the rest.
    """

    def __init__(self, items: Sequence[Item], time_budget: float) -> None:
        self.items, self.time_budget = items, time_budget
        self.left: tuple[Item, ...] = ()

    def __iter__(self) -> Iterator[Item]:
        start = time.perf_counter()
        for index, item in enumerate(self.items):
            # The first is always taken: a chunk that begins nothing would come back the same for
            # ever.
            if index and 0 < self.time_budget < time.perf_counter() - start:
                self.left = tuple(self.items[index:])
                return
            yield item


def _one_by_one(
    settings: Settings,
    items: Sequence[Item],
    chunk_options: ChunkOptions,
    mark: Marker,
    watchdog: Watchdog,
) -> PartialResult:
    """Records, and what is fatal. An image that makes the engine fail only fails itself.

    Raises :class:`Broken`.
    """
    done = PartialResult()
    failures = 0
    with mark.naming_signals():
        for index, item in enumerate(items):
            # The stamp from before it is read: if the file changes meanwhile, the new one is tried
            # again.
            mark.begin(index, _stamp(item))
            try:
                one = _together(settings, [item], chunk_options, watchdog, mark)
            except Exception as error:
                failures += 1
                if failures == index + 1 == BROKEN:
                    raise Broken(f"its engine fails: {describe_error(error)}") from error
                reason = f"the worker failed: {describe_error(error)}"
                one = PartialResult([Record(item.name, FAILED, reason=reason)])
            done.records += one.records
            done.fatal = one.fatal
            if done.fatal:
                return done
            for record in one.records:
                mark.finish(record)
    return done


def autotune_job(
    settings: Settings, items: Sequence[Item], chunk_options: ChunkOptions | None = None
) -> Decision:
    """:func:`~pix2pix_batch.inference.autotune.autotune`, of those items that can be decoded and do
    not harm the worker. Raises :class:`InputError` where this worker lacks something."""
    import torch  # noqa: F401  # so that Dask has the worker's start behind it, if it dies here

    chunk_options = chunk_options or ChunkOptions()
    if chunk_options.needs and (
        lacks := preflight.find_problems_once(settings, chunk_options.needs)
    ):
        raise InputError(preflight.format_unfit({_address(): lacks}))
    trial = Trial(chunk_options.marker)
    info = bundle.read_info(Path(settings.model))
    looked: list[Item] = []
    with Watchdog(chunk_options.limit, lambda doing, name: None) as watchdog:

        @contextmanager
        def tried(doing: str, item: Item) -> Iterator[None]:
            trial.begin(item.name)
            with watchdog(doing, item.name):
                yield
            trial.end(item.name)

        for item in items:
            if item.tar and item.name not in trial.harmful:
                with tried("reading it", item):
                    looked += tar_members.first_images(
                        item, InputFilter(settings.exclude, settings.include)
                    )
            elif not item.tar:
                looked.append(item)
        good = []
        for item in looked:
            if item.name not in trial.harmful:
                with tried("decoding it", item), suppress(ImageError):
                    read_probe(item, info, settings)
                    good.append(item)
    return autotune(settings, good)


def open_ahead(settings: Settings) -> None:
    """Open the engine that :func:`autotune_job` will decide for on another worker, if nothing
    speaks against it. What goes wrong shows where the engine is needed."""
    with suppress(Exception):
        if likely := expected_settings(settings):
            engine_cache.open_ahead(likely)


def _stamp(item: Item) -> str:
    try:
        return item.stamp or files.stamp_of(item.path)
    except ImageError:
        return ""


def _address() -> str:
    """This worker's; empty where there is none, as in a test."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return ""
