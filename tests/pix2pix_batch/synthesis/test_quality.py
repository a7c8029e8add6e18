"""Near-duplicates, flat and saturated images, and how much variants differ."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.imaging import image_statistics
from pix2pix_batch.synthesis.quality import NEAR, diversity, near_duplicates
from tests.end_to_end.command import picture

BITS = st.integers(0, 2**64 - 1)


def flipped(look: int, places: list[int]) -> int:
    for place in places:
        look ^= 1 << place
    return look


@given(
    BITS,
    st.lists(st.integers(0, 63), min_size=0, max_size=NEAR, unique=True),
    st.lists(BITS, max_size=9),
)
def test_near_ones_are_found_wherever_they_differ(
    look: int, places: list[int], others: list[int]
) -> None:
    near = flipped(look, places)
    far = [one for one in others if min((one ^ look).bit_count(), (one ^ near).bit_count()) > NEAR]
    looks = [("first", look), *((f"other{i}", one) for i, one in enumerate(far)), ("last", near)]
    assert near_duplicates([(name, f"{one:016x}") for name, one in looks])["last"] == "first"


@given(st.lists(BITS, max_size=20))
def test_as_comparing_all_with_all_would_say(looks: list[int]) -> None:
    looks = looks + [flipped(one, [i % 64 for i in range(k % 6)]) for k, one in enumerate(looks)]
    names = [f"{i:03}" for i in range(len(looks))]
    found = near_duplicates([(n, f"{one:016x}") for n, one in zip(names, looks, strict=True)])
    kept: list[int] = []
    for i, one in enumerate(looks):
        if any((one ^ looks[k]).bit_count() <= NEAR for k in kept):
            assert names[i] in found
        else:
            assert names[i] not in found
            kept.append(i)


def look(image: Image.Image) -> image_statistics.Appearance:
    return image_statistics.measure_appearance(np.asarray(image))


def test_looks_of_alike_and_other_pictures() -> None:
    one, other = picture(256, 256, 1), picture(256, 256, 2)
    darker = Image.fromarray((np.asarray(one) * 0.8).astype(np.uint8))
    smaller = one.resize((128, 128))
    looks = [("one", look(one)["look"]), ("darker", look(darker)["look"])]
    looks += [("smaller", look(smaller)["look"]), ("other", look(other)["look"])]
    assert near_duplicates(looks) == {"darker": "one", "smaller": "one"}


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_flags(mode: str) -> None:
    grey = np.full((64, 96, len(mode) if mode != "L" else 1), 100, np.uint8)
    assert image_statistics.measure_appearance(grey)["flags"] == "flat"
    assert image_statistics.measure_appearance(grey * 0)["flags"] == "flat,saturated"
    grey[:32] = 255
    grey[32:] = 0
    assert image_statistics.measure_appearance(grey)["flags"] == "saturated"
    assert image_statistics.measure_appearance(np.asarray(picture(64, 96)))["flags"] == ""
    assert image_statistics.measure_appearance(grey[:1, :1])["flags"] == "flat,saturated"


@pytest.mark.parametrize("side", [2, 3, 4, 8, 64, 300])
@pytest.mark.parametrize("period", [2, 3, 4, 5, 8, 13])
@pytest.mark.parametrize("way", ["across", "down", "both"])
def test_fine_patterns_are_not_flat(side: int, period: int, way: str) -> None:
    """However few pixels, and of whatever period: some of which would be seen as one colour."""
    y, x = np.mgrid[:side, :side]
    place = {"across": x, "down": y, "both": x + y}[way]
    grey = np.where(place % period < period / 2, 60, 180).astype(np.uint8)
    if grey.min() < grey.max():
        assert measure(grey.repeat(3, 1).reshape(side, side, 3))["flags"] == ""


measure = image_statistics.measure_appearance


def test_what_hashes_cannot_tell_apart_is_no_near_duplicate() -> None:
    """Colours of one grey are told apart by a channel; textures that are too fine have no look."""
    grey = np.array([0.299, 0.587, 0.114])
    one, other = np.array([255, 0, 0]), np.array([0, 130, 0])
    assert abs((one - other) @ grey) < 1
    looks = []
    for seed in range(12):
        regions = np.random.default_rng(seed).random((4, 4)) < 0.5
        colours = np.where(regions.repeat(16, 0).repeat(16, 1)[:, :, None], one, other)
        looks.append((str(seed), measure(colours.astype(np.uint8))["look"]))
    assert near_duplicates(looks) == {}
    y, x = np.mgrid[:128, :128]
    for place in (x, y, x + y):
        texture = (place % 2 * 120).astype(np.uint8)[:, :, None]
        assert measure(texture)["look"] == ""


def test_diversity_is_the_mean_over_pairs_then_inputs(tmp_path: Path) -> None:
    def put(name: str, level: int) -> Path:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (8, 4), (level,) * 3).save(path)
        return path

    first = [put("a0", 0), put("a1", 30), put("a2", 60)]  # 30, 60, 30
    second = [put("b0", 5), put("b1", 15)]
    assert diversity([first, second, [put("c0", 9)]]) == pytest.approx((40 + 10) / 2)
    assert diversity([[first[0]]]) is None
    both = [
        np.concatenate(
            [np.full((4, 4, 3), n * 99, np.uint8), np.full((4, 4, 3), n * 7, np.uint8)], 1
        )
        for n in (0, 1)
    ]
    paths = []
    for n, pixels in enumerate(both):
        Image.fromarray(pixels).save(tmp_path / f"both{n}.png")
        paths.append(tmp_path / f"both{n}.png")
    assert diversity([paths], right_half=True) == pytest.approx(7)


def test_copies_are_found_and_what_is_cropped_or_mirrored_is_not() -> None:
    """What the documentation says of them: pHash is of the picture as it lies."""
    pictures = [picture(128, 128, seed) for seed in range(20)]

    def share(change: Callable[[Image.Image], Image.Image]) -> float:
        found = [
            near_duplicates([("one", look(one)["look"]), ("copy", look(change(one))["look"])])
            for one in pictures
        ]
        return sum(map(bool, found)) / len(found)

    def encode(image: Image.Image) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=75)
        return Image.open(buffer)

    assert share(encode) >= 0.9
    assert share(lambda image: image.resize((200, 200))) >= 0.9
    assert share(lambda image: image.point(lambda value: value * 0.8 + 20)) >= 0.9
    assert share(lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) <= 0.1
    assert share(lambda image: image.crop((12, 12, 116, 116))) <= 0.1
    looks = [(str(seed), look(one)["look"]) for seed, one in enumerate(pictures)]
    assert near_duplicates(looks) == {}
