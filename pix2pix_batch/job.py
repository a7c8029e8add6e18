"""The convert job: scan, drop what is done, send chunks to Dask, journal what comes back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pix2pix_batch import bundle, images, worker
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.journal import DIRECTORY, Journal, Record, stamp
from pix2pix_batch.scan import Item, Scan, shown

QUALITY = images.DEFAULT_QUALITY
FORMATS = (*images.SUFFIXES, "same")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")

CHUNK_SECONDS = 1.5
"""Work a chunk should hold: enough to make Dask's cost small, little enough to lose."""

FIRST_CHUNK, LARGEST_CHUNK = 8, 512
IN_FLIGHT = 3
"""Chunks a worker has at hand: one running and two waiting, so that it never idles."""

PATIENCE = 20.0
"""Seconds without news after which it is checked that workers are still there."""

FAILURES_KEPT = 1000
"""Failures held in memory for the summary; the journal has all."""


@dataclass(frozen=True)
class Options:
    """What ``convert`` can be told; see the command's help. ``None`` and ``auto``: decided."""

    model: str = "map2aerial"
    fit: str | None = None
    format: str = "png"
    quality: int | None = None
    batch_size: int | None = None
    workers: int | None = None
    device: str = "auto"
    precision: str = "auto"
    overwrite: bool = False
    dry_run: bool = False
    limit: int | None = None
    noise: bool = False
    seed: int = 0
    scheduler: str | None = None
    follow_links: bool = False

    def __post_init__(self) -> None:
        """Raises :class:`InputError`."""
        _one_of("fit", self.fit, (None, *bundle.FITS))
        _one_of("format", self.format, FORMATS)
        _one_of("device", self.device, DEVICES)
        _one_of("precision", self.precision, PRECISIONS)
        for name, low, high in (
            ("quality", 1, 100),
            ("batch_size", 1, 4096),
            ("workers", 1, 4096),
            ("limit", 1, None),
        ):
            value = getattr(self, name)
            if value is not None and (value < low or (high is not None and value > high)):
                limits = f"at least {low}" if high is None else f"from {low} to {high}"
                raise InputError(f"{name} must be {limits}, not {value}")


def _one_of(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        names = ", ".join(str(choice) for choice in choices if choice is not None)
        raise InputError(f"{name} must be one of {names}, not {value!r}")


@dataclass
class Summary:
    """A job's result. ``failures``: the first reasons, by input; the journal has them all."""

    total: int = 0
    converted: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    images_per_second: float = 0.0
    device: str = ""
    backend: str = ""
    precision: str = ""
    model: str = ""
    interrupted: bool = False
    ignored: int = 0
    links: int = 0
    fatal: str = ""
    note: str = ""
    failures: list[Record] = field(default_factory=list)

    FIGURES = (
        "total", "converted", "skipped", "failed", "seconds", "images_per_second", "device",
        "backend", "precision", "model",
    )  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {name: getattr(self, name) for name in self.FIGURES}

    @property
    def exit_code(self) -> int:
        """0 all done, 3 some failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 3 if self.failed or self.fatal else 0


@dataclass(frozen=True)
class Progress:
    """Where a job stands. ``total`` is ``None`` until the inputs are counted."""

    summary: Summary
    total: int | None
    workers: int
    dashboard: str
    seconds: float
    stopping: bool = False


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: Options | None = None,
    *,
    watch: Callable[[Progress], None] | None = None,
    plan: Callable[[Item], None] | None = None,
) -> Summary:
    """Convert the images of ``source`` into ``out``.

    ``source``: a directory, a glob, ``@list.txt`` or ``-``. ``watch`` is called a few times a
    second. With ``dry_run``, ``plan`` is called with each item that would be done. Raises
    :class:`InputError` and :class:`OutputError` before anything is converted; one bad image only
    fails itself.
    """
    return Job(os.fspath(source), Path(out), options or Options(), watch, plan).run()


class Job:
    """One run of ``convert``."""

    def __init__(
        self,
        source: str,
        out: Path,
        options: Options,
        watch: Callable[[Progress], None] | None,
        plan: Callable[[Item], None] | None = None,
    ) -> None:
        self.out, self.options, self.watch, self.plan = out, options, watch, plan
        model = bundle.resolve(options.model)
        self.info = bundle.read_info(model)
        try:
            images.require_mode(self.info.architecture.in_channels, "input")
            images.require_mode(self.info.architecture.out_channels, "output")
        except InputError as error:
            raise InputError(f"{shown(model)}: {error}; choose another model") from error
        if options.noise and not self.info.architecture.dropout_blocks:
            raise InputError(
                f"{model}: has no dropout, so --noise would change nothing; leave it out"
            )
        self.settings = worker.Settings(
            model=str(model.resolve()),
            fingerprint=bundle.fingerprint(model),
            out=str(out.absolute()),
            fit=options.fit or self.info.fit,
            size=self.info.image_size,
            quality=None if options.format in ("png", "tiff") else options.quality or QUALITY,
            batch_size=options.batch_size,
            device=options.device,
            precision=options.precision,
            noise=options.noise,
            seed=options.seed if options.noise else 0,
        )
        self.here = os.getcwd()  # the workers of an existing cluster stand elsewhere
        self.make_scan = lambda: Scan(source, options.format, out, options.follow_links)
        self.scan = self.make_scan()
        self.countable = source != "-"
        self.summary = Summary(model=self.info.name)
        self.total: int | None = None
        self.stop = threading.Event()
        self.workers, self.dashboard = 0, ""
        self.start = time.monotonic()

    def identity(self) -> dict[str, Any]:
        """What decides the bytes of the outputs: the journal's first line."""
        settings = self.settings
        return {
            "input": self.scan.identity,
            "model": settings.fingerprint,
            "fit": settings.fit,
            "format": self.options.format,
            "quality": settings.quality,
            "noise": settings.noise,
            "seed": settings.seed,
        }

    def run(self) -> Summary:
        if self.options.dry_run:
            return self._rehearse()
        self._make_out()
        journal = self._open_journal()
        try:
            with self._interruptible():
                self._run(journal)
        except OutputError as error:
            self.summary.fatal = str(error)
        except InputError:
            if "precision" not in journal.job:  # refused before it began: OUT is still free
                journal.path.unlink(missing_ok=True)
            raise
        finally:
            journal.close()
            self._finish()
        return self.summary

    def _finish(self) -> None:
        summary = self.summary
        summary.ignored, summary.links = self.scan.ignored, self.scan.links
        summary.seconds = round(time.monotonic() - self.start, 3)
        if summary.seconds:
            summary.images_per_second = round(summary.converted / summary.seconds, 3)

    def _open_journal(self) -> Journal:
        """A place that cannot be written is wrong use; a full disk is not."""
        try:
            return Journal(self.out, self.identity(), overwrite=self.options.overwrite)
        except OutputError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in worker.FATAL:
                raise
            raise InputError(str(error)) from error

    def _make_out(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise InputError(f"{shown(self.out)}: is a file; OUT must be a directory") from error
        except OSError as error:
            raise InputError(
                f"{shown(self.out)}: cannot be made ({error.strerror}); give another directory "
                "as OUT"
            ) from error

    def _rehearse(self) -> Summary:
        """What a run would do. Nothing is written but the lock of a journal that exists."""
        journal = None
        if (self.out / DIRECTORY / "journal.jsonl").exists() and not self.options.overwrite:
            journal = Journal(self.out, self.identity())
        try:
            for item in self._items():
                if journal and self._is_done(journal, item):
                    self.summary.skipped += 1
                elif self.plan is not None:
                    self.plan(item)
        finally:
            if journal:
                journal.close()
        self._finish()
        return self.summary

    def _items(self) -> Iterator[Item]:
        for item in self.scan:
            if self.summary.total == self.options.limit:
                return
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.summary.total += 1
            yield item

    def _is_done(self, journal: Journal, item: Item) -> bool:
        """Whether the journal has the input as it now is, and its output is there."""
        try:
            return journal.is_done(item.name, stamp(os.stat(item.path))) and os.path.exists(
                os.path.join(self.settings.out, item.output)
            )
        except OSError:
            return False

    def _pending(self, journal: Journal) -> Iterator[Item]:
        """The items that are not done yet and whose outputs may be written."""
        for item in self._items():
            if self._is_done(journal, item):
                self.summary.skipped += 1
                continue
            if reason := self._refusal(journal, item):
                self._record(journal, [Record(item.name, "failed", reason=reason)])
                continue
            yield replace(item, path=os.path.join(self.here, item.path))
        for name, reason in self.scan.unlisted:
            self.summary.total += 1
            self._record(journal, [Record(name, "failed", reason=reason)])
        self.scan.unlisted.clear()

    def _refusal(self, journal: Journal, item: Item) -> str:
        parts = Path(item.output).parts
        if ".." in parts or DIRECTORY in parts:
            return "its path leads out of the input; give a path without '..'"
        if journal.is_ours(item.name):
            return ""
        output = os.path.join(self.settings.out, item.output)
        if not os.path.lexists(output):
            return ""
        if os.path.realpath(output) == os.path.realpath(item.path):
            return "its output would replace it; choose another OUT"
        if not journal.overwrites:
            return (
                "its output exists and is not this job's; pass --overwrite, or choose another OUT"
            )
        return ""

    def _run(self, journal: Journal) -> None:
        pending = self._pending(journal)
        first = _take(pending, worker.PROBE_IMAGES)
        if not first or self.stop.is_set():
            self.summary.interrupted = self.stop.is_set()
            return
        from pix2pix_batch import cluster

        with ExitStack() as stack:
            client, self.workers = stack.enter_context(
                cluster.connect(self.options.scheduler, self.options.workers)
            )
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.dashboard = cluster.dashboard(client)
            self._count_in_background()
            self._decide(client, journal, first)
            Dispatcher(self, client, journal).run(_chain(first, pending))

    def _decide(self, client: Any, journal: Journal, first: list[Item]) -> None:
        """Settle device, precision and batch size; a resumed job keeps what it began with."""
        settings = self.settings
        begun = journal.job if journal.resumed and "precision" in journal.job else None
        if begun:
            if settings.precision not in ("auto", begun["precision"]):
                raise InputError(
                    f"{shown(self.out)}: was begun with --precision {begun['precision']}; go on "
                    "with it, choose another OUT, or pass --overwrite"
                )
            settings = replace(
                settings,
                precision=begun["precision"],
                batch_size=settings.batch_size or begun["batch_size"],
            )
        decision = client.submit(worker.probe, settings, first, pure=False).result()
        if not begun:
            journal.settle(precision=decision.precision, batch_size=decision.batch_size)
        self.settings = replace(
            settings,
            device=decision.device,
            precision=decision.precision,
            batch_size=decision.batch_size,
        )
        summary = self.summary
        summary.device, summary.precision = decision.device, decision.precision
        summary.backend, summary.note = decision.backend, decision.note

    def _record(self, journal: Journal, records: list[Record]) -> None:
        journal.add(records)
        for record in records:
            if record.status == "done":
                self.summary.converted += 1
                continue
            self.summary.failed += 1
            if len(self.summary.failures) < FAILURES_KEPT:
                self.summary.failures.append(record)

    def _count_in_background(self) -> None:
        if self.watch is None or not self.countable:
            return

        def count() -> None:
            scan = self.make_scan()
            try:
                total = sum(1 for _ in scan) + len(scan.unlisted)
            except InputError:
                return
            self.total = total if self.options.limit is None else min(total, self.options.limit)

        threading.Thread(target=count, daemon=True, name="count").start()

    def show(self) -> None:
        if self.watch is not None:
            seconds = time.monotonic() - self.start
            self.watch(
                Progress(
                    self.summary,
                    self.total,
                    self.workers,
                    self.dashboard,
                    seconds,
                    self.stop.is_set(),
                )
            )

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM lets what is in flight finish; the second ends at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: object) -> None:
            if self.stop.is_set():
                raise KeyboardInterrupt
            self.stop.set()

        before = {
            number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        except KeyboardInterrupt:
            self.summary.interrupted = True
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Dispatcher:
    """Keeps a bounded number of chunks in flight and journals their results."""

    def __init__(self, job: Job, client: Any, journal: Journal) -> None:
        self.job, self.client, self.journal = job, client, journal
        self.flying: dict[Any, list[Item]] = {}
        self.chunk_size = FIRST_CHUNK
        self.last_news = time.monotonic()

    def run(self, items: Iterator[Item]) -> None:
        job = self.job
        exhausted = False
        while True:
            while not (exhausted or job.stop.is_set() or job.summary.fatal) and (
                len(self.flying) < IN_FLIGHT * job.workers
            ):
                chunk = _take(items, self.chunk_size)
                exhausted = not chunk
                if chunk:
                    self._submit(chunk)
            if not self.flying:
                # stopped, but there was nothing left to do: that is no interruption
                if job.stop.is_set() and _take(items, 1):
                    job.summary.interrupted = True
                return
            for future in self._finished():
                self._receive(future)
            job.show()

    def _submit(self, chunk: list[Item]) -> None:
        self.journal.claim([item.name for item in chunk])
        future = self.client.submit(worker.convert_chunk, self.job.settings, chunk, pure=False)
        self.flying[future] = chunk

    def _finished(self) -> list[Any]:
        from distributed import wait

        try:
            wait(list(self.flying), timeout=0.5, return_when="FIRST_COMPLETED")
            self.last_news = time.monotonic()
        except TimeoutError:
            if time.monotonic() - self.last_news > PATIENCE:
                self._require_workers()
        return [future for future in self.flying if future.done()]

    def _require_workers(self) -> None:
        """Raises :class:`OutputError` where nobody is left to work."""
        self.last_news = time.monotonic()
        if not self.client.scheduler_info(n_workers=-1)["workers"]:
            raise OutputError(
                "all Dask workers are gone; start some, then run the same command again: it goes "
                "on where this run stopped"
            )

    def _receive(self, future: Any) -> None:
        chunk = self.flying.pop(future)
        try:
            result = future.result()
        except Exception as error:  # a worker that died, or a bug: the chunk fails, the job goes on
            reason = (
                f"the worker failed: {' '.join(str(error).split())[:200] or type(error).__name__}"
            )
            records = [Record(item.name, "failed", reason=reason) for item in chunk]
            self.job._record(self.journal, records)
            return
        self.job._record(self.journal, result.records)
        if result.fatal:
            self.job.summary.fatal = result.fatal
        self._adapt(result.seconds / len(chunk))

    def _adapt(self, seconds_an_item: float) -> None:
        batch = self.job.settings.batch_size or 1
        wanted = CHUNK_SECONDS / max(seconds_an_item, 1e-4)
        rounded = max(1, round(wanted / batch)) * batch if wanted >= batch else max(1, int(wanted))
        self.chunk_size = min(LARGEST_CHUNK, rounded)


def _take(items: Iterator[Item], count: int) -> list[Item]:
    taken = []
    for item in items:
        taken.append(item)
        if len(taken) == count:
            break
    return taken


def _chain(first: list[Item], rest: Iterator[Item]) -> Iterator[Item]:
    yield from first
    yield from rest
