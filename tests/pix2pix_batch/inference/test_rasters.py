"""Rasters through a worker's converter, against rasterio and plain PyTorch on the same arrays."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
import tifffile
import torch
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.metadata import tiff
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.imaging.raster.reading import open_raster
from pix2pix_batch.imaging.tiling import Tiles
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.input_reading import require_format
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record
from pix2pix_batch.value_ranges import BandRange, ValueRange, eight_bits
from tests.contrast import fill_with_contrast
from tests.identity import save_identity, whole_range

pytestmark = pytest.mark.usefixtures("one_thread", "family")

UTM = CRS.from_epsg(32632)
PLACE = from_origin(500_000, 5_000_000, 10, 10)


def settings_of(model: Path, **values: Any) -> Settings:
    first = (str(model), bundle.fingerprint(model), "", "tile", bundle.read_info(model).image_size)
    return replace(Settings(*first, None, 4, "cpu", "fp32", False, 0, georeference=True), **values)


def convert(
    out: Path, model: Path, *paths: Path, form: str = "tiff", **values: Any
) -> dict[str, Record]:
    """What became of the inputs, by name."""
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True, exist_ok=True)
    suffix = {"tiff": ".tif", "cog": ".tif"}.get(form, f".{form}")
    items = [Item(str(path), path.name, path.stem + suffix, form) for path in paths]
    converter = Converter(settings_of(model, out=str(out), **values))
    converter.run(items)
    assert not converter.fatal
    return {record.name: record for record in converter.records}


def write(path: Path, pixels: np.ndarray, **values: Any) -> Path:
    """``(H, W, C)`` as a GeoTIFF by rasterio."""
    names, mask = values.pop("names", ()), values.pop("mask", None)
    gcps, overviews = values.pop("gcps", None), values.pop("overviews", ())
    height, width, count = pixels.shape
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count,
        dtype=pixels.dtype, **values,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, 2, 0))
        for number, name in enumerate(names, 1):
            file.set_band_description(number, name)
        if mask is not None:
            file.write_mask(mask)
        if gcps is not None:
            file.gcps = gcps
    if overviews:
        with rasterio.open(path, "r+") as file:
            file.build_overviews(overviews)
    return path


def draw(shape: tuple[int, int, int], dtype: str = "uint16", low: int = 1) -> np.ndarray:
    random = np.random.default_rng(0)
    most = {"uint8": 255, "uint16": 65000, "int16": 9000, "float32": 9000}[dtype]
    return random.integers(low, most, shape).astype(dtype)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return np.moveaxis(file.read(), 0, 2)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_values_and_place_survive_an_identity(tmp_path: Path, dtype: str) -> None:
    side = whole_range(dtype, 5)
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = draw((150, 110, 5), dtype)
    rotated = PLACE * Affine.rotation(30)
    names = ("B2", "B3", "B4", "B8", "")
    source = write(
        tmp_path / "a.tif", pixels, crs=UTM, transform=rotated, names=names, compress="lzw",
        tiled=True, blockxsize=64, blockysize=32, interleave="band", overviews=[2, 4],
    )  # fmt: skip
    (record,) = convert(tmp_path / "out", model, source).values()
    assert (record.status, record.warning) == ("done", "")
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        tolerance = 10_000 / 65_535 if dtype == "float32" else 1
        made = np.moveaxis(file.read(), 0, 2)
        assert np.abs(made.astype(np.float64) - pixels).max() <= tolerance
        assert (file.crs, file.transform, file.dtypes[0]) == (UTM, rotated, dtype)
        assert file.descriptions == ("B2", "B3", "B4", "B8", None)
        assert (file.block_shapes[0], file.overviews(1)) == ((32, 64), [2, 4])
        tags = file.tags(ns="IMAGE_STRUCTURE")
        assert (tags["COMPRESSION"], tags["INTERLEAVE"]) == ("LZW", "BAND")
        assert file.nodata is None or np.isnan(file.nodata)


@pytest.mark.parametrize("interleave", ["BIL", "BIP", "BSQ"])
@pytest.mark.parametrize("form", ["tiff", "cog"])
def test_envis_rasters_are_converted(tmp_path: Path, interleave: str, form: str) -> None:
    """Also those whose lines are one band after the other, which GeoTIFF does not know."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 3))
    pixels, source = draw((70, 90, 3)), tmp_path / "a.img"
    with rasterio.open(
        source, "w", driver="ENVI", height=70, width=90, count=3, dtype="uint16",
        interleave=interleave,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(pixels, 2, 0))
    (record,) = convert(tmp_path / "out", model, source, form=form).values()
    assert record.status == "done", record
    assert np.array_equal(read(tmp_path / "out" / record.output), pixels)


def test_a_band_of_the_model_that_gdal_calls_alpha_is_no_mask(tmp_path: Path) -> None:
    """As it calls the fourth of 8 bits, such as near infrared, where nothing is said of it."""
    pixels = draw((70, 80, 4), "uint8", low=0)
    pixels[20:40, :, 3] = 0
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint8", 4, nodata=7))
    source = write(tmp_path / "a.tif", pixels, photometric="RGB", alpha="YES")
    convert(tmp_path / "out", model, source)
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        made = np.moveaxis(file.read(), 0, 2)
        apart = np.abs(made[20:40].astype(int) - pixels[20:40])
        assert apart.max() <= 1, "beyond what makes room for the value for none"


@pytest.mark.parametrize("form", ["tif", "npy"])
def test_values_of_another_scale_are_told(tmp_path: Path, form: str) -> None:
    side = ValueRange("uint16", (BandRange(0, 4000), BandRange(0, 4000, name="NIR")))
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = draw((90, 100, 2)) % 4001
    pixels[:40, :, 1] += 4000  # not most of them
    scaled = pixels.copy()
    scaled[:, :, 1] = scaled[:, :, 1] * 4 + 4001
    for name, values in (("usual", pixels), ("scaled", scaled)):
        path = tmp_path / f"{name}.{form}"
        np.save(path, values) if form == "npy" else write(path, values)
    sources = [tmp_path / f"{name}.{form}" for name in ("usual", "scaled")]
    records = convert(tmp_path / "out", model, *sources)
    assert records[f"usual.{form}"].warning == ""
    assert records[f"scaled.{form}"].warning == (
        "100 % of the values of NIR lie beyond 0 to 4000, which the model tells apart: is it on "
        "another scale?"
    )


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("tiled", [True, False])
@pytest.mark.parametrize("compression", ["deflate", "lzw", "packbits"])
def test_a_block_of_more_than_its_rows_is_told(
    tmp_path: Path, interleave: str, tiled: bool, compression: str
) -> None:
    """GDAL takes one that goes on beyond its rows, of 32 of which the last have 6, as whole."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 3))
    source = write(
        tmp_path / "whole.tif", draw((70, 80, 3)), compress=compression, tiled=tiled,
        blockysize=32, interleave=interleave, **({"blockxsize": 32} if tiled else {}),
    )  # fmt: skip
    with rasterio.open(source) as file:
        place = int(file.get_tag_item("BLOCK_OFFSET_0_2", "TIFF", bidx=3))
    wrong = {
        "deflate": zlib.compress(bytes(20_000))[:-1] + b"\xff",
        "lzw": imagecodecs.lzw_encode(bytes(20_000)),
        "packbits": bytes([129, 0]) * 170,  # each is 128 zeros
    }[compression]
    data = source.read_bytes()
    damaged = tmp_path / "damaged.tif"
    damaged.write_bytes(data[:place] + wrong + data[place + len(wrong) :])
    records = convert(tmp_path / "out", model, source, damaged)
    assert records["whole.tif"].warning == ""
    said = "wrong checksum of its data" if compression == "deflate" else "of more samples than"
    assert records["damaged.tif"].warning.startswith("damaged: ")
    assert said in records["damaged.tif"].warning


def test_bands_of_other_names_are_told(tmp_path: Path) -> None:
    bands = tuple(BandRange(0, 65_535, name=name) for name in ("B8", "B11"))
    model = save_identity(tmp_path / "m.safetensors", ValueRange("uint16", bands))
    pixels = draw((70, 80, 2))
    names = {"other": ("B2", "B3"), "turned": ("B11", "B8"), "none": ()}
    sources = [write(tmp_path / f"{k}.tif", pixels, names=told) for k, told in names.items()]
    records = convert(tmp_path / "out", model, *sources)
    assert [records[f"{name}.tif"].warning for name in ("turned", "none")] == ["", ""]
    assert records["other.tif"].warning.startswith(
        "its bands are called B2, B3, and the model's B8, B11"
    )
    assert np.array_equal(read(tmp_path / "out" / "turned.tif"), pixels[:, :, ::-1])


@pytest.mark.parametrize("bands", [1, 3])
def test_tiles_of_four_bands_are_those_of_plain_pytorch(tmp_path: Path, bands: int) -> None:
    """At most 1 of 65,535 on average, and one at any pixel or a few."""
    side = ValueRange("uint16", (BandRange(0, 10_000),) * 3 + (BandRange(100, 20_000, "log"),))
    made = ValueRange("uint16", (BandRange(0, 65_535),) * bands)
    architecture = Architecture(4, bands, downs=5, ngf=4, norm="none")
    net = UNet(architecture)
    fill_with_contrast(net)
    model = tmp_path / "m.safetensors"
    info = BundleInfo("m", architecture, 64, "tile", input_range=side, output_range=made)
    bundle.save(model, info, net.eval(), half=False)
    pixels = draw((100, 140, 4)) % 21_000
    convert(tmp_path / "out", model, write(tmp_path / "a.tif", pixels.astype(np.uint16)))
    tiles = Tiles(pixels.astype(np.uint16), 64)
    with torch.no_grad():
        for index, tile in enumerate(tiles):
            x = torch.from_numpy(side.to_levels(tile)).permute(2, 0, 1)[None]
            y = net.double()(x)[0].permute(1, 2, 0).numpy()
            tiles.add_tile(index, ((y + 1) * 32767.5).astype(np.float32))
    apart = np.abs(read(tmp_path / "out" / "a.tif") - np.asarray(tiles.result, np.float64))
    assert np.asarray(tiles.result).std() > 1000, "says little"
    assert apart.mean() <= 1 and apart.max() <= 20


def write_odd_tiles(path: Path, pixels: np.ndarray, high: int, wide: int) -> Path:
    """``uint16 (H, W)`` in tiles that are no multiples of 16, as TIFF 6.0 asks for: programs write
    such all the same."""
    height, width = pixels.shape
    padded = np.pad(pixels, ((0, -height % high), (0, -width % wide)))
    tiles = [
        padded[top : top + high, left : left + wide].astype("<u2").tobytes()
        for top in range(0, height, high)
        for left in range(0, width, wide)
    ]
    places = [8 + number * len(tiles[0]) for number in range(len(tiles))]
    one = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 277: 1, 322: wide, 323: high}
    fields = {tag: tiff.Field.of(tiff.SHORT, value) for tag, value in one.items()}
    fields[324] = tiff.Field.of(tiff.LONG, *places)
    fields[325] = tiff.Field.of(tiff.LONG, *(len(tile) for tile in tiles))
    at = 8 + len(tiles) * len(tiles[0])
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, at) + b"".join(tiles) + tiff.encode(fields, at)
    )
    return path


@pytest.mark.parametrize("size", [(20, 12), (15, 33)])
def test_tiles_of_odd_size_are_read(tmp_path: Path, size: tuple[int, int]) -> None:
    """And are the output's where GDAL writes such."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    pixels = draw((100, 70, 1))
    source = write_odd_tiles(tmp_path / "a.tif", pixels[:, :, 0], *size)
    (record,) = convert(tmp_path / "out", model, source).values()
    assert record.status == "done", record.reason
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), pixels)


@pytest.mark.parametrize("form", ["tiff", "cog"])
def test_what_does_not_say_where_it_lies_becomes_such(tmp_path: Path, form: str) -> None:
    """No reference system and no transform are made up; a transform alone is kept."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    bare = write(tmp_path / "bare.tif", draw((64, 64, 1)))
    placed = write(tmp_path / "placed.tif", draw((64, 64, 1)), transform=PLACE)
    records = convert(tmp_path / "out", model, bare, placed, form=form)
    assert {(record.status, record.warning) for record in records.values()} == {("done", "")}
    for name, transform in (("bare", Affine.identity()), ("placed", PLACE)):
        with rasterio.open(tmp_path / "out" / f"{name}.tif") as file:
            assert file.crs is None and file.transform == transform


def test_data_of_another_proj_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QGIS, PostGIS and conda name theirs for all programs; systems would lose their codes."""
    for name in library.PROJ_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path))
    library._import.cache_clear()
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    source = write(tmp_path / "a.tif", draw((64, 64, 1)), transform=PLACE, crs="EPSG:3857")
    convert(tmp_path / "out", model, source, form="cog")
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        assert file.crs.to_epsg() == 3857
    assert not any(name in os.environ for name in library.PROJ_VARIABLES)


def test_ground_control_points_are_kept(tmp_path: Path) -> None:
    points = [GroundControlPoint(row, col, 8 + col / 9, 48 - row / 9) for row, col in
              ((0, 0), (0, 50), (50, 0), (50, 50))]  # fmt: skip
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    source = write(tmp_path / "a.tif", draw((64, 64, 1)), gcps=(points, CRS.from_epsg(4326)))
    convert(tmp_path / "out", model, source)
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        found, system = file.gcps
        assert system == CRS.from_epsg(4326) and len(found) == 4
        assert [(p.row, p.col, p.x, p.y) for p in found] == [
            (p.row, p.col, p.x, p.y) for p in points
        ]
    convert(tmp_path / "bare", model, source, georeference=False)
    with rasterio.open(tmp_path / "bare" / "a.tif") as file:
        assert file.gcps[0] == [] and file.crs is None


@pytest.mark.parametrize(
    ("names", "asked", "wanted"),
    [
        (("B2", "B3", "B4", "B8"), None, (3, 0)),  # by the model's names, in its order
        (("a", "b", "c", "d"), "4,1", (3, 0)),
        (("a", "b", "c", "d"), "d, a", (3, 0)),
        (("b2", "B3", "B4", "b8"), None, (3, 0)),  # whatever the letter case
        (("a", "b", "c", "d"), "D,A", (3, 0)),
    ],
)
def test_bands_are_chosen(
    tmp_path: Path, names: tuple[str, ...], asked: str | None, wanted: tuple[int, ...]
) -> None:
    limits = BandRange(0, 65535)
    side = ValueRange("uint16", (replace(limits, name="B8"), replace(limits, name="B2")))
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = draw((64, 64, 4))
    source = write(tmp_path / "a.tif", pixels, names=names)
    (record,) = convert(tmp_path / "out", model, source, bands=asked).values()
    assert record.status == "done", record.reason
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), pixels[:, :, list(wanted)])
    assert not record.warning
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        assert file.descriptions == ("B8", "B2")


@pytest.mark.parametrize(
    ("names", "warning"),
    [
        (("1", "4", "3", "2"), "the band called 4 is number 2, the band called 2 is number 4"),
        (("4", "a", "4", "a"), "the band called 4 is number 1"),
        (("1", "2", "3", "4"), ""),
    ],
)
def test_numbers_are_numbers_whatever_bands_are_called(
    tmp_path: Path, names: tuple[str, ...], warning: str
) -> None:
    pixels = draw((64, 64, 4))
    source = write(tmp_path / "a.tif", pixels, names=names)
    with open_raster(str(source), "a.tif", whole_range("uint16", 2), ("4", "2")) as raster:
        assert np.array_equal(raster.read(0, 0, 64, 64)[0], pixels[:, :, [3, 1]])
        assert raster.warnings == ([f"--bands counts 4, 2, but {warning}"] if warning else [])


@pytest.mark.parametrize("is_in_memory", [False, True])
def test_a_raster_is_read_as_it_lies_and_it_is_told(tmp_path: Path, is_in_memory: bool) -> None:
    pixels, source = draw((50, 70, 1)), tmp_path / "a.tif"
    tifffile.imwrite(source, pixels[..., 0], extratags=[(274, "H", 1, 6, True)])
    place = source.read_bytes() if is_in_memory else str(source)
    with open_raster(place, "a.tif", whole_range("uint16", 1)) as raster:
        assert np.array_equal(raster.read(0, 0, 50, 70)[0], pixels)
        assert raster.warnings == ["its orientation is left out: rasters are read as they lie"]


@pytest.mark.parametrize("asked", [None, "B8,B2"])
def test_bands_of_one_name_are_chosen_by_number(tmp_path: Path, asked: str | None) -> None:
    band = BandRange(0, 65535)
    side = ValueRange("uint16", (replace(band, name="B8"), replace(band, name="B2")))
    model = save_identity(tmp_path / "m.safetensors", side)
    source = write(tmp_path / "a.tif", draw((64, 64, 3)), names=("B2", "B8", "B2"))
    (record,) = convert(tmp_path / "out", model, source, bands=asked).values()
    assert record.status == "failed"
    assert "has 2 bands that are called B2; choose them by number" in record.reason
    (record,) = convert(tmp_path / "two", model, source, bands="2,3").values()
    assert record.status == "done", record.reason


@pytest.mark.parametrize(
    ("names", "asked", "told"),
    [
        (("B8", "B2"), "B2,B8", "--bands takes B2 for the model's B8, B8 for the model's B2: "),
        (("B8", "B2"), "2,1", "--bands takes B2 for the model's B8, B8 for the model's B2: "),
        (("B8", "B3", "B2"), "1,2", "--bands takes B3 for the model's B2: "),
        (("nir", "blue"), "2,1", ""),  # called otherwise: the user knows
        (("", "B8"), "2,1", ""),
        (("B8", "B2"), "1,2", ""),
    ],
)
def test_bands_asked_for_that_are_called_as_others_of_the_model_are_told(
    tmp_path: Path, names: tuple[str, ...], asked: str, told: str
) -> None:
    limits = BandRange(0, 65535)
    side = ValueRange("uint16", (replace(limits, name="B8"), replace(limits, name="B2")))
    model = save_identity(tmp_path / "m.safetensors", side)
    source = write(tmp_path / "a.tif", draw((64, 64, len(names))), names=names)
    (record,) = convert(tmp_path / "out", model, source, bands=asked).values()
    assert record.status == "done" and record.warning.startswith(told)
    assert bool(record.warning) == bool(told)
    strict = {"tolerance": Tolerance(strict=True)}
    (record,) = convert(tmp_path / "strict", model, source, bands=asked, **strict).values()
    assert (record.status == "failed") == bool(told)


@pytest.mark.parametrize("form", ["tiff", "cog", "npy"])
@pytest.mark.parametrize("kind", ["value", "mask", "nan"])
def test_no_data_goes_in_and_out(tmp_path: Path, kind: str, form: str) -> None:
    """A value, a mask, or NaN; a real value that is the output's for none is moved by one."""
    dtype = "float32" if kind == "nan" else "uint16"
    made = whole_range(dtype, 2, nodata=7 if kind == "value" else None)
    model = save_identity(tmp_path / "m.safetensors", whole_range(dtype, 2), made)
    pixels = draw((90, 70, 2), dtype, low=100)
    gap = np.zeros((90, 70), bool)
    gap[20:60, 30:] = True
    pixels[0, 0] = 7  # real
    values: dict[str, Any] = {}
    if kind == "value":
        values, pixels[gap] = {"nodata": 0}, 0
        pixels[5, 5, 0] = 0  # of one band alone: real too
    elif kind == "mask":
        values = {"mask": ~gap}
    else:
        pixels[gap] = np.nan
    (record,) = convert(
        tmp_path / "out", model, write(tmp_path / "a.tif", pixels, **values), form=form
    ).values()
    assert record.status == "done", record.reason
    if form == "npy":
        found = np.load(tmp_path / "out" / "a.npy")
        empty = {"value": 7, "mask": 0, "nan": np.nan}[kind]
        assert np.array_equal(found[gap], np.full_like(found[gap], empty), equal_nan=kind == "nan")
    else:
        with rasterio.open(tmp_path / "out" / "a.tif") as file:
            found = np.moveaxis(file.read(), 0, 2)
            assert np.array_equal(file.dataset_mask() == 0, gap)
            assert (file.nodata == 7) if kind == "value" else (kind == "mask" or file.nodata)
    real = found[~gap].astype(np.float64)
    wanted = pixels[~gap].astype(np.float64)
    if kind == "value":
        wanted[wanted == 7] = 8
    assert np.abs(real - wanted).max() <= (0.2 if kind == "nan" else 0)


def test_a_picture_of_a_raster_is_transparent_where_there_is_no_data(tmp_path: Path) -> None:
    side = whole_range("uint16", 3)
    model = save_identity(tmp_path / "m.safetensors", side, eight_bits(3))
    pixels = draw((64, 64, 3), low=300)
    pixels[:, :9] = 0
    source = write(tmp_path / "a.tif", pixels, nodata=0, crs=UTM, transform=PLACE)
    (record,) = convert(tmp_path / "out", model, source, form="png").values()
    with rasterio.open(tmp_path / "out" / "a.png") as file:
        found = np.moveaxis(file.read(), 0, 2)
        assert file.transform.almost_equals(PLACE) and file.crs == UTM
    assert found.shape == (64, 64, 4) and (found[:, :9, 3] == 0).all()
    assert np.abs(found[:, 9:, :3] - pixels[:, 9:] / 257).max() <= 0.51
    assert sorted(record.beside or ()) == ["a.pgw", "a.png.aux.xml"]


def test_what_gdals_own_tools_say_of_a_cog(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 2))
    source = write(tmp_path / "a.tif", draw((700, 600, 2)), crs=UTM, transform=PLACE)
    given = ("COMPRESS=ZSTD", "BLOCKSIZE=256")
    convert(tmp_path / "out", model, source, form="cog", creation_option=given)
    data = (tmp_path / "out" / "a.tif").read_bytes()
    assert b"LAYOUT=IFDS_BEFORE_DATA" in data[:512]
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.tags(ns="IMAGE_STRUCTURE")["COMPRESSION"] == "ZSTD"
        assert file.block_shapes[0] == (256, 256) and file.overviews(1)
        assert np.array_equal(file.read(), np.moveaxis(read(source), 2, 0))
    require_cloud_optimized(tmp_path / "out" / "a.tif")


def require_cloud_optimized(path: Path) -> None:
    """What GDAL's ``validate_cloud_optimized_geotiff.py`` and ``rio cogeo validate`` ask for:
    tiles, directories before all samples and in order, overviews ever smaller, their samples
    before those of what is larger."""
    with tifffile.TiffFile(path) as file:
        found = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
        assert all(page.is_tiled or max(page.shape[:2]) <= 512 for page in found)
        directories = [page.offset for page in found]
        starts = [min(place for place in page.dataoffsets if place) for page in found]
        assert directories == sorted(directories) and max(directories) < min(starts)
        assert starts == sorted(starts, reverse=True)
        sizes = [page.shape[0] * page.shape[1] for page in found]
        assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
        assert [page.is_reduced for page in found] == [False] + [True] * (len(found) - 1)


@pytest.mark.parametrize(("form", "given"), [("cog", ()), ("tiff", ("COMPRESS=ZSTD",))])
@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_becomes_a_raster_where_it_lies(
    tmp_path: Path, form: str, given: tuple[str, ...], deep: bool
) -> None:
    """Of 8 bits, read as pictures always are; a model makes a picture of it, or heights."""
    made = ValueRange("float32", (BandRange(0, 510),) * 3) if deep else None
    model = save_identity(tmp_path / "m.safetensors", eight_bits(3), made)
    pixels = draw((600, 90, 3), "uint8")
    source = write(tmp_path / "a.tif", pixels, crs=UTM, transform=PLACE, photometric="rgb")
    (record,) = convert(tmp_path / "out", model, source, form=form, creation_option=given).values()
    assert record.status == "done", record.reason
    with rasterio.open(tmp_path / "out" / "a.tif") as file:
        assert (file.crs, file.transform) == (UTM, PLACE)
        found = np.moveaxis(file.read(), 0, 2)
        assert np.abs(found / (2 if deep else 1) - pixels).max() < 0.01
        tags = file.tags(ns="IMAGE_STRUCTURE")
        assert tags["COMPRESSION"] == ("ZSTD" if given else "DEFLATE")
        assert tags.get("LAYOUT") == ("COG" if form == "cog" else None)


def test_four_bands_of_8_bits_are_scaled_each_by_itself(tmp_path: Path) -> None:
    """The fourth is no transparency: where it is 0 the others stay."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint8", 4))
    pixels = np.full((130, 130, 4), 200, np.uint8)
    pixels[:, :, 3] = 0
    source = write(tmp_path / "a.tif", pixels, photometric="minisblack")
    (record,) = convert(tmp_path / "out", model, source, fit="resize", bands="1,2,3,4").values()
    assert record.status == "done", record.reason
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), pixels)


@pytest.mark.parametrize("shape", [(64, 80), (64, 80, 1), (64, 80, 3)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_arrays_of_numpy(tmp_path: Path, shape: tuple[int, ...], order: str) -> None:
    bands = shape[2] if len(shape) == 3 else 1
    model = save_identity(tmp_path / "m.safetensors", whole_range("int16", bands))
    pixels = draw((*shape[:2], bands), "int16").reshape(shape) - 4000
    np.save(tmp_path / "a.npy", pixels.astype(f"{order}i2"))
    convert(tmp_path / "out", model, tmp_path / "a.npy", form="npy")
    found = np.load(tmp_path / "out" / "a.npy")
    assert found.dtype == np.int16 and found.shape == (shape[:2] if bands == 1 else shape)
    assert np.array_equal(found.reshape(shape), pixels)


@pytest.mark.parametrize("asked", [None, "1"])
@pytest.mark.parametrize("shape", [(1, 100, 200), (3, 100, 200), (3, 60, 50)])
def test_arrays_with_their_bands_first_are_refused(
    tmp_path: Path, shape: tuple[int, ...], asked: str | None
) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("float32", 1))
    np.save(tmp_path / "a.npy", np.zeros(shape, np.float32))
    (record,) = convert(tmp_path / "out", model, tmp_path / "a.npy", bands=asked).values()
    assert record.status == "failed"
    assert f"is an array of shape {shape}" in record.reason
    assert "put them last: numpy.moveaxis(array, 0, -1)" in record.reason


def test_arrays_of_many_bands_are_read(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 3))
    pixels = draw((70, 80, 100))
    np.save(tmp_path / "a.npy", pixels)
    (record,) = convert(tmp_path / "out", model, tmp_path / "a.npy", bands="100,1,7").values()
    assert record.status == "done", record.reason
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), pixels[:, :, [99, 0, 6]])


def test_arrays_of_another_type_are_refused_with_what_makes_them_such(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    for kind, remedy in ((">f4", "numpy.rint(array).astype"), ("i4", "(array.astype")):
        np.save(tmp_path / "a.npy", np.zeros((70, 80), kind))
        (record,) = convert(tmp_path / "out", model, tmp_path / "a.npy").values()
        assert f"{remedy}('uint16')" in record.reason and "gdal" not in record.reason
        assert f"has samples of {np.dtype(kind).newbyteorder('=').name}," in record.reason


def test_of_several_pages_the_first_is_read(tmp_path: Path) -> None:
    """Also where they are of different sizes."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    pixels = draw((64, 80, 1))
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels[:, :, 0])
        file.write(pixels[:40, :30, 0])
    (record,) = convert(tmp_path / "out", model, tmp_path / "a.tif").values()
    assert record.warning.startswith("has 2 pages, of which the first is read")
    assert np.array_equal(read(tmp_path / "out" / "a.tif"), pixels)


def test_a_mosaic_is_read_through_its_vrt(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    pixels = draw((64, 64, 1))
    write(tmp_path / "left.tif", pixels[:, :32])
    write(tmp_path / "right.tif", pixels[:, 32:])
    parts = "".join(
        f'<SimpleSource><SourceFilename relativeToVRT="1">{name}.tif</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="32" ySize="64"/>'
        f'<DstRect xOff="{at}" yOff="0" xSize="32" ySize="64"/></SimpleSource>'
        for name, at in (("left", 0), ("right", 32))
    )
    band = f'<VRTRasterBand dataType="UInt16" band="1">{parts}</VRTRasterBand>'
    mosaic = tmp_path / "all.vrt"
    mosaic.write_text(f'<VRTDataset rasterXSize="64" rasterYSize="64">{band}</VRTDataset>')
    convert(tmp_path / "out", model, mosaic)
    assert np.array_equal(read(tmp_path / "out" / "all.tif"), pixels)
    (tmp_path / "right.tif").unlink()
    (record,) = convert(tmp_path / "out", model, mosaic).values()
    assert record.status == "failed" and "is not there; mend the VRT" in record.reason


# What cannot be read


def bad_inputs(folder: Path) -> Iterator[tuple[Path, str]]:
    good = draw((64, 64, 2))
    yield (
        write(folder / "bands.tif", draw((64, 64, 3)), names=("x", "y", "z")),
        (r"has 3 bands \(x, y, z\), and the model takes 2; choose them with --bands"),
    )
    yield (
        write(folder / "type.tif", good.astype(np.int16)),
        (
            "band 1 has samples of int16, and the model takes uint16; make them such first "
            r"\(gdal_translate -ot UInt16\)"
        ),
    )
    yield write(folder / "empty.tif", good * 0, nodata=0), "holds no data"
    whole = write(folder / "whole.tif", draw((300, 300, 2)), BIGTIFF="YES").read_bytes()
    (folder / "cut.tif").write_bytes(whole[: len(whole) // 2])
    yield folder / "cut.tif", "cannot be read"
    (folder / "no.tif").write_bytes(b"II*\0" + bytes(60))
    yield folder / "no.tif", "cannot be read as a raster"
    (folder / "objects.npy").write_bytes(b"\x93NUMPY\1\0garbage")
    yield folder / "objects.npy", "cannot be read as an array of NumPy's"
    np.save(folder / "pickled.npy", np.array([{}], object), allow_pickle=True)
    yield folder / "pickled.npy", "cannot be read as an array of NumPy's.*Python objects"
    np.save(folder / "line.npy", np.zeros(9, np.uint16))
    yield folder / "line.npy", r"is an array of shape \(9,\); it must be \(H, W\)"
    (folder / "far.vrt").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="UInt16" band="1">'
        "<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:9/a.tif</SourceFilename>"
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    yield folder / "far.vrt", "cannot be read as a raster|which is no file here; fetch it first"
    odd = bytearray(write(folder / "odd.tif", good, compress="deflate").read_bytes())
    at = odd.find(struct.pack("<HHI", 259, 3, 1))  # TIFF 6.0, section 8: Compression
    struct.pack_into("<H", odd, at + 8, 60_000)
    (folder / "odd.tif").write_bytes(odd)
    yield folder / "odd.tif", "cannot be read.*(ompression|codec)"
    yield folder / "none.tif", "No such file"


def test_bad_inputs_fail_alone_and_say_why(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 2))
    found = dict(bad_inputs(tmp_path))
    good = write(tmp_path / "good.tif", draw((64, 64, 2)))
    records = convert(tmp_path / "out", model, *found, good)
    assert records["good.tif"].status == "done"
    for path, said in found.items():
        record = records[path.name]
        assert record.status == "failed" and re.search(said, record.reason), record
        assert not (tmp_path / "out" / f"{path.stem}.tif").exists()


def test_jpeg_of_12_bits_is_never_taken_for_black(tmp_path: Path) -> None:
    """Read, where GDAL was built with it, else refused."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    pixels = np.tile(np.arange(64, dtype=np.uint16) * 60, (64, 1))
    encoded = imagecodecs.jpeg8_encode(pixels, bitspersample=12, level=98)
    source = tmp_path / "a.tif"
    tifffile.imwrite(
        source, iter([encoded]), shape=(64, 64), dtype="uint16", compression="jpeg",
        tile=(64, 64), photometric="minisblack",
    )  # fmt: skip
    data = bytearray(source.read_bytes())
    at = data.find(struct.pack("<HHI", 258, 3, 1))  # TIFF 6.0, section 8: BitsPerSample
    struct.pack_into("<H", data, at + 8, 12)
    source.write_bytes(data)
    (record,) = convert(tmp_path / "out", model, source).values()
    if record.status == "failed":
        assert "cannot be read" in record.reason
    else:
        made = read(tmp_path / "out" / "a.tif")[:, :, 0].astype(int)
        assert np.abs(made - pixels).max() < 50


def test_asked_bands_that_are_not_there(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 2))
    source = write(tmp_path / "a.tif", draw((64, 64, 3)), names=("x", "y", "z"))
    (record,) = convert(tmp_path / "out", model, source, bands="x,q").values()
    assert record.reason == "has no band 'q': it has 3 bands (x, y, z)"
    (record,) = convert(tmp_path / "out", model, source, bands="1,2,3").values()
    assert record.reason == "--bands names 3 bands, and the model takes 2"


def test_infinities_are_no_data_with_a_warning(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("float32", 1))
    pixels = draw((64, 64, 1), "float32")
    pixels[3, 3], pixels[4, 4] = np.inf, -np.inf
    source = write(tmp_path / "a.tif", pixels)
    (record,) = convert(tmp_path / "out", model, source).values()
    assert "infinite values are taken for no data" in record.warning
    made = read(tmp_path / "out" / "a.tif")
    assert np.isnan(made[[3, 4], [3, 4]]).all() and np.isnan(made).sum() == 2
    strict = {"tolerance": Tolerance(strict=True)}
    (record,) = convert(tmp_path / "strict", model, source, **strict).values()
    assert "refused by --strict" in record.reason


@pytest.mark.parametrize(
    ("form", "creation", "said"),
    [
        ("png", (), r"makes 1 x uint16, which png does not hold; use --format tiff, cog or npy"),
        ("tiff", ("COMPRESS",), "must be NAME=VALUE"),
        ("tiff", ("COMPRESS=FOO",), "COMPRESS=FOO: .*unexpected value"),
        ("cog", ("NO_SUCH=1",), "NO_SUCH=1: .*does not support"),
        ("npy", ("COMPRESS=LZW",), "is for --format tiff or cog"),
        ("tiff", ("COMPRESS=JPEG", "NBITS=12"), "would cut the values"),
        ("tiff", ("NBITS=8",), "would cut the values: .* need 16 bits"),
    ],
)
def test_outputs_that_cannot_be_are_refused_at_once(
    tmp_path: Path, form: str, creation: tuple[str, ...], said: str
) -> None:
    info = bundle.read_info(save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1)))
    with pytest.raises(InputError, match=said):
        require_format(info, form, creation)
