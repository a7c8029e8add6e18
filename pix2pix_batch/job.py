"""The convert job: scan, drop what is done, send chunks to Dask, journal what comes back."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from pix2pix_batch import bundle, images, probe, worker
from pix2pix_batch.dispatch import LARGEST_CHUNK, Dispatcher
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.journal import DIRECTORY, FULL, History, Journal, Record, stamp
from pix2pix_batch.options import QUALITY, Options
from pix2pix_batch.progress import Progress
from pix2pix_batch.scan import Item, Scan
from pix2pix_batch.settings import TORCH, Opener, Settings, settle
from pix2pix_batch.summary import Summary
from pix2pix_batch.text import shown

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

    ``source``: a directory, a glob, ``@list.txt`` or ``-``. ``watch`` is called a few times a
    second. With ``dry_run``, nothing is written and ``plan`` is called with each item that would
    be converted. ``opener`` opens engines other than PyTorch's on the workers; without one there
    are none. Raises :class:`InputError` (also where there is no image) and
    :class:`OutputError` before anything is converted; one bad image only fails itself.
    """
    return Job(os.fspath(source), Path(out), options or Options(), watch, plan, opener).run()


class Job:
    """One run of ``convert``."""

    def __init__(
        self,
        source: str,
        out: Path,
        options: Options,
        watch: Callable[[Progress], None] | None,
        plan: Callable[[Item], None] | None = None,
        opener: Opener | None = None,
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
        self.settings = Settings(
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
            backend=options.backend,
            opener=opener,
        )
        self.here = os.getcwd()
        self.make_scan = lambda: Scan(source, options.format, out, options.follow_links)
        self.scan = self.make_scan()
        self.found = iter(self.scan)
        self.missing = 0
        self.countable = source != "-"
        self.summary = Summary(model=self.info.name, dry_run=options.dry_run)
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
        self._require_images()
        if self.options.dry_run:
            return self._rehearse()
        self._make_out()
        journal = self._open(Journal)
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

    def _require_images(self) -> None:
        """Raises :class:`InputError`, before anything is made, where there is nothing to do."""
        first = next(self.found, None)
        if first is not None:
            self.found = chain([first], self.found)
        elif not self.scan.unlisted:
            raise InputError(self.scan.nothing())

    def _finish(self) -> None:
        summary, scan = self.summary, self.scan
        summary.renamed, summary.renames = scan.renamed, scan.renames
        summary.ignored, summary.others = scan.ignored, scan.others
        summary.others_are = "listed before" if scan.is_list else "no image suffix"
        summary.links = scan.links
        if scan.is_list and 0 < self.missing == summary.total:
            summary.note = (
                "none of the listed files can be found; relative paths are taken from "
                f"{shown(self.here)}"
            )
        summary.seconds = round(time.monotonic() - self.start, 3)
        if summary.seconds:
            summary.images_per_second = round(summary.converted / summary.seconds, 3)

    def _open(self, kind: type[AnyHistory]) -> AnyHistory:
        """A place that cannot be read or written is wrong use; a full disk is not."""
        try:
            return kind(self.out, self.identity(), overwrite=self.options.overwrite)
        except OutputError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in FULL:
                raise
            raise InputError(str(error)) from error

    def _make_out(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise self._out_is_a_file() from error
        except OSError as error:
            raise InputError(
                f"{shown(self.out)}: cannot be made ({error.strerror}); give another directory "
                "as OUT"
            ) from error

    def _out_is_a_file(self) -> InputError:
        return InputError(f"{shown(self.out)}: is a file; OUT must be a directory")

    def _rehearse(self) -> Summary:
        """What a run would do. Nothing is written, and another run may be under way."""
        if self.out.exists() and not self.out.is_dir():
            raise self._out_is_a_file()
        for item in self._pending(self._open(History), self.summary.add):
            self.summary.planned += 1
            if self.plan is not None:
                self.plan(item)
        self._finish()
        return self.summary

    def _items(self) -> Iterator[Item]:
        for item in self.found:
            if self.summary.total == self.options.limit:
                return
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.summary.total += 1
            yield item

    def _pending(
        self, history: History, record: Callable[[list[Record]], None]
    ) -> Generator[Item, None, None]:
        """The items to convert. ``record`` is called with those that cannot be, some at a time."""
        failed: list[Record] = []
        try:
            for item in self._items():
                now, missing = _stamped(item)
                if self.options.scheduler:  # whose workers may see what this machine does not
                    missing = ""
                self.missing += bool(missing)
                if self._is_done(history, item, now):
                    self.summary.skipped += 1
                elif reason := self._refusal(history, item) or missing:
                    failed.append(Record(item.name, "failed", reason=reason))
                    if len(failed) == LARGEST_CHUNK:
                        record(failed)
                        failed = []
                else:
                    yield item
            self.summary.total += len(self.scan.unlisted)
            failed += [Record(name, "failed", reason=why) for name, why in self.scan.unlisted]
        finally:
            if failed:
                record(failed)

    def _is_done(self, history: History, item: Item, now: str) -> bool:
        """Whether the journal has the input as it now is, and its output is there."""
        output = os.path.join(self.settings.out, item.output)
        return bool(now) and history.is_done(item.name, now) and os.path.exists(output)

    def _refusal(self, history: History, item: Item) -> str:
        """Why an item may not be converted; empty where it may."""
        parts = Path(item.output).parts
        if ".." in parts or DIRECTORY in parts:
            return "its path leads out of the input; give a path without '..'"
        if history.is_ours(item.name):
            return ""
        output = os.path.join(self.settings.out, item.output)
        if not os.path.lexists(output):
            return ""
        if os.path.realpath(output) == os.path.realpath(item.path):
            return "its output would replace it; choose another OUT"
        if not history.overwrites:
            return (
                "its output exists and is not this job's; pass --overwrite, or choose another OUT"
            )
        return ""

    def _run(self, journal: Journal) -> None:
        def record(records: list[Record]) -> None:
            journal.add(records)
            self.summary.add(records)

        with ExitStack() as stack:
            pending = stack.enter_context(closing(self._pending(journal, record)))
            first = list(islice(pending, probe.PROBE_IMAGES))
            if not first or self.stop.is_set():
                self.summary.interrupted = self.stop.is_set()
                return
            from pix2pix_batch import cluster

            client, self.workers = stack.enter_context(
                cluster.connect(self.options.scheduler, self.options.workers)
            )
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.dashboard = cluster.dashboard(client)
            self._count_in_background()
            self._decide(client, journal, first)
            dispatcher = Dispatcher(
                client,
                self.workers,
                self.settings,
                claim=journal.claim,
                record=record,
                watch=self.show,
                stop=self.stop,
            )
            if not dispatcher.run(map(self._placed, chain(first, pending))):
                self.summary.interrupted = True
            if not self.summary.interrupted:
                self.total = self.summary.total
            self.show()

    def _placed(self, item: Item) -> Item:
        """The item as workers find it: those of an existing cluster stand elsewhere."""
        return replace(item, path=os.path.join(self.here, item.path))

    def _decide(self, client: Any, journal: Journal, first: list[Item]) -> None:
        """Settle device, backend, precision and batch size; a resumed job keeps what it began
        with."""
        settings = self.settings
        begun = journal.job if journal.resumed and "precision" in journal.job else None
        if begun:
            settings = self._as_begun({"backend": TORCH, **begun})
        placed = [self._placed(item) for item in first]
        decision = client.submit(worker.probe, settings, placed, pure=False).result()
        self.settings = settle(settings, decision)
        if not begun:
            journal.settle(
                backend=self.settings.backend,
                precision=decision.precision,
                batch_size=decision.batch_size,
            )
        summary = self.summary
        summary.device, summary.precision = decision.device, decision.precision
        summary.backend, summary.note = decision.backend, decision.note

    def _as_begun(self, begun: dict[str, Any]) -> Settings:
        """The settings with what a resumed job began with. Raises :class:`InputError`."""
        for name in ("backend", "precision"):
            if getattr(self.settings, name) not in ("auto", begun[name]):
                raise InputError(
                    f"{shown(self.out)}: was begun with --{name} {begun[name]}; go on with it, "
                    "choose another OUT, or pass --overwrite"
                )
        return replace(
            self.settings,
            backend=begun["backend"],
            precision=begun["precision"],
            batch_size=self.settings.batch_size or begun["batch_size"],
        )

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


def _stamped(item: Item) -> tuple[str, str]:
    """The input's stamp as it is now, or why it has none."""
    try:
        return stamp(os.stat(item.path)), ""
    except OSError as error:
        return "", f"cannot be read ({error.strerror})"
