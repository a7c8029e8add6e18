"""What decides whether an engine can be used, and names its files in the cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 2
"""Grows whenever an older engine or sidecar would be read wrongly. 2: fp32 without TF32."""


# Each field is one thing that decides a compiled engine; together they are its name.
@dataclass(frozen=True)
class Key:
    """All that decides whether a compiled engine can be used, and what it computes.

    ``bundle``, ``graph`` and ``package`` stand for the hash of the ONNX file, which is made of
    nothing else: an engine has to be found without exporting the model again.
    """

    bundle: str
    """SHA-256 of the bundle's bytes, in hexadecimal."""
    graph: int
    """The schema of the ONNX export (:data:`pix2pix_batch.engines.export.SCHEMA`)."""
    package: str
    """The version of this package."""
    library: str
    """The TensorRT package: ``tensorrt`` or ``tensorrt_rtx``."""
    version: str
    """The version of that package."""
    capability: str
    """The GPU's compute capability, such as ``sm89``."""
    gpu: str = ""
    """The name of the GPU that the engine was built on (:class:`~pix2pix_batch.engines.gpu.Gpu`);
    empty, as ``driver`` and ``cuda``, if it was built for all GPUs of ``capability``."""
    driver: str = ""
    cuda: str = ""
    precision: str = "fp16"
    batch_size: int = 1
    """Images of a batch, always as many."""
    size: int = 256
    """Height and width of the images, in pixels."""
    noise: bool = False
    """Whether the engine has inputs for dropout masks."""
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def digest(self) -> str:
        """The engine's id, which names its files: of the key's SHA-256, 32 hex digits."""
        text = json.dumps(self.as_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def purpose(self) -> tuple[object, ...]:
        """What was asked for, in which two engines are alike that one can stand for the other."""
        return (
            self.bundle, self.library, self.capability, self.precision, self.batch_size,
            self.size, self.noise,
        )  # fmt: skip


def list_differences(old: Key, new: Key) -> str:
    """Say where two keys differ, such as ``version was 1.6, is 1.7``."""
    before, after = old.as_dict(), new.as_dict()
    return ", ".join(
        f"{name} was {before[name] or 'any'}, is {after[name] or 'any'}"
        for name in after
        if before[name] != after[name]
    )
