"""Figures of how outputs look: what repeats, brightness, error beside a plain colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.train import metrics
from pix2pix_batch.train.figures import Sample, compare_appearance, score


def noise(height: int, width: int, deviation: float = 20.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    grey = np.clip(random.normal(128, deviation, (height, width, 1)), 0, 255)
    return np.repeat(grey.round().astype(np.uint8), 3, axis=2)


def add_pattern(image: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """``tile``, small integers, repeated over the image."""
    times = [-(-side // n) for side, n in zip(image.shape[:2], tile.shape, strict=True)]
    pattern = np.tile(tile, times)[: image.shape[0], : image.shape[1], None]
    return (image.astype(int) + pattern).astype(np.uint8)


CHECKERBOARD = np.array([[4, -4], [-4, 4]])
STRIPES_OF_4 = np.array([[4, 4, -4, -4]])
SQUARES_OF_8 = np.kron(CHECKERBOARD, np.ones((4, 4), int))


def energies_by_sums(image: np.ndarray) -> list[float]:
    """Fourier sums written out, one frequency after the other; windows by NumPy's own."""
    grey = image.astype(float) @ [0.299, 0.587, 0.114]
    height, width = grey.shape
    window = np.hanning(height + 1)[:-1, None] * np.hanning(width + 1)[None, :-1]
    grey = (grey - grey.mean()) * window
    found = dict.fromkeys((2, 4, 8), 0.0)
    for i in range(8):
        for j in range(8):
            if i == j == 0:
                continue
            # the least period, of which both frequencies are multiples
            period = next(p for p in found if i * p % 8 == j * p % 8 == 0)
            down = np.exp(-2j * np.pi * i / 8 * np.arange(height))
            right = np.exp(-2j * np.pi * j / 8 * np.arange(width))
            found[period] += abs(down @ grey @ right) ** 2 / (window**2).sum()
    return list(found.values())


@pytest.mark.parametrize("shape", [(32, 32), (40, 64), (8, 8)])
def test_energies_are_fourier_sums_written_out(shape: tuple[int, int]) -> None:
    image = noise(*shape)
    assert metrics.grid_energies(image) == pytest.approx(energies_by_sums(image))


@pytest.mark.parametrize(
    ("tile", "place"), [(CHECKERBOARD, 0), (STRIPES_OF_4, 1), (SQUARES_OF_8, 2)], ids=str
)
def test_a_patterns_energy_is_known(tile: np.ndarray, place: int) -> None:
    """On a flat image: that of the pattern's variance, by the window's gain, all at its period.

    Under a Hann window, of which a period is a frequency's whole number of times, the energy of a
    sine is its power times ``sum(window)**2 / sum(window**2)``.
    """
    side = 64
    image = add_pattern(np.full((side, side, 3), 128, np.uint8), tile)
    window = np.outer(*[np.hanning(side + 1)[:-1]] * 2)
    expected = np.zeros(3)
    expected[place] = 4**2 * window.sum() ** 2 / (window**2).sum()
    assert metrics.grid_energies(image) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@given(height=st.integers(1, 40), width=st.integers(1, 40))
@settings(max_examples=30)
def test_what_does_not_fill_the_longest_period_is_left_out(height: int, width: int) -> None:
    image = noise(height, width)
    whole = image[: height // 8 * 8, : width // 8 * 8]
    assert metrics.grid_energies(image) == pytest.approx(metrics.grid_energies(whole))
    assert (metrics.grid_energies(image) > 0).all() == (min(height, width) >= 8)


def compare(outputs: list[np.ndarray], targets: list[np.ndarray]) -> dict[str, float]:
    pairs = zip(outputs, targets, strict=True)
    total = sum(score(Sample("", target, output, target)).appearance for output, target in pairs)
    assert isinstance(total, np.ndarray)
    return compare_appearance(total)


@pytest.mark.parametrize("tile", [CHECKERBOARD, STRIPES_OF_4, SQUARES_OF_8], ids=str)
def test_a_faint_pattern_in_noise_is_a_grid(tile: np.ndarray) -> None:
    """A fifth of the noise's deviation, which hardly changes the sharpness."""
    targets = [noise(128, 128, seed=seed) for seed in range(4)]
    figures = compare([add_pattern(image, tile) for image in targets], targets)
    assert figures["grid"] > 5 and figures["sharpness"] < 1.05
    assert compare(targets, targets)["grid"] == 1


def test_other_noise_of_the_same_kind_is_no_grid() -> None:
    targets, outputs = ([noise(256, 256, seed=i + k) for i in range(16)] for k in (0, 100))
    assert 0.6 < compare(outputs, targets)["grid"] < 1.7


def test_the_grid_is_that_of_the_period_where_it_is_worst() -> None:
    target = noise(64, 64)
    output = add_pattern(target, STRIPES_OF_4)
    made, truth = energies_by_sums(output), energies_by_sums(target)
    ratios = [a / b for a, b in zip(made, truth, strict=True)]
    assert compare([output], [target])["grid"] == pytest.approx(ratios[1]) == max(ratios)


def test_brightness_and_error_beside_a_plain_colour() -> None:
    target = np.zeros((16, 16, 3), np.uint8)
    target[:4] = 200  # a quarter; the mean is 50, whose error (150 + 3 * 50) / 4
    output = np.zeros_like(target)
    output[:2] = 129
    output[2] = 128  # not above 128
    figures = compare([output], [target])
    assert figures["bright"] == pytest.approx((2 / 16) / (4 / 16))
    assert figures["relative_l1"] == pytest.approx((71 * 2 + 72 + 200) / 16 / 75)


def test_where_the_truth_is_flat_and_dark() -> None:
    flat = np.zeros((16, 16, 3), np.uint8)
    same = compare([flat], [flat])
    assert set(same.values()) == {1.0}
    assert set(compare([noise(16, 16)], [flat]).values()) == {float("inf")}
