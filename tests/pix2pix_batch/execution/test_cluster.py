"""Worker processes of our own, and a cluster of somebody else."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from distributed import Client, SpecCluster

from pix2pix_batch.errors import InputError, OutputError, SchedulerGone
from pix2pix_batch.execution import cluster
from pix2pix_batch.execution.cluster import connect, local_cluster, start_local
from tests.end_to_end.command import PATIENCE
from tests.end_to_end.fleet import Fleet

GPU = "CUDA_VISIBLE_DEVICES"


def test_each_worker_process_has_its_own_environment() -> None:
    with local_cluster([{GPU: "7"}, {GPU: "8"}]) as started, Client(started) as client:
        assert sorted(client.run(os.getenv, GPU).values()) == ["7", "8"]
        assert set(client.nthreads().values()) == {1}
        assert all(address.startswith("tcp://127.0.0.1:") for address in client.nthreads())


def refusal_of_workers() -> str:
    try:
        local_cluster([{}]).close()
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks where there are threads
def test_a_process_forked_afterwards_starts_no_workers() -> None:
    """It would wait for ever, on threads that only the other process has."""
    with local_cluster([{}]):
        pass
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        assert "start it by 'spawn'" in pool.submit(refusal_of_workers).result(PATIENCE)


def test_what_is_asked_of_a_cluster_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.worker("only")
        fleet.wait_for(1)
        with pytest.raises(SchedulerGone), connect(fleet.address) as (client, count):
            assert count == 1
            client._timeout = 1  # seconds that it looks for it again
            fleet.kill(fleet.scheduler)
            while client.status != "closed":
                time.sleep(0.1)
            client.submit(os.getpid)


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from pix2pix_batch.errors import OutputError
from pix2pix_batch.execution import cluster
from pix2pix_batch.execution.cluster import local_cluster
if __name__ == "__main__":
    try:
        local_cluster([{{}}]).close()
    except OutputError as error:
        print(error)
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(("soft", "hard", "told"), [(20, 20, True), (20, 1024, False)])
def test_too_few_open_files_are_told(tmp_path: Path, soft: int, hard: int, told: bool) -> None:
    script = tmp_path / "limited.py"
    script.write_text(LIMITED.format(soft=soft, hard=hard))
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=PATIENCE)
    assert ran.returncode == 0 and "Traceback" not in ran.stderr, ran.stderr
    assert ("the system allows 20 open files" in ran.stdout) == told
    assert int(ran.stdout.split()[-1]) == (20 if told else 128)


def test_a_scheduler_file_that_is_not_there(tmp_path: Path) -> None:
    place = tmp_path / "scheduler.json"
    with pytest.raises(InputError, match="no such scheduler file"), connect(str(place)):
        pass


@pytest.mark.parametrize("text", ["", "{}", "words", "[1]"])
def test_a_scheduler_file_that_is_none(tmp_path: Path, text: str) -> None:
    place = tmp_path / "scheduler.json"
    place.write_text(text)
    with pytest.raises(InputError, match="no Dask scheduler answers there"), connect(str(place)):
        pass


def test_what_accepts_connections_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server of another kind, or a scheduler that hangs."""
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(InputError, match="does not answer as a scheduler"), connect(address):
            pass


def test_other_errors_stay_themselves() -> None:
    with (
        local_cluster([{}]) as started,
        pytest.raises(ZeroDivisionError),
        connect(started.scheduler_address),
    ):
        raise ZeroDivisionError


def test_what_does_not_close_in_time_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Least of all in place of another."""

    def make_late(kind: type[Client] | type[SpecCluster]) -> None:
        close = kind.close

        def late(self: object) -> None:
            close(self)
            raise TimeoutError("timed out after 60 s")

        monkeypatch.setattr(kind, "close", late)

    make_late(Client)
    make_late(SpecCluster)
    with start_local([], "spawn") as (client, _):
        pass
    assert client.status == "closed"
    with pytest.raises(OutputError, match="the workers die"), start_local([], "spawn"):
        raise OutputError("the workers die")
