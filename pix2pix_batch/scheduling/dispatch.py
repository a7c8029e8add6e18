"""Sending chunks to the Dask workers and taking back what became of them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from pix2pix_batch.errors import OutputError, Pix2PixBatchError, SchedulerGone
from pix2pix_batch.inputs.scan import Item
from pix2pix_batch.records.record import FAILED, Record
from pix2pix_batch.scheduling import chunk as chunks
from pix2pix_batch.scheduling import marker, preflight
from pix2pix_batch.scheduling.chunk import Chunk, Outcome
from pix2pix_batch.settings import Decision, Settings
from pix2pix_batch.text import counted, duration
from pix2pix_batch.workers import worker
from pix2pix_batch.workers.worker import ChunkResult, Orders

CHUNK_SECONDS = 1.5
"""Work a chunk should hold: enough to make Dask's cost small, little enough to lose."""

FIRST_CHUNK, LARGEST_CHUNK = 8, 512
WAITING = 2
"""Chunks a worker has at hand beside those that it runs, so that it never idles."""

ROSTER_SECONDS = 2.0
"""How often it is looked who works."""

EMPTY_SECONDS = 0.25
"""The same while there is none yet, when Ctrl-C has nothing to wait for."""

PATIENCE = 60.0
"""Seconds that a job goes on waiting for workers where there are none any more."""

LOOKS = 3
"""Times that the first images are looked at, of each of which Dask makes several."""

DEATHS_A_WORKER = 5
"""Deaths in a row, as many for each worker, with nothing done between, that end the job."""

DESERTED = (
    "all Dask workers are gone, and none comes back; see what ended them (want of memory?), start "
    "some on a cluster of yours, then run the same command again: it goes on where this run stopped"
)

NONE_CAME = (
    "no worker has come to the cluster in {}; start some with 'dask worker', or see why it starts "
    "none, then run the same command again"
)

Task = Callable[..., ChunkResult]
"""What is sent to the workers: :func:`worker.convert_chunk`, or what is measured in its place."""


class Book(Protocol):
    """Where it is written down what becomes of the items."""

    def claim(self, names: list[str]) -> None:
        """Outputs of items of these names are about to be written."""

    def record(self, records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        """A chunk came back, after ``seconds`` of work on the worker of that address. Raises
        :class:`OutputError`."""


@dataclass(frozen=True)
class Crew:
    """Those who work. ``patience``: seconds to wait for workers where there are none any more;
    ``tend``: called now and then to see to them; ``stop``: set when the user wants an end;
    ``show_waiting``: told for how many seconds it has waited for the first of them."""

    client: Any
    patience: float = PATIENCE
    tend: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    show_waiting: Callable[[float], None] = lambda seconds: None


@dataclass(frozen=True)
class Work:
    """What all chunks have in common. ``markers``: a directory that client and workers see, empty
    where there is none."""

    settings: Settings
    orders: Orders = field(default_factory=Orders)
    markers: str = ""
    task: Task = worker.convert_chunk


@dataclass(frozen=True)
class Flight:
    """A chunk that was sent. ``marker``: its path; ``to``: the workers that may take it; empty
    for any."""

    chunk: Chunk
    marker: str
    to: frozenset[str]


def first_look(crew: Crew, settings: Settings, items: list[Item], orders: Orders) -> Decision:
    """What a worker decides on the job's first images. Raises :class:`InputError` for settings
    that it cannot run, and :class:`OutputError`."""
    from distributed import CancelledError, KilledWorker

    for _ in range(LOOKS):
        future = crew.client.submit(worker.probe, settings, items, orders, pure=False)
        try:
            _await(future, crew)
            decision: Decision = future.result()
            return decision
        except Pix2PixBatchError:
            raise
        except KilledWorker:  # several, one after the other, as Dask has it
            time.sleep(1)
        except CancelledError as error:
            raise SchedulerGone from error
        except Exception as error:
            if future.status != "error":  # it did not come from the worker
                raise
            if orders.needs is not None:  # which may lack what it takes to say so
                preflight.require(crew.client, settings, orders.needs)
            raise OutputError(
                f"a worker cannot open the model ({_said(error)}); see what is wrong there, then "
                "run the same command again"
            ) from error
    raise OutputError(
        "the workers die as they open the model; see that they have memory enough (fewer "
        "--workers, a smaller --batch-size), then run the same command again"
    )


def _await(future: Any, crew: Crew) -> None:
    """Wait for it as long as there are workers. Raises :class:`OutputError`."""
    from distributed import wait

    start = last = time.monotonic()
    came = False
    while not future.done():
        with contextlib.suppress(TimeoutError):
            wait(future, timeout=ROSTER_SECONDS if came else EMPTY_SECONDS)
        crew.tend()
        now = time.monotonic()
        if future.done() or crew.client.nthreads():
            last, came = now, True
        elif crew.stop.is_set():  # nothing is in flight that could be finished
            future.cancel()
            raise KeyboardInterrupt
        elif now - last > crew.patience:
            raise OutputError(DESERTED if came else NONE_CAME.format(duration(crew.patience)))
        elif not came:
            crew.show_waiting(now - start)


class Dispatcher:
    """Keeps a bounded number of chunks in flight, and sends again those whose workers died.

    ``watch`` is called after each wait for news, half a second at most. Once ``stop`` is set
    nothing more is sent. ``notes`` is what the user should know in the end.
    """

    def __init__(
        self,
        crew: Crew,
        work: Work,
        book: Book,
        *,
        watch: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self.crew, self.client = crew, crew.client
        self.work, self.settings, self.orders = work, work.settings, work.orders
        self.book, self.watch, self.stop = book, watch, stop
        self.flying: dict[Any, Flight] = {}
        self.returned: list[tuple[float, Chunk]] = []  # to be sent again, and when
        self.chunk_size = FIRST_CHUNK
        self.fatal = ""
        self.notes: list[str] = []
        self.unfit: dict[str, str] = {}
        self.deaths = 0  # in a row, with nothing done between
        self.threads: dict[str, int] = {}  # of each worker that is there
        self.last_roster = self.last_worker = time.monotonic()
        self._call_roster()

    def run(self, items: Iterator[Item]) -> bool:
        """Have ``items`` converted; whether all were, for ``stop`` may have come between.

        Raises :class:`OutputError` where nothing more can be written, when what was in flight
        has come back, and where no workers or no scheduler are left.
        """
        exhausted = False
        while True:
            while self._may_send() and (chunk := self._due()):
                self._send(chunk)
            while not exhausted and self._may_send():
                chunk = self._next(items)
                exhausted = chunk is None and not self.fatal
                if chunk is None:
                    break
                self.book.claim([item.name for item in chunk.items])
                self._send(chunk)
            if not self.flying and (self._ending() or (exhausted and not self.returned)):
                break
            for future in self._finished():
                self._receive(future)
            self._look_around()
            self.watch()
        if self.fatal:
            raise OutputError(self.fatal)
        if self.returned:
            return False
        # stopped, but there was nothing left to do: that is no interruption
        return exhausted or next(items, None) is None

    def _ending(self) -> bool:
        return self.stop.is_set() or bool(self.fatal)

    def _may_send(self) -> bool:
        fit = [count for address, count in self.threads.items() if address not in self.unfit]
        room = sum(fit) + WAITING * len(fit)
        if not self.threads:  # clusters that scale with their work start some only for work
            room = 1
        return not self._ending() and len(self.flying) < room

    def _next(self, items: Iterator[Item]) -> Chunk | None:
        try:
            found = _taken(items, self.chunk_size)
        except Pix2PixBatchError as error:  # IN or OUT has gone: what is in flight comes back
            self.fatal = str(error)
            return None
        return Chunk(found) if found else None

    def _due(self) -> Chunk | None:
        """A chunk whose time has come to be sent again."""
        now = time.monotonic()
        for position, (when, chunk) in enumerate(self.returned):
            if when <= now:
                del self.returned[position]
                return chunk
        return None

    def _send(self, chunk: Chunk) -> None:
        markers = self.work.markers
        path = os.path.join(markers, uuid.uuid4().hex) if markers else ""
        orders = replace(self.orders, marker=path, careful=chunk.careful, without=chunk.without)
        fit = frozenset(self.threads) - set(self.unfit) if self.unfit else frozenset()
        future = self.client.submit(
            self.work.task,
            self.settings,
            chunk.items,
            orders,
            pure=False,
            workers=sorted(fit) or None,
        )
        self.flying[future] = Flight(chunk, path, fit)

    def _send_again(self, again: list[Chunk]) -> None:
        now = time.monotonic()
        self.returned += [(now + chunk.delay, chunk) for chunk in again]

    def _finished(self) -> list[Any]:
        from distributed import CancelledError, wait

        if not self.flying:  # all that is left waits to be sent again
            time.sleep(0.1)
            return []
        with contextlib.suppress(TimeoutError, CancelledError):
            wait(list(self.flying), timeout=0.5, return_when="FIRST_COMPLETED")
        return [future for future in self.flying if future.done()]

    def _look_around(self) -> None:
        """See who works, and give up where nobody is left."""
        now = time.monotonic()
        if now - self.last_roster < ROSTER_SECONDS or (self._ending() and not self.flying):
            return
        self._call_roster()
        self.crew.tend()
        if now - self.last_worker > self.crew.patience:
            self.flying.clear()  # nobody brings it back
            self.fatal = self.fatal or DESERTED

    def _call_roster(self) -> None:
        try:
            self.threads = dict(self.client.nthreads())
        except Exception:  # the kinds of errors of a lost connection are many
            self._lose_scheduler()
            return
        self.last_roster = time.monotonic()
        if self.threads:
            self.last_worker = self.last_roster
            self._free_stranded()

    def _free_stranded(self) -> None:
        """Take back chunks that were meant for workers none of which is there any more."""
        for future, flight in list(self.flying.items()):
            if flight.to and flight.to.isdisjoint(self.threads) and not future.done():
                del self.flying[future]
                future.cancel()
                self._died(flight)

    def _receive(self, future: Any) -> None:
        from distributed import CancelledError, KilledWorker

        if (flight := self.flying.pop(future, None)) is None:
            return  # lost with its scheduler
        try:
            result = future.result()
        except KilledWorker:
            self._died(flight)
        except CancelledError:
            self._lose_scheduler()
        except Exception as error:
            if future.status != "error":  # it was done, but the result is lost on its way here
                self._call_roster()
            if not self.fatal:
                self._failed(flight.chunk, error)
        else:
            self._take(flight, result)

    def _take(self, flight: Flight, result: ChunkResult) -> None:
        if result.died:
            self._died(flight)
        elif result.unfit:
            self._dismiss({result.worker: result.unfit})
            self._send_again([flight.chunk.again()])
        else:
            self.fatal = result.fatal or self.fatal
            self._keep(result.records, result.seconds, result.worker)
            if not flight.chunk.careful:
                self._adapt(result.seconds / len(flight.chunk.items))

    def _keep(self, records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        if not records:
            return
        self.deaths = 0
        try:
            self.book.record(records, seconds, worker)
        except OutputError as error:
            self.fatal = self.fatal or str(error)

    def _died(self, flight: Flight) -> None:
        """Find out whether the chunk is to blame for its worker's death, and which image."""
        chunk, trace = flight.chunk, marker.read(flight.marker) if flight.marker else None
        marker.remove(flight.marker)
        if not flight.marker:
            outcome = chunks.split(chunk)
        elif trace is None:
            outcome = chunks.not_begun(chunk)
        else:
            outcome = chunks.begun(chunk, trace, self.orders.limit)
        if trace is not None or not flight.marker:
            self.deaths = 0 if outcome.is_progress else self.deaths + 1
        self._follow(outcome)
        if self.deaths > DEATHS_A_WORKER * (1 + len(self.threads)):
            self.fatal = self.fatal or (
                f"{counted(self.deaths, 'worker')} died one after the other with no image done "
                "between; see that they have memory enough, then run the same command again: it "
                "goes on where this run stopped"
            )

    def _failed(self, chunk: Chunk, error: Exception) -> None:
        """A worker that cannot even begin, an engine that fails, or a bug."""
        unfit = self.orders.needs is not None and self._dismiss(self._asked())
        if self.fatal:
            return
        if unfit:
            self._send_again([chunk.again()])
        elif not chunk.careful:
            self._send_again([chunk.carefully()])
        else:
            reason = f"the worker failed: {_said(error)}"
            self._keep([Record(item.name, FAILED, reason=reason) for item in chunk.items])

    def _follow(self, outcome: Outcome) -> None:
        self._keep(outcome.records)
        self._send_again(outcome.chunks)

    def _asked(self) -> dict[str, str]:
        """The workers that are not fit, and why, as they say."""
        assert self.orders.needs is not None
        try:
            found = preflight.unfit(self.client, self.settings, self.orders.needs)
        except SchedulerGone:
            self._lose_scheduler()
            return {}
        return {address: "; ".join(reasons) for address, reasons in found.items()}

    def _dismiss(self, found: dict[str, str]) -> bool:
        """Give these workers nothing more; whether there are any not known before."""
        new = {address: why for address, why in found.items() if address not in self.unfit}
        self.unfit |= new
        self.notes += [f"left out {address}, which {why}" for address, why in new.items()]
        if new and not set(self.threads) - set(self.unfit):
            self._call_roster()
            if not set(self.threads) - set(self.unfit):
                reasons = "; ".join(f"{address} {why}" for address, why in new.items())
                self.fatal = self.fatal or f"no worker is fit for this job: {reasons}"
        return bool(new)

    def _lose_scheduler(self) -> None:
        """Nothing that is in flight can come back."""
        for flight in self.flying.values():
            marker.remove(flight.marker)
        self.flying.clear()
        self.fatal = self.fatal or str(SchedulerGone())

    def _adapt(self, seconds_an_item: float) -> None:
        batch = self.settings.batch_size or 1
        wanted = CHUNK_SECONDS / max(seconds_an_item, 1e-4)
        rounded = max(1, round(wanted / batch)) * batch if wanted >= batch else max(1, int(wanted))
        self.chunk_size = min(LARGEST_CHUNK, rounded)


def _taken(items: Iterator[Item], count: int) -> tuple[Item, ...]:
    """The next ``count`` items; a tar goes alone, for it holds many."""
    first = next(items, None)
    if first is None:
        return ()
    return (first,) if first.tar else (first, *islice(items, count - 1))


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
