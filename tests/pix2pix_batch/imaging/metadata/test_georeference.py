"""World files and GeoTIFF, against Pillow's turns and GDAL's reading."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.metadata import pam
from pix2pix_batch.imaging.metadata.georeference import GeoTiff, Turn, turn_world_file, world
from pix2pix_batch.imaging.metadata.tiff import Tiff, add_fields

numbers = st.floats(-1e7, 1e7, allow_subnormal=False)
world_files = st.tuples(numbers, numbers, numbers, numbers, numbers, numbers)
sizes = st.integers(1, 9)
orientations = st.integers(1, 8)


def grids(width: int, height: int, orientation: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel of the upright picture, its column and its row in the stored one."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.uint8)
    turned = []
    for grid in (columns, rows):
        image = Image.fromarray(grid)
        image.getexif()[274] = orientation
        buffer = io.BytesIO()
        image.save(buffer, "PNG", exif=image.getexif())
        turned.append(images.read(buffer.getvalue(), 1).pixels[:, :, 0].astype(float))
    return turned[0], turned[1]


def ground(text: bytes, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """By the definition of world files, ESRI's: pixels count from their middles."""
    a, d, b, e, c, f = (float(line) for line in text.decode().splitlines())
    return np.stack([a * columns + b * rows + c, d * columns + e * rows + f])


@given(values=world_files, width=sizes, height=sizes, orientation=orientations)
def test_a_turned_world_file_leads_each_pixel_where_it_was(
    values: tuple[float, ...], width: int, height: int, orientation: int
) -> None:
    text = "".join(f"{value!r}\r\n" for value in values).encode()
    turned = turn_world_file(text, Turn(orientation, width, height))
    columns, rows = grids(width, height, orientation)
    upright_rows, upright_columns = np.mgrid[0 : columns.shape[0], 0 : columns.shape[1]]
    np.testing.assert_allclose(
        ground(turned, upright_columns, upright_rows),
        ground(text, columns, rows),
        rtol=1e-12,
        atol=1e-12 * max(1.0, *map(abs, values)) * 20,
    )


@given(orientation=orientations, width=sizes, height=sizes, column=numbers, row=numbers)
def test_turning_there_and_back(
    orientation: int, width: int, height: int, column: float, row: float
) -> None:
    turn = Turn(orientation, width, height)
    for middles in (False, True):
        there = turn.upright(middles=middles).at(column, row)
        assert turn.to_stored(middles=middles).at(*there) == pytest.approx((column, row))


@pytest.mark.parametrize("text", [b"", b"1\n2\n3\n4\n5\n", b"1 2 3 4 5 x", b"1 2 3 4 5 nan"])
def test_what_is_no_world_file_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        turn_world_file(text, Turn(3, 5, 5))


def test_commas_as_some_programs_write_them() -> None:
    assert (
        turn_world_file(b"0,5 0 0 -0,5 10 20", Turn(3, 3, 3))
        == b"-0.5\n0.0\n0.0\n0.5\n11.0\n19.0\n"
    )


PLACES = {
    "north up": Affine(0.5, 0, 500000.25, 0, -0.5, 4649776.75),
    "rotated": Affine(0.5, 0.125, 500000.25, 0.125, -0.5, 4649776.75),
}


def geotiff(path: Path, transform: Affine, crs: str = "EPSG:32633", **more: object) -> bytes:
    """As GDAL writes it, with what is not to be kept as well."""
    tags = more.pop("tags", {})
    shape = {"width": 7, "height": 5, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    shape |= {"crs": crs, "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", **shape, **more) as file:
        file.write(np.random.default_rng(0).integers(0, 256, (3, 5, 7), np.uint8))
        file.nodata = 255
        file.update_tags(AUTHOR="somebody", **tags)
    return path.read_bytes()


def copied(data: bytes, turn: Turn) -> bytes:
    """A TIFF output with what is kept of the input ``data``, written as converting does."""
    picture = images.read(data, 3)
    return images.write(picture, "tiff", fields=GeoTiff(Tiff(data)).select_fields(turn))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["Area", "Point"])
@pytest.mark.parametrize(
    "more",
    [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"compress": "deflate", "tiled": True}],
    ids=str,
)
def test_gdal_reads_the_same_place(tmp_path: Path, place: str, kind: str, more: dict) -> None:
    options = {"blockxsize": 16, "blockysize": 16} if "tiled" in more else {}
    tags = {"AREA_OR_POINT": kind}
    data = geotiff(tmp_path / "in.tif", PLACES[place], tags=tags, **more, **options)
    (tmp_path / "out.tif").write_bytes(copied(data, Turn()))
    with rasterio.open(tmp_path / "in.tif") as given, rasterio.open(tmp_path / "out.tif") as made:
        assert made.crs == given.crs
        assert made.transform == given.transform
        assert made.tags() == tags
        assert made.nodata is None
        assert np.array_equal(made.read(), given.read())
        transform = GeoTiff(Tiff(data)).affine(Turn())
        assert transform is not None
        assert given.transform.almost_equals(
            Affine(transform.a, transform.b, transform.c, transform.d, transform.e, transform.f)
        )


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "+proj=laea +lat_0=52 +lon_0=10"])
def test_any_reference_system_stays_in_tiff(tmp_path: Path, crs: str) -> None:
    data = geotiff(tmp_path / "in.tif", PLACES["north up"], crs)
    (tmp_path / "out.tif").write_bytes(copied(data, Turn()))
    with rasterio.open(tmp_path / "in.tif") as given, rasterio.open(tmp_path / "out.tif") as made:
        assert made.crs == given.crs
    code = GeoTiff(Tiff(data)).epsg
    assert code == (int(crs.removeprefix("EPSG:")) if crs.startswith("EPSG") else None)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", ["Area", "Point"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_geotiff_leads_each_pixel_where_it_was(
    tmp_path: Path, place: str, kind: str, orientation: int
) -> None:
    data = geotiff(tmp_path / "in.tif", PLACES[place], tags={"AREA_OR_POINT": kind})
    turn = Turn(orientation, 7, 5)
    columns, rows = grids(7, 5, orientation)
    upright = images.write(images.Picture(np.zeros((*columns.shape, 3), np.uint8)), "tiff")
    (tmp_path / "out.tif").write_bytes(add_fields(upright, GeoTiff(Tiff(data)).select_fields(turn)))
    transform = GeoTiff(Tiff(data)).affine(turn)
    assert transform is not None
    (tmp_path / "out.png").write_bytes(
        images.write(images.Picture(np.zeros((*columns.shape, 3), np.uint8)), "png")
    )
    (tmp_path / "out.pgw").write_bytes(world(transform))
    with rasterio.open(tmp_path / "in.tif") as given:
        for name in ("out.tif", "out.png"):
            with rasterio.open(tmp_path / name) as made:
                for row in range(columns.shape[0]):
                    for column in range(columns.shape[1]):
                        there = given.xy(rows[row, column], columns[row, column])
                        assert made.xy(row, column) == pytest.approx(there, rel=1e-12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_control_points_turn_too(tmp_path: Path, orientation: int) -> None:
    points = [
        GroundControlPoint(row, col, 1000.0 + 10 * col + row, 2000.0 - row)
        for row, col in ((0, 0), (5, 0), (0, 7), (5, 7), (2, 3))
    ]
    shape = {"width": 7, "height": 5, "count": 3, "dtype": "uint8", "photometric": "RGB"}
    shape |= {"gcps": points, "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "in.tif", "w", driver="GTiff", **shape):
        pass
    turn = Turn(orientation, 7, 5)
    size = (7, 5, 3) if turn.sideways else (5, 7, 3)
    tiff = images.write(images.Picture(np.zeros(size, np.uint8)), "tiff")
    kept = GeoTiff(Tiff((tmp_path / "in.tif").read_bytes())).select_fields(turn)
    (tmp_path / "out.tif").write_bytes(add_fields(tiff, kept))
    with rasterio.open(tmp_path / "out.tif") as made:
        found, crs = made.gcps
    assert crs.to_epsg() == 32633
    back = turn.to_stored()
    places = [(*reversed(back.at(point.col, point.row)), point.x, point.y) for point in found]
    assert places == [(point.row, point.col, point.x, point.y) for point in points]


def test_gdal_reads_aux_files(tmp_path: Path) -> None:
    """What is made of a GeoTIFF whose output is a PNG, and what a turn makes of it."""
    data = geotiff(tmp_path / "in.tif", PLACES["rotated"])
    geo = GeoTiff(Tiff(data))
    made = pam.add_georeference(b"", geo.epsg, geo.affine(Turn()))
    Image.new("RGB", (7, 5)).save(tmp_path / "a.png")
    (tmp_path / "a.png.aux.xml").write_bytes(made)
    with rasterio.open(tmp_path / "in.tif") as given, rasterio.open(tmp_path / "a.png") as seen:
        assert (seen.crs, seen.transform) == (given.crs, given.transform)
    Image.new("RGB", (5, 7)).save(tmp_path / "b.png")
    (tmp_path / "b.png.aux.xml").write_bytes(pam.turn_upright(made, Turn(6, 7, 5)))
    with rasterio.open(tmp_path / "in.tif") as given, rasterio.open(tmp_path / "b.png") as seen:
        assert seen.crs == given.crs
        # a quarter turn clockwise: the lower left corner has become the upper left one
        assert seen.xy(0, 0) == pytest.approx(given.xy(4, 0))
        assert seen.xy(0, 4) == pytest.approx(given.xy(0, 0))
        assert seen.xy(6, 4) == pytest.approx(given.xy(0, 6))


AUX = b"""<PAMDataset>
  <SRS dataAxisToSRSAxisMapping="1,2">EPSG:32633</SRS>
  <GeoTransform>  5.0e+05,  5.0e-01,  0.0,  4.6e+06,  0.0, -5.0e-01</GeoTransform>
  <Metadata>
    <MDI key="NOTE">a > b</MDI>
  </Metadata>
  <Metadata domain="RPC"><MDI key="LINE_OFF">2</MDI></Metadata>
  <PAMRasterBand band="1">
    <NoDataValue>0</NoDataValue>
    <Metadata><MDI key="STATISTICS_MAXIMUM">254</MDI></Metadata>
  </PAMRasterBand><PAMRasterBand band="2"/>
</PAMDataset>
"""


def test_aux_files_lose_what_is_said_of_pixels() -> None:
    kept = pam.turn_upright(AUX, Turn())
    head, rest = AUX.split(b"\n  <Metadata>")
    rpc = b'\n  <Metadata domain="RPC"><MDI key="LINE_OFF">2</MDI></Metadata>'
    assert rpc in rest
    assert kept == head + rpc + b"\n</PAMDataset>\n"
    assert pam.turn_upright(kept, Turn()) == kept
    assert pam.turn_upright(b"\xef\xbb\xbf" + AUX, Turn()) == b"\xef\xbb\xbf" + kept
    assert b"RPC" not in pam.turn_upright(AUX, Turn(2, 7, 5))
    item = b'<MDI key="AREA_OR_POINT">Point</MDI>'
    points = AUX.replace(b"    <MDI key", b"    " + item + b"<MDI key", 1)
    for turn in (Turn(), Turn(2, 7, 5)):
        found = pam.turn_upright(points, turn)
        assert found.count(b"<MDI key") - found.count(b"LINE_OFF") == 1 and item in found


@pytest.mark.parametrize("orientation", range(1, 9))
def test_control_points_of_aux_files_turn_too(tmp_path: Path, orientation: int) -> None:
    points = ((0, 0), (7, 0), (0, 5), (3, 2))
    text = "".join(
        f'<GCP Id="{x}{y}" Pixel="{x}" Line="{y}" X="{x + 100}" Y="{y}" Z="0"/>' for x, y in points
    )
    data = f'<PAMDataset><GCPList Projection="EPSG:32633">{text}</GCPList></PAMDataset>'.encode()
    turn = Turn(orientation, 7, 5)
    columns, _ = grids(7, 5, orientation)
    Image.new("RGB", columns.shape[::-1]).save(tmp_path / "a.png")
    (tmp_path / "a.png.aux.xml").write_bytes(pam.turn_upright(data, turn))
    with rasterio.open(tmp_path / "a.png") as file:
        found, crs = file.gcps
    assert crs.to_epsg() == 32633
    stored = [turn.to_stored().at(point.col, point.row) for point in found]
    assert stored == list(points)
    assert [(point.x - 100, point.y) for point in found] == list(points)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no XML",
        b"<PAMDataset>",
        b"<Other><SRS>EPSG:1</SRS></Other>",
        b"<PAMDataset><PAMRasterBand band='1'/></PAMDataset>",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]><PAMDataset><SRS>&b;</SRS></PAMDataset>",
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'><PAMDataset><SRS>x</SRS></PAMDataset>",
        b"<PAMDataset><SRS>\xff</SRS></PAMDataset>",
        AUX.decode().encode("utf-16"),
    ],
)
def test_what_says_nothing_leaves_nothing(data: bytes) -> None:
    assert pam.turn_upright(data, Turn()) == b""


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(1, 8))
def test_damaged_files_do_no_harm(noise: bytes, at: int, orientation: int) -> None:
    damaged = AUX[:at] + noise + AUX[at + len(noise) :]
    pam.add_georeference(pam.turn_upright(damaged, Turn(orientation, 7, 5)), 4326, None)
    whole = add_fields(images.write(images.Picture(np.zeros((2, 2, 3), np.uint8)), "tiff"), {})
    damaged = whole[:at] + noise + whole[at + len(noise) :]
    try:
        geo = GeoTiff(Tiff(damaged))
    except ValueError:
        return
    turn = Turn(orientation, 7, 5)
    transform = geo.affine(turn)
    assert transform is None or all(map(math.isfinite, vars(transform).values()))
    add_fields(whole, geo.select_fields(turn))
