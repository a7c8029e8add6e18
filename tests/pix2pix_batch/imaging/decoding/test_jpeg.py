"""JPEG: the same pixels as ever, and a word where libjpeg has one."""

from __future__ import annotations

import io
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.decoding import jpeg as parser
from pix2pix_batch.imaging.decoding import process
from pix2pix_batch.imaging.decoding.process import decode_concurrently, decode_incomplete
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.images import read

SIDE = 128


def picture() -> Image.Image:
    """Structure and noise, as photographs have."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    random = np.random.default_rng(5)
    waves = [127 + 90 * np.sin(x / (5 + band) + y / (9 - band)) for band in range(3)]
    noisy = np.stack(waves, axis=2) + random.normal(0, 12, (SIDE, SIDE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def jpeg(mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture().convert(mode).save(buffer, "JPEG", **{"quality": 90, **options})
    return buffer.getvalue()


def zeroed(data: bytes, count: int, share: float = 0.5) -> bytes:
    at = int(len(data) * share)
    return data[:at] + bytes(count) + data[at + count :]


OPTIONS = [
    {},
    {"subsampling": 0},
    {"subsampling": 1},
    {"progressive": True},
    {"optimize": True},
    {"restart_marker_rows": 1},
    {"quality": 30},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_whole_files_have_pillow_s_pixels_and_no_warning(
    mode: str, options: dict[str, object]
) -> None:
    data = jpeg(mode, **options)
    found = read(data, 3)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))
    assert found.warnings == ()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
def test_200_bytes_zeroed(mode: str, options: dict[str, object], share: float) -> None:
    data = zeroed(jpeg(mode, **options), 200, share)
    found = read(data, 3)
    assert found.pixels.shape == (SIDE, SIDE, 3)
    assert found.warnings[0].startswith("damaged, and read as far as it goes")
    with pytest.raises(ImageError, match=r"damaged.*refused by --strict"):
        read(data, 3, Tolerance(strict=True))


def test_flat_pictures_have_zeros_of_their_own() -> None:
    """With optimised tables a flat area may be a run of zero bits."""
    for colour in ("white", "black", "grey"):
        buffer = io.BytesIO()
        flat = Image.new("RGB", (900, 900), colour)
        flat.putpixel((450, 450), (255, 0, 0))
        flat.save(buffer, "JPEG", optimize=True)
        assert read(buffer.getvalue(), 3, Tolerance(strict=True)).warnings == ()


@pytest.mark.parametrize("cut", [1, 2, 300])
@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_a_file_cut_short(options: dict[str, object], cut: int) -> None:
    whole = jpeg(**options)
    with pytest.raises(ImageError, match=r"cut short.*--lenient"):
        read(whole[:-cut], 3)
    found = read(whole[:-cut], 3, Tolerance(lenient=True))
    if cut <= 2:  # the end's marker
        assert np.array_equal(found.pixels, read(whole, 3).pixels)
    else:
        assert np.array_equal(found.pixels[: SIDE // 8], read(whole, 3).pixels[: SIDE // 8]) or (
            "progressive" in options
        )
    assert "cut short" in found.warnings[0]


def test_lenient_is_for_one_file_at_a_time() -> None:
    """Pillow has one switch for the whole process."""
    whole = jpeg()
    cut, lenient = whole[:-200], Tolerance(lenient=True)
    stop = time.monotonic() + 1
    wrong = []

    def plain() -> None:
        while time.monotonic() < stop:
            try:
                read(cut, 3)
                wrong.append("taken")
            except ImageError:
                pass

    threads = [threading.Thread(target=plain) for _ in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < stop:
        assert read(cut, 3, lenient).warnings
    for thread in threads:
        thread.join()
    assert not wrong and not ImageFile.LOAD_TRUNCATED_IMAGES


def test_lenient_does_not_wait_for_files_that_come_later() -> None:
    """Others that decode one file after another overlap: there need not be a moment without any."""
    order: list[str] = []

    def begin() -> None:
        with decode_concurrently():
            begun.set()
            waits.wait(60)

    begun, waits = threading.Event(), threading.Event()
    first = threading.Thread(target=begin)
    first.start()
    begun.wait(60)

    def take() -> None:
        with decode_incomplete():
            order.append("lenient")

    def come_later() -> None:
        with decode_concurrently():
            order.append("later")

    lenient = threading.Thread(target=take)
    lenient.start()
    while not process._waiting:
        pass
    later = threading.Thread(target=come_later)
    later.start()
    waits.set()
    for thread in (first, lenient, later):
        thread.join(60)
    assert order == ["lenient", "later"]


def with_frame(marker: int, depth: int, components: int) -> bytes:
    data = bytearray(jpeg("L"))
    at = data.index(b"\xff\xc0")
    data[at + 1], data[at + 4], data[at + 9] = marker, depth, components
    return bytes(data)


@pytest.mark.parametrize(
    ("marker", "depth", "components", "reason"),
    [(0xC1, 12, 1, "12-bit JPEG"), (0xC0, 8, 2, "2 components"), (0xC5, 8, 1, "hierarchical")],
)
def test_the_kind_is_named(marker: int, depth: int, components: int, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        read(with_frame(marker, depth, components), 3)


def test_damage_is_not_taken_for_another_kind() -> None:
    """Bytes in the picture's data that look like the marker of another frame."""
    data = jpeg()
    middle = len(data) // 2
    broken = data[:middle] + b"\xff" * 40 + b"\xc5" + data[middle + 41 :]
    with pytest.raises(ImageError, match="damaged"):
        read(broken, 3)


def test_a_height_that_stands_after_the_data_is_named() -> None:
    data = bytearray(jpeg("L"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 2] = b"\0\0"
    with pytest.raises(ImageError, match="DNL"):
        read(bytes(data), 3)


def test_bytes_after_the_end_are_left_alone() -> None:
    assert read(jpeg() + b"\0" * 5000, 3, Tolerance(strict=True)).warnings == ()


def test_several_pictures_in_one_file() -> None:
    first, second = picture(), picture().transpose(Image.Transpose.ROTATE_90)
    buffer = io.BytesIO()
    first.save(buffer, "MPO", save_all=True, append_images=[second], quality=95)
    found = read(buffer.getvalue(), 3, Tolerance(strict=True))
    assert np.abs(found.pixels.astype(int) - np.asarray(first)).mean() < 10


# Headers that are not given to Pillow


@pytest.mark.parametrize("options", [*OPTIONS, {"comment": b"by hand"}], ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_plain_header_says_what_pillow_says(mode: str, options: dict[str, object]) -> None:
    assert parser.read_plain_header(jpeg(mode, **options)) == (mode, (SIDE, SIDE))


def exif() -> Image.Exif:
    turned = Image.Exif()
    turned[0x0112] = 6
    return turned


@pytest.mark.parametrize(
    "options",
    [
        {"exif": exif()},
        {"icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()},
        {"xmp": b"<x:xmpmeta/>"},
    ],
    ids=["exif", "profile", "xmp"],
)
def test_what_says_more_is_pillow_s(options: dict[str, object]) -> None:
    assert parser.read_plain_header(jpeg(**options)) is None


def test_inks_and_files_of_several_pictures_are_pillow_s() -> None:
    assert parser.read_plain_header(jpeg("CMYK")) is None
    buffer = io.BytesIO()
    picture().save(buffer, "MPO", save_all=True, append_images=[picture()])
    assert parser.read_plain_header(buffer.getvalue()) is None


@given(
    st.sampled_from([jpeg("L"), jpeg("RGB"), jpeg("RGB", progressive=True)]),
    st.lists(st.tuples(st.integers(2, 660), st.integers(0, 255)), min_size=1, max_size=4),
    st.none() | st.integers(0, 700),
)
def test_a_damaged_header_says_what_pillow_says_or_nothing(
    data: bytes, changes: list[tuple[int, int]], end: int | None
) -> None:
    damaged = bytearray(data)
    for at, value in changes:
        damaged[at] = value
    found = parser.read_plain_header(bytes(damaged[:end]))
    if found is not None:
        try:
            with Image.open(io.BytesIO(damaged[:end])) as image:
                assert (image.mode, image.size) == found
        except Exception:  # Pillow refuses it; whether its samples are whole, libjpeg says
            return


def test_a_plain_file_for_a_generator_of_other_channels() -> None:
    data = jpeg("RGB")
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(read(data, 1).pixels[:, :, 0], np.asarray(image.convert("L")))
        assert np.array_equal(read(data, 4).pixels, np.asarray(image.convert("RGBA")))


def test_a_plain_file_that_is_too_large() -> None:
    with pytest.raises(ImageError, match="decompression bomb"):
        read(jpeg(), 3, Tolerance(max_pixels=SIDE * SIDE - 1))
    assert read(jpeg(), 3, Tolerance(max_pixels=SIDE * SIDE)).pixels.shape == (SIDE, SIDE, 3)


def test_damage_of_the_header_is_told() -> None:
    """Such as of a file that was transferred as text, which has a byte more for each line."""
    data = jpeg()
    tables = data.index(b"\xff\xdb")
    found = read(data[:tables] + b"\r\n\r" + data[tables:], 3)
    assert "extraneous bytes before marker" in found.warnings[0]
    assert np.array_equal(found.pixels, read(data, 3).pixels)


def test_arithmetic_data_may_have_zeros_in_a_row() -> None:
    data = zeroed(jpeg(), 200)
    frame = data.index(b"\xff\xc0")
    assert parser._find_hole(data)
    assert not parser._find_hole(data[:frame] + b"\xff\xc9" + data[frame + 2 :])


@pytest.mark.parametrize(
    ("space", "file", "is_wide"),
    [(0xFFFF, b"R03", True), (0xFFFF, b"R98", False), (1, b"R03", False), (2, b"R98", True)],
)
@pytest.mark.parametrize("has_profile", [False, True])
def test_adobe_rgb_that_a_camera_tells_in_exif_alone(
    space: int, file: bytes, is_wide: bool, has_profile: bool
) -> None:
    """Of 8-bit samples in Adobe RGB, by the formulas of the two standards."""
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8)
    exif += struct.pack("<HHHIII", 1, 0x8769, 4, 1, 26, 0)
    exif += struct.pack("<HHHIHH", 2, 0xA001, 3, 1, space, 0)
    exif += struct.pack("<HHIII", 0xA005, 4, 1, 56, 0)
    exif += struct.pack("<HHHI4sI", 1, 1, 2, 4, file + b"\0", 0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colour = (120, 150, 90)
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(
        buffer, "JPEG", quality=100, exif=exif, icc_profile=profile if has_profile else b""
    )
    light = (np.array(colour) / 255) ** (563 / 256)
    xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529],
                    [0.02703, 0.07069, 0.99134]]) @ light  # fmt: skip
    linear = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415],
                       [0.0557, -0.2040, 1.0570]]) @ xyz  # fmt: skip
    wide = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(wide - colour).max() > 10
    expected = wide if is_wide and not has_profile else np.array(colour)
    picture = read(buffer.getvalue(), 3)
    assert np.abs(picture.pixels[8, 8] - expected).max() <= 2
    assert not picture.warnings


def scans_of(data: bytes) -> list[int]:
    """Where each scan of a file begins, with the tables before it, and where its end is."""
    starts = [at for marker, at, _ in parser.iterate_segments(data) if marker == 0xDA]
    return [*(start - 4 for start in starts), data.rindex(b"\xff\xd9")]


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_scans_that_are_missing_are_told(mode: str) -> None:
    data = jpeg(mode, progressive=True)
    assert not read(data, 3).warnings
    cuts = scans_of(data)
    assert len(cuts) > 5
    for cut in cuts[1:-1]:
        picture = read(data[:cut] + b"\xff\xd9", 3)
        assert "some of its scans are missing" in picture.warnings[0]


def test_a_component_without_scan_is_told() -> None:
    """A scan of one component each (ITU-T T.81, section A.2), of which the last is not there."""
    grey = jpeg("L")
    (cut, end) = scans_of(grey)
    frame = next(at for marker, at, _ in parser.iterate_segments(grey) if marker == 0xC0)
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    head = (
        grey[: frame - 2]
        + struct.pack(">H", 17)
        + grey[frame : frame + 5]
        + b"\3"
        + components
        + grey[frame + 9 : cut]
    )
    scan = grey[cut:end]
    scans = [scan[:5] + bytes([number]) + scan[6:] for number in (1, 2, 3)]
    assert not read(head + b"".join(scans) + b"\xff\xd9", 3).warnings
    for count in (1, 2):
        warned = read(head + b"".join(scans[:count]) + b"\xff\xd9", 3).warnings
        assert "some of its scans are missing" in warned[0]
