"""Which engine is wanted: found in the cache, or else exported, built and stored there."""

from __future__ import annotations

import functools
import hashlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pix2pix_batch import bundle
from pix2pix_batch.engines import builder, export, library
from pix2pix_batch.engines.builder import CURRENT, BuildOptions, Progress
from pix2pix_batch.engines.cache import Cache, Entry, ObtainedEngine
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.key import Key
from pix2pix_batch.engines.library import Library
from pix2pix_batch.errors import InputError
from pix2pix_batch.version import __version__

NO_GPU = (
    f"--target {CURRENT}: no NVIDIA GPU here that PyTorch can use; on the CPU nothing has to be "
    "built (--target cpu shows how it runs)"
)


@dataclass(frozen=True)
class EngineSpec:
    """Which engine is wanted.

    Attributes:
        model: The bundle.
        precision: ``fp16``, ``fp32`` or ``bf16``.
        batch_size: Images of a batch, always as many.
        size: The images' side in pixels.
        noise: Whether the engine has inputs for dropout masks.
    """

    model: Path
    precision: str
    batch_size: int
    size: int
    noise: bool = False

    @functools.cached_property
    def fingerprint(self) -> str:
        return bundle.fingerprint(self.model)

    @functools.cached_property
    def info(self) -> bundle.BundleInfo:
        return bundle.read_info(self.model)

    @property
    def name(self) -> str:
        return self.info.name

    @functools.cached_property
    def graph(self) -> bytes:
        """The ONNX file, as TensorRT takes it. Raises what
        :func:`pix2pix_batch.engines.export.export` raises."""
        with tempfile.TemporaryDirectory(prefix="pix2pix-batch-") as folder:
            file = Path(folder, "model.onnx")
            export.export(
                self.model,
                file,
                precision=self.precision,
                batch_size=self.batch_size,
                size=self.size,
                noise=self.noise,
                wide=True,
            )
            return file.read_bytes()

    def key(self, library: Library, target: str, gpu: Gpu | None = None) -> Key:
        """What the engine is called in the cache.

        Args:
            library: The TensorRT package that it is built with.
            target: A kind of GPU such as ``sm89``; :data:`CURRENT` for ``gpu``.
            gpu: The GPU of this process, for the target :data:`CURRENT`.
        """
        key = Key(
            bundle=self.fingerprint,
            graph=export.SCHEMA,
            package=__version__,
            library=library.name,
            version=library.version,
            capability=target,
            precision=self.precision,
            batch_size=self.batch_size,
            size=self.size,
            noise=self.noise,
        )
        if gpu is None:
            return key
        return replace(
            key, capability=gpu.capability, gpu=gpu.name, driver=gpu.driver, cuda=gpu.cuda
        )


def require_buildable(spec: EngineSpec, library: Library, target: str, gpu: Gpu | None) -> None:
    """Refuse what cannot be built, before long work.

    Args:
        spec: Which engine is wanted.
        library: The TensorRT package to build with.
        target: A kind of GPU such as ``sm89``, or :data:`CURRENT`.
        gpu: The GPU of this process, for the target :data:`CURRENT`.

    Raises:
        InputError: It cannot be built.
    """
    if spec.precision == "bf16" and not library.has_bf16:
        raise InputError(
            f"--precision bf16: {library.name} {library.version} has no bf16 transposed "
            "convolutions; use fp16 or fp32, or --backend torch"
        )
    known = library.list_targets()
    if target == CURRENT:
        if gpu is None:
            others = f"; for another machine name the GPU's kind, of {', '.join(known)}"
            raise InputError(NO_GPU + (others if known else ""))
        if known and gpu.capability not in known:
            raise InputError(
                f"{library.name} {library.version} runs on {', '.join(known)}, and the "
                f"{gpu.name} here is {gpu.capability}; use the library tensorrt"
            )
    else:
        library.require_target(target)


def find_or_build(
    cache: Cache,
    spec: EngineSpec,
    library: Library,
    options: BuildOptions,
    gpu: Gpu | None = None,
    progress: Progress | None = None,
) -> ObtainedEngine:
    """Find an engine in the cache, or export, build and store it; see :meth:`Cache.obtain`.

    Args:
        cache: Where engines are looked for and stored.
        spec: Which engine is wanted.
        library: The TensorRT package to build with.
        options: What to build for, and how hard to try. An engine that was built with others is
            replaced.
        gpu: The GPU of this process, from :func:`pix2pix_batch.engines.gpu.current_gpu`.
        progress: As in :func:`pix2pix_batch.engines.builder.build`.

    Raises:
        InputError: The engine cannot be built.
        EngineError: The build fails.
        OutputError: The engine cannot be stored.
        KeyboardInterrupt: The build was stopped; the cache is as it was.
    """
    here = gpu if options.target == CURRENT else None
    require_buildable(spec, library, options.target, here)
    key = spec.key(library, options.target, here)
    targeted = options
    if here is not None and library.list_targets():  # unaimed, TensorRT-RTX leaves out older GPUs
        targeted = replace(options, target=here.capability)
    return cache.obtain(
        key,
        lambda: _export_and_build(cache, spec, library, targeted, timings_name(key), progress),
        fits=lambda entry: entry.facts.get("options") == _list_options(options),
    )


def _export_and_build(
    cache: Cache,
    spec: EngineSpec,
    library: Library,
    options: BuildOptions,
    timings: str,
    progress: Progress | None,
) -> tuple[bytes, dict[str, Any]]:
    """The engine, and the facts that are stored beside it. ``timings``: their name in the cache."""
    begun = time.monotonic()
    graph, start = spec.graph, time.monotonic()
    plan, measured = builder.build(
        library, graph, options, timing_cache=cache.read_timings(timings), progress=progress
    )
    facts = {
        "model": spec.name,
        "model_file": str(spec.model.resolve()),
        "export_seconds": round(start - begun, 2),
        "build_seconds": round(time.monotonic() - start, 2),
        "options": _list_options(options),
        "onnx_sha256": hashlib.sha256(graph).hexdigest(),
    }
    cache.write_timings(timings, measured)
    return plan, facts


def _list_options(options: BuildOptions) -> dict[str, Any]:
    """The options that an engine is built anew for, if they change."""
    return {
        "optimization_level": options.optimization_level,
        "workspace_mib": options.workspace_mib,
    }


def find_engine(
    cache: Cache, spec: EngineSpec, library: Library, gpu: Gpu
) -> tuple[Entry | None, str]:
    """Find an engine for a GPU, whatever its build options.

    Args:
        cache: Where it is looked for.
        spec: Which engine is wanted.
        library: The TensorRT package that runs it.
        gpu: The GPU that it is for. One that was built on it goes before one that was built for its
            kind.

    Returns:
        The entry, or ``None``, and why an engine that is there cannot be used.
    """
    entry, reason = cache.find(spec.key(library, CURRENT, gpu))
    if entry is None:
        entry, other = cache.find(spec.key(library, gpu.capability))
        reason = reason or other
    return entry, reason


def timings_name(key: Key) -> str:
    """Timings hold for one exact GPU and version; TensorRT ignores those of another."""
    text = repr((key.library, key.version, key.capability, key.gpu, key.driver, key.cuda))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def choose_library(name: str | None, targets: list[str], gpu: Gpu | None) -> Library:
    """Choose the TensorRT package to build with.

    Args:
        name: ``tensorrt`` or ``tensorrt_rtx``; ``None`` to choose one.
        targets: Kinds of GPUs, or :data:`CURRENT`. Only TensorRT-RTX builds for GPUs that are not
            there.
        gpu: The GPU of this process, if there is one.

    Raises:
        InputError: There is no such package.
    """
    if name is not None:
        return library.load(name)
    if targets != [CURRENT]:
        return library.load("tensorrt_rtx")
    libraries, reasons = library.find_libraries()
    if not libraries:
        raise InputError(NO_GPU if gpu is None else "; ".join(reasons))
    return libraries[0]
