"""What a device can do at most, measured: arithmetic, memory, and the copies to it and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from measure import best, peak

from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference.engine import DTYPES


@dataclass(frozen=True)
class Roof:
    """``gflops``: the matrix product's peak; ``memory``, ``link``: GB/s, read and written, and
    from and to the GPU (infinite without one). ``work``: GFLOP an image."""

    gflops: float
    memory: float
    link: float
    work: float
    architecture: Architecture
    size: int
    bytes: int

    def images_per_second(self, batch: int) -> float:
        """The lowest of three bounds: arithmetic, memory if each layer's features are written
        to it and read once, and the weights once a batch, and the copies from and to the GPU.

        A device whose caches hold whole features can pass the second.
        """
        features, weights = traffic(self.architecture, self.size)
        memory = (features + weights / batch) * self.bytes
        crossing = self.size**2 * max(self.architecture.in_channels, self.architecture.out_channels)
        return min(self.gflops / self.work, self.memory * 1e9 / memory, self.link * 1e9 / crossing)


def traffic(architecture: Architecture, size: int) -> tuple[float, float]:
    """Numbers that an image's layers read and write, and the weights' count."""
    last = architecture.downs - 1
    features, weights = 0.0, 0.0
    for i in range(architecture.downs):
        wide, narrow = (size >> i) ** 2, (size >> (i + 1)) ** 2
        outer = architecture.width(i - 1) if i else 0
        inner = architecture.width(i)
        joined = inner if i == last else 2 * inner
        down = (outer or architecture.in_channels, inner)
        up = (joined, outer or architecture.out_channels)
        features += wide * down[0] + narrow * down[1] + narrow * up[0] + wide * up[1]
        weights += 16 * (down[0] * down[1] + up[0] * up[1])
    return features, weights


def peaks(
    precisions: list[str], threads: int, device: str, seconds: float
) -> tuple[list[float], float, float]:
    """GFLOP/s of each precision, GB/s in memory and GB/s to the GPU."""
    types = [str(DTYPES[precision]).removeprefix("torch.") for precision in precisions]
    gflops = [peak(one, threads, device, seconds) for one in types]
    link = link_peak(seconds) if device == "cuda" else float("inf")
    return gflops, copy_peak(device, seconds), link


def copy_peak(device: str, seconds: float) -> float:
    """GB/s that a copy reads and writes together, in memory that no cache holds."""
    source = torch.ones(1 << (30 if device == "cuda" else 28), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / best(lambda: target.copy_(source), device, seconds) / 1e9


def link_peak(seconds: float) -> float:
    """GB/s of pinned memory to the GPU or back, whichever is slower."""
    host = torch.ones(1 << 28, dtype=torch.uint8, pin_memory=True)
    there = host.to("cuda")
    times = [best(lambda: there.copy_(host, non_blocking=True), "cuda", seconds)]
    times.append(best(lambda: host.copy_(there, non_blocking=True), "cuda", seconds))
    return host.numel() / max(times) / 1e9
