"""Building a TensorRT engine of an ONNX file, for the GPU that is here or for another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pix2pix_batch.engines.library import Library
from pix2pix_batch.errors import EngineError, InputError

CURRENT = "current"
"""The target that is the GPU of this machine."""

Progress = Callable[[str, int, int], bool]
"""Told of a phase, its step and its steps; false asks for an end."""


@dataclass(frozen=True)
class BuildOptions:
    """What an engine is built for, and how.

    Attributes:
        target: :data:`CURRENT`, or a kind of GPU such as ``sm89``.
        optimization_level: From 0, a quick build, to 5, the best engine.
        workspace_mib: The most scratch memory, in MiB; ``None`` for all there is.
    """

    target: str = CURRENT
    optimization_level: int = 3  # TensorRT's own default
    workspace_mib: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.optimization_level <= 5:
            raise InputError(f"optimization level {self.optimization_level}: must be from 0 to 5")
        if self.workspace_mib is not None and self.workspace_mib < 1:
            raise InputError(f"workspace {self.workspace_mib} MiB: must be 1 or more")


def build(
    library: Library,
    onnx: bytes,
    options: BuildOptions,
    *,
    timing_cache: bytes = b"",
    progress: Progress | None = None,
) -> tuple[bytes, bytes]:
    """Compile an ONNX file with TensorRT.

    Args:
        library: The TensorRT package that compiles.
        onnx: The bytes of a file of :func:`pix2pix_batch.engines.export.export` with a fixed batch
            size.
        options: What to build for, and how hard to try.
        timing_cache: Timings of earlier builds for the same GPU and version; those of others are
            ignored.
        progress: Is called with each phase, step and number of steps, and returns false to stop the
            build.

    Returns:
        The serialised engine, and the timing cache as it is after the build.

    Raises:
        EngineError: TensorRT cannot read the graph or build the engine.
        InputError: The library does not know the target.
        KeyboardInterrupt: ``progress`` asked to stop.
    """
    trt = library.trt
    errors = library.make_logger()
    monitor = make_monitor(trt, progress or (lambda *_: True))
    cannot = f"{library.name} {library.version} cannot build the engine"
    with errors.engine_errors(cannot):
        builder = trt.Builder(errors.logger)
        network = _parse(library, library.create_network(builder), onnx, errors.logger)
        config = configure(library, builder, options)
        cache = None
        if library.has_timing_cache:
            cache = config.create_timing_cache(timing_cache)
            config.set_timing_cache(cache, ignore_mismatch=True)
        config.progress_monitor = monitor
        plan = _interruptible(lambda: builder.build_serialized_network(network, config), monitor)
        if monitor.cancelled:
            raise KeyboardInterrupt
        if plan is None:
            raise errors.error(cannot)
        timings = b"" if cache is None else bytes(cache.serialize())
        return bytes(plan), timings


def _parse(library: Library, network: Any, onnx: bytes, logger: Any) -> Any:
    """Read the ONNX file into ``network``, an ``INetworkDefinition``, and return that. Raises
    :class:`EngineError`."""
    parser = library.trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        messages = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise EngineError(f"{library.name} {library.version} cannot read the graph: {messages}")
    return network


def configure(library: Library, builder: Any, options: BuildOptions) -> Any:
    """Make TensorRT's configuration of a build.

    Args:
        library: The TensorRT package that builds.
        builder: Its ``Builder``.
        options: What to build for, and how hard to try.

    Returns:
        TensorRT's ``IBuilderConfig``.

    Raises:
        InputError: The library does not know the target.
    """
    trt = library.trt
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # which is on by default: fp32 is to be fp32
    config.builder_optimization_level = options.optimization_level
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    if options.target != CURRENT:
        library.set_target(config, options.target)
    return config


def _interruptible(build: Callable[[], Any], monitor: Any) -> Any:
    """``build()``; on Ctrl-C its monitor asks for an end, and what it returns then is no engine.

    In a thread of its own: one that is inside TensorRT does not run Python's signal handlers,
    and an exception in a monitor would pass through TensorRT.
    """
    results: list[Any] = []
    failed: list[Exception] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(build())
        except Exception as error:
            failed.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="build")
    started = False
    while not done.is_set():
        try:
            if not started:
                # Before the start itself: Ctrl-C may come in between, and a thread cannot be
                # started twice.
                started = True
                thread.start()
            done.wait(0.1)  # a wait without end does not wake for a signal to another thread
        except KeyboardInterrupt:
            monitor.cancelled = True
    thread.join()
    if failed:
        raise failed[0]
    return results[0]


def make_monitor(trt: Any, progress: Progress) -> Any:
    """TensorRT's progress as :data:`Progress`; ``cancelled`` says whether an end was asked for."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.cancelled = False
            self.lock = threading.Lock()
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str, steps: int) -> None:
            self.steps[name] = steps

        def phase_finish(self, name: str) -> None:
            self.steps.pop(name, None)

        def step_complete(self, name: str, step: int) -> bool:
            with self.lock:  # steps come from several threads
                if not self.cancelled and not progress(name, step, self.steps.get(name, 0)):
                    self.cancelled = True
                return not self.cancelled

    return Monitor()
