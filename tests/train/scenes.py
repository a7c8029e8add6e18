"""Pairs as people have them: labels of a scene, and a picture of it, both made of one plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64
PALETTE = np.random.default_rng(7).integers(0, 256, (8, 3)).astype(np.uint8)


def plan(seed: int, side: int = SIDE) -> np.ndarray:
    """``uint8 (side, side)``: a class, 0 to 7, for each pixel; rectangles over each other."""
    random = np.random.default_rng(seed)
    classes = np.zeros((side, side), np.uint8)
    for _ in range(14):
        y, x = random.integers(0, side, 2)
        height, width = random.integers(side // 8, side // 2, 2)
        classes[y : y + height, x : x + width] = random.integers(0, 8)
    return classes


def labels(seed: int) -> np.ndarray:
    """Each class in a colour of its own."""
    return PALETTE[plan(seed)]


def photo(seed: int) -> np.ndarray:
    """Other colours, light from one side, and grain."""
    random = np.random.default_rng(1000 + seed)
    colours = PALETTE[::-1].astype(float)[plan(seed)]
    light = np.linspace(0.5, 1, SIDE)[None, :, None]
    return np.clip(colours * light + random.normal(0, 8, colours.shape), 0, 255).astype(np.uint8)


def save(image: np.ndarray | Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(path)


def lay(
    data: Path,
    a: str,
    b: str,
    count: int = 12,
    first: Callable[[int], np.ndarray] = labels,
    second: Callable[[int], np.ndarray] = photo,
) -> Path:
    """``a``, ``b``: the files' paths in ``data``, with ``{i}``."""
    for i in range(count):
        save(first(i), data / a.format(i=i))
        save(second(i), data / b.format(i=i))
    return data


def lay_whole(data: Path, make: Callable[[int], np.ndarray], count: int = 12) -> Path:
    """One file a pair."""
    for i in range(count):
        save(make(i), data / f"{i}.png")
    return data
