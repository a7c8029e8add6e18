"""How many workers this machine takes, and what the environment of each says."""

from __future__ import annotations

import importlib.util
import math
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psutil

from pix2pix_batch import cgroup
from pix2pix_batch.architecture import Architecture
from pix2pix_batch.cores import cores
from pix2pix_batch.inference import convolution_rule
from pix2pix_batch.inference.converter import CODEC_THREADS_VARIABLE

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

STANDARD_BATCH = 4
"""Images of 256x256 that a batch is taken to have where the job leaves it open: at least as many as
:func:`pix2pix_batch.inference.engine.default_batch_size` says on the CPU, without importing
PyTorch."""

DEVICES = Path("/dev")

GPU_FILES = ("nvidia[0-9]*", "dxg", "nvhost-gpu", "nvgpu")
"""In :data:`DEVICES`, where there is an NVIDIA GPU: of its driver on Linux, of WSL2, of Jetson."""

DRIVER_SECONDS = 60.0
"""Without a daemon that keeps it up, the driver may take seconds to wake each GPU."""

COUNT = """
import ctypes
cuda, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
if cuda.cuInit(0) == 0:
    cuda.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""
"""Asks CUDA's driver (CUDA Driver API, "Initialization" and "Device Management"), which heeds
``CUDA_VISIBLE_DEVICES`` and ``CUDA_DEVICE_ORDER`` itself."""

MOST_TRANSFORMED = min(
    convolution_rule.ENOUGH_CHANNELS, key=convolution_rule.ENOUGH_CHANNELS.__getitem__
)
"""The instruction set with which the most layers are Winograd convolutions. Which one this
CPU has, only PyTorch tells."""


def engine_memory(architecture: Architecture, size: int, batch_size: int | None = None) -> int:
    """Bytes that the CPU's engine holds while it works, in fp32, which takes the most.

    The weights once, packed, or transformed where that is faster with the instruction set that has
    the most layers so; the buffers of the convolutions that are matrix products; of each image what
    the encoder's blocks put out, once as it is and twice in the buffers that the decoder reads; a
    full image in float32 a few times over.
    """
    a = architecture
    if batch_size is None:
        batch_size = max(1, STANDARD_BATCH * 256 * 256 // (size * size))
    features = sum(a.width(i) * (size >> (i + 1)) ** 2 for i in range(a.downs))
    pixels = size * size * (2 * a.in_channels + 4 * a.out_channels)
    held = sum(count_held_weights(layer, size) for layer in list_layers(a))
    images = batch_size * (3 * features + pixels)
    return 4 * (held + max(count_weights(a)) + count_workspace(a, size, batch_size) + images)


class ConvolutionShape(NamedTuple):
    """A 4x4 convolution of stride 2, or a transposed one. ``halvings``: of the image, to its
    input."""

    inputs: int
    outputs: int
    halvings: int
    transposed: bool

    def is_wide(self, size: int) -> bool:
        """Whether on some CPU it is Winograd's, by its work, for images of ``size``."""
        side = size >> self.halvings
        return convolution_rule.has_enough_work(
            self.inputs, self.outputs, (side, side), self.transposed, MOST_TRANSFORMED
        )


def list_layers(architecture: Architecture) -> list[ConvolutionShape]:
    """All convolutions: each block's, and its counterpart's in the decoder."""
    a = architecture
    found = []
    for i in range(a.downs):
        inner, outer = a.width(i), a.width(i - 1) if i else 0
        joined = 2 * inner if a.skips and i < a.downs - 1 else inner
        found += [
            ConvolutionShape(outer or a.in_channels, inner, i, False),
            ConvolutionShape(joined, outer or a.out_channels, i + 1, True),
        ]
    return found


def count_weights(architecture: Architecture) -> list[int]:
    """How many weights each convolution has: 4x4, from and to as many channels as its block."""
    return [16 * layer.inputs * layer.outputs for layer in list_layers(architecture)]


def count_held_weights(layer: ConvolutionShape, size: int) -> int:
    """Numbers that a layer holds in place of its weights, for images of ``size``.

    A kernel too large to be transformed counts as the largest that is, so that a wider generator
    is never reckoned to take less.
    """
    plain = 16 * layer.inputs * layer.outputs
    if not layer.is_wide(size):
        return plain
    transformed = convolution_rule.transformed_weights(layer.inputs, layer.outputs)
    return max(plain, min(transformed, convolution_rule.LARGEST_KERNEL // 4))


def count_workspace(architecture: Architecture, size: int, batch_size: int) -> int:
    """Numbers in the buffers that the layers use in turn, each as large as the largest wish."""
    largest: dict[str, int] = {}
    for layer in list_layers(architecture):
        side, wanted = size >> layer.halvings, {}
        if convolution_rule.is_thin(layer.outputs, layer.transposed):
            wanted = convolution_rule.thin_buffers(layer.outputs, (side, side))
        elif layer.is_wide(size):
            tiling = convolution_rule.tile((batch_size, side, side), layer.transposed)
            shapes = tiling.buffers(tiling.block_rows, layer.inputs, layer.outputs)
            wanted = {name: math.prod(shape) for name, shape in shapes.items()}
        for name, count in wanted.items():
            largest[name] = max(largest.get(name, 0), count)
    return sum(largest.values())


def free_memory() -> int:
    """Bytes that are free now, and that a container's limit or the user's lets a job have."""
    found = [psutil.virtual_memory().available]
    if (allowed := cgroup.free_memory()) is not None:
        found.append(allowed)
    if (soft := resource.getrlimit(resource.RLIMIT_RSS)[0]) != resource.RLIM_INFINITY:
        found.append(soft)
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
            [sys.executable, "-S", "-E", "-c", COUNT],
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
    a_gpu: int = 1,
) -> list[dict[str, str]]:
    """What the environment of each worker of a cluster of our own says beside ours.

    ``workers``: as many as the user asked for; ``gpus``: those of this machine; ``count``: of its
    cores; ``fitting``: workers that its cores and memory take; ``a_gpu``: that each GPU should
    have, as far as they fit, and one at least. A worker sees one GPU, and the workers share the
    cores to decode and encode. More workers than GPUs take turns.
    """
    if device == "cpu" or not gpus:
        return [{} for _ in range(workers or fitting)]
    number = workers or max(len(gpus), min(fitting, a_gpu * len(gpus)))
    threads = str(max(2, count // number))
    return [
        {"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)], CODEC_THREADS_VARIABLE: threads}
        for index in range(number)
    ]
