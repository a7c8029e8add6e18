"""Choosing device, backend, precision and batch size for a job, on its first images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pix2pix_batch.errors import ImageError, InputError, MemoryShortage
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.inference.batch_builder import BatchBuilder
from pix2pix_batch.inference.decode_ahead import CODEC_THREADS_VARIABLE
from pix2pix_batch.inference.engine_cache import info_of, keep, open_engine
from pix2pix_batch.inference.fitting import fit_to_model
from pix2pix_batch.inference.large_images import read_probe
from pix2pix_batch.inference.settings import Decision, Settings, apply_decision
from pix2pix_batch.item import Item

if TYPE_CHECKING:
    from pix2pix_batch.inference.engine import Engine

PSNR_BAR = 40.0
"""A precision is chosen only if the PSNR of its images to fp32's is at least this, in dB."""

ONE_SIZE = "TensorRT's engines take images of one size, with --fit whole each has its own"

PROBE_IMAGES = 4
"""How many of the job's first images decide the precision."""


def autotune(settings: Settings, items: Sequence[Item]) -> Decision:
    """Choose device, backend, precision and batch size for a job, on the worker it runs on.

    On a GPU the settings' ``opener`` is asked first. PyTorch with precision ``auto`` runs bf16 on
    a CPU that has it in hardware, fp16 on a GPU, where that is within :data:`PSNR_BAR` of fp32 on
    the first images that can be decoded; else fp32. Nothing is timed, so the choice, and with it
    the bytes, are the same every time. Raises :class:`InputError` for a device, backend or
    precision that this worker does not have.
    """
    import torch

    device, unused = settings.device, ""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        unused = _unused_gpu(torch.version.cuda) if device == "cpu" else ""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    settings = replace(settings, device=device)
    engine, first_note = _open_other(settings, items)
    if engine is not None:
        decision = Decision(device, engine.precision, engine.batch_size, engine.backend, first_note)
        keep(apply_decision(settings, decision), engine)
    else:
        engine, note = _open_torch(settings, items)
        notes = "; ".join(filter(None, (unused, first_note, note)))
        decision = Decision(device, engine.precision, engine.batch_size, engine.backend, notes)
    if remark := getattr(engine, "remark", ""):
        decision = replace(decision, note="; ".join(filter(None, (decision.note, remark))))
    return decision


def _unused_gpu(cuda: str | None) -> str:
    """A note if this worker was started for a GPU that PyTorch cannot use."""
    if CODEC_THREADS_VARIABLE not in os.environ or not os.environ.get("CUDA_VISIBLE_DEVICES"):
        return ""
    return (
        f"PyTorch cannot use the NVIDIA GPU that is here (is its driver too old for CUDA {cuda}?), "
        "so the CPU runs, with as many workers as the GPU was to have; --device cpu has one a core"
    )


def _open_torch(settings: Settings, items: Sequence[Item]) -> tuple[Engine, str]:
    """PyTorch's engine, and a note; on a GPU with the largest batch that fits, by halves, where the
    batch size is open. Raises :class:`InputError` where none fits."""
    from pix2pix_batch.inference.engine import default_batch_size

    batch_size = settings.batch_size or default_batch_size(settings.device, settings.size)
    while True:
        try:
            return _open_torch_with(settings, items, batch_size)
        except MemoryShortage as error:
            open_engine.cache_clear()  # where only batches with noise do not fit
            if settings.batch_size is not None:
                raise InputError(
                    f"--batch-size {batch_size}: {error}; use a smaller one"
                ) from error
            if batch_size == 1:
                raise InputError(f"{error}; use --device cpu, or free memory there") from error
        # Outside the handler: the error's traceback would keep the batch's memory alive.
        batch_size //= 2
        if settings.device != "cpu":
            from pix2pix_batch.inference.cuda import release_memory

            release_memory()


def _open_torch_with(
    settings: Settings, items: Sequence[Item], batch_size: int
) -> tuple[Engine, str]:
    precision, note = settings.precision, ""
    if precision == "auto":
        fast = "fp16" if settings.device == "cuda" else "bf16"
        precision, note = _choose_precision(settings, items, fast, batch_size)
    engine = open_engine(
        settings.model, settings.fingerprint, settings.size, batch_size, settings.device, precision
    )
    if settings.noise and settings.device == "cuda":
        _rehearse_noise(engine, settings)
    return engine, note


def _rehearse_noise(engine: Engine, settings: Settings) -> None:
    """Run a batch with noise once, so that its memory is taken while the batch can still be
    halved."""
    info = info_of(settings.model, settings.fingerprint)
    decision = Decision(settings.device, engine.precision, engine.batch_size, engine.backend)
    builder: BatchBuilder[None] = BatchBuilder(
        engine, apply_decision(settings, decision), info.architecture, info.ranges.input.dtype
    )
    # The key may be any: it only has the masks made.
    builder.add(np.zeros_like(builder.buffer[0]), None, bytes(16))
    _, tiles, masks = builder.take()
    engine(tiles, masks)


def expected_settings(settings: Settings) -> Settings | None:
    """The settings that :func:`autotune` will probably choose for PyTorch on the CPU, before any
    image is looked at; ``None`` if a GPU or the settings' ``opener`` decides."""
    import torch

    from pix2pix_batch.inference.engine import default_batch_size

    cpu = settings.device == "cpu" or (settings.device == "auto" and not torch.cuda.is_available())
    if not cpu or settings.backend not in ("auto", TORCH):
        return None
    precision = settings.precision
    if precision == "auto":
        precision = "bf16" if _is_worth_trying("bf16", settings) else "fp32"
    batch_size = settings.batch_size or default_batch_size("cpu", settings.size)
    return replace(
        settings, device="cpu", backend=TORCH, precision=precision, batch_size=batch_size
    )


def _is_worth_trying(fast: str, settings: Settings) -> bool:
    """Whether this worker has a precision faster than fp32, and outputs are no finer than it."""
    if info_of(settings.model, settings.fingerprint).needs_full_precision:
        return False
    from pix2pix_batch.inference import onednn
    from pix2pix_batch.inference.engine import DTYPES

    return settings.device == "cuda" or (onednn.bf16_is_fast() and onednn.available(DTYPES[fast]))


def _open_other(settings: Settings, items: Sequence[Item]) -> tuple[Engine | None, str]:
    """An engine other than PyTorch's, where one is asked for or may be faster."""
    if settings.backend == TORCH or (settings.backend == "auto" and settings.device == "cpu"):
        return None, ""
    if settings.fit == "whole":
        if settings.backend == "auto":
            return None, f"{ONE_SIZE}, so PyTorch runs"
        raise InputError(f"--backend {settings.backend}: {ONE_SIZE}; use --fit tile or resize")
    if settings.opener is None:
        if settings.backend == "auto":
            return None, ""
        raise InputError(
            f"--backend {settings.backend}: cannot be opened from here; use pix2pix_batch.convert"
        )
    side = info_of(settings.model, settings.fingerprint).ranges.input
    tiles = _probe_tiles(settings, items)
    if tiles is None:  # nothing to look at, nor to convert; what runs then does not matter
        tiles = np.zeros((1, settings.size, settings.size, side.channels), side.dtype)
    return settings.opener(settings, tiles)


def _choose_precision(
    settings: Settings, items: Sequence[Item], fast: str, batch_size: int
) -> tuple[str, str]:
    """``fast`` or ``fp32``, and a note where ``fast`` was refused for its error.

    One engine is open at a time, and that of ``fast`` stays for the job.
    """
    from pix2pix_batch.inference import freed_memory
    from pix2pix_batch.inference.engine import psnr

    if not _is_worth_trying(fast, settings):
        return "fp32", ""
    tiles = _probe_tiles(settings, items)
    # No image could be decoded, so nothing will be translated by either.
    if tiles is None:
        return fast, ""
    key = settings.model, settings.fingerprint, settings.size
    tile_count = min(batch_size, len(tiles))
    # Past the cache, which would keep it in memory beside the job's own engine; and direct, as
    # preparing Winograd's kernels takes longer than these few images.
    exact_engine = open_engine.__wrapped__(*key, tile_count, settings.device, "fp32", direct=True)
    exact = _translate(exact_engine, tiles)
    # Before the next is opened: the memory of a worker is reckoned for one engine.
    del exact_engine
    freed_memory.give_back()
    engine = open_engine(*key, batch_size, settings.device, fast)
    closeness = psnr(_translate(engine, tiles), exact)
    if closeness < PSNR_BAR:
        open_engine.cache_clear()
        return "fp32", (
            f"{fast} differs from fp32 by {closeness:.1f} dB on this model (bar {PSNR_BAR:.0f}), "
            "so fp32 runs"
        )
    return fast, ""


def _translate(engine: Engine, tiles: np.ndarray) -> np.ndarray:
    parts = range(0, len(tiles), engine.batch_size)
    return np.concatenate([engine(tiles[at : at + engine.batch_size]).images for at in parts])


def _probe_tiles(settings: Settings, items: Sequence[Item]) -> np.ndarray | None:
    """The first of each image's tiles, of the model's size."""
    info = info_of(settings.model, settings.fingerprint)
    fit, tiles = "tile" if settings.fit == "whole" else settings.fit, []
    for item in items:
        try:
            picture = read_probe(item, info, settings)
            tiles.append(
                next(iter(fit_to_model(picture.pixels, fit, settings.size, info.architecture)))
            )
        except ImageError:
            continue
        if len(tiles) == PROBE_IMAGES:
            break
    return np.ascontiguousarray(np.stack(tiles)) if tiles else None
