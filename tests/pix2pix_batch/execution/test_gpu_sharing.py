"""How many workers share a machine's GPUs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.execution import gpu_sharing
from pix2pix_batch.execution.gpu_sharing import GIB, memory_on_gpu, workers_per_gpu
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference import engine


@pytest.mark.parametrize(
    ("gpus", "cores", "memory", "free", "expected"),
    [
        (1, 16, 2 * GIB, 80 * GIB, 8),  # what the cores can feed
        (1, 64, 2 * GIB, 80 * GIB, 32),
        (1, 16, 2 * GIB, 8 * GIB, 3),  # what the memory holds
        (1, 16, 2 * GIB, None, 3),
        (8, 128, 2 * GIB, 80 * GIB, 8),
        (8, 16, 2 * GIB, 80 * GIB, 1),
        (1, 2, 2 * GIB, 80 * GIB, 1),
        (1, 16, 90 * GIB, 80 * GIB, 1),  # an engine says itself that it does not fit
    ],
)
def test_as_many_as_pay_and_fit(
    gpus: int, cores: int, memory: int, free: int | None, expected: int
) -> None:
    assert workers_per_gpu(gpus, cores, memory, free) == expected


@given(st.integers(1, 16), st.integers(1, 256), st.integers(1, 1 << 36), st.integers(0, 1 << 38))
def test_never_none_nor_more_than_fit(gpus: int, cores: int, memory: int, free: int) -> None:
    found = workers_per_gpu(gpus, cores, memory, free)
    assert found == 1 or (found * memory <= free and found * gpus <= cores)


def test_the_batch_is_that_of_the_engine() -> None:
    for size in (64, 256, 512, 4096):
        batch = engine.default_batch_size("cuda", size)
        assert memory_on_gpu(Architecture(), size) == memory_on_gpu(Architecture(), size, batch)


# NVML, in place of whose library stands one with its interface (NVML API Reference)

LIBRARY = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
static const unsigned long long sizes[] = {80ULL << 30, 24ULL << 30};
static int open_ = 0;
int nvmlInit_v2(void) { open_ = START; return open_ ? 0 : 9; }
int nvmlShutdown(void) { open_ = 0; return 0; }
int nvmlDeviceGetCount_v2(unsigned int *n) { *n = 2; return open_ ? 0 : 1; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int i, void **device) {
  if (!open_ || i > 1) return 2;
  *device = (void *)(0x7f0000000000ULL + i); return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  if (strcmp(uuid, "GPU-aa") && strcmp(uuid, "MIG-bb")) return 6;
  return nvmlDeviceGetHandleByIndex_v2(!strcmp(uuid, "MIG-bb"), device);
}
int nvmlDeviceGetMemoryInfo(void *device, nvmlMemory_t *memory) {
  unsigned long long i = (unsigned long long)device - 0x7f0000000000ULL;
  if (!open_ || i > 1) return 2;
  memory->total = sizes[i]; memory->free = sizes[i] - (1ULL << 30); memory->used = 1ULL << 30;
  return 0;
}
"""

ASK = "import sys\nfrom pix2pix_batch.execution import gpu_sharing\n"
ASK += "print(gpu_sharing.free_memory(sys.argv[1:]))"


def asked(directory: Path, *gpus: str) -> str:
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(directory),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    words = [sys.executable, "-c", ASK, *gpus]
    ran = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_the_gpu_with_the_least_free_memory_counts(tmp_path: Path) -> None:
    (tmp_path / "nvml.c").write_text(LIBRARY)
    library = tmp_path / "libnvidia-ml.so.1"
    build = ["cc", "-shared", "-fPIC", "-o", library, tmp_path / "nvml.c"]
    subprocess.run([*build, "-DSTART=1"], check=True)
    assert asked(tmp_path, "GPU-aa") == str(79 * GIB)
    assert asked(tmp_path, "GPU-aa", "MIG-bb") == str(23 * GIB)
    assert asked(tmp_path, "0") == str(23 * GIB)  # which may be either
    assert asked(tmp_path, "GPU-unknown") == "None"
    subprocess.run([*build, "-DSTART=0"], check=True)
    assert asked(tmp_path, "0") == "None"


def test_without_nvml_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libnvidia-ml.so.1").write_text("no library")
    assert asked(tmp_path, "0") == "None"
    assert gpu_sharing.workers_per_gpu(1, 4, 2 * GIB, None) == 2
