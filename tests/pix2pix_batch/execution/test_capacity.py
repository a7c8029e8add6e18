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
from torch.nn import ConvTranspose2d

from pix2pix_batch import bundle
from pix2pix_batch.architecture import Architecture
from pix2pix_batch.execution import capacity
from pix2pix_batch.execution.capacity import (
    MIB,
    OWN,
    SHARED,
    SPAWNED,
    count_held_weights,
    count_weights,
    engine_memory,
    list_layers,
    plan_environments,
    visible_gpus,
)
from pix2pix_batch.generator import UNet
from pix2pix_batch.inference.converter import CODEC_THREADS_VARIABLE
from tests.libraries import make_library

GPU = "CUDA_VISIBLE_DEVICES"
ENGINE = 250 << 20


def test_workers_of_gpus_see_one_each_and_share_the_cores() -> None:
    planned = plan_environments("auto", None, ["0", "1", "2", "3"], 32, 99)
    assert [worker[GPU] for worker in planned] == ["0", "1", "2", "3"]
    assert {worker[CODEC_THREADS_VARIABLE] for worker in planned} == {"8"}
    planned = plan_environments("auto", None, ["0", "1"], 32, 99, a_gpu=3)
    assert [worker[GPU] for worker in planned] == ["0", "1", "0", "1", "0", "1"]
    assert {worker[CODEC_THREADS_VARIABLE] for worker in planned} == {"5"}
    assert plan_environments("cuda", None, ["GPU-5f"], 1, 5) == [
        {GPU: "GPU-5f", CODEC_THREADS_VARIABLE: "2"}
    ]


@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 99))
def test_no_more_workers_of_gpus_than_fit_but_one_for_each(
    gpus: int, a_gpu: int, fitting: int
) -> None:
    names = [str(number) for number in range(gpus)]
    planned = plan_environments("cuda", None, names, 64, fitting, a_gpu)
    assert len(planned) == max(gpus, min(fitting, gpus * a_gpu))
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
soft, engine, spawned = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_RSS, (soft, resource.RLIM_INFINITY))
from pix2pix_batch.execution import capacity
capacity.cores = lambda: 64
print(capacity.default_workers(engine, spawned=bool(spawned)))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for count, spawned in ((0, 0), (1, 0), (2, 0), (1, 1)):
        each = ENGINE + OWN + (SPAWNED if spawned else 0)
        numbers = map(str, (SHARED + count * each + 1000, ENGINE, spawned))
        found = subprocess.run(
            [sys.executable, "-c", code, *numbers], env=environment, capture_output=True, check=True
        )
        assert int(found.stdout) == max(1, count)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(5, 8), st.integers(1, 20), st.booleans())
def test_weights_are_those_of_the_generator(
    inputs: int, outputs: int, downs: int, ngf: int, skips: bool
) -> None:
    architecture = Architecture(inputs, outputs, downs, ngf, skips=skips)
    blocks = [*(net := UNet(architecture)).down, *net.up]
    assert sum(count_weights(architecture)) == sum(block.conv.weight.numel() for block in blocks)
    found = Counter(layer[:2] + layer[3:] for layer in list_layers(architecture))
    assert found == Counter(
        (block.conv.in_channels, block.conv.out_channels, isinstance(block.conv, ConvTranspose2d))
        for block in blocks
    )


def test_kernels_are_reckoned_by_the_rule() -> None:
    """The numbers that the paper's generator holds at 256x256 with AVX2, layer by layer."""
    expected = Counter({("down", i): 64 for i in (1, 2, 3)} | {("up", i): 64 for i in (1, 2, 3)})
    for layer in list_layers(Architecture()):
        of = ("up", layer.halvings - 1) if layer.transposed else ("down", layer.halvings)
        each = count_held_weights(layer, 256) / (layer.inputs * layer.outputs)
        assert each == (expected[of] or 16)


@pytest.mark.parametrize(("ngf", "size", "batch"), [(64, 256, 1), (16, 1024, 1)])
def test_an_engine_holds_what_is_reckoned(ngf: int, size: int, batch: int, tmp_path: Path) -> None:
    """Much of it in weights, or in features. Those of the bundle are let go of."""
    architecture = Architecture(ngf=ngf, norm="running-statistics")
    path = tmp_path / "model.safetensors"
    bundle.save(path, bundle.BundleInfo("m", architecture), UNet(architecture).init_weights())
    code = """
import sys
import numpy as np, psutil, torch
from pathlib import Path
from pix2pix_batch import bundle
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.engine_cache import open_engine
path, size, batch = sys.argv[1], *map(int, sys.argv[2:])
uss = lambda: psutil.Process().memory_full_info().uss
torch.nn.Conv2d(3, 3, 3)(torch.zeros(1, 3, 8, 8))  # so that what loads at first use is there
before = uss()
engine = open_engine(path, bundle.fingerprint(Path(path)), size, batch, "cpu", "fp32")
for _ in range(2):
    engine(np.zeros((batch, size, size, 3), np.uint8))
print(uss() - before)
"""
    words = [sys.executable, "-c", code, str(path), str(size), str(batch)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    reckoned = engine_memory(architecture, size, batch)
    assert 0.4 * reckoned < int(ran.stdout) < 1.2 * reckoned + 30 * MIB


@given(st.integers(8, 128), st.integers(1, 16), st.sampled_from([256, 512, 1024]))
def test_more_of_anything_takes_more_memory(ngf: int, batch: int, size: int) -> None:
    one = engine_memory(Architecture(ngf=ngf), size, batch)
    assert engine_memory(Architecture(ngf=ngf + 1), size, batch) > one
    assert engine_memory(Architecture(ngf=ngf), size, batch + 1) > one
    assert engine_memory(Architecture(ngf=ngf), 2 * size, batch) > one
