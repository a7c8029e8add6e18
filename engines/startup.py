"""How soon a CPU worker is ready: from the start of its process to its first batch.

There is nothing to compile before and nothing to keep: oneDNN packs the weights and makes its code
in each process anew, in a small part of the time that importing PyTorch takes
(``benchmarks/engines.py`` measures both).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pix2pix_batch
from pix2pix_batch import bundle
from pix2pix_batch.errors import EngineError


@dataclass(frozen=True)
class Startup:
    """Seconds: from the process's start until Dask and PyTorch were ``imported``, then for
    opening the engine (``opened``: the model read, its weights packed), then for its
    ``first_batch``."""

    imported: float
    opened: float
    first_batch: float

    @property
    def seconds(self) -> float:
        return self.imported + self.opened + self.first_batch

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s from the start of a worker's process to its first batch "
            f"(Dask and PyTorch {self.imported:.1f}, model {self.opened:.1f}, "
            f"batch {self.first_batch:.1f})"
        )


def measure(model: Path, *, size: int, batch_size: int, precision: str) -> Startup:
    """Measure in a fresh process how soon a CPU worker is ready.

    Args:
        model: The bundle.
        size: The images' side in pixels.
        batch_size: Images of the first batch.
        precision: ``fp32`` or ``bf16``.

    Raises:
        EngineError: The process cannot run the model.
    """
    root = str(Path(pix2pix_batch.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    words = [str(model), bundle.fingerprint(model), str(size), str(batch_size), precision]
    ran = subprocess.run(
        [sys.executable, "-m", "pix2pix_batch.engines.startup", str(time.monotonic()), *words],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last_line = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
        raise EngineError(f"{model}: a worker's process cannot run it: {last_line}")
    return Startup(**json.loads(ran.stdout))


def run_as_worker(
    begun: float, model: str, fingerprint: str, size: int, batch_size: int, precision: str
) -> Startup:
    """Import what a Dask worker imports, open the engine as it does, and run one batch.

    Args:
        begun: When the process was started, in seconds of the system's monotonic clock, which all
            processes share.
        model: The path of the bundle.
        fingerprint: Its SHA-256, in hexadecimal.
        size: The images' side in pixels.
        batch_size: Images of the batch.
        precision: ``fp32`` or ``bf16``.
    """
    import distributed  # noqa: F401
    import numpy as np
    import torch  # noqa: F401

    from pix2pix_batch.execution import worker  # noqa: F401
    from pix2pix_batch.inference.engine_cache import open_engine

    imported = time.monotonic()
    engine = open_engine(model, fingerprint, size, batch_size, "cpu", precision)
    opened = time.monotonic()
    side = bundle.read_info(Path(model)).ranges.input
    engine(np.zeros((batch_size, size, size, side.channels), side.dtype))
    return Startup(imported - begun, opened - imported, time.monotonic() - opened)


def main() -> None:
    begun, model, fingerprint, size, batch_size, precision = sys.argv[1:]
    started = run_as_worker(float(begun), model, fingerprint, int(size), int(batch_size), precision)
    print(json.dumps(asdict(started)))


if __name__ == "__main__":
    main()
