"""The noise z of pix2pix: dropout masks, made from a name instead of a mood.

The paper gives noise "only in the form of dropout, applied on several layers of our generator
at both training and test time" (section 2.1). A mask here depends on nothing but its key, so
it is the same in any batch, on any worker, in any order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np


def noise_key(seed: int, content: bytes, tile: int = 0) -> bytes:
    """The key of one tile's masks: from the seed, the image's content hash, the tile's number."""
    text = f"{seed}:{tile}:".encode() + content
    return hashlib.blake2b(text, digest_size=16).digest()


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
