"""The distance from the training inputs: its metric, its calibration, and what tiles make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import mahalanobis

from pix2pix_batch import bundle
from pix2pix_batch.bundle import Embedding
from pix2pix_batch.distance import FEWEST, Domain, Metric, describe_embeddings, shrink_covariance
from pix2pix_batch.errors import BundleError
from pix2pix_batch.imaging.tiling import Resized, Tiles
from tests.conftest import save_bundle

WIDTH = 12
RANDOM = np.random.default_rng(0)
MIX = RANDOM.normal(size=(WIDTH, WIDTH)) * np.geomspace(1, 30, WIDTH)


def drawn(count: int, seed: int, mix: np.ndarray = MIX) -> np.ndarray:
    """Embeddings whose features depend on each other and differ widely in scale."""
    return np.random.default_rng(seed).normal(size=(count, len(mix))) @ mix + 5


def golden_weight(sample: np.ndarray, count: int) -> float:
    """Equation 23 of Chen et al. 2010, term by term."""
    p = len(sample)
    of_square = sum(sample[i, j] * sample[j, i] for i in range(p) for j in range(p))
    square_of = sum(sample[i, i] for i in range(p)) ** 2
    above = (1 - 2 / p) * of_square + square_of
    return min(1.0, above / ((count + 1 - 2 / p) * (of_square - square_of / p)))


@pytest.mark.parametrize("count", [2, 8, 40, 1000])
def test_the_covariance_is_shrunk_as_published(count: int) -> None:
    x = drawn(count, 1)
    away = x - x.mean(0)
    sample = away.T @ away / count
    weight = golden_weight(sample, count)
    expected = (1 - weight) * sample + weight * np.trace(sample) / WIDTH * np.eye(WIDTH)
    np.testing.assert_allclose(
        shrink_covariance(np.cov(x, rowvar=False), count), expected, rtol=1e-9
    )
    assert np.linalg.eigvalsh(expected).min() > 0


def test_more_inputs_are_shrunk_less() -> None:
    covariance = np.cov(drawn(50, 2), rowvar=False)
    change = [
        np.abs(shrink_covariance(covariance, n) - covariance * (n - 1) / n).max()
        for n in (5, 50, 5000)
    ]
    assert change[0] > 5 * change[1] > 25 * change[2] > 0


def test_distances_are_mahalanobis() -> None:
    x, others = drawn(60, 3), drawn(9, 4)
    covariance = np.cov(x, rowvar=False)
    metric = Metric.of(x.mean(0), covariance, 60)
    assert metric is not None
    inverse = np.linalg.inv(shrink_covariance(covariance, 60))
    expected = [mahalanobis(other, x.mean(0), inverse) ** 2 for other in others]
    np.testing.assert_allclose(metric.squared_distances(others), expected, rtol=1e-9)


def test_neither_batch_nor_order_changes_a_bit() -> None:
    metric = Metric.of(np.zeros(WIDTH), np.cov(drawn(60, 3), rowvar=False), 60)
    assert metric is not None
    others = drawn(9, 4).astype(np.float32)
    whole = metric.squared_distances(others)
    assert [metric.squared_distances(other[None])[0] for other in others] == whole.tolist()
    assert metric.squared_distances(others[::-1]).tolist() == whole[::-1].tolist()


def test_the_quantiles_are_of_inputs_that_the_metric_has_not_seen() -> None:
    x = drawn(37, 5)
    found = describe_embeddings(x)
    assert found.inputs == 37 and found.quantiles is not None
    np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(x, rowvar=False), rtol=1e-4)
    distances = []
    for first, last in ((0, 8), (8, 16), (16, 23), (23, 30), (30, 37)):
        rest = np.concatenate((x[:first], x[last:]))
        inverse = np.linalg.inv(shrink_covariance(np.cov(rest, rowvar=False), len(rest)))
        distances += [mahalanobis(one, rest.mean(0), inverse) for one in x[first:last]]
    expected = np.quantile(distances, np.linspace(0, 1, 101))
    np.testing.assert_allclose(found.quantiles, expected, rtol=1e-5)


@pytest.mark.parametrize("count", [40, 400])
def test_new_inputs_of_the_same_kind_get_every_percentile_alike(count: int) -> None:
    """Also where there are fewer inputs than features, as measured against themselves they would
    all seem far too close."""
    mix = np.random.default_rng(7).normal(size=(64, 64))
    domain = Domain.of(describe_embeddings(drawn(count, 6, mix)))
    assert domain is not None
    new = [
        domain.to_percentile(square**0.5) for square in domain.squared_distances(drawn(500, 8, mix))
    ]
    slack = 25 if count == 40 else 12  # the calibration's own spread
    for percentile in (25, 50, 75):
        assert abs(np.mean(np.array(new) < percentile) * 100 - percentile) < slack
    in_sample = Metric.of(*describe_embeddings(drawn(count, 6, mix))[:3])
    assert in_sample is not None
    if count == 40:
        seen = in_sample.squared_distances(drawn(count, 6, mix)) ** 0.5
        assert np.median([domain.to_percentile(d) for d in seen]) < 5


def test_others_lie_beyond_all_training_inputs() -> None:
    domain = Domain.of(describe_embeddings(drawn(400, 6)))
    assert domain is not None
    for away in (10, 100):
        other = (RANDOM.normal(size=(5, WIDTH)) * away) @ MIX + 5
        assert all(
            domain.to_percentile(square**0.5) > 100 for square in domain.squared_distances(other)
        )


DOMAIN = Domain(Metric(np.zeros(2), np.eye(2)), np.linspace(1, 3, 101))


def test_a_percentile_then_times_the_farthest() -> None:
    assert [DOMAIN.to_percentile(d) for d in (0, 1, 2, 2.5, 3)] == [0, 0, 50, 75, 100]
    assert [DOMAIN.to_percentile(d) for d in (3.3, 6, 30)] == [110, 200, 1000]


@given(st.floats(0, 50), st.floats(0, 50))
def test_what_is_farther_never_counts_as_closer(one: float, other: float) -> None:
    assert (DOMAIN.to_percentile(one) <= DOMAIN.to_percentile(other)) or one > other


def test_tiles_count_by_what_is_image_in_them() -> None:
    assert DOMAIN.distance([4.0], [1.0]) == 50
    assert DOMAIN.distance([4.0, 36.0], [1.0, 1.0]) == round(100 * 20**0.5 / 3, 2)
    assert DOMAIN.distance([1.0, 7.0], [1.0, 0.5]) == round((3**0.5 - 1) * 50, 2)


def test_tiles_that_are_mostly_padding_tell_nothing() -> None:
    assert DOMAIN.distance([4.0, 1e6], [0.9, 0.49]) == 50
    assert DOMAIN.distance([4.0, 4.0], [0.3, 0.49]) is None


@given(st.integers(1, 700), st.integers(1, 700))
def test_shares_are_of_the_image_in_each_tile(height: int, width: int) -> None:
    """Cut as the image itself is, a picture of ones padded with nothing."""
    tiles = Tiles(np.zeros((height, width, 1), np.uint8), 128)
    y, x = tiles.rows.before, tiles.columns.before
    inside = np.zeros((tiles.rows.padded, tiles.columns.padded))
    inside[y : y + height, x : x + width] = 1
    step = tiles.rows.stride
    expected = [
        inside[row * step : row * step + 128, column * step : column * step + 128].mean()
        for row in range(tiles.rows.count)
        for column in range(tiles.columns.count)
    ]
    np.testing.assert_allclose(tiles.shares, expected)
    assert Resized(np.zeros((height, width, 1), np.uint8), 64).shares == [1.0]


def test_too_few_or_equal_inputs_tell_nothing() -> None:
    few, equal = describe_embeddings(drawn(FEWEST - 1, 1)), describe_embeddings(np.ones((50, 4)))
    assert few.quantiles is None and equal.quantiles is None
    assert Domain.of(few) is None and Domain.of(equal) is None and Domain.of(None) is None
    assert describe_embeddings(np.ones((1, 4))).inputs == 1


@given(arrays(np.float64, (12, 3), elements=st.floats(-1e3, 1e3)))
def test_whatever_the_inputs_the_quantiles_can_be_stored(x: np.ndarray) -> None:
    found = describe_embeddings(x)
    if found.quantiles is not None:
        assert found.quantiles.dtype == np.float32 and found.quantiles.shape == (101,)
        assert (np.diff(found.quantiles) >= 0).all() and found.quantiles[-1] > 0


def test_a_bundle_gives_its_domain(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "model.safetensors")
    assert Domain.open(path) is None
    x = np.random.default_rng(0).normal(size=(50, 32))
    bundle.describe(path, describe_embeddings(x))
    domain = Domain.open(path)
    assert domain is not None
    assert domain.to_percentile(float(domain.squared_distances(x.mean(0)[None])[0]) ** 0.5) == 0
    without = describe_embeddings(x)._replace(quantiles=None)
    bundle.describe(path, without)
    assert Domain.open(path) is None


def test_a_covariance_that_is_none_is_told(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "model.safetensors")
    wrong = -np.eye(32, dtype=np.float32)
    wrong[0, 0] = 100
    bundle.describe(
        path, Embedding(np.zeros(32, np.float32), wrong, 5000, np.ones(101, np.float32))
    )
    with pytest.raises(BundleError, match=r"model\.safetensors: its embedding's covariance"):
        Domain.open(path)
