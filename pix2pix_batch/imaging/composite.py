"""Rasters as pictures for people: three bands as red, green and blue, or one in colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pix2pix_batch.value_ranges import ValueRange

VIRIDIS = (
    (68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129),
    (92, 200, 99), (170, 220, 50), (253, 231, 37),
)  # fmt: skip
"""Of matplotlib's colour map, every 32nd colour and the last; between them it is linear."""

NOTHING = (128, 128, 128)
"""Where there is no data."""


def choose_shown(side: ValueRange, bands: Sequence[int] | None = None) -> tuple[int, ...]:
    """The indices of the bands that are shown: three for red, green and blue, or one.

    ``bands``: those that are wanted. Else bands called red, green and blue, or the first three; of
    two bands, as radar has them, the first is red and blue and the second green.
    """
    if bands is not None:
        return tuple(bands)
    names = [name.lower() for name in side.names]
    for wanted in (("red", "green", "blue"), ("b4", "b3", "b2"), ("b04", "b03", "b02")):
        if set(wanted) <= set(names):
            return tuple(names.index(name) for name in wanted)
    return {1: (0,), 2: (0, 1, 0)}.get(side.channels, (0, 1, 2))


def show(
    pixels: np.ndarray,
    side: ValueRange,
    bands: Sequence[int] | None = None,
    valid: np.ndarray | None = None,
) -> np.ndarray:
    """Draw a raster as a picture for people.

    Each band goes from black, or the beginning of the colour map, at its low to full colour at its
    high. Pictures stay as they are.

    Args:
        pixels: ``(H, W, C)`` of the type of ``side``.
        side: What the samples mean.
        bands: The bands that are shown, as in :func:`choose_shown`.
        valid: ``bool (H, W)``, where there is data; ``None`` for everywhere.

    Returns:
        ``uint8 (H, W, 3)``.
    """
    if bands is None and side.is_picture:
        return np.repeat(pixels, 3, axis=2) if side.channels == 1 else pixels[:, :, :3].copy()
    chosen = choose_shown(side, bands)
    part = ValueRange(side.dtype, tuple(replace(side.bands[k], name="") for k in chosen))
    shares = (part.to_levels(pixels[:, :, list(chosen)]) + 1) / 2
    drawn = colour(shares[:, :, 0]) if len(chosen) == 1 else np.rint(shares * 255).astype(np.uint8)
    if valid is not None:
        drawn[~valid] = NOTHING
    return drawn


def to_eight_bits(pixels: np.ndarray, side: ValueRange) -> np.ndarray:
    """Scale samples to ``uint8 (..., C)``: each band from 0 at its low to 255 at its high."""
    if side.is_eight_bit:
        return pixels
    return np.rint((side.to_levels(pixels) + 1) * 127.5).astype(np.uint8)


def colour(shares: np.ndarray) -> np.ndarray:
    """Give shares from 0 to 1 the colours of the map, ``uint8 (..., 3)``."""
    places = np.linspace(0, 1, len(VIRIDIS))
    planes = [np.interp(shares, places, plane) for plane in np.array(VIRIDIS, float).T]
    return np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
