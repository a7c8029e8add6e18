"""What this machine has, what ``convert`` would run on it, and what would make that faster."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pix2pix_batch.cores import cores
from pix2pix_batch.engines import gpu, library
from pix2pix_batch.engines.cache import Cache, Entry, default_folder
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.spec import EngineSpec, find_engine
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.text import format_count

CPU_INFO = Path("/proc/cpuinfo")


# A report of facts, one field each; nothing is computed from them here.
@dataclass(frozen=True)
class Machine:
    """What ``doctor`` reports: its fields are the keys of ``doctor --json``."""

    cpu: str
    cores: int
    bf16: bool
    """Whether the CPU multiplies bfloat16 in hardware."""
    gpus: list[dict[str, Any]]
    """Of each NVIDIA GPU its name, compute capability and memory in bytes."""
    driver: str
    torch: str
    cuda: str
    """The CUDA version that PyTorch was built for; empty if it was built for the CPU alone."""
    libraries: dict[str, str]
    """Of each TensorRT package its version, or why it is not there."""
    cache: str
    cache_problem: str
    """Why the cache cannot be used; empty if it can."""
    engines: int
    engine_bytes: int
    runs: str
    """What ``convert`` would run without options."""
    faster: str
    """The command that would make ``convert`` faster; empty if there is none."""
    why: str
    """What that command mends, or why there is none."""
    device: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine(model: Path) -> Machine:
    """Look at this machine. ``model``: the bundle that ``convert`` is to run.

    Raises :class:`BundleError` where it is none.
    """
    import torch

    from pix2pix_batch import bundle
    from pix2pix_batch.inference import onednn

    bundle.read_info(model)
    here = gpu.current_gpu()
    libraries, _ = library.find_libraries()
    cache, problem = open_cache()
    entries = [] if cache is None else [e for e in cache.entries() if isinstance(e, Entry)]
    runs = describe_engine(here, libraries)
    faster, why = advise(model, here, libraries, cache, problem)
    return Machine(
        cpu=cpu_model(),
        cores=cores(),
        bf16=onednn.bf16_is_fast(),
        gpus=[
            {"name": card.name, "capability": card.capability, "memory": card.memory}
            for card in gpu.list_gpus()
        ],
        driver=gpu.driver_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda or "",
        libraries=versions(),
        cache=str(default_folder() / "engines" if cache is None else cache.folder),
        cache_problem=problem,
        engines=len(entries),
        engine_bytes=sum(entry.facts["bytes"] for entry in entries),
        device="cpu" if here is None else "cuda",
        runs=runs,
        faster=faster,
        why=why,
    )


def cpu_model() -> str:
    try:
        for line in CPU_INFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """The version of each TensorRT package, or why it is not there. The commands that install what
    is missing are left out: :func:`advise` knows what is of use."""
    versions_or_reasons = {}
    for name in library.PACKAGES:
        try:
            versions_or_reasons[name] = library.load(name).version
        except library.MissingLibrary as error:
            versions_or_reasons[name] = error.reason
    return versions_or_reasons


def open_cache() -> tuple[Cache | None, str]:
    """The cache, without making it, or why it cannot be used."""
    if not (default_folder() / "engines").exists():
        return None, ""
    try:
        return Cache(), ""
    except InputError as error:
        return None, str(error)


def usable_libraries(here: Gpu | None, libraries: list[Library]) -> list[Library]:
    """The libraries that run on the GPU that is here."""
    if here is None:
        return []
    return [
        candidate
        for candidate in libraries
        if not candidate.list_targets() or here.capability in candidate.list_targets()
    ]


def describe_engine(here: Gpu | None, libraries: list[Library]) -> str:
    if here is None:
        from pix2pix_batch.engines import cpu

        precision = cpu.precision()
        if precision != "fp32":
            precision += " where that is close enough to fp32"
        return f"PyTorch on the CPU (backend {TORCH}, {precision})"
    ready = usable_libraries(here, libraries)
    if ready:
        return f"{ready[0].name} on the {here.name} (fp16 where that is close enough to fp32)"
    return f"PyTorch on the {here.name} (fp16 where that is close enough to fp32)"


def advise(
    model: Path, here: Gpu | None, libraries: list[Library], cache: Cache | None, problem: str
) -> tuple[str, str]:
    """Find the one command that would make ``convert`` faster.

    Args:
        model: The bundle that ``convert`` is to run.
        here: The GPU of this process, if there is one.
        libraries: The TensorRT packages that are installed.
        cache: The cache of engines; ``None`` if there is none yet, or it cannot be used.
        problem: Why the cache cannot be used; empty if it can.

    Returns:
        The command, empty if there is none, and what it mends or why there is none.
    """
    if here is None:
        return advise_without_gpu()
    ready = usable_libraries(here, libraries)
    if not ready:
        return "pip install 'pix2pix-batch[tensorrt]'", "TensorRT is not installed"
    if problem:
        return f"chmod 700 {default_folder() / 'engines'}", problem
    from pix2pix_batch import bundle
    from pix2pix_batch.inference.engine import default_batch_size

    info = bundle.read_info(model)
    wanted = EngineSpec(model, "fp16", default_batch_size("cuda", info.image_size), info.image_size)
    if cache is None or find_engine(cache, wanted, ready[0], here)[0] is None:
        why = "the first convert would build the engine, this builds it now"
        return f"pix2pix-batch engine build {model.stem}", why
    return "", "the engine for this GPU is there"


def advise_without_gpu() -> tuple[str, str]:
    """TensorRT is of no use then, installed or not: never the advice to install it."""
    import torch

    if not gpu.driver_version():
        return "", "there is no NVIDIA GPU, and on this CPU convert runs the best that there is"
    if torch.version.cuda is None:
        why = "there is an NVIDIA driver, but this PyTorch has no CUDA"
        return "pip install --force-reinstall torch", why
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return "unset CUDA_VISIBLE_DEVICES", "it hides the NVIDIA GPU from PyTorch"
    return "", (
        f"there is an NVIDIA driver, {gpu.driver_version()}, but PyTorch finds no GPU that it can "
        f"use; the driver may be too old for its CUDA {torch.version.cuda}"
    )


def format_machine(machine: Machine) -> list[str]:
    """Format the report for people, a line for each fact."""
    lines = [
        f"cpu: {machine.cpu}, {format_count(machine.cores, 'core')}, bf16 faster than fp32: "
        f"{'yes' if machine.bf16 else 'no'}",
    ]
    for card in machine.gpus:
        memory = card["memory"] / 2**30
        lines.append(f"gpu: {card['name']}, {card['capability']}, {memory:.1f} GiB")
    if not machine.gpus:
        lines.append("gpu: none that PyTorch can use")
    lines += [
        f"nvidia driver: {machine.driver or 'none'}",
        f"torch: {machine.torch}, {'CUDA ' + machine.cuda if machine.cuda else 'no CUDA'}",
        *(f"{name}: {value}" for name, value in machine.libraries.items()),
        f"engine cache: {machine.cache}, {format_count(machine.engines, 'engine')}, "
        f"{machine.engine_bytes:,} bytes",
    ]
    if machine.cache_problem:
        lines.append(f"  not usable: {machine.cache_problem}")
    lines.append(f"convert runs: {machine.runs}")
    if machine.faster:
        lines.append(f"faster with: {machine.faster}  # {machine.why}")
    else:
        lines.append(f"faster with: nothing; {machine.why}")
    return lines
