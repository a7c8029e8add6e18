"""How many workers this machine takes, and what the environment of each says."""

from __future__ import annotations

import importlib.util
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil

from pix2pix_batch import cgroup, memory_limit
from pix2pix_batch.cores import cores
from pix2pix_batch.errors import OutputError
from pix2pix_batch.inference.decode_ahead import CODEC_THREADS_VARIABLE

MIB = 1 << 20

SHARED = 700 * MIB
"""Bytes that a job takes whatever the number of its workers: the client, and the process that the
workers are forked from, with PyTorch, of which builds for CUDA are the largest
(``benchmarks/memory.py``)."""

OWN = 110 * MIB
"""Bytes of a worker beside its engine: what Python and Dask write to of the pages that were shared,
and images of ordinary size on their way."""

SPAWNED = 550 * MIB
"""Bytes more that a worker takes which imports PyTorch itself."""

DEVICES = Path("/dev")

GPU_FILES = ("nvidia[0-9]*", "dxg", "nvhost-gpu", "nvgpu")
"""In :data:`DEVICES`, where there is an NVIDIA GPU: of its driver on Linux, of WSL2, of Jetson."""

DRIVER_SECONDS = 60.0
"""Without a daemon that keeps it up, the driver may take seconds to wake each GPU."""

COUNT_GPUS_SCRIPT = """
import ctypes
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
if cuda.cuInit(0) == 0:
    cuda.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""
"""Asks CUDA's driver (CUDA Driver API, "Initialization" and "Device Management"), which heeds
``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` itself."""


def free_memory() -> int:
    """Bytes that are free now, and that a container's limit or the user's lets a job have.

    Raises :class:`OutputError` where the system does not tell.
    """
    try:
        found = [psutil.virtual_memory().available]
    except (OSError, psutil.Error) as error:
        raise OutputError(
            f"how much memory is free cannot be read ({error}); /proc must be mounted here"
        ) from error
    if (allowed := cgroup.free_memory()) is not None:
        found.append(allowed)
    if (soft := resource.getrlimit(resource.RLIMIT_RSS)[0]) != resource.RLIM_INFINITY:
        found.append(soft)
    if (space := memory_limit.address_space()) is not None:
        found.append(space)
    return min(found)


def default_workers(engine: int, *, spawned: bool = False) -> int:
    """One a core, as far as the memory allows. ``engine``: bytes that a worker's engine holds;
    ``spawned``: each imports PyTorch itself."""
    each = engine + OWN + (SPAWNED if spawned else 0)
    return max(1, min(cores(), (free_memory() - SHARED) // each))


def visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` calls each GPU that CUDA sees here, in CUDA's own order.

    PyTorch is not imported to find out, and CUDA is not opened in this process, which could then
    fork no more that use it: a process of its own asks the driver. The numbers of the files
    ``/dev/nvidiaN`` are not CUDA's: a container may have the second alone, which is CUDA's first.
    """
    if not any(True for pattern in GPU_FILES for _ in DEVICES.glob(pattern)) or not has_cuda():
        return []
    count = count_cuda_devices()
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return [str(index) for index in range(count)]
    return [name.strip() for name in asked.split(",")][:count]


def has_cuda() -> bool:
    """Whether PyTorch is a build for CUDA."""
    torch = importlib.util.find_spec("torch")
    places = (torch.submodule_search_locations if torch else None) or []
    return any(Path(place, "lib", "libtorch_cuda.so").exists() for place in places)


def count_cuda_devices() -> int:
    """How many GPUs CUDA's driver has for a process with this environment; 0 without a driver, or
    where it does not answer within :data:`DRIVER_SECONDS`."""
    try:
        asked = subprocess.run(
            [sys.executable, "-S", "-E", "-c", COUNT_GPUS_SCRIPT],
            capture_output=True,
            text=True,
            timeout=DRIVER_SECONDS,
            check=True,
        )
        return int(asked.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return 0


def plan_environments(
    device: str,
    workers: int | None,
    gpus: list[str],
    count: int,
    fitting: int,
    workers_per_gpu: int = 1,
) -> list[dict[str, str]]:
    """What the environment of each worker of a cluster of our own says beside ours.

    ``workers``: as many as the user asked for; ``gpus``: those of this machine; ``count``: of its
    cores; ``fitting``: workers that its cores and memory take; ``workers_per_gpu``: that each GPU
    should have, as far as they fit, and one at least. A worker sees one GPU, and the workers share
    the cores to decode and encode. More workers than GPUs take turns.
    """
    if device == "cpu" or not gpus:
        return [{} for _ in range(workers or fitting)]
    number = workers or max(len(gpus), min(fitting, workers_per_gpu * len(gpus)))
    threads = str(max(1, count // number))
    return [
        {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)], CODEC_THREADS_VARIABLE: threads}
        for index in range(number)
    ]
