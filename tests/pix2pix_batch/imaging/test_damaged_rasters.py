"""Damaged rasters: what is wrong with them, in words that say something to people."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import rasterio

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.raster.gdal_messages import explain
from pix2pix_batch.imaging.raster.reading import open_raster
from pix2pix_batch.value_ranges import eight_bits

INTERNAL = re.compile(
    r"CPLE_|/vsi|[0-9a-f]{8}-[0-9a-f]{4}|4294967295|0x[0-9a-f]{4,}|TIFF\w+:|\w+Decode|\w+\(\)"
    r"|GDAL_|libpng|libjpeg|JPEGLib"
)
SIDE = 200

COMPRESSIONS = ("none", "deflate", "lzw", "zstd", "lzma", "packbits", "jpeg", "webp", "lerc")
KINDS = [("GTiff", compression, tiled) for compression in COMPRESSIONS for tiled in (False, True)]
KINDS += [(driver, "", False) for driver in ("JP2OpenJPEG", "PNG", "JPEG", "BMP", "HFA")]


@pytest.mark.parametrize(("driver", "compression", "tiled"), KINDS)
def test_damage_is_told_in_plain_words(
    tmp_path: Path, driver: str, compression: str, tiled: bool
) -> None:
    path = tmp_path / "whole.img"
    y, x = np.mgrid[:SIDE, :SIDE]
    noise = np.random.default_rng(0).integers(0, 20, (3, SIDE, SIDE))
    pixels = (np.stack([x // 2, y // 2, (x + y) // 4]) + noise).astype(np.uint8)
    how = {"compress": compression, "tiled": tiled} if compression else {}
    if tiled:
        how |= {"blockxsize": 64, "blockysize": 64}
    with rasterio.open(
        path, "w", driver=driver, width=SIDE, height=SIDE, count=3, dtype="uint8", **how
    ) as file:
        file.write(pixels)
    whole = path.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "cut": whole[:middle],
        "begun": whole[:40],
        "zeros": whole[:middle] + bytes(600) + whole[middle + 600 :],
        "ones": whole[:middle] + b"\xff" * 600 + whole[middle + 600 :],
    }
    for name, data in damaged.items():
        place = tmp_path / f"{name}.tif"
        place.write_bytes(data)
        for given in (str(place), data):
            said = read(given)
            assert said or name in ("zeros", "ones")  # where nothing shows
            assert not said or said.startswith("cannot be read"), said
            assert not INTERNAL.search(said), said
            assert place.name not in said


@pytest.mark.parametrize("driver", ["PNG", "ENVI", "JP2OpenJPEG", "HFA", "GTiff"])
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_what_is_cut_short_is_never_read_as_zeros(
    tmp_path: Path, driver: str, share: float
) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (3, 90, 110)).astype(np.uint8)
    path = tmp_path / "a.dat"
    with rasterio.open(
        path, "w", driver=driver, width=110, height=90, count=3, dtype="uint8"
    ) as file:
        file.write(pixels)
    assert read(str(path)) == ""
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert "cut short" in read(str(path)) or "damaged" in read(str(path))


def read(place: str | bytes) -> str:
    """Why the raster cannot be read; empty where it can."""
    try:
        with open_raster(place, "a.tif", eight_bits(3)) as raster:
            raster.read(0, 0, raster.height, raster.width)
    except ImageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("TIFFFillStrip:Read error at scanline 164; got 14 bytes, expected 99",
         "it is cut short: 14 of 99 bytes of a block are there (row 164)"),
        ("TIFFReadEncodedTile:Read error at row 4294967295, col 4294967295; got 1 bytes, "
         "expected 9", "it is cut short: 1 of 9 bytes of a block are there"),
        ("ZIPDecode:Decoding error at scanline 12", "its data is damaged (row 12)"),
        ("CPLE_NotSupported in driver GTiff does not support creation option FOO",
         "driver GTiff does not support creation option FOO"),
        ("Cannot open TIFF file due to missing codec of code 60000.",
         "Cannot open TIFF file due to missing codec of code 60000."),
        ("something that nobody has seen", "something that nobody has seen"),
    ],
)  # fmt: skip
def test_texts_of_gdal_lose_what_is_internal(text: str, plain: str) -> None:
    assert explain(text) == plain
