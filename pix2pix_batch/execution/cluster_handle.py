"""The cluster that a job runs on, and the autotuning of its first images on one of its workers."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pix2pix_batch import memory_limit
from pix2pix_batch.errors import OutputError, Pix2PixBatchError, SchedulerGone
from pix2pix_batch.execution import preflight, worker
from pix2pix_batch.execution.worker import ChunkOptions
from pix2pix_batch.inference.settings import Decision, Settings
from pix2pix_batch.item import Item
from pix2pix_batch.text import describe_error, duration

WORKER_CHECK_SECONDS = 2.0
"""How often the scheduler is asked which workers there are."""

EMPTY_SECONDS = 0.25
"""The same while there is no worker yet: Ctrl-C then ends the job at once."""

PATIENCE = 60.0
"""How long a job waits for a worker when all have gone."""

LOOKS = 3
"""How often autotuning is submitted to Dask, which itself tries each several times."""

ALL_WORKERS_GONE = (
    "all Dask workers are gone, and none comes back; see what ended them (want of memory?), start "
    "some on a cluster of yours, then run the same command again: it goes on where this run stopped"
)

NONE_CAME = (
    "no worker has come to the cluster in {}; start some with 'dask worker', or see why it starts "
    "none, then run the same command again"
)


@dataclass(frozen=True)
class ClusterHandle:
    """The Dask client of a job. ``patience``: seconds to wait for workers when all have gone;
    ``tend``: called every few seconds to restart dead workers; ``stop``: set when the user wants
    the job to end; ``show_waiting``: called with the seconds that the job has waited for its first
    worker."""

    client: Any
    patience: float = PATIENCE
    tend: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    show_waiting: Callable[[float], None] = lambda seconds: None


def autotune_on_worker(
    handle: ClusterHandle,
    settings: Settings,
    items: list[Item],
    chunk_options: ChunkOptions,
    others: int = 0,
) -> Decision:
    """Have one worker autotune on the job's first images, while ``others`` workers open the engine
    that it will probably choose. Raises :class:`InputError` for settings that it cannot
    run, and :class:`OutputError`."""
    from distributed import CancelledError, KilledWorker

    for _ in range(LOOKS):
        # Not pure: Dask would answer equal arguments with the result, or the failure, of before.
        future = handle.client.submit(
            worker.autotune_job, settings, items, chunk_options, pure=False
        )
        opening = [
            handle.client.submit(worker.open_ahead, settings, pure=False) for _ in range(others)
        ]
        try:
            _await(future, handle)
            decision: Decision = future.result()
            return decision
        except Pix2PixBatchError:
            raise
        except KilledWorker:  # several, one after the other, as Dask has it
            time.sleep(1)
        # Dask cancels all that is under way when the connection to its scheduler is lost.
        except CancelledError as error:
            raise SchedulerGone from error
        except Exception as error:
            if future.status != "error":  # it did not come from the worker
                raise
            if chunk_options.needs is not None:  # which may lack what it takes to say so
                preflight.require_fit(handle.client, settings, chunk_options.needs)
            raise OutputError(
                f"a worker cannot open the model ({describe_error(error)}); see what is wrong "
                f"there{memory_limit.describe()}, then run the same command again"
            ) from error
        finally:
            for one in opening:  # those that have not begun
                one.cancel()
    raise OutputError(
        "the workers die as they open the model; see that they have memory enough"
        f"{memory_limit.describe()} (fewer --workers, a smaller --batch-size), then run the same "
        "command again"
    )


def _await(future: Any, handle: ClusterHandle) -> None:
    """The result of a future, awaited as long as there are workers. Raises :class:`OutputError`."""
    from distributed import wait

    start = last = time.monotonic()
    came = bool(handle.client.nthreads())  # they may die before it is looked again
    while not future.done():
        with contextlib.suppress(TimeoutError):
            wait(future, timeout=WORKER_CHECK_SECONDS if came else EMPTY_SECONDS)
        handle.tend()
        now = time.monotonic()
        if future.done() or handle.client.nthreads():
            last, came = now, True
        elif handle.stop.is_set():  # nothing is in flight that could be finished
            future.cancel()
            raise KeyboardInterrupt
        elif now - last > handle.patience:
            raise OutputError(
                ALL_WORKERS_GONE if came else NONE_CAME.format(duration(handle.patience))
            )
        elif not came:
            handle.show_waiting(now - start)
