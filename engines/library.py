"""The two TensorRT packages: which of them is here, and in what they and their versions differ.

``tensorrt`` runs on every NVIDIA GPU; ``tensorrt_rtx`` on RTX GPUs, and builds engines for them
where there is none. Both have the same interface; what is left of differences is told here.
"""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pix2pix_batch.errors import (
    WANT_OF_MEMORY,
    EngineError,
    InputError,
    MemoryShortage,
    engine_errors,
)
from pix2pix_batch.text import describe_error

PACKAGES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
"""The modules, best first, and the extra of this package that installs each."""

OLDEST = (10, 12)
"""``tensorrt`` before 10.12 has no strongly typed networks that behave as later ones do."""


@dataclass(frozen=True)
class Library:
    """A TensorRT package that is installed. ``version``: its full version."""

    name: str
    version: str
    trt: ModuleType

    def make_logger(self) -> ErrorLog:
        return ErrorLog(self.trt)

    @property
    def has_timing_cache(self) -> bool:
        """TensorRT-RTX measures nothing when it builds; its timing caches are empty."""
        return self.name == "tensorrt"

    @property
    def has_bf16(self) -> bool:
        """Whether it may have transposed convolutions of bfloat16: TensorRT 11.0 to 11.4 have none
        (its issue 4829), nor has TensorRT-RTX. Earlier ones say so when they build."""
        return self.name == "tensorrt" and int(self.version.partition(".")[0]) < 11

    @property
    def captures_itself(self) -> bool:
        """TensorRT-RTX makes CUDA graphs of its own: where parts of an engine are still to be
        compiled, or need memory as they run, a capture from outside would fail."""
        return hasattr(self.trt, "CudaGraphStrategy")

    def create_network(self, builder: Any) -> Any:
        """A strongly typed network: the only kind from 11 on, a flag before."""
        flags = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flags is None else 1 << int(flags))

    def list_targets(self) -> list[str]:
        """What can be built for without the GPU being here: ``sm75`` and so on."""
        capabilities = getattr(self.trt, "ComputeCapability", None)
        names = getattr(capabilities, "__members__", {})
        return sorted(
            (name.lower() for name in names if name.startswith("SM")),
            key=lambda name: int(name.removeprefix("sm")),
        )

    def require_target(self, target: str) -> None:
        """Raises :class:`InputError` if nothing can be built for ``target``."""
        known = self.list_targets()
        if target not in known:
            listed = (
                f"builds for {', '.join(known)}"
                if known
                else "builds for the GPU that is here only; use --library tensorrt_rtx"
            )
            raise InputError(f"target {target!r}: {self.name} {self.version} {listed}")

    def set_target(self, config: Any, target: str) -> None:
        """Build for ``target`` instead of the GPU that is here. Raises :class:`InputError`."""
        self.require_target(target)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(self.trt.ComputeCapability, target.upper()), 0)


class RuntimeCache:
    """What TensorRT-RTX compiles for the GPU that is here when an engine is loaded and first run:
    its runtime cache, shared by all contexts of an engine. ``tensorrt`` compiles all at the build.
    """

    def __init__(self, library: Library, engine: Any, data: bytes) -> None:
        """``data``: of an earlier process; of another GPU or version, TensorRT-RTX ignores it."""
        self.config = self.cache = None
        self.before = data
        if not library.captures_itself:
            return
        self.config = engine.create_runtime_config()
        self.config.cuda_graph_strategy = library.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self.cache = self.config.create_runtime_cache()
        if data and not self.cache.deserialize(data):
            self.before = b""
        self.config.set_runtime_cache(self.cache)

    def create_context(self, engine: Any) -> Any:
        """An execution context, or ``None`` where there can be none."""
        if self.config is None:
            return engine.create_execution_context()
        return engine.create_execution_context(self.config)

    def serialize_changes(self) -> bytes:
        """What there is to keep; nothing where it is as it was."""
        data = b"" if self.cache is None else bytes(self.cache.serialize())
        return b"" if data == self.before else data


class ErrorLog:
    """Keeps what TensorRT says instead of printing it. Must outlive what it is given to."""

    def __init__(self, trt: Any) -> None:
        messages: list[str] = []
        serious = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

        class Keeper(trt.ILogger):
            def log(self, severity: Any, message: str) -> None:
                if severity in serious and len(messages) < 100:
                    messages.append(" ".join(message.split()))

        self.told = messages
        self.logger = Keeper()

    def __str__(self) -> str:
        """The first words, which name the cause; what follows is its echo."""
        return self.told[0][:300] if self.told else "it gives no reason"

    def error(self, what: str) -> EngineError:
        """That it cannot do ``what``, and why, as said since the last time; want of memory, and
        nothing else, as :class:`pix2pix_batch.errors.MemoryShortage`."""
        small = any(map(WANT_OF_MEMORY.search, self.told))
        return (MemoryShortage if small else EngineError)(f"{what}: {self._take()}")

    def engine_errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        """What TensorRT or PyTorch raises inside, as :meth:`error` has it."""
        self.told.clear()
        return engine_errors(what, lambda: self._take() if self.told else "")

    def _take(self) -> str:
        reason = str(self)
        self.told.clear()
        return reason


class MissingLibrary(InputError):
    """A package that is not here. ``reason``: why, without the command that installs it."""

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {reason}; pip install 'pix2pix-batch[{PACKAGES[name]}]'")


def load(name: str) -> Library:
    """Load one of :data:`PACKAGES`. Raises :class:`MissingLibrary`."""
    try:
        module = importlib.import_module(name)
        version = str(module.__version__)
        module.Builder  # noqa: B018  its libraries may be missing though the module is there
    except ModuleNotFoundError as error:
        if error.name != name:  # something that it needs
            raise MissingLibrary(name, f"cannot be loaded ({error})") from error
        raise MissingLibrary(name, "not installed") from error
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise MissingLibrary(name, f"cannot be loaded ({describe_error(error, None)})") from error
    parts = tuple(int(part) for part in version.split(".")[:2])
    if name == "tensorrt" and parts < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingLibrary(name, f"{version} is too old, {oldest} or later is needed")
    return Library(name, version, module)


def find_libraries() -> tuple[list[Library], list[str]]:
    """Load the packages that are installed, the best first; and why the others cannot be used."""
    libraries, reasons = [], []
    for name in PACKAGES:
        try:
            libraries.append(load(name))
        except InputError as error:
            reasons.append(str(error))
    return libraries, reasons
