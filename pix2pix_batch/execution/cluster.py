"""The Dask cluster that a job runs on: the user's, or one of this machine's processes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import logging
import multiprocessing
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import dask
from distributed import Client, Nanny, Scheduler, Security, SpecCluster, Status, utils
from distributed.comm.core import CommClosedError
from distributed.comm.core import connect as connect_to

from pix2pix_batch.errors import InputError, OutputError, Pix2PixBatchError, SchedulerGone
from pix2pix_batch.execution import capacity, worker_template

Started = TypeVar("Started", Client, SpecCluster)

QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.work-stealing": False,
    "distributed.diagnostics.nvml": False,
    # A worker that says nothing for long has its own watchdog, whose limit the user sets.
    "distributed.scheduler.worker-ttl": None,
    # Else Dask gives up a worker for good that is not back by then, or has just died again.
    "distributed.deploy.lost-worker-timeout": "365 days",
}
"""Of a cluster of our own: Dask's sampling profiler, ticks and monitors cost the workers time."""

SPAWNED = "distributed.nanny.pre-spawn-environ"
"""Dask's setting of what the workers' environment has, also of those that it starts anew."""

CONNECT_SECONDS = 10.0
"""How long to try to reach a scheduler, and how long it may take to answer then."""

PATIENCE = 300.0
"""Seconds to wait for workers where an existing cluster has none any more: a batch system may be
about to start some."""


def dashboard_address(client: Client) -> str:
    """The address of Dask's dashboard; empty where it cannot be shown for want of bokeh."""
    return (client.dashboard_link or "") if importlib.util.find_spec("bokeh") else ""


@contextlib.contextmanager
def connect(scheduler: str) -> Iterator[tuple[Client, int]]:
    """A client and its number of workers, none where an existing cluster has none yet.

    Raises :class:`InputError` where no scheduler is reached.

    ``scheduler``: the address of an existing cluster or its scheduler file. Dask's own
    configuration has the certificates for ``tls://``.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with _connect_to(scheduler) as client:
        yield client, len(client.nthreads())


@contextlib.contextmanager
def start_local(environments: list[dict[str, str]], method: str) -> Iterator[tuple[Client, int]]:
    """The same of processes of our own, one for each of ``environments``, which listen on the
    loopback interface only. ``method``: how they are started, as ``multiprocessing`` calls it.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        starting = {
            "distributed.worker.multiprocessing-method": method,
            SPAWNED: {**dask.config.get(SPAWNED), **worker_template.ENVIRONMENT},
        }
        stack.enter_context(dask.config.set(QUIET | starting))
        stack.enter_context(worker_template.main_left_out())
        # Else Dask imports pandas where it is installed, for a fork server of its own to import.
        if hasattr(utils, "_forkserver_preload_set"):
            utils._forkserver_preload_set = True
        with worker_template.environment(), worker_template.interrupts_held():
            cluster = stack.enter_context(_closed_quietly(local_cluster(environments)))
        client = stack.enter_context(_closed_quietly(Client(cluster)))
        yield client, len(environments)


@contextlib.contextmanager
def _closed_quietly(started: Started) -> Iterator[Started]:
    """As ``with started``, but that it does not close, or not in time, is no error: the work is
    done by then, or another error is on its way, which it would hide."""
    started.__enter__()
    try:
        yield started
    finally:
        with contextlib.suppress(Exception):
            started.__exit__(None, None, None)


@contextlib.contextmanager
def _connect_to(scheduler: str) -> Iterator[Client]:
    if ":" not in scheduler and not os.path.isfile(scheduler):
        raise InputError(
            f"{scheduler}: no such scheduler file, and no address such as tcp://host:8786; leave "
            "out --scheduler to use this machine"
        )
    try:
        if "://" in scheduler or not os.path.isfile(scheduler):
            _require_answer(scheduler)
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        else:
            _require_answer(json.loads(Path(scheduler).read_text())["address"])
            client = Client(scheduler_file=scheduler, timeout=CONNECT_SECONDS)
    except Exception as error:  # the kinds of errors of addresses and files that are none are many
        # what another server answers is read as lengths, of more memory than there is
        strange = isinstance(error, MemoryError)
        why = "another kind of server" if strange else str(error) or type(error).__name__
        raise InputError(
            f"{scheduler}: no Dask scheduler answers there ({why}); check the address, or "
            "leave out --scheduler to use this machine"
        ) from error
    # Dask's own thread reports a lost connection at length; the job says so in one line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with _closed_quietly(client):
        try:
            yield client
        except Pix2PixBatchError:
            raise
        except Exception as error:  # the kinds of errors of a lost connection are many
            if isinstance(error, CommClosedError) or client.status != "running":
                raise SchedulerGone from error
            raise


def _require_answer(address: str) -> None:
    """Raises :class:`TimeoutError` where something accepts connections and says nothing, as a
    server of another kind or a scheduler that hangs: Dask's client waits for its greeting for ever.
    """

    async def greet() -> None:
        arguments = Security().get_connection_args("client")
        greeting = connect_to(address, timeout=CONNECT_SECONDS, **arguments)
        try:
            connection = await asyncio.wait_for(greeting, 2 * CONNECT_SECONDS)
        except TimeoutError as error:
            raise TimeoutError("what listens there does not answer as a scheduler") from error
        # Not closed in order, for which it would wait on what may not be a scheduler at all.
        connection.abort()

    with ThreadPoolExecutor(1) as pool:  # this thread may have an event loop, as in notebooks
        pool.submit(lambda: asyncio.run(greet())).result()


OPEN_FILES, FEWEST_OPEN_FILES = 64, 32
"""Files and sockets that the job and each worker may have open at a time, with room to spare; and
how many they cannot do without, be there one worker: of 20 none starts, of 40 one does."""


_started_in: set[int] = set()
"""The process that has started workers; in one that was forked from it afterwards, another."""


def local_cluster(environments: list[dict[str, str]]) -> SpecCluster:
    """Worker processes of one thread, each with its environment.

    Raises :class:`InputError` in a process that may have none, and :class:`OutputError`.
    """
    if multiprocessing.current_process().daemon:
        raise InputError(
            "workers are processes, which a daemonic process cannot start, as those of Dask's and "
            "multiprocessing's pools are; call it in a process of its own, or with scheduler="
        )
    if _started_in.difference({os.getpid()}):
        raise InputError(
            "this process was forked from one that had started workers, whose threads it lacks, "
            "so that it would wait for ever; start it by 'spawn' (multiprocessing.get_context), "
            "or before the first conversion"
        )
    _started_in.add(os.getpid())
    _require_open_files(len(environments))
    here = {"host": "127.0.0.1", "protocol": "tcp://"}
    options = {
        **here,
        "nthreads": 1,
        # How many workers the memory takes was reckoned before (capacity.py). Dask's own limit
        # would pause or kill workers, and a killed worker counts against its image.
        "memory_limit": 0,
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
    }
    try:
        return SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {**here, "dashboard": True, "dashboard_address": "127.0.0.1:0"},
            },
            workers={
                index: {
                    "cls": Nanny,
                    # A fork server may have begun with another environment than this job.
                    "options": {**options, "env": {**os.environ, **environment}},
                }
                for index, environment in enumerate(environments)
            },
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        # Python's error does not say whether semaphores are what is lacking, as in some containers.
        _require_semaphores()
        raise OutputError(
            f"the workers do not start ({error}); see that there is memory enough for them "
            f"({capacity.free_memory() >> 20:,} MiB are free and allowed now), that the limits of "
            "memory, processes and open files (ulimit -v, -u, -n) allow them, or ask for fewer "
            "--workers"
        ) from error


def _require_semaphores() -> None:
    """Raises :class:`OutputError` where the system gives no semaphores, without which Python starts
    no processes: on Linux they are files in /dev/shm."""
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise OutputError(
            f"the workers do not start, since semaphores cannot be made ({error.strerror}): "
            "/dev/shm must be there, writable and not full (of a container: --shm-size, or a tmpfs "
            "that is not read-only)"
        ) from error


def _require_open_files(workers: int) -> None:
    """Have the system allow as many open files as workers take, as far as it lets us.

    Raises :class:`OutputError` where that is not enough for any.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    wanted = OPEN_FILES * (1 + workers)
    if soft == endless or soft >= wanted:
        return
    allowed = wanted if hard == endless else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FEWEST_OPEN_FILES:
        raise OutputError(
            f"the system allows {allowed} open files, too few for a worker; allow more, as with "
            "'ulimit -n 1024'"
        )


def restart_dead_workers(client: Client) -> None:
    """Start workers of our own cluster anew that Dask gave up, as they died while they started."""
    if (cluster := client.cluster) is None:
        return
    ended = (Status.closed, Status.failed)
    # A copy: Dask's own thread changes the dictionary meanwhile.
    gone = [name for name, nanny in list(cluster.workers.items()) if nanny.status in ended]
    for name in gone:
        cluster.workers.pop(name, None)
    if gone:
        # Dask starts what its specification wants and its list of workers no longer has.
        cluster.scale(len(cluster.worker_spec))
