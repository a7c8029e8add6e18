"""The engines that this worker has opened; they stay open from one chunk to the next."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pix2pix_batch import bundle
from pix2pix_batch.distance import Domain
from pix2pix_batch.errors import InputError
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.inference.settings import Settings

if TYPE_CHECKING:
    from pix2pix_batch.inference.engine import Engine

EngineKey = tuple[str, str, int, int, str, str]


@functools.lru_cache(maxsize=2)
def info_of(model: str, fingerprint: str) -> bundle.BundleInfo:
    """The metadata of the bundle at the path ``model``, as this worker sees it. Raises
    :class:`InputError` if the bundle has another fingerprint."""
    return bundle.read_info(_require_same_bundle(model, fingerprint))


def _require_same_bundle(model: str, fingerprint: str) -> Path:
    path = Path(model)
    if not path.is_file():
        raise InputError(
            f"{path}: not found on this worker; put the bundle where all workers see it"
        )
    if bundle.fingerprint(path) != fingerprint:
        raise InputError(f"{path}: is another bundle on this worker than where the job was started")
    return path


@functools.lru_cache(maxsize=2)
def domain_of(model: str, fingerprint: str) -> Domain | None:
    """The distribution of the training inputs of a model that :func:`info_of` has checked; ``None``
    if its bundle does not have it."""
    return Domain.open(Path(model))


@functools.lru_cache(maxsize=2)
def open_engine(
    model: str,
    fingerprint: str,
    size: int,
    batch_size: int,
    device: str,
    precision: str,
    direct: bool = False,
) -> Engine:
    """Open this worker's engine on first use and keep it.

    The engine keeps the weights in its own layout and releases those of the bundle.

    Args:
        model: The path of the bundle.
        fingerprint: What the bundle's content must be.
        size: Side of the images in pixels.
        batch_size: Images in a batch.
        device: ``cpu``, or a GPU as PyTorch calls it.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        direct: On the CPU, as of :class:`pix2pix_batch.inference.engine.TorchEngine`.

    Returns:
        The engine.
    """
    import torch

    from pix2pix_batch.inference import freed_memory
    from pix2pix_batch.inference.engine import TorchEngine

    on_cpu = device == "cpu"
    build: Callable[..., Engine]
    if on_cpu:
        # One thread a worker: a reduction split over another number of threads could round
        # otherwise, and then the bytes would depend on --workers.
        torch.set_num_threads(1)
        freed_memory.give_back_at_once()
        build = functools.partial(TorchEngine, direct=direct)
    else:
        from pix2pix_batch.inference.cuda import CudaEngine

        build = functools.partial(CudaEngine, device=device)
    info, net = bundle.load_mapped(_require_same_bundle(model, fingerprint))
    engine = build(net, size=size, batch_size=batch_size, precision=precision, ranges=info.ranges)
    if on_cpu:
        del net
        freed_memory.give_back()  # of the weights as they were before
        freed_memory.keep()
    return engine


def _engine_key(settings: Settings) -> EngineKey:
    """The arguments of :func:`open_engine`."""
    assert settings.batch_size is not None
    return (
        settings.model, settings.fingerprint, settings.size, settings.batch_size,
        settings.device, settings.precision,
    )  # fmt: skip


ENGINE_LOCK = threading.Lock()
"""Held while an engine is used, because it has buffers of its own and a Dask worker of the user's
may have several threads."""

OPENING_LOCK = threading.Lock()
"""Held while an engine is opened: if several threads want the same engine, one of them opens it,
and on a GPU nothing else is opened while a CUDA graph is captured."""

_opener_engines: dict[tuple[object, ...], Engine] = {}
"""The engines that openers have opened on this worker, oldest first."""


_opened_ahead: set[EngineKey] = set()
"""The engine that :func:`open_ahead` has opened, until it is known whether the job needs it."""


def open_ahead(settings: Settings) -> None:
    """Open PyTorch's engine for settings that the job will probably have."""
    key = _engine_key(settings)
    with OPENING_LOCK:
        _opened_ahead.add(key)
        open_engine(*key)


def engine_of(settings: Settings) -> Engine:
    """This worker's engine for settings that leave nothing open. It is opened on first use and
    kept."""
    with OPENING_LOCK:
        return _engine_of(settings)


def _engine_of(settings: Settings) -> Engine:
    if settings.opener is None or settings.backend in ("auto", TORCH):
        key = _engine_key(settings)
        if _opened_ahead - {key}:  # there is memory for one
            open_engine.cache_clear()
        _opened_ahead.clear()
        return open_engine(*key)
    if (engine := _opener_engines.get(_key(settings))) is None:
        engine, reason = settings.opener(settings, None)
        if engine is None:
            raise InputError(f"--backend {settings.backend}: {reason}")
        keep(settings, engine)
    return engine


def keep(settings: Settings, engine: Engine) -> None:
    while len(_opener_engines) >= 2:
        # Two: a job with noise has a second engine for the images without, and more would fill a
        # GPU.
        _opener_engines.pop(next(iter(_opener_engines)))
    _opener_engines[_key(settings)] = engine


def _key(settings: Settings) -> tuple[object, ...]:
    """The part of the settings that an opener's engine depends on: nothing that is done with its
    images."""
    return (
        settings.opener, settings.model, settings.fingerprint, settings.size, settings.batch_size,
        settings.device, settings.precision, settings.backend, settings.noise,
    )  # fmt: skip
