"""Which files are pictures."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from pix2pix_batch.imaging import images, kinds, output_formats
from pix2pix_batch.imaging.decoding.formats import formats

Image.init()

SAVED = {
    suffix: name
    for suffix, name in Image.EXTENSION.items()
    if name in Image.SAVE and suffix in kinds.suffixes()
}
"""The suffixes of the formats that Pillow writes here."""

MODES = {"MSP": "1", "XBM": "1", "BLP": "P"}
SIDE = 128


def made(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new(MODES.get(form, "RGB"), (SIDE, SIDE), 0).save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", sorted(SAVED))
def test_each_suffix_stands_for_a_format_that_is_read(suffix: str) -> None:
    data = made(SAVED[suffix])
    height, width, channels = images.read(data, 3).pixels.shape
    assert channels == 3
    assert height == width >= SIDE  # an icon of macOS is enlarged
    assert kinds.is_picture(f"x/a{suffix.upper()}", lambda: io.BytesIO(data))


def test_the_usual_ones_are_among_them() -> None:
    usual = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    assert kinds.suffixes() >= usual | {".mpo", ".ppm", ".pgm", ".jp2", ".tga", ".ico"}
    assert (".avif" in kinds.suffixes()) == ("AVIF" in Image.OPEN), "Pillow has it from 11.3 on"


NO_PICTURES = (
    ".bufr", ".emf", ".eps", ".fit", ".fits", ".grib", ".h5", ".hdf", ".mpeg", ".mpg", ".palm",
    ".pdf", ".ps", ".txt", ".wmf", "",
)  # fmt: skip


@pytest.mark.parametrize("suffix", NO_PICTURES)
def test_what_pillow_only_knows_or_writes_is_no_input(suffix: str) -> None:
    assert suffix not in kinds.suffixes()
    assert not kinds.is_picture(f"a{suffix}", lambda: None)


OTHERS = {
    ".pcd": b"# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n",
    ".gbr": b"G04 Gerber*\n%FSLAX46Y46*%\n",
    ".pfm": b"\x00\x01\xc7\x02\x00\x00Copyright of a font",
    ".msp": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    ".rgb": bytes(range(256)) * 12,
    ".bw": b"\x10\x20" * 700,
    ".vst": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
    ".im": b"import numpy as np\n" * 20,
}


@pytest.mark.parametrize("suffix", sorted(OTHERS))
def test_other_files_with_a_pictures_suffix_are_none(suffix: str) -> None:
    assert suffix in kinds.SHARED
    assert not kinds.is_picture(f"a{suffix}", lambda: io.BytesIO(OTHERS[suffix]))


def test_what_cannot_be_looked_at_is_an_input_that_fails() -> None:
    assert kinds.is_picture("a.rgb", lambda: None)


@pytest.mark.parametrize("name", ["FITS", "HDF5", "MPEG", "EPS", "WMF", "GRIB", "BUFR"])
def test_what_is_not_read_is_not_opened_by_another_name(name: str) -> None:
    assert name not in formats()


@pytest.mark.parametrize(("form", "most"), [("jpg", 65_500), ("webp", 16_383)])
def test_the_largest_sides_are_those_that_can_be_written(form: str, most: int) -> None:
    output_formats.require_size(form, most, 1)
    output_formats.require_size(form, 1, most)
    image = Image.new("L", (most, 1))
    image.save(io.BytesIO(), "JPEG" if form == "jpg" else "WEBP")
    for size in ((most + 1, 1), (1, most + 1)):
        with pytest.raises(images.ImageError, match=rf"{most:,} on a side; choose --format png"):
            output_formats.require_size(form, *size)
        with pytest.raises((OSError, ValueError)):
            Image.new("L", size).save(io.BytesIO(), "JPEG" if form == "jpg" else "WEBP")
    for other in ("png", "tiff"):
        output_formats.require_size(other, 10**6, 10**6)


def test_a_file_is_looked_into_only_where_its_name_does_not_tell() -> None:
    looked = []

    def look() -> None:
        looked.append(1)

    kinds.is_picture("a.png", look)
    kinds.is_picture("a.txt", look)
    assert not looked
