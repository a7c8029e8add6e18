"""The convert job: scan, drop what is done, send chunks to Dask, journal what comes back."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.execution import marker, out_directory, preflight, worker
from pix2pix_batch.execution.cluster_handle import PATIENCE, ClusterHandle, autotune_on_worker
from pix2pix_batch.execution.dispatch import Dispatcher
from pix2pix_batch.execution.interruption import interruptible
from pix2pix_batch.execution.item_selector import ItemSelector
from pix2pix_batch.execution.preflight import WorkerRequirements
from pix2pix_batch.execution.run_recorder import RunRecorder
from pix2pix_batch.execution.start_workers import start_workers
from pix2pix_batch.execution.task_spec import Task, TaskSpec
from pix2pix_batch.execution.worker import ChunkOptions
from pix2pix_batch.inference import autotune, input_reading, large_images
from pix2pix_batch.inference.settings import WHOLE, Opener, Settings, apply_decision
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.item import Item
from pix2pix_batch.journal.history import DIRECTORY_OF_NAMES, OUT_OF_JOURNAL, RANGES, History
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.options import Options, read_image_model, take_common, what_decides_bytes
from pix2pix_batch.reporting.left_alone import count_left_alone
from pix2pix_batch.reporting.progress import Progress, ProgressReporter
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.storage import destination, files, remote
from pix2pix_batch.storage.common import FULL
from pix2pix_batch.text import escape

AnyHistory = TypeVar("AnyHistory", bound=History)


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: Options | None = None,
    *,
    watch: Callable[[Progress], None] | None = None,
    plan: Callable[[Item], None] | None = None,
    opener: Opener | None = None,
) -> Summary:
    """Convert the images of ``source`` into ``out``.

    ``source``: a directory, a glob, ``@list.txt``, ``-``, a tar, or a URL of one of these; ``out``:
    a directory or a URL. ``watch`` is called a few times a second. With ``dry_run``, nothing is
    written and ``plan`` is called with each item that would be converted. ``opener`` opens engines
    other than PyTorch's on the workers; without one there are none. Raises :class:`InputError`
    (also where there is no image) and :class:`OutputError` before anything is converted; one bad
    image only fails itself.
    """
    return Job(os.fspath(source), os.fspath(out), options or Options(), watch, plan, opener).run()


class Job:
    """One run of ``convert``."""

    summary_type: type[Summary] = Summary

    def __init__(
        self,
        source: str,
        out: str,
        options: Options,
        watch: Callable[[Progress], None] | None,
        plan: Callable[[Item], None] | None = None,
        opener: Opener | None = None,
        task: Task = worker.convert_chunk,
    ) -> None:
        self.task = task
        # where the journal is: OUT itself, unless that is a URL
        self.out = files.journal_directory(out, options.journal)
        self.options, self.plan = options, plan
        model = bundle.resolve(options.model)
        self.info = read_image_model(model)
        if options.noise and not self.info.architecture.dropout_blocks:
            raise InputError(
                f"{model}: has no dropout, so --noise would change nothing; leave it out"
            )
        fit = options.fit or self.info.fit
        self._require_fit(model, fit)
        input_reading.require_format(self.info, options.format, options.creation_option)
        self.settings = take_common(
            Settings,
            options,
            model=str(model.resolve()),
            fingerprint=bundle.fingerprint(model),
            out=files.absolute(out),
            fit=fit,
            size=self.info.image_size,
            batch_size=1 if fit == WHOLE else options.batch_size,
            quality=options.quality_used,
            seed=options.seed if options.noise else 0,
            opener=opener,
            tolerance=options.tolerance,
        )
        self.is_remote = remote.is_url(self.settings.out)
        self.here = os.getcwd()
        scan_options = take_common(
            ScanOptions,
            options,
            form=options.format,
            out=self.settings.out if self.is_remote else out,
            rasters=input_reading.takes_rasters(self.info, options.bands),
        )
        self.make_scan: Callable[[], InputSource] = partial(open_inputs, source, scan_options)
        self.scan = self.make_scan()
        self._require_possible()
        self.streamed = self.scan.is_read_once
        self.countable = not (self.scan.is_read_once or self.scan.tars)
        self.summary = self.summary_type(
            model=self.info.name, shard=options.shard or "", dry_run=options.dry_run
        )
        self.stop = threading.Event()
        self.progress = ProgressReporter(watch, self.summary, self.stop)
        self.selector = ItemSelector(
            self.scan, options, self.settings.out, self.out, self.summary, self.stop
        )

    def _require_fit(self, model: Path, fit: str) -> None:
        try:
            bundle.require_fit(self.info.architecture, fit)
        except ValueError as error:
            raise InputError(f"{model}: {error}") from error
        if fit == WHOLE and self.options.batch_size is not None:
            raise InputError(
                "--batch-size: with --fit whole images run one after the other; leave it out"
            )

    def identity(self) -> dict[str, Any]:
        """What decides the bytes of the outputs, and the model's name: the journal's first line."""
        return {
            **self._inputs_and_model(),
            **what_decides_bytes(self.options, self._resolved_options()),
            **self._members_chosen(),
        }

    def _inputs_and_model(self) -> dict[str, Any]:
        return {
            "input": self.scan.identity,
            **self._directory_of_names(),
            **({OUT_OF_JOURNAL: remote.redact(self.settings.out)} if self.is_remote else {}),
            "model": self.settings.fingerprint,
            "model_name": self.info.name,
            **self._value_ranges(),
        }

    def _value_ranges(self) -> dict[str, Any]:
        """For who looks at rasters without the model."""
        told = {word: side.as_dict() for word, side in self.info.raster_sides.items()}
        return {RANGES: told} if told else {}

    def _resolved_options(self) -> dict[str, Any]:
        """The options of which something else was made than was given."""
        settings = self.settings
        return {
            "fit": settings.fit,
            "quality": settings.quality,
            "seed": settings.seed,
            "lenient": settings.tolerance.lenient or None,
            "creation_option": sorted(settings.creation_option) or None,
        }

    def _directory_of_names(self) -> dict[str, Any]:
        directory = self.scan.directory_of_names
        return {} if directory is None else {DIRECTORY_OF_NAMES: directory}

    def _members_chosen(self) -> dict[str, Any]:
        """Patterns say what tars hold. Of folders they only say which images are converted."""
        if not (self.scan.tars or self.scan.is_list):
            return {}
        options = self.options
        return {
            "exclude": sorted(options.exclude) or None,
            "include": sorted(options.include) or None,
        }

    def _require_possible(self) -> None:
        """Raises :class:`InputError` for what does not go with URLs or tars."""
        destination.require_writable(self.settings.out)
        places = [self.settings.out, self.scan.source]
        in_process = (self.options.scheduler or "").startswith("inproc://")
        if not in_process and any(remote.scheme(place) == remote.MEMORY for place in places):
            raise InputError(
                "memory:// lives in one process, and the workers are others; it is for tests with "
                "a scheduler in the same process (inproc://)"
            )
        if self.options.keep_times and (self.is_remote or self.scan.tars):
            raise InputError("--keep-times needs files on disk, neither URLs nor tars")

    def run(self) -> Summary:
        self.selector.require_images()
        if self.options.dry_run:
            return self._dry_run()
        made = out_directory.make_directory(self.out)
        try:
            self._run_journaled()
        except InputError:
            out_directory.remove_empty(made)
            raise
        self._write_page()
        return self.summary

    def _drop_parts(self) -> None:
        """What is left of large images that other settings, or other inputs, were to make is of no
        use. Other shards may be at work on theirs."""
        kept = self.is_remote or self.selector.shard or self.summary.interrupted
        if not (kept or self.summary.fatal):
            shutil.rmtree(large_images.parts_directory(self.settings.out), ignore_errors=True)

    def _run_journaled(self) -> None:
        journal = self._open_history(Journal)
        root, selector = self.scan.root or None, self.selector
        recorder = RunRecorder(journal, self.summary, root, selector.shard, selector.outdated)
        try:
            with interruptible(self.stop, self.summary):
                self._run(recorder)
        except OutputError as error:
            self.summary.fatal = str(error)
        except InputError:
            if not recorder.begun:
                journal.withdraw()
            raise
        except Exception as error:  # a bug: the journal must not say that the job finished
            self.summary.fatal = repr(error)
            raise
        finally:
            self._complete_summary()
            self._drop_parts()  # while the journal keeps other runs out
            recorder.end()

    def _write_page(self) -> None:
        """The report is nothing that a job can fail for."""
        from pix2pix_batch.reporting import html_page

        if self.options.report:
            self.summary.page, note = html_page.attempt(self.out, self.settings.out)
            self.summary.remark("" if self.summary.fatal else note)

    def _complete_summary(self) -> None:
        summary, scan = self.summary, self.scan
        count_left_alone(summary, scan)
        if scan.is_list and 0 < self.selector.missing == summary.total:
            summary.remark(
                "none of the listed files can be found; relative paths are taken from "
                f"{escape(self.here)}"
            )
        where = f"the journal is in {escape(self.out)}" if self.is_remote else ""
        summary.remark(self.selector.left, where)
        summary.seconds = round(self.progress.seconds, 3)
        if summary.seconds:
            summary.images_per_second = round(summary.converted / summary.seconds, 3)

    def _open_history(self, kind: type[AnyHistory]) -> AnyHistory:
        """A place that cannot be read or written is wrong use; a full disk is not."""
        try:
            return kind(
                self.out,
                self.identity(),
                overwrite=self.options.overwrite,
                shard=self.selector.shard,
            )
        except OutputError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
                raise
            raise InputError(str(error)) from error

    def _dry_run(self) -> Summary:
        """What a run would do. Nothing is written, and another run may be under way."""
        out_directory.require_no_file(self.out)
        for item in self.selector.select(self._open_history(History), self.summary.add):
            self.summary.planned += 1
            if self.plan is not None:
                self.plan(item)
        self._complete_summary()
        return self.summary

    def _run(self, recorder: RunRecorder) -> None:
        """Convert what is to be converted. Workers are started only where there is something."""
        journal = recorder.journal
        if "precision" in journal.job:
            self.settings = self._settings_as_begun(journal.job)
        with closing(self.selector.select(journal, recorder.record)) as pending:
            first = list(islice(pending, autotune.PROBE_IMAGES))
            if self.stop.is_set():
                self.summary.interrupted = True
            elif first:
                self._convert(recorder, first, pending)
            else:
                journal.replace()
                self.selector.describe(journal.overwrites)
                if any((self.selector.gone or {}).values()):
                    recorder.count(self.summary.total, self.selector.gone)

    def _convert(self, recorder: RunRecorder, first: list[Item], rest: Iterator[Item]) -> None:
        """Have the items converted; what is decided for all is decided on the ``first``."""
        options, journal = self.options, recorder.journal
        far = self.is_remote or any(remote.is_url(item.path) for item in first)
        self.settings = replace(self.settings, far=far)
        with ExitStack() as stack:
            client, self.progress.workers = start_workers(
                stack, options, self.info, self.settings, first
            )
            from pix2pix_batch.execution import cluster

            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.progress.dashboard = cluster.dashboard_address(client)
            self._count_in_background(journal)
            markers = stack.enter_context(marker.marker_directory(journal.path))
            if self.is_remote and options.scheduler:  # whose workers do not see this disk
                markers = ""
            orders = self._chunk_options(markers, first)
            if orders.needs and self.progress.workers:  # else who takes the first look is asked
                preflight.require_fit(client, self.settings, orders.needs)
            handle = ClusterHandle(
                client,
                patience=cluster.PATIENCE if options.scheduler else PATIENCE,
                tend=partial(cluster.restart_dead_workers, client),
                stop=self.stop,
                show_waiting=self.progress.show,
            )
            self._autotune(handle, journal, first, orders)
            self.progress.workers = self.progress.workers or max(1, len(client.nthreads()))
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            recorder.begin(self.progress.workers)
            self.selector.describe(journal.overwrites)
            work = TaskSpec(
                self.settings, orders, markers, self.task, self.streamed, self._split_item
            )
            self._dispatch(handle, work, recorder, map(self._resolve_path, chain(first, rest)))

    def _dispatch(
        self, handle: ClusterHandle, work: TaskSpec, recorder: RunRecorder, items: Iterator[Item]
    ) -> None:
        def watch() -> None:
            recorder.count(self.progress.total, self.selector.gone)
            self.progress.show()

        dispatcher = Dispatcher(handle, work, recorder, watch=watch, stop=self.stop)
        try:
            if not dispatcher.run(items):
                self.summary.interrupted = True
        finally:
            self.selector.take_back(dispatcher.ahead)
            self.summary.remark(*dispatcher.notes)
        if not self.summary.interrupted:
            self.progress.total = self.summary.total
        watch()

    def _split_item(self, item: Item) -> list[Item]:
        return large_images.split_rows(item, self.info, self.settings)

    def _resolve_path(self, item: Item) -> Item:
        """The item as workers find it: those of an existing cluster stand elsewhere."""
        path = files.join(self.here, item.path)
        return item if path == item.path else replace(item, path=path)

    def _chunk_options(self, markers: str, first: list[Item]) -> ChunkOptions:
        """How chunks are to be run. The workers of an existing cluster are not known."""
        path = os.path.join(markers, "probe") if markers else ""
        orders = ChunkOptions(marker=path, limit=self.options.item_timeout)
        if not self.options.scheduler:
            return orders
        paths = (item.path for item in map(self._resolve_path, first))
        seen = filter(files.is_readable, paths)
        return replace(
            orders, needs=WorkerRequirements(preflight.package_versions(), next(seen, ""), markers)
        )

    def _autotune(
        self, handle: ClusterHandle, journal: Journal, first: list[Item], orders: ChunkOptions
    ) -> None:
        """Settle device, backend, precision and batch size; a resumed job keeps what it began
        with."""
        looked = list(map(self._resolve_path, first))
        # few images may be for fewer workers, and a cluster's open what they need when they need it
        workers = self.progress.workers
        busy = workers if len(first) == autotune.PROBE_IMAGES else min(workers, len(first))
        others = 0 if self.options.scheduler else busy - 1
        decision = autotune_on_worker(handle, self.settings, looked, orders, others)
        if self.stop.is_set():  # before anything is replaced
            return
        if "precision" not in journal.job:
            mine = {
                "backend": decision.backend,
                "precision": decision.precision,
                "batch_size": decision.batch_size,
            }
            if journal.settle(**mine) != mine:  # another shard was quicker: as it decided
                self.settings = self._settings_as_begun(journal.job)
                return self._autotune(handle, journal, first, orders)
        self.settings = apply_decision(self.settings, decision)
        summary = self.summary
        summary.device, summary.precision = decision.device, decision.precision
        summary.backend, summary.note = decision.backend, decision.note

    def _settings_as_begun(self, begun: dict[str, Any]) -> Settings:
        """The settings with what a resumed job began with. Raises :class:`InputError`."""
        for name in ("backend", "precision"):
            if getattr(self.settings, name) not in ("auto", begun[name]):
                if self.options.overwrite:
                    raise InputError(
                        f"{escape(self.out)}: another shard has begun anew with --{name} "
                        f"{begun[name]}; go on with it, or begin that one anew first"
                    )
                raise InputError(
                    f"{escape(self.out)}: was begun with --{name} {begun[name]}; go on with it, "
                    "choose another OUT, or pass --overwrite"
                )
        return replace(
            self.settings,
            backend=begun["backend"],
            precision=begun["precision"],
            batch_size=self.settings.batch_size or begun["batch_size"],
        )

    def _count_in_background(self, history: History) -> None:
        if self.progress.watch is None or not self.countable:
            return

        def count() -> None:
            with suppress(InputError):
                self.progress.total = self.selector.count(self.make_scan(), history)

        threading.Thread(target=count, daemon=True, name="count").start()
