"""How many workers a machine gets, and what their environment says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.execution import capacity
from pix2pix_batch.execution.capacity import (
    OWN,
    SHARED,
    SPAWNED,
    plan_environments,
    visible_gpus,
)
from pix2pix_batch.inference.decode_ahead import CODEC_THREADS_VARIABLE
from tests.libraries import make_library

GPU = "CUDA_VISIBLE_DEVICES"
ENGINE = 250 << 20


def test_workers_of_gpus_see_one_each_and_share_the_cores() -> None:
    planned = plan_environments("auto", None, ["0", "1", "2", "3"], 32, 99)
    assert [worker[GPU] for worker in planned] == ["0", "1", "2", "3"]
    assert {worker[CODEC_THREADS_VARIABLE] for worker in planned} == {"8"}
    planned = plan_environments("auto", None, ["0", "1"], 32, 99, workers_per_gpu=3)
    assert [worker[GPU] for worker in planned] == ["0", "1", "0", "1", "0", "1"]
    assert {worker[CODEC_THREADS_VARIABLE] for worker in planned} == {"5"}
    assert plan_environments("cuda", None, ["GPU-5f"], 1, 5) == [
        {GPU: "GPU-5f", CODEC_THREADS_VARIABLE: "1"}
    ]


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 99))
def test_no_more_workers_of_gpus_than_fit_but_one_for_each(
    gpus: int, workers_per_gpu: int, fitting: int
) -> None:
    names = [str(number) for number in range(gpus)]
    planned = plan_environments("cuda", None, names, 64, fitting, workers_per_gpu)
    assert len(planned) == max(gpus, min(fitting, gpus * workers_per_gpu))
    used = Counter(worker[GPU] for worker in planned)
    assert set(used) == set(names) and max(used.values()) - min(used.values()) <= 1


def test_without_gpus_or_on_the_cpu_workers_have_nothing_of_their_own() -> None:
    assert plan_environments("auto", 3, [], 32, 5) == [{}, {}, {}]
    assert plan_environments("cpu", 2, ["0", "1"], 32, 5) == [{}, {}]
    assert plan_environments("auto", None, [], 32, 5) == [{}] * 5


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 256))
def test_as_many_workers_as_asked_for_share_the_gpus(workers: int, gpus: int, cores: int) -> None:
    planned = plan_environments("cuda", workers, [str(number) for number in range(gpus)], cores, 1)
    used = [worker[GPU] for worker in planned]
    counts = [used.count(name) for name in set(used)]
    assert len(planned) == workers
    assert len(set(used)) == min(workers, gpus)
    assert max(counts) - min(counts) <= 1


DRIVER = """
#include <stdlib.h>
#include <string.h>
static int count(void) {
  const char *there = getenv("GPUS_THERE"), *asked = getenv("CUDA_VISIBLE_DEVICES");
  int number = there ? atoi(there) : 0, seen = 0;
  if (!asked) return number;
  char *rest = strdup(asked), *name;
  while ((name = strsep(&rest, ","))) {
    if (strncmp(name, "GPU-", 4) != 0) {
      char *end;
      long index = strtol(name, &end, 10);
      if (end == name || index < 0 || index >= number) break;
    }
    seen++;
  }
  return seen;
}
int cuInit(unsigned flags) { return count() ? 0 : 100; }
int cuDeviceGetCount(int *found) { *found = count(); return 0; }
"""
"""CUDA's driver as far as it is asked: what comes behind the first name of no GPU is not seen
(CUDA C++ Programming Guide, "CUDA Environment Variables")."""


@pytest.fixture
def gpus_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine with so many GPUs, and these files in ``/dev``."""
    folder = tmp_path / "lib"
    folder.mkdir()
    make_library(folder, "libcuda.so.1", DRIVER)

    def place(count: int, *files: str, asked: str | None = None) -> None:
        devices = tmp_path / "dev"
        devices.mkdir()
        for name in files:
            (devices / name).touch()
        monkeypatch.setattr(capacity, "DEVICES", devices)
        monkeypatch.setattr(capacity, "has_cuda", lambda: True)
        monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
        monkeypatch.setenv("GPUS_THERE", str(count))
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if asked is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)

    return place


@pytest.mark.parametrize(
    ("count", "files", "asked", "seen"),
    [
        (2, ["nvidia0", "nvidia1", "nvidiactl"], None, ["0", "1"]),
        (1, ["nvidia1", "nvidiactl"], None, ["0"]),  # of a container that has the second alone
        (2, ["nvidia3", "nvidia12"], None, ["0", "1"]),
        (1, ["dxg"], None, ["0"]),  # WSL2
        (1, ["nvhost-gpu"], None, ["0"]),  # Jetson
        (4, ["nvidia0"], "3,1", ["3", "1"]),
        (4, ["nvidia0"], "GPU-5f0a, 2", ["GPU-5f0a", "2"]),
        (4, ["nvidia0"], "0,9,1", ["0"]),
        (4, ["nvidia0"], "", []),
        (4, ["nvidia0"], "-1", []),
        (0, ["nvidia0"], None, []),  # a device, and a driver that has none of it
        (2, ["nvidiactl", "null"], None, []),
        (2, [], None, []),
    ],
)
def test_gpus_are_those_of_cuda(
    count: int,
    files: list[str],
    asked: str | None,
    seen: list[str],
    gpus_there: Callable[..., None],
) -> None:
    gpus_there(count, *files, asked=asked)
    assert visible_gpus() == seen


def test_without_a_driver_there_are_no_gpus(
    gpus_there: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus_there(2, "nvidia0")
    (tmp_path / "lib" / "libcuda.so.1").write_bytes(b"no library")
    assert visible_gpus() == []
    make_library(tmp_path / "lib", "libcuda.so.1", "int cuInit(unsigned f) { for (;;); }")
    monkeypatch.setattr(capacity, "DRIVER_SECONDS", 0.3)
    assert visible_gpus() == [], "a driver that hangs"
    monkeypatch.setattr(sys, "executable", "")
    assert visible_gpus() == []


def test_a_pytorch_without_cuda_asks_no_driver(
    gpus_there: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus_there(2, "nvidia0")
    monkeypatch.setattr(capacity, "has_cuda", lambda: False)
    monkeypatch.setattr(capacity, "count_cuda_devices", lambda: 1 / 0)
    assert visible_gpus() == []


def test_no_more_workers_than_the_processs_memory_takes() -> None:
    """The machine may have more of it than a container, or a limit, lets it have."""
    code = """
import resource, sys
limit, (soft, engine, spawned) = sys.argv[1], map(int, sys.argv[2:])
resource.setrlimit(getattr(resource, limit), (soft, resource.RLIM_INFINITY))
from pix2pix_batch.execution import capacity
capacity.cores = lambda: 64
print(capacity.default_workers(engine, spawned=bool(spawned)))
from pix2pix_batch import memory_limit
print(memory_limit.explain_too_large())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for limit, count, spawned in (("AS", 0, 0), ("RSS", 1, 0), ("AS", 2, 0), ("RSS", 1, 1)):
        each = ENGINE + OWN + (SPAWNED if spawned else 0)
        numbers = [str(n) for n in (SHARED + count * each + 1000, ENGINE, spawned)]
        found = subprocess.run(
            [sys.executable, "-c", code, f"RLIMIT_{limit}", *numbers],
            env=environment,
            capture_output=True,
            check=True,
        )
        workers, reason = found.stdout.decode().splitlines()
        assert int(workers) == max(1, count)
        is_named = f" (ulimit -v gives each process {int(numbers[0]) >> 20:,} MiB)" in reason
        assert is_named == (limit == "AS"), reason
