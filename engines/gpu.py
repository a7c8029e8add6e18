"""The NVIDIA GPU of this process, as far as engines depend on it."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/version")
"""Where NVIDIA's driver for Linux says its version."""

NVML = "libnvidia-ml.so.1"


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes:
        name: As the driver calls it.
        capability: Its compute capability, such as ``sm89``.
        driver: The version of the driver.
        cuda: The CUDA version that PyTorch was built for.
        memory: In bytes.
    """

    name: str
    capability: str
    driver: str
    cuda: str
    memory: int


def current_gpu() -> Gpu | None:
    """The GPU that PyTorch uses by default, or ``None`` where it finds none."""
    import torch

    return describe_gpu(torch.cuda.current_device()) if torch.cuda.is_available() else None


def list_gpus() -> list[Gpu]:
    """All GPUs that PyTorch can use."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [describe_gpu(index) for index in range(count)]


def describe_gpu(index: int) -> Gpu:
    import torch

    values = torch.cuda.get_device_properties(index)
    return Gpu(
        values.name,
        capability=f"sm{values.major}{values.minor}",
        driver=driver_version(),
        cuda=torch.version.cuda or "",
        memory=int(values.total_memory),
    )


def driver_version() -> str:
    """The version of NVIDIA's driver, such as ``550.54.15``; empty where there is none.

    Where the driver's file is not to be seen, as in sandboxes and on WSL2, NVML is asked.
    """
    try:
        text = DRIVER.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return nvml_driver_version()
    match = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", text)
    return match[1] if match else "unknown"


def nvml_driver_version() -> str:
    """What NVIDIA's management library says, which comes with the driver; empty without one.

    By ctypes: these are three calls of a stable interface (NVML API Reference, "Initialization and
    Cleanup", "System Queries"), for which no installation should need one package more.
    """
    try:
        nvml = ctypes.CDLL(NVML)
        if nvml.nvmlInit_v2() != 0:
            return ""
        text = ctypes.create_string_buffer(80)  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE
        failed = nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text)))
        nvml.nvmlShutdown()
    except (OSError, AttributeError):
        return ""
    return "" if failed else text.value.decode("ascii", "replace")
