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
from typing import Any

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.execution import marker, out_directory, preflight, worker
from pix2pix_batch.execution.cluster_handle import PATIENCE, ClusterHandle, autotune_on_worker
from pix2pix_batch.execution.dispatch import Dispatcher
from pix2pix_batch.execution.interruption import interruptible
from pix2pix_batch.execution.item_selector import ItemSelector
from pix2pix_batch.execution.job_plan import JobPlan, plan_job
from pix2pix_batch.execution.preflight import WorkerRequirements
from pix2pix_batch.execution.run_recorder import RunRecorder
from pix2pix_batch.execution.start_workers import start_workers
from pix2pix_batch.execution.task_spec import Task, TaskSpec
from pix2pix_batch.execution.worker import ChunkOptions
from pix2pix_batch.inference import autotune, large_images
from pix2pix_batch.inference.settings import Opener, Settings, apply_decision
from pix2pix_batch.item import Item
from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.options import Options
from pix2pix_batch.reporting.left_alone import count_left_alone
from pix2pix_batch.reporting.progress import Progress, ProgressReporter
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.storage import files
from pix2pix_batch.text import escape


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
    options = options or Options()
    planned = plan_job(os.fspath(source), os.fspath(out), options, opener)
    summary = Summary(model=planned.info.name, shard=options.shard or "", dry_run=options.dry_run)
    progress = ProgressReporter(watch, summary, threading.Event())
    return Job(planned, progress, show_item=plan).run()


# The parts of a job, each with a life of its own, which only it brings together.
class Job:
    """One run of a plan: it selects items, sends them to workers and records the results."""

    def __init__(
        self,
        planned: JobPlan,
        progress: ProgressReporter,
        *,
        selector: ItemSelector | None = None,
        show_item: Callable[[Item], None] | None = None,
        at_begin: Callable[[], None] | None = None,
        task: Task = worker.convert_chunk,
    ) -> None:
        """``progress`` has the summary that is filled in, and what stops the run; ``selector``:
        ``None`` for all of the plan's inputs; ``show_item`` is called with what a dry run would
        convert, ``at_begin`` before the first chunk is sent; ``task`` runs a chunk."""
        self.planned, self.options, self.out = planned, planned.options, planned.out
        self.settings = planned.settings
        """Decided further as the job begins: by its journal, or on its first images."""
        self.progress, self.summary, self.stop = progress, progress.summary, progress.stop
        self.selector = selector or ItemSelector(
            planned.scan, self.options, self.settings.out, self.out, self.summary, self.stop
        )
        self.show_item, self.at_begin, self.task = show_item, at_begin, task
        self.here = os.getcwd()

    def run(self) -> Summary:
        self.selector.require_images()
        if self.options.dry_run:
            return self._dry_run()
        # The journal and its lock lie in OUT, so it must be there even if the run is then refused.
        made = out_directory.make_directory(self.out)
        try:
            self._run_journaled()
        except InputError:
            out_directory.remove_empty(made)
            raise
        self._write_page()
        return self.summary

    def _drop_parts(self) -> None:
        """Remove the parts of large images that no further run can use. Not while other shards may
        be at work on theirs."""
        must_stay = self.planned.is_remote or self.selector.shard or self.summary.interrupted
        if not (must_stay or self.summary.fatal):
            shutil.rmtree(large_images.parts_directory(self.settings.out), ignore_errors=True)

    def _run_journaled(self) -> None:
        with interruptible(self.stop, self.summary):  # from before the journal is there
            journal = self.planned.open_history(Journal)
            root, selector = self.planned.scan.root or None, self.selector
            recorder = RunRecorder(
                journal,
                self.summary,
                root,
                selector.shard,
                selector.outdated,
                selector.scan.drop_rename,
                selector.remove_leftovers,
            )
            self._run_recorded(recorder, journal)

    def _run_recorded(self, recorder: RunRecorder, journal: Journal) -> None:
        try:
            self._run(recorder)
        except KeyboardInterrupt:
            self.summary.interrupted = True
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
        """Write the report; a job does not fail if it cannot be written."""
        from pix2pix_batch.reporting import html_page

        if self.options.report:
            self.summary.page, note = html_page.attempt(self.out, self.settings.out)
            self.summary.remark("" if self.summary.fatal else note)

    def _complete_summary(self) -> None:
        summary, scan = self.summary, self.planned.scan
        count_left_alone(summary, scan)
        if scan.is_list and 0 < self.selector.missing == summary.total:
            summary.remark(
                "none of the listed files can be found; relative paths are taken from "
                f"{escape(self.here)}"
            )
        where = f"the journal is in {escape(self.out)}" if self.planned.is_remote else ""
        summary.remark(self.selector.left, where)
        summary.seconds = round(self.progress.seconds, 3)
        if summary.seconds:
            summary.images_per_second = round(summary.converted / summary.seconds, 3)

    def _dry_run(self) -> Summary:
        """Show what a run would do. Nothing is written, and another run may be under way."""
        out_directory.require_no_file(self.out)
        history = self.planned.open_history(History)
        if "precision" in history.job:
            self._settings_as_begun(history.job)
        for item in self.selector.select(history, self.summary.add):
            self.summary.planned += 1
            self.summary.tars += item.tar
            if self.show_item is not None:
                self.show_item(item)
        self._complete_summary()
        return self.summary

    def _run(self, recorder: RunRecorder) -> None:
        """Convert the selected items. Workers are started only if there are any."""
        journal = recorder.journal
        if "precision" in journal.job:
            self.settings = self._settings_as_begun(journal.job)
        # Closed in any case, so that inputs refused up to then reach the journal before it is
        # closed.
        with closing(self.selector.select(journal, recorder.record)) as pending:
            first = list(islice(pending, autotune.PROBE_IMAGES))
            if self.stop.is_set():
                self.summary.interrupted = True
            elif first:
                self._convert(recorder, first, pending)
            else:
                # Nothing will be converted, so nothing else will put the draft of --overwrite in
                # its place.
                journal.replace()
                self.selector.describe(journal.overwrites)
                if self.selector.presence is not None:
                    recorder.count(self.summary.total, self.selector.presence)

    def _convert(self, recorder: RunRecorder, first: list[Item], rest: Iterator[Item]) -> None:
        """Have the items converted. Device, precision and batch size are chosen on the
        ``first``."""
        options, journal = self.options, recorder.journal
        is_remote = self.planned.is_remote or not all(map(files.is_on_disk, first))
        self.settings = replace(self.settings, is_remote=is_remote)
        with ExitStack() as stack:
            client, self.progress.workers = start_workers(
                stack, options, self.planned.info, self.settings, first
            )
            # Not at the top: it imports Dask, which a dry run and a job with nothing left to do
            # need not.
            from pix2pix_batch.execution import cluster

            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.progress.dashboard = cluster.dashboard_address(client)
            self._count_in_background(journal)
            markers = stack.enter_context(marker.marker_directory(journal.path))
            if self.planned.is_remote and options.scheduler:  # whose workers do not see this disk
                markers = ""  # then chunks are halved to find an image
            chunk_options = self._chunk_options(markers, first)
            if (
                chunk_options.needs and self.progress.workers
            ):  # else who takes the first look is asked
                preflight.require_fit(client, self.settings, chunk_options.needs)
            handle = ClusterHandle(
                client,
                patience=cluster.PATIENCE if options.scheduler else PATIENCE,
                tend=partial(cluster.restart_dead_workers, client),
                stop=self.stop,
                show_waiting=self.progress.show,
            )
            self._autotune(handle, journal, first, chunk_options)
            self.progress.workers = self.progress.workers or max(1, len(client.nthreads()))
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            recorder.begin(self.progress.workers)
            self.selector.describe(journal.overwrites)
            streamed = self.planned.streamed
            work = TaskSpec(
                self.settings, chunk_options, markers, self.task, streamed, self._split_item
            )
            self._dispatch(handle, work, recorder, map(self._resolve_path, chain(first, rest)))

    def _dispatch(
        self, handle: ClusterHandle, work: TaskSpec, recorder: RunRecorder, items: Iterator[Item]
    ) -> None:
        if self.at_begin is not None:
            self.at_begin()

        def watch() -> None:
            recorder.count(self.progress.total, self.selector.presence)
            self.progress.show()

        dispatcher = Dispatcher(handle, work, recorder, watch=watch, stop=self.stop)
        try:
            if not dispatcher.run(items):
                self.summary.interrupted = True
        finally:
            self.selector.take_back(dispatcher.queue.ahead)
            self.summary.remark(*dispatcher.workers.notes)
        if not self.summary.interrupted:
            self.progress.total = self.summary.total
        watch()

    def _split_item(self, item: Item) -> list[Item]:
        return large_images.split_rows(item, self.planned.info, self.settings)

    def _resolve_path(self, item: Item) -> Item:
        """The item with the path at which workers find it: those of an existing cluster run in
        other directories."""
        path = files.join(self.here, item.path)
        return item if path == item.path else replace(item, path=path)

    def _chunk_options(self, markers: str, first: list[Item]) -> ChunkOptions:
        """How chunks are run; workers of an existing cluster are checked first."""
        path = os.path.join(markers, "probe") if markers else ""
        chunk_options = ChunkOptions(marker=path, limit=self.options.item_timeout)
        if not self.options.scheduler:
            return chunk_options
        seen = preflight.find_readable(item.path for item in map(self._resolve_path, first))
        needs = WorkerRequirements(preflight.package_versions(), *seen, markers)
        return replace(chunk_options, needs=needs)

    def _autotune(
        self,
        handle: ClusterHandle,
        journal: Journal,
        first: list[Item],
        chunk_options: ChunkOptions,
    ) -> None:
        """Choose device, backend, precision and batch size; a resumed job keeps those that it began
        with."""
        looked = list(map(self._resolve_path, first))
        # with few images not every worker gets one; a cluster's open their engine on first use
        workers = self.progress.workers
        busy = workers if len(first) == autotune.PROBE_IMAGES else min(workers, len(first))
        others = 0 if self.options.scheduler else busy - 1
        decision = autotune_on_worker(handle, self.settings, looked, chunk_options, others)
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
                return self._autotune(handle, journal, first, chunk_options)
        self.settings = apply_decision(self.settings, decision)
        summary = self.summary
        summary.device, summary.precision = decision.device, decision.precision
        summary.backend, summary.note = decision.backend, decision.note

    def _settings_as_begun(self, begun: dict[str, Any]) -> Settings:
        """The settings with the values that a resumed job began with. Raises
        :class:`InputError`."""
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
        if self.progress.watch is None or not self.planned.countable:
            return

        def count() -> None:
            with suppress(InputError, OutputError):
                self.progress.total = self.selector.count(self.planned.make_scan(), history)

        # A daemon: the count is only for the progress, and must not keep a job alive that is done.
        threading.Thread(target=count, daemon=True, name="count").start()
