"""Those who work on a job, and what the first of them says of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pix2pix_batch.errors import OutputError, Pix2PixBatchError, SchedulerGone
from pix2pix_batch.execution import preflight, worker
from pix2pix_batch.execution.worker import ChunkOptions
from pix2pix_batch.inference.settings import Decision, Settings
from pix2pix_batch.item import Item
from pix2pix_batch.text import describe_error, duration

ROSTER_SECONDS = 2.0
"""How often it is looked who works."""

EMPTY_SECONDS = 0.25
"""The same while there is none yet, when Ctrl-C has nothing to wait for."""

PATIENCE = 60.0
"""Seconds that a job goes on waiting for workers where there are none any more."""

LOOKS = 3
"""Times that the first images are looked at, of each of which Dask makes several."""

DESERTED = (
    "all Dask workers are gone, and none comes back; see what ended them (want of memory?), start "
    "some on a cluster of yours, then run the same command again: it goes on where this run stopped"
)

NONE_CAME = (
    "no worker has come to the cluster in {}; start some with 'dask worker', or see why it starts "
    "none, then run the same command again"
)


@dataclass(frozen=True)
class ClusterHandle:
    """Those who work. ``patience``: seconds to wait for workers where there are none any more;
    ``tend``: called now and then to see to them; ``stop``: set when the user wants an end;
    ``show_waiting``: told for how many seconds it has waited for the first of them."""

    client: Any
    patience: float = PATIENCE
    tend: Callable[[], None] = lambda: None
    stop: threading.Event = field(default_factory=threading.Event)
    show_waiting: Callable[[float], None] = lambda seconds: None


def autotune_on_worker(
    handle: ClusterHandle,
    settings: Settings,
    items: list[Item],
    orders: ChunkOptions,
    others: int = 0,
) -> Decision:
    """What a worker decides on the job's first images, while ``others`` open the engine that it
    will decide for, as far as one can tell. Raises :class:`InputError` for settings that it cannot
    run, and :class:`OutputError`."""
    from distributed import CancelledError, KilledWorker

    for _ in range(LOOKS):
        future = handle.client.submit(worker.autotune_job, settings, items, orders, pure=False)
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
        except CancelledError as error:
            raise SchedulerGone from error
        except Exception as error:
            if future.status != "error":  # it did not come from the worker
                raise
            if orders.needs is not None:  # which may lack what it takes to say so
                preflight.require_fit(handle.client, settings, orders.needs)
            raise OutputError(
                f"a worker cannot open the model ({describe_error(error)}); see what is wrong "
                "there, then run the same command again"
            ) from error
        finally:
            for one in opening:  # those that have not begun
                one.cancel()
    raise OutputError(
        "the workers die as they open the model; see that they have memory enough (fewer "
        "--workers, a smaller --batch-size), then run the same command again"
    )


def _await(future: Any, handle: ClusterHandle) -> None:
    """Wait for it as long as there are workers. Raises :class:`OutputError`."""
    from distributed import wait

    start = last = time.monotonic()
    came = bool(handle.client.nthreads())  # they may die before it is looked again
    while not future.done():
        with contextlib.suppress(TimeoutError):
            wait(future, timeout=ROSTER_SECONDS if came else EMPTY_SECONDS)
        handle.tend()
        now = time.monotonic()
        if future.done() or handle.client.nthreads():
            last, came = now, True
        elif handle.stop.is_set():  # nothing is in flight that could be finished
            future.cancel()
            raise KeyboardInterrupt
        elif now - last > handle.patience:
            raise OutputError(DESERTED if came else NONE_CAME.format(duration(handle.patience)))
        elif not came:
            handle.show_waiting(now - start)
