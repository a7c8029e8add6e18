"""Rasters as NumPy's own files, ``.npy``."""

from __future__ import annotations

import io

import numpy as np

from pix2pix_batch.imaging.raster.profile import RasterExtras
from pix2pix_batch.imaging.raster.writing import GapFiller


def encode(pixels: np.ndarray, valid: np.ndarray | None, extras: RasterExtras) -> bytes:
    """Encode a raster as a ``.npy`` file.

    Args:
        pixels: ``(H, W, C)``. A single band is written as ``(H, W)``.
        valid: ``bool (H, W)``, where there is data; ``None`` for everywhere. The file has no mask:
            integers for which no value stands for no data get the least of their band's range
            there.
        extras: What the raster says beside the pixels.
    """
    gaps = GapFiller(pixels.dtype, extras)
    made = gaps.apply(pixels, valid)
    if gaps.has_mask and valid is not None:
        made = made.copy()
        made[~valid] = [low for low, _ in extras.limits] or 0
    buffer = io.BytesIO()
    np.save(buffer, made[:, :, 0] if made.shape[2] == 1 else made, allow_pickle=False)
    return buffer.getvalue()
