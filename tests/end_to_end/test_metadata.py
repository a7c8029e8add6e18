"""What goes with an image: georeference, descriptions of tile sets, EXIF and times."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from PIL.ExifTags import IFD, Base
from rasterio.transform import Affine

from tests.end_to_end.command import convert, digests, everything, here, picture, put, records

pytestmark = pytest.mark.usefixtures("workers")

WORLD = b"0.5\r\n0\r\n0\r\n-0.5\r\n500000.25\r\n4649999.75\r\n"
"""Of a picture with corner (500000, 4650000) and pixels of half a metre."""

PLACE = Affine(0.5, 0, 500000, 0, -0.5, 4650000)
AUX = b"""<PAMDataset>
  <SRS>EPSG:32633</SRS>
  <PAMRasterBand band="1">
    <Metadata>
      <MDI key="STATISTICS_MAXIMUM">254</MDI>
    </Metadata>
  </PAMRasterBand>
</PAMDataset>
"""
TILE_MAP = b"""<TileMap version="1.0.0">
  <TileFormat width="64" height="64" mime-type="image/png" extension="png"/>
</TileMap>
"""


def files(out: Path) -> set[str]:
    inside = (path.relative_to(out) for path in out.rglob("*") if path.is_file())
    return {str(path) for path in inside if path.parts[0] not in (".pix2pix-batch", "report.html")}


def geotiff(path: Path, transform: Affine = PLACE, crs: str = "EPSG:32633") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.asarray(picture(60, 50)).transpose(2, 0, 1)
    shape = {"width": 60, "height": 50, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, transform=transform, nodata=0, **shape
    ) as file:
        file.write(pixels)


def turned(path: Path, orientation: int = 6, size: tuple[int, int] = (60, 50)) -> None:
    """A JPEG whose pixels are stored otherwise than they are seen."""
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    exif[Base.Artist] = "somebody"
    exif[IFD.GPSInfo] = {1: "N", 3: "E"}
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(*size).save(path, exif=exif)


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    put(source / "a.jpg", size=(60, 50))
    for name, data in (("a.jgw", WORLD), ("a.prj", b"PROJCS[...]"), ("a.jpg.aux.xml", AUX)):
        (source / name).write_bytes(data)
    put(source / "deep" / "B.JPG", size=(60, 50))
    (source / "deep" / "B.JGW").write_bytes(WORLD)
    put(source / "twin.gif")
    put(source / "twin.bmp")
    (source / "twin.wld").write_bytes(WORLD)
    turned(source / "turned.jpg")
    (source / "turned.jgw").write_bytes(WORLD)
    geotiff(source / "geo.tif")
    geotiff(source / "rotated.tif", Affine(0.5, 0.1, 5e5, 0.1, -0.5, 4.6e6), "EPSG:3857")
    put(source / "tiles" / "3" / "4" / "5.png")
    (source / "tiles" / "tilemapresource.xml").write_bytes(TILE_MAP)
    (source / "tiles" / "metadata.json").write_text('{"format": "png", "name": "a"}')
    (source / "roads.prj").write_text("of no image")
    (tmp_path / "secret").write_text("secret")
    (source / "geo.prj").symlink_to(tmp_path / "secret")
    (source / "metadata.json").write_text("of no tile set")
    return source


def test_places_are_kept_in_other_formats(tmp_path: Path, tiny: Path, ground: Path) -> None:
    before = everything(ground)
    out = tmp_path / "out"
    ran = convert(ground, out, tiny, "--format", "webp")
    assert (ran.code, *ran.counts()) == (0, 8, 0, 0), ran.err
    assert ran.figures["ignored"] == 3, "roads.prj, geo.prj and metadata.json"
    assert files(out) == {
        *("a.webp", "a.wpw", "a.prj", "a.webp.aux.xml"),
        *("deep/B.webp", "deep/B.WPW", "deep/B.webp.aux.xml"),
        *("twin.gif.webp", "twin.gif.wld", "twin.gif.webp.aux.xml"),
        *("twin.bmp.webp", "twin.bmp.wld", "twin.bmp.webp.aux.xml"),
        *("turned.webp", "turned.wpw", "turned.webp.aux.xml"),
        *("geo.webp", "geo.wpw", "geo.webp.aux.xml"),
        *("rotated.webp", "rotated.wpw", "rotated.webp.aux.xml"),
        *("tiles/3/4/5.webp", "tiles/tilemapresource.xml", "tiles/metadata.json"),
    }
    for name in ("a.wpw", "deep/B.WPW", "twin.gif.wld", "twin.bmp.wld"):
        assert (out / name).read_bytes() == WORLD
    assert (out / "a.prj").read_bytes() == b"PROJCS[...]"
    assert b"STATISTICS" not in (out / "a.webp.aux.xml").read_bytes()
    with rasterio.open(out / "a.webp") as file:
        assert (file.crs.to_epsg(), file.transform) == (32633, PLACE)
    for name in ("geo", "rotated"):
        with (
            rasterio.open(ground / f"{name}.tif") as given,
            rasterio.open(out / f"{name}.webp") as made,
        ):
            assert (made.crs, made.transform) == (given.crs, given.transform)
        put(out / "alone.png", size=(60, 50))
        (out / f"{name}.wpw").rename(out / "alone.pgw")
        with (
            rasterio.open(ground / f"{name}.tif") as given,
            rasterio.open(out / "alone.png") as made,
        ):
            assert made.transform.almost_equals(given.transform)
    with rasterio.open(ground / "turned.jpg") as given, rasterio.open(out / "turned.webp") as made:
        assert (made.width, made.height) == (50, 60)
        # orientation 6: what is seen at the upper left is stored at the lower left
        assert made.xy(0, 0) == given.xy(49, 0) == (500000.25, 4649975.25)
        assert made.xy(0, 49) == given.xy(0, 0)
        assert made.xy(59, 49) == given.xy(0, 59)
    tile_map = (out / "tiles" / "tilemapresource.xml").read_bytes()
    assert tile_map == TILE_MAP.replace(
        b'image/png" extension="png', b'image/webp" extension="webp'
    )
    assert json.loads((out / "tiles" / "metadata.json").read_text())["format"] == "webp"
    assert everything(ground) == before

    again = convert(ground, out, tiny, "--format", "webp")
    assert (again.code, *again.counts()) == (0, 0, 8, 0), again.err
    assert "not carried over" not in again.err


def test_geotiff_stays_geotiff(tmp_path: Path, tiny: Path, ground: Path) -> None:
    out = tmp_path / "out"
    ran = convert(ground, out, tiny, "--format", "same", "--limit", 8)
    assert (ran.code, *ran.counts()) == (0, 8, 0, 0), ran.err
    for name in ("geo.tif", "rotated.tif"):
        with rasterio.open(ground / name) as given, rasterio.open(out / name) as made:
            assert (made.crs, made.transform) == (given.crs, given.transform)
            assert made.nodata is None, "its pixels are others"
    assert (out / "a.jgw").read_bytes() == WORLD
    assert not {"geo.tfw", "geo.tif.aux.xml"} & files(out)
    assert (out / "tiles" / "tilemapresource.xml").read_bytes() == TILE_MAP


def test_without_georeference(tmp_path: Path, tiny: Path, ground: Path) -> None:
    out = tmp_path / "out"
    ran = convert(ground, out, tiny, "--format", "tiff", "--no-georeference")
    assert (ran.code, *ran.counts()) == (0, 8, 0, 0), ran.err
    assert ran.figures["ignored"] == 11
    assert len(digests(out)) == 8, "images only"
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(out / "geo.tif"):
        pass
    refused = here("convert", ground, out, "--model", tiny, "--format", "tiff", "--dry-run")
    assert refused.code == 2
    assert "georeference was False, now True" in refused.err


def test_exif_and_times_on_request(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    turned(source / "a.jpg")
    (source / "a.jgw").write_bytes(WORLD)
    turned(source / "b.jpg", orientation=1)
    put(source / "c.png")
    stamp = 1_234_567_890_123_456_789
    for number, name in enumerate(("a.jpg", "a.jgw", "b.jpg", "c.png")):
        os.utime(source / name, ns=(stamp, stamp + number * 10**9))

    ran = convert(source, out / "bare", tiny, "--format", "jpg")
    assert ran.code == 0, ran.err
    with Image.open(out / "bare" / "a.jpg") as image:
        assert dict(image.getexif()) == {}

    options = ("--format", "jpg", "--keep-exif", "--keep-times")
    ran = convert(source, out / "kept", tiny, *options)
    assert ran.code == 0, ran.err
    for name in ("a", "b"):
        with (
            Image.open(out / "kept" / f"{name}.jpg") as image,
            Image.open(out / "bare" / f"{name}.jpg") as bare,
        ):
            exif = image.getexif()
            assert exif[Base.Artist] == "somebody"
            assert exif.get_ifd(IFD.GPSInfo) == {1: "N", 3: "E"}
            assert Base.Orientation not in exif
            assert np.array_equal(np.asarray(image), np.asarray(bare))
    same = [(out / kind / "c.jpg").read_bytes() for kind in ("bare", "kept")]
    assert same[0] == same[1]
    times = {name: (out / "kept" / name).stat().st_mtime_ns for name in files(out / "kept")}
    assert times == {
        "a.jpg": stamp,
        "a.jgw": stamp + 10**9,
        "b.jpg": stamp + 2 * 10**9,
        "c.jpg": stamp + 3 * 10**9,
    }
    refused = here("convert", source, out / "bare", "--model", tiny, *options, "--dry-run")
    assert refused.code == 2
    assert "keep_exif was False, now True" in refused.err


def test_no_place_is_left_of_an_earlier_version(tmp_path: Path, tiny: Path) -> None:
    """A world file that was the former picture's would put the new one in its place."""
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.jpg")
    put(source / "b.jpg")
    for name in ("a.jgw", "b.jgw"):
        (source / name).write_bytes(WORLD)
    (source / "a.prj").write_text("PROJCS[...]")
    geotiff(source / "geo.tif")
    made = {"a.png", "a.pgw", "a.prj", "b.png", "b.pgw", "geo.png", "geo.pgw", "geo.png.aux.xml"}
    assert convert(source, out, tiny).code == 0
    assert files(out) == made
    (out / "a.wld").write_text("somebody's own")
    put(source / "a.jpg", seed=5)
    (source / "a.jgw").unlink()
    put(source / "geo.tif", seed=5)
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (0, 2, 1, 0), ran.err
    assert files(out) == {"a.png", "a.prj", "a.wld", "b.png", "b.pgw", "geo.png"}
    assert here("status", out, "--verify").code == 0
    for shard in ("2/2", "1/2"):  # the second, of a.jpg and b.jpg, finds no journal of before
        ran = convert(source, out, tiny, "--overwrite", "--no-georeference", "--shard", shard)
        assert ran.code == 0, ran.err
    assert files(out) == {"a.png", "a.wld", "b.png", "geo.png"}


def test_files_of_others_are_not_replaced(tmp_path: Path, tiny: Path) -> None:
    """And a sidecar that cannot go along fails its image."""
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.jpg")
    put(source / "b.jpg")
    (source / "b.jgw").write_text("no numbers, but nothing to turn")
    turned(source / "c.jpg")
    (source / "c.jgw").write_text("no numbers")
    (source / "a.jgw").write_bytes(WORLD)
    put(source / "tiles" / "0" / "0" / "0.png")
    (source / "tiles" / "metadata.json").write_text('{"format": "png"}')
    (out / "tiles").mkdir(parents=True)
    (out / "a.pgw").write_text("theirs")
    (out / "tiles" / "metadata.json").write_text("theirs")
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (3, 2, 0, 2), ran.err
    reason = records(out)["c.jpg"]["reason"]
    assert "c.jgw beside it cannot be turned with it" in reason
    assert reason.endswith("; mend it, then run again"), "which is enough"
    assert "(a.pgw) exists and is not this job's" in records(out)["a.jpg"]["reason"]
    assert "tiles/metadata.json is not carried over: another one is there" in ran.err
    for name in ("a.pgw", "tiles/metadata.json"):
        assert (out / name).read_text() == "theirs"
    ran = convert(source, out, tiny, "--overwrite")
    assert (ran.code, *ran.counts()) == (3, 3, 0, 1), ran.err
    assert (out / "a.pgw").read_bytes() == WORLD
    assert (out / "b.pgw").read_text() == "no numbers, but nothing to turn"
    assert (out / "tiles" / "metadata.json").read_text() == '{"format": "png"}'
    (source / "c.jgw").write_bytes(WORLD)
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (0, 1, 3, 0), ran.err
