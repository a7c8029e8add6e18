"""Those who work on a job, and what the first of them says of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pix2pix_batch.errors import OutputError, Pix2PixBatchError, SchedulerGone
from pix2pix_batch.inputs.scan import Item
from pix2pix_batch.settings import Decision, Settings
from pix2pix_batch.text import describe_error
from pix2pix_batch.workers import worker
from pix2pix_batch.workers.worker import Orders

ROSTER_SECONDS = 2.0
"""How often it is looked who works."""

PATIENCE = 60.0
"""Seconds that a job goes on waiting for workers where there are none any more."""

LOOKS = 3
"""Times that the first images are looked at, of each of which Dask makes several."""

DESERTED = (
    "all Dask workers are gone, and none comes back; see what ended them (want of memory?), start "
    "some on a cluster of yours, then run the same command again: it goes on where this run stopped"
)


@dataclass(frozen=True)
class Crew:
    """Those who work. ``patience``: seconds to wait for workers where there are none any more;
    ``tend``: called now and then to see to them."""

    client: Any
    patience: float = PATIENCE
    tend: Callable[[], None] = lambda: None


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
            raise OutputError(
                f"a worker cannot open the model ({describe_error(error)}); see what is wrong "
                "there, then run the same command again"
            ) from error
    raise OutputError(
        "the workers die as they open the model; see that they have memory enough (fewer "
        "--workers, a smaller --batch-size), then run the same command again"
    )


def _await(future: Any, crew: Crew) -> None:
    """Wait for it as long as there are workers. Raises :class:`OutputError`."""
    from distributed import wait

    last = time.monotonic()
    while not future.done():
        with contextlib.suppress(TimeoutError):
            wait(future, timeout=ROSTER_SECONDS)
        crew.tend()
        if future.done() or crew.client.nthreads():
            last = time.monotonic()
        elif time.monotonic() - last > crew.patience:
            raise OutputError(DESERTED)
