"""What this machine has, what ``convert`` would run on it, and what would make that faster."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pix2pix_batch.cores import cores
from pix2pix_batch.engines import gpu, library, spec
from pix2pix_batch.engines.cache import Cache, Entry, default_folder
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.text import format_count

CPU_INFO = Path("/proc/cpuinfo")


# A report of facts, one field each; nothing is computed from them here.
@dataclass(frozen=True)
class Machine:
    """``libraries``: each TensorRT package's version, or why it is not there.

    ``cache_problem``: why the cache cannot be used. ``runs``: what ``convert`` would run with no
    options; ``faster``: the command that would make it faster, empty where there is none; ``why``:
    what it mends, or why there is none.
    """

    cpu: str
    cores: int
    bf16: bool
    gpus: list[dict[str, Any]]
    driver: str
    torch: str
    cuda: str
    libraries: dict[str, str]
    cache: str
    cache_problem: str
    engines: int
    engine_bytes: int
    runs: str = ""
    faster: str = ""
    why: str = ""
    device: str = field(default="cpu")

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
    found, _ = library.find_libraries()
    cache, problem = open_cache()
    entries = [] if cache is None else [e for e in cache.entries() if isinstance(e, Entry)]
    runs = describe_engine(here, found)
    faster, why = advise(model, here, found, cache, problem)
    return Machine(
        cpu=cpu_model(),
        cores=cores(),
        bf16=onednn.bf16_is_fast(),
        gpus=[
            {"name": one.name, "capability": one.capability, "memory": one.memory}
            for one in gpu.list_gpus()
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
    """Without the commands that install what is missing: :func:`advise` knows what is of use."""
    told = {}
    for name in library.PACKAGES:
        try:
            told[name] = library.load(name).version
        except library.MissingLibrary as error:
            told[name] = error.reason
    return told


def open_cache() -> tuple[Cache | None, str]:
    """The cache, without making it, or why it cannot be used."""
    if not (default_folder() / "engines").exists():
        return None, ""
    try:
        return Cache(), ""
    except InputError as error:
        return None, str(error)


def usable_libraries(here: Gpu | None, found: list[Library]) -> list[Library]:
    """The libraries that run on the GPU that is here."""
    if here is None:
        return []
    return [one for one in found if not one.list_targets() or here.capability in one.list_targets()]


def describe_engine(here: Gpu | None, found: list[Library]) -> str:
    if here is None:
        from pix2pix_batch.engines import cpu

        precision = cpu.precision()
        if precision != "fp32":
            precision += " where that is close enough to fp32"
        return f"PyTorch on the CPU (backend {TORCH}, {precision})"
    ready = usable_libraries(here, found)
    if ready:
        return f"{ready[0].name} on the {here.name} (fp16 where that is close enough to fp32)"
    return f"PyTorch on the {here.name} (fp16 where that is close enough to fp32)"


def advise(
    model: Path, here: Gpu | None, found: list[Library], cache: Cache | None, problem: str
) -> tuple[str, str]:
    """The one command that would make ``convert`` faster, empty where there is none, and why."""
    if here is None:
        return advise_without_gpu()
    ready = usable_libraries(here, found)
    if not ready:
        return "pip install 'pix2pix-batch[tensorrt]'", "TensorRT is not installed"
    if problem:
        return f"chmod 700 {default_folder() / 'engines'}", problem
    from pix2pix_batch import bundle
    from pix2pix_batch.inference.engine import default_batch_size

    info = bundle.read_info(model)
    wanted = EngineSpec(model, "fp16", default_batch_size("cuda", info.image_size), info.image_size)
    if cache is None or spec.find_engine(cache, wanted, ready[0], here)[0] is None:
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
    """For people."""
    told = [
        f"cpu: {machine.cpu}, {format_count(machine.cores, 'core')}, bf16 in hardware: "
        f"{'yes' if machine.bf16 else 'no'}",
    ]
    for one in machine.gpus:
        memory = one["memory"] / 2**30
        told.append(f"gpu: {one['name']}, {one['capability']}, {memory:.1f} GiB")
    if not machine.gpus:
        told.append("gpu: none that PyTorch can use")
    told += [
        f"nvidia driver: {machine.driver or 'none'}",
        f"torch: {machine.torch}, {'CUDA ' + machine.cuda if machine.cuda else 'no CUDA'}",
        *(f"{name}: {value}" for name, value in machine.libraries.items()),
        f"engine cache: {machine.cache}, {format_count(machine.engines, 'engine')}, "
        f"{machine.engine_bytes:,} bytes",
    ]
    if machine.cache_problem:
        told.append(f"  not usable: {machine.cache_problem}")
    told.append(f"convert runs: {machine.runs}")
    if machine.faster:
        told.append(f"faster with: {machine.faster}  # {machine.why}")
    else:
        told.append(f"faster with: nothing; {machine.why}")
    return told
