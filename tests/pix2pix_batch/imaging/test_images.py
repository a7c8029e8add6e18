"""Image files: every kind that comes in, and what goes out."""

from __future__ import annotations

import io
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.images import read
from tests.pix2pix_batch.imaging.pixels import assert_close, gradient, noise


def encode(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha.astype(np.float64)[:, :, None] / 255
    return colours * share + 255 * (1 - share)


def grey_of(colours: np.ndarray) -> np.ndarray:
    """Luma by ITU-R BT.601."""
    return (colours.astype(np.float64) @ [0.299, 0.587, 0.114])[:, :, None]


# Colour kinds


def test_rgb_is_taken_as_it_is() -> None:
    pixels = noise(5, 7, 3)
    picture = read(encode(Image.fromarray(pixels)), 3)
    assert np.array_equal(picture.pixels, pixels)
    assert picture.pixels.dtype == np.uint8
    assert picture.alpha is None


def test_rgb_for_other_channels() -> None:
    pixels = noise(5, 7, 3)
    data = encode(Image.fromarray(pixels))
    grey, four = read(data, 1), read(data, 4)
    assert_close(grey.pixels, grey_of(pixels), 1)
    assert np.array_equal(four.pixels, np.dstack([pixels, np.full((5, 7), 255)]))
    assert grey.alpha is None and four.alpha is None


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "GIF", "PPM"])
def test_grey(form: str) -> None:
    pixels = noise(6, 4)
    data = encode(Image.fromarray(pixels), form)
    assert np.array_equal(read(data, 1).pixels, pixels[:, :, None])
    assert np.array_equal(read(data, 3).pixels, np.dstack([pixels] * 3))


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_one_bit(form: str, channels: int) -> None:
    bits = noise(9, 11) > 127
    picture = read(encode(Image.fromarray(bits), form), channels)
    expected = np.where(bits, 255, 0)[:, :, None].repeat(channels, 2)
    assert np.array_equal(picture.pixels, expected)


def palette_image() -> tuple[Image.Image, np.ndarray]:
    colours, indices = noise(16, 3, seed=1), noise(6, 8, seed=2) % 16
    image = Image.fromarray(indices)
    image.putpalette(colours.tobytes())
    assert image.mode == "P"
    return image, colours[indices]


@pytest.mark.parametrize("form", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette(form: str) -> None:
    image, colours = palette_image()
    picture = read(encode(image, form), 3)
    assert np.array_equal(picture.pixels, colours)
    assert picture.alpha is None


def test_palette_with_a_transparent_entry() -> None:
    image, colours = palette_image()
    clear = np.asarray(image) == 3
    assert clear.any()
    colours[clear] = 255
    for form in ("PNG", "GIF"):
        picture = read(encode(image, form, transparency=3), 3)
        assert np.array_equal(picture.pixels, colours), form
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, np.where(clear, 0, 255)), form


def test_palette_with_alpha_for_each_entry() -> None:
    image, colours = palette_image()
    table = noise(16, seed=3)
    alpha = table[np.asarray(image)]
    data = encode(image, transparency=table.tobytes())
    picture = read(data, 3)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, alpha)
    assert_close(picture.pixels, over_white(colours, alpha), 1)
    assert np.array_equal(read(data, 4).pixels, np.dstack([colours, alpha]))


def test_grey_and_rgb_with_one_transparent_colour() -> None:
    grey = np.array([[0, 50], [100, 255]], np.uint8)
    picture = read(encode(Image.fromarray(grey), transparency=50), 1)
    assert picture.pixels[:, :, 0].tolist() == [[0, 255], [100, 255]]
    assert picture.alpha is not None and picture.alpha.tolist() == [[255, 0], [255, 255]]
    colours = noise(2, 2, 3)
    picture = read(encode(Image.fromarray(colours), transparency=tuple(colours[1, 0].tolist())), 3)
    assert picture.alpha is not None and picture.alpha.tolist() == [[255, 255], [0, 255]]
    assert picture.pixels[1, 0].tolist() == [255, 255, 255]
    assert np.array_equal(picture.pixels[0], colours[0])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_grey_with_alpha(form: str) -> None:
    grey, alpha = noise(5, 6, seed=1), noise(5, 6, seed=2)
    data = encode(Image.fromarray(np.dstack([grey, alpha])), form)
    for channels in (1, 3):
        picture = read(data, channels)
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, alpha)
        expected = over_white(grey[:, :, None], alpha).repeat(channels, 2)
        assert_close(picture.pixels, expected, 1)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_rgba(form: str) -> None:
    pixels = noise(5, 6, 4)
    pixels[0, 0, 3], pixels[0, 1, 3] = 0, 255
    colours, alpha = pixels[:, :, :3], pixels[:, :, 3]
    data = encode(
        Image.fromarray(pixels), form, **{"WEBP": {"lossless": True, "exact": True}}.get(form, {})
    )
    picture = read(data, 3)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, alpha)
    assert_close(picture.pixels, over_white(colours, alpha), 1)
    assert picture.pixels[0, 0].tolist() == [255, 255, 255]
    assert picture.pixels[0, 1].tolist() == colours[0, 1].tolist()
    four = read(data, 4)
    assert np.array_equal(four.pixels, pixels)
    assert four.alpha is None
    assert_close(read(data, 1).pixels, grey_of(over_white(colours, alpha)), 2)


def test_opaque_alpha_is_none() -> None:
    pixels = noise(5, 6, 4)
    pixels[:, :, 3] = 255
    picture = read(encode(Image.fromarray(pixels)), 3)
    assert picture.alpha is None
    assert np.array_equal(picture.pixels, pixels[:, :, :3])


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_by_its_high_byte(form: str, order: str) -> None:
    values = np.array([[0, 255, 256], [0x7FFF, 0x8000, 0xFFFF]], order)
    data = encode(Image.fromarray(values), form)
    assert read(data, 1).pixels[:, :, 0].tolist() == [[0, 0, 1], [0x7F, 0x80, 0xFF]]
    assert read(data, 3).pixels[:, :, 2].tolist() == [[0, 0, 1], [0x7F, 0x80, 0xFF]]


def test_32_bit_integers_within_16_bits() -> None:
    data = encode(Image.fromarray(np.array([[0, 256, 0xFFFF]], np.int32)), "TIFF")
    assert read(data, 1).pixels[:, :, 0].tolist() == [[0, 1, 255]]


@pytest.mark.parametrize("values", [[[0, 0x10000]], [[-1, 5]]])
def test_32_bit_integers_beyond_are_refused(values: list[list[int]]) -> None:
    data = encode(Image.fromarray(np.array(values, np.int32)), "TIFF")
    with pytest.raises(ImageError, match=r"32-bit integer pixels.*scale them"):
        read(data, 3)


def test_floating_point_is_refused() -> None:
    data = encode(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF")
    with pytest.raises(ImageError, match=r"floating-point pixels.*scale them"):
        read(data, 3)


def test_16_bit_colour_by_its_high_byte() -> None:
    """A PNG by hand: Pillow writes none."""
    import zlib

    values = np.array([[[0, 255, 256], [0x7FFF, 0x8000, 0xFFFF]]], ">u2")

    def part(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" + values.tobytes())
    parts = part(b"IHDR", header) + part(b"IDAT", rows) + part(b"IEND", b"")
    assert read(b"\x89PNG\r\n\x1a\n" + parts, 3).pixels.tolist() == [[[0, 0, 1], [127, 128, 255]]]


def test_cmyk_jpeg() -> None:
    inks = np.zeros((32, 32, 4), np.uint8)
    inks[:16, :16] = (255, 0, 0, 0)
    inks[:16, 16:] = (0, 255, 255, 0)
    inks[16:, :16] = (100, 50, 0, 60)
    inks[16:, 16:] = (0, 0, 0, 255)
    data = encode(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    paper = 255 - inks.astype(np.float64)
    expected = paper[:, :, :3] * paper[:, :, 3:] / 255
    assert_close(read(data, 3).pixels, expected, 3)
    assert_close(read(data, 1).pixels, grey_of(expected), 4)


def test_jpeg() -> None:
    pixels = gradient()
    assert_close(read(encode(Image.fromarray(pixels), "JPEG", quality=95), 3).pixels, pixels, 6)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_one_pixel(mode: str, channels: int) -> None:
    picture = read(encode(Image.new(mode, (1, 1))), channels)
    assert picture.pixels.shape == (1, 1, channels)
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "green", "blue")]
    more = {"append_images": frames[1:], "save_all": True}
    if form != "TIFF":
        more["duration"] = 50
    if form == "WEBP":
        more["lossless"] = True
    picture = read(encode(frames[0], form, **more), 3)
    assert (picture.pixels == [255, 0, 0]).all()
    assert picture.pixels.shape == (6, 8, 3)


# Orientation

UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What EXIF 2.3, tag 0x0112, asks a viewer to do with the stored rows."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_exif_orientation(orientation: int, form: str) -> None:
    stored = noise(4, 6, 4)
    stored[:, :, 3] |= 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(Image.fromarray(stored), form, exif=exif, **options)
    expected = UPRIGHT[orientation](stored)
    assert np.array_equal(read(data, 4).pixels, expected)
    picture = read(data, 3)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, expected[:, :, 3])


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_of_a_jpeg(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(Image.fromarray(gradient()), "JPEG", quality=95, exif=exif)
    assert_close(read(data, 3).pixels, UPRIGHT[orientation](gradient()), 6)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_is_none_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise(4, 6, 3)
    assert np.array_equal(read(encode(Image.fromarray(pixels), exif=exif), 3).pixels, pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.filterwarnings("ignore:Tag data larger than file")
@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"MM",
        b"garbage, garbage",
        b"II*\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\0\x36\0\0\0\0\0\0\0",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x0c\0\x05\0\0\0\xff\xff\0\0\0\0\0\0",
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_broken_exif_is_ignored(form: str, exif: bytes) -> None:
    """The pixels are whole: a viewer would show them."""
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(Image.fromarray(gradient()), form, exif=b"Exif\0\0" + exif, **options)
    assert_close(read(data, 3).pixels, gradient(), 12)


# Colour profiles

SRGB_PRIMARIES = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
"""sRGB's primaries, adapted to D50, as the columns that profiles give (IEC 61966-2-1)."""
ADOBE_PRIMARIES = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
"""Adobe RGB (1998)'s, section 4.3.6."""
D50 = (0.9642, 1.0, 0.8249)


def profile(primaries: np.ndarray, gamma: float, name: str = "made for a test") -> bytes:
    """A version 2 matrix profile for RGB (ICC.1:2001-04, section 6.3.1.2)."""

    def fixed(values: object) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    def xyz(values: object) -> bytes:
        return b"XYZ \0\0\0\0" + fixed(values)

    text = name.encode() + b"\0"
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(8 + 3 + 67)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    tags = {b"desc": desc, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(D50)}
    for colour, column in zip(b"rgb", primaries.T, strict=True):
        tags[bytes([colour]) + b"XYZ"] = xyz(column)
        tags[bytes([colour]) + b"TRC"] = curve
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for tag, value in tags.items():
        value += bytes(-len(value) % 4)
        table += struct.pack(">4sII", tag, start + len(body), len(value))
        body += value
    rest = struct.pack(">I", len(tags)) + table + body
    header = struct.pack(
        ">I4sI4s4s4s", 128 + len(rest), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ "
    )
    header += struct.pack(">6H4s4s", 2026, 1, 1, 0, 0, 0, b"acsp", bytes(4))
    header = header.ljust(68, b"\0") + fixed(D50)
    return header.ljust(128, b"\0") + rest


def to_srgb(colours: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """What :func:`profile` means, in closed form; IEC 61966-2-1's encoding at the end."""
    light = (colours / 255) ** gamma @ (np.linalg.inv(SRGB_PRIMARIES) @ primaries).T
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return 255 * encoded


PROFILES = {
    "linear": (SRGB_PRIMARIES, 1.0),
    "swapped primaries": (SRGB_PRIMARIES[:, [1, 2, 0]], 1.0),
    "Adobe RGB": (ADOBE_PRIMARIES, 563 / 256),
    "dark": (SRGB_PRIMARIES, 3.0),
}


@pytest.mark.parametrize("kind", PROFILES)
def test_profile_is_converted(kind: str) -> None:
    colours = noise(32, 32, 3)
    data = encode(Image.fromarray(colours), icc_profile=profile(*PROFILES[kind]))
    expected = to_srgb(colours, *PROFILES[kind])
    assert np.abs(expected - colours).max() > 20
    assert_close(read(data, 3).pixels, expected, 2)
    assert_close(read(data, 1).pixels, grey_of(expected), 3)


def test_profile_with_alpha() -> None:
    pixels = noise(32, 32, 4)
    colours, alpha = pixels[:, :, :3], pixels[:, :, 3]
    data = encode(Image.fromarray(pixels), icc_profile=profile(ADOBE_PRIMARIES, 563 / 256))
    expected = to_srgb(colours, ADOBE_PRIMARIES, 563 / 256)
    picture = read(data, 3)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, alpha)
    assert_close(picture.pixels, over_white(expected, alpha), 2.5)
    four = read(data, 4).pixels
    assert np.array_equal(four[:, :, 3], alpha)
    assert_close(four[:, :, :3], expected, 2)


def test_profile_of_a_palette() -> None:
    image, colours = palette_image()
    data = encode(image, icc_profile=profile(SRGB_PRIMARIES, 1.0))
    assert_close(read(data, 3).pixels, to_srgb(colours, SRGB_PRIMARIES, 1.0), 2)


@pytest.mark.parametrize("channels", [3, 4])
def test_profile_with_one_transparent_colour(channels: int) -> None:
    colours = noise(8, 8, 3)
    colours[2, 3] = (10, 20, 30)
    data = encode(
        Image.fromarray(colours),
        transparency=(10, 20, 30),
        icc_profile=profile(SRGB_PRIMARIES, 1.0),
    )
    alpha = np.full((8, 8), 255)
    alpha[2, 3] = 0
    picture = read(data, channels)
    found = picture.pixels[:, :, 3] if channels == 4 else picture.alpha
    assert found is not None
    assert np.array_equal(found, alpha)
    if channels == 3:
        expected = over_white(to_srgb(colours, SRGB_PRIMARIES, 1.0), alpha)
        assert_close(picture.pixels, expected, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_and_grey_images_ignore_a_colour_profile(channels: int) -> None:
    """A profile for RGB says nothing of grey pixels."""
    unusable = profile(SRGB_PRIMARIES, 1.0)
    grey = noise(4, 4)
    data = encode(Image.fromarray(grey), icc_profile=unusable)
    assert np.array_equal(read(data, channels).pixels[:, :, 0], grey)
    data = encode(Image.fromarray(grey.astype(np.uint16) << 8), icc_profile=unusable)
    assert np.array_equal(read(data, channels).pixels[:, :, 0], grey)


def test_srgb_profile_changes_nothing() -> None:
    pixels = noise(32, 32, 3)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(Image.fromarray(pixels), icc_profile=srgb)
    assert Image.open(io.BytesIO(data)).info["icc_profile"] == srgb
    assert np.array_equal(read(data, 3).pixels, pixels)


@pytest.mark.parametrize(
    "name", ["GIMP built-in Linear sRGB", "sRGB-elle-V4-g10.icc", "sRGB IEC61966-2.1", "srgb"]
)
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_what_a_profile_does_counts_and_not_its_name(name: str, gamma: float) -> None:
    colours = noise(32, 32, 3)
    data = encode(Image.fromarray(colours), icc_profile=profile(SRGB_PRIMARIES, gamma, name))
    assert_close(read(data, 3).pixels, to_srgb(colours, SRGB_PRIMARIES, gamma), 2)


def grey_profile(gamma: float) -> bytes:
    """A version 2 profile for grey (ICC.1:2001-04, section 6.3.1.1)."""
    data = profile(SRGB_PRIMARIES, gamma).replace(b"RGB XYZ ", b"GRAYXYZ ", 1)
    return data.replace(b"rTRC", b"kTRC", 1)


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", ["L", "LA", "I;16"])
def test_profile_of_grey(kind: str, form: str) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(grey.astype(np.uint16) * 257 if kind == "I;16" else grey)
    if kind == "LA":
        image.putalpha(Image.fromarray(np.full((16, 16), 200, np.uint8)))
    data = encode(image, form, icc_profile=grey_profile(1.0))
    expected = to_srgb(grey[:, :, None].repeat(3, axis=2), SRGB_PRIMARIES, 1.0)
    four = read(data, 4)
    assert_close(four.pixels[:, :, :3], expected, 2)
    assert (four.pixels[:, :, 3] == (200 if kind == "LA" else 255)).all()
    assert not four.warnings


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_profile_of_a_palette_with_a_transparent_entry(form: str) -> None:
    image, colours = palette_image()
    data = encode(image, form, transparency=3, icc_profile=profile(SRGB_PRIMARIES, 1.0))
    four = read(data, 4).pixels
    seen = np.asarray(image) != 3
    if form == "GIF":  # Pillow writes it in animations only
        made = profile(SRGB_PRIMARIES, 1.0)
        parts = [made[at : at + 255] for at in range(0, len(made), 255)]
        blocks = b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
        head = 13 + 3 * 2 ** ((data[10] & 7) + 1)
        data = data[:head] + b"!\xff\x0bICCRGBG1012" + blocks + data[head:]
        four = read(data, 4).pixels
    expected = to_srgb(colours, SRGB_PRIMARIES, 1.0)
    assert np.abs(four[:, :, :3] - expected)[seen].max() <= 2
    assert np.array_equal(four[:, :, 3], np.where(seen, 255, 0))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "JPEG2000"])
def test_profile_in_each_format(form: str) -> None:
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {form}")
    colours = gradient()
    made = profile(SRGB_PRIMARIES, 1.0)
    options: dict[str, object] = {"icc_profile": made, "quality": 100}
    if form == "JPEG2000":  # Pillow writes none there: put into its header by hand
        data = encode(Image.fromarray(colours), form)
        at = data.index(b"colr") - 4
        box = struct.pack(">I4sBBB", 11 + len(made), b"colr", 2, 0, 0) + made
        head = data.index(b"jp2h") - 4
        (length,) = struct.unpack_from(">I", data, head)
        length += len(box) - 15
        data = data[:head] + struct.pack(">I", length) + data[head + 4 : at] + box + data[at + 15 :]
    else:
        data = encode(Image.fromarray(colours), form, **options)
    expected = to_srgb(colours, SRGB_PRIMARIES, 1.0)
    assert np.abs(read(data, 3).pixels - expected).mean() < 4
    assert np.abs(expected - colours).mean() > 30


def test_a_profile_in_a_bitmap() -> None:
    """Microsoft's BITMAPV5HEADER with PROFILE_EMBEDDED."""
    colours, made = gradient(), profile(SRGB_PRIMARIES, 1.0)
    rows = colours[::-1, :, ::-1].tobytes()
    height, width = colours.shape[:2]
    assert 3 * width % 4 == 0
    head = struct.pack("<IiiHHIIiiII", 124, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    head = head.ljust(56, b"\0") + b"DEBM" + bytes(48)
    head += struct.pack("<IIII", 4, 124 + len(rows), len(made), 0)
    body = head + rows + made
    data = b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 14 + 124) + body
    assert_close(read(data, 3).pixels, to_srgb(colours, SRGB_PRIMARIES, 1.0), 2)


def test_a_profile_larger_than_pillow_takes() -> None:
    made = profile(SRGB_PRIMARIES, 1.0) + np.random.default_rng(0).bytes(2_000_000)
    made = struct.pack(">I", len(made)) + made[4:]
    colours = gradient()
    picture = read(encode(Image.fromarray(colours), "PNG", icc_profile=made), 3)
    assert_close(picture.pixels, to_srgb(colours, SRGB_PRIMARIES, 1.0), 2)
    assert not picture.warnings


def test_a_profile_of_which_a_part_is_missing() -> None:
    """JPEG has it in pieces of 64 KiB."""
    made = profile(SRGB_PRIMARIES, 1.0) + bytes(100_000)
    made = struct.pack(">I", len(made)) + made[4:]
    data = encode(Image.fromarray(gradient()), "JPEG", icc_profile=made)
    assert not read(data, 3).warnings
    at = data.index(b"ICC_PROFILE\0\2\2") - 4
    (length,) = struct.unpack_from(">H", data, at + 2)
    picture = read(data[:at] + data[at + 2 + length :], 3)
    assert "colour profile is left out: parts of it are missing" in picture.warnings[0]


def test_a_profile_for_other_samples_is_said() -> None:
    grey = encode(Image.fromarray(noise(4, 4)), icc_profile=profile(SRGB_PRIMARIES, 1.0))
    assert "it is for RGB, the image is GRAY" in read(grey, 3).warnings[0]
    colours = encode(Image.fromarray(noise(4, 4, 3)), icc_profile=grey_profile(1.0))
    assert "it is for GRAY, the image is RGB" in read(colours, 3).warnings[0]
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    usual = encode(Image.fromarray(noise(4, 4)), icc_profile=srgb)
    assert not read(usual, 3).warnings


@pytest.mark.parametrize("cut", [0, 1, 100, 130, 200, 400])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_broken_profile_is_ignored(cut: int, channels: int) -> None:
    pixels = noise(4, 4, 3)
    broken = profile(ADOBE_PRIMARIES, 2.2)[:cut] or b"\0"
    data = encode(Image.fromarray(pixels), icc_profile=broken)
    expected = read(encode(Image.fromarray(pixels)), channels)
    found = read(data, channels)
    assert np.array_equal(found.pixels, expected.pixels)
    assert "its colour profile is left out" in found.warnings[0]


# What is refused


def test_empty() -> None:
    with pytest.raises(ImageError, match="empty"):
        read(b"", 3)


@pytest.mark.parametrize(
    "data",
    [b"not an image, just text\n" * 9, b"\0" * 5000, b"%PDF-1.4\n", b"<svg/>", b"P6 0 4 255\n"],
)
def test_no_image(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"not an image(, or of a kind| but )"):
        read(data, 3)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
def test_truncated(form: str) -> None:
    data = encode(Image.fromarray(noise(64, 64, 3)), form)
    for cut in (len(data) // 2, len(data) - len(data) // 8):
        with pytest.raises(ImageError, match=r"damaged|not an image"):
            read(data[:cut], 3)


@given(data=st.data())
@settings(max_examples=150)
def test_damage_is_an_image_error_or_an_image(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "TGA", "PCX"]))
    raw = bytearray(encode(Image.fromarray(noise(9, 9, 3)), form))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, min(len(raw) - 1, 120)))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            picture = read(bytes(raw), 3)
        except ImageError:
            return
    assert picture.pixels.shape[2] == 3 and 0 not in picture.pixels.shape


def test_decompression_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read(encode(Image.new("RGB", (10, 10))), 3).pixels.shape == (10, 10, 3)
    for sides in ((101, 1), (10, 20), (30, 30)):
        with pytest.raises(ImageError, match=r"more than 100 pixels.*decompression bomb"):
            read(encode(Image.new("RGB", sides)), 3)


def test_of_a_large_picture_no_line_is_printed_without_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.png"
    Image.new("RGB", (101, 1)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings(record=True) as printed:
        warnings.resetwarnings()
        assert images.read_size(path) == (1, 101)
    assert printed == []


def test_threads_do_not_disturb_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers decode in threads; the interpreter's warning filters belong to all of them."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    fine, bomb = (encode(Image.new("RGB", (100, width)), "JPEG") for width in (100, 101))

    def refused(number: int) -> bool:
        try:
            read(bomb if number % 2 else fine, 3)
        except ImageError:
            return True
        return False

    assert refused(1)  # the first call has filters set, to stay
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(refused, range(3000)))
    assert answers == [False, True] * 1500
    assert list(warnings.filters) == before


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_channels_that_images_have_not(channels: int) -> None:
    with pytest.raises(InputError, match=f"{channels} input channels.*1 .grey., 3 .RGB. or 4"):
        images.require_mode(channels, "input")


def test_suffixes() -> None:
    found = images.suffixes()
    assert found >= {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm"}
    assert not found & {".pdf", ".txt", ".json", ""}
