"""What GDAL's drivers are told is in the files that they write, or refused with what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.raster.creation import parse_creation_options
from pix2pix_batch.imaging.raster.creation_check import require_creation_options
from pix2pix_batch.imaging.raster.profile import COG, GEOTIFF, RasterExtras, RasterProfile
from pix2pix_batch.imaging.raster.writing import RasterWriter
from pix2pix_batch.value_ranges import BandRange, ValueRange, eight_bits

TWELVE_BITS = ValueRange("uint16", (BandRange(0, 4095),))

HEIGHTS = ValueRange("float32", (BandRange(-430, 8848),))

STRIPS, TILES = RasterProfile(), RasterProfile(block=(64, 32), compression="LZW")

PLANES = RasterProfile(interleave="band")
"""Of GDAL's any file of one band."""


def write(
    path: Path, driver: str, words: str, side: ValueRange, profile: RasterProfile = STRIPS
) -> tifffile.TiffPage:
    """What an image of 80x100 pixels becomes whose options are taken."""
    creation = parse_creation_options(words.split())
    require_creation_options(driver, creation, side)
    most = side.bands[0].high
    ramp = np.linspace(0, most, 80 * 100).reshape(80, 100, 1).astype(side.dtype)
    pixels = np.repeat(ramp, side.channels, axis=2)
    extras = RasterExtras(profile, creation=creation)
    with RasterWriter(str(path), driver, pixels.shape, pixels.dtype, extras) as writer:
        writer.write(0, pixels, None)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert isinstance(page, tifffile.TiffPage)
        return page


@pytest.mark.parametrize("profile", [STRIPS, TILES, PLANES], ids=["strips", "tiles", "planes"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("BLOCKXSIZE=48", {"tilewidth": 48}),
        ("BLOCKXSIZE=48 BLOCKYSIZE=16", {"tilewidth": 48, "tilelength": 16}),
        ("TILED=YES BLOCKXSIZE=512", {"tilewidth": 512}),
        ("TILED=NO BLOCKYSIZE=7", {"tilewidth": 0, "rowsperstrip": 7}),
        ("COMPRESS=zstd", {"compression": 50000, "predictor": 2}),
        ("COMPRESS=LZW PREDICTOR=1", {"compression": 5, "predictor": 1}),
        ("COMPRESS=DEFLATE ZLEVEL=1", {"compression": 8}),
        ("COMPRESS=JPEG PHOTOMETRIC=YCBCR JPEG_QUALITY=90", {"compression": 7, "photometric": 6}),
        ("COMPRESS=WEBP", {"compression": 50001, "planarconfig": 1}),
        ("COMPRESS=WEBP WEBP_LOSSLESS=YES", {"compression": 50001, "planarconfig": 1}),
        ("PHOTOMETRIC=MINISBLACK", {"photometric": 1}),
        ("INTERLEAVE=BAND", {"planarconfig": 2}),
    ],
)
def test_a_geotiff_is_as_its_options_say(
    tmp_path: Path, words: str, told: dict[str, int], profile: RasterProfile
) -> None:
    page = write(tmp_path / "a.tif", GEOTIFF, words, eight_bits(3), profile)
    assert {name: int(getattr(page, name)) for name in told} == told


@pytest.mark.parametrize("overviews", [(), (2,)], ids=["alone", "overviews"])
@pytest.mark.parametrize("bands", [3, 4])
def test_webp_without_loss_of_a_raster_of_planes_is_read_again(
    tmp_path: Path, bands: int, overviews: tuple[int, ...]
) -> None:
    creation = parse_creation_options(["COMPRESS=WEBP", "WEBP_LOSSLESS=YES"])
    require_creation_options(GEOTIFF, creation, eight_bits(bands))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, bands)).astype(np.uint8)
    profile = replace(PLANES, overviews=overviews, has_gaps=True)
    path = str(tmp_path / "a.tif")
    extras = RasterExtras(profile, creation=creation)
    with RasterWriter(path, GEOTIFF, pixels.shape, pixels.dtype, extras) as writer:
        writer.write(0, pixels, None)
    with rasterio.open(path) as file:
        assert np.array_equal(np.moveaxis(file.read(), 0, 2), pixels)
        assert file.read(1, out_shape=(20, 25)).any()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("COMPRESS=WEBP INTERLEAVE=BAND", "COMPRESS=WEBP needs INTERLEAVE=PIXEL; leave out"),
        ("COMPRESS=JPEG PHOTOMETRIC=YCBCR INTERLEAVE=BAND", "PHOTOMETRIC=YCBCR needs INTERL"),
        ("PHOTOMETRIC=CIELAB", "read with 4 bands"),
    ],
)
def test_what_cannot_be_read_again_is_refused(words: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        require_creation_options(GEOTIFF, parse_creation_options(words.split()), eight_bits(3))


def test_bits_that_hold_the_range_are_taken(tmp_path: Path) -> None:
    page = write(tmp_path / "a.tif", GEOTIFF, "NBITS=12", TWELVE_BITS)
    assert page.bitspersample == 12


@pytest.mark.parametrize(
    ("words", "side", "said"),
    [
        ("NBITS=10", TWELVE_BITS, "values up to 4095 need 12 bits; leave it out"),
        ("NBITS=12", replace(TWELVE_BITS, nodata=65535), "values up to 65535 need 16"),
        ("NBITS=16", HEIGHTS, "float32 has 32"),
        ("NBITS=16 COMPRESS=LERC MAX_Z_ERROR=10", HEIGHTS, "float32 has 32"),
        ("COMPRESS=CCITTFAX4 NBITS=1", eight_bits(1), "values up to 255 need 8"),
    ],
)
def test_fewer_bits_than_values_have_are_refused(words: str, side: ValueRange, said: str) -> None:
    for driver in (GEOTIFF, COG) if words.startswith("NBITS") and " " not in words else (GEOTIFF,):
        with pytest.raises(InputError, match=said):
            require_creation_options(driver, parse_creation_options([*words.split()]), side)


@pytest.mark.parametrize(
    ("driver", "words", "side"),
    [
        (COG, "COMPRESS=WEBP QUALITY=1", eight_bits(3)),
        (COG, "COMPRESS=JPEG QUALITY=5", eight_bits(3)),
        (GEOTIFF, "COMPRESS=WEBP WEBP_LEVEL=1", eight_bits(4)),
        (GEOTIFF, "COMPRESS=JPEG JPEG_QUALITY=5", eight_bits(1)),
        (GEOTIFF, "COMPRESS=LERC MAX_Z_ERROR=3000", HEIGHTS),
        (GEOTIFF, "COMPRESS=DEFLATE DISCARD_LSB=7", eight_bits(3)),
    ],
)
def test_loss_that_is_asked_for_is_taken(driver: str, words: str, side: ValueRange) -> None:
    require_creation_options(driver, parse_creation_options(words.split()), side)


def test_a_compression_that_leaves_nothing_is_refused() -> None:
    side = ValueRange("uint16", (BandRange(0, 100),))
    with pytest.raises(InputError, match="uint16 does not survive it"):
        require_creation_options(GEOTIFF, (("DISCARD_LSB", "12"),), side)


def test_a_cog_is_as_its_options_say(tmp_path: Path) -> None:
    words = "BLOCKSIZE=128 COMPRESS=ZSTD LEVEL=3 OVERVIEW_COUNT=1 RESAMPLING=NEAREST"
    page = write(tmp_path / "a.tif", COG, words, TWELVE_BITS)
    assert (page.tilewidth, page.tilelength, int(page.compression)) == (128, 128, 50000)


@pytest.mark.parametrize(
    ("driver", "words", "said"),
    [
        # what the driver would pass over, given the others
        (GEOTIFF, "BLOCKXSIZE=64 TILED=NO", "the width of tiles, and TILED=NO makes strips"),
        (GEOTIFF, "ZLEVEL=9", "belongs to COMPRESS=DEFLATE or LERC_DEFLATE; give that too"),
        (GEOTIFF, "ZLEVEL=9 COMPRESS=LZW", "belongs to COMPRESS=DEFLATE .*, not to LZW"),
        (GEOTIFF, "PREDICTOR=2 COMPRESS=PACKBITS", "belongs to COMPRESS=DEFLATE, LZW or ZSTD"),
        (GEOTIFF, "JPEG_QUALITY=50", "belongs to COMPRESS=JPEG"),
        (GEOTIFF, "ALPHA=YES", "ALPHA has no effect in a file of 1 x uint16"),
        (COG, "LEVEL=9 COMPRESS=LZW", "not to LZW"),
        (COG, "QUALITY=50", "belongs to COMPRESS=JPEG or WEBP"),
        (COG, "OVERVIEWS=NONE RESAMPLING=NEAREST", "OVERVIEWS=NONE that there are none"),
        # what it does not have, or not such
        (GEOTIFF, "BLOCKXSIZE=500", "a multiple of 16 up to 4096, such as 256 or 512, not 500"),
        (GEOTIFF, "BLOCKYSIZE=20", "of strips: give TILED=NO too"),
        (GEOTIFF, "BLOCKXSIZE=-16", "a multiple of 16"),
        (GEOTIFF, "TILED=PERHAPS", "TILED is YES or NO"),
        (GEOTIFF, "COMPRESS=DEFLATE ZLEVEL=99", "value not recognised"),
        (GEOTIFF, "BLOCKSIZE=256", "does not support creation option BLOCKSIZE"),
        (COG, "TILED=YES", "does not support creation option TILED"),
        (COG, "BLOCKSIZE=500", "a multiple of 16"),
        (COG, "RESAMPLING=FOO", "FOO"),
        # what is not carried out here
        (GEOTIFF, "TFW=YES", "no files are written beside outputs"),
        (GEOTIFF, "NUM_THREADS=ALL_CPUS", "would decide the outputs' bytes"),
        (GEOTIFF, "PROFILE=BASELINE", "would be left out; leave it out"),
        (GEOTIFF, "APPEND_SUBDATASET=YES", "an output has one page"),
        (COG, "TARGET_SRS=EPSG:3857", "warp them afterwards"),
        (COG, "TILING_SCHEME=GoogleMapsCompatible", "warp them afterwards"),
    ],
)
def test_what_would_have_no_effect_is_refused(driver: str, words: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        require_creation_options(driver, parse_creation_options(words.split()), TWELVE_BITS)
    assert not re.search(r"CPLE_|/vsi|[0-9a-f]{8}-|_?TIFF\w+:", str(refused.value))


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="given as LZW and as ZSTD; choose one"):
        parse_creation_options(["COMPRESS=LZW", "compress=ZSTD"])
