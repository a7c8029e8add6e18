"""JPEG 2000: every depth has its white."""

from __future__ import annotations

import base64
import io
import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import rasterio
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.images import read
from tests.pix2pix_batch.imaging.decoding.tiffs import ramps


def jpeg2000(depth: int, channels: int, form: str) -> tuple[bytes, np.ndarray]:
    """A file without loss, and its samples in 0..255."""
    samples = ramps(channels, 2**depth - 1, depth)
    stored = samples.astype(np.uint8 if depth <= 8 else np.uint16)
    stored = stored[:, :, 0] if channels == 1 else stored
    data = imagecodecs.jpeg2k_encode(
        stored, level=0, codecformat=form, bitspersample=depth, reversible=True
    )
    return bytes(data), samples * 255 / (2**depth - 1)


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("depth", [1, 2, 4, 7, 8, 9, 10, 12, 15, 16])
def test_depths(depth: int, channels: int, form: str) -> None:
    data, expected = jpeg2000(depth, channels, form)
    pixels = read(data, 4).pixels
    colours = expected[:, :, : 3 if channels > 2 else 1]
    assert np.abs(pixels[:, :, :3] - colours).max() <= 1
    alpha = expected[:, :, -1] if channels in (2, 4) else 255
    assert np.abs(pixels[:, :, 3] - alpha).max() <= 1
    assert pixels[:, :, :3].max() == 255 and pixels[:, :, :3].min() == 0


def with_depths(data: bytes, *depths: int) -> bytes:
    """With other depths of the components in its codestream's header (T.800, A.5.1)."""
    at = data.index(b"\xff\x4f\xff\x51") + 42
    found = bytearray(data)
    for number, depth in enumerate(depths):
        found[at + 3 * number] = depth
    return bytes(found)


def test_what_has_no_defined_colours_is_refused_by_name() -> None:
    data, _ = jpeg2000(8, 3, "j2k")
    with pytest.raises(ImageError, match="signed samples"):
        read(with_depths(data, 0x87, 0x87, 0x87), 3)
    with pytest.raises(ImageError, match="different depths"):
        read(with_depths(data, 4, 5, 4), 3)
    with pytest.raises(ImageError, match="25-bit"):
        read(with_depths(data, 24, 24, 24), 3)
    boxed, _ = jpeg2000(8, 3, "jp2")
    at = boxed.index(b"colr")
    lab = boxed[: at + 7] + struct.pack(">I", 14) + boxed[at + 11 :]
    with pytest.raises(ImageError, match=r"L\*a\*b\*"):
        read(lab, 3)


@pytest.mark.parametrize("cut", [20, 60, 100])
def test_a_header_cut_short(cut: int) -> None:
    data, _ = jpeg2000(8, 3, "jp2")
    with pytest.raises(ImageError, match="damaged"):
        read(data[:cut], 3)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("form", ["jp2", "j2k"])
def test_transparency_that_is_not_called_so_is_told(channels: int, form: str) -> None:
    """It may be infrared, as of satellites."""
    told = "its last component is taken for transparency, which the file does not say"
    warnings = read(jpeg2000(8, channels, form)[0], 3).warnings
    assert warnings == ((told,) if channels in (2, 4) else ())


def test_transparency_that_is_called_so() -> None:
    buffer = io.BytesIO()
    Image.fromarray(ramps(4, 255, 8).astype(np.uint8)).save(buffer, "JPEG2000")
    picture = read(buffer.getvalue(), 3)
    assert picture.alpha is not None and not picture.warnings


HALVED = {
    "4:2:2": (
        "/0//UQAvAAAAAAAXAAAADwAAAAAAAAAAAAABAAAAAQAAAAAAAAAAAAADBwEBBwIBBwIB/1IADAAAAAEABgIC"
        "AAH/XAAWIEBISFBISFBISFBISFBISFBISFD/kAAKAAAAAABLAAH/k8PkAgfD5AIJx84IAx8AAAAAAAAAz7QI"
        "Aw8AAMfUBgAJCX8AAMfUDgAX2KXx03bfAADH1A4AHEyECQ7PjAD/2Q=="
    ),
    "4:2:0": (
        "/0//UQAvAAAAAAAXAAAADwAAAAAAAAAAAAABAAAAAQAAAAAAAAAAAAADBwEBBwICBwIC/1IADAAAAAEABgIC"
        "AAH/XAAWIEBISFBISFBISFBISFBISFBISFD/kAAKAAAAAABGAAH/k8PkAgfD5AIJx84IAx8AAAAAAAAAz7QI"
        "Aw8AAMfUBAAF7wAAx9QKAA0EMd0/AADH1AoAHEz+338A/9k="
    ),
    "4:1:1": (
        "/0//UQAvAAAAAAAXAAAADwAAAAAAAAAAAAABAAAAAQAAAAAAAAAAAAADBwEBBwQBBwQB/1IADAAAAAEABgIC"
        "AAH/XAAWIEBISFBISFBISFBISFBISFBISFD/kAAKAAAAAABFAAH/k8PkAgfD5AQFf8fOCAMfAAAAAAAAAAAA"
        "AM+0DAJLfwAAx9QIABFmlR4AAMfUEAAX2MbIe8v/fwD/2Q=="
    ),
}
"""By FFmpeg (libavcodec's jpeg2000): 23 times 15 pixels of Y 120 and Cr 150, whose Cb is 90 in the
first samples of each row and 170 in the others."""


@pytest.mark.parametrize("kind", ["4:2:2", "4:2:0"])
def test_chroma_whose_rows_have_half_a_sample_more(kind: str) -> None:
    pixels = read(base64.b64decode(HALVED[kind]), 3).pixels.astype(int)
    assert pixels.shape == (15, 23, 3)
    assert (pixels == pixels[:1]).all()
    for columns, blue in ((slice(0, 12), 90), (slice(12, 23), 170)):
        y, cb, cr = 120, blue - 128, 150 - 128
        expected = [y + 1.402 * cr, y - 0.344 * cb - 0.714 * cr, y + 1.772 * cb]
        assert np.abs(pixels[:, columns] - expected).max() <= 2


def test_chroma_of_other_sizes_is_refused() -> None:
    with pytest.raises(ImageError, match="other than chroma of 4:2:0 or 4:2:2"):
        read(base64.b64decode(HALVED["4:1:1"]), 3)


def test_three_components_that_are_told_to_be_grey_are_refused(tmp_path: Path) -> None:
    """As GDAL writes bands that have no colours."""
    path = tmp_path / "a.jp2"
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(
            path, "w", driver="JP2OpenJPEG", width=64, height=48, count=3, dtype="uint8"
        ) as file,
    ):
        file.write(np.zeros((3, 48, 64), np.uint8))
    with pytest.raises(ImageError, match="3 components that are told to be grey"):
        read(path.read_bytes(), 3)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def with_palette(
    indices: np.ndarray, depth: int, palette: np.ndarray, *order: int, kinds: bytes = b""
) -> bytes:
    """The indices of ``depth`` bits, ``(H, W)``, with a palette ``(N, C)`` of 8 bits, whose columns
    are channels in ``order`` (T.800, sections I.5.3.4 and I.5.3.5)."""
    stream = imagecodecs.jpeg2k_encode(
        indices, level=0, codecformat="j2k", bitspersample=depth, reversible=True
    )
    height, width = indices.shape
    count, columns = palette.shape
    header = (
        box(b"ihdr", struct.pack(">IIHBBBB", height, width, 1, depth - 1, 7, 0, 0))
        + box(b"colr", struct.pack(">BBBI", 1, 0, 0, 16))
        + box(b"pclr", struct.pack(">HB", count, columns) + b"\7" * columns + palette.tobytes())
    )
    if order:
        header += box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in order))
    start = b"\0\0\0\x0cjP  \r\n\x87\n" + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", header + kinds) + box(b"jp2c", bytes(stream))


def some_palette(depth: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of all of its colours, of which there are 2^depth, and no more than 600."""
    rng = np.random.default_rng(0)
    count = min(1 << depth, 600)
    indices = np.resize(np.arange(count), (32, 32)).astype(np.uint8 if depth <= 8 else np.uint16)
    return indices, rng.integers(0, 256, (count, channels), np.uint8)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 6, 7, 8, 10])
def test_palettes(depth: int) -> None:
    """Those of few colours are what GDAL writes."""
    indices, palette = some_palette(depth, 3)
    picture = read(with_palette(indices, depth, palette, 0, 1, 2), 3)
    assert (picture.pixels == palette[indices]).all()
    assert picture.alpha is None and not picture.warnings


def test_palettes_with_transparency() -> None:
    indices, palette = some_palette(4, 4)
    channels = [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0)]
    kinds = box(b"cdef", struct.pack(">H12H", 4, *(value for one in channels for value in one)))
    picture = read(with_palette(indices, 4, palette, 0, 1, 2, 3, kinds=kinds), 4)
    assert (picture.pixels == palette[indices]).all()
    assert not picture.warnings
    assert "is taken for transparency" in str(
        read(with_palette(indices, 4, palette, 0, 1, 2, 3), 4).warnings
    )


@pytest.mark.parametrize("order", [(), (2, 1, 0), (0, 1), (0, 1, 1)])
def test_palettes_that_programs_read_in_different_ways_are_refused(order: tuple[int, ...]) -> None:
    indices, palette = some_palette(4, 3)
    with pytest.raises(ImageError, match="palette is not mapped"):
        read(with_palette(indices, 4, palette, *order), 3)


def test_colours_that_the_palette_lacks_are_told() -> None:
    indices, palette = some_palette(4, 3)
    picture = read(with_palette(indices, 4, palette[:10], 0, 1, 2), 3)
    assert picture.warnings == (
        "damaged: it uses colour 15 of a palette of 10, which is taken for black",
    )
    assert (picture.pixels[indices > 9] == 0).all()
    whole = with_palette(indices, 4, palette, 0, 1, 2)
    short = whole.replace(b"\0\x10\3\7\7\7", b"\0\xff\3\7\7\7")  # says 255 colours
    assert "damaged" not in str(read(short, 3).warnings)
