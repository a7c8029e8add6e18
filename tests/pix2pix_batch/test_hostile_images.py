"""Image files that are made to harm whoever opens them."""

from __future__ import annotations

import io
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images

LITTLE = 40e6
"""Bytes of memory that refusing may take, of the gigabytes that obeying would."""


def refused(data: bytes) -> str:
    """Why; and little memory was taken."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageError) as caught:
            images.read(data, 3)
        assert tracemalloc.get_traced_memory()[1] < LITTLE + 2 * len(data)
    finally:
        tracemalloc.stop()
    return str(caught.value)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def compressed_zeros(mebibytes: int) -> bytes:
    """As :func:`zlib.compress` makes them, of a block that is squeezed once and repeated."""
    squeezed, zeros = zlib.compressobj(9), bytes(1 << 20)
    first, again = (squeezed.compress(zeros) + squeezed.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    length = mebibytes << 20
    end = squeezed.flush()[:-4] + struct.pack(">HH", length % 65521, 1)  # Adler-32 of zeros
    return first + again * (mebibytes - 1) + end


def test_zeros_are_what_they_expand_to() -> None:
    assert zlib.decompress(compressed_zeros(3)) == bytes(3 << 20)


def png(*chunks: bytes, width: int = 1, height: int = 1) -> bytes:
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(4)))
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def test_the_file_is_otherwise_fine() -> None:
    assert images.read(png(chunk(b"tEXt", b"Title\0fine")), 3).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize(
    "data",
    [
        png(width=100_000, height=100_000),
        png(width=(1 << 31) - 1, height=(1 << 31) - 1),
        b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6),
        b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0)
        + b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\2\0;",
        b"P6 99999 99999 255\n",
    ],
    ids=["png", "largest png", "bmp", "gif", "ppm"],
)  # fmt: skip
def test_huge_dimensions(data: bytes) -> None:
    assert "decompression bomb" in refused(data)


def test_a_huge_jpeg() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = buffer.getvalue()
    frame = data.index(b"\xff\xc0")
    data = data[: frame + 5] + struct.pack(">HH", 65_000, 65_000) + data[frame + 9 :]
    assert "decompression bomb" in refused(data)


def test_pixels_that_expand() -> None:
    """A megabyte of IDAT that is a gigabyte of zeros, for an image of one pixel."""
    zeros = compressed_zeros(1024)
    tracemalloc.start()
    try:
        picture = images.read(
            png().replace(chunk(b"IDAT", zlib.compress(bytes(4))), chunk(b"IDAT", zeros)), 3
        )
    except ImageError:
        pass
    else:
        assert picture.pixels.shape == (1, 1, 3)
    assert tracemalloc.get_traced_memory()[1] < LITTLE
    tracemalloc.stop()


BOMB, MEBIBYTE = compressed_zeros(256), compressed_zeros(1)


@pytest.mark.parametrize(
    "bomb",
    [
        chunk(b"zTXt", b"Comment\0\0" + BOMB),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
        chunk(b"iCCP", b"profile\0\0" + BOMB),
        b"".join(chunk(b"zTXt", b"%d\0\0" % n + MEBIBYTE) for n in range(200)),
    ],
    ids=["zTXt", "iTXt", "iCCP", "many"],
)
def test_chunks_that_expand(bomb: bytes) -> None:
    """They are refused or left out, in little memory."""
    tracemalloc.start()
    try:
        assert images.read(png(bomb), 3).pixels.shape == (1, 1, 3)
    except ImageError as error:
        assert "too large" in str(error) or "Too much memory" in str(error)
    assert tracemalloc.get_traced_memory()[1] < 150e6
    tracemalloc.stop()


def test_programs_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PostScript is a language; what is called .png may be it."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert shutil.which("gs") == str(tmp_path / "gs")
    program = (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
        b"(x) (w) file pop showpage\n%%EOF\n"
    )
    with Image.open(io.BytesIO(program)) as image:  # Pillow itself would
        assert image.format == "EPS"
    assert "not an image" in refused(program)
    assert not (tmp_path / "ran").exists()
    assert not {".eps", ".ps"} & images.suffixes()
