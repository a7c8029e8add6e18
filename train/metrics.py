"""How close and how sharp a generator's images are."""

from __future__ import annotations

import numpy as np

GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma, as Pillow's "L"


def mean_absolute_error(output: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference of two ``uint8`` arrays, 0..255."""
    return float(np.abs(output.astype(np.int16) - target.astype(np.int16)).mean())


def vertical_gradient(image: np.ndarray) -> float:
    """Mean absolute vertical gradient of the grey values of ``uint8 (..., H, W, 3)``."""
    return float(np.abs(np.diff(image @ GREY, axis=-2)).mean())


def sharpness(output: np.ndarray, target: np.ndarray) -> float:
    """The output's mean vertical gradient over the target's; 1 is as sharp as the truth."""
    return vertical_gradient(output) / vertical_gradient(target)
