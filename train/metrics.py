"""How close and how sharp a generator's images are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma, as Pillow's "L"


def mean_absolute_error(output: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference of two ``uint8`` arrays, 0..255."""
    return float(np.abs(output.astype(np.int16) - target.astype(np.int16)).mean())


def to_grey(image: np.ndarray) -> np.ndarray:
    """The luma of images, ``uint8 (..., H, W, C)``, as ``float64 (..., H, W)`` from 0 to 255. The
    last of 4 channels is alpha and does not count."""
    return image[..., 0].astype(float) if image.shape[-1] == 1 else image[..., :3] @ GREY


def vertical_gradient(image: np.ndarray) -> float:
    """Mean absolute vertical gradient of the grey values of ``uint8 (..., H, W, C)``."""
    return float(np.abs(np.diff(to_grey(image), axis=-2)).mean())


def mean_colour_error(target: np.ndarray) -> float:
    """The error of an image of the target's own mean colour, 0..255: ``uint8 (H, W, C)``."""
    return float(np.abs(target - target.mean(axis=(0, 1)).round()).mean())


BRIGHT = 128
"""Grey values above it are bright."""


def bright_share(image: np.ndarray) -> float:
    """The share of pixels whose grey value is above :data:`BRIGHT`."""
    return float((to_grey(image) > BRIGHT).mean())


PERIODS = (2, 4, 8)
"""Pixels after which a pattern repeats that a decoder's last three doublings can draw."""


def grid_energies(image: np.ndarray) -> np.ndarray:
    """The energy of patterns that repeat after 2, 4 and 8 pixels, ``float64 (3,)``, in squared
    grey values, of ``uint8 (H, W, C)``.

    The power spectrum of the grey values under a Hann window, at the frequencies whose two
    components are multiples of 1/8 a pixel, each counted for the least period that has it: 3 for
    2 pixels (1/2 along one axis or both), 12 for 4, 48 for 8. Upsampling by doubling repeats
    itself at these and only these. Without the window, edges between opposite borders would be
    there too. What does not fill 8 pixels at the right and at the bottom is left out.
    """
    grey = to_grey(image)
    longest = PERIODS[-1]
    height, width = (side // longest * longest for side in grey.shape)
    if not height or not width:
        return np.zeros(len(PERIODS))
    grey = grey[:height, :width] - grey[:height, :width].mean()
    window = np.outer(*(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n) for n in grey.shape))
    spectrum = np.fft.fft2(grey * window)[:: height // longest, :: width // longest]
    power = np.square(np.abs(spectrum)) / np.square(window).sum()
    least = longest // np.gcd(np.arange(longest), longest)
    period = np.maximum.outer(least, least)
    return np.array([power[period == p].sum() for p in PERIODS])


def ratio(value: float, truth: float) -> float:
    """1 where both are zero, infinite where the truth alone is."""
    if truth == 0:
        return 1.0 if value == 0 else math.inf
    return value / truth


def finite(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    """Figures for JSON, which has no infinities: ``None``, as for the PSNR of equal images."""
    return {
        key: float(value) if value is not None and math.isfinite(value) else None
        for key, value in figures.items()
    }


def ssim(output: np.ndarray, target: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004) of ``uint8 (H, W, C)``: 11x11 Gaussian windows of
    sigma 1.5, edges mirrored, the mean over pixels and channels."""
    return float(_compare(_unit(output), _unit(target))[0])


def map_similarity(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The structural similarity at each pixel of each band, ``float32 (H, W, C)``, of levels
    ``(H, W, C)`` from 0 to 1: windows and edges as of :func:`ssim`."""
    import torch

    height, width = output.shape[:2]
    # a mirror that shows no edge twice, which torchmetrics makes, needs more than it reaches over
    wide = WINDOW_RADIUS if min(height, width) <= WINDOW_RADIUS else 0
    borders = ((0, 0), (0, 0), (wide, wide), (wide, wide))
    images = (image.transpose(2, 0, 1)[None].astype(np.float32) for image in (output, target))
    pair = (torch.from_numpy(np.pad(image, borders, mode="symmetric")) for image in images)
    similarity = _compare(*pair)[1][0].numpy().transpose(1, 2, 0)
    return similarity[wide : wide + height, wide : wide + width]


WINDOW_RADIUS = 5
"""Pixels that a window of SSIM reaches to each side (Wang et al. 2004)."""


def _compare(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM of ``float32 (1, C, H, W)`` in [0, 1], edges mirrored: the mean over all pixels, and
    the value of each pixel."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(
        output, target, data_range=1.0, return_full_image=True
    )
    assert isinstance(similarity, tuple)
    return similarity


MS_SSIM_SIDE = 176
"""The least side for MS-SSIM: 11 pixels, a window, after four halvings."""


def ms_ssim(output: np.ndarray, target: np.ndarray) -> float:
    """Multi-scale structural similarity (Wang et al. 2003), five scales with their weights.

    Sides must be at least :data:`MS_SSIM_SIDE`.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    return float(
        multiscale_structural_similarity_index_measure(_unit(output), _unit(target), data_range=1.0)
    )


def _unit(image: np.ndarray) -> Tensor:
    """``uint8 (H, W, C)`` as ``float32 (1, C, H, W)`` in [0, 1].

    float64, for which the CPU has no fast convolution, would take forty times as long. It would
    change SSIM by 1e-5, and by 1e-3 where all is bright and flat.
    """
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1)[None] / np.float32(255))


def nearest_class(image: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The class of each pixel, ``intp (H, W)``, of ``uint8 (H, W, 3)``: that of the nearest of
    ``colours``, ``uint8 (K, 3)``, by squared RGB distance; of equals the first."""
    best = np.zeros(image.shape[:2], np.intp)
    least = np.full(image.shape[:2], np.iinfo(np.int32).max, np.int32)
    for index, colour in enumerate(colours.astype(np.int32)):
        distance = np.square(image - colour).sum(axis=2)
        closer = distance < least
        best[closer], least[closer] = index, distance[closer]
    return best


def confusion(output: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels by their true and their found class.

    Args:
        output: ``(H, W)``, the classes of the output, from 0.
        target: ``(H, W)``, the true classes.
        classes: The number K of classes.

    Returns:
        ``int64 (K, K)``: a row for each class of the target, a column for each of the output.
    """
    pairs = np.bincount((target * classes + output).ravel(), minlength=classes * classes)
    return pairs.reshape(classes, classes)


@dataclass(frozen=True)
class LabelFigures:
    """The paper's figures for photos to labels ("Semantic segmentation", section 4), 0 to 1.

    ``accuracies`` and ``ious`` are each class's; NaN where no target has the class. The means
    leave these classes out.
    """

    pixel_accuracy: float
    accuracies: np.ndarray
    ious: np.ndarray

    @classmethod
    def of(cls, confusion: np.ndarray) -> LabelFigures:
        hits, there = np.diag(confusion).astype(float), confusion.sum(axis=1)
        either = there + confusion.sum(axis=0) - hits
        absent = there == 0
        accuracies, ious = hits / np.where(absent, 1, there), hits / np.where(absent, 1, either)
        accuracies[absent] = ious[absent] = np.nan
        return cls(float(hits.sum() / confusion.sum()), accuracies, ious)

    @property
    def class_accuracy(self) -> float:
        return float(np.nanmean(self.accuracies))

    @property
    def class_iou(self) -> float:
        return float(np.nanmean(self.ious))
