"""The CPU's engine, looked at before it is needed: nothing of it is compiled or kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from pix2pix_batch import bundle
from pix2pix_batch.engines import parity_check, startup
from pix2pix_batch.engines.parity_check import Parity
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import EngineError
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.engine import TorchEngine


def precision() -> str:
    """What ``convert`` runs on this CPU, where it is close enough to fp32."""
    fast = onednn.bf16_is_fast() and onednn.available(torch.bfloat16)
    return "bf16" if fast else "fp32"


def check(spec: EngineSpec, images: np.ndarray, *, chosen: bool) -> Iterator[str]:
    """Tell what runs on this CPU, how close it is to fp32, and how soon it is ready.

    Args:
        spec: The model, precision, batch and size that are checked.
        images: ``(N, S, S, C)``, real inputs on which the engines are compared.
        chosen: Whether the user asked for the precision. If not, fp32 takes the place of a
            precision that is not close enough.

    Yields:
        A line for each finding.

    Raises:
        InputError: The model cannot be used.
        EngineError: A chosen precision is under :data:`pix2pix_batch.engines.parity_check.BAR`.
    """
    parity = compare(spec, images)
    if not parity.passes:
        if chosen or spec.precision == "fp32":
            raise EngineError(
                f"{spec.name} in {spec.precision} is {parity} (bar {parity_check.BAR:.0f})"
            )
        yield f"note: {spec.precision} is {parity} (bar {parity_check.BAR:.0f}), so fp32 runs"
        spec = replace(spec, precision="fp32")
        parity = compare(spec, images)
    name = f"{spec.name} for the CPU"
    yield f"{name}: PyTorch runs it in {spec.precision}; nothing to compile or to keep"
    yield f"{name}: {parity}"
    begun = startup.measure(
        spec.model, size=spec.size, batch_size=spec.batch_size, precision=spec.precision
    )
    yield f"{name}: {begun}"


def compare(spec: EngineSpec, images: np.ndarray) -> Parity:
    """The engine against the plain module in fp32, so that oneDNN's operators are checked too."""
    info, net = bundle.load(spec.model)
    engine = TorchEngine(
        net,
        size=spec.size,
        batch_size=spec.batch_size,
        precision=spec.precision,
        ranges=info.ranges,
    )
    plain = parity_check.reference_engine(spec)
    plain.run = net.translate
    masks = parity_check.masks_for(spec)
    return parity_check.compare(engine, plain, images, masks, info.ranges.output)
