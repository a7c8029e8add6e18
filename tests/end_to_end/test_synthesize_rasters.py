"""``synthesize`` with rasters: what each layout holds, and what is refused before anything."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import rasterio

from pix2pix_batch import bundle
from pix2pix_batch.value_ranges import BandRange, ValueRange
from tests.conftest import save_bundle
from tests.end_to_end.command import error_of, records
from tests.end_to_end.synthesizing import manifest, synthesize, tree
from tests.train.rasters import write_raster

pytestmark = pytest.mark.usefixtures("workers")

BANDS = ("B2", "B3", "B4", "B8")
SIDE = ValueRange("uint16", tuple(BandRange(0, 10_000, name=name) for name in BANDS))
MADE = ValueRange("float32", (BandRange(-400, 8800, name="height"),), -9999.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With dropout, of four bands to heights."""
    path = tmp_path_factory.mktemp("model") / "heights.safetensors"
    save_bundle(path, dropout=True, in_channels=4, out_channels=1)
    info, net = bundle.load(path)
    bundle.save(path, replace(info, input_range=SIDE, output_range=MADE), net)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of 12 bands in all, of which four are the model's; part of one has no data."""
    source = tmp_path_factory.mktemp("rasters") / "in"
    random = np.random.default_rng(0)
    for name in "ab":
        coarse = random.integers(1000, 9000, (9, 9, 6)).repeat(8, 0).repeat(8, 1).astype(np.uint16)
        coarse[:16, :16] = 0
        coarse[32:40, :16, 2] = 0  # a real value, of one band
        names = ("B1", *BANDS, "B9")
        write_raster(source / f"{name}.tif", coarse, names, nodata=0)
    return source


def test_pairs_for_a_trainer(inputs: Path, model: Path, tmp_path: Path) -> None:
    more = ("--layout", "a-b", "--format", "tiff", "--variants", 2)
    out = tmp_path / "out"
    figures = synthesize(inputs, out, model, *more).figures
    assert (figures["images"], figures["inputs_failed"]) == (4, 0)
    assert 0 < figures["diversity"] < 128
    with (
        rasterio.open(inputs / "a.tif") as given,
        rasterio.open(out / "A" / "train" / "a.v1.tif") as source,
        rasterio.open(out / "B" / "train" / "a.v1.tif") as made,
    ):
        assert np.array_equal(source.read(), given.read([2, 3, 4, 5]))
        assert source.descriptions == BANDS and made.descriptions == ("height",)
        assert (source.nodata, made.nodata, made.dtypes) == (0, -9999, ("float32",))
        for one in (source, made):
            assert (one.crs, one.transform) == (given.crs, given.transform)
            assert np.array_equal(one.dataset_mask() == 0, given.dataset_mask() == 0)
        assert "trainedAlgorithmicMedia" in str(made.tags(ns="xml:XMP"))
        assert source.tags(ns="xml:XMP") == {}
        values = made.read(1)
        assert values[values != -9999].std() > 100
    header = manifest(out)[0]
    assert ValueRange.from_dict(header["ranges"]["input"]) == SIDE
    assert ValueRange.from_dict(header["ranges"]["output"]) == MADE
    card = (out / "README.md").read_text()
    assert "B2, B3, B4, B8" in card and "-400 to 8800" in card and "no data -9999" in card
    before = tree(out)
    assert synthesize(inputs, out, model, *more).figures["nothing_to_do"]
    (out / "A" / "train" / "a.v1.tif").unlink()
    assert synthesize(inputs, out, model, *more).figures["images_made"] == 0
    assert tree(out) == before


def test_arrays_in_shards(inputs: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    more = ("--layout", "webdataset", "--format", "npy", "--variants", 1)
    assert synthesize(inputs, out, model, *more).figures["images"] == 2
    with tarfile.open(out / "train-000000.tar") as tar:
        names = tar.getnames()
        assert names[:3] == ["000000000.npy", "000000000.source.npy", "000000000.json"]
        made, source = (np.load(io.BytesIO(tar.extractfile(n).read())) for n in names[:2])  # type: ignore[union-attr]
    assert (made.shape, made.dtype.name) == ((72, 72), "float32")
    assert (source.shape, source.dtype.name) == ((72, 72, 4), "uint16")
    assert "`source.npy`" in (out / "README.md").read_text()


def test_parquet_holds_bytes_that_are_no_images_to_its_readers(
    inputs: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    more = ("--layout", "parquet", "--format", "tiff", "--variants", 1, "--bands", "2,3,4,5")
    assert synthesize(inputs, out, model, *more).figures["images"] == 2
    assert manifest(out)[0]["settings"]["bands"] == "2,3,4,5"
    (path,) = (out / "data").iterdir()
    table = pyarrow.parquet.read_table(path)
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert "_type" not in features["image"] and features["source"]["bytes"]["dtype"] == "binary"
    row = table.to_pylist()[0]
    assert row["source"]["path"] == "a.tif"
    with rasterio.MemoryFile(row["source"]["bytes"]) as memory, memory.open() as file:
        assert (file.count, file.dtypes[0]) == (4, "uint16")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--layout", "side-by-side", "--format", "tiff"), "--layout side-by-side holds pictures"),
        (("--format", "npy"), "--layout imagefolder: its readers see no .npy"),
        (("--format", "tiff", "--input-noise", 5), "--input-noise is in levels of 255"),
        ((), "which png does not hold; use --format tiff, cog or npy"),
    ],
)
def test_what_cannot_be_held_is_refused_at_once(
    inputs: Path, model: Path, tmp_path: Path, more: tuple[str | int, ...], said: str
) -> None:
    out = tmp_path / "out"
    assert said in error_of(synthesize(inputs, out, model, *more))
    assert not out.exists()


def test_one_without_the_bands_fails_alone(inputs: Path, model: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write_raster(source / "bad.tif", np.ones((64, 64, 2), np.uint16))
    (source / "a.tif").write_bytes((inputs / "a.tif").read_bytes())
    out = tmp_path / "out"
    ran = synthesize(source, out, model, "--format", "tiff", "--variants", 1)
    assert (ran.code, ran.figures["images"], ran.figures["inputs_failed"]) == (3, 1, 1)
    assert "has 2 bands" in ran.figures["failures"][0]["reason"]
    assert (out / "train" / "inputs" / "a.tif").exists()
    assert len(records(out)) == 4
