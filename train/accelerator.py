"""The device, the precision and the processes of a run."""

from __future__ import annotations

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from pix2pix_batch.cores import cores
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference import onednn
from pix2pix_batch.train.recipe import Recipe


def make_accelerator(recipe: Recipe, device: str) -> Accelerator:
    """Make accelerate's accelerator. Raises :class:`InputError` if the device or the precision is
    not available."""
    cuda = torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise InputError("--device cuda: there is no CUDA GPU here; use --device cpu or auto")
    on_cpu = device == "cpu" or not cuda
    precision = recipe.precision
    if precision == "auto":
        # False: without emulation, which older GPUs have and which gains nothing.
        fast = onednn.bf16_is_fast() if on_cpu else torch.cuda.is_bf16_supported(False)
        precision = "bf16" if fast else "fp32"
    if precision == "fp16" and on_cpu:
        raise InputError("precision fp16 trains on GPUs only; set precision=bf16 or fp32")
    return Accelerator(
        cpu=on_cpu,
        mixed_precision="no" if precision == "fp32" else precision,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


def default_workers(device: torch.device) -> int:
    """Reading a pair takes some 2 ms, a step on the CPU a hundred: one process is plenty there."""
    return 1 if device.type == "cpu" else max(1, min(8, cores() - 1))
