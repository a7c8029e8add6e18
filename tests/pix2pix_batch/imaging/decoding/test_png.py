"""PNG: keys at every depth, chunks with wrong checksums, colours told without a profile."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.primaries import Gamma
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import read

SIZE = 16
GREY, RGB, PALETTE = 0, 2, 3


def chunk(kind: bytes, data: bytes, wrong: bool = False) -> bytes:
    checksum = zlib.crc32(kind + data) ^ wrong
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def png(samples: np.ndarray, depth: int, colour: int, *chunks: bytes, end: bool = True) -> bytes:
    """``samples``: ``(H, W, C)``, of which each row is packed as PNG, section 7.2, says."""
    height, width = samples.shape[:2]
    rows = b""
    for row in samples.reshape(height, -1):
        if depth == 16:
            rows += b"\0" + row.astype(">u2").tobytes()
        else:
            bits = "".join(f"{value:0{depth}b}" for value in row)
            rows += b"\0" + bytes(
                int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)
            )
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), *chunks, chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + (chunk(b"IEND", b"") if end else b"")


def samples_of(depth: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 1 << depth, (SIZE, SIZE, channels))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey(depth: int) -> None:
    samples = samples_of(depth, 1)
    key = int(samples[3, 4, 0])
    clear = samples[:, :, 0] == key
    data = png(samples, depth, GREY, chunk(b"tRNS", struct.pack(">H", key)))
    picture = read(data, 3)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.where(clear, 0, 255))
    expected = samples[:, :, 0] * 255 / ((1 << depth) - 1)
    assert np.abs(picture.pixels[:, :, 0] - expected)[~clear].max(initial=0) <= 1
    assert (picture.pixels[clear] == 255).all()
    four = read(data, 4).pixels
    assert np.array_equal(four[:, :, 3], picture.alpha)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour(depth: int) -> None:
    samples = samples_of(depth, 3)
    samples[1, 1] = samples[2, 2] = samples[3, 4]
    if depth == 16:  # what differs in the lower byte alone is another colour
        samples[2, 2, 1] ^= 1
    key = tuple(samples[3, 4].tolist())
    clear = (samples == key).all(axis=2)
    assert clear[1, 1] and clear[2, 2] == (depth == 8)
    picture = read(png(samples, depth, RGB, chunk(b"tRNS", struct.pack(">HHH", *key))), 3)
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.where(clear, 0, 255))
    expected = samples * 255 / ((1 << depth) - 1)
    assert np.abs(picture.pixels - expected)[~clear].max() <= 1


def test_a_16_bit_key_that_no_pixel_has() -> None:
    samples = np.full((SIZE, SIZE, 1), 0x1234)
    picture = read(png(samples, 16, GREY, chunk(b"tRNS", struct.pack(">H", 0x1235))), 3)
    assert picture.alpha is None and (picture.pixels == 0x12).all()


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palettes(depth: int) -> None:
    table = np.random.default_rng(1).integers(0, 256, (1 << depth, 3)).astype(np.uint8)
    alpha = np.random.default_rng(2).integers(1, 256, 1 << depth).astype(np.uint8)
    samples = samples_of(depth, 1)
    parts = chunk(b"PLTE", table.tobytes()), chunk(b"tRNS", alpha.tobytes())
    four = read(png(samples, depth, PALETTE, *parts), 4).pixels
    assert np.array_equal(four[:, :, :3], table[samples[:, :, 0]])
    assert np.array_equal(four[:, :, 3], alpha[samples[:, :, 0]])


# Damage


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"pHYs", b"tIME", b"gAMA", b"eXIf"])
def test_a_wrong_checksum_beside_the_picture(kind: bytes) -> None:
    samples = samples_of(8, 3)
    data = png(samples, 8, RGB, chunk(kind, b"\0\1\2\3\4\5\6\7\0", wrong=True))
    picture = read(data, 3)
    assert np.array_equal(picture.pixels, samples)
    assert picture.warnings == (f"wrong checksum of its chunk {kind.decode()}, which is left out",)
    with pytest.raises(ImageError, match=rf"chunk {kind.decode()}.*refused by --strict"):
        read(data, 3, Tolerance(strict=True))


def test_a_wrong_checksum_of_the_picture() -> None:
    data = bytearray(png(samples_of(8, 3), 8, RGB))
    data[data.index(b"IDAT") + 300] ^= 4
    with pytest.raises(ImageError, match=r"damaged: wrong checksum of its chunk IDAT.*--lenient"):
        read(bytes(data), 3)
    picture = read(bytes(data), 3, Tolerance(lenient=True))
    assert picture.pixels.shape == (SIZE, SIZE, 3)
    assert "IDAT" in picture.warnings[0] or "damaged" in picture.warnings[0]


def test_a_file_cut_short() -> None:
    samples = np.random.default_rng(3).integers(0, 256, (64, 64, 3))
    whole = png(samples, 8, RGB)
    cut = whole[: len(whole) // 2]
    with pytest.raises(ImageError, match=r"cut short.*--lenient"):
        read(cut, 3)
    picture = read(cut, 3, Tolerance(lenient=True))
    assert np.array_equal(picture.pixels[:20], samples[:20])
    assert "cut short" in picture.warnings[0] and "--lenient" not in picture.warnings[0]


def test_a_wrong_checksum_around_data_that_is_whole_is_told() -> None:
    samples = samples_of(8, 3)
    data = bytearray(png(samples, 8, RGB))
    data[data.index(b"IEND") - 5] ^= 4
    picture = read(bytes(data), 3)
    assert np.array_equal(picture.pixels, samples)
    assert picture.warnings == ("damaged: wrong checksum of its chunk IDAT, whose data is whole",)


def test_data_that_is_damaged_by_its_own_checksum_too_is_refused() -> None:
    """Without compression it has as many rows as before, and Pillow has nothing to say."""
    samples, file = np.full((40, 40, 3), 9, np.uint8), io.BytesIO()
    Image.fromarray(samples).save(file, "PNG", compress_level=0)
    data = bytearray(file.getvalue())
    data[len(data) // 2 : len(data) // 2 + 30] = bytes(30)
    with pytest.raises(ImageError, match="damaged: wrong checksum of its chunk IDAT"):
        read(bytes(data), 3)
    picture = read(bytes(data), 3, Tolerance(lenient=True))
    assert picture.pixels.shape == samples.shape and "checksum" in picture.warnings[0]


def interlace(samples: np.ndarray) -> bytes:
    """The rows of 8-bit RGB in the order of Adam7 (PNG, section 8.1)."""
    starts = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    parts = [samples[y::down, x::across] for y, x, down, across in (*starts, (1, 0, 2, 1))]
    return b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)


@pytest.mark.parametrize("adam", [False, True], ids=["rows", "Adam7"])
@pytest.mark.parametrize("sides", [(1, 1), (7, 5), (16, 9)])
@pytest.mark.parametrize("black", [False, True])
def test_data_of_a_part_of_the_rows(sides: tuple[int, int], adam: bool, black: bool) -> None:
    """Its stream ends as it should; the rows that are not there are no black ones."""
    samples = np.random.default_rng(2).integers(1, 256, (*sides, 3)).astype(np.uint8)
    samples[-1] *= not black
    height, width = sides
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, RGB, 0, 0, adam))
    rows = interlace(samples) if adam else b"".join(b"\0" + row.tobytes() for row in samples)

    def file(count: int) -> bytes:
        body = chunk(b"IDAT", zlib.compress(rows[:count]))
        return b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND", b"")

    picture = read(file(len(rows)), 3)
    assert np.array_equal(picture.pixels, samples) and not picture.warnings
    for count in (len(rows) - 1, len(rows) // 2, 0):
        with pytest.raises(ImageError, match=r"damaged.*--lenient"):
            read(file(count), 3)


def test_texts_larger_than_pillow_takes() -> None:
    """They say nothing of the picture."""
    samples = samples_of(8, 3)
    text = chunk(b"zTXt", b"log\0\0" + zlib.compress(b"x" * 3_000_000))
    picture = read(png(samples, 8, RGB, text), 3, Tolerance(strict=True))
    assert np.array_equal(picture.pixels, samples)


def test_a_colour_that_the_palette_lacks_is_told() -> None:
    samples = np.arange(SIZE * SIZE).reshape(SIZE, SIZE, 1) % 5
    table = chunk(b"PLTE", bytes(range(100, 112)))
    picture = read(png(samples, 8, PALETTE, table), 3)
    assert "uses colour 4 of a palette of 4" in picture.warnings[0]
    whole = chunk(b"PLTE", bytes(range(100, 115)))
    assert read(png(samples, 8, PALETTE, whole), 3).warnings == ()


def test_chunks_that_may_change_the_picture() -> None:
    samples = samples_of(8, 3)
    with pytest.raises(ImageError, match=r"Apple's own form \(CgBI\)"):
        read(png(samples, 8, RGB, chunk(b"CgBI", b"P\0 \2")), 3)
    picture = read(png(samples, 8, RGB, chunk(b"ABCD", b"x")), 3)
    assert np.array_equal(picture.pixels, samples)
    assert "chunk ABCD is not known" in picture.warnings[0]
    assert read(png(samples, 8, RGB, chunk(b"abCD", b"x")), 3).warnings == ()


# Colours told without a profile


def decoded(values: np.ndarray, gamma: float) -> np.ndarray:
    """What sRGB has for samples that are light to the power of ``gamma``."""
    light = (values / 255) ** (1 / gamma)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 1 / 1.8, 0.6])
@pytest.mark.parametrize("colour", [GREY, RGB])
def test_gamma(gamma: float, colour: int) -> None:
    samples = samples_of(8, 1 if colour == GREY else 3)
    data = png(samples, 8, colour, chunk(b"gAMA", struct.pack(">I", round(gamma * 1e5))))
    expected = decoded(samples, gamma)
    assert np.abs(expected - samples).max() > 10
    assert np.abs(read(data, 3).pixels - expected).max() <= 2


SRGB_POINTS = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
WIDE_POINTS = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"gAMA", struct.pack(">I", 45455))],
        [
            chunk(b"gAMA", struct.pack(">I", 45455)),
            chunk(b"cHRM", struct.pack(">8I", *SRGB_POINTS)),
        ],
        [chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100_000))],
        [chunk(b"cICP", bytes([1, 13, 0, 1])), chunk(b"gAMA", struct.pack(">I", 100_000))],
        [chunk(b"gAMA", struct.pack(">I", 0))],
    ],
)
def test_what_is_srgb_is_taken_as_it_is(chunks: list[bytes]) -> None:
    samples = samples_of(8, 3)
    picture = read(png(samples, 8, RGB, *chunks), 3)
    assert np.array_equal(picture.pixels, samples) and not picture.warnings


@pytest.mark.parametrize(
    "chunks",
    [
        [
            chunk(b"gAMA", struct.pack(">I", 45455)),
            chunk(b"cHRM", struct.pack(">8I", *WIDE_POINTS)),
        ],
        [chunk(b"cICP", bytes([12, 13, 0, 1]))],
    ],
)
def test_wider_primaries(chunks: list[bytes]) -> None:
    """Display P3's grey is sRGB's, and its red is more red."""
    samples = np.full((SIZE, SIZE, 3), 128)
    samples[0] = (200, 100, 100)
    pixels = read(png(samples, 8, RGB, *chunks), 3).pixels.astype(int)
    assert np.abs(pixels[1:] - 128).max() <= 2
    assert pixels[0, 0, 0] > 205 and pixels[0, 0, 1] < 98


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_said(transfer: int) -> None:
    samples = samples_of(8, 3)
    picture = read(png(samples, 8, RGB, chunk(b"cICP", bytes([9, transfer, 0, 1]))), 3)
    assert np.array_equal(picture.pixels, samples)
    assert "HDR" in picture.warnings[0]


@pytest.mark.parametrize("code", [(1, 13, 0, 0), (1, 13, 6, 1)])
def test_video_s_ranges_and_matrices_are_said(code: tuple[int, ...]) -> None:
    samples = samples_of(8, 3)
    picture = read(png(samples, 8, RGB, chunk(b"cICP", bytes(code))), 3)
    assert np.array_equal(picture.pixels, samples)
    assert "not understood: code points 1/13" in picture.warnings[0]


def test_gamma_counts_where_the_profile_is_damaged_which_is_said() -> None:
    samples = samples_of(8, 3)
    profile = chunk(b"iCCP", b"name\0\0 this does not inflate")
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    picture = read(png(samples, 8, RGB, profile, gamma), 3)
    assert np.abs(picture.pixels - decoded(samples, 1.0)).max() <= 2
    assert picture.warnings == ("its colour profile is left out: it is damaged",)


def test_colours_told_after_the_pixels_are_not_heeded() -> None:
    samples = samples_of(8, 3)
    data, end = png(samples, 8, RGB), len(chunk(b"IEND", b""))
    late = data[:-end] + chunk(b"gAMA", struct.pack(">I", 100_000)) + data[-end:]
    assert np.array_equal(read(late, 3).pixels, samples)


LINEAR = [
    chunk(b"gAMA", struct.pack(">I", 100_000)),
    chunk(b"iCCP", b"n\0\0" + zlib.compress(Gamma(1).profile())),
]


@pytest.mark.parametrize("said", LINEAR, ids=["gamma", "profile"])
@pytest.mark.parametrize("colour", [RGB, 6])
def test_linear_light_of_16_bits_has_its_dark_colours(colour: int, said: bytes) -> None:
    """A step of 8 bits is 13 levels of sRGB there."""
    shown = samples_of(8, 3, seed=4) * np.linspace(0, 1, SIZE)[:, None, None]
    light = np.where(shown <= 10.31, shown / 255 / 12.92, ((shown / 255 + 0.055) / 1.055) ** 2.4)
    samples = np.rint(light * 65535).astype(int)
    if colour == 6:
        samples = np.dstack([samples, np.full((SIZE, SIZE), 65535)])
    picture = read(png(samples, 16, colour, said), 3)
    assert np.abs(picture.pixels - shown).max() <= 2 and not picture.warnings


def test_linear_grey_of_16_bits() -> None:
    grey = np.arange(256).reshape(SIZE, SIZE, 1) / 255
    light = np.where(grey <= 0.04045, grey / 12.92, ((grey + 0.055) / 1.055) ** 2.4)
    samples = np.rint(light * 65535).astype(int)
    picture = read(png(samples, 16, GREY, LINEAR[0]), 1)
    assert np.abs(picture.pixels - 255 * grey).max() <= 1
    with_alpha = np.dstack([samples, np.full((SIZE, SIZE), 65535)])
    picture = read(png(with_alpha, 16, 4, LINEAR[0]), 1)
    assert np.abs(picture.pixels - 255 * grey).max() <= 1 and not picture.warnings


@pytest.mark.parametrize("count", [0, 1, 2])
def test_pixels_that_refer_to_no_palette_or_to_two_are_refused(count: int) -> None:
    palette = chunk(b"PLTE", bytes([9, 8, 7]))
    data = png(np.zeros((2, 2, 1), int), 8, PALETTE, *[palette] * count)
    if count == 1:
        assert (read(data, 3).pixels == [9, 8, 7]).all()
        return
    with pytest.raises(ImageError, match=f"one palette, and it has {count}"):
        read(data, 3)


DISPLAY_P3 = chunk(b"cICP", bytes([12, 13, 0, 1]))
PROFILES = [chunk(b"iCCP", b"n\0\0" + zlib.compress(Gamma(gamma).profile())) for gamma in (1, 0.6)]
TURNED = [
    chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0%c\0\0\0\0\0\0" % n) for n in (6, 1)
]
ONCE = {
    "tRNS": [chunk(b"tRNS", struct.pack(">3H", *key)) for key in ((1, 2, 3), (0, 0, 0))],
    "gAMA": [chunk(b"gAMA", struct.pack(">I", gamma)) for gamma in (100_000, 55_556)],
    "cICP": [DISPLAY_P3, chunk(b"cICP", bytes([9, 13, 0, 1]))],
    "iCCP": PROFILES,
    "eXIf": TURNED,
}


@pytest.mark.parametrize("name", ONCE)
def test_of_chunks_that_are_there_twice_the_first_counts_which_is_told(name: str) -> None:
    first, second = ONCE[name]
    samples = samples_of(8, 3)
    alone, both = read(png(samples, 8, RGB, first), 4), read(png(samples, 8, RGB, first, second), 4)
    assert not alone.warnings
    assert not np.array_equal(alone.pixels, read(png(samples, 8, RGB, second), 4).pixels) or (
        name == "tRNS"
    )
    assert np.array_equal(both.pixels, alone.pixels)
    told = f"its chunk {name} is there more than once, of which the first counts"
    assert both.warnings == (told,)
    with pytest.raises(ImageError, match="refused by --strict"):
        read(png(samples, 8, RGB, first, second), 3, Tolerance(strict=True))


@pytest.mark.parametrize("late", [ONCE["tRNS"][0], PROFILES[0]], ids=["tRNS", "iCCP"])
def test_chunks_after_the_pixels_do_not_count_which_is_told(late: bytes) -> None:
    samples = np.full((4, 5, 3), (1, 2, 3), np.uint8)
    data, end = png(samples, 8, RGB), len(chunk(b"IEND", b""))
    picture = read(data[:-end] + late + data[-end:], 4)
    assert (
        np.array_equal(picture.pixels[:, :, :3], samples) and (picture.pixels[:, :, 3] == 255).all()
    )
    assert picture.warnings == (
        f"its chunk {late[4:8].decode()} stands after the pixels, and is left out",
    )


@pytest.mark.parametrize("name", ["iCCP", "gAMA", "cICP", "tRNS"])
def test_chunks_on_the_wrong_side_of_the_palette_do_not_count_which_is_told(name: str) -> None:
    palette = chunk(b"PLTE", bytes(range(48)))
    stray = chunk(b"tRNS", bytes(16)) if name == "tRNS" else ONCE[name][0]
    samples = samples_of(4, 1)
    order = (stray, palette) if name == "tRNS" else (palette, stray)
    picture = read(png(samples, 4, 3, *order), 4)
    assert np.array_equal(picture.pixels, read(png(samples, 4, 3, palette), 4).pixels)
    (told,) = picture.warnings
    assert f"its chunk {name} stands" in told and "the palette, and is left out" in told


def test_two_headers_are_refused() -> None:
    samples = samples_of(8, 3)
    height, width = samples.shape[:2]
    second = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height // 2, 8, 2, 0, 0, 0))
    with pytest.raises(ImageError, match="more than one header"):
        read(png(samples, 8, RGB, second), 3)
    text = chunk(b"tEXt", b"a\0b")
    data = png(samples, 8, RGB)
    with pytest.raises(ImageError, match="or a late one"):
        read(data[:8] + text + data[8:], 3)


@pytest.mark.parametrize("name", ["exif", "APP1"])
def test_exif_in_a_text_of_hex_digits(name: str) -> None:
    """As ImageMagick and its like wrote it before there was a chunk for it."""
    samples = samples_of(8, 3)
    block = b"Exif\0\0" + TURNED[0][8:-4]
    digits = "\n".join(block.hex()[at : at + 72] for at in range(0, 2 * len(block), 72))
    text = f"\n{name}\n{len(block):8}\n{digits}\n".encode()
    packed = chunk(b"zTXt", f"Raw profile type {name}".encode() + b"\0\0" + zlib.compress(text))
    picture = read(png(samples, 8, RGB, packed), 3)
    assert np.array_equal(picture.pixels, np.rot90(samples, -1))
    assert picture.orientation == 6 and not picture.warnings
    assert picture.exif == block
