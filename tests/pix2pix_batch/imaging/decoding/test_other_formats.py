"""The rarer formats: right where they are read, refused by name where they are not."""

from __future__ import annotations

import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import read

HEIGHT, WIDTH = 6, 9


def noise(*shape: int, largest: int = 255) -> np.ndarray:
    return np.random.default_rng(7).integers(0, largest + 1, shape)


def require(form: str) -> None:
    """Older versions of Pillow do not write all."""
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {form}")


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["BMP", "DIB", "PCX", "PPM", "SGI", "TGA", "DDS", "ICO", "QOI"])
def test_colours(form: str) -> None:
    require(form)
    colours = noise(16, 16, 3).astype(np.uint8)
    options = {"sizes": [(16, 16)]} if form == "ICO" else {}
    data = encoded(Image.fromarray(colours), form, **options)
    assert np.array_equal(read(data, 3).pixels, colours)


# Netpbm, by hand: netpbm.sourceforge.net/doc/ppm.html


@pytest.mark.parametrize("largest", [1, 3, 15, 100, 255, 256, 1000, 1023, 4095, 65534, 65535])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("plain", [False, True])
def test_netpbm(largest: int, channels: int, plain: bool) -> None:
    values = noise(HEIGHT, WIDTH, channels, largest=largest)
    values[0, 0], values[0, 1] = 0, largest
    kind = {(1, False): "P5", (3, False): "P6", (1, True): "P2", (3, True): "P3"}[channels, plain]
    head = f"{kind}\n{WIDTH} {HEIGHT}\n{largest}\n".encode()
    if plain:
        body = " ".join(map(str, values.ravel().tolist())).encode() + b"\n"
    else:
        body = values.astype(">u2" if largest > 255 else np.uint8).tobytes()
    pixels = read(head + body, 3).pixels
    assert np.abs(pixels - values * 255 / largest).max() <= 1
    assert (pixels[0, 0] == 0).all() and (pixels[0, 1] == 255).all()


@pytest.mark.parametrize("masks", [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)])
def test_bmp_of_16_bits(masks: tuple[int, int, int]) -> None:
    """Microsoft's BITMAPINFOHEADER with BI_BITFIELDS."""
    stored = noise(4, 4, largest=0x7FFF).astype("<u2")
    head = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 16, 3, 32, 0, 0, 0, 0)
    body = struct.pack("<III", *masks) + stored[::-1].tobytes()
    data = b"BM" + struct.pack("<IHHI", 14 + len(head + body), 0, 0, 14 + 40 + 12) + head + body
    pixels = read(data, 3).pixels
    for band, mask in enumerate(masks):
        share = (stored & mask) / mask
        assert np.abs(pixels[:, :, band] - 255 * share).max() <= 5


def test_bits_of_x_bitmaps_are_black() -> None:
    """The X11 library's file format: a set bit is the foreground, the first pixel the lowest."""
    data = b"#define a_width 8\n#define a_height 2\nstatic char a_bits[] = {\n0x01, 0xf0};\n"
    pixels = read(data, 1).pixels[:, :, 0]
    assert pixels[0].tolist() == [0] + [255] * 7
    assert pixels[1].tolist() == [255] * 4 + [0] * 4


def format_x_bitmap(kind: str, values: list[int]) -> str:
    """C, as programs and people write it, of 11 by 3 pixels."""
    number = {"one digit": "0x%x", "capitals": "0X%02X", "decimal": "%d", "octal": "0%o"}
    listed = ", ".join(number.get(kind, "0x%02x") % value for value in values)
    lines = ["#define a_width 11", "#define a_height 3", "static char a_bits[] = {", listed + "};"]
    if kind == "negative":
        lines[3] = ",".join(str(value - 256 if value > 127 else value) for value in values) + "};"
    elif kind == "its size":
        lines[2] = f"static const unsigned char a_bits[{len(values)}] = {{"
    elif kind == "comments":
        lines = ["/* 0x12 */", *lines[:3], "/* {0xff}, */ " + lines[3]]
    elif kind == "tabs":
        lines = [line.replace(" ", "\t") for line in lines]
    elif kind == "height first":
        lines[:2] = lines[1::-1]
    elif kind == "words":
        words = np.array(values, np.uint8).view("<u2")
        lines[2:] = ["static short a_bits[] = {", ", ".join(f"0x{w:04x}" for w in words) + "};"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "kind",
    ["plain", "one digit", "capitals", "decimal", "octal", "negative", "its size", "comments",
     "tabs", "height first", "words"],
)  # fmt: skip
def test_x_bitmaps_of_any_c(kind: str) -> None:
    bits = noise(3, 11, largest=1).astype(np.uint8)
    values = np.packbits(np.pad(bits, ((0, 0), (0, 5))), axis=1, bitorder="little")
    picture = read(format_x_bitmap(kind, values.ravel().tolist()).encode(), 1)
    assert picture.warnings == ()
    assert np.array_equal(picture.pixels[:, :, 0], 255 * (1 - bits))


def test_a_kind_that_is_not_read_is_not_called_damaged() -> None:
    """As Pillow says of masks that it does not know."""
    fields = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 16, 3, 0, 0, 0, 0, 0)
    body = fields + struct.pack("<III", 0xF00, 0xF0, 0xF) + bytes(128)
    data = b"BM" + struct.pack("<IHHI", 14 + len(body), 0, 0, 66) + body
    with pytest.raises(ImageError, match=r"^of a kind that is not read \(Unsupported"):
        read(data, 3)


def photoshop(depth: int, mode: int, channels: int, planes: bytes) -> bytes:
    """Adobe Photoshop File Formats Specification: no layers, no compression."""
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, channels, 2, 8, depth, mode)
    return head + struct.pack(">III", 0, 0, 0) + struct.pack(">H", 0) + planes


def test_photoshop_files() -> None:
    planes = noise(4, 2, 8).astype(np.uint8)
    pixels = read(photoshop(8, 3, 3, planes[:3].tobytes()), 3).pixels
    assert np.array_equal(pixels, planes[:3].transpose(1, 2, 0))
    bits = read(photoshop(1, 0, 1, b"\x80\x01"), 1).pixels[:, :, 0]
    assert bits[0].tolist() == [0] + [255] * 7  # a set bit is black
    inks = read(photoshop(8, 4, 4, planes.tobytes()), 3).pixels
    expected = planes[:3] * (planes[3:] / 255)  # stored as what the inks leave
    assert np.abs(inks - expected.transpose(1, 2, 0)).max() <= 2


def test_a_selection_saved_in_a_photoshop_file_is_no_transparency() -> None:
    planes = noise(4, 2, 8).astype(np.uint8)
    picture = read(photoshop(8, 3, 4, planes.tobytes()), 3)
    assert picture.alpha is None
    assert np.array_equal(picture.pixels, planes[:3].transpose(1, 2, 0))
    record = struct.pack(">4iH", 0, 0, 0, 0, 0) + b"8BIMnorm" + b"\xff\0\0\0" + bytes(4)
    layers = struct.pack(">h", -1) + record
    block = struct.pack(">I", len(layers)) + layers + bytes(4)
    whole = photoshop(8, 3, 4, b"")
    data = whole[:34] + struct.pack(">I", len(block)) + block + whole[38:] + planes.tobytes()
    found = read(data, 3).alpha
    assert found is not None and np.array_equal(found, planes[3])


@pytest.mark.parametrize(("mode", "colours"), [(1, 1), (4, 4), (3, 3)])
def test_transparency_of_photoshop_that_is_left_out_is_told(mode: int, colours: int) -> None:
    """Pillow takes it of RGB alone, and of that where no selection was saved too."""
    channels = colours + 1 + (mode == 3)
    planes = noise(channels, 2, 8).astype(np.uint8).tobytes()
    assert not read(photoshop(8, mode, channels, planes), 3).warnings
    record = struct.pack(">4iH", 0, 0, 0, 0, 0) + b"8BIMnorm" + b"\xff\0\0\0" + bytes(4)
    layers = struct.pack(">h", -1) + record
    block = struct.pack(">I", len(layers)) + layers + bytes(4)
    head = photoshop(8, mode, channels, b"")
    data = head[:34] + struct.pack(">I", len(block)) + block + head[38:] + planes
    assert read(data, 3).warnings == ("its transparency is left out",)


@pytest.mark.parametrize("mask", [0, 0x8000])
def test_transparency_of_bmp_of_16_bits_is_told(mask: int) -> None:
    head = struct.pack("<IiiHHIIiiII", 108, 4, 2, 1, 16, 3, 16, 0, 0, 0, 0)
    head += struct.pack("<4I", 0x7C00, 0x3E0, 0x1F, mask) + b"BGRs" + bytes(48)
    data = b"BM" + struct.pack("<IHHI", 14 + len(head) + 16, 0, 0, 14 + len(head)) + head
    picture = read(data + noise(16).astype(np.uint8).tobytes(), 3)
    assert picture.warnings == (("its transparency is left out",) if mask else ())


@pytest.mark.parametrize("is_grey", [False, True])
def test_a_gif_without_colours_is_told(is_grey: bool) -> None:
    """GIF89a, sections 18 to 21: of the whole, or of the one picture."""
    image = Image.fromarray(noise(8, 8, largest=3).astype(np.uint8))
    if not is_grey:
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    data = encoded(image, "GIF")
    assert not read(data, 3).warnings
    end = 13 + 3 * 2 ** ((data[10] & 7) + 1)
    bare = data[:10] + bytes([data[10] & 0x70]) + data[11:13] + data[end:]
    assert "no colours of its own" in read(bare, 3).warnings[0]
    at = bare.index(b",", 13) + 9
    local = bare[:at] + bytes([0x80 | data[10] & 7]) + data[13:end] + bare[at + 1 :]
    again = read(local, 3)
    assert not again.warnings and np.array_equal(again.pixels, read(data, 3).pixels)


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize("width", [9, 10])
def test_pcx_without_compression(planes: int, width: int) -> None:
    """ZSoft PCX File Format Technical Reference Manual: encoding 0."""
    rows = noise(HEIGHT, planes, width + width % 2).astype(np.uint8)
    head = bytes([10, 5, 0, 8]) + struct.pack("<6H", 0, 0, width - 1, HEIGHT - 1, 72, 72)
    head += bytes(49) + bytes([planes]) + struct.pack("<HH", width + width % 2, 1) + bytes(58)
    greys = b"\x0c" + bytes(np.repeat(np.arange(256, dtype=np.uint8), 3))
    data = head + rows.tobytes() + (greys if planes == 1 else b"")
    pixels = read(data, planes).pixels
    assert np.array_equal(pixels, rows[:, :, :width].transpose(0, 2, 1))


def pcx(width: int, planes: int, rows: np.ndarray, colours: int = 1) -> bytes:
    """Of 8 bits, without compression; ``rows``: ``uint8 (H, planes, bytes of a row)``."""
    head = bytes([10, 5, 0, 8]) + struct.pack("<6H", 0, 0, width - 1, len(rows) - 1, 72, 72)
    head += bytes(49) + bytes([planes]) + struct.pack("<HH", rows.shape[2], colours) + bytes(58)
    return head + rows.tobytes()


def pack_runs(data: bytes) -> bytes:
    """ZSoft's runs, over the ends of rows too."""
    made = bytearray()
    for value, group in itertools.groupby(data):
        left = len(list(group))
        while left:
            count = min(left, 63)
            made += bytes([0xC0 | count, value]) if count > 1 or value >= 0xC0 else bytes([value])
            left -= count
    return bytes(made)


@pytest.mark.parametrize("padding", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("has_runs", [False, True])
@pytest.mark.parametrize(("bits", "planes"), [(8, 1), (8, 3), (1, 1), (1, 4)])
def test_rows_of_pcx_that_are_longer_than_they_need(
    padding: int, has_runs: bool, bits: int, planes: int
) -> None:
    """ZSoft's manual: bytes per line are not to be reckoned from the width."""
    samples = noise(HEIGHT, planes, 12, largest=255 if bits == 8 else 1).astype(np.uint8)
    packed = samples if bits == 8 else np.packbits(samples, axis=2)
    rows = np.pad(packed, ((0, 0), (0, 0), (0, padding)))
    rows[:2] = rows[0, 0, 0]  # long runs
    rows[:2, :, packed.shape[2] :] = 0
    samples[:2] = rows[0, 0, 0] if bits == 8 else np.unpackbits(rows[:2], axis=2)[:, :, :12]
    table = noise(16, 3).astype(np.uint8)
    head = bytes([10, 5, has_runs, bits]) + struct.pack("<6H", 0, 0, 11, HEIGHT - 1, 72, 72)
    colours = table.tobytes() if planes == 4 else bytes(48)
    head += colours + bytes([0, planes]) + struct.pack("<HH", rows.shape[2], 2) + bytes(58)
    body = pack_runs(rows.tobytes()) if has_runs else rows.tobytes()
    picture = read(head + body, 1 if planes == 1 else 3)
    if planes == 4:
        indices = (samples << np.arange(4, dtype=np.uint8)[:, None]).sum(axis=1)
        assert np.array_equal(picture.pixels, table[indices])
    else:
        assert np.array_equal(
            picture.pixels, samples.transpose(0, 2, 1) * (255 if bits == 1 else 1)
        )
    assert not picture.warnings


BLACK_WHITE, GREYS = [(0, 0, 0), (255, 255, 255)], [(at, at, at) for at in range(16)]


def bitmap(indices: np.ndarray, bits: int, table: list[tuple[int, int, int]], used: int) -> bytes:
    """Microsoft's BITMAPINFOHEADER, colours and rows from the bottom. ``indices``: of 8 columns."""
    height, width = indices.shape
    fields = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 0, 0, used, 0)
    rows = indices if bits == 8 else indices[:, ::2] << 4 | indices[:, 1::2]
    return fields + b"".join(bytes([b, g, r, 0]) for r, g, b in table) + rows[::-1].tobytes()


@pytest.mark.parametrize(
    ("bits", "table", "used"),
    [
        (8, BLACK_WHITE, 2),
        (4, BLACK_WHITE, 2),
        (4, GREYS, 0),
        (4, GREYS, 16),
        (4, GREYS[:5], 5),
        (8, GREYS, 16),
        (8, BLACK_WHITE[::-1], 2),
        (4, BLACK_WHITE[::-1], 2),
    ],
)
def test_grey_colours_of_bitmaps_of_4_and_8_bits(
    bits: int, table: list[tuple[int, int, int]], used: int
) -> None:
    """PHP's GD writes pictures of two colours in 8 bits."""
    indices = noise(8, 8, largest=len(table) - 1).astype(np.uint8)
    made = bitmap(indices, bits, table, used)
    data = b"BM" + struct.pack("<IHHI", 14 + len(made), 0, 0, 54 + 4 * len(table)) + made
    expected = np.array(table, np.uint8)[indices]
    picture = read(data, 3)
    assert np.array_equal(picture.pixels, expected) and not picture.warnings
    within = made[:8] + struct.pack("<i", 16) + made[12:] + bytes(4 * 8)  # and a mask
    for kind in (1, 2):  # an icon, a cursor
        head = struct.pack("<HHHBBBBHHII", 0, kind, 1, 8, 8, 0, 0, 1, bits, len(within), 22)
        assert np.array_equal(read(head + within, 3).pixels, expected)


@pytest.mark.parametrize(("bits", "compression"), [(2, 0), (0, 4), (0, 5)])
def test_bitmaps_of_rare_kinds_are_refused_by_name(bits: int, compression: int) -> None:
    fields = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, bits, compression, 0, 0, 0, 0, 0)
    with pytest.raises(ImageError, match=r"^BMP (of 2 bits|with a (JPEG|PNG) file)"):
        read(b"BM" + struct.pack("<IHHI", 200, 0, 0, 70) + fields + bytes(146), 3)


@pytest.mark.parametrize("is_grey", [False, True])
def test_colours_of_a_gif_picture_go_before_those_of_the_whole(is_grey: bool) -> None:
    indices = noise(8, 8).astype(np.uint8)
    whole, own = noise(256, 3).astype(np.uint8), noise(256, 3).astype(np.uint8)[::-1]
    own = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1) if is_grey else own
    image = Image.fromarray(indices)
    image.putpalette(whole.tobytes())
    data = encoded(image, "GIF", optimize=False, comment=b"a comment")
    assert data[10] & 0x87 == 0x87 and np.array_equal(read(data, 3).pixels, whole[indices])
    at = data.index(b",", 13 + 768) + 9
    data = data[:at] + b"\x87" + own.tobytes() + data[at + 1 :]
    assert np.array_equal(read(data, 3).pixels, own[indices])


@pytest.mark.parametrize("symbols", ["ab", "c ", "cc", "a#"])
def test_xpm_by_whatever_symbols(symbols: str) -> None:
    """Qt begins with those that other programs use last."""
    colours = {symbols: "#0A0B0C", "zz": "#FF8001"}
    lines = ["2 1 2 2", *(f"{symbol} c {colour}" for symbol, colour in colours.items())]
    lines.append("".join(colours))
    text = "/* XPM */\nstatic char *a[] = {\n" + ",\n".join(f'"{line}"' for line in lines)
    assert read((text + "};\n").encode(), 3).pixels.tolist() == [[[10, 11, 12], [255, 128, 1]]]


def test_pcx_by_its_table_of_colours() -> None:
    rows, table = noise(HEIGHT, 1, 10).astype(np.uint8), noise(256, 3).astype(np.uint8)
    data = pcx(10, 1, rows) + b"\x0c" + table.tobytes()
    assert np.array_equal(read(data, 3).pixels, table[rows[:, 0]])
    for wrong in (data[:-500], data + bytes(10), data[:-769]):
        with pytest.raises(ImageError, match="colours are not the last 769 bytes"):
            read(wrong, 3)
    assert np.array_equal(read(pcx(10, 1, rows, colours=2), 1).pixels[:, :, 0], rows[:, 0])
    with pytest.raises(ImageError, match="PCX of four planes"):
        read(pcx(10, 4, noise(HEIGHT, 4, 10).astype(np.uint8)), 3)


@pytest.mark.parametrize("has_runs", [False, True])
def test_pcx_that_lacks_samples_before_its_table_of_colours_is_refused(has_runs: bool) -> None:
    """Which Pillow takes for samples. Also where runs go on in the next row."""
    rows, table = noise(HEIGHT, 1, 10).astype(np.uint8), noise(256, 3).astype(np.uint8)
    data = bytearray(pcx(10, 1, rows))
    data[2] = has_runs
    head, body = bytes(data[:128]), pack_runs(rows.tobytes()) if has_runs else rows.tobytes()
    end = b"\x0c" + table.tobytes()
    assert np.array_equal(read(head + body + end, 3).pixels, table[rows[:, 0]])
    for cut in (body[:-20], body[:20] + body[41:], body[:20]):
        with pytest.raises(ImageError, match=r"damaged: cut short .* before its last row"):
            read(head + cut + end, 3)
    picture = read(head + body[:20] + end, 3, Tolerance(lenient=True))
    assert np.array_equal(picture.pixels[0], table[rows[0, 0]])
    assert np.array_equal(picture.pixels[-1], table[[0] * 10])
    assert picture.warnings[0].startswith("damaged: cut short")


def test_the_first_page_of_several_has_its_own_colours() -> None:
    rows = noise(HEIGHT, 1, 10).astype(np.uint8)
    tables = noise(2, 256, 3).astype(np.uint8)
    pages = [pcx(10, 1, rows) + b"\x0c" + table.tobytes() for table in tables]
    places = struct.pack("<3I", 16, 16 + len(pages[0]), 0)
    data = b"\xb1\x68\xde\x3a" + places + b"".join(pages)
    assert np.array_equal(read(data, 3).pixels, tables[0][rows[:, 0]])


def test_targa_of_colours_with_a_table_for_others() -> None:
    colours, table = noise(HEIGHT, WIDTH, 3).astype(np.uint8), bytes(range(12))
    head = struct.pack("<BBBHHBHHHHBB", 2, 1, 2, 0, 4, 24, 0, 0, WIDTH, HEIGHT, 24, 0x20)
    data = head + b"id" + table + colours[:, :, ::-1].tobytes()
    assert np.array_equal(read(data, 3).pixels, colours)


@pytest.mark.parametrize("flags", [0x08, 0x28], ids=["bottom first", "top first"])
def test_runs_of_targa_over_the_ends_of_rows(flags: int) -> None:
    values = np.arange(HEIGHT * WIDTH) // 15  # runs of 15, rows of 9
    samples = np.stack([values * 9, values * 5, 255 - values, 250 - values], axis=1)
    runs = b"".join(
        bytes([0x80 | 14]) + bytes(samples[at, [2, 1, 0, 3]].tolist())
        for at in range(0, len(values), 15)
    )
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 10, 0, 0, 0, 0, 0, WIDTH, HEIGHT, 32, flags)
    expected = samples.reshape(HEIGHT, WIDTH, 4)
    expected = expected if flags & 0x20 else expected[::-1]
    assert np.array_equal(read(head + runs, 4).pixels, expected)
    with pytest.raises(ImageError, match="damaged"):
        read(head + runs[:-3], 4)


@pytest.mark.parametrize("end", [b"", b"\0"], ids=["as FFmpeg", "as told"])
def test_rows_of_sgi(end: bytes) -> None:
    planes = noise(3, HEIGHT, WIDTH).astype(np.uint8)
    rows = [bytes([0x80 | WIDTH]) + row.tobytes() + end for row in planes.reshape(-1, WIDTH)]
    head = struct.pack(">HBBHHHHII", 474, 1, 1, 3, WIDTH, HEIGHT, 3, 0, 255).ljust(512, b"\0")
    lengths = [len(row) for row in rows]
    starts = [512 + 8 * len(rows) + sum(lengths[:at]) for at in range(len(rows))]
    data = head + struct.pack(f">{2 * len(rows)}I", *starts, *lengths) + b"".join(rows)
    assert np.array_equal(read(data, 3).pixels, planes[:, ::-1].transpose(1, 2, 0))
    with pytest.raises(ImageError, match="damaged"):
        read(data[:-4], 3)
    longer = data[: starts[4]] + bytes([0x80 | (WIDTH + 1)]) + data[starts[4] + 1 :]
    with pytest.raises(ImageError, match="damaged"):
        read(longer, 3)


def test_bmp_that_leaves_pixels_out() -> None:
    """Microsoft's "Bitmap Compression": a step over them, and an end before the last row."""
    table = noise(256, 3).astype(np.uint8)
    runs = bytes([0, 2, 3, 1, 4, 7, 0, 0, 0, 3, 9, 8, 7, 0, 2, 5])
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, 0, 0, 0, 0, 0)
    colours = np.pad(table[:, ::-1], ((0, 0), (0, 1))).tobytes()
    start = 14 + len(head) + len(colours)
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[1, 3:7], expected[2, :5] = 7, (9, 8, 7, 5, 5)
    data = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + head + colours + runs
    assert np.array_equal(read(data + b"\0\1", 3).pixels, table[expected][::-1])
    with pytest.raises(ImageError, match="damaged"):
        read(data, 3)


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4])
def test_transparency_of_targa_by_its_extension(kind: int) -> None:
    """Truevision TGA 2.0, field 24: 0 for none, 1 to be ignored, 2 to be kept, 3 for plain, 4 for
    premultiplied."""
    alpha = np.full((HEIGHT, WIDTH, 1), 128)
    colours = noise(HEIGHT, WIDTH, 3, largest=120)
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, WIDTH, HEIGHT, 32, 0x28)
    data = head + np.dstack([colours[:, :, ::-1], alpha]).astype(np.uint8).tobytes()
    extension = struct.pack("<H", 495).ljust(494, b"\0") + bytes([kind])
    data += extension + struct.pack("<II", len(data), 0) + b"TRUEVISION-XFILE.\0"
    picture = read(data, 4)
    expected = colours * 255 / 128 if kind == 4 else colours
    assert (picture.pixels[:, :, 3] == (255 if kind < 2 else 128)).all()
    assert np.abs(picture.pixels[:, :, :3] - expected).max() <= 1


def test_an_icon_of_nothing_but_transparency_has_none() -> None:
    """32 bits whose fourth byte no program has set: Windows then looks at the mask."""
    colours = noise(16, 16, 3).astype(np.uint8)
    rows = np.dstack([colours[:, :, ::-1], np.zeros((16, 16), np.uint8)])[::-1].tobytes()
    bitmap = struct.pack("<IiiHHIIiiII", 40, 16, 32, 1, 32, 0, len(rows) + 64, 0, 0, 0, 0)
    bitmap += rows + bytes(64)
    head = struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(bitmap), 22)
    picture = read(head + bitmap, 3)
    assert picture.alpha is None and np.array_equal(picture.pixels, colours)


def sun(depth: int, kind: int, width: int, rows: bytes) -> bytes:
    """Sun's rasterfile.h, without a map of colours."""
    return struct.pack(">8I", 0x59A66A95, width, 2, depth, len(rows), kind, 0, 0) + rows


REFUSED = {
    "16 bits of Photoshop": (photoshop(16, 3, 3, bytes(96)), "Photoshop file of 16 bits"),
    "duotone": (photoshop(8, 8, 1, bytes(16)), "duotone"),
    "several inks": (photoshop(8, 7, 3, bytes(48)), "several inks"),
    "FITS": (
        b"".join(
            card.ljust(80)
            for card in (
                b"SIMPLE  =                    T",
                b"BITPIX  =                   16",
                b"NAXIS   =                    2",
                b"NAXIS1  =                    2",
                b"NAXIS2  =                    2",
                b"END",
            )
        ).ljust(2880)
        + bytes(2880),
        "FITS",
    ),
    "SGI": (
        struct.pack(">HBBHHHHII", 474, 0, 2, 2, 2, 2, 1, 0, 65535).ljust(512, b"\0") + bytes(8),
        "SGI image of 16 bits",
    ),
    "SGI of 3, 3 and 2 bits": (
        struct.pack(">HBBHHHHIII80sI", 474, 0, 1, 2, 2, 2, 1, 0, 255, 0, b"", 1).ljust(512, b"\0")
        + bytes(4),
        "SGI image that is dithered",
    ),
    "Sun of 32 bits": (sun(32, 1, 2, bytes(16)), "Sun raster of 32 bits"),
    "Sun of odd rows": (sun(8, 2, 3, bytes(8)), "Sun raster of compressed rows of odd length"),
    "PFM": (b"Pf\n2 2\n-1.0\n" + bytes(16), "floating-point"),
    "XPM": (
        b'/* XPM */\nstatic char *a[] = {\n"1 1 1 1",\n"a c #FFFF80000000",\n"a"\n};\n',
        "XPM with colours",
    ),
    "SPIDER": (encoded(Image.new("F", (8, 8)), "SPIDER"), "SPIDER|floating-point"),
    "IM": (encoded(Image.new("L", (8, 8)), "IM"), "IM files are not read"),
    "DDS": (
        b"DDS " + struct.pack("<IIII", 124, 0x1007, 4, 4) + bytes(56)
        + struct.pack("<II4s", 32, 4, b"BC5S") + bytes(100),
        "DDS texture",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_known_is_refused_by_name(kind: str) -> None:
    data, reason = REFUSED[kind]
    with pytest.raises(ImageError, match=reason):
        read(data, 3)


@pytest.mark.parametrize(
    ("quality", "levels"), [(100, 10), (60, 40)], ids=["nearly lossless", "usual"]
)
@pytest.mark.parametrize("form", ["AVIF", "WEBP"])
def test_modern_formats(form: str, quality: int, levels: int) -> None:
    require(form)
    y, x = np.mgrid[0:32, 0:48]
    colours = np.stack([5 * x, 7 * y, 255 - 5 * x], axis=2).astype(np.uint8)
    pixels = read(encoded(Image.fromarray(colours), form, quality=quality), 3).pixels
    assert np.abs(pixels.astype(int) - colours).max() <= levels


def targa(bits: int, flags: int, samples: np.ndarray) -> bytes:
    """Truevision TGA, from the top: ``flags`` are the bits of transparency."""
    height, width = samples.shape[:2]
    head = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, width, height, bits, 0x20 | flags)
    return head + samples.tobytes()


@pytest.mark.parametrize("flags", [0, 8])
def test_transparency_that_a_targa_header_does_not_count(flags: int) -> None:
    colours = noise(HEIGHT, WIDTH, 3).astype(np.uint8)
    nothing, some = np.zeros((HEIGHT, WIDTH), np.uint8), noise(HEIGHT, WIDTH).astype(np.uint8)
    picture = read(targa(32, flags, np.dstack([colours[:, :, ::-1], nothing])), 3)
    if flags:
        assert picture.alpha is not None and not picture.alpha.any()
    else:
        assert picture.alpha is None and np.array_equal(picture.pixels, colours)
    picture = read(targa(32, flags, np.dstack([colours[:, :, ::-1], some])), 3)
    assert picture.alpha is not None and np.array_equal(picture.alpha, some)


def gif_of_a_part() -> bytes:
    """A canvas of 8 by 8 whose first picture has the 16 pixels in its middle."""
    codes = [code for _ in range(16) for code in (4, 1)] + [5]  # clear, red; 3 bits each
    bits = sum(code << 3 * place for place, code in enumerate(codes))
    body = bits.to_bytes(-(-3 * len(codes) // 8), "little")
    table = bytes([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    head = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0xF1, 3, 0) + table
    part = b"," + struct.pack("<HHHHB", 2, 2, 4, 4, 0) + b"\2" + bytes([len(body)]) + body
    return head + part + b"\0;"


def test_around_a_first_picture_smaller_than_the_whole_is_nothing() -> None:
    picture = read(gif_of_a_part(), 3)
    inside = np.zeros((8, 8), bool)
    inside[2:6, 2:6] = True
    assert picture.alpha is not None
    assert np.array_equal(picture.alpha, np.where(inside, 255, 0))
    assert (picture.pixels[inside] == (255, 0, 0)).all()
    assert (picture.pixels[~inside] == 255).all()


KNOWN = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n": "git lfs pull",
    b"/annex/objects/SHA256E-s1--00.png\n": "git annex get",
    b"\xef\xbb\xbf\r\n<!DOCTYPE HTML><title>404</title>": "a web page",
    b'<?xml version="1.0"?><svg/>': "SVG",
    b"%PDF-1.7\n": "PDF",
    b"\x1f\x8b\x08\0": "gzip compressed; unpack it",
    b"PK\3\4": "ZIP archive",
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic": "HEIC",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"v/1\1\2\0\0\0": "OpenEXR",
    bytes(5000): "zero bytes: never written",
    encoded(Image.fromarray(noise(32, 32, 3).astype(np.uint8)), "WEBP")[:200]: "cut short",
    b"no picture at all": "not an image",
}


@pytest.mark.parametrize("data", KNOWN, ids=KNOWN.values())
def test_what_is_no_picture_is_told_by_what_it_is(data: bytes) -> None:
    with pytest.raises(ImageError, match=KNOWN[data]):
        read(data, 3)


def test_avif_that_is_damaged_is_not_one_that_pillow_lacks() -> None:
    require("AVIF")
    data = encoded(Image.fromarray(noise(16, 16, 3).astype(np.uint8)), "AVIF")
    for cut in (40, len(data) // 2, len(data) - 8):
        with pytest.raises(ImageError, match="damaged"):
            read(data[:cut], 3)


@pytest.mark.parametrize("bits", [0, 1])
def test_transparency_of_one_bit_of_targa_is_told(bits: int) -> None:
    """Programs disagree whether a set bit is opaque."""
    head = struct.pack("<3B2HB4H2B", 0, 0, 2, 0, 0, 0, 0, 0, 2, 1, 16, 0x20 | bits)
    warned = read(head + struct.pack("<2H", 0x7FFF, 0xFFFF), 3).warnings
    assert len(warned) == bits and all("one bit" in said for said in warned)


@pytest.mark.parametrize("bits", [0, 8])
def test_transparency_of_a_table_of_colours_of_targa(bits: int) -> None:
    table = noise(20, 4).astype(np.uint8)
    indices = noise(HEIGHT, WIDTH, largest=19).astype(np.uint8)
    head = struct.pack("<3B2HB4H2B", 0, 1, 1, 0, 20, 32, 0, 0, WIDTH, HEIGHT, 8, 0x20 | bits)
    picture = read(head + table[:, [2, 1, 0, 3]].tobytes() + indices.tobytes(), 4)
    assert np.array_equal(picture.pixels, table[indices])
    table[:, 3] = 0
    picture = read(head + table[:, [2, 1, 0, 3]].tobytes() + indices.tobytes(), 4)
    assert (picture.pixels[:, :, 3] == (0 if bits else 255)).all()


def test_interleaved_rows_of_targa_are_told() -> None:
    rows = noise(HEIGHT, WIDTH, 3).astype(np.uint8)
    assert not read(targa(24, 0, rows), 3).warnings
    (said,) = read(targa(24, 0x40, rows), 3).warnings
    assert "interleaved" in said


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1, from light of 0 to 1 to 0 to 255."""
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


BT709 = [(0.4124, 0.2126, 0.0193), (0.3576, 0.7152, 0.1192), (0.1805, 0.0722, 0.9505)]
"""The light of the primaries of sRGB (IEC 61966-2-1, section 5.3)."""


@pytest.mark.parametrize("header", [108, 124])
@pytest.mark.parametrize(
    ("kind", "light", "gammas", "is_linear"),
    [
        (bytes(4), BT709, (1.0, 1.0, 1.0), True),
        (bytes(4), BT709, (2.2, 2.2, 2.2), False),
        (bytes(4), [(0.0, 0.0, 0.0)] * 3, (0.0, 0.0, 0.0), False),
        (bytes(4), BT709, (0.0, 0.0, 0.0), False),
        (b"BGRs", BT709, (1.0, 1.0, 1.0), False),
        (b" niW", BT709, (1.0, 1.0, 1.0), False),
    ],
)
def test_calibrated_colours_of_bmp(
    header: int,
    kind: bytes,
    light: list[tuple[float, float, float]],
    gammas: tuple[float, float, float],
    is_linear: bool,
) -> None:
    """Microsoft's BITMAPV4HEADER: endpoints and gammas count where the colours are calibrated."""
    levels = np.arange(256, dtype=np.uint8)
    fields = struct.pack("<IiiHHIIiiII", header, 256, 1, 1, 24, 0, 768, 0, 0, 0, 0) + bytes(16)
    fields += kind + struct.pack("<9i", *(round(v * 2**30) for colour in light for v in colour))
    fields += struct.pack("<3I", *(round(gamma * 2**16) for gamma in gammas))
    fields = fields.ljust(header, b"\0")
    data = b"BM" + struct.pack("<IHHI", 14 + header + 768, 0, 0, 14 + header) + fields
    pixels = read(data + np.repeat(levels, 3).tobytes(), 3).pixels
    expected = encode_srgb(levels / 255) if is_linear else levels
    assert np.abs(pixels[0] - expected[:, None]).max() <= 1


def test_primaries_of_a_calibrated_bmp_are_heeded() -> None:
    """Green of BT.2020 is beyond sRGB's; its grey is grey."""
    light = [(0.6370, 0.2627, 0.0), (0.1446, 0.6780, 0.0281), (0.1689, 0.0593, 1.0610)]
    fields = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 24, 0, 8, 0, 0, 0, 0) + bytes(20)
    fields += struct.pack("<9i", *(round(v * 2**30) for colour in light for v in colour))
    fields += struct.pack("<3I", *[round(2.2 * 2**16)] * 3)
    data = b"BM" + struct.pack("<IHHI", 130, 0, 0, 122) + fields
    green, grey = read(data + bytes([60, 160, 60, 128, 128, 128, 0, 0]), 3).pixels[0]
    assert green[0] < 30 and green[1] > 162
    assert np.abs(grey - np.int64(128)).max() <= 1


@pytest.mark.parametrize(
    ("colours", "is_told"),
    [(b"\0\0\0\xff\xff\xff", False), (bytes(6), False), (b"\xff\xff\xff\0\0\0", True)],
)
def test_a_palette_of_two_colours_of_pcx_is_told(colours: bytes, is_told: bool) -> None:
    data = bytearray(encoded(Image.new("1", (16, 4)), "PCX"))
    data[16:22] = colours
    assert bool(read(bytes(data), 3).warnings) == is_told


def test_pcx_that_says_it_has_no_palette_is_told() -> None:
    head = struct.pack("<4B6H48sBB4H", 10, 3, 1, 1, 0, 0, 7, 0, 72, 72, bytes(48), 0, 4, 2, 1, 0, 0)
    data = head.ljust(128, b"\0") + b"\1\0" * 4
    assert "no palette" in read(data, 3).warnings[0]
    assert not read(data[:1] + b"\5" + data[2:], 3).warnings


@pytest.mark.parametrize("has_exif", [False, True])
def test_an_orientation_that_xmp_alone_has_is_told(has_exif: bool) -> None:
    exif = Image.Exif()
    if has_exif:
        exif[0x0112] = 6
    told = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    picture = read(encoded(Image.new("RGB", (9, 6)), "JPEG", exif=exif, xmp=told), 3)
    assert picture.pixels.shape == (9, 6, 3)
    assert bool(picture.warnings) != has_exif


@pytest.mark.parametrize("start", [b"PF\n2 1\n-1.0\n", b"Pf\n2 1\n-1.0\n"])
def test_floating_point_netpbm_is_refused_by_name(start: bytes) -> None:
    with pytest.raises(ImageError, match=r"(?i)floating.point"):
        read(start + bytes(24), 3)


def with_clean_aperture(data: bytes, width: int, height: int) -> bytes:
    """An AVIF file of one item with the property that tells which part is the picture, and where
    that is associated with the item (ISO/IEC 14496-12, 12.1.4 and 8.11.14)."""
    aperture = struct.pack(">I4s8I", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    start = data.index(b"ipco") - 4
    found = bytearray(data)
    grown = len(aperture) + 1
    for kind, more in ((b"ipco", 40), (b"iprp", grown), (b"meta", grown), (b"ipma", 1)):
        at = data.index(kind) - 4
        struct.pack_into(">I", found, at, struct.unpack_from(">I", data, at)[0] + more)
    place = struct.pack(">I", data.index(b"mdat") + 4)
    at = data.index(place, data.index(b"iloc"))
    struct.pack_into(">I", found, at, data.index(b"mdat") + 4 + grown)
    (length,) = struct.unpack_from(">I", data, start)
    properties, at = 0, start + 8
    while at < start + length:
        properties, at = properties + 1, at + struct.unpack_from(">I", data, at)[0]
    count = data.index(b"ipma") + 4 + 4 + 4 + 2  # after its version, entries and the item's number
    found[count] += 1
    found[count + found[count] : count + found[count]] = bytes([0x80 | properties + 1])
    return bytes(found[: start + length] + aperture + found[start + length :])


@pytest.mark.parametrize("sides", [(20, 30), (40, 30)], ids=["a part", "the whole"])
def test_a_part_that_avif_tells_to_be_the_picture_is_told(sides: tuple[int, int]) -> None:
    require("AVIF")
    plain = encoded(Image.fromarray(noise(30, 40, 3).astype(np.uint8)), "AVIF")
    picture = read(with_clean_aperture(plain, *sides), 3)
    assert np.array_equal(picture.pixels, read(plain, 3).pixels)
    told = (
        "a part of it is told to be the picture (clean aperture), of which programs differ; it is "
        "taken as a whole"
    )
    assert picture.warnings == ((told,) if sides == (20, 30) else ())
