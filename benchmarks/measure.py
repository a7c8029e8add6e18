"""What the benchmarks share: the machine, the paper's generator, inputs, processes, tables."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from pix2pix_batch.cores import cores
from pix2pix_batch.engines.doctor import cpu_model
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet

SIZE = 256
FULL_SIZE = Architecture(norm="running-statistics")
EXAMPLES = Path(__file__).parent.parent / "examples" / "maps"
SECONDS = 4.0
"""Each engine is timed for this long after two warm-up calls."""


def generator(norm: str = FULL_SIZE.norm, ngf: int = FULL_SIZE.ngf) -> UNet:
    """The paper's full-size generator; weights do not change the speed."""
    torch.manual_seed(0)
    unet = UNet(Architecture(norm=norm, ngf=ngf)).init_weights()  # type: ignore[arg-type]
    return unet.eval().requires_grad_(False)


def gflop(ngf: int = FULL_SIZE.ngf, size: int = SIZE) -> float:
    """GFLOP that one image takes."""
    with FlopCounterMode(display=False) as counter:
        generator(ngf=ngf)(floats(1, size))
    return counter.get_total_flops() / 1e9


def inputs(batch: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)


def floats(batch: int, size: int = SIZE) -> torch.Tensor:
    return torch.from_numpy(inputs(batch, size)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def repeat(call: Callable[[], object], images: int, seconds: float = SECONDS) -> float:
    """Milliseconds an image, the mean over ``seconds``."""
    call()
    call()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        call()
        count += images
    return (time.perf_counter() - start) / count * 1000


def matmul_peak(dtype: str, threads: int, device: str = "cpu", seconds: float = SECONDS) -> float:
    """GFLOP/s of a square matrix product, as large as can be timed in ``seconds``."""
    torch.set_num_threads(threads)
    largest = 8192 if device == "cuda" else 4096

    def product(n: int) -> tuple[Callable[[], object], float]:
        a = torch.randn(n, n, device=device).to(getattr(torch, dtype))
        return lambda: a @ a, 2 * n**3

    sizes = [n for n in (256, 512, 1024, 2048, 4096, 8192) if n <= largest]
    return rate([partial(product, n) for n in sizes], device, seconds)


def peak(dtype: str, threads: int, device: str = "cpu", seconds: float = SECONDS) -> float:
    """GFLOP/s of what the device does fastest: a matrix product, or one of two convolutions.

    On some CPUs the libraries behind them differ by more than two in speed.
    """

    def convolution(
        batch: int, channels: int, size: int, kernel: int, stride: int
    ) -> tuple[Callable[[], object], float]:
        wanted = {"device": device, "dtype": getattr(torch, dtype)}
        x = torch.randn(batch, channels, size, size, **wanted)
        weight = torch.randn(2 * channels, channels, kernel, kernel, **wanted)
        x, weight = (one.to(memory_format=torch.channels_last) for one in (x, weight))
        out = ((size - kernel) // stride + 1) ** 2
        work = 2 * batch * 2 * channels * out * channels * kernel**2
        return partial(torch.conv2d, x, weight, stride=stride), work

    found = [matmul_peak(dtype, threads, device, seconds)]
    for shape in ((1024, 32, 1, 1), (256, 32, 4, 2)):
        tries = [partial(convolution, 1, shape[0] // 4, *shape[1:])]
        tries += [partial(convolution, batch, *shape) for batch in (1, 8)]
        found.append(rate(tries, device, seconds))
    return max(found)


def rate(
    tries: Sequence[Callable[[], tuple[Callable[[], object], float]]], device: str, seconds: float
) -> float:
    """GFLOP/s of the last of ``tries``, each larger than the one before, that can be timed.

    Each makes a call and says how many operations it takes. Where a number format is emulated,
    the largest would take minutes: one that is expected to run longer than ``seconds`` is left.
    """
    found = 0.0
    for make in tries:
        call, work = make()
        if found and work / found / 1e9 > seconds:
            break
        found = work / best(call, device, seconds) / 1e9
    return found


def best(call: Callable[[], object], device: str, seconds: float = SECONDS) -> float:
    """Seconds of the fastest call of ten, or of the two and more that begin within ``seconds``."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while len(found) < 2 or (len(found) < 10 and time.perf_counter() < end):
        synchronise(device)
        start = time.perf_counter()
        call()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return min(found)


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def alone(function: Callable[..., Any], *arguments: object) -> Any:
    """The function's result in a fresh process."""
    return each(1, function, *arguments)[0]


def together(count: int, function: Callable[..., float], *arguments: object) -> float:
    """Milliseconds an image of ``count`` processes that run at the same time."""
    return 1 / sum(1 / result for result in each(count, function, *arguments))


def each(count: int, function: Callable[..., Any], *arguments: object) -> list[Any]:
    """The function's results in ``count`` fresh processes that run at the same time.

    Raises what it raises, and ``BrokenProcessPool`` where a process dies.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        return [one.result() for one in [pool.submit(function, *arguments) for _ in range(count)]]


def make_images(directory: Path, count: int) -> None:
    """``count`` 256x256 JPEGs cut from the example maps."""
    sources = [Image.open(path).convert("RGB") for path in sorted(EXAMPLES.iterdir())]
    random = np.random.default_rng(0)
    directory.mkdir()
    for i in range(count):
        image = sources[i % len(sources)]
        side = int(random.integers(160, min(image.size) + 1))
        x = int(random.integers(image.width - side + 1))
        y = int(random.integers(image.height - side + 1))
        crop = image.crop((x, y, x + side, y + side)).resize((SIZE, SIZE))
        crop.save(directory / f"{i:06d}.jpg", quality=92)


def machine() -> str:
    """The processor, its cores and PyTorch, and the GPU where there is one."""
    flags: Any = torch.backends.cpu.get_cpu_capability()
    gpus = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    parts = [*gpus, cpu_model(), f"{cores()} cores", flags, f"PyTorch {torch.__version__}"]
    return ", ".join(parts)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(cell.strip() for cell in line)} |" for line in lines]
