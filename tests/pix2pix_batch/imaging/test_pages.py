"""Pages of TIFF files: which there are, and each as tifffile reads it."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images, pages
from pix2pix_batch.imaging.metadata import tiff_pages
from pix2pix_batch.imaging.raster.reading import open_raster
from pix2pix_batch.value_ranges import BandRange, ValueRange

WIDE = ValueRange("uint16", (BandRange(0, 65_535),))


def write_pages(path: Path, *pixels: np.ndarray, **options: Any) -> Path:
    """Each as a page, one after the other."""
    with tifffile.TiffWriter(path, **options) as file:
        for one in pixels:
            file.write(one, contiguous=False, metadata=None)
    return path


def draw_pages(*shapes: tuple[int, int], dtype: str = "uint16") -> list[np.ndarray]:
    random = np.random.default_rng(len(shapes))
    return [random.integers(0, np.iinfo(dtype).max, shape, dtype) for shape in shapes]


KINDS = st.sampled_from([0, 0, 0, 1, 4, 5])
"""NewSubfileType: pages, smaller copies, masks, and masks of smaller copies."""


@settings(max_examples=40)
@given(
    kinds=st.lists(KINDS, min_size=1, max_size=7), big=st.booleans(),
    order=st.sampled_from("<>"),
)  # fmt: skip
def test_pages_are_those_that_are_no_copies_or_masks(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[int], big: bool, order: Any
) -> None:
    """Each alone, with what follows it that is none, as Pillow, GDAL and tifffile read it."""
    path = tmp_path_factory.mktemp("pages") / "a <&> ü.tif"
    shapes = [(6 + index, 20 - index) for index in range(len(kinds))]
    drawn = draw_pages(*shapes)
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as file:
        for pixels, kind in zip(drawn, kinds, strict=True):
            if kind & 4:
                file.write(pixels > 9, subfiletype=kind, photometric=4, metadata=None)
            else:
                file.write(pixels, subfiletype=kind, metadata=None)
    data = path.read_bytes()
    wanted = [pixels for pixels, kind in zip(drawn, kinds, strict=True) if not kind]
    assert tiff_pages.count_in(data) == pages.count_pages(str(path)) == len(wanted)
    firsts = [index for index, kind in enumerate(kinds) if not kind]
    for number, pixels in enumerate(wanted, 1):
        own = tiff_pages.select_page(data, number)
        with tifffile.TiffFile(io.BytesIO(own)) as file:
            assert np.array_equal(file.pages[0].asarray(), pixels)
            until = firsts[number] if number < len(firsts) else len(kinds)
            assert len(file.pages) == until - firsts[number - 1]
        picture = images.read(own, 1)
        assert np.array_equal(picture.pixels[:, :, 0], pixels >> 8) and not picture.warnings
        for place, page in ((str(path), number), (own, 0)):
            with open_raster(place, path.name, WIDE, page=page) as raster:
                made, _ = raster.read(0, 0, raster.height, raster.width)
                assert np.array_equal(made[:, :, 0], pixels)
        assert pages.read_size(str(path), number) == pixels.shape
    with pytest.raises(ImageError, match=f"and no page {len(wanted) + 1}"):
        tiff_pages.select_page(data, len(wanted) + 1)


@given(data=st.binary(max_size=200), head=st.sampled_from([b"", b"II*\0", b"MM\0*", b"II+\0\x08"]))
def test_any_bytes_have_some_number_of_pages(data: bytes, head: bytes) -> None:
    found = tiff_pages.list_pages(tiff_pages.reader_of(head + data))
    for number, page in enumerate(found, 1):
        if page.damage:
            with pytest.raises(ImageError, match="damaged: page"):
                tiff_pages.select_page(head + data, number)
        else:
            assert len(tiff_pages.select_page(head + data, number)) == len(head + data)


@pytest.mark.parametrize("damage", ["lost", "circle"])
def test_a_damaged_chain_ends_with_a_page_that_says_so(tmp_path: Path, damage: str) -> None:
    """Those before it are read."""
    path = write_pages(tmp_path / "a.tif", *draw_pages((8, 9), (7, 5)))
    data = bytearray(path.read_bytes())
    one, two = tiff_pages.list_pages(tiff_pages.reader_of(bytes(data)))
    struct.pack_into("<I", data, two.end, one.at if damage == "circle" else len(data) + 10)
    first, second, last = tiff_pages.list_pages(tiff_pages.reader_of(bytes(data)))
    assert (first, second) == (one, two) and last.damage
    assert images.read(tiff_pages.select_page(bytes(data), 2), 1).pixels.shape == (7, 5, 1)
    with pytest.raises(ImageError, match="damaged: page 3: its director"):
        tiff_pages.select_page(bytes(data), 3)


def test_overviews_and_masks_of_a_geotiff_are_no_pages_and_its_own(tmp_path: Path) -> None:
    """GDAL has those of the first page for each; here a page has what follows it."""
    one, two = draw_pages((64, 64), (80, 48))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for pixels in (one, two):
            file.write(pixels, metadata=None)
            file.write(pixels[::2, ::2] // 2, subfiletype=1, metadata=None)
    for number, pixels in ((1, one), (2, two)):
        with open_raster(str(path), path.name, WIDE, page=number) as raster:
            assert raster.profile.overviews == (2,) and not raster.warnings
            reduced, _ = raster.read_reduced(max(pixels.shape) // 2)
            assert np.array_equal(reduced[:, :, 0], pixels[::2, ::2] // 2)


def test_what_a_page_is_called(tmp_path: Path) -> None:
    for name, told in (
        ("a/stack.tif#3", ("a/stack.tif", "#", 3)),
        ("stack.TIFF##12", ("stack.TIFF", "##", 12)),
        ("https://h/stack.tif?sig=1#2", ("https://h/stack.tif?sig=1", "#", 2)),
        ("stack.png#3", ("stack.png#3", "", 0)),
        ("stack.tif#0", ("stack.tif#0", "", 0)),
        ("#3", ("#3", "", 0)),
        ("stack.tif#", ("stack.tif#", "", 0)),
        ("stack.tif#³", ("stack.tif#³", "", 0)),
    ):
        assert pages.split_name(name) == told


def test_a_file_that_is_really_called_so_goes_before_a_page(tmp_path: Path) -> None:
    one, two, other = draw_pages((5, 5), (6, 6), (7, 7), dtype="uint8")
    path = write_pages(tmp_path / "a.tif", one, two)
    called = str(path) + "#2"
    assert pages.locate(called) == (str(path), 2)
    assert images.read(pages.read_file(called), 1).pixels.shape == (6, 6, 1)
    write_pages(Path(called), other)
    assert pages.locate(called) == (called, 0)
    assert images.read(pages.read_file(called), 1).pixels.shape == (7, 7, 1)
    assert pages.name_page("a.tif", 1, str(path)) == "a.tif#1"
    assert pages.name_page("a.tif", 2, str(path)) == "a.tif##2"
    assert pages.locate(f"{path}##2") == (str(path), 2)


def test_pages_of_a_changed_file_are_listed_anew(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", *draw_pages((5, 5)))
    assert pages.count_pages(str(path)) == 1
    write_pages(path, *draw_pages((5, 5), (6, 6)))
    assert pages.count_pages(str(path)) == 2


def test_what_cannot_be_opened_has_no_pages(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "no.tif").write_bytes(b"<html>")
    for name in ("pipe.tif", "gone.tif", "no.tif"):
        assert pages.count_pages(str(tmp_path / name)) == 0
