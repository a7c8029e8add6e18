"""What is odd among the images made: near-duplicates of others, and how much variants differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from pix2pix_batch.imaging.composite import to_eight_bits
from pix2pix_batch.imaging.decoding.opening import open_quietly
from pix2pix_batch.imaging.raster.reading import open_raster
from pix2pix_batch.value_ranges import ValueRange

BITS = 64
NEAR = 3
"""Bits of 64 by which the perceptual hashes of near-duplicates differ at most."""

MEASURED = 500
"""Inputs whose variants are compared with each other, evenly spread over all."""


def near_duplicates(looks: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Names whose look is that of an earlier one, and which; ``looks``: names with 64-bit hashes,
    hex.

    Two hashes that differ in at most :data:`NEAR` bits are equal in one of ``NEAR + 1`` parts of
    their bits, so that only those are compared that share a part.
    """
    parts = np.linspace(0, BITS, NEAR + 2).astype(int).tolist()
    kept: list[dict[int, list[tuple[str, int]]]] = [defaultdict(list) for _ in parts[1:]]
    found: dict[str, str] = {}
    for name, text in looks:
        look = int(text, 16)
        keys = [look >> low & (1 << high - low) - 1 for low, high in pairwise(parts)]
        near = (
            other
            for table, key in zip(kept, keys, strict=True)
            for other, one in table[key]
            if (one ^ look).bit_count() <= NEAR
        )
        if (other := next(near, None)) is not None:
            found[name] = other
            continue
        for table, key in zip(kept, keys, strict=True):
            table[key].append((name, look))
    return found


def diversity(
    inputs: Iterable[Sequence[Path]], side: ValueRange | None = None, *, right_half: bool = False
) -> float | None:
    """How much the variants of an input differ: the mean absolute difference of their pixels, of
    255 of each band's range, over all pairs, and over the inputs. ``None`` where no input has two.

    ``inputs``: of each, its variants' files; ``side``: what their samples mean, where they may be
    rasters; ``right_half``: which hold the output there. Raises ``OSError``, :class:`ImageError`.
    """
    means = []
    for paths in inputs:
        images = [_pixels(path, right_half, side) for path in paths]
        if pairs := [float(np.abs(a - b).mean()) for a, b in combinations(images, 2)]:
            means.append(sum(pairs) / len(pairs))
    return sum(means) / len(means) if means else None


def _pixels(path: Path, right_half: bool, side: ValueRange | None) -> np.ndarray:
    if side is not None and not side.is_picture:
        with open_raster(str(path), path.name, side) as raster:
            pixels, _ = raster.read(0, 0, raster.height, raster.width)
        return to_eight_bits(pixels, side).astype(np.int16)
    with open_quietly(path) as image:
        # In 16 bits, since differences of uint8 wrap around.
        pixels = np.asarray(image).astype(np.int16)
    return pixels[:, pixels.shape[1] // 2 :] if right_half else pixels
