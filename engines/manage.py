"""What ``pix2pix-batch engine`` does with engines: build, list, verify, measure, prune."""

from __future__ import annotations

import string
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pix2pix_batch import bundle
from pix2pix_batch.engines import export, library
from pix2pix_batch.engines.builder import CURRENT, BuildOptions
from pix2pix_batch.engines.cache import Cache, Entry
from pix2pix_batch.engines.gpu import Gpu, current_gpu
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.spec import EngineSpec, choose_library, find_or_build, require_buildable
from pix2pix_batch.errors import BundleError, EngineError, InputError, Pix2PixBatchError
from pix2pix_batch.text import escape
from pix2pix_batch.version import __version__

CPU = "cpu"
"""The target that is no GPU: nothing is compiled for it."""

PRECISION = "fp16"
"""Of compiled engines, unless another is asked for."""

Display = Callable[[str], None]
"""Shows a line until the next one takes its place; an empty one ends it."""

DAY = 86400.0
EXPORTED = 0.05
"""Seconds; less is no export: for one target after the other the ONNX file is made once."""

LAYER_IMAGES = 2
"""Images that layers are compared on: all their features are in memory at once."""


@dataclass(frozen=True)
class EngineRequest:
    """What engines are to be like; ``None`` is what ``convert`` would take."""

    precision: str | None = None
    batch_size: int | None = None
    size: int | None = None
    noise: bool = False

    def make_spec(self, model: Path, device: str) -> EngineSpec:
        """Make the spec of ``model`` for ``device``, ``cpu`` or ``cuda``. Raises
        :class:`InputError`."""
        from pix2pix_batch.inference.engine import default_batch_size

        info = bundle.read_info(model)
        size = info.image_size if self.size is None else self.size
        batch_size = self.batch_size
        if batch_size is None:
            batch_size = default_batch_size(device, size)
        precision = self.precision
        if precision is None and info.needs_full_precision:
            precision = "fp32"
        if precision is None and device == CPU:
            from pix2pix_batch.engines import cpu

            precision = cpu.precision()
        spec = EngineSpec(model, precision or PRECISION, batch_size, size, self.noise)
        export.check_options(model, info, spec.precision, batch_size, size, self.noise)
        return spec


def build(
    model: Path,
    request: EngineRequest,
    targets: Sequence[str] = (CURRENT,),
    options: BuildOptions | None = None,
    library_name: str | None = None,
    *,
    images: Path | None = None,
    display: Display = lambda _: None,
) -> Iterator[str]:
    """Build an engine for each target, or find it in the cache.

    For :data:`CPU` nothing is built; the lines tell what runs there.

    Args:
        model: The bundle.
        request: What the engines are to be like.
        targets: Kinds of GPUs such as ``sm89``, :data:`CURRENT` for the GPU of this machine, or
            :data:`CPU`.
        options: How to build. Their target is not looked at.
        library_name: The TensorRT package to build with; ``None`` to choose one.
        images: A directory of real images on which engines are checked; ``None`` for the shipped
            ones.
        display: Shows the progress.

    Yields:
        A line for each engine.

    Raises:
        InputError: A target, an option or the directory cannot be used; nothing has been built
            then.
        EngineError: A build or its check fails.
    """
    targets = list(dict.fromkeys(targets))
    _require_target(targets, compiling=bool(library_name or options))
    gpus = [target for target in targets if target != CPU]
    reports: list[Iterator[str]] = []
    if CPU in targets:
        from pix2pix_batch.engines import cpu

        spec = request.make_spec(model, CPU)
        reports.append(
            cpu.check(spec, read_samples(images, spec), chosen=request.precision is not None)
        )
    if gpus:
        spec = request.make_spec(model, "cuda")
        wanted = [replace(options or BuildOptions(), target=target) for target in gpus]
        reports += _prepare_builds(spec, wanted, library_name, images, display)
    for report in reports:
        yield from report


def _prepare_builds(
    spec: EngineSpec,
    wanted: list[BuildOptions],
    library_name: str | None,
    images: Path | None,
    display: Display,
) -> list[Iterator[str]]:
    """See that all can be built; what is returned builds each as it is gone through."""
    targets = [options.target for options in wanted]
    gpu = current_gpu() if CURRENT in targets else None
    chosen = choose_library(library_name, targets, gpu)
    export.require_extra()
    for target in targets:
        require_buildable(spec, chosen, target, gpu)
    checked, cache = read_samples(images, spec), Cache()
    return [_build(cache, spec, chosen, options, gpu, checked, display) for options in wanted]


def _require_target(targets: Sequence[str], *, compiling: bool) -> None:
    """``compiling``: whether there are options for it. Raises :class:`InputError`."""
    if not targets:
        raise InputError("--target: names no GPU; leave it out for the one that is here")
    if targets == [CPU] and compiling:
        raise InputError(
            "--library, --optimization-level and --workspace are for compiling, and for the CPU "
            "nothing is compiled; leave them out"
        )


def _build(
    cache: Cache,
    spec: EngineSpec,
    chosen: Library,
    options: BuildOptions,
    gpu: Gpu | None,
    images: np.ndarray,
    display: Display,
) -> Iterator[str]:
    name = f"{spec.name} for {options.target}"

    def progress(phase: str, step: int, steps: int) -> bool:
        display(f"{name}: {phase} {step + 1}/{steps}")
        return True

    display(f"{name}: exporting")
    try:
        entry, built, notice = find_or_build(cache, spec, chosen, options, gpu, progress)
    finally:
        display("")
    if notice:
        yield f"note: {notice}"
    if entry.refusal:
        from pix2pix_batch.engines.parity_check import set_aside

        raise EngineError(set_aside(entry))
    state = "was in the cache"
    if built:
        state = f"built in {entry.facts['build_seconds']:.1f} s"
        if (exported := entry.facts["export_seconds"]) >= EXPORTED:
            state += f" after {exported:.1f} s for its ONNX file"
    yield f"{entry.id[:12]} {name}: {state}, {entry.facts['bytes']:,} bytes, {chosen.name}"
    if options.target == CURRENT and entry.facts["parity"] is None:
        yield f"{entry.id[:12]} {check(cache, entry, chosen, spec, images)}"


def read_samples(folder: Path | None, spec: EngineSpec) -> np.ndarray:
    from pix2pix_batch.engines import samples

    return samples.read_samples(folder, spec.size, spec.info.ranges.input)


def check(cache: Cache, entry: Entry, chosen: Library, spec: EngineSpec, images: np.ndarray) -> str:
    """Compare an engine with PyTorch on the GPU of this machine.

    Args:
        cache: Where the result is stored.
        entry: The engine.
        chosen: The TensorRT package that runs it.
        spec: The spec that it was built for.
        images: ``(N, S, S, C)``, real inputs.

    Returns:
        How close it is, for people.

    Raises:
        EngineError: It is not close enough; the message names the first layer that deviates.
    """
    from pix2pix_batch.engines import parity_check

    engine = parity_check.load_engine(chosen, entry, cache, spec.info.ranges.output.dtype)
    try:
        entry, parity = parity_check.check_entry(cache, entry, engine, spec, images)
        predicted = entry.facts["predicted"]["psnr"]
        return f"{parity}; {spec.precision} emulated on the CPU: {predicted:.1f} dB"
    except EngineError as error:
        raise EngineError(f"{error}; {_name_first_divergent_layer(spec, images)}") from error


def _name_first_divergent_layer(spec: EngineSpec, images: np.ndarray) -> str:
    from pix2pix_batch.engines import layers

    divergent = layers.first_divergent(layers.compare(spec, images[:LAYER_IMAGES]))
    if divergent is None:
        return "no layer parts on the CPU"
    return f"the first layer to part is {divergent}"


def find_layer(model: Path, precision: str, images: Path | None) -> Iterator[str]:
    """Compare every layer in a precision with fp32, on the CPU.

    Args:
        model: The bundle.
        precision: ``fp16`` or ``fp32``.
        images: A directory of real images; ``None`` for the shipped ones.

    Yields:
        A line for each layer.

    Raises:
        InputError: onnxruntime cannot compute in the precision.
        EngineError: A layer deviates, after the last line.
    """
    from pix2pix_batch.engines import layers

    if precision == "bf16":
        raise InputError("--layers: onnxruntime has no bf16 convolutions; use --precision fp16")
    info = bundle.read_info(model)
    spec = EngineSpec(model, precision, LAYER_IMAGES, info.image_size)
    errors = layers.compare(spec, read_samples(images, spec)[:LAYER_IMAGES])
    yield from map(str, errors)
    if (first := layers.first_divergent(errors)) is not None:
        raise EngineError(
            f"{escape(model)}: in {precision} the first layer to part from fp32 is {first}; use "
            "--precision fp32, or --backend torch --precision bf16"
        )


def find_entries(cache: Cache, name: str) -> list[Entry]:
    """The engine with the id ``name``, or all of the model ``name``. Raises :class:`InputError`."""
    try:
        model = bundle.resolve(name)
    except BundleError as error:
        if not set(name) <= set(string.hexdigits):  # no id
            raise error
        return [cache.find_by_id(name)]
    fingerprint = bundle.fingerprint(model)
    entries = [e for e in cache.entries() if isinstance(e, Entry) and e.key.bundle == fingerprint]
    if not entries:
        raise InputError(
            f"{name}: no engine of this model is here; build one with 'pix2pix-batch engine "
            f"build {name}'"
        )
    return entries


def spec_of(entry: Entry, name: str) -> EngineSpec:
    """The spec that an engine filled. Raises :class:`InputError` where its model is not found."""
    key = entry.key
    candidates = [name, *bundle.shipped_names(), str(entry.facts.get("model_file", ""))]
    for candidate in candidates:
        try:
            model = bundle.resolve(candidate)
        except BundleError:
            continue
        if bundle.fingerprint(model) == key.bundle:
            return EngineSpec(model, key.precision, key.batch_size, key.size, key.noise)
    raise InputError(
        f"{entry.id[:12]}: its model {entry.facts.get('model')!r} is not found; give the path of "
        "the bundle in place of the id"
    )


def verify(name: str, images: Path | None) -> Iterator[str]:
    """Check engines as far as this machine can; a line on each.

    Raises :class:`EngineError`, or :class:`InputError` for a damaged one, when all are looked at.
    """
    cache, gpu = Cache(), current_gpu()
    failure: Pix2PixBatchError | None = None
    for entry in find_entries(cache, name):
        try:
            state = _verify_entry(cache, entry, name, gpu, images)
        except (EngineError, InputError) as error:
            if failure is not None:
                yield f"failed: {failure}"
            failure = error
        else:
            model = escape(entry.facts.get("model", ""))
            yield f"{entry.id[:12]} {model} for {entry.key.capability}: {state}"
    if failure is not None:
        raise failure


def _verify_entry(
    cache: Cache, entry: Entry, name: str, gpu: Gpu | None, images: Path | None
) -> str:
    try:
        entry.read()
    except InputError as error:
        raise InputError(f"{error}; 'pix2pix-batch engine prune' removes it") from error
    key = entry.key
    if key.package != __version__ or key.graph != export.SCHEMA:
        return f"its file is whole, but of pix2pix-batch {key.package}: it is not used any more"
    if (reason := explain_misfit(entry, gpu)) or gpu is None:
        return f"its file is whole; not run: {reason}"
    spec = spec_of(entry, name)
    chosen = library.load(key.library)
    parity = check(cache, entry, chosen, spec, read_samples(images, spec))
    return f"its file is whole, {parity}"


def explain_misfit(entry: Entry, gpu: Gpu | None) -> str:
    """Why an engine cannot run on ``gpu``; empty where it can."""
    key = entry.key
    if gpu is None:
        return "there is no NVIDIA GPU here"
    try:
        version = library.load(key.library).version
    except InputError as error:
        return str(error)
    if version != key.version:
        return f"it is of {key.library} {key.version}, {version} is installed"
    if gpu.capability != key.capability or key.gpu not in ("", gpu.name):
        return f"it is for {key.gpu or key.capability}, and the {gpu.name} is {gpu.capability}"
    if key.gpu and (key.driver, key.cuda) != (gpu.driver, gpu.cuda):
        return f"it is for driver {key.driver} and CUDA {key.cuda}"
    return ""


def bench(name: str, images: Path | None) -> Iterator[str]:
    """Measure engines on the GPU that is here. Raises :class:`InputError` where there is none."""
    from pix2pix_batch.engines import parity_check

    gpu = current_gpu()
    if gpu is None:
        raise InputError("engine bench: needs an NVIDIA GPU, and PyTorch finds none here")
    measured, cache = 0, Cache()
    for entry in find_entries(cache, name):
        if reason := explain_misfit(entry, gpu) or entry.refusal:
            yield f"{entry.id[:12]}: not measured: {reason}"
            continue
        from pix2pix_batch.engines import bench as benches

        key = entry.key
        spec = spec_of(entry, name)
        samples = read_samples(images, spec)
        batch = samples[np.arange(key.batch_size) % len(samples)]
        masks = parity_check.repeat_masks(parity_check.masks_for(spec), key.batch_size)
        kind = spec.info.ranges.output.dtype
        engine = parity_check.load_engine(library.load(key.library), entry, cache, kind)
        speed = benches.measure(engine, batch, masks)
        measured += 1
        yield (
            f"{entry.id[:12]}: {speed.images_per_second:,.0f} images/s, "
            f"{speed.latency_ms:.2f} ms a batch of {key.batch_size}, {key.precision}, {gpu.name}"
            + (f"; {engine.remark}" if engine.remark else "")
        )
    if not measured:
        raise EngineError(f"{name}: no engine that runs on the {gpu.name}")


def prune(*, everything: bool = False, older_than: float | None = None) -> tuple[int, int]:
    """Remove engines that are of no use here; the number of them and all bytes freed.

    Always: damaged ones, those of other versions of this package or of an installed library, and
    leftovers. ``older_than``: days, and those too that were not used since.
    """
    installed = {usable.name: usable.version for usable in library.find_libraries()[0]}

    def is_useless(entry: Entry) -> bool:
        key = entry.key
        other = installed.get(key.library, key.version) != key.version
        stale = key.package != __version__ or key.graph != export.SCHEMA
        idle = (time.time() - entry.path.stat().st_mtime) / DAY
        return everything or other or stale or (older_than is not None and idle >= older_than)

    return Cache().prune(is_useless, timings=everything)
