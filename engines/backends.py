"""Which engine runs: ``tensorrt``, else ``tensorrt_rtx``, else PyTorch on the GPU or the CPU.

Importing this module imports no TensorRT and no torch: jobs without a GPU name it too.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pix2pix_batch import bundle
from pix2pix_batch.errors import EngineError, InputError, MemoryShortage, OutputError
from pix2pix_batch.inference.settings import Settings

if TYPE_CHECKING:
    from pix2pix_batch.engines.cache import Cache, Entry
    from pix2pix_batch.engines.gpu import Gpu
    from pix2pix_batch.engines.library import Library
    from pix2pix_batch.engines.spec import EngineSpec
    from pix2pix_batch.inference.engine import Engine

_logger = logging.getLogger(__name__)

DEFAULT_PRECISION = "fp16"
"""Of compiled engines where ``--precision`` is ``auto``, but for outputs of more than 8 bits; the
gate decides whether it holds."""


def open_best(settings: Settings, tiles: np.ndarray | None = None) -> tuple[Engine | None, str]:
    """Open the best TensorRT engine that there is, or build it; an
    :data:`pix2pix_batch.inference.settings.Opener`.

    Args:
        settings: The job's. With ``backend="auto"`` each installed library is tried in turn.
        tiles: ``(N, S, S, C)``, images of the job while its device and precision are being chosen,
            on which the engine is compared with PyTorch; ``None`` later on.

    Returns:
        The engine and a note. The engine is ``None`` if PyTorch is to run; the note then says why.
        It is empty where nothing is to be said.

    Raises:
        InputError: The backend was asked for by name, or chosen earlier, and cannot be had.
    """
    from pix2pix_batch.engines import gpu, library

    here = gpu.current_gpu() if settings.device != "cpu" else None
    if settings.backend != "auto":
        if here is None:
            raise InputError(
                f"--backend {settings.backend}: needs an NVIDIA GPU, and PyTorch finds none "
                "here; use --backend torch, or leave it out"
            )
        try:
            return open_library(library.load(settings.backend), settings, tiles, here), ""
        except (EngineError, OutputError) as error:
            raise InputError(f"--backend {settings.backend}: {error}") from error
    if here is None:
        return None, ""
    libraries, missing = library.find_libraries()
    reasons = [] if libraries else missing
    for candidate in libraries:
        try:
            return open_library(candidate, settings, tiles, here), "; ".join(reasons)
        except (EngineError, InputError, OutputError) as error:
            reasons.append(f"{candidate.name} does not run: {error}")
    return None, f"{'; '.join(reasons)}; so PyTorch runs"


def open_library(
    library: Library, settings: Settings, tiles: np.ndarray | None, gpu: Gpu
) -> Engine:
    """Open an engine of one library, from the cache or built anew.

    If the batch size is still open, it is halved until the engine fits into the GPU's memory. Once
    it is chosen it stays, because the job's journal keeps it.

    Args:
        library: The TensorRT package that runs the engine.
        settings: The job's; ``batch_size`` may be ``None`` and ``precision`` ``auto``.
        tiles: As in :func:`open_best`.
        gpu: The GPU of this process.

    Raises:
        EngineError: The engine cannot be built or loaded, or is not close enough to PyTorch.
        InputError: The bundle is another one than where the job was started, or cannot be built for
            the GPU.
        OutputError: The engine cannot be stored in the cache.
    """
    from pix2pix_batch.engines.spec import EngineSpec
    from pix2pix_batch.inference.cuda import release_memory
    from pix2pix_batch.inference.engine import default_batch_size

    precision = settings.precision
    if precision == "auto":
        exact = bundle.read_info(Path(settings.model)).needs_full_precision
        precision = "fp32" if exact else DEFAULT_PRECISION
    batch_size = settings.batch_size or default_batch_size("cuda", settings.size)
    while True:
        spec = EngineSpec(
            Path(settings.model), precision, batch_size, settings.size, settings.noise
        )
        if spec.fingerprint != settings.fingerprint:
            raise InputError(f"{spec.model}: is another bundle than where the job was started")
        try:
            return load_checked(library, spec, tiles, gpu)
        except MemoryShortage as error:
            if settings.batch_size is not None or batch_size == 1:
                raise
            batch_size //= 2
            release_memory(error)


def load_checked(library: Library, spec: EngineSpec, tiles: np.ndarray | None, gpu: Gpu) -> Engine:
    """Load an engine that is close enough to PyTorch, or build it.

    An engine that was never checked is compared with PyTorch and the result stored in the cache.
    One that was is compared once more on the images of this job, unless it takes dropout masks.

    Args:
        library: The TensorRT package that runs the engine.
        spec: Which engine is wanted.
        tiles: As in :func:`open_best`; without them the shipped samples are used for the first
            check.
        gpu: The GPU of this process.

    Raises:
        EngineError: The engine is under :data:`pix2pix_batch.engines.parity_check.BAR`, or does not
            run.
    """
    from pix2pix_batch.engines import parity_check, samples
    from pix2pix_batch.engines.cache import Cache

    cache = Cache()
    entry, engine = load_or_build(cache, library, spec, gpu)
    if entry.facts.get("parity") is None:
        side = spec.info.ranges.input
        checked = samples.read_samples(None, spec.size, side) if tiles is None else tiles
        parity_check.check_entry(cache, entry, engine, spec, checked)
    elif tiles is not None and not spec.noise:
        side = spec.info.ranges.output
        parity = parity_check.compare(engine, parity_check.reference_engine(spec), tiles, side=side)
        if not parity.passes:
            raise EngineError(
                f"its {spec.precision} engine is {parity} of this job (bar {parity_check.BAR:.0f})"
            )
    cache.touch(entry)
    return engine


def load_or_build(
    cache: Cache, library: Library, spec: EngineSpec, gpu: Gpu
) -> tuple[Entry, Engine]:
    """Load the engine from the cache, or build one if there is none or it does not load here.

    Args:
        cache: Where engines are looked for and stored.
        library: The TensorRT package that runs the engine.
        spec: Which engine is wanted.
        gpu: The GPU of this process.

    Returns:
        The cache's entry and the running engine.

    Raises:
        EngineError: The engine was set aside earlier, or cannot be built or loaded.
        MemoryShortage: It does not fit into the GPU's memory.
    """
    from pix2pix_batch.engines import parity_check
    from pix2pix_batch.engines.builder import CURRENT, BuildOptions
    from pix2pix_batch.engines.spec import find_engine, find_or_build, require_buildable

    entry, reason = find_engine(cache, spec, library, gpu)
    if entry is not None and entry.refusal:
        raise EngineError(parity_check.set_aside(entry))
    if entry is not None:
        try:
            return entry, parity_check.load_engine(
                library, entry, cache, spec.info.ranges.output.dtype
            )
        except MemoryShortage:
            raise
        except EngineError as error:
            if entry.key == spec.key(library, CURRENT, gpu):
                raise
            reason = str(error)
    require_buildable(spec, library, CURRENT, gpu)
    remark = f" ({reason})" if reason else ""
    # it takes minutes: at this level Python shows it on standard error where nobody has set up
    # logging, as in commands and their workers
    _logger.warning(
        f"building a {library.name} {spec.precision} engine of {spec.name} for the {gpu.name}, "
        f"once{remark}"
    )
    entry = find_or_build(cache, spec, library, BuildOptions(), gpu).entry
    return entry, parity_check.load_engine(library, entry, cache, spec.info.ranges.output.dtype)
