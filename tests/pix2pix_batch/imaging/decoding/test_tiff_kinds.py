"""TIFF: every kind of samples is read as its 8-bit twin, or refused with a reason."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from rasterio.io import MemoryFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding.primaries import Gamma
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import read
from pix2pix_batch.imaging.metadata.tiff import Field, add_fields
from tests.pix2pix_batch.imaging.decoding.tiffs import (
    LOSSY,
    Kind,
    Made,
    kinds,
    make,
    ramps,
)

SOME = 300
LOSSY_LEVELS, LOSSY_MEAN = 24, 8
"""How far JPEG and WebP at their writers' quality may be from smooth ramps."""


def assert_shows(pixels: np.ndarray, kind: Kind, made: Made) -> None:
    """``pixels``: RGBA. Colours where they can be seen."""
    lossy = kind.compression in LOSSY
    if made.alpha is None:
        assert (pixels[:, :, 3] == 255).all(), kind
        seen = np.ones(pixels.shape[:2], bool)
    else:
        levels = LOSSY_LEVELS if lossy else 1
        assert np.abs(pixels[:, :, 3] - made.alpha).max() <= levels, kind
        seen = made.alpha > 60
    seen &= ~np.isnan(made.colours).any(axis=2)
    if not seen.any():
        return
    off = np.abs(pixels[:, :, :3] - made.colours)[seen]
    if lossy:  # at the edges of tiles, whose writer pads with black, more
        assert off.mean() <= LOSSY_MEAN, kind
        return
    # a level of a* or b*, which is a whole unit of colour, may be several of dark RGB
    levels = {"cielab": 20, "icclab": 20, "ycbcr": 3}.get(kind.photometric, 2)
    assert off.max() <= levels + 5 * (kind.extra == ("assocalpha",)), kind


def test_each_kind_is_read_as_it_is_meant_or_refused() -> None:
    all_kinds = list(kinds())
    chosen = random.Random(14).sample(all_kinds, 4 * SOME)
    # each combination of what the samples are, once as it is and once compressed
    headers = {(k.bits, k.photometric, k.planar, k.extra): k for k in all_kinds if not k.predicted}
    chosen += [
        Kind(*header, compression, False, order)
        for header in headers
        for compression, order in (("none", "<"), ("lzw", ">"))
    ]
    reasons = set()
    shown = 0
    for number, kind in enumerate(chosen):
        made = make(kind, number % 7)
        if made is None:
            continue
        try:
            pixels = read(made.data, 4).pixels
        except ImageError as error:
            reasons.add(str(error))
            assert not str(error).startswith(("damaged", "not an image")), (kind, error)
            continue
        assert_shows(pixels.astype(float), kind, made)
        shown += 1
    assert shown > SOME
    assert all(len(reason) > 20 for reason in reasons)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("photometric", "extra"),
    [("rgb", ()), ("rgb", ("unassalpha",)), ("separated", ()), ("minisblack", ("unassalpha",))],
)
def test_what_programs_write_is_read(
    bits: int, photometric: str, extra: tuple[str, ...], order: str, planar: str, compression: str
) -> None:
    kind = Kind(bits, photometric, planar, extra, compression, False, order)
    made = make(kind)
    assert made is not None
    assert_shows(read(made.data, 4).pixels.astype(float), kind, made)


@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("photometric", [0, 1])
def test_12_bit_grey_has_4095_for_white(photometric: int, compression: int) -> None:
    """Three bytes hold two samples, the higher bits first, and each row begins a byte."""
    values = ramps(1, 4095, 5)[:, :, 0].astype(np.uint16)
    rows = [[f"{value:012b}" for value in row] for row in values.tolist()]
    whole = -(-12 * values.shape[1] // 8)
    packed = b"".join(
        int("".join(row).ljust(8 * whole, "0"), 2).to_bytes(whole, "big") for row in rows
    )
    coded = {1: bytes, 5: imagecodecs.lzw_encode, 8: zlib.compress}[compression](packed)
    expected = values.astype(float) * 255 / 4095
    expected = expected if photometric == 1 else 255 - expected
    pixels = read(by_hand(values.shape, 12, photometric, compression, coded), 1).pixels[:, :, 0]
    assert pixels.max() == 255 and pixels.min() == 0
    assert np.abs(pixels - expected).max() <= 1


def by_hand(
    shape: tuple[int, ...], bits: int, photometric: int, compression: int, strip: bytes
) -> bytes:
    """A little-endian file of one strip of grey samples."""
    numbers = {256: shape[1], 257: shape[0], 258: bits, 259: compression, 262: photometric}
    numbers |= {273: 8, 277: 1, 278: shape[0], 279: len(strip)}
    directory = struct.pack("<H", len(numbers))
    for tag, value in numbers.items():
        directory += struct.pack("<HHII", tag, 4, 1, value)
    start = 8 + len(strip) + len(strip) % 2
    body = strip + b"\0" * (len(strip) % 2)
    return b"II*\0" + struct.pack("<I", start) + body + directory + b"\0\0\0\0"


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
def test_32_bit_integers_that_fit_into_16_bits(
    dtype: type, order: str, compression: str | None
) -> None:
    values = ramps(1, 65535, 3)[:, :, 0].astype(dtype)
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer, values, byteorder=order, compression=compression, photometric="minisblack"
    )
    assert np.array_equal(read(buffer.getvalue(), 1).pixels[:, :, 0], values >> 8)


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (np.zeros((4, 4), np.float32), {}, "floating-point pixels.*scale them"),
        (np.zeros((4, 4, 3), np.float16), {"photometric": "rgb"}, "floating-point"),
        (np.zeros((4, 4), np.int16), {}, "signed"),
        (np.zeros((4, 4), np.int8), {}, "signed"),
        (np.zeros((4, 4, 3), np.int16), {"photometric": "rgb"}, "signed"),
        (np.full((4, 4), 70_000, np.uint32), {}, "32-bit integer pixels.*scale them"),
        (np.full((4, 4), -1, np.int32), {}, "32-bit integer pixels.*scale them"),
        (np.full((4, 4), 7, np.int32), {}, "32-bit integer pixels up to 7: no defined white"),
        (np.full((4, 4), 255, np.uint32), {}, "32-bit integer pixels up to 255: no defined white"),
        (
            np.zeros((16, 16, 16), np.uint8),
            {"volumetric": True, "tile": (16, 16, 16), "photometric": "minisblack"},
            "a volume of 16 planes",
        ),
        (
            np.zeros((16, 16, 3), np.uint8),
            {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"lossless": True}},
            "lossless JPEG",
        ),
        (np.zeros((4, 4, 3), np.uint32), {"photometric": "rgb"}, "32-bit samples"),
        (np.zeros((4, 4), np.uint64), {}, "64-bit samples"),
        (np.zeros((4, 4, 5), np.uint8), {"photometric": "minisblack"}, "only the first.*grey"),
        *(
            (
                np.zeros((4, 4, 1 + len(extra)), dtype),
                {"photometric": kind, "extrasamples": extra},
                "only the first.*grey",
            )
            for extra in ([0], [0, 2], [2, 0])
            for kind, dtype in (("minisblack", np.uint8), ("miniswhite", np.uint16))
        ),
        (np.zeros((4, 4), np.uint16), {"photometric": "cfa"}, "colour filter array"),
        (np.zeros((4, 4, 3), np.uint16), {"photometric": "linear_raw"}, "linear camera raw"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "itulab"}, "ITU"),
        (np.zeros((4, 4, 5), np.uint8), {"photometric": "separated", "extrasamples": [2]}, "CMYK"),
    ],
    ids=lambda value: "" if isinstance(value, np.ndarray) else None,
)
def test_what_has_no_defined_colours_is_refused_by_name(
    values: np.ndarray, options: dict[str, object], reason: str
) -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, metadata=None, **{"planarconfig": "contig", **options})
    with pytest.raises(ImageError, match=reason):
        read(buffer.getvalue(), 3)


def test_a_palette_of_8_bit_entries() -> None:
    """Older programs did not scale them to 16 bits; libtiff and viewers look at the largest."""
    table = np.random.default_rng(1).integers(0, 256, (3, 256)).astype(np.uint16)
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for compression in (None, "lzw"):
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer, indices, photometric="palette", colormap=table, compression=compression
        )
        expected = table.T[indices]
        assert np.array_equal(read(buffer.getvalue(), 3).pixels, expected)


def test_16_bit_grey_with_white_as_zero() -> None:
    for order in "<>":
        for compression in ("none", "lzw"):
            kind = Kind(16, "miniswhite", compression=compression, order=order)
            made = make(kind)
            assert made is not None
            assert_shows(read(made.data, 4).pixels.astype(float), kind, made)


def changed(data: bytes, tag: int, value: int) -> bytes:
    """A little-endian file with a SHORT of its directory set to another value."""
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, entry)[0] == tag:
            return data[: entry + 8] + struct.pack("<H", value) + data[entry + 10 :]
    raise AssertionError(f"no tag {tag}")


@pytest.mark.parametrize(
    ("compression", "name"),
    [(50001, "WebP"), (34887, "LERC"), (34661, "JBIG"), (32809, "ThunderScan"), (4711, "4711")],
)
def test_the_compression_is_named(compression: int, name: str) -> None:
    made = make(Kind(8, "rgb", compression="zlib"))
    assert made is not None
    with pytest.raises(ImageError, match=name):
        read(changed(made.data, 259, compression), 3)


@pytest.mark.parametrize("photometric", [4, 32844, 51177, 1234])
def test_the_photometric_interpretation_is_named(photometric: int) -> None:
    made = make(Kind(8, "minisblack"))
    assert made is not None
    with pytest.raises(ImageError, match=r"its samples are .*convert them to RGB or grey"):
        read(changed(made.data, 262, photometric), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_orientation(orientation: int, planar: str) -> None:
    """Of files that Pillow reads, and of those that tifffile does."""
    pixels = np.random.default_rng(2).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    stored = (pixels.astype(np.uint16) * 257).transpose(2, 0, 1) if planar == "separate" else pixels
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.ascontiguousarray(stored),
        photometric="rgb",
        planarconfig=planar,
        extratags=[(274, "H", 1, orientation, True)],
        metadata=None,
    )
    exif = Image.Exif()
    exif[274] = orientation
    twin = io.BytesIO()
    Image.fromarray(pixels).save(twin, "PNG", exif=exif)
    found, expected = read(buffer.getvalue(), 3), read(twin.getvalue(), 3)
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.orientation == expected.orientation == orientation


WITHOUT_IMAGECODECS = """
import sys
sys.modules["imagecodecs"] = None
import pathlib, numpy as np
from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.images import read
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.tif")):
    try:
        np.save(path.with_suffix(".npy"), read(path.read_bytes(), 4).pixels)
    except ImageError as error:
        path.with_suffix(".txt").write_text(str(error))
"""


def test_without_the_extra(tmp_path: Path) -> None:
    """The core reads what it can, rightly, and names the extra for the rest."""
    chosen = random.Random(15).sample([k for k in kinds() if k.compression not in LOSSY], 700)
    chosen += [
        Kind(16, "rgb", "separate"),
        Kind(16, "separated", "separate", order=">"),
        Kind(12, "minisblack"),
        Kind(16, "miniswhite", compression="lzw"),
        Kind(8, "cielab", compression="lzw"),
    ]
    written: list[tuple[Kind, Made]] = []
    for number, kind in enumerate(chosen):
        if (made := make(kind, number % 7)) is not None:
            (tmp_path / f"{len(written):04}.tif").write_bytes(made.data)
            written.append((kind, made))
    run = [sys.executable, "-c", WITHOUT_IMAGECODECS, str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    read_by_core = 0
    for number, (kind, made) in enumerate(written):
        path = tmp_path / f"{number:04}.npy"
        if path.exists():
            assert_shows(np.load(path).astype(float), kind, made)
            read_by_core += 1
        else:
            reason = path.with_suffix(".txt").read_text()
            assert not reason.startswith(("damaged", "not an image")), (kind, reason)
    assert read_by_core > 40
    assert all((tmp_path / f"{len(written) - back:04}.npy").exists() for back in range(1, 6))


def test_libraries_print_nothing(tmp_path: Path) -> None:
    """libtiff speaks to standard error from C, where nobody sees of which file."""
    files = []
    for compression in ("lzw", "packbits", "zlib", "lzma", "zstd", "jpeg", "webp", "lerc"):
        made = make(Kind(8, "rgb", compression=compression))
        assert made is not None
        middle = len(made.data) // 2
        files.append(made.data[:middle] + bytes(40) + made.data[middle + 40 :])
        files.append(made.data[: middle + 300])
        files.append(changed(made.data, 259, 50001))
    for number, data in enumerate(files):
        (tmp_path / f"{number}.tif").write_bytes(data)
    for modules in ("", 'sys.modules["imagecodecs"] = None'):
        script = WITHOUT_IMAGECODECS.replace('sys.modules["imagecodecs"] = None', modules)
        run = [sys.executable, "-c", script, str(tmp_path)]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        assert done.stdout + done.stderr == ""
        assert list(tmp_path.glob("*.txt"))


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_thumbnail_that_comes_first_is_passed_over(order: str, big: bool, bits: int) -> None:
    """NewSubfileType's bit 0 (TIFF 6.0, section 8)."""
    dtype = np.uint8 if bits == 8 else np.uint16
    values = np.random.default_rng(3).integers(0, 2**bits, (16, 24, 3)).astype(dtype)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=big, byteorder=order) as file:
        file.write(values[::4, ::4].copy(), photometric="rgb", subfiletype=1)
        file.write(values[::2, ::2].copy(), photometric="rgb", subfiletype=3)
        file.write(values, photometric="rgb", compression="lzw")
    assert np.array_equal(read(buffer.getvalue(), 3).pixels, values >> (bits - 8))


def test_a_thumbnail_alone() -> None:
    """It is the picture, unless that stands within, as in camera raw files."""
    values = np.random.default_rng(3).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="rgb", subfiletype=1)
    assert np.array_equal(read(buffer.getvalue(), 3).pixels, values)
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(values[::4, ::4].copy(), photometric="rgb", subfiletype=1, subifds=1)
        file.write(values, photometric="rgb")
    with pytest.raises(ImageError, match=r"thumbnail.*export it"):
        read(buffer.getvalue(), 3)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_blocks_that_are_not_there_are_zero() -> None:
    """GDAL's SPARSE_OK."""
    values = np.random.default_rng(3).integers(1, 256, (128, 128)).astype(np.uint8)
    values[:64, :64] = 0
    options = {"driver": "GTiff", "height": 128, "width": 128, "count": 1, "dtype": "uint8",
               "tiled": True, "blockxsize": 64, "blockysize": 64, "sparse_ok": True}  # fmt: skip
    for compression in ("none", "deflate"):
        with MemoryFile() as memory:
            with memory.open(compress=compression, **options) as file:
                file.write(values, 1)
            data = bytes(memory.getbuffer())
        assert np.array_equal(read(data, 1).pixels[:, :, 0], values)


def grey_profile() -> bytes:
    """Of linear light, version 2 (ICC.1:2001-04, section 6.3.1.1)."""
    colours = Gamma(1).profile().replace(b"RGB XYZ ", b"GRAYXYZ ", 1)
    return colours.replace(b"rTRC", b"kTRC", 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite", "rgb"])
def test_linear_light_of_16_bits_has_its_dark_colours(photometric: str, orientation: int) -> None:
    """A step of 8 bits is 13 levels of sRGB there."""
    channels = 3 if photometric == "rgb" else 1
    shown = np.random.default_rng(4).integers(0, 60, (5, 7, channels)) / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    samples = np.rint(light * 65535).astype(np.uint16)
    stored = 65535 - samples if photometric == "miniswhite" else samples
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        stored if channels == 3 else stored[:, :, 0],
        photometric=photometric,
        iccprofile=Gamma(1).profile() if channels == 3 else grey_profile(),
        extratags=[(274, "H", 1, orientation, True)],
        metadata=None,
    )
    picture = read(buffer.getvalue(), 3)
    eight = np.rint(255 * shown).astype(np.uint8).repeat(3 // channels, axis=2)
    exif = Image.Exif()
    exif[274] = orientation
    twin = io.BytesIO()
    Image.fromarray(eight).save(twin, "PNG", exif=exif)
    expected = read(twin.getvalue(), 3).pixels.astype(int)
    assert np.abs(picture.pixels - expected).max() <= 2


def test_linear_light_that_is_not_read_at_16_bits_is_told() -> None:
    """Multiplied by its transparency, by which it is divided at 8 bits."""
    buffer = io.BytesIO()
    options = {"photometric": "rgb", "extrasamples": ["assocalpha"], "metadata": None}
    samples = np.full((4, 4, 4), 300, np.uint16)
    tifffile.imwrite(buffer, samples, iccprofile=Gamma(1).profile(), **options)
    assert "dark colours are levels off" in read(buffer.getvalue(), 3).warnings[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_undefined_format_are_unsigned(channels: int, dtype: type[np.generic]) -> None:
    """TIFF 6.0, section 19: as if the field were not there."""
    values = ramps(channels, np.iinfo(dtype).max, 3).astype(dtype)
    buffer = io.BytesIO()
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(buffer, values.squeeze(), photometric=photometric, compression="zlib")
    data = buffer.getvalue()
    undefined = Field(3, struct.pack(f"<{channels}H", *[4] * channels))
    assert np.array_equal(read(add_fields(data, {339: undefined}), 3).pixels, read(data, 3).pixels)
    signed = Field(3, struct.pack(f"<{channels}H", *[2] * channels))
    with pytest.raises(ImageError, match="signed"):
        read(add_fields(data, {339: signed}), 3)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("photometric", "extra", "left"),
    [
        ("rgb", (0,), "its band 4 is not told"),
        ("rgb", (0, 2), "its band 4 is not told"),
        ("rgb", (2, 0), "its band 5 is not told"),
        ("rgb", (0, 0), "its bands 4, 5 are not told"),
        ("separated", (0,), "its band 5 is not told"),
        ("rgb", (2,), ""),
    ],
)
def test_bands_that_are_left_out_are_told(
    photometric: str, extra: tuple[int, ...], left: str, bits: int
) -> None:
    """GraphicsMagick's transparency, and the infrared of satellites."""
    count = {"rgb": 3, "separated": 4}[photometric] + len(extra)
    samples = ramps(count, 2**bits - 1, 3).astype(np.uint8 if bits == 8 else np.uint16)
    buffer = io.BytesIO()
    options: dict[str, object] = {"photometric": photometric, "extrasamples": extra}
    tifffile.imwrite(buffer, samples, planarconfig="contig", metadata=None, **options)
    warnings = read(buffer.getvalue(), 3).warnings
    assert (len(warnings), left in str(warnings)) == (bool(left), True)
    if left:
        with pytest.raises(ImageError, match="refused by --strict"):
            read(buffer.getvalue(), 3, Tolerance(strict=True))


def with_tag(samples: np.ndarray, tag: int, kind: int, data: bytes, **options: object) -> bytes:
    buffer = io.BytesIO()
    written: dict[str, object] = {"photometric": "rgb", "byteorder": "<", **options}
    tifffile.imwrite(buffer, samples, metadata=None, **written)
    return add_fields(buffer.getvalue(), {tag: Field(kind, data)})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("kind", "code"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")]
)
def test_an_orientation_of_any_whole_type(kind: int, code: str, dtype: type[np.generic]) -> None:
    samples = ramps(3, np.iinfo(dtype).max, 3).astype(dtype)
    plain = read(with_tag(samples, 274, 3, b"\1\0"), 3).pixels
    picture = read(with_tag(samples, 274, kind, struct.pack(f"<{code}", 6)), 3)
    assert np.array_equal(picture.pixels, np.rot90(plain, -1))
    assert picture.orientation == 6 and not picture.warnings


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_orientation_that_xmp_alone_has_is_told(dtype: type[np.generic]) -> None:
    """And what lies on the ground is turned with the picture."""
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    samples = ramps(3, np.iinfo(dtype).max, 3).astype(dtype)
    picture = read(with_tag(samples, 700, 1, xmp), 3)
    assert np.array_equal(
        picture.pixels, np.rot90(read(with_tag(samples, 305, 2, b"a\0"), 3).pixels, -1)
    )
    assert picture.orientation == 6
    assert "turned upright as its XMP says" in str(picture.warnings)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("kind", [1, 2, 7])
def test_a_profile_of_any_type_of_bytes(kind: int, dtype: type[np.generic]) -> None:
    samples = ramps(3, np.iinfo(dtype).max, 3).astype(dtype)
    profile = Gamma(1 / 1.8).profile()
    expected = read(with_tag(samples, 34675, 7, profile), 3).pixels
    assert not np.array_equal(expected, read(with_tag(samples, 305, 2, b"a\0"), 3).pixels)
    picture = read(with_tag(samples, 34675, kind, profile), 3)
    assert np.array_equal(picture.pixels, expected) and not picture.warnings


@pytest.mark.parametrize(
    ("luma", "is_read"), [((299, 587, 114), True), ((2126, 7152, 722), False)], ids=["601", "709"]
)
def test_ycbcr_by_other_coefficients_is_refused(luma: tuple[int, ...], is_read: bool) -> None:
    below = sum(luma)
    ratios = struct.pack("<6I", *(value for part in luma for value in (part, below)))
    data = with_tag(ramps(3, 255, 8).astype(np.uint8), 529, 5, ratios, photometric="ycbcr")
    data = add_fields(data, {530: Field.of(3, 1, 1)})
    if is_read:
        assert not read(data, 3).warnings
    else:
        with pytest.raises(ImageError, match="by other coefficients"):
            read(data, 3)


@pytest.mark.parametrize(
    ("extra", "told"),
    [("unspecified", "with 1 band beside its colours"), ("assocalpha", "with premultiplied alpha")],
)
def test_a_fourth_band_of_webp_is_read_and_of_other_pictures_named(extra: str, told: str) -> None:
    # where the fourth is 0, WebP need not keep the colours
    pixels = np.random.default_rng(0).integers(1, 256, (16, 24, 4), np.uint8)

    def write(compression: str, **options: int) -> bytes:
        file = io.BytesIO()
        tifffile.imwrite(
            file, pixels, photometric="rgb", extrasamples=[extra], compression=compression,
            compressionargs=options,
        )  # fmt: skip
        return file.getvalue()

    found, expected = read(write("webp", level=100), 4), read(write("zlib"), 4)
    assert np.array_equal(found.pixels, expected.pixels)
    assert found.warnings == expected.warnings
    with pytest.raises(ImageError, match=f"8-bit RGB {told}, compressed as PNG; store it as"):
        read(write("png"), 4)
