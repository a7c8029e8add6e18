"""The Dask cluster that a job runs on: the user's, or one of this machine's cores."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker

import dask
import psutil
from distributed import Client, LocalCluster

from pix2pix_batch.cores import cores
from pix2pix_batch.errors import InputError

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.work-stealing": False,
    "distributed.diagnostics.nvml": False,
}
"""Of a cluster of our own: Dask's sampling profiler, ticks and monitors cost the workers time."""

MEMORY_A_WORKER = 1500 << 20
"""Bytes a worker is taken to need: PyTorch, a full-size generator, and images in flight."""


def default_workers() -> int:
    """One a core, as far as the memory that is free now allows."""
    return max(1, min(cores(), psutil.virtual_memory().available // MEMORY_A_WORKER))


def dashboard(client: Client) -> str:
    """The address of Dask's dashboard; empty where it cannot be shown for want of bokeh."""
    return (client.dashboard_link or "") if importlib.util.find_spec("bokeh") else ""


@contextlib.contextmanager
def connect(scheduler: str | None, workers: int | None) -> Iterator[tuple[Client, int]]:
    """A client and its number of workers. Raises :class:`InputError` where none is reached.

    ``scheduler``: the address of an existing cluster, or ``None`` for processes of our own,
    which listen on the loopback interface only.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=10)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{scheduler}: no Dask scheduler answers there ({error}); check the address, or "
                "leave out --scheduler to use this machine"
            ) from error
        with client:
            count = len(client.scheduler_info(n_workers=-1)["workers"])
            if count == 0:
                raise InputError(f"{scheduler}: has no workers; start some with 'dask worker'")
            yield client, count
        return
    count = workers or default_workers()
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(QUIET))
        with _interrupts_held():
            cluster = stack.enter_context(_local(count))
        client = stack.enter_context(Client(cluster))
        yield client, count


def _local(count: int) -> LocalCluster:
    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Threads and processes started in here never see Ctrl-C, which goes to all of a terminal's.

    The client alone handles it, after this block, and lets the workers finish what they have
    begun. Dask's own thread, which starts workers anew when they die, inherits the mask too.
    """
    # Starting it later, from Dask's thread, would unblock the signal there.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
