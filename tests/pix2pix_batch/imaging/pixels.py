"""Pixels that tests of image files are made with, and how they are compared."""

from __future__ import annotations

import numpy as np


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def gradient(height: int = 40, width: int = 56) -> np.ndarray:
    """Smooth colours, which lossy formats keep well."""
    y, x = np.mgrid[0:height, 0:width]
    ramps = [40 + 3 * x, 60 + 4 * y, 230 - 2 * x - y]
    return np.stack(ramps, axis=2).astype(np.uint8)


def assert_close(ours: np.ndarray, expected: np.ndarray, levels: float) -> None:
    assert ours.shape == expected.shape
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(np.float64) - expected).max() <= levels
