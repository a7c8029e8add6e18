"""The process that local workers are forked from.

It has imported PyTorch and what else they need, so that a worker is there in a moment, also one
that takes the place of a dead one, and what was imported is in memory once for all of them. It is
:mod:`multiprocessing`'s own fork server, which has one thread and opens nothing, so that forking
it is safe.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import forkserver, get_all_start_methods, resource_tracker, spawn
from typing import Any

PRELOAD = "pix2pix_batch.execution.worker_preload"

ENVIRONMENT = {
    # Libraries must not start threads when they are loaded. Dask sets this for all workers, too.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Python must not import what lies in the directory that the command happens to be run in.
    "PYTHONSAFEPATH": "1",
}
"""Of the template and of workers that are spawned, unless the user has set them."""

HELD = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
"""Signals that workers never see. SIGTERM is not among them: Dask ends workers by it."""


@contextlib.contextmanager
def start_template() -> Iterator[str]:
    """How processes are to be started in here, as ``multiprocessing`` calls it: from a template
    that has begun to import, or ``spawn`` where the system cannot.

    Jobs at the same time in one process share it, and the last ends it. A fork server that is
    somebody else's is used as it is, and left running.
    """
    if "forkserver" not in get_all_start_methods():
        yield "spawn"
        return
    server: Any = forkserver._forkserver  # has no public way to see whether it runs, or to end it
    with _lock:
        owns_server = bool(_preloads) or server._forkserver_pid is None
        if owns_server:
            _preloads.append(server._preload_modules)
    try:
        if owns_server:
            server.set_forkserver_preload([PRELOAD])  # also for one in place of one that has died
            with interrupts_held(), environment():
                server.ensure_running()
        yield "forkserver"
    finally:
        with _lock:
            if owns_server:
                server.set_forkserver_preload(_preloads.pop())
            if owns_server and not _preloads:
                _end(server)


_lock = threading.Lock()
_preloads: list[list[str]] = []
"""For each job that has its workers from the template, what the fork server imported before."""


def _end(server: Any) -> None:
    """End it at once: it may still be importing. What it has forked ends with it, and ought to have
    ended before."""
    if server._forkserver_pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
        server._stop()


@contextlib.contextmanager
def environment() -> Iterator[None]:
    """:data:`ENVIRONMENT`, for processes that are started in here."""
    new = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


@contextlib.contextmanager
def main_left_out() -> Iterator[None]:
    """Dask's worker processes that are started in here, by any thread, do not run the user's script
    once more, as :mod:`multiprocessing` has it: they need nothing of it, and one that converts
    without ``if __name__ == "__main__"`` would do so in each of them."""
    global _prepare
    with _lock:
        if not _main_left_out:
            _prepare, spawn.get_preparation_data = spawn.get_preparation_data, _prepare_worker
        _main_left_out.append(None)
    try:
        yield
    finally:
        with _lock:
            _main_left_out.pop()
            if not _main_left_out:
                spawn.get_preparation_data = _prepare


_main_left_out: list[None] = []
"""One for each job that is in :func:`main_left_out`."""
_prepare = spawn.get_preparation_data


def _prepare_worker(name: str) -> dict[str, Any]:
    """What a new process is told of this one; ``name`` is the process's."""
    told: dict[str, Any] = _prepare(name)
    if name.startswith("Dask Worker"):
        for key in ("init_main_from_name", "init_main_from_path"):
            told.pop(key, None)
    return told


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Threads and processes started in here never see Ctrl-C, nor the hang-up of a terminal, which
    go to all of its processes, nor what batch systems send ahead of the end.

    The client alone handles it, after this block, and lets the workers finish what they have
    begun. Dask's own thread, which starts workers anew when they die, inherits the mask too.
    """
    # Starting it later, from Dask's thread, would unblock the signal there.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
