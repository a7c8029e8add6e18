"""Dropout masks: made from a key, and from nothing else."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.noise import dropout_masks, multipliers, noise_key, on_input

KEYS = st.binary(min_size=16, max_size=16)
SHAPES = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), min_size=0, max_size=5
)


def philox(key: int, count: int) -> list[int]:
    """``count`` words of Philox4x64-10 (Salmon et al. 2011, section 3.3), counting from 1."""
    mask = (1 << 64) - 1
    words: list[int] = []
    counter = 0
    while len(words) < count:
        counter += 1
        c = [counter >> shift & mask for shift in (0, 64, 128, 192)]
        k = [key & mask, key >> 64]
        for _ in range(10):
            left, right = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [right >> 64 ^ c[1] ^ k[0], right & mask, left >> 64 ^ c[3] ^ k[1], left & mask]
            k = [k[0] + 0x9E3779B97F4A7C15 & mask, k[1] + 0xBB67AE8584CAA73B & mask]
        words += c
    return words[:count]


def golden(key: bytes, shapes: list[tuple[int, int, int]]) -> list[np.ndarray]:
    """Each mask starts on a fresh word: its lowest byte first, each byte's highest bit first."""
    counts = [math.prod(shape) for shape in shapes]
    words = philox(int.from_bytes(key, "little"), sum(-(-count // 64) for count in counts))
    masks = []
    for count, shape in zip(counts, shapes, strict=True):
        used, words = words[: -(-count // 64)], words[-(-count // 64) :]
        bits = [
            byte >> 7 - i & 1 for w in used for byte in w.to_bytes(8, "little") for i in range(8)
        ]
        masks.append(np.array(bits[:count], bool).reshape(shape))
    return masks


@given(key=KEYS, shapes=SHAPES)
def test_masks_are_philox_bits(key: bytes, shapes: list[tuple[int, int, int]]) -> None:
    masks = dropout_masks(key, shapes)
    assert [mask.shape for mask in masks] == shapes
    assert all(mask.dtype == bool for mask in masks)
    for ours, theirs in zip(masks, golden(key, shapes), strict=True):
        assert np.array_equal(ours, theirs)


def test_golden_bits() -> None:
    """Fixed for ever: the bytes of every job with noise depend on them."""
    (mask,) = dropout_masks(bytes(range(16)), [(1, 8, 8)])
    key = int.from_bytes(bytes(range(16)), "little")
    (word,) = np.random.Philox(key=key).random_raw(1).tolist()
    packed = np.packbits(mask).tobytes()
    assert int.from_bytes(packed, "little") == word == philox(key, 1)[0]


@given(first=KEYS, second=KEYS)
def test_order_does_not_matter(first: bytes, second: bytes) -> None:
    shapes = [(3, 5, 7), (2, 2, 2)]
    one, other = dropout_masks(first, shapes), dropout_masks(second, shapes)
    again_other, again_one = dropout_masks(second, shapes), dropout_masks(first, shapes)
    for a, b in zip([*one, *other], [*again_one, *again_other], strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("key", [bytes(16), b"\xff" * 16, noise_key(0, b"")])
def test_half_is_kept(key: bytes) -> None:
    """Within five standard deviations of a binomial's mean, over all and in each channel."""
    masks = dropout_masks(key, [(64, 32, 32), (64, 16, 16)])
    for mask in masks:
        assert abs(mask.sum() - mask.size / 2) < 5 * math.sqrt(mask.size) / 2
        area = mask[0].size
        assert (abs(mask.sum((1, 2)) - area / 2) < 5 * math.sqrt(area) / 2).all()
    assert not np.array_equal(masks[0].ravel()[: masks[1].size], masks[1].ravel())


@given(
    one=st.tuples(st.integers(0, 2**32), st.binary(max_size=40), st.integers(0, 10**6)),
    other=st.tuples(st.integers(0, 2**32), st.binary(max_size=40), st.integers(0, 10**6)),
)
def test_every_tile_of_every_image_has_its_own(
    one: tuple[int, bytes, int], other: tuple[int, bytes, int]
) -> None:
    keys = noise_key(*one), noise_key(*other)
    masks = [dropout_masks(key, [(8, 8, 8)])[0] for key in keys]
    assert (keys[0] == keys[1]) == (one == other)
    assert np.array_equal(*masks) == (one == other)


def test_neighbouring_keys_have_unrelated_masks() -> None:
    content = hashlib.sha256(b"image").digest()
    keys = [noise_key(0, content), noise_key(1, content), noise_key(0, content, 1)]
    keys += [noise_key(0, hashlib.sha256(b"imagf").digest())]
    masks = [dropout_masks(key, [(64, 16, 16)])[0] for key in keys]
    for i, one in enumerate(masks):
        for other in masks[:i]:
            assert abs((one == other).mean() - 0.5) < 5 * 0.5 / math.sqrt(one.size)


def test_key_is_stable() -> None:
    text = b"7:3:" + b"content"
    assert noise_key(7, b"content", 3) == hashlib.blake2b(text, digest_size=16).digest()
    assert noise_key(7, b"content") == noise_key(7, b"content", 0)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 63), (1, 1, 64), (1, 1, 65), (512, 2, 2)])
def test_edge_shapes(shape: tuple[int, int, int]) -> None:
    (mask,) = dropout_masks(bytes(16), [shape])
    assert mask.shape == shape
    assert np.array_equal(mask, golden(bytes(16), [shape])[0])
    assert dropout_masks(bytes(16), []) == []


# Variants, rates, and noise on the input


@given(
    seed=st.integers(0, 2**32), content=st.binary(max_size=40), tile=st.integers(0, 9),
    variants=st.lists(st.integers(1, 10**6), min_size=2, max_size=5, unique=True),
)  # fmt: skip
def test_every_variant_has_its_own(
    seed: int, content: bytes, tile: int, variants: list[int]
) -> None:
    keys = {noise_key(seed, content, tile, variant) for variant in variants}
    assert len(keys) == len(variants)
    assert noise_key(seed, content, tile, 1) == noise_key(seed, content, tile)


def test_a_variants_key_is_stable() -> None:
    salt = bytes([4]) + bytes(15)
    expected = hashlib.blake2b(b"7:3:content", digest_size=16, salt=salt).digest()
    assert noise_key(7, b"content", 3, 5) == expected


@given(key=KEYS, shapes=SHAPES)
def test_the_usual_rate_is_the_masks_doubled(
    key: bytes, shapes: list[tuple[int, int, int]]
) -> None:
    for ours, mask in zip(multipliers(key, shapes), dropout_masks(key, shapes), strict=True):
        assert ours.dtype == np.float32
        assert np.array_equal(ours, mask * 2)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.8])
def test_other_rates_drop_as_many_and_keep_the_mean(rate: float) -> None:
    """Each two bytes of Philox' words, from the lowest, keep their value where they are at least
    the rate's share of 65,536."""
    shapes = [(8, 32, 33), (2, 5, 5)]
    one, other = multipliers(bytes(range(16)), shapes, rate)
    assert [one.shape, other.shape] == shapes
    count = one.size
    assert abs((one == 0).mean() - rate) < 5 * math.sqrt(rate * (1 - rate) / count)
    assert np.allclose(one[one != 0], 1 / (1 - rate))
    words = philox(int.from_bytes(bytes(range(16)), "little"), count // 4 + 13)
    numbers = [word >> 16 * i & 0xFFFF for word in words for i in range(4)]
    for made, drawn in ((one, numbers[:count]), (other, numbers[count : count + 50])):
        expected = np.array(drawn) >= rate * 65536
        assert np.array_equal(made.ravel() != 0, expected)


def test_input_noise_is_near_normal_and_only_of_its_key() -> None:
    tile = np.full((64, 64, 3), 128, np.uint8)
    noisy = on_input(bytes(16), tile, 10.0)
    away = noisy.astype(float) - 128
    assert abs(away.mean()) < 5 * 10 / math.sqrt(away.size)
    assert away.std() == pytest.approx(10, rel=0.05)
    assert abs(((away - away.mean()) ** 3).mean()) < 0.1 * away.std() ** 3  # not skewed
    assert np.abs(away).max() < 3.5 * 10  # four bytes reach sqrt(12) deviations
    assert np.array_equal(on_input(bytes(16), tile, 10.0), noisy)
    other = on_input(bytes(15) + b"\1", tile, 10.0).astype(float) - 128
    assert abs((away * other).mean()) < 5 * 100 / math.sqrt(away.size)
    assert np.array_equal(on_input(bytes(16), tile, 0.0), tile)


@pytest.mark.parametrize("level", [0, 255])
def test_input_noise_stays_within_bytes(level: int) -> None:
    noisy = on_input(bytes(16), np.full((9, 7, 1), level, np.uint8), 200.0)
    assert noisy.dtype == np.uint8 and {0, 255} <= set(noisy.ravel().tolist())
