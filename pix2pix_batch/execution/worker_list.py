"""Which workers are there, and which of them may be given something."""

from __future__ import annotations

import time

from pix2pix_batch.execution.cluster_handle import WORKER_CHECK_SECONDS, ClusterHandle


class WorkerList:
    """The workers of a job. ``notes``: what the user should know of them in the end."""

    def __init__(self, handle: ClusterHandle) -> None:
        self._handle = handle
        self.threads: dict[str, int] = {}
        """Of each worker that is there, by its address."""
        self.unfit: dict[str, str] = {}
        """The workers that are given nothing, and why."""
        self.notes: list[str] = []
        self._last_refresh = self._last_worker = time.monotonic()

    def refresh(self) -> None:
        """Ask the scheduler who is there. Raises what the lost connection does."""
        self.threads = dict(self._handle.client.nthreads())
        self._last_refresh = time.monotonic()
        if self.usable_threads:
            self._last_worker = self._last_refresh

    @property
    def is_due(self) -> bool:
        """Whether it is time to ask again."""
        return time.monotonic() - self._last_refresh >= WORKER_CHECK_SECONDS

    @property
    def is_deserted(self) -> bool:
        """Whether nobody that is fit has been there for longer than the job waits for workers."""
        return time.monotonic() - self._last_worker > self._handle.patience

    @property
    def usable_threads(self) -> list[int]:
        """The threads of each worker that may be given something."""
        return [count for address, count in self.threads.items() if address not in self.unfit]

    @property
    def fit_workers(self) -> frozenset[str]:
        """The workers to choose from; empty where any will do."""
        # Empty means any, so that workers which join later may take what waits at the scheduler.
        return frozenset(self.threads) - set(self.unfit) if self.unfit else frozenset()

    def dismiss(self, found: dict[str, str]) -> dict[str, str]:
        """Give these workers nothing more; returns those that were not known before, and why."""
        new = {address: why for address, why in found.items() if address not in self.unfit}
        self.unfit |= new
        self.notes += [f"left out {address}, which {why}" for address, why in new.items()]
        return new

    def describe_unfit(self) -> str:
        """Why there is nobody to work, where all that are there are unfit."""
        reasons = "; ".join(f"{address} {why}" for address, why in self.unfit.items())
        return f"no worker is fit for this job: {reasons}"
