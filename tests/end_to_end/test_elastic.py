"""Clusters that have no workers at first, or between: those that scale with their work."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from pix2pix_batch.execution import cluster as clusters
from pix2pix_batch.execution import job
from pix2pix_batch.options import Options
from pix2pix_batch.reporting.progress import Progress
from tests.end_to_end.command import (
    PATIENCE,
    environment,
    finish,
    fork,
    put,
    wait_until_told,
    words,
)
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.forked import start_template
from tests.end_to_end.test_preflight import OLD

WAITING = b"no workers yet: waiting for some"


@pytest.fixture
def elastic(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """One that has a worker while there is work, and none after."""
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    start_template()
    method = {"distributed.worker.multiprocessing-method": "forkserver"}
    options = {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(method), LocalCluster(**options) as cluster:
        cluster.adapt(minimum=0, maximum=1, interval="200ms", wait_count=2)
        yield cluster


def test_a_cluster_that_scales_from_zero_and_back(
    tmp_path: Path, tiny: Path, elastic: LocalCluster
) -> None:
    files = [put(tmp_path / "in" / f"{number:02}.png", seed=number) for number in range(24)]
    given = words("-", tmp_path / "out", tiny, "--scheduler", elastic.scheduler_address)
    process = fork(*given, fed=True)
    assert process.stdin is not None
    process.stdin.write(b"".join(b"%s\n" % bytes(file) for file in files[:20]))
    process.stdin.flush()
    end = time.monotonic() + PATIENCE  # whether it says that it waits is a matter of speed here
    while len(list((tmp_path / "out").rglob("*.png"))) < 8:  # then it waits for more
        assert time.monotonic() < end
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    elastic.adapt(minimum=0, maximum=0, interval="200ms", wait_count=1)  # a quota that ends
    while elastic.workers:
        assert time.monotonic() < end
        time.sleep(0.1)
    elastic.adapt(minimum=0, maximum=1, interval="200ms", wait_count=2)
    ran = finish(process, b"".join(b"%s\n" % bytes(file) for file in files[20:]))
    assert ran.code == 0, ran.err
    assert ran.counts() == (24, 0, 0)


def test_workers_that_come_late_are_looked_at(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    old = tmp_path / "old.py"
    old.write_text(OLD)
    with Fleet(tmp_path / "fleet") as fleet:
        given = words(tmp_path / "in", tmp_path / "out", tiny, "--scheduler", fleet.address)
        process = fork(*given)
        wait_until_told(WAITING, process)
        fleet.worker("old", forked=False, DASK_DISTRIBUTED__WORKER__PRELOAD=str(old))
        ran = finish(process)
        assert ran.code == 2
        assert "1 worker is not fit for this job" in ran.err
        assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_the_wait_at_once(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    with Fleet(tmp_path / "fleet") as fleet:
        given = words(tmp_path / "in", tmp_path / "out", tiny, "--scheduler", fleet.address)
        process = fork(*given)
        wait_until_told(WAITING, process)
        process.send_signal(signal.SIGINT)
        ran = finish(process)
    assert (ran.code, ran.figures["converted"]) == (130, 0), ran.err


def test_patience_ends(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 3.0)
    put(tmp_path / "in" / "a.png")
    shown: list[Progress] = []
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        options = Options(model=str(tiny), scheduler=cluster.scheduler_address)
        summary = job.convert(tmp_path / "in", tmp_path / "out", options, watch=shown.append)
    assert summary.exit_code == 3
    assert summary.fatal.startswith("no worker has come to the cluster in 3 s; start some with")
    waits = [progress.waiting for progress in shown if progress.waiting is not None]
    assert waits == sorted(waits)
    assert len(waits) > 1
