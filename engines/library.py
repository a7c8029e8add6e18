"""The two TensorRT packages: which of them is here, and in what they and their versions differ.

``tensorrt`` runs on every NVIDIA GPU; ``tensorrt_rtx`` on RTX GPUs, and builds engines for them
where there is none. Both have the same interface; what is left of differences is told here.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pix2pix_batch.errors import InputError

PACKAGES = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
"""The modules, best first, and the extra of this package that installs each."""

OLDEST = (10, 12)
"""``tensorrt`` before 10.12 has no strongly typed networks that behave as later ones do."""


@dataclass(frozen=True)
class Library:
    """One of the packages. ``version``: its own, in full."""

    name: str
    version: str
    trt: ModuleType

    def listen(self) -> Errors:
        return Errors(self.trt)

    @property
    def keeps_timings(self) -> bool:
        """TensorRT-RTX measures nothing when it builds; its timing caches are empty."""
        return self.name == "tensorrt"

    def network(self, builder: Any) -> Any:
        """A strongly typed network: the only kind from 11 on, a flag before."""
        flags = getattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flags is None else 1 << int(flags))

    def targets(self) -> list[str]:
        """What can be built for without the GPU being here: ``sm75`` and so on."""
        capabilities = getattr(self.trt, "ComputeCapability", None)
        names = getattr(capabilities, "__members__", {})
        return sorted(
            (name.lower() for name in names if name.startswith("SM")),
            key=lambda name: int(name.removeprefix("sm")),
        )

    def require(self, target: str) -> None:
        """Raises :class:`InputError` where ``target`` is none that can be built for."""
        known = self.targets()
        if target not in known:
            listed = (
                f"builds for {', '.join(known)}"
                if known
                else "builds for the GPU that is here only; use --library tensorrt_rtx"
            )
            raise InputError(f"target {target!r}: {self.name} {self.version} {listed}")

    def aim(self, config: Any, target: str) -> None:
        """Build for ``target`` instead of the GPU that is here. Raises :class:`InputError`."""
        self.require(target)
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(self.trt.ComputeCapability, target.upper()), 0)


class Errors:
    """Keeps what TensorRT says instead of printing it. Must outlive what it is given to."""

    def __init__(self, trt: Any) -> None:
        told: list[str] = []
        serious = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

        class Keeper(trt.ILogger):
            def __init__(self) -> None:
                super().__init__()

            def log(self, severity: Any, message: str) -> None:
                if severity in serious:
                    told.append(" ".join(message.split()))

        self.told = told
        self.logger = Keeper()

    def __str__(self) -> str:
        """The first words, which name the cause; what follows is its echo."""
        return self.told[0][:300] if self.told else "it gives no reason"


class Missing(InputError):
    """A package that is not here. ``reason``: why, without the command that installs it."""

    def __init__(self, name: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{name}: {reason}; pip install 'pix2pix-batch[{PACKAGES[name]}]'")


def load(name: str) -> Library:
    """One of :data:`PACKAGES`. Raises :class:`Missing`."""
    try:
        module = importlib.import_module(name)
        version = str(module.__version__)
        module.Builder  # noqa: B018  its libraries may be missing though the module is there
    except ModuleNotFoundError as error:
        if error.name != name:  # something that it needs
            raise Missing(name, f"cannot be loaded ({error})") from error
        raise Missing(name, "not installed") from error
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Missing(name, f"cannot be loaded ({reason})") from error
    parts = tuple(int(part) for part in version.split(".")[:2])
    if name == "tensorrt" and parts < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Missing(name, f"{version} is too old, {oldest} or later is needed")
    return Library(name, version, module)


def available() -> tuple[list[Library], list[str]]:
    """Those that are here, best first, and why the others are not."""
    found, reasons = [], []
    for name in PACKAGES:
        try:
            found.append(load(name))
        except InputError as error:
            reasons.append(str(error))
    return found, reasons
