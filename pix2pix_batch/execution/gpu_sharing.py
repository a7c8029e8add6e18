"""How many workers share the GPUs of this machine.

Decoding and encoding keep a GPU waiting: one process, whose threads share Python's lock, passes on
fewer images than a fast GPU translates. So each GPU has several, which take turns on it, as many as
its cores can feed and its memory holds.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

from pix2pix_batch.generators.description import Description
from pix2pix_batch.inference.memory import gpu_memory

CORES_A_WORKER = 2
"""Cores that a worker of a GPU keeps busy: one thread decodes or encodes while the other does, and
a third fills batches (``benchmarks/pipeline.py`` measures one worker and several)."""

GIB = 1 << 30

ON_GPU = GIB
"""Bytes of a GPU's memory that a worker takes beside its weights and features: CUDA's context and
modules, and what cuDNN or TensorRT work in. Reckoned, not measured: ``nvidia-smi`` tells."""

ON_HOST = GIB
"""Bytes of the machine's memory that a worker takes for CUDA beside PyTorch. Reckoned too."""

STANDARD_BATCH = 32
"""Images of 256x256 of a batch on a GPU (:data:`pix2pix_batch.inference.engine.CUDA_BATCH`)."""

SLOTS = 2
"""Batches that an engine has under way at once, each with buffers of its own."""

SHARE = 0.8
"""Of the memory that is free on a GPU, what workers are planned for."""

UNKNOWN = 8 * GIB
"""Bytes taken to be free on a GPU that does not say."""


def memory_on_gpu(description: Description, size: int, batch_size: int | None = None) -> int:
    """Bytes of a GPU's memory that a worker takes, in fp32, which takes the most: the weights, and
    in each slot the features of a batch."""
    if batch_size is None:
        batch_size = max(1, STANDARD_BATCH * 256 * 256 // (size * size))
    held, features = gpu_memory(description, size, batch_size)
    return ON_GPU + held + SLOTS * features


def workers_per_gpu(gpus: int, cores: int, memory: int, free: int | None) -> int:
    """How many workers each of so many GPUs gets, one at least.

    ``memory``: bytes that one takes on its GPU; ``free``: bytes that are free there, ``None`` where
    that is not known.
    """
    fitting = int(SHARE * (UNKNOWN if free is None else free)) // memory
    return max(1, min(cores // (CORES_A_WORKER * gpus), fitting))


class _Memory(ctypes.Structure):
    """``nvmlMemory_t`` (NVML API Reference, "Device Structs")."""

    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong),
                ("used", ctypes.c_ulonglong)]  # fmt: skip


def free_memory(gpus: Sequence[str]) -> int | None:
    """Bytes that are free now on that GPU which has the fewest; ``None`` where NVML, the driver's
    library for its state, does not tell.

    ``gpus``: as ``CUDA_VISIBLE_DEVICES`` calls them. CUDA's numbers need not be NVML's, so where
    there are numbers all GPUs count.
    """
    with contextlib.suppress(OSError, AttributeError), _nvml() as nvml:
        # The workers are spread evenly, so the fullest GPU decides for all of them.
        return min((_free(nvml, handle) for handle in _handles(nvml, gpus)), default=0) or None
    return None


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """NVML, started. Raises ``OSError``."""
    nvml = ctypes.CDLL("libnvidia-ml.so.1")
    # NVML's functions return 0 (NVML_SUCCESS) where all is well.
    if nvml.nvmlInit_v2():
        raise OSError("NVML does not start")
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def _handles(nvml: Any, gpus: Sequence[str]) -> list[ctypes.c_void_p]:
    """NVML's handles of the GPUs. Raises ``OSError`` where one has none."""
    named = [name for name in gpus if not name.isdecimal()]
    handles = [ctypes.c_void_p() for _ in named]
    for name, handle in zip(named, handles, strict=True):
        if nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle)):
            raise OSError(f"NVML knows no {name}")
    if len(named) == len(gpus):
        return handles
    count = ctypes.c_uint()
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        raise OSError("NVML does not count")
    for index in range(count.value):
        handles.append(ctypes.c_void_p())
        if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handles[-1])):
            raise OSError(f"NVML does not open number {index}")
    return handles


def _free(nvml: Any, handle: ctypes.c_void_p) -> int:
    memory = _Memory()
    if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        raise OSError("NVML does not tell the memory")
    return int(memory.free)
