"""Windows' icons and cursors: the best picture, and its mask."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.images import read

SIDES = (8, 20)  # height, width: rows of masks are padded to 4 bytes
HIDDEN = np.add.outer(np.arange(SIDES[0]), np.arange(SIDES[1])) % 3 == 0


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def pad(rows: np.ndarray) -> bytes:
    rows = rows[::-1]
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).tobytes()


def bitmap(
    samples: np.ndarray, table: np.ndarray | None = None, hidden: np.ndarray | None = HIDDEN
) -> bytes:
    """BITMAPINFOHEADER, the rows of ``samples``, ``uint8 (H, W, bytes)``, and a mask."""
    height, width, size = samples.shape
    head = struct.pack("<IiiHHIIiiII", 40, width, 2 * height, 1, 8 * size, 0, 0, 0, 0, 0, 0)
    colours = b"" if table is None else np.pad(table[:, ::-1], ((0, 0), (0, 1))).tobytes()
    mask = b"" if hidden is None else pad(np.packbits(hidden, axis=1))
    return head + colours + pad(samples.reshape(height, -1)) + mask


def icon(*pictures: bytes, kind: int = 1, bits: int | None = None) -> bytes:
    head, at = struct.pack("<HHH", 0, kind, len(pictures)), 6 + 16 * len(pictures)
    for body in pictures:
        (told,) = struct.unpack_from("<H", body, 14)
        sides = SIDES[::-1]
        entry = (*sides, 0, 0, 1, told if bits is None else bits, len(body), at)
        head += struct.pack("<BBBBHHII", *entry)
        at += len(body)
    return head + b"".join(pictures)


def assert_shows(data: bytes, colours: np.ndarray, hidden: np.ndarray) -> None:
    picture = read(data, 4)
    assert np.array_equal(picture.pixels[:, :, 3], np.where(hidden, 0, 255))
    assert np.array_equal(picture.pixels[:, :, :3], colours)


@pytest.mark.parametrize("kind", [1, 2], ids=["icon", "cursor"])
@pytest.mark.parametrize("bits", [8, 24, 32])
def test_the_mask_is_the_transparency(bits: int, kind: int) -> None:
    colours = noise(*SIDES, 3)
    hotspot = 5 if kind == 2 else bits
    if bits == 8:
        table, indices = noise(256, 3), noise(*SIDES, 1, seed=1)
        body, colours = bitmap(indices, table), table[indices[:, :, 0]]
    elif bits == 24:
        body = bitmap(colours[:, :, ::-1])
    else:  # whose alpha no program has set
        body = bitmap(np.dstack([colours[:, :, ::-1], np.zeros(SIDES, np.uint8)]))
    assert_shows(icon(body, kind=kind, bits=hotspot), colours, HIDDEN)


@pytest.mark.parametrize("kind", [1, 2], ids=["icon", "cursor"])
@pytest.mark.parametrize("hidden", [None, HIDDEN], ids=["no mask", "mask"])
def test_alpha_goes_before_the_mask(hidden: np.ndarray | None, kind: int) -> None:
    samples = noise(*SIDES, 4)
    data = icon(bitmap(samples, hidden=hidden), kind=kind, bits=0)
    assert np.array_equal(read(data, 4).pixels, samples[:, :, [2, 1, 0, 3]])


def test_the_deepest_of_one_size_is_taken() -> None:
    colours, table = noise(*SIDES, 3), noise(256, 3)
    deep = bitmap(np.dstack([colours[:, :, ::-1], np.full(SIDES, 255, np.uint8)]))
    shallow = bitmap(noise(*SIDES, 1), table)
    for pictures in ((shallow, deep), (deep, shallow), (shallow, bitmap(colours), deep)):
        assert_shows(icon(*pictures), colours, np.zeros(SIDES, bool))
        assert_shows(icon(*pictures, bits=0), colours, np.zeros(SIDES, bool))


def test_png_within() -> None:
    samples = noise(*SIDES, 4)
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG")
    shallow = bitmap(noise(*SIDES, 1), noise(256, 3))
    data = icon(shallow, buffer.getvalue(), bits=8)
    assert np.array_equal(read(data, 4).pixels, samples)


def test_one_cut_short_is_refused() -> None:
    data = icon(bitmap(noise(*SIDES, 3)))
    for cut in (30, 100, len(data) - HIDDEN.size // 4):
        with pytest.raises(ImageError, match=r"damaged|not an image"):
            read(data[:cut], 3)


@pytest.mark.parametrize("system", ["Windows", "macOS"])
def test_a_png_within_is_read_as_one(system: str) -> None:
    """With its checksums, of which Pillow looks at few, and 30 bytes of its data are lost."""
    samples, file = noise(128, 128, 4), io.BytesIO()
    Image.fromarray(samples).save(file, "PNG", compress_level=0)
    body = bytearray(file.getvalue())

    def wrap() -> bytes:
        if system == "Windows":
            entry = struct.pack("<BBBBHHII", 128, 128, 0, 0, 1, 32, len(body), 22)
            return struct.pack("<HHH", 0, 1, 1) + entry + body
        return b"icns" + struct.pack(">I4sI", 16 + len(body), b"ic07", 8 + len(body)) + body

    assert np.array_equal(read(wrap(), 4).pixels, samples)
    body[20_000:20_030] = bytes(30)
    with pytest.raises(ImageError, match="damaged: wrong checksum"):
        read(wrap(), 4)
