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
    filled = gaps.apply(pixels, valid)
    if gaps.has_mask and valid is not None:
        filled = filled.copy()
        filled[~valid] = [low for low, _ in extras.limits] or 0
    buffer = io.BytesIO()
    np.save(buffer, filled[:, :, 0] if filled.shape[2] == 1 else filled, allow_pickle=False)
    return buffer.getvalue()
