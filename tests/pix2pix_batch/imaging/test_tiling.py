"""Tiles: every pixel is covered, shares add up, and what is not changed stays as it was."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.imaging.tiling import Axis, Resized, Tiles, resize

SIZES = st.sampled_from([1, 2, 3, 4, 8, 30, 32, 64])


def pixels_of(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def translated(tiles: Tiles, outputs: list[np.ndarray]) -> np.ndarray:
    for index, output in enumerate(outputs):
        assert tiles.result is None or index > 0
        tiles.add_tile(index, output)
    assert tiles.result is not None
    return tiles.result


# An independent statement of the blending: dense, in float64, over the whole padded picture


def dense_share(size: int, shared: int, first: bool, last: bool) -> np.ndarray:
    share = np.ones(size)
    for i in range(shared):
        rising = math.sin(math.pi / 2 * (i + 0.5) / shared) ** 2
        if not first:
            share[i] = rising
        if not last:
            share[size - 1 - i] = rising
    return share


def dense_blend(outputs: list[np.ndarray], height: int, width: int, size: int) -> np.ndarray:
    shared = size // 4
    stride = size - shared
    rows, columns = (max(0, math.ceil((side - size) / stride)) + 1 for side in (height, width))
    assert len(outputs) == rows * columns
    full = size + stride * (rows - 1), size + stride * (columns - 1)
    total = np.zeros((*full, outputs[0].shape[2]))
    for number, output in enumerate(outputs):
        r, c = divmod(number, columns)
        share = np.outer(
            dense_share(size, shared, r == 0, r == rows - 1),
            dense_share(size, shared, c == 0, c == columns - 1),
        )
        y, x = r * stride, c * stride
        total[y : y + size, x : x + size] += output * share[:, :, None]
    y, x = (full[0] - height) // 2, (full[1] - width) // 2
    return total[y : y + height, x : x + width]


# Axes


@given(length=st.integers(1, 5000), size=st.integers(1, 300))
def test_an_axis_is_covered(length: int, size: int) -> None:
    axis = Axis.plan(length, size)
    assert axis.padded >= length
    assert axis.padded - length < max(axis.stride, size)
    assert 0 <= axis.before <= axis.padded - length
    after = axis.padded - length - axis.before
    assert after - axis.before in (0, 1)
    assert (axis.count == 1) == (length <= size)


@given(length=st.integers(1, 2000), size=st.integers(1, 130))
def test_shares_add_up_to_one(length: int, size: int) -> None:
    axis = Axis.plan(length, size)
    total = np.zeros(axis.padded)
    for index in range(axis.count):
        share = axis.weights(index)
        assert share.shape == (size,) and share.dtype == np.float32
        assert (share > 0).all() and (share <= 1).all()
        total[index * axis.stride :][:size] += share
    assert np.abs(total - 1).max() < 1e-6


@pytest.mark.parametrize("size", [32, 64, 128, 256, 512, 1024])
def test_stride_keeps_the_sampling_grid(size: int) -> None:
    """At 256, tiles start on multiples of 2**6, so generators of up to 6 halvings agree."""
    axis = Axis.plan(10 * size, size)
    assert axis.stride == 3 * size // 4
    assert axis.stride % (size // 4) == 0
    if size == 256:
        assert all(axis.stride % 2**downs == 0 for downs in range(1, 7))


def test_tiles_start_on_multiples_of_the_stride() -> None:
    y, x = np.mgrid[0:70, 0:130]
    tiles = Tiles(np.dstack([y, x]).astype(np.uint8), 32)
    assert (tiles.rows.stride, tiles.columns.stride) == (24, 24)
    top, left = tiles.rows.before, tiles.columns.before
    for number, tile in enumerate(tiles):
        row, column = divmod(number, tiles.columns.count)
        if row and column:  # the first of either may begin in the padding
            assert tile[0, 0].tolist() == [24 * row - top, 24 * column - left]


# Tiles


def check_identity(height: int, width: int, channels: int, size: int) -> None:
    pixels = pixels_of(height, width, channels)
    tiles = Tiles(pixels.copy(), size)
    outputs = [tile.copy() for tile in tiles]
    assert len(outputs) == len(tiles)
    assert all(tile.shape == (size, size, channels) for tile in outputs)
    result = translated(tiles, outputs)
    assert result.dtype == np.uint8
    assert np.array_equal(result, pixels)


@given(
    height=st.integers(1, 200), width=st.integers(1, 200), channels=st.integers(1, 5), size=SIZES
)
@settings(max_examples=60)
def test_identity_gives_the_image_back(height: int, width: int, channels: int, size: int) -> None:
    if height * width > 2000 * size:  # tiny tiles on large images only cost time
        height = max(1, height // 8)
    check_identity(height, width, channels, size)


@given(rows=st.integers(0, 4), columns=st.integers(0, 4), off=st.tuples(*[st.integers(-1, 1)] * 2))
@settings(max_examples=40)
def test_identity_at_the_tiles_bounds(rows: int, columns: int, off: tuple[int, int]) -> None:
    check_identity(32 + 24 * rows + off[0], 32 + 24 * columns + off[1], 3, 32)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (20000, 3), (3, 20000), (1, 257), (256, 257), (449, 448)]
)
def test_identity_of_odd_shapes(height: int, width: int) -> None:
    check_identity(height, width, 3, 256)


@pytest.mark.parametrize("size", [32, 256])
def test_one_tile_of_the_exact_size_is_untouched(size: int) -> None:
    pixels = pixels_of(size, size)
    tiles = Tiles(pixels, size)
    (tile,) = tiles
    assert np.shares_memory(tile, pixels)
    assert np.array_equal(tile, pixels)
    output = pixels_of(size, size, 1, seed=1)
    assert np.array_equal(translated(tiles, [output]), output)


def test_the_border_is_reflected() -> None:
    column = np.array([10, 20, 30], np.uint8).reshape(3, 1, 1)
    (tile,) = Tiles(column, 8)
    assert tile[:, 0, 0].tolist() == [30, 20, 10, 20, 30, 20, 10, 20]
    assert (tile == tile[:, :1]).all()
    (tile,) = Tiles(np.full((1, 1, 3), 7, np.uint8), 32)
    assert (tile == 7).all()


def test_a_small_image_stands_in_the_middle() -> None:
    pixels = pixels_of(5, 20)
    (tile,) = tiles = Tiles(pixels, 32)
    assert np.array_equal(tile[13:18, 6:26], pixels)
    output = pixels_of(32, 32, 2, seed=1)
    assert np.array_equal(translated(tiles, [output]), output[13:18, 6:26])


@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    channels=st.sampled_from([1, 3, 4]),
    size=st.sampled_from([4, 30, 32, 64]),
    seed=st.integers(0, 99),
)
@settings(max_examples=50)
def test_blending_is_the_dense_one(
    height: int, width: int, channels: int, size: int, seed: int
) -> None:
    if size == 4:
        height, width = min(height, 20), min(width, 20)
    tiles = Tiles(pixels_of(height, width), size)
    outputs = list(
        pixels_of(len(tiles) * size, size, channels, seed).reshape(-1, size, size, channels)
    )
    result = translated(tiles, outputs)
    expected = dense_blend(outputs, height, width, size)
    assert result.shape == (height, width, channels)
    assert np.abs(result - expected).max() < 0.5 + 1e-3


@given(values=st.lists(st.integers(0, 255), min_size=2, max_size=6), upright=st.booleans())
def test_flat_tiles_blend_without_steps(values: list[int], upright: bool) -> None:
    """Between two flat tiles a monotone ramp, nowhere steeper than its raised cosine."""
    size, shared = 64, 16
    length = size + 48 * (len(values) - 1)
    tiles = Tiles(np.zeros((length, 64, 1) if upright else (64, length, 1), np.uint8), size)
    outputs = [np.full((size, size, 1), value, np.uint8) for value in values]
    result = translated(tiles, outputs)[:, :, 0].astype(int)
    line = result[:, 0] if upright else result[0]
    assert (result == (line[:, None] if upright else line)).all()
    for index, (one, other) in enumerate(pairwise(values)):
        start = 48 * (index + 1)
        ramp = line[start - 1 : start + shared + 1]
        steps = np.diff(ramp) * (1 if other >= one else -1)
        assert (steps >= 0).all()
        assert steps.max() <= math.pi / 2 / shared * abs(other - one) + 1
        assert (ramp[0], ramp[-1]) == (one, other)
    for index, value in enumerate(values):  # where a tile stands alone, it is itself
        assert (line[48 * index + shared : 48 * (index + 1)] == value).all()


def test_extremes_do_not_wrap() -> None:
    tiles = Tiles(np.zeros((100, 100, 3), np.uint8), 32)
    outputs = [np.full((32, 32, 3), 255, np.uint8)] * len(tiles)
    assert (translated(tiles, outputs) == 255).all()


def test_outputs_may_have_other_channels() -> None:
    tiles = Tiles(pixels_of(50, 70, 3), 32)
    outputs = [np.full((32, 32, 1), 9, np.uint8)] * len(tiles)
    assert translated(tiles, outputs).shape == (50, 70, 1)


def test_memory_is_one_row_of_tiles() -> None:
    tiles = Tiles(pixels_of(3000, 100), 32)
    largest = 0
    for index, tile in enumerate(tiles):
        tiles.add_tile(index, tile)
        if tiles.strip is not None:
            largest = max(largest, tiles.strip.size)
    assert largest == 32 * tiles.columns.padded * 3
    assert tiles.strip is None


# Resized


@given(height=st.integers(1, 90), width=st.integers(1, 90), channels=st.sampled_from([1, 3, 4]))
@settings(max_examples=40)
def test_resized_there_and_back(height: int, width: int, channels: int) -> None:
    flat = np.full((height, width, channels), 77, np.uint8)
    flat[:, :, 3:] = 255
    resized = Resized(flat, 32)
    assert len(resized) == 1
    (tile,) = resized
    assert tile.shape == (32, 32, channels)
    resized.add_tile(0, tile)
    assert resized.result is not None
    assert np.array_equal(resized.result, flat)


def test_resized_of_the_exact_size_is_untouched() -> None:
    pixels = pixels_of(32, 32)
    resized = Resized(pixels, 32)
    assert np.array_equal(next(iter(resized)), pixels)
    resized.add_tile(0, pixels)
    assert resized.result is not None
    assert np.array_equal(resized.result, pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resize_keeps_ramps(channels: int) -> None:
    """Bicubic interpolation is exact on straight lines, away from the border."""
    y, x = np.mgrid[0:20, 0:28]
    ramp = np.repeat((20 + 3 * y + 5 * x)[:, :, None], channels, 2).astype(np.uint8)
    ramp[:, :, 3:] = 255
    double = resize(ramp, (40, 56)).astype(float)
    y, x = (np.mgrid[0:40, 0:56] + 0.5) / 2 - 0.5
    expected = np.repeat((20 + 3 * y + 5 * x)[:, :, None], channels, 2)
    expected[:, :, 3:] = 255
    inside = np.s_[6:-6, 6:-6]
    assert double.shape == (40, 56, channels)
    assert np.abs(double - expected)[inside].max() <= 1
    half = resize(double.astype(np.uint8), (20, 28)).astype(float)
    assert np.abs(half - ramp)[4:-4, 4:-4].max() <= 1


def test_channels_are_resized_apart() -> None:
    pixels = pixels_of(13, 17, 4)
    together = resize(pixels[:, :, :3], (29, 8))
    for channel in range(3):
        alone = resize(pixels[:, :, channel : channel + 1], (29, 8))
        assert np.array_equal(together[:, :, channel : channel + 1], alone)
