"""JPEG files: Pillow's own bytes, whoever makes them."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.imaging import jpeg_encoder
from pix2pix_batch.imaging.images import Picture, write


@pytest.fixture(autouse=True)
def _looked_at_anew() -> Iterator[None]:
    jpeg_encoder.is_pillows.cache_clear()
    yield
    jpeg_encoder.is_pillows.cache_clear()


def by_pillow(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(np.ascontiguousarray(flat)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def picture(height: int, width: int, channels: int, seed: int, noise: float) -> np.ndarray:
    """Waves and noise; every other column of a wider one, so not in one piece of memory."""
    y, x, c = np.mgrid[0:height, 0 : 2 * width, 0:channels]
    waves = 127 + 120 * np.sin(x / (3 + seed % 11) + y / 7 + c)
    random = np.random.default_rng(seed).normal(0, noise, waves.shape)
    return (waves + random).clip(0, 255).astype(np.uint8)[:, ::2]


@given(
    st.builds(
        picture,
        st.integers(1, 70),
        st.integers(1, 70),
        st.sampled_from([1, 3]),
        st.integers(0, 1000),
        st.sampled_from([0.0, 3.0, 80.0]),
    ),
    st.integers(1, 100),
)
def test_the_bytes_are_pillow_s(pixels: np.ndarray, quality: int) -> None:
    assert write(Picture(pixels), "jpg", quality) == by_pillow(pixels, quality)


def test_imagecodecs_makes_them_here() -> None:
    """Of the versions that constraints.txt pins; with others Pillow may have to."""
    assert jpeg_encoder.encode(picture(40, 40, 3, 1, 9.0), 90) is not None


def other_subsampling(pixels: np.ndarray, **how: Any) -> bytes:
    return encoded(pixels, **{**how, "subsampling": "444"})


def fewer_steps(pixels: np.ndarray, **how: Any) -> bytes:
    return encoded(pixels, **{**how, "level": how["level"] - 1})


def optimized(pixels: np.ndarray, **how: Any) -> bytes:
    return encoded(pixels, **how, optimize=True)


def nothing(pixels: np.ndarray, **how: Any) -> bytes:
    raise ImportError("built without it")


encoded = imagecodecs.jpeg8_encode


@pytest.mark.parametrize("other", [other_subsampling, fewer_steps, optimized, nothing])
def test_another_encoder_is_not_used(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagecodecs, "jpeg8_encode", other)
    pixels = picture(40, 33, 3, 1, 9.0)
    assert jpeg_encoder.encode(pixels, 80) is None
    assert write(Picture(pixels), "jpg", 80) == by_pillow(pixels, 80)


def test_without_imagecodecs_pillow_makes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    pixels = picture(40, 33, 3, 1, 9.0)
    assert jpeg_encoder.encode(pixels, 80) is None
    assert write(Picture(pixels), "jpg", 80) == by_pillow(pixels, 80)


def test_metadata_is_pillow_s_to_write() -> None:
    pixels = picture(40, 33, 3, 1, 9.0)
    exif = Image.Exif()
    exif[0x0112] = 6
    made = write(Picture(pixels), "jpg", 80, exif.tobytes(), xmp=b"<x:xmpmeta/>")
    with Image.open(io.BytesIO(made)) as image:
        assert image.getexif()[0x0112] == 6 and image.info["xmp"] == b"<x:xmpmeta/>"


@pytest.mark.parametrize("shape", [(3, 70_000, 3), (0, 4, 3)])
def test_sizes_that_no_jpeg_has_are_pillow_s_to_refuse(shape: tuple[int, ...]) -> None:
    pixels = np.zeros(shape, np.uint8)
    assert jpeg_encoder.encode(pixels, 80) is None
    with pytest.raises((ValueError, OSError, SystemError)):
        write(Picture(pixels), "jpg", 80)
