"""Schedulers and workers that go at the worst moments, and that none of it lasts for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pix2pix_batch.bundle import fingerprint
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.execution import chunk, cluster, worker_list
from pix2pix_batch.execution.cluster_handle import ClusterHandle, autotune_on_worker
from pix2pix_batch.execution.dispatch import Dispatcher
from pix2pix_batch.execution.marker import Marker
from pix2pix_batch.execution.preflight import WorkerRequirements, package_versions
from pix2pix_batch.execution.split_items import SplitItems
from pix2pix_batch.execution.task_spec import TaskSpec
from pix2pix_batch.execution.worker import ChunkOptions, ChunkResult
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record
from tests.end_to_end.fleet import Fleet

ITEMS = [Item(f"{number}.png", f"{number}.png", f"{number}.png", "png") for number in range(40)]


class Kept:
    """The records that came back."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def claim(self, *chunks: list[str]) -> None:
        pass

    def record(self, records: list[Record], seconds: float = 0.0, worker: str = "") -> None:
        self.records.extend(records)

    def sync(self) -> None:
        pass


def settings(out: Path) -> Settings:
    return Settings("tiny.safetensors", "0", str(out), "pad", 32, None, 4, "cpu", "fp32", False, 0)


@pytest.mark.parametrize("fails", [False, True], ids=["as a result is fetched", "as it is asked"])
def test_the_scheduler_goes_while_the_client_waits_for_its_answer(
    tmp_path: Path, fails: bool
) -> None:
    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        time.sleep(1)
        if fails:
            raise OSError("no worker that answers")
        return ChunkResult([Record(item.name, "done", "", item.output) for item in items])

    book = Kept()
    with Fleet(tmp_path) as fleet:
        fleet.worker("only")
        fleet.wait_for(1)
        with (
            pytest.raises(OutputError, match="the Dask scheduler is gone"),
            cluster.connect(fleet.file.as_posix()) as (client, _),
        ):
            client._timeout = 1  # seconds that it looks for a scheduler that is gone

            def watch() -> None:
                if dispatcher.fatal:
                    return
                while not any(future.done() for future in dispatcher.in_flight):
                    time.sleep(0.01)
                os.kill(fleet.scheduler.pid, signal.SIGSTOP)
                threading.Timer(1, fleet.kill, [fleet.scheduler]).start()

            work = TaskSpec(
                settings(tmp_path),
                ChunkOptions(needs=WorkerRequirements(package_versions())),
                task=task,
            )
            stop = threading.Event()
            dispatcher = Dispatcher(ClusterHandle(client), work, book, watch=watch, stop=stop)
            dispatcher.run(iter(ITEMS))
    assert not [record for record in book.records if record.status != "done"]


def test_what_a_chunk_did_not_come_to_is_sent_again_and_a_scan_that_breaks_off_loses_nothing(
    tmp_path: Path,
) -> None:
    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        assert orders.time_budget > 0
        done = [Record(item.name, "done", "", item.output) for item in items[:3]]
        return ChunkResult(done, 1.0, tiles=len(done), left=tuple(items[3:]))

    def broken() -> Iterator[Item]:
        yield from ITEMS[:30]
        raise InputError("line 31 is none")

    with Fleet(tmp_path) as fleet:
        fleet.worker("only")
        fleet.wait_for(1)
        with cluster.connect(fleet.address) as (client, _):
            for items, count in ((iter(ITEMS), 40), (broken(), 30)):
                book = Kept()
                work = TaskSpec(settings(tmp_path), task=task)
                stop = threading.Event()
                dispatcher = Dispatcher(
                    ClusterHandle(client), work, book, watch=lambda: None, stop=stop
                )
                if count == 40:
                    assert dispatcher.run(items)
                else:
                    with pytest.raises(OutputError, match="line 31 is none"):
                        dispatcher.run(items)
                names = sorted(record.name for record in book.records)
                assert names == sorted(item.name for item in ITEMS[:count])


def test_what_is_in_flight_is_given_up_when_all_workers_have_gone_while_the_job_stops(
    tmp_path: Path,
) -> None:
    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        time.sleep(600)
        return ChunkResult([])

    stop = threading.Event()
    with Fleet(tmp_path) as fleet:
        only = fleet.worker("only")
        fleet.wait_for(1)
        with cluster.connect(fleet.address) as (client, _):

            def watch() -> None:
                if dispatcher.in_flight and not stop.is_set():
                    stop.set()
                    fleet.kill(only)

            work = TaskSpec(settings(tmp_path), task=task)
            crew = ClusterHandle(client, patience=1)
            dispatcher = Dispatcher(crew, work, Kept(), watch=watch, stop=stop)
            with pytest.raises(OutputError, match="all Dask workers are gone"):
                dispatcher.run(iter(ITEMS))


def test_an_image_that_kills_the_only_worker_that_is_fit_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the worker comes back under another address, as one that is not known yet."""

    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        with Marker(orders.marker) as mark:
            if orders.careful:
                mark.begin(0, "1:1")
            os._exit(1)

    monkeypatch.setattr(worker_list, "WORKER_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(chunk, "SHORTEST_DELAY", 0.01)
    book = Kept()
    with Fleet(tmp_path / "fleet") as fleet, ExitStack() as stack:
        fleet.worker("odd")
        fleet.wait_for(1)
        client, _ = stack.enter_context(cluster.connect(fleet.address))
        odd = list(client.nthreads())
        fleet.worker("fit")
        fleet.wait_for(2)
        (tmp_path / "markers").mkdir()
        work = TaskSpec(settings(tmp_path), markers=str(tmp_path / "markers"), task=task)
        stop = threading.Event()
        dispatcher = Dispatcher(ClusterHandle(client), work, book, watch=lambda: None, stop=stop)
        dispatcher.workers.unfit = dict.fromkeys(odd, "is odd")
        assert dispatcher.run(iter(ITEMS[:1]))
    assert [(record.status, record.reason) for record in book.records] == [
        ("quarantined", "killed its worker 3 times")
    ]


def test_a_job_does_not_wait_for_ever_with_workers_that_are_unfit(tmp_path: Path) -> None:
    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        os._exit(1)

    with Fleet(tmp_path) as fleet:
        fleet.worker("odd")
        fleet.wait_for(1)
        with cluster.connect(fleet.address) as (client, _):
            odd = list(client.nthreads())
            fit = fleet.worker("fit")
            fleet.wait_for(2)

            def watch() -> None:
                if fit.poll() is None:
                    fleet.kill(fit)

            stop = threading.Event()
            crew = ClusterHandle(client, patience=1)
            work = TaskSpec(settings(tmp_path), task=task)
            dispatcher = Dispatcher(crew, work, Kept(), watch=watch, stop=stop)
            dispatcher.workers.unfit = dict.fromkeys(odd, "is odd")
            with pytest.raises(OutputError, match=f"no worker is fit .*: {odd[0]} is odd"):
                dispatcher.run(iter(ITEMS[:1]))


def test_what_a_worker_says_as_it_cannot_open_the_model_is_told(tmp_path: Path, tiny: Path) -> None:
    def opener(settings: Settings, tiles: Any) -> Any:
        raise RuntimeError("the driver\nis too old")

    asked = replace(
        settings(tmp_path), model=str(tiny), fingerprint=fingerprint(tiny), backend="tensorrt",
        opener=opener,
    )  # fmt: skip
    with Fleet(tmp_path) as fleet:
        fleet.worker("only")
        fleet.wait_for(1)
        with cluster.connect(fleet.address) as (client, _):
            message = r"a worker cannot open the model \(the driver is too old\); see"
            with pytest.raises(OutputError, match=message):
                autotune_on_worker(ClusterHandle(client), asked, [], ChunkOptions())


def test_a_first_look_does_not_wait_for_ever_for_workers(tmp_path: Path, tiny: Path) -> None:
    asked_for = tmp_path / "asked"

    def opener(settings: Settings, tiles: Any) -> Any:
        asked_for.touch()
        time.sleep(600)

    asked = replace(
        settings(tmp_path), model=str(tiny), fingerprint=fingerprint(tiny), backend="tensorrt",
        opener=opener,
    )  # fmt: skip

    with Fleet(tmp_path) as fleet:
        only = fleet.worker("only")
        fleet.wait_for(1)

        def killed() -> None:
            while not asked_for.exists():
                time.sleep(0.05)
            fleet.kill(only)

        with cluster.connect(fleet.address) as (client, _):
            killer = threading.Thread(target=killed)
            killer.start()
            with pytest.raises(OutputError, match="all Dask workers are gone"):
                autotune_on_worker(ClusterHandle(client, patience=1), asked, [], ChunkOptions())
            killer.join()


def test_parts_of_an_item_go_to_all_workers_and_the_whole_comes_last(tmp_path: Path) -> None:
    """Also where a part fails, or its worker dies; a single worker gets no parts."""
    told = tmp_path / "told"
    told.mkdir()

    def task(settings: Any, items: Any, orders: Any) -> ChunkResult:
        (item,) = items if items[0].rows is not None else items[:1]
        trace = told / f"{item.name}-{item.rows and item.rows[0]}-{time.time_ns()}"
        if item.rows == (4, 6) and not list(told.glob(f"{item.name}-4-*")):
            trace.touch()
            raise OSError("a part that fails once")
        trace.touch()
        time.sleep(0.05)
        return ChunkResult([Record(one.name, "done", "", one.output) for one in items], worker="w")

    def split(item: Item) -> list[Item]:
        ends = (2, 4, 6) if item.name == "3.png" else ()
        return [replace(item, rows=(end - 2, end)) for end in ends]

    with Fleet(tmp_path) as fleet:
        for number, name in enumerate(("first", "second"), 1):
            fleet.worker(name)
            fleet.wait_for(number)
            with cluster.connect(fleet.address) as (client, _):
                book = Kept()
                work = TaskSpec(settings(tmp_path), task=task, split=split)
                dispatcher = Dispatcher(
                    ClusterHandle(client), work, book, watch=lambda: None, stop=threading.Event()
                )
                assert dispatcher.run(iter(ITEMS[:6]))
                names = sorted(record.name for record in book.records)
                assert names == sorted(item.name for item in ITEMS[:6])
                seen = sorted(told.glob("3.png-*"), key=lambda path: path.name.split("-")[2])
                rows = [path.name.split("-")[1] for path in seen]
                if number == 1:
                    assert "0" not in rows
                else:
                    assert sorted(rows) == ["0", "2", "4", "4", "None"] and rows[-1] == "None"
                for path in told.iterdir():
                    path.unlink()


def test_a_run_that_ends_takes_whole_items_back() -> None:
    parts = [replace(ITEMS[0], rows=(at, at + 1)) for at in range(2)]
    split = SplitItems(lambda item: parts if item is ITEMS[0] else [])
    assert split.take(ITEMS[0]) == parts and split.take(ITEMS[1]) == []
    assert split.take(parts[0]) == [] and split.finish(parts[0]) is None
    assert list(split.restore(deque([parts[1], ITEMS[1]]))) == [ITEMS[0], ITEMS[1]]
    assert split.take(ITEMS[0]) == parts and split.finish(parts[1]) is None
    assert split.finish(parts[0]) is ITEMS[0] and split.take(ITEMS[0]) == []
