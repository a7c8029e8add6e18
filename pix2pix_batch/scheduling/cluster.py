"""The Dask cluster that a job runs on: the user's, or one of this machine's cores or GPUs."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker
from pathlib import Path

import dask
import psutil
from distributed import Client, Nanny, Scheduler, SpecCluster, Status
from distributed.comm.core import CommClosedError
from distributed.system import MEMORY_LIMIT

from pix2pix_batch.cores import cores
from pix2pix_batch.errors import InputError, OutputError, Pix2PixBatchError, SchedulerGone
from pix2pix_batch.workers.converter import CODEC_THREADS_VARIABLE

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
SAFE = {"PYTHONSAFEPATH": "1"}
"""Python must not look for its own modules in the current directory, where users have a
``signal.py`` or a ``queue.py``: of the workers, also those started anew, and of the process
that multiprocessing starts beside them."""

MEMORY_A_WORKER = 1500 << 20
"""Bytes a worker is taken to need: PyTorch, a full-size generator, and images in flight."""

PATIENCE = 300.0
"""Seconds to wait for workers where an existing cluster has none any more: a batch system may be
about to start some."""


def default_workers() -> int:
    """One a core, as far as the memory allows that is free now, and that a container's limit or
    the user's lets this process have."""
    memory = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(cores(), memory // MEMORY_A_WORKER))


def visible_gpus() -> list[str]:
    """What CUDA calls the GPUs that PyTorch can use here; importing neither to find out."""
    torch = importlib.util.find_spec("torch")
    places = (torch.submodule_search_locations if torch else None) or []
    if not any(Path(place, "lib", "libtorch_cuda.so").exists() for place in places):
        return []
    there = [path.name[len("nvidia") :] for path in Path("/dev").glob("nvidia[0-9]*")]
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None or not there:
        return sorted(there, key=int)
    return [name.strip() for name in asked.split(",") if name.strip() not in ("", "-1")]


def plan(device: str, workers: int | None, gpus: list[str], count: int) -> list[dict[str, str]]:
    """What the environment of each worker of a cluster of our own says beside ours.

    ``workers``: as many as the user asked for; ``gpus``: those of this machine; ``count``: of its
    cores. With GPUs there is one worker for each, that sees no other, and shares the cores with
    the others to decode and encode. More workers than GPUs take turns.
    """
    if device == "cpu" or not gpus:
        return [{} for _ in range(workers or default_workers())]
    number = workers or len(gpus)
    threads = str(max(2, count // number))
    return [
        {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)], CODEC_THREADS_VARIABLE: threads}
        for index in range(number)
    ]


def dashboard(client: Client) -> str:
    """The address of Dask's dashboard; empty where it cannot be shown for want of bokeh."""
    return (client.dashboard_link or "") if importlib.util.find_spec("bokeh") else ""


@contextlib.contextmanager
def connect(
    scheduler: str | None, workers: int | None, device: str = "auto"
) -> Iterator[tuple[Client, int]]:
    """A client and its number of workers, none where an existing cluster has none yet.

    Raises :class:`InputError` where no scheduler is reached.

    ``scheduler``: the address of an existing cluster or its scheduler file, or ``None`` for
    processes of our own, which listen on the loopback interface only. Dask's own configuration
    has the certificates for ``tls://``.
    """
    logging.getLogger("distributed").setLevel(logging.ERROR)
    if scheduler is not None:
        with _reached(scheduler) as client:
            yield client, len(client.nthreads())
        return
    environments = plan(device, workers, visible_gpus(), cores())
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(QUIET))
        stack.enter_context(dask.config.set({SPAWNED: {**dask.config.get(SPAWNED), **SAFE}}))
        with _environment(SAFE), _interrupts_held():
            cluster = stack.enter_context(local(environments))
        client = stack.enter_context(Client(cluster))
        yield client, len(environments)


@contextlib.contextmanager
def _reached(scheduler: str) -> Iterator[Client]:
    try:
        if "://" in scheduler or not os.path.isfile(scheduler):
            client = Client(scheduler, timeout=10)
        else:
            client = Client(scheduler_file=scheduler, timeout=10)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{scheduler}: no Dask scheduler answers there ({error}); check the address, or "
            "leave out --scheduler to use this machine"
        ) from error
    # Dask's own thread reports a lost connection at length; the job says so in one line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    with client:
        try:
            yield client
        except Pix2PixBatchError:
            raise
        except Exception as error:  # the kinds of errors of a lost connection are many
            if isinstance(error, CommClosedError) or client.status != "running":
                raise SchedulerGone from error
            raise


def local(environments: list[dict[str, str]]) -> SpecCluster:
    """Worker processes of one thread, each with its environment. Raises :class:`OutputError`."""
    here = {"host": "127.0.0.1", "protocol": "tcp://"}
    options = {
        **here,
        "nthreads": 1,
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
                index: {"cls": Nanny, "options": {**options, "env": environment}}
                for index, environment in enumerate(environments)
            },
            silence_logs=logging.CRITICAL,
        )
    except RuntimeError as error:
        raise OutputError(
            f"the workers do not start ({error}); see that there is memory enough for them, or "
            "ask for fewer --workers"
        ) from error


def tend(client: Client) -> None:
    """Start workers of our own cluster anew that Dask gave up, as they died while they started."""
    if (cluster := client.cluster) is None:
        return
    ended = (Status.closed, Status.failed)
    gone = [name for name, nanny in list(cluster.workers.items()) if nanny.status in ended]
    for name in gone:
        cluster.workers.pop(name, None)
    if gone:
        cluster.scale(len(cluster.worker_spec))


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """What is started in here has these variables."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
