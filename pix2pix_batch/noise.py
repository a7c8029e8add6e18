"""The noise z of pix2pix: dropout masks, made from a name instead of a mood.

The paper gives noise "only in the form of dropout, applied on several layers of our generator
at both training and test time" (section 2.1). A mask here depends on nothing but its key, so
it is the same in any batch, on any worker, in any order. ``docs/synthesize.md`` measures what more
noise does: other rates, more blocks, noise on the input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

SOURCE = -1
"""In place of a variant's number: the input itself, as the generator is given it."""

RATE = 0.5  # section 6.1.1: "dropout rate of 50%"


def noise_key(seed: int, content: bytes, tile: int = 0, variant: int = 1) -> bytes:
    """The key of one tile's masks: from the seed, the image's content hash, the tile's number and
    the variant's, from 1 on; variant 0 has no noise."""
    text = f"{seed}:{tile}:".encode() + content
    salt = (variant - 1).to_bytes(16, "little")
    return hashlib.blake2b(text, digest_size=16, salt=salt).digest()


def dropout_masks(key: bytes, shapes: Sequence[tuple[int, int, int]]) -> list[np.ndarray]:
    """One ``bool`` array ``(C, H, W)`` a shape, true (kept) with probability 1/2.

    Philox is a counter-based generator (Salmon et al. 2011): equal keys give equal masks.
    """
    bits = np.random.Philox(key=int.from_bytes(key, "little"))
    masks = []
    for shape in shapes:
        count = int(np.prod(shape))
        raw = bits.random_raw((count + 63) // 64).astype("<u8")
        masks.append(np.unpackbits(raw.view(np.uint8), count=count).astype(bool).reshape(shape))
    return masks


def multipliers(
    key: bytes, shapes: Sequence[tuple[int, int, int]], rate: float = RATE
) -> list[np.ndarray]:
    """One ``float32`` array ``(C, H, W)`` a shape: 0 with probability ``rate``, else what makes up
    for it (inverted dropout). At :data:`RATE` they are :func:`dropout_masks`."""
    if rate == RATE:
        return [
            mask.astype(np.float32) / np.float32(1 - RATE) for mask in dropout_masks(key, shapes)
        ]
    bits = np.random.Philox(key=int.from_bytes(key, "little"))
    made = []
    for shape in shapes:
        count = int(np.prod(shape))
        raw = bits.random_raw((count + 3) // 4).astype("<u8").view("<u2")[:count]
        kept = raw >= round(rate * 65536)
        made.append((kept / np.float32(1 - rate)).astype(np.float32).reshape(shape))
    return made


def on_input(key: bytes, tile: np.ndarray, deviation: float) -> np.ndarray:
    """``tile``, ``uint8``, with noise of its own on each value, of that standard deviation.

    The noise is the sum of four random bytes, which is close to a normal distribution and, unlike
    one, the same in every version of NumPy.
    """
    # A key of its own, so that the input's noise does not go with the masks'.
    own = hashlib.blake2b(key, digest_size=16, person=b"input noise").digest()
    bits = np.random.Philox(key=int.from_bytes(own, "little"))
    raw = bits.random_raw((tile.size + 1) // 2).astype("<u8").view(np.uint8)[: 4 * tile.size]
    away = raw.reshape(-1, 4).sum(axis=1, dtype=np.int16).reshape(tile.shape) - FOUR_BYTES_MEAN
    noisy = tile + away * np.float32(deviation / FOUR_BYTES_DEVIATION)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


FOUR_BYTES_MEAN = 4 * 255 // 2
FOUR_BYTES_DEVIATION = (4 * (256**2 - 1) / 12) ** 0.5  # of four uniform numbers 0..255
