"""JPEG files that are Pillow's byte for byte, made in less time where imagecodecs is installed.

Pillow first copies the pixels into an image of its own, and most of the time that it takes beside
libjpeg's holds the interpreter's lock; imagecodecs hands the pixels to libjpeg as they are. But
builds of libjpeg differ, and some transform otherwise. So what imagecodecs makes counts only once
a few samples came out as Pillow makes them.
"""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

LARGEST = 65_500
"""Pixels of a side: libjpeg's own bound (``JPEG_MAX_DIMENSION``), of which Pillow is to tell."""

SAMPLES = ((48, 64), (17, 31))
"""Height and width of what is encoded both ways; the second in blocks that are not full."""

USUAL = (90, 50)
"""Qualities that are tried beside the one asked for, at which two transforms could hide behind
coarse steps."""


def encode(pixels: np.ndarray, quality: int) -> bytes | None:
    """The JPEG file of ``uint8 (H, W, C)``, as Pillow saves it with ``quality``, 1 to 100.

    ``None`` where Pillow is to make it: imagecodecs is not here or encodes otherwise, or it is
    neither grey nor RGB.
    """
    height, width, channels = pixels.shape
    if channels not in (1, 3) or not 0 < min(height, width) <= max(height, width) <= LARGEST:
        return None
    if not is_pillows(quality):
        return None
    return _encode(pixels, quality)


@cache
def is_pillows(quality: int) -> bool:
    """Whether imagecodecs is here and its files are Pillow's, byte for byte."""
    random = np.random.default_rng(0)
    try:
        for height, width in SAMPLES:
            noise = random.integers(0, 256, (height, width, 3), np.uint8)
            for sample in (noise, noise[:, :, :1]):
                for value in (quality, *USUAL):
                    if _encode(sample, value) != _encode_by_pillow(sample, value):
                        return False
    except Exception:  # not installed, or without this codec, or another interface
        return False
    return True


def _encode(pixels: np.ndarray, quality: int) -> bytes:
    import imagecodecs

    height, width, channels = pixels.shape
    if pixels.strides != (width * channels, channels, 1):  # a side of one pixel has any stride
        pixels = pixels.copy()
    if channels == 1:
        return bytes(imagecodecs.jpeg8_encode(pixels.reshape(height, width), level=quality))
    how: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "YCBCR", "subsampling": "420"}
    return bytes(imagecodecs.jpeg8_encode(pixels, level=quality, **how))


def _encode_by_pillow(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(flat).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
