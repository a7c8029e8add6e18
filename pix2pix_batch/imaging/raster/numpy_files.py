"""Rasters as NumPy's own files, ``.npy``."""

from __future__ import annotations

import io

import numpy as np

from pix2pix_batch.imaging.raster.profile import RasterExtras
from pix2pix_batch.imaging.raster.writing import GapFiller


def encode(pixels: np.ndarray, valid: np.ndarray | None, extras: RasterExtras) -> bytes:
    """``(H, W, C)``, or ``(H, W)`` of one band. Such a file has no mask: where ``valid`` says that
    there is no data, whole numbers without a value for that get the least of their band."""
    gaps = GapFiller(pixels.dtype, extras)
    made = gaps.apply(pixels, valid)
    if gaps.has_mask and valid is not None:
        made = made.copy()
        made[~valid] = [low for low, _ in extras.limits] or 0
    buffer = io.BytesIO()
    np.save(buffer, made[:, :, 0] if made.shape[2] == 1 else made, allow_pickle=False)
    return buffer.getvalue()
