"""Photoshop's files: the merged picture, its transparency, and what says that there is none."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.images import read

HEIGHT, WIDTH = 5, 9
LAYER = struct.pack(">4iH", 0, 0, 0, 0, 0) + b"8BIMnorm" + b"\xff\0\0\0" + bytes(4)


def photoshop(
    planes: np.ndarray,
    mode: int = 3,
    table: bytes = b"",
    resources: bytes = b"",
    transparent: bool = False,
    merged: bytes = b"",
) -> bytes:
    """Adobe Photoshop File Formats Specification. ``planes``: ``uint8 (C, H, W)``."""
    channels, height, width = planes.shape
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, height, width, 8, mode)
    layers = b""
    if transparent:
        layers = struct.pack(">h", -1) + LAYER
        layers = struct.pack(">I", len(layers)) + layers + bytes(4)
    sections = b"".join(struct.pack(">I", len(one)) + one for one in (table, resources, layers))
    return head + sections + (merged or b"\0\0" + planes.tobytes())


def resource(number: int, body: bytes) -> bytes:
    name = b"\3abc"  # any name may stand there
    return b"8BIM" + struct.pack(">H", number) + name + struct.pack(">I", len(body)) + body


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, shape).astype(np.uint8)


def test_colours_are_without_the_white_behind_them() -> None:
    """Photoshop's merged picture lies over white; over white it is that again."""
    colours, alpha = noise(3, HEIGHT, WIDTH), noise(1, HEIGHT, WIDTH)
    alpha[0, 0, :3] = 0, 1, 255
    share = alpha / 255
    merged = np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)
    data = photoshop(np.concatenate([merged, alpha]), transparent=True)
    picture = read(data, 3)
    assert picture.alpha is not None and np.array_equal(picture.alpha, alpha[0])
    assert np.abs(picture.pixels - merged.transpose(1, 2, 0).astype(int)).max() <= 1
    own = read(data, 4).pixels[:, :, :3].astype(int)
    off = np.abs(own - colours.transpose(1, 2, 0))
    assert (off <= 0.5 + 128 / np.maximum(alpha[0], 1)[:, :, None])[alpha[0] > 0].all()


def test_colours_that_are_darker_than_over_white_are_as_they_stand() -> None:
    """As ImageMagick writes them. Where that cannot be seen, and no version of Photoshop is told,
    it is said what they are taken for."""
    colours, alpha = noise(3, HEIGHT, WIDTH), noise(1, HEIGHT, WIDTH)
    colours[:, 0, 0], alpha[0, 0, 0] = 9, 100
    dark = read(photoshop(np.concatenate([colours, alpha]), transparent=True), 4)
    assert dark.warnings == ()
    assert np.array_equal(dark.pixels, np.concatenate([colours, alpha]).transpose(1, 2, 0))
    bright = np.concatenate([colours // 8 + 220, alpha // 4 + 180])
    assert "lie over white" in read(photoshop(bright, transparent=True), 4).warnings[0]
    told = resource(1057, struct.pack(">IB", 1, 1) + bytes(13))
    assert read(photoshop(bright, resources=told, transparent=True), 4).warnings == ()
    bright[3] = 255
    assert read(photoshop(bright, transparent=True), 4).warnings == ()


@pytest.mark.parametrize("has_merged", [0, 1])
def test_a_file_without_merged_picture_is_refused(has_merged: int) -> None:
    version = resource(1057, struct.pack(">IB", 1, has_merged) + bytes(13))
    planes = noise(3, HEIGHT, WIDTH)
    data = photoshop(planes, resources=resource(1005, bytes(16)) + version)
    if has_merged:
        assert np.array_equal(read(data, 3).pixels, planes.transpose(1, 2, 0))
        return
    with pytest.raises(ImageError, match=r"without a merged picture.*Maximize Compatibility"):
        read(data, 3)


@pytest.mark.parametrize("index", [5, 0xFFFF])
def test_the_transparent_entry_of_a_palette(index: int) -> None:
    values, table = noise(1, HEIGHT, WIDTH), noise(3, 256)
    values[0, 0, 0] = 5
    data = photoshop(values, 2, table.tobytes(), resources=resource(1047, struct.pack(">H", index)))
    picture = read(data, 3)
    if index == 5:
        assert picture.alpha is not None
        assert np.array_equal(picture.alpha, np.where(values[0] == 5, 0, 255))
    else:
        assert picture.alpha is None
        assert np.array_equal(picture.pixels, table.T[values[0]])


def pack_rows(planes: np.ndarray, longer: int, shorter: int = 0) -> bytes:
    """PackBits by rows, each ``longer`` than the picture is wide, or ``shorter``."""
    rows = [
        bytes([WIDTH - 2]) + row.tobytes()[: WIDTH - 1] + bytes([256 - longer, row[-1]])
        if not shorter
        else bytes([WIDTH - shorter - 1]) + row.tobytes()[:-shorter]
        for row in planes.reshape(-1, WIDTH)
    ]
    return struct.pack(f">H{len(rows)}H", 1, *map(len, rows)) + b"".join(rows)


@pytest.mark.parametrize("longer", [1, 2, 127])
def test_rows_of_runs_beyond_their_end(longer: int) -> None:
    planes = noise(3, HEIGHT, WIDTH)
    data = photoshop(planes, merged=pack_rows(planes, longer))
    assert np.array_equal(read(data, 3).pixels, planes.transpose(1, 2, 0))


def test_rows_of_runs_that_are_too_short_or_cut() -> None:
    planes = noise(3, HEIGHT, WIDTH)
    with pytest.raises(ImageError, match="too short"):
        read(photoshop(planes, merged=pack_rows(planes, 0, shorter=2)), 3)
    with pytest.raises(ImageError, match="damaged"):
        read(photoshop(planes, merged=pack_rows(planes, 1))[:-20], 3)


@pytest.mark.parametrize("compression", [2, 3], ids=["as they are", "of differences"])
def test_a_merged_picture_of_deflate(compression: int) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH), np.uint8)
    steps = np.diff(planes, axis=2, prepend=np.uint8(0)) if compression == 3 else planes
    head = photoshop(planes)[: -2 - planes.size]
    packed = zlib.compress(steps.tobytes())
    data = head + struct.pack(">H", compression) + packed
    assert np.array_equal(read(data, 3).pixels, planes.transpose(1, 2, 0))
    with pytest.raises(ImageError, match="damaged: its merged picture is cut short"):
        read(data[:-20], 3)
    with pytest.raises(ImageError, match="damaged: its merged picture is no Deflate data"):
        read(head + struct.pack(">H", compression) + packed[5:], 3)
