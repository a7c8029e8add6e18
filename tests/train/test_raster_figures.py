"""Figures in the output's units, band by band, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pix2pix_batch.errors import ImageError
from pix2pix_batch.train.figures import Sample
from pix2pix_batch.train.metrics import map_similarity
from pix2pix_batch.train.raster_figures import measure, spectral_angles
from pix2pix_batch.value_ranges import BandRange, ValueRange

ELEVATION = ValueRange("float32", (BandRange(-400, 8800, name="m"),))
BANDS = ValueRange("uint16", (BandRange(0, 10_000), BandRange(0, 40_000)))
RANDOM = np.random.default_rng(0)


def sample(output: np.ndarray, target: np.ndarray, valid: np.ndarray | None = None) -> Sample:
    return Sample("one", np.zeros((*target.shape[:2], 1), np.uint8), output, target, valid)


def test_a_constant_offset_in_metres() -> None:
    target = RANDOM.uniform(0, 8000, (16, 16, 1)).astype(np.float32)
    figures = measure(sample(target + 92, target), ELEVATION).figures()
    assert figures["mae"] == pytest.approx(92, rel=1e-4)
    assert figures["rmse"] == pytest.approx(92, rel=1e-4)
    assert figures["psnr"] == pytest.approx(40, abs=1e-3), "92 m are 1 of 100 of the range"
    assert "spectral_angle" not in figures


def test_what_has_no_data_does_not_count() -> None:
    target = RANDOM.integers(0, 9000, (20, 20, 2)).astype(np.uint16)
    output, valid = target.copy(), np.ones((20, 20), bool)
    valid[:7] = False
    output[:7] = 60_000
    sums = measure(sample(output, target, valid), BANDS)
    assert sums.count == 13 * 20
    figures = sums.figures()
    assert (figures["mae"], figures["rmse"], figures["psnr"]) == (0, 0, math.inf)
    assert figures["ssim"] == pytest.approx(1)
    assert figures["spectral_angle"] == pytest.approx(0, abs=1e-5)
    with pytest.raises(ImageError, match="one: no pixel"):
        measure(sample(output, target, np.zeros((20, 20), bool)), BANDS)


def test_each_band_has_its_own_units_and_range() -> None:
    target = np.full((12, 12, 2), 1000, np.uint16)
    output = target + np.array([100, 400], np.uint16)
    sums = measure(sample(output, target), BANDS)
    first, second = sums.by_band()
    assert (first["mae"], second["mae"]) == (100, 400)
    assert first["psnr"] == second["psnr"] == pytest.approx(40)
    # both signs: their mean square is what counts
    output = np.where(np.indices((12, 12)).sum(axis=0)[:, :, None] % 2, target + 3, target - 5)
    sums = measure(sample(output.astype(np.uint16), target), BANDS)
    assert sums.figures()["mae"] == 4 and sums.figures()["rmse"] == pytest.approx(math.sqrt(17))


def test_logarithmic_bands_are_compared_in_decibels_of_their_range() -> None:
    side = ValueRange("float32", (BandRange(1e-4, 1, "log"),))
    target = np.full((12, 12, 1), 0.01, np.float32)
    figures = measure(sample(target * 10, target), side).figures()
    assert figures["mae"] == pytest.approx(0.09)
    assert figures["psnr"] == pytest.approx(20 * math.log10(4)), "one magnitude of four"


def test_spectral_angles_are_those_between_vectors() -> None:
    one = np.array([[1.0, 0, 0], [1, 1, 0], [2, 2, 2], [0, 0, 0], [0, 0, 0], [3, 4, 0]])
    other = np.array([[0, 1.0, 0], [1, 0, 0], [5, 5, 5], [0, 0, 0], [1, 0, 0], [3, 4, 5]])
    expected = [90, 45, 0, 0, 90, math.degrees(math.acos(25 / (5 * math.sqrt(50))))]
    assert spectral_angles(one, other) == pytest.approx(expected, abs=1e-5)


def test_similarity_is_wangs() -> None:
    """Window by window from the definition, the windows' weights from scipy."""
    from scipy.signal.windows import gaussian

    a, b = RANDOM.random((17, 19, 1)), RANDOM.random((17, 19, 1))
    window = np.outer(gaussian(11, 1.5), gaussian(11, 1.5))
    window /= window.sum()
    found = map_similarity(a, b)
    wide = [np.pad(image[:, :, 0], 5, mode="reflect") for image in (a, b)]
    for y, x in ((0, 0), (8, 9), (16, 3), (5, 18)):
        p, q = (image[y : y + 11, x : x + 11] for image in wide)
        mean_p, mean_q = (window * p).sum(), (window * q).sum()
        spread_p = (window * (p - mean_p) ** 2).sum()
        spread_q = (window * (q - mean_q) ** 2).sum()
        shared = (window * (p - mean_p) * (q - mean_q)).sum()
        expected = (2 * mean_p * mean_q + 1e-4) * (2 * shared + 9e-4)
        expected /= (mean_p**2 + mean_q**2 + 1e-4) * (spread_p + spread_q + 9e-4)
        assert found[y, x, 0] == pytest.approx(expected, abs=3e-5), "float32 and its small spreads"


@pytest.mark.parametrize("shape", [(1, 1, 2), (5, 30, 1), (6, 6, 3)])
def test_similarity_of_small_images(shape: tuple[int, int, int]) -> None:
    """Of fewer pixels than a window reaches over, too."""
    image = RANDOM.random(shape)
    assert map_similarity(image, image) == pytest.approx(np.ones(shape))
    assert map_similarity(image, 1 - image).shape == shape
