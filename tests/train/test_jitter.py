"""The shared jitter: a pair the same way, over the whole range, and nothing across the seam."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.train.jitter import Jitter, resize


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Opaque where it has alpha, by which Pillow would weigh the colours."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    image[:, :, 3:] = 255
    return image


def places(height: int, width: int) -> np.ndarray:
    """Each pixel tells its own place: its row and its column."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0] = np.arange(height)[:, None]
    image[:, :, 1] = np.arange(width)
    return image


def crops(jitter: Jitter, image: np.ndarray, count: int = 400) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    found = [jitter.random(image, image, random) for _ in range(count)]
    assert all(np.array_equal(one, other) for one, other in found)
    return [one for one, _ in found]


@pytest.mark.parametrize("resized", [None, 36, 50])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_both_images_are_jittered_the_same_way(resized: int | None, channels: int) -> None:
    """Equal images stay equal, also where they have other numbers of channels."""
    jitter, image = Jitter(32, resized, True), noise(40, 44, channels)
    assert {crop.shape for crop in crops(jitter, image, 20)} == {(32, 32, channels)}
    grey = image[:, :, :1]
    random = np.random.default_rng(1)
    for _ in range(20):
        one, other = jitter.random(image, grey, random)
        assert np.array_equal(one[:, :, :1], other) and one.flags.c_contiguous


def test_crops_reach_every_place_and_no_other() -> None:
    """Of 40x44 pixels: 9 rows and 13 columns where a crop of 32 may begin."""
    found = crops(Jitter(32, None, False), places(40, 44))
    assert {int(crop[0, 0, 0]) for crop in found} == set(range(9))
    assert {int(crop[0, 0, 1]) for crop in found} == set(range(13))
    for crop in found:
        assert np.array_equal(np.diff(crop[:, 0, 0].astype(int)), np.ones(31))
        assert np.array_equal(np.diff(crop[0, :, 1].astype(int)), np.ones(31))


def test_crops_of_resized_images_reach_every_place() -> None:
    """Images of 36x36 are not scaled by a resize to 36."""
    found = crops(Jitter(32, 36, False), places(36, 36))
    assert {(int(crop[0, 0, 0]), int(crop[0, 0, 1])) for crop in found} == {
        (row, column) for row in range(5) for column in range(5)
    }


def test_half_of_the_crops_are_mirrored() -> None:
    """Left and right change places, never top and bottom. 400 fair coins: 200 +- 4 * 10."""
    found = crops(Jitter(32, None, True), places(32, 32))
    mirrored = [crop[0, 0, 1] > crop[0, -1, 1] for crop in found]
    assert 160 < sum(mirrored) < 240
    assert all(crop[0, 0, 0] == 0 for crop in found)
    plain = crops(Jitter(32, None, False), places(32, 32), 50)
    assert all(crop[0, 0, 1] == 0 for crop in plain)


def test_equal_random_numbers_make_equal_crops() -> None:
    jitter, image = Jitter(32, 36, True), noise(40, 40)
    one, again, other = (
        jitter.random(image, image, np.random.default_rng(seed))[0] for seed in (3, 3, 4)
    )
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_plain_images_are_whole_or_from_the_middle() -> None:
    image = noise(40, 46)
    whole, _ = Jitter(32, 36, True).without_jitter(image, image)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(whole, expected)
    middle, _ = Jitter(32, None, True).without_jitter(image, image)
    assert np.array_equal(middle, image[4:36, 7:39])


@pytest.mark.parametrize(("height", "width"), [(31, 60), (60, 31)])
def test_images_too_small_for_a_crop_are_refused(height: int, width: int) -> None:
    jitter, image = Jitter(32, None, True), noise(height, width)
    with pytest.raises(ImageError, match=f"{width}x{height} pixels are too few for crops of 32"):
        jitter.random(image, image, np.random.default_rng(0))
    with pytest.raises(ImageError, match="set fit=resize, or a smaller size"):
        jitter.without_jitter(image, image)
    crop, _ = Jitter(32, 36, True).random(image, image, np.random.default_rng(0))
    assert crop.shape == (32, 32, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_resizing_is_pillows_bicubic(channels: int) -> None:
    image = noise(23, 31, channels)
    resized = resize(image, 40)
    assert resized.shape == (40, 40, channels)
    for channel in range(channels):
        plane = Image.fromarray(image[:, :, channel])
        expected = np.asarray(plane.resize((40, 40), Image.Resampling.BICUBIC))
        assert np.array_equal(resized[:, :, channel], expected)
