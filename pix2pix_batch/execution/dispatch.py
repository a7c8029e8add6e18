"""Sending chunks to the Dask workers and taking back what became of them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from pix2pix_batch import memory_limit
from pix2pix_batch.errors import OutputError, SchedulerGone
from pix2pix_batch.execution import marker, preflight
from pix2pix_batch.execution.chunk import (
    Chunk,
    Outcome,
    after_started_death,
    after_unstarted_death,
    split_chunk,
)
from pix2pix_batch.execution.cluster_handle import ALL_WORKERS_GONE, ClusterHandle
from pix2pix_batch.execution.item_queue import ItemQueue
from pix2pix_batch.execution.planner import ChunkPlanner
from pix2pix_batch.execution.run_recorder import RunRecorder
from pix2pix_batch.execution.split_items import SplitItems
from pix2pix_batch.execution.task_spec import InFlightChunk, TaskSpec
from pix2pix_batch.execution.worker import ChunkResult
from pix2pix_batch.execution.worker_list import WorkerList
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.inference.convolution_rule import is_independent_of_batch
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import FAILED, Record
from pix2pix_batch.text import describe_error, format_count

POLL_SECONDS = 0.5
"""How long to wait for a chunk to come back before the workers are checked."""

DEATHS_A_WORKER = 5
"""Deaths in a row, as many for each worker, with nothing done between, that end the job."""


# The state of a running job: what it was given, what is under way, and what ended it.
class Dispatcher:
    """Keeps a bounded number of chunks in flight, and sends again those whose workers died.

    ``watch`` is called after each wait for finished chunks, half a second at most. Once ``stop`` is
    set nothing more is sent. Its attributes are all of the run's state that is not on disk: what is
    to be sent (``queue``, ``retries``), what is under way (``in_flight``), and who works
    (``workers``).
    """

    def __init__(
        self,
        handle: ClusterHandle,
        work: TaskSpec,
        sink: RunRecorder,
        *,
        watch: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self.handle, self.client = handle, handle.client
        self.work, self.settings, self.chunk_options = work, work.settings, work.chunk_options
        self.sink, self.watch, self.stop = sink, watch, stop
        self.in_flight: dict[Any, InFlightChunk] = {}
        self.retries: list[tuple[float, Chunk]] = []  # to be sent again, and when
        self.planner = ChunkPlanner(
            self.settings.batch_size or 1, pads=_pads_batches(self.settings)
        )
        self.split = SplitItems(work.split)
        self.queue = ItemQueue(self.planner, self.split, work.streamed)
        self.finished_futures: SimpleQueue[Any] = SimpleQueue()
        self.fatal = ""
        self.deaths = 0  # in a row, with nothing done between
        self.workers = WorkerList(handle)
        self._refresh_workers()

    def run(self, items: Iterator[Item]) -> bool:
        """Have ``items`` converted; whether all were, for ``stop`` may have come between.

        Raises :class:`OutputError` where nothing more can be written, when what was in flight
        has come back, and where no workers or no scheduler are left.
        """
        while True:
            # Before new chunks, which would take every free place for as long as the scan goes on.
            while self._count_free() > 0 and (chunk := self._due_retry()):
                self._send(chunk)
            sent_all = self._send_new(items)
            nothing_left = self.queue.is_empty and not self.retries
            if not self.in_flight and (self._is_ending() or nothing_left):
                break
            # A scan that still has items to give is read on at once: waiting would leave workers
            # idle.
            self._receive_all(self._wait_for_finished(POLL_SECONDS if sent_all else 0))
            self._look_around()
            self.watch()
        self.queue.restore_whole_items()
        if self.fatal or self.queue.broken:
            raise OutputError(self.fatal or self.queue.broken)
        if self.retries or self.queue.ahead:
            return False
        # stopped, but there was nothing left to do: that is no interruption
        return self.queue.exhausted or next(items, None) is None

    def _is_ending(self) -> bool:
        return self.stop.is_set() or bool(self.fatal)

    def _count_free(self) -> int:
        """How many chunks more may be sent."""
        fit = self.workers.usable_threads
        if self._is_ending():
            return 0
        # Clusters that scale with their work start workers only for work.
        if not self.workers.threads:
            return 1 - len(self.in_flight)
        return sum(fit) + self.planner.chunks_to_queue(len(fit)) * len(fit) - len(self.in_flight)

    def _send_new(self, items: Iterator[Item]) -> bool:
        """Plan chunks, claim them together, and send them. Whether there are no more for now; else
        the scan takes its time."""
        free = self._count_free()
        chunks = self.queue.plan_chunks(items, free, len(self.workers.usable_threads))
        if chunks:
            # Flushed to the disk before any chunk is sent: after a crash an output without a claim
            # counts as somebody else's. A part writes no output; its image is claimed when it is
            # put together.
            whole = (chunk for chunk in chunks if not chunk.is_part)
            self.sink.claim(*([item.name for item in chunk.items] for chunk in whole))
        for chunk in chunks:
            self._send(chunk)
        return len(chunks) >= free or not self.queue.ahead

    def _due_retry(self) -> Chunk | None:
        """A chunk whose time has come to be sent again."""
        now = time.monotonic()
        for position, (when, chunk) in enumerate(self.retries):
            if when <= now:
                del self.retries[position]
                return chunk
        return None

    def _send(self, chunk: Chunk) -> None:
        markers = self.work.markers
        # A name of its own each time it is sent: a marker that is there already tells a worker that
        # Dask has passed on the chunk of one that died.
        path = os.path.join(markers, uuid.uuid4().hex) if markers else ""
        chunk_options = replace(
            self.chunk_options,
            marker=path,
            careful=chunk.careful,
            excluded_records=chunk.excluded_records,
            time_budget=self.planner.chunk_time_budget(),
        )
        fit = self.workers.fit_workers
        future = self.client.submit(
            self.work.task,
            self.settings,
            chunk.items,
            chunk_options,
            pure=False,
            # None lets workers take it that join later; a list is needed only to keep out unfit
            # ones.
            workers=sorted(fit) or None,
        )
        self.in_flight[future] = InFlightChunk(chunk, path, fit)
        # Dask calls it in a thread of its own, so it does no more than put the future in a queue.
        future.add_done_callback(self.finished_futures.put)

    def _send_again(self, again: list[Chunk]) -> None:
        now = time.monotonic()
        self.retries += [(now + chunk.delay, chunk) for chunk in again]

    def _wait_for_finished(self, seconds: float) -> list[Any]:
        """Futures that are done, waited for so long."""
        if not self.in_flight:  # all that is left waits to be sent again
            time.sleep(0.1)
            return []
        finished = []
        try:
            finished.append(self.finished_futures.get(timeout=seconds))
            while True:
                finished.append(self.finished_futures.get_nowait())
        except Empty:
            if finished or not seconds:
                return finished
            # Nothing for so long: look whether futures are done of which nothing was heard.
            return [future for future in self.in_flight if future.done()]

    def _look_around(self) -> None:
        """Check which workers there are, and give up when none is left."""
        if not self.workers.is_due or (self._is_ending() and not self.in_flight):
            return
        self._refresh_workers()
        self.handle.tend()
        # What is in flight comes back from unfit workers too, as long as they are there.
        if self.workers.is_deserted and not (self.workers.threads and self.in_flight):
            self.in_flight.clear()  # nobody brings it back
            why = self.workers.describe_unfit() if self.workers.threads else ALL_WORKERS_GONE
            self.fatal = self.fatal or why

    def _refresh_workers(self) -> None:
        try:
            self.workers.refresh()
        except Exception:  # the kinds of errors of a lost connection are many
            self._lose_scheduler()
            return
        if self.workers.threads:
            self._free_stranded()

    def _free_stranded(self) -> None:
        """Take back chunks that were meant for workers none of which is there any more."""
        for future, flight in list(self.in_flight.items()):
            # Dask would keep a chunk for ever that is meant for certain workers, and they may not
            # return.
            if flight.to and flight.to.isdisjoint(self.workers.threads) and not future.done():
                del self.in_flight[future]
                future.cancel()
                self._handle_death(flight)

    def _receive_all(self, futures: list[Any]) -> None:
        """Take back what is done, fetched in one go: with many workers a round trip for each would
        take longer than all else."""
        there = [one for one in futures if one in self.in_flight and one.status == "finished"]
        results: dict[Any, ChunkResult] = {}
        if len(there) > 1:
            with contextlib.suppress(Exception):  # shows with the one whose it is
                results = dict(zip(there, self.client.gather(there), strict=True))
        for future in futures:
            self._receive(future, results.get(future))
        try:
            self.sink.sync()
        except OutputError as error:
            self.fatal = self.fatal or str(error)

    def _receive(self, future: Any, result: ChunkResult | None) -> None:
        from distributed import CancelledError, KilledWorker

        if (flight := self.in_flight.pop(future, None)) is None:
            return  # lost with its scheduler
        try:
            result = result or future.result()
        except KilledWorker:
            self._handle_death(flight)
        except CancelledError:
            self._lose_scheduler()
        except Exception as error:
            # The call finds out whether it is the scheduler that is lost.
            if future.status != "error":  # it was done, but the result is lost on its way here
                self._refresh_workers()
            if not self.fatal:
                self._handle_failure(flight.chunk, error)
        else:
            self._take_result(flight, result)

    def _take_result(self, flight: InFlightChunk, result: ChunkResult) -> None:
        if result.died:
            self._handle_death(flight)
        elif result.unfit:
            self._dismiss({result.worker: result.unfit})
            self._send_again([flight.chunk.retry()])
        else:
            self.fatal = result.fatal or self.fatal
            if flight.chunk.is_part:
                self._write_down([], result.seconds, result.worker)
                self._finish_part(flight.chunk)
                return
            self._record(result.records, result.seconds, result.worker)
            # To the front, in their order (extendleft turns it round): they are the oldest that
            # wait.
            self.queue.ahead.extendleft(reversed(result.left))
            # Images one after the other leave batches unfilled, and a tar is many images: what
            # these took says nothing of usual chunks.
            if not flight.chunk.careful and not flight.chunk.items[0].tar:
                done = len(flight.chunk.items) - len(result.left)
                self.planner.learn(done, result.tiles, result.seconds, cut=bool(result.left))

    def _record(self, records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        if not records:
            return
        self.deaths = 0
        self._write_down(records, seconds, worker)

    def _write_down(self, records: list[Record], seconds: float, worker: str) -> None:
        try:
            self.sink.record(records, seconds, worker)
        except OutputError as error:
            self.fatal = self.fatal or str(error)

    def _handle_death(self, flight: InFlightChunk) -> None:
        """Find out whether the chunk is to blame for its worker's death, and which image."""
        chunk, trace = flight.chunk, marker.read_trace(flight.marker) if flight.marker else None
        marker.remove_marker(flight.marker)
        if not flight.marker:
            outcome = split_chunk(chunk)
        elif trace is None:
            outcome = after_unstarted_death(chunk)
        else:
            outcome = after_started_death(chunk, trace, self.chunk_options.limit)
        # Chunks that only waited at the worker do not count: else one death would count several
        # times.
        if trace is not None or not flight.marker:
            # An image found out is progress: many harmful images in a row must not end the job.
            self.deaths = 0 if outcome.is_progress else self.deaths + 1
        self._apply_outcome(chunk, outcome)
        if self.deaths > DEATHS_A_WORKER * (1 + len(self.workers.threads)):
            self.fatal = self.fatal or (
                f"{format_count(self.deaths, 'worker')} died one after the other with no image "
                "done between; see that they have memory enough"
                f"{memory_limit.describe()}, then run the same command again: it goes on where "
                "this run stopped"
            )

    def _handle_failure(self, chunk: Chunk, error: Exception) -> None:
        """A worker that cannot even begin, an engine that fails, or a bug."""
        unfit = self.chunk_options.needs is not None and self._dismiss(self._ask_workers())
        if self.fatal:
            return
        if unfit:
            self._send_again([chunk.retry()])
        elif not chunk.careful:
            self._send_again([chunk.retry_carefully()])
        else:
            reason = f"the worker failed: {describe_error(error)}"
            self._give_up(chunk, [Record(item.name, FAILED, reason=reason) for item in chunk.items])

    def _apply_outcome(self, chunk: Chunk, outcome: Outcome) -> None:
        self._send_again(outcome.chunks)
        if not (chunk.is_part and outcome.chunks):
            self._give_up(chunk, outcome.records)

    def _give_up(self, chunk: Chunk, records: list[Record]) -> None:
        """What became of a chunk's items; of a part nothing is said: the whole tells it."""
        if chunk.is_part:
            self._finish_part(chunk)
        else:
            self._record(records)

    def _finish_part(self, chunk: Chunk) -> None:
        self.deaths = 0
        if (item := self.split.finish(chunk.items[0])) is not None:
            self.queue.ahead.appendleft(item)

    def _ask_workers(self) -> dict[str, str]:
        """The workers that are not fit, and why, as they say."""
        assert self.chunk_options.needs is not None
        try:
            found = preflight.find_unfit(self.client, self.settings, self.chunk_options.needs)
        except SchedulerGone:
            self._lose_scheduler()
            return {}
        return {address: "; ".join(reasons) for address, reasons in found.items()}

    def _dismiss(self, found: dict[str, str]) -> bool:
        """Give these workers nothing more; whether there are any not known before."""
        new = self.workers.dismiss(found)
        if new and not self.workers.fit_workers:
            self._refresh_workers()
            if not self.workers.fit_workers:
                self.fatal = self.fatal or self.workers.describe_unfit()
        return bool(new)

    def _lose_scheduler(self) -> None:
        """Nothing that is in flight can come back."""
        # Their workers may still be at it, but nobody will ask which image they had.
        for flight in self.in_flight.values():
            marker.remove_marker(flight.marker)
        self.in_flight.clear()
        self.fatal = self.fatal or str(SchedulerGone())


def _pads_batches(settings: Settings) -> bool:
    """Whether the engine computes full batches only."""
    on_cpu = (settings.device, settings.backend) == ("cpu", TORCH)
    return not (on_cpu and is_independent_of_batch(settings.precision))
