"""The bar below a sheet that says which colours stand for which values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pix2pix_batch.imaging.composite import choose_shown, colour
from pix2pix_batch.value_ranges import ValueRange, ValueRanges

Shown = tuple[tuple[int, ...] | None, tuple[int, ...] | None]
"""The bands that are shown of inputs and of outputs; ``None`` to have them chosen."""

HEIGHT, BAR, TEXT = 16, 8, 10
GAP = 4


class Scale(NamedTuple):
    """``colours``: ``uint8 (N, 3)``; ``labels``: of the first and of the last."""

    colours: np.ndarray
    labels: tuple[str, str]


def draw_scale(scale: Scale, width: int) -> np.ndarray:
    """``uint8 (HEIGHT, width, 3)``: the colours from left to right between their labels; alone
    where there is no room for these."""
    colours, labels = scale
    image = Image.new("RGB", (width, HEIGHT), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(TEXT)
    left, right = (int(font.getlength(text)) + 2 * GAP for text in labels)
    if left + right > width - 2 * BAR:
        left = right = 0
    else:
        draw.text((GAP, 1), labels[0], "black", font)
        draw.text((width - right + GAP, 1), labels[1], "black", font)
    bar = Image.fromarray(np.ascontiguousarray(colours[None])).resize((width - left - right, BAR))
    image.paste(bar, (left, (HEIGHT - BAR) // 2))
    return np.asarray(image)


def has_scale(side: ValueRange, bands: Sequence[int] | None = None) -> bool:
    """Whether a side is shown in a map's colours: one band, and no picture. ``bands``: as of
    :func:`pix2pix_batch.imaging.composite.choose_shown`."""
    if bands is None and side.is_picture:
        return False
    return len(choose_shown(side, bands)) == 1


def make_scale(word: str, side: ValueRange, bands: Sequence[int] | None = None) -> Scale:
    """Of such a side, which is called ``word``."""
    index = choose_shown(side, bands)[0]
    band = side.bands[index]
    name = band.name or (f"band {index + 1}" if side.channels > 1 else "")
    log = ", log" if band.scale == "log" else ""
    labels = f"{word} {name}".rstrip() + f": {band.low:.6g}", f"{band.high:.6g}{log}"
    return Scale(colour(np.linspace(0, 1, 256)), labels)


def list_scales(ranges: ValueRanges, shown: Shown = (None, None)) -> list[Scale]:
    """The scales of the sides that are shown in the colours of a map."""
    return [
        make_scale(word, side, bands)
        for word, side, bands in zip(("input", "output"), ranges, shown, strict=True)
        if has_scale(side, bands)
    ]
