"""What an output looks like: a perceptual hash of it, and whether it shows anything at all."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from PIL import Image

FLAT = 2.0
"""Grey levels, of 255: an image whose every channel deviates less from its mean shows nothing."""

SATURATED = 0.9
"""The share of an image's values that are black or white to the last level, from which on it
counts as saturated."""


STEP = 4
"""Of every so many rows and columns one is looked at for this."""

SIDE = 64
"""Pixels that the shorter side is first reduced to, for speed, before pHash makes it 32."""


class Appearance(TypedDict):
    """``look``: 64 bits, hex; ``flags``: ``flat``, ``saturated``, both with a comma, or nothing."""

    look: str
    flags: str


def measure_appearance(pixels: np.ndarray) -> Appearance:
    """Of ``uint8 (H, W, C)``. The hash is pHash (Zauner 2010): of the lowest frequencies of the
    grey picture, those above their median."""
    import imagehash

    seen = pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]
    image = Image.fromarray(np.ascontiguousarray(seen))
    look = str(imagehash.phash(image.reduce(max(1, min(image.size) // SIDE))))
    pixels = pixels[::STEP, ::STEP]
    flags = [
        name
        for name, found in (("flat", _flat(pixels)), ("saturated", _is_saturated(pixels)))
        if found
    ]
    return Appearance(look=look, flags=",".join(flags))


def _flat(pixels: np.ndarray) -> bool:
    return bool(pixels.reshape(-1, pixels.shape[2]).std(axis=0).max() < FLAT)


def _is_saturated(pixels: np.ndarray) -> bool:
    extreme = np.count_nonzero(pixels == 0) + np.count_nonzero(pixels == 255)
    return bool(extreme >= SATURATED * pixels.size)
