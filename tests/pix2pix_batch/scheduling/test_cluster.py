"""Which workers a machine gets, what their environment says, and a cluster of somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from distributed import Client
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.errors import SchedulerGone
from pix2pix_batch.scheduling.cluster import MEMORY_A_WORKER, connect, local, plan
from pix2pix_batch.workers.converter import CODEC_THREADS_VARIABLE
from tests.end_to_end.fleet import Fleet

GPU = "CUDA_VISIBLE_DEVICES"


def test_one_worker_a_gpu() -> None:
    planned = plan("auto", None, ["0", "1", "2", "3"], 32)
    assert [worker[GPU] for worker in planned] == ["0", "1", "2", "3"]
    assert {worker[CODEC_THREADS_VARIABLE] for worker in planned} == {"8"}
    assert plan("cuda", None, ["GPU-5f"], 1) == [{GPU: "GPU-5f", CODEC_THREADS_VARIABLE: "2"}]


def test_without_gpus_or_on_the_cpu_workers_have_nothing_of_their_own() -> None:
    assert plan("auto", 3, [], 32) == [{}, {}, {}]
    assert plan("cpu", 2, ["0", "1"], 32) == [{}, {}]
    assert len(plan("auto", None, [], 32)) >= 1


def test_no_more_workers_than_the_processs_memory_takes() -> None:
    """The machine may have more of it than a container, or a limit, lets it have."""
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_RSS, (int(sys.argv[1]),) * 2)
from pix2pix_batch.scheduling import cluster
cluster.cores = lambda: 64
print(cluster.default_workers())
"""
    for count in (0, 1, 2):
        limit = str(count * MEMORY_A_WORKER + 1000)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        found = subprocess.run(
            [sys.executable, "-c", code, limit], env=environment, capture_output=True, check=True
        )
        assert int(found.stdout) == max(1, count)


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 256))
def test_as_many_workers_as_asked_for_share_the_gpus(workers: int, gpus: int, cores: int) -> None:
    planned = plan("cuda", workers, [str(number) for number in range(gpus)], cores)
    used = [worker[GPU] for worker in planned]
    counts = [used.count(name) for name in set(used)]
    assert len(planned) == workers
    assert len(set(used)) == min(workers, gpus)
    assert max(counts) - min(counts) <= 1


def test_each_worker_process_has_its_own_environment() -> None:
    with local([{GPU: "7"}, {GPU: "8"}]) as cluster, Client(cluster) as client:
        assert sorted(client.run(os.getenv, GPU).values()) == ["7", "8"]
        assert set(client.nthreads().values()) == {1}
        assert all(address.startswith("tcp://127.0.0.1:") for address in client.nthreads())


def test_what_is_asked_of_a_cluster_that_is_gone_is_no_bug(tmp_path: Path) -> None:
    with Fleet(tmp_path) as fleet:
        fleet.worker("only")
        fleet.wait_for(1)
        with pytest.raises(SchedulerGone), connect(fleet.address, None) as (client, count):
            assert count == 1
            client._timeout = 1  # seconds that it looks for it again
            fleet.kill(fleet.scheduler)
            while client.status != "closed":
                time.sleep(0.1)
            client.submit(os.getpid)


def test_other_errors_stay_themselves() -> None:
    with (
        local([{}]) as cluster,
        pytest.raises(ZeroDivisionError),
        connect(cluster.scheduler_address, None),
    ):
        raise ZeroDivisionError
