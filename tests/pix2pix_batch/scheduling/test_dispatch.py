"""A scheduler that goes at the worst moments: as a result is fetched, as workers are asked."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pix2pix_batch.errors import OutputError
from pix2pix_batch.inputs.scan import Item
from pix2pix_batch.records.record import Record
from pix2pix_batch.scheduling import cluster
from pix2pix_batch.scheduling.dispatch import Dispatcher
from pix2pix_batch.scheduling.preflight import Needs, versions
from pix2pix_batch.settings import Settings
from pix2pix_batch.workers.worker import ChunkResult, Orders
from tests.end_to_end.fleet import Fleet

ITEMS = [Item(f"{number}.png", f"{number}.png", f"{number}.png", "png") for number in range(40)]


@pytest.mark.parametrize("fails", [False, True], ids=["as a result is fetched", "as it is asked"])
def test_the_scheduler_goes_while_the_client_waits_for_its_answer(
    tmp_path: Path, fails: bool
) -> None:
    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        time.sleep(1)
        if fails:
            raise OSError("no worker that answers")
        return ChunkResult([Record(item.name, "done", "", item.output) for item in items])

    kept: list[Record] = []

    def record(records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        kept.extend(records)

    with Fleet(tmp_path) as fleet:
        fleet.worker("only")
        fleet.wait_for(1)
        with (
            pytest.raises(OutputError, match="the Dask scheduler is gone"),
            cluster.connect(fleet.file.as_posix(), None) as (client, _),
        ):

            def watch() -> None:
                if dispatcher.fatal:
                    return
                while not any(future.done() for future in dispatcher.flying):
                    time.sleep(0.01)
                os.kill(fleet.scheduler.pid, signal.SIGSTOP)
                threading.Timer(1, fleet.kill, [fleet.scheduler]).start()

            dispatcher = Dispatcher(
                client,
                Settings(
                    "tiny.safetensors",
                    "0",
                    str(tmp_path),
                    "pad",
                    32,
                    None,
                    4,
                    "cpu",
                    "fp32",
                    False,
                    0,
                ),
                claim=lambda names: None,
                record=record,
                watch=watch,
                stop=threading.Event(),
                orders=Orders(needs=Needs(versions())),
                task=task,
            )
            dispatcher.run(iter(ITEMS))
    assert not [record for record in kept if record.status != "done"]
