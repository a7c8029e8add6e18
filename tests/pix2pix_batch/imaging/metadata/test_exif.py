"""What outputs keep of EXIF, as Pillow and GDAL read it."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.metadata import exif
from pix2pix_batch.imaging.metadata.tiff import Field, Tiff, encode
from tests.formats import PICTURE_FORMATS

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

IMAGE = {
    Base.ImageDescription: "a street",
    Base.Make: "Maker",
    Base.Model: "Model 1",
    Base.XResolution: IFDRational(72, 1),
    Base.YResolution: IFDRational(96, 1),
    Base.ResolutionUnit: 2,
    Base.DateTime: "2026:05:04 03:02:01",
    Base.Artist: "somebody",
    Base.Copyright: "nobody",
    Base.XPTitle: "Tïtle\0".encode("utf-16-le"),
}
CAMERA = {
    Base.ExifVersion: b"0232",
    Base.ExposureTime: IFDRational(1, 250),
    Base.ExposureBiasValue: IFDRational(-1, 3),
    Base.ISOSpeedRatings: 400,
    Base.DateTimeOriginal: "2026:05:04 03:02:00",
    Base.UserComment: b"ASCII\0\0\0hello",
    Base.LensModel: "a lens",
}
PLACE = {
    GPS.GPSVersionID: b"\2\3\0\0",
    GPS.GPSLatitudeRef: "N",
    GPS.GPSLatitude: (IFDRational(48), IFDRational(12), IFDRational(305, 10)),
    GPS.GPSLongitudeRef: "E",
    GPS.GPSLongitude: (IFDRational(16), IFDRational(22), IFDRational(1, 3)),
    GPS.GPSAltitude: IFDRational(1711, 10),
}
GONE_OF_IMAGE = {Base.Orientation: 6, Base.WhitePoint: (IFDRational(1, 3), IFDRational(1, 3))}
GONE_OF_CAMERA = {
    Base.MakerNote: b"secrets" * 9,
    Base.ColorSpace: 0xFFFF,
    Base.ExifImageWidth: 7,
    Base.ExifImageHeight: 5,
    Base.ImageUniqueID: "0123456789abcdef",
    0x9214: (1, 2, 3),
    0xFDE8: "unknown",
}


def block(endian: str = "<", orientation: int = 6) -> Image.Exif:
    found = Image.Exif()
    found.endian = endian
    found.update({**IMAGE, **GONE_OF_IMAGE, Base.Orientation: orientation})
    found[IFD.Exif] = {**CAMERA, **GONE_OF_CAMERA}
    found[IFD.GPSInfo] = dict(PLACE)
    return found


def file_of(form: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    buffer = io.BytesIO()
    given = options["exif"] if "exif" in options else block(**options).tobytes()
    Image.fromarray(pixels).save(buffer, form, exif=given)
    return buffer.getvalue()


def converted(data: bytes, form: str) -> bytes:
    """As converting does it, with the model left out."""
    picture = images.read(data, 3)
    told = exif.parse(data) or exif.parse(picture.exif)
    assert told is not None
    kept = exif.select_fields(told, sideways=picture.orientation >= 5)
    return images.write(picture, form, 90, exif.block(kept), kept)


def plain(values: dict[int, Any]) -> dict[int, Any]:
    def of(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(of, value))
        if isinstance(value, IFDRational):
            return Fraction(value.numerator, value.denominator)
        return value

    return {int(tag): of(value) for tag, value in values.items()}


@pytest.mark.parametrize("form", PICTURE_FORMATS)
@pytest.mark.parametrize("endian", "<>")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_kept_from_any_format_to_any(kind: str, endian: str, form: str) -> None:
    data = converted(file_of(kind, endian=endian), form)
    with Image.open(io.BytesIO(data)) as image:
        assert image.size == (5, 7), "turned"
        made = image.getexif()
        assert plain(made.get_ifd(IFD.Exif)) == plain(CAMERA)
        assert plain(made.get_ifd(IFD.GPSInfo)) == plain(PLACE)
        assert made.get_ifd(IFD.IFD1) == {}
        found = {tag: made[tag] for tag in IMAGE}
        swapped = {Base.XResolution: IFDRational(96), Base.YResolution: IFDRational(72)}
        assert plain(found) == plain({**IMAGE, **swapped})
        assert not set(GONE_OF_IMAGE) & set(made)
        image.load()


def test_gdal_reads_it_too(tmp_path: Path) -> None:
    for form in ("jpg", "tiff"):
        path = tmp_path / f"a.{form}"
        path.write_bytes(converted(file_of("JPEG", orientation=1), form))
        with rasterio.open(path) as file:
            tags = {**file.tags(), **file.tags(ns="EXIF")}
        assert tags["EXIF_ExposureTime"].split() == ["(0.004)"]
        assert tags["EXIF_GPSLatitude"].split() == ["(48)", "(12)", "(30.5)"]
        assert tags["EXIF_LensModel"] == "a lens"


def test_a_thumbnail_of_the_input_is_not_kept() -> None:
    thumbnail = file_of("JPEG", exif=b"")
    first = {Base.Make: Field(2, b"Maker\0")}
    second = {0x0103: Field.of(3, 6), 0x0201: Field.of(4, 0), 0x0202: Field.of(4, len(thumbnail))}
    start = 8 + len(encode(first, 8))
    start += start % 2
    at = start + len(encode(second, start))
    second[0x0201] = Field.of(4, at)
    body = bytearray(b"II*\0\x08\0\0\0" + encode(first, 8).ljust(start - 8, b"\0"))
    link = 8 + 2 + 12 * len(first)
    body[link : link + 4] = start.to_bytes(4, "little")
    body += encode(second, start) + thumbnail
    data = file_of("JPEG", exif=b"Exif\0\0" + bytes(body))
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif().get_ifd(IFD.IFD1), "the test's own thumbnail is there"
    made = converted(data, "jpg")
    with Image.open(io.BytesIO(made)) as image:
        assert image.getexif()[Base.Make] == "Maker"
        assert image.getexif().get_ifd(IFD.IFD1) == {}
    assert thumbnail[-40:] not in made


def test_nothing_to_keep_adds_nothing() -> None:
    empty = Image.Exif()
    empty[Base.Orientation] = 1
    for form in PICTURE_FORMATS:
        data = file_of("PNG", exif=empty)
        assert converted(data, form) == images.write(images.read(data, 3), form, 90)


def test_the_same_every_time() -> None:
    for form in PICTURE_FORMATS:
        assert converted(file_of("JPEG"), form) == converted(file_of("JPEG"), form)


@pytest.mark.parametrize("data", [b"", b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0XX*\0\x08\0\0\0"])
def test_what_is_none_is_ignored(data: bytes) -> None:
    assert exif.parse(data) is None


@settings(max_examples=300)
@given(st.binary(max_size=40), st.integers(0, 700))
def test_damage_does_no_harm(noise: bytes, at: int) -> None:
    whole = block().tobytes()
    damaged = whole[:at] + noise + whole[at + len(noise) :]
    told = exif.parse(damaged)
    if told is not None:
        kept = exif.select_fields(told)
        again = exif.parse(exif.block(kept))
        assert (exif.select_fields(again) if again else {}) == kept


def test_directories_of_overlapping_values_stay_small() -> None:
    """Each of 64 fields claims the same megabyte."""
    entries = b"".join(
        tag.to_bytes(2, "little") + b"\7\0" + (1 << 20).to_bytes(4, "little") + b"\0" * 4
        for tag in range(64)
    )
    data = b"II*\0\x08\0\0\0" + b"\x40\0" + entries + b"\0" * (1 << 20)
    fields = Tiff(data).directory()
    assert sum(len(field.data) for field in fields.values()) <= 1 << 20
