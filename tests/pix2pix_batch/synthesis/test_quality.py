"""Near-duplicates, flat and saturated images, and how much variants differ."""

from __future__ import annotations

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
