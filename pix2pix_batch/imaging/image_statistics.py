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

LOOKED_AT = 1 << 12
"""Pixels that are looked at for this, of larger images at places that are spread evenly and have
no period, as patterns do."""

GOLDEN = 0.6180339887498949
"""The part of one by which each of these places lies after the one before, modulo one: multiples of
the golden ratio's fraction are spread most evenly (Knuth, The Art of Computer Programming, volume
3, section 6.4)."""

SIDE = 64
"""Pixels that the shorter side is first reduced to, for speed, before pHash makes it 32."""

HASHED = 32
"""Pixels a side that pHash looks at."""

FAINT = 1.0
"""Grey levels by which these deviate at least: of fewer the hash is that of rounding, and all
images of such fine textures would be alike."""


class Appearance(TypedDict):
    """What an image looks like, in short.

    Attributes:
        look: A hash of 64 bits in hexadecimal; empty if the image's content is too fine for one.
        flags: ``flat``, ``saturated``, both with a comma between, or nothing.
    """

    look: str
    flags: str


def measure_appearance(pixels: np.ndarray) -> Appearance:
    """Measure how an image, ``uint8 (H, W, C)``, looks. The hash is pHash (Zauner 2010): of the
    lowest frequencies of the grey picture, those above their median. If all colours have the same
    grey, it is that of the channel which deviates most."""
    import imagehash

    some = pixels.reshape(-1, pixels.shape[2])
    if len(some) > LOOKED_AT:
        places = np.arange(LOOKED_AT) * GOLDEN % 1 * len(some)
        some = some[places.astype(np.int64)]
    is_flat = bool(some.std(axis=0).max() < FLAT)
    seen = pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]
    if pixels.shape[2] >= 3 and not is_flat and (some[:, :3] @ GREY).std() < FLAT:
        seen = pixels[:, :, int(some[:, :3].std(axis=0).argmax())]
    image = Image.fromarray(np.ascontiguousarray(seen))
    image = image.reduce(max(1, min(image.size) // SIDE)).convert("L")
    small = image.resize((HASHED, HASHED), Image.Resampling.LANCZOS)
    look = str(imagehash.phash(small)) if np.asarray(small).std() >= FAINT else ""
    checks = (("flat", is_flat), ("saturated", _is_saturated(some)))
    return Appearance(look=look, flags=",".join(name for name, is_so in checks if is_so))


GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue in grey (ITU-R BT.601, as Pillow has it)."""


def _is_saturated(pixels: np.ndarray) -> bool:
    extreme = np.count_nonzero(pixels == 0) + np.count_nonzero(pixels == 255)
    return bool(extreme >= SATURATED * pixels.size)
