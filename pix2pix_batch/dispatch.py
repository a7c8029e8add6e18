"""Sending chunks to the Dask workers and taking back what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from pix2pix_batch import worker
from pix2pix_batch.errors import OutputError
from pix2pix_batch.journal import Record
from pix2pix_batch.scan import Item
from pix2pix_batch.settings import Settings

CHUNK_SECONDS = 1.5
"""Work a chunk should hold: enough to make Dask's cost small, little enough to lose."""

FIRST_CHUNK, LARGEST_CHUNK = 8, 512
IN_FLIGHT = 3
"""Chunks a worker has at hand: one running and two waiting, so that it never idles."""

PATIENCE = 20.0
"""Seconds without news after which it is checked that workers are still there."""


class Dispatcher:
    """Keeps a bounded number of chunks in flight.

    ``claim`` is called with a chunk's names before it is sent, ``record`` with the records of one
    that came back, ``watch`` after each wait for news, half a second at most. Once ``stop`` is
    set nothing more is sent.
    """

    def __init__(
        self,
        client: Any,
        workers: int,
        settings: Settings,
        *,
        claim: Callable[[list[str]], None],
        record: Callable[[list[Record]], None],
        watch: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self.client, self.workers, self.settings = client, workers, settings
        self.claim, self.record, self.watch, self.stop = claim, record, watch, stop
        self.flying: dict[Any, list[Item]] = {}
        self.chunk_size = FIRST_CHUNK
        self.last_news = time.monotonic()
        self.fatal = ""

    def run(self, items: Iterator[Item]) -> bool:
        """Have ``items`` converted; whether all were, for ``stop`` may have come between.

        Raises :class:`OutputError` where nothing more can be written, when what was in flight
        has come back, and where no workers are left.
        """
        exhausted = False
        while True:
            while not (exhausted or self.stop.is_set() or self.fatal) and (
                len(self.flying) < IN_FLIGHT * self.workers
            ):
                chunk = list(islice(items, self.chunk_size))
                exhausted = not chunk
                if chunk:
                    self._submit(chunk)
            if not self.flying:
                break
            for future in self._finished():
                self._receive(future)
            self.watch()
        if self.fatal:
            raise OutputError(self.fatal)
        # stopped, but there was nothing left to do: that is no interruption
        return exhausted or next(items, None) is None

    def _submit(self, chunk: list[Item]) -> None:
        self.claim([item.name for item in chunk])
        future = self.client.submit(worker.convert_chunk, self.settings, chunk, pure=False)
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
            self.record([Record(item.name, "failed", reason=reason) for item in chunk])
            return
        self.record(result.records)
        self.fatal = result.fatal or self.fatal
        self._adapt(result.seconds / len(chunk))

    def _adapt(self, seconds_an_item: float) -> None:
        batch = self.settings.batch_size or 1
        wanted = CHUNK_SECONDS / max(seconds_an_item, 1e-4)
        rounded = max(1, round(wanted / batch)) * batch if wanted >= batch else max(1, int(wanted))
        self.chunk_size = min(LARGEST_CHUNK, rounded)
