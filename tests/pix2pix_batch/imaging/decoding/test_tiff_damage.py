"""Damaged TIFF files: refused, or told of where what is read may be wrong."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import read
from tests.pix2pix_batch.imaging.decoding.tiffs import (
    Kind,
    make,
)
from tests.pix2pix_batch.test_hostile_images import compressed_zeros


def with_lost(data: bytes, tag: int, index: int) -> bytes:
    """A little-endian TIFF file in which one number of a list of LONG is 0."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            kind, _, place = struct.unpack_from("<HII", data, at + 2)
            size = {3: 2, 4: 4}[kind]
            place += size * index
            return data[:place] + bytes(size) + data[place + size :]
    raise AssertionError(tag)


@pytest.mark.parametrize("photometric", ["minisblack", "rgb", "cielab"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("compression", ["none", "zlib"])
def test_blocks_whose_place_or_length_is_lost(
    photometric: str, bits: int, tile: tuple[int, int] | None, compression: str
) -> None:
    """They are damage; only those that have neither are not there."""
    kind = Kind(bits, photometric, "contig", (), compression, False, "<", tile)
    made = make(kind)
    assert made is not None
    places, lengths = (324, 325) if tile else (273, 279)
    with pytest.raises(ImageError, match="damaged: the place"):
        read(with_lost(made.data, places, 1), 3)
    without_length = with_lost(made.data, lengths, 1)
    try:
        found = read(without_length, 3).pixels
        assert compression == "none" and np.array_equal(found, read(made.data, 3).pixels)
    except ImageError as error:
        assert "damaged" in str(error)


@pytest.mark.parametrize("place", [2**63 - 8, 2**63, 2**64 - 1])
def test_places_beyond_what_can_be_sought(place: int) -> None:
    """Of the directory in BigTIFF, where Pillow raises OverflowError: it is the image's failure."""
    with pytest.raises(ImageError, match="damaged"):
        read(b"II+\0" + struct.pack("<HHQ", 8, 0, place) + bytes(64), 3)


@pytest.mark.parametrize("extra", [(), ("unassalpha",)])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
def test_strips_that_expand(photometric: str, extra: tuple[str, ...]) -> None:
    """A strip of a quarter of a megabyte that is a quarter of a gigabyte of zeros."""
    made = make(Kind(8, photometric, "contig", extra, "zlib"))
    assert made is not None
    strip = compressed_zeros(256)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with suppress(ImageError):
        read(with_first_strip(made.data, strip), 3)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kilobytes


def with_first_strip(data: bytes, strip: bytes) -> bytes:
    """A little-endian file whose first strip is another."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    found = bytearray(data + strip)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind, number, where = struct.unpack_from("<HHII", data, entry)
        if tag not in (273, 279):
            continue
        code = {3: "H", 4: "I"}[kind]
        values = list(struct.unpack_from(f"<{number}{code}", data, where))
        values[0] = len(data) if tag == 273 else len(strip)
        struct.pack_into("<HHII", found, entry, tag, 4, number, len(found))
        found += struct.pack(f"<{number}I", *values)
    return bytes(found)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize(
    ("compression", "is_endless"), [("zlib", False), ("zlib", True), ("packbits", False)]
)
def test_data_that_is_not_what_was_written_is_told(
    compression: str, is_endless: bool, planar: str
) -> None:
    """Which libtiff passes over: a strip's data that goes on beyond its rows, with a checksum that
    is wrong or none, and runs that do."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    pixels[:, :30] = 9
    planes = pixels if planar == "contig" else np.moveaxis(pixels, 2, 0)
    options = {"level": 0} if compression == "zlib" else {}
    for orientation, turns in ((6, -1), (1, 0)):
        file = io.BytesIO()
        tifffile.imwrite(
            file, planes, photometric="rgb", planarconfig=planar, compression=compression,
            compressionargs=options, rowsperstrip=10, extratags=[(274, "H", 1, orientation, True)],
        )  # fmt: skip
        picture = read(file.getvalue(), 3)
        assert np.array_equal(picture.pixels, np.rot90(pixels, turns)) and picture.warnings == ()
    data = bytearray(file.getvalue())
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        start, length = (values[-1] for values in (opened.pages[0].dataoffsets,
                                                  opened.pages[0].databytecounts))  # fmt: skip
    if compression == "zlib":
        wrong = bytearray(zlib.compress(bytes(5000)))
        wrong[-1] ^= 1
        if is_endless:  # a block that is longer than the strip
            wrong = bytearray(b"\x78\x01\0\xff\xff\0\0".ljust(length, b"\0"))
        data[start : start + len(wrong)] = wrong
    else:  # the last run of the strip
        at = max(k for k in range(start, start + length) if data[k] > 160 and data[k + 1] == 9)
        data[at] -= 25
    told = {"zlib": "wrong checksum of its data", "packbits": "more samples than it has"}
    (warning,) = read(bytes(data), 3).warnings
    assert told[compression] in warning
    with pytest.raises(ImageError, match="--strict"):
        read(bytes(data), 3, Tolerance(strict=True))


def test_planes_of_webp_are_refused() -> None:
    """As tiffcp writes colours that WebP has together, with one strip of each plane's place."""
    file = io.BytesIO()
    pixels = np.full((3, 16, 16), 90, np.uint8)
    tifffile.imwrite(file, pixels, photometric="rgb", planarconfig="separate")
    data = bytearray(file.getvalue())
    at = data.index(struct.pack("<HHI", 259, 3, 1))
    struct.pack_into("<H", data, at + 8, 50001)
    with pytest.raises(ImageError, match="planes that are each compressed as WebP"):
        read(bytes(data), 3)


def encode_with_pillow(image: Image.Image, compression: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "TIFF", compression=compression)
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "jpeg", "tiff_lzw"])
@pytest.mark.parametrize("kind", ["flip", "hole"])
def test_damaged_data_is_refused_or_told_where_it_shows(compression: str, kind: str) -> None:
    """Libtiff reads on after rows of faxes that are no code, after codes of LZW that are of more
    samples, and after JPEG data that is none. A bit that is flipped in JPEG data shows seldom."""
    few = np.random.default_rng(1).integers(0, 2, (12, 20)).astype(np.uint8)
    bits = few.repeat(4, 0).repeat(5, 1) * 255
    image = Image.fromarray(bits).convert("1")
    if compression == "jpeg":
        image = Image.fromarray(np.cumsum(bits % 7, 1).astype(np.uint8)).convert("RGB")
    elif compression == "tiff_lzw":
        image = image.convert("L")
    data = encode_with_pillow(image, compression)
    whole = read(data, 3)
    assert whole.warnings == ()
    with tifffile.TiffFile(io.BytesIO(data)) as opened:
        page = opened.pages.first
        start, length = page.dataoffsets[0], page.databytecounts[0]
    shown = silent = 0
    for place in np.linspace(length // 4, 0.8 * length, 25).astype(int):
        damaged = bytearray(data)
        at = start + int(place)
        if kind == "flip":
            damaged[at] ^= 16
        else:  # two bytes are lost, and the rest moves up
            damaged[at : start + length] = damaged[at + 2 : start + length] + b"\0\0"
        try:
            found = read(bytes(damaged), 3)
        except ImageError as error:
            assert str(error).startswith("damaged")
            shown += 1
            continue
        if found.warnings:
            assert found.warnings[0].startswith("damaged")
            shown += 1
        else:
            silent += not np.array_equal(found.pixels, whole.pixels)
    most = 0.75 if compression == "jpeg" else 0.25
    assert shown and silent <= (shown + silent) * most, (shown, silent)


@pytest.mark.parametrize("tag", [258, 262, 277, 317])
@pytest.mark.parametrize("wrong", ["count", "kind"])
def test_a_tag_without_a_value_is_refused(tag: int, wrong: str) -> None:
    """Libtiff takes what is usual in its place."""
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    tifffile.imwrite(file, pixels, photometric="minisblack", compression="zlib", predictor=2,
                     metadata=None)  # fmt: skip
    data = bytearray(file.getvalue())
    assert np.array_equal(read(bytes(data), 1).pixels[:, :, 0], pixels)
    at = next(
        at for at in range(10, len(data)) if struct.unpack_from("<HHI", data, at) == (tag, 3, 1)
    )  # TIFF 6.0, section 2
    if wrong == "count":
        struct.pack_into("<I", data, at + 4, 0)
    else:
        struct.pack_into("<H", data, at + 2, 2)
    with pytest.raises(ImageError, match=r"damaged: .*(no value|cannot)|does not say"):
        read(bytes(data), 1)
