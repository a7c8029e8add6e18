"""Percentiles of many rasters, in one pass or two, are those of all of their samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.train.value_statistics import (
    BandStatistics,
    measure_percentiles,
    to_keys,
    to_value,
)

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_keys_are_in_the_order_of_floats_and_lead_back(values: list[float]) -> None:
    array = np.array(values, np.float32)
    keys = to_keys(array)
    order = np.argsort(keys, kind="stable")
    assert (np.diff(array[order]) >= 0).all()
    assert [to_value(int(key), "float32") for key in keys] == (array + 0).tolist()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_keys_of_whole_numbers(dtype: str) -> None:
    limits = np.iinfo(dtype)
    array = np.array([limits.min, limits.min + 1, 0, 7, limits.max], dtype)
    assert [to_value(int(key), dtype) for key in to_keys(array)] == array.tolist()


@settings(max_examples=30)
@given(
    st.sampled_from(["uint8", "uint16", "int16", "float32"]),
    st.integers(0, 2**32 - 1),
    st.tuples(st.floats(0, 49), st.floats(51, 100)),
    st.integers(1, 4),
)
def test_percentiles_are_exact(
    dtype: str, seed: int, percents: tuple[float, float], images: int
) -> None:
    random = np.random.default_rng(seed)
    if dtype == "float32":
        rasters = [np.exp(random.normal(0, 4, 300)).astype(dtype) - 1 for _ in range(images)]
    else:
        limits = np.iinfo(dtype)
        rasters = [
            random.integers(limits.min, limits.max, 300).astype(dtype) for _ in range(images)
        ]
    found = measure_percentiles(
        lambda: [[one, one[:0]] for one in rasters], dtype, [percents, None]
    )
    whole = np.concatenate(rasters)
    expected = tuple(np.percentile(whole, percents, method="inverted_cdf").tolist())
    assert found == [expected, None]
    statistics = BandStatistics(dtype)
    for one in rasters:
        statistics.add(one, absent=100)
    assert (statistics.least, statistics.most) == (whole.min(), whole.max())
    assert statistics.absent_share == 0.25
    for percent, exact in zip(percents, expected, strict=True):
        assert statistics.estimate(percent) == pytest.approx(exact, rel=1 / 128, abs=0)


def test_a_band_without_samples_has_none() -> None:
    nothing = np.zeros(0, np.float32)
    assert measure_percentiles(lambda: [[nothing]], "float32", [(2, 98)]) == [None]
