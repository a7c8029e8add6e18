"""Damage of formats without checksums, by how long their data is."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding import lzw
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import read

HEIGHT, WIDTH = 12, 21
ON = "damaged: its data goes on after its last row"
BEYOND = "damaged: its runs go beyond its last row"


def draw(mode: str, seed: int = 3) -> Image.Image:
    """A picture with flat parts, for runs; not of zeros."""
    few = np.random.default_rng(seed).integers(1, 256, (HEIGHT // 4, WIDTH // 7, 3), np.uint8)
    image = Image.fromarray(few.repeat(4, 0).repeat(7, 1))
    return image.quantize(8) if mode == "P" else image.convert(mode)


def encode(form: str, mode: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    draw(mode).save(buffer, form, **options)
    return buffer.getvalue()


def encode_sun(depth: int) -> bytes:
    """rasterfile(5), of the usual kind."""
    pixels = np.asarray(draw("RGB" if depth == 24 else "L"))
    rows = pixels.reshape(HEIGHT, -1)
    rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
    head = struct.pack(">8I", 0x59A66A95, WIDTH, HEIGHT, depth, rows.size, 1, 0, 0)
    return head + rows.tobytes()


def encode_netpbm(kind: int) -> bytes:
    values = np.asarray(draw("RGB" if kind in (3, 6) else "L"))
    head = f"P{kind}\n# one\n{WIDTH} {HEIGHT}\n255\n".encode()
    if kind in (2, 3):
        return head + " ".join(map(str, values.ravel())).encode() + b"\n"
    return head + values.tobytes()


def encode_dds(levels: int) -> bytes:
    """Microsoft's "Programming Guide for DDS": each level has half the sides of that before it, in
    blocks of 4 x 4 pixels and 8 bytes."""
    head = struct.pack("<7I", 124, 0x21007, HEIGHT, WIDTH, 0, 0, levels).ljust(72, b"\0")
    head += struct.pack("<II4s", 32, 4, b"DXT1").ljust(32, b"\0") + struct.pack(
        "<5I", 0x401008, *[0] * 4
    )
    sides = [(max(1, HEIGHT >> n), max(1, WIDTH >> n)) for n in range(levels)]
    return b"DDS " + head + b"\x55" * sum(8 * -(-h // 4) * -(-w // 4) for h, w in sides)


FILES = {
    **{f"bmp {mode}": encode("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")},
    **{f"tga {mode}": encode("TGA", mode) for mode in ("L", "P", "RGB", "RGBA")},
    **{f"tga runs {mode}": encode("TGA", mode, rle=True) for mode in ("L", "RGB")},
    **{f"pcx {mode}": encode("PCX", mode) for mode in ("1", "RGB")},
    **{f"sgi {mode}": encode("SGI", mode) for mode in ("L", "RGB")},
    **{f"sun {depth}": encode_sun(depth) for depth in (8, 24)},
    **{f"netpbm {kind}": encode_netpbm(kind) for kind in (2, 3, 5, 6)},
    "bits": encode("PPM", "1"),
    "ico": encode("ICO", "RGBA", sizes=[(16, 12)], bitmap_format="bmp"),
    "webp": encode("WEBP", "RGB", lossless=True),
    "dds": encode("DDS", "RGBA"),
    "dds with smaller ones": encode_dds(levels=4),
    "qoi": imagecodecs.qoi_encode(np.asarray(draw("RGB"))),
}


@pytest.mark.parametrize("name", FILES)
def test_what_follows_a_picture_is_told(name: str) -> None:
    """As bytes that got into its data leave it at the end."""
    data = FILES[name]
    whole = read(data, 3)
    assert whole.warnings == ()
    text = name in ("netpbm 2", "netpbm 3")
    end = len(data) - (26 if name.startswith("tga") and data.endswith(b"XFILE.\0") else 0)
    more = b"17 80 99\n" if text else b"\x11\x80\x99\x07"
    if name == "ico":  # whose mask may be left out, as here, or be there
        more *= 15
        at = struct.unpack_from("<I", data, 14)[0] + len(more)
        data = data[:14] + struct.pack("<I", at) + data[18:]
    longer = data[:end] + more + data[end:]
    told = read(longer, 3)
    assert told.warnings == (ON,) and np.array_equal(told.pixels, whole.pixels)
    with pytest.raises(ImageError, match="refused by --strict"):
        read(longer, 3, Tolerance(strict=True))


def test_what_may_follow_a_picture_is_not_told() -> None:
    """Zeros that fill up, Netpbm's next picture, and what TGA's footer tells of."""
    bmp = FILES["bmp RGB"]
    assert read(bmp + bytes(1), 3).warnings == (ON,)
    counted = bmp[:2] + struct.pack("<I", len(bmp) + 2) + bmp[6:]
    assert read(counted + bytes(2), 3).warnings == ()
    assert read(FILES["netpbm 6"] * 2, 3).warnings == ()
    assert read(FILES["netpbm 5"] + b"\n", 3).warnings == ()
    plain = FILES["tga RGB"]
    plain = plain[:-26] if plain.endswith(b"XFILE.\0") else plain
    extension = struct.pack("<H", 495).ljust(495, b"\1")[:482] + bytes(12) + b"\0"
    footer = struct.pack("<II", len(plain), 0) + b"TRUEVISION-XFILE.\0"
    assert read(plain + extension + footer, 3).warnings == ()
    of_rows = extension[:490] + struct.pack("<I", 18) + extension[494:] + b"a text of POV-Ray's"
    assert read(plain + of_rows + footer, 3).warnings == ()
    damaged = plain + b"\x11\x80" + extension
    footer = struct.pack("<II", len(plain) + 2, 0) + b"TRUEVISION-XFILE.\0"
    assert read(damaged + footer, 3).warnings == (ON,)


@pytest.mark.parametrize("lost", [8, 300])
def test_qoi_whose_codes_do_not_end_before_its_mark_is_told(lost: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    data = imagecodecs.qoi_encode(pixels)
    assert read(data, 3).warnings == ()
    before, after = data[:400], data[400:]
    for wrong in (
        before + after[lost:],
        before + before[-lost:] + after,
        before + bytes(lost) + after[lost:],
        data[:-8] + bytes(8),
    ):
        try:
            warnings = read(wrong, 3).warnings
        except ImageError as error:
            assert str(error).startswith("damaged")
        else:
            assert warnings == ("damaged: its data does not end with its last row",)


def encode_bmp_runs(body: bytes) -> bytes:
    """Microsoft's BITMAPINFOHEADER, of 8 bits in runs."""
    colours = bytes(k % 251 for k in range(1024))
    head = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(body), 0, 0, 256, 0)
    size = 14 + len(head) + len(colours)
    return b"BM" + struct.pack("<IHHI", size + len(body), 0, 0, size) + head + colours + body


@pytest.mark.parametrize(
    ("body", "warnings"),
    [
        (b"\4\7\0\0\4\x08\0\0\0\1", ()),
        (b"\4\7\0\0\2\x08\0\4\1\2\3\4\0\1", None),
        (b"\4\7\0\0\4\x08\0\1\x22\x33", (ON,)),
        (b"\4\7\0\0\4\x08\0\0\3\3\0\1", None),
    ],
)
def test_runs_of_bmp(body: bytes, warnings: tuple[str, ...] | None) -> None:
    data = encode_bmp_runs(body)
    if warnings is not None:
        assert read(data, 3).warnings == warnings
        return
    try:
        assert read(data, 3).warnings == (BEYOND,)
    except ImageError as error:  # as some versions of Pillow do
        assert str(error).startswith("damaged")


def test_a_run_beyond_the_last_row_is_told() -> None:
    data = bytearray(FILES["tga runs L"])
    at = len(data) - (26 if data.endswith(b"XFILE.\0") else 0) - 2
    assert data[at] & 128
    data[at] += 3
    assert BEYOND in read(bytes(data), 3).warnings
    pixels = bytes([128, 20, 7]) * 4  # 21 of one value, four times
    head = struct.pack(">8I", 0x59A66A95, 42, 2, 8, len(pixels), 2, 0, 0)
    assert read(head + pixels, 3).warnings == ()
    assert read(head + pixels[:-2] + b"\x22\7", 3).warnings == (BEYOND,)


def test_samples_larger_than_the_largest_are_told() -> None:
    data = b"P5 3 1 100\n\x10\x64\x65"
    assert read(data, 1).warnings == ("damaged: it has samples that are larger than its largest",)
    assert read(data[:-1] + b"\x64", 1).warnings == ()


@pytest.mark.parametrize("wrong", [b"0xZ1", b"1x01", b"0x101", b"256", b"-129", b"0x"])
def test_x_bitmaps_of_other_numbers_are_told(wrong: bytes) -> None:
    """Which Pillow takes for zeros, or for parts of the next."""
    start = b"#define a_width 8\n#define a_height 2\nstatic char a_bits[] = {\n0x01, "
    assert read(start + b"0xf0};\n", 1).warnings == ()
    try:
        warnings = read(start + wrong + b"};\n", 1).warnings
    except ImageError as error:
        assert str(error).startswith("damaged")
    else:
        assert warnings == ("damaged: not all of its data are numbers of a byte",)


@given(
    values=st.lists(st.integers(0, 255), max_size=3000),
    levels=st.sampled_from([1, 3, 256]),
)
def test_codes_are_counted_as_they_are_decoded(values: list[int], levels: int) -> None:
    data = bytes(value % levels for value in values) * 5
    assert lzw.count_samples(imagecodecs.lzw_encode(data), 8, is_tiff=True) == len(data)


@pytest.mark.parametrize("colours", [2, 5, 200])
@pytest.mark.parametrize("side", [3, 40, 200])
def test_codes_of_gif_are_counted(colours: int, side: int) -> None:
    """Also where they are many, and where the last of them are lost."""
    values = np.random.default_rng(side).integers(0, colours, (side, side), np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(values)
    image.putpalette(bytes(range(256)) * 3)
    image.save(buffer, "GIF")
    data = buffer.getvalue()
    assert read(data, 3).warnings == ()
    start = data.index(b"\x2c", 13 + (3 << ((data[10] & 7) + 1))) + 10
    first = data[start + 1]
    shorter = data[: start + 1] + bytes([first - 1]) + data[start + 3 :]
    try:
        warnings = read(shorter, 3).warnings
    except ImageError as error:
        assert str(error).startswith("damaged")
    else:
        assert warnings, "a byte that is lost moves all codes after it"
