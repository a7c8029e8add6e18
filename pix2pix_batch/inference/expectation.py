"""Settling what a checkpoint's keys leave open by an image and what the network made of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pix2pix_batch import reference
from pix2pix_batch.errors import BundleError
from pix2pix_batch.imaging import images, tiling
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.inference.input_reading import read_picture

BAR = 8.0
"""Levels of 255 that the result may differ from the expected image on average. JPEG of low quality
costs about five, another norm more than that on any network that it matters to."""


class Settled(NamedTuple):
    """``values``: options of :func:`pix2pix_batch.reference.import_checkpoint`; ``levels``: what is
    left of a difference, the mean of 255."""

    values: Mapping[str, str]
    levels: float

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.values.items())
        return f"{told} ({self.levels:.2f} levels off)"


def settle(checkpoint: Path, source: Path, expected: Path, values: Mapping[str, Any]) -> Settled:
    """Find the norm and the order of channels with which a checkpoint makes an expected image.

    Args:
        checkpoint: The checkpoint's file.
        source: An input image, which is scaled to the size of the expected one.
        expected: What the network made of it.
        values: The options of the import; a norm and an order of channels among them stay.

    Returns:
        The choice that comes nearest, and how near.

    Raises:
        BundleError: No choice makes an image that is near enough.
        ImageError: An image cannot be read.
    """
    orders = ("bgr",) if values.get("channels") == "bgr" else ("rgb", "bgr")
    norms = [values["norm"]] if values.get("norm") else reference.list_norms(
        checkpoint, values.get("weights")
    )  # fmt: skip
    tried = [
        _try(checkpoint, source, expected, {**values, "norm": norm, "channels": order})
        for norm, order in itertools.product(norms, orders)
    ]
    best = min(filter(None, tried), key=lambda one: one.levels)
    if best.levels > BAR:
        raise BundleError(
            f"{checkpoint}: does not make {expected} of {source}: the nearest, with {best}, is "
            f"further than {BAR:.0f} levels from it; give what the network itself made, unscaled"
        )
    return best


def _try(
    checkpoint: Path, source: Path, expected: Path, values: Mapping[str, Any]
) -> Settled | None:
    """``None`` for another order than that of images without three channels."""
    settled = {"norm": values["norm"], "channels": values["channels"]}
    info, net = reference.import_checkpoint(checkpoint, **{**values, "channels": "rgb"})
    a = info.architecture
    if values["channels"] == "bgr":
        if (a.in_channels, a.out_channels) != (3, 3):
            return None
        reference.reverse_channels(checkpoint, net)
    expected_pixels = images.read(expected.read_bytes(), a.out_channels).pixels
    pixels = read_picture(source.read_bytes(), info).pixels.copy()  # which torch wants writable
    shape = expected_pixels.shape[:2]
    if info.labels is None:
        pixels = tiling.resize(pixels, shape)
    elif pixels.shape[:2] != shape:
        raise BundleError(f"{expected}: is of another size than {source}, and labels do not scale")
    if any(side % a.multiple or side < a.least_side for side in shape):
        raise BundleError(
            f"{expected}: is {shape[1]}x{shape[0]}; the network's images have sides that are "
            f"multiples of {a.multiple}, {a.least_side} at least: give one as it made it"
        )
    engine = TorchEngine(net, size=shape[0], batch_size=1) if shape[0] == shape[1] else None
    made = engine(pixels[None]).images if engine else _translate(net, pixels)
    return Settled(settled, float(np.abs(made[0].astype(np.float32) - expected_pixels).mean()))


def _translate(net: Any, pixels: np.ndarray) -> np.ndarray:
    """By the network itself: images that are not square."""
    import torch

    from pix2pix_batch.inference.engine import to_bytes

    with torch.inference_mode():
        x = torch.from_numpy(pixels[None]).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return to_bytes(net(x)).numpy()
