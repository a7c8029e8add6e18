"""Writing image files: what is kept of a picture, in each format."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.imaging.images import Picture, read, write
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS, form_of
from tests.pix2pix_batch.imaging.pixels import assert_close, gradient, noise


@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 3, 4]),
    form=st.sampled_from(["png", "tiff"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_lossless_formats(height: int, width: int, channels: int, form: str, seed: int) -> None:
    pixels = noise(height, width, channels, seed=seed)
    data = write(Picture(pixels), form)
    image = Image.open(io.BytesIO(data))
    assert image.format == form.upper()
    assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", ["png", "tiff", "webp"])
def test_alpha_is_put_back(form: str, channels: int) -> None:
    pixels = noise(9, 13, channels)
    alpha = noise(9, 13, seed=5) | 1  # WebP does not keep the colours of what is invisible
    image = Image.open(io.BytesIO(write(Picture(pixels, alpha), form, 100)))
    assert image.mode == ("LA" if channels == 1 and form != "webp" else "RGBA")
    back = np.asarray(image.convert("RGBA"))
    assert np.array_equal(back[:, :, 3], alpha)
    assert np.array_equal(back[:, :, :3], np.broadcast_to(pixels, (9, 13, 3)))


def test_alpha_of_lossy_webp_is_exact() -> None:
    alpha = noise(40, 56)
    image = Image.open(io.BytesIO(write(Picture(gradient(), alpha), "webp", 80)))
    assert np.array_equal(np.asarray(image)[:, :, 3], alpha)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_is_close_and_has_no_alpha(channels: int) -> None:
    pixels = np.dstack([gradient(), noise(40, 56)])[:, :, :channels]
    alpha = None if channels == 4 else noise(40, 56)
    image = Image.open(io.BytesIO(write(Picture(pixels, alpha), "jpg")))
    assert (image.format, image.mode) == ("JPEG", "L" if channels == 1 else "RGB")
    assert_close(np.asarray(image).reshape(40, 56, -1), pixels[:, :, :3], 8)


def test_webp_is_close() -> None:
    image = Image.open(io.BytesIO(write(Picture(gradient()), "webp")))
    assert image.format == "WEBP"
    assert_close(np.asarray(image), gradient(), 12)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_webp_at_quality_100_is_lossless(channels: int) -> None:
    pixels = noise(17, 23, channels)
    if channels == 4:
        pixels[:, :, 3] |= 1
    back = np.asarray(Image.open(io.BytesIO(write(Picture(pixels), "webp", 100))))
    assert np.array_equal(back, np.broadcast_to(pixels, back.shape))


@pytest.mark.parametrize("form", ["jpg", "webp"])
def test_quality_costs_bytes(form: str) -> None:
    picture = Picture(noise(64, 64, 3))
    sizes = [len(write(picture, form, quality)) for quality in (10, 50, None, 99)]
    assert sizes == sorted(set(sizes))
    assert write(picture, form) == write(picture, form, 90)


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tiff"])
def test_same_picture_same_bytes(form: str) -> None:
    """Also where the pixels are a view, as the tiles' results are."""
    pixels = noise(40, 40, 3)
    whole = write(Picture(pixels[3:30, 5:35].copy()), form)
    assert write(Picture(pixels[3:30, 5:35]), form) == whole


@given(pixels=st.integers(1, 12), alpha=st.booleans(), channels=st.sampled_from([1, 3, 4]))
@settings(max_examples=30)
def test_what_is_written_is_read_back(pixels: int, alpha: bool, channels: int) -> None:
    original = noise(pixels, 5, channels, seed=pixels)
    clear = np.full((pixels, 5), 255, np.uint8)
    if alpha and channels != 4:
        clear[0, 0] = 0
        original[0, 0] = 255
    back = read(write(Picture(original, clear), "png"), channels)
    assert np.array_equal(back.pixels, original)
    assert (back.alpha is not None) == (alpha and channels != 4)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("a.png", "png"),
        ("a.jpg", "jpg"),
        ("a.JPEG", "jpg"),
        ("dir.png/a.webp", "webp"),
        ("a.TIF", "tiff"),
        ("a.tiff", "tiff"),
        ("a.gif", "png"),
        ("a.bmp", "png"),
        ("a.jpg.gz", "png"),
        ("a", "png"),
        (".jpg", "png"),
    ],
)
def test_form_of(path: str, form: str) -> None:
    assert form_of(path, "same") == form
    for asked in OUTPUT_FORMATS:
        assert form_of(path, asked) == asked
