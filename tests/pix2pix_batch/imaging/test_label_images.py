"""Images of labels, read one-hot."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import ExifTags, Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.label_images import find_edges, read_labels
from pix2pix_batch.label_map import Colour, LabelMap, parse_labels

PALETTE = ((0, 0, 0), (128, 64, 128), (255, 0, 0), (1, 2, 3), (70, 70, 70))

IDS = np.array([[0, 1, 2, 3], [4, 0, 1, 4]], np.uint8)


def encode(image: Image.Image, form: str = "PNG", **values: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **values)
    return buffer.getvalue()


def indexed(ids: np.ndarray) -> Image.Image:
    """With a palette of other colours than greys."""
    image = Image.fromarray(ids, "P")
    image.putpalette([value for k in range(256) for value in (255 - k, k * 7 % 256, 13)])
    return image


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)),
                     elements=st.integers(0, 4)), st.booleans())  # fmt: skip
def test_each_label_is_a_channel(ids: np.ndarray, edges: bool) -> None:
    labels = LabelMap(5, edges)
    found = read_labels(encode(Image.fromarray(ids)), labels).pixels
    assert found.dtype == np.uint8 and found.shape == (*ids.shape, 5 + edges)
    assert np.array_equal(found[:, :, :5] == 255, ids[:, :, None] == np.arange(5))
    assert set(np.unique(found)) <= {0, 255}
    assert np.array_equal(read_labels(encode(indexed(ids)), labels).pixels, found)
    coloured = Image.fromarray(np.array(PALETTE, np.uint8)[ids])
    by_colour = LabelMap(5, edges, PALETTE)
    for form in ("PNG", "TIFF", "BMP"):
        assert np.array_equal(read_labels(encode(coloured, form), by_colour).pixels, found)
    expected = np.zeros(ids.shape, bool)
    for y, x in np.ndindex(*ids.shape):
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < ids.shape[0] and 0 <= u < ids.shape[1]:
                expected[y, x] |= ids[y, x] != ids[v, u]
    assert np.array_equal(find_edges(ids), expected)
    assert not edges or np.array_equal(found[:, :, 5] == 255, expected)


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (Image.new("L", (4, 4), 255), LabelMap(5), "has the label 255; the model knows 0 to 4"),
        (Image.new("RGB", (4, 4)), LabelMap(5), "is of mode RGB; .*by their numbers"),
        (Image.new("RGB", (4, 4), (9, 9, 9)), LabelMap(5, False, PALETTE),
         "16 pixels of colours that are no label's, the first 9 9 9"),
    ],
)  # fmt: skip
def test_what_is_no_label_is_told(image: Image.Image, labels: LabelMap, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_labels(encode(image), labels)


def four_bits(ids: np.ndarray) -> bytes:
    """A PNG file of grey of 4 bits, which Pillow does not write; an even number of columns."""
    rows = (ids[:, ::2] << 4 | ids[:, 1::2]).astype(np.uint8)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", *ids.shape[::-1], 4, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(body)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    ("data", "largest"),
    [
        (encode(Image.fromarray(IDS.astype(np.uint16)), "TIFF"), "65,535"),
        (encode(Image.fromarray(IDS.astype(np.uint16)), "JPEG2000"), "65,535"),
        (four_bits(IDS), "15"),
        (b"P5 # labels\n4 2\n5\n" + IDS.tobytes(), "5"),
        (b"P2\n4 2 65535\n" + b" ".join(b"%d" % k for k in IDS.flat), "65,535"),
        (encode(Image.fromarray(IDS).convert("1")), "1"),
        (encode(Image.fromarray(IDS).convert("1"), "TIFF"), "1"),
    ],
)
def test_grey_of_another_depth_is_refused(data: bytes, largest: str) -> None:
    """It would come out scaled to 8 bits: label 0 for each of 16 bits, 17 for 1 of 4."""
    with pytest.raises(ImageError, match=f"holds grey values from 0 to {largest}; .*store it so"):
        read_labels(data, LabelMap(64))


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("palette", [None, PALETTE])
def test_labels_are_turned_upright(palette: tuple[Colour, ...] | None, form: str) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image = Image.fromarray(IDS if palette is None else np.array(PALETTE, np.uint8)[IDS])
    found = read_labels(encode(image, form, exif=exif), LabelMap(5, palette=palette))
    assert np.array_equal(found.pixels.argmax(2), np.rot90(IDS, -1))
    assert found.orientation == 6 and bool(found.exif) == (form == "PNG")


def test_labels_are_told(tmp_path: Path) -> None:
    assert parse_labels("ids", 35) == LabelMap(35)
    assert parse_labels("ids+edges", 36) == LabelMap(35, True)
    file = tmp_path / "colours.txt"
    file.write_text("// road first\n128 64 128\n\n#ff0000\n1, 2, 3 // other\n")
    palette = ((128, 64, 128), (255, 0, 0), (1, 2, 3))
    assert parse_labels(str(file), 3) == LabelMap(3, False, palette)
    assert parse_labels(str(file), 4) == LabelMap(3, True, palette)
    assert LabelMap.from_dict(parse_labels(str(file), 4).as_dict()) == LabelMap(3, True, palette)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 2 3\n1 2 3\n", "colour of its own"), ("1 2 3\n", "1 colours, the model 3"),
     ("1 2\n" * 3, "'1 2' is no colour"), ("1 2 300\n4 5 6\n7 8 9\n", "300")],
)  # fmt: skip
def test_palettes_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "colours.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        parse_labels(str(tmp_path / "colours.txt"), 2 if "2 3\n1" in text else 3)
    with pytest.raises(InputError, match=r"cannot be read.*ids"):
        parse_labels(str(tmp_path / "absent.txt"), 3)
