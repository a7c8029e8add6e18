"""Training, checking and evaluating with rasters, from the pairs to the converted files."""

from __future__ import annotations

import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
import torch
from click.testing import CliRunner
from PIL import Image
from rasterio.transform import from_origin

from pix2pix_batch import bundle
from pix2pix_batch.cli import main
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.composite import NOTHING, show
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.inference import large_images
from pix2pix_batch.reporting import scale_bar
from pix2pix_batch.train import raster_files, threads
from pix2pix_batch.train.data import LevelMappings, open_data
from pix2pix_batch.train.objective import absolute_loss
from pix2pix_batch.train.pair_files import Reader
from pix2pix_batch.train.raster_data import RasterData
from pix2pix_batch.train.raster_facts import describe_other_order
from pix2pix_batch.train.rundir import RunDirectory, read_ranges
from pix2pix_batch.train.signature import data_signature
from pix2pix_batch.train.step import Batch
from pix2pix_batch.value_ranges import BandRange, ValueRange, eight_bits
from tests.end_to_end.command import Ran, picture
from tests.pix2pix_batch.imaging.test_pages import draw_pages, write_pages
from tests.train import rasters
from tests.train.rasters import ELEVATION, GAP, RADAR, SIDE, write_raster
from tests.train.running import small, train


def run(*words: object) -> Ran:
    done = CliRunner().invoke(main, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def set_keys(**changes: Any) -> list[str]:
    return [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]


SMALL = set_keys(size=32)
WORDED_OTHERWISE = "+proj=utm +zone=32 +datum=WGS84 +units=m +no_defs"
"""EPSG:32632 without its number, as some programs write it."""


@pytest.fixture(scope="module")
def radar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rasters.make_radar_pairs(tmp_path_factory.mktemp("radar"))


@pytest.fixture(scope="module")
def trained(radar: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps on the radar's pairs."""
    run_directory = tmp_path_factory.mktemp("trained") / "run"
    ran = train(radar, run_directory, "--every", 1, **RADAR, epochs=0.67)
    assert ran.code == 0, ran
    assert "2 steps" in ran.err and "band 1: VV: " in ran.err.replace("band 1 VV", "band 1: VV")
    return run_directory


# Training


def test_percentiles_are_measured_on_the_training_split(radar: Path, trained: Path) -> None:
    found = bundle.read_info(trained / "model.safetensors").ranges
    data = open_data(radar, small(**RADAR))
    names = [pair.name for pair in data.train.listed]  # type: ignore[attr-defined]
    whole = np.concatenate(
        [rasters.make_radar(int(name), 5)[:, 5:].reshape(-1, 2) for name in names]
    )
    assert len(names) == 3
    for index, (band, name) in enumerate(zip(found.input.bands, ("VV", "VH"), strict=True)):
        low, high = np.percentile(whole[:, index], (2, 98), method="inverted_cdf").tolist()
        assert band == BandRange(low, high, "log", name, (2.0, 98.0))
    assert found.input.nodata == GAP and found.output == eight_bits(3)
    assert (
        json.dumps(found.input.as_dict()["bands"][0]["low"])
        in (trained / "recipe.yaml").read_text()
    )


def test_a_run_goes_on_with_the_ranges_that_it_found(
    radar: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from pix2pix_batch.train import raster_data

    shutil.copytree(trained, tmp_path / "run")
    monkeypatch.setattr(raster_data, "measure_ranges", None)
    ran = train(radar, tmp_path / "run", "--every", 1, **RADAR, epochs=1)
    assert ran.code == 0 and "going on after step 2 of 3" in ran.err


def test_what_an_unfinished_start_measured_is_measured_again(radar: Path, tmp_path: Path) -> None:
    """Else the ranges would be those of data that were since replaced."""
    mine = small(**RADAR)
    data = open_data(radar, mine)
    directory = RunDirectory(tmp_path / "run")
    ranges = {side: found.as_dict() for side, found in data.ranges._asdict().items()}
    record = {"path": "", "processes": 1, "recipe": mine.as_dict(), "ranges": ranges}
    with directory.lock():
        directory.claim(data.parts, json.loads(json.dumps(record)), 1)
    assert read_ranges(directory.path, mine) is None
    directory.metrics.write_text("{}\n")
    assert read_ranges(directory.path, mine) == data.ranges


def test_gaps_are_the_middle_and_left_out_of_l1(radar: Path) -> None:
    data = open_data(radar, small(**RADAR, flip=False))
    mappings = LevelMappings(data.ranges)
    for k in range(6):
        source, target, valid = data.sample(k)
        assert source.dtype == np.float32 and target.dtype == np.uint8 and valid.dtype == bool
        levels = mappings.input(torch.tensor(source)[None])[0].numpy()
        assert np.abs(levels[:, ~valid]).max(initial=0) < 1e-5
        assert (source[valid] > 0).all()
    source, target, valid = data.val[0][1:]
    assert valid.all() or not valid[:, 0].any()

    there = torch.ones(1, 4, 4, dtype=torch.bool)
    there[0, :, :2] = False
    image = torch.full((1, 3, 4, 4), 0.5)
    batch = Batch.of(image, image, 0, there)
    assert batch.target[..., :2].abs().max() == 0 and batch.target[..., 2:].min() == 0.5
    fake = torch.where(there[:, None], image + 0.25, 0.0).requires_grad_(True)
    loss = absolute_loss(fake, batch.target, batch.valid)
    assert float(loss) == 0.25
    loss.backward()
    assert fake.grad is not None and fake.grad[..., :2].abs().max() == 0
    nowhere = Batch.of(image, image, 0, ~there & False)
    assert float(absolute_loss(fake, nowhere.target, nowhere.valid)) == 0


def test_pictures_are_trained_on_as_they_always_were() -> None:
    pixels = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    sides = eight_bits(3), eight_bits(3)
    from pix2pix_batch.value_ranges import ValueRanges

    made = LevelMappings(ValueRanges(*sides)).input(pixels)
    assert torch.equal(made, pixels.permute(0, 3, 1, 2).to(torch.float32).div(127.5).sub(1))
    assert made.is_contiguous(memory_format=torch.channels_last)
    kept = small().as_dict()
    assert "input_range" not in kept and "output_range" not in kept


def test_rasters_of_8_bits_train_as_the_pictures_do(tmp_path: Path) -> None:
    """The same samples, as arrays: but for how L1's mean is summed, the same run."""
    losses = []
    for kind in ("png", "npy"):
        data = rasters.make_elevation_pairs(tmp_path / kind, 3)
        for path in (data / "A").iterdir():
            path.unlink()
        for path in list((data / "B").iterdir()):
            pixels = np.asarray(Image.open(path))
            Image.fromarray(255 - pixels).save(data / "A" / path.name)
            if kind == "npy":
                np.save(data / "A" / f"{path.stem}.npy", 255 - pixels)
                (data / "A" / path.name).unlink()
        changes = {} if kind == "png" else {"input_range": {"type": "uint8", "nodata": 256}}
        changes = (
            {} if kind == "png" else {"input_range": {"type": "float32", "low": 0, "high": 255}}
        )
        run_directory = tmp_path / f"run-{kind}"
        ran = train(data, run_directory, "--every", 1, fit="tile", epochs=0.5, **changes)
        assert ran.code == 0, ran
        lines = (run_directory / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["losses"]["l1"] for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.parametrize("bands", [1, 2, 5])
def test_any_bands_and_types_go_in_and_out(tmp_path: Path, bands: int) -> None:
    """From NumPy's arrays of 16 bits to GeoTIFFs of floats."""
    for seed in range(3):
        (tmp_path / "data" / "A").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "data" / "A" / f"{seed}.npy",
                np.rint(rasters.soft(seed, bands) * 60_000).astype(np.uint16))  # fmt: skip
        made = (rasters.soft(seed + 9, bands) * 50 - 20).astype(np.float32)
        made[:3, :3] = np.nan
        write_raster(tmp_path / "data" / "B" / f"{seed}.tif", made)
    changes = {
        "in_channels": bands, "out_channels": bands,
        "input_range": {"type": "uint16", "low": 0, "high": 65535},
        "output_range": {"type": "float32", "percentiles": [0, 100]},
    }  # fmt: skip
    ran = train(tmp_path / "data", tmp_path / "run", "--every", 1, **changes, epochs=0.5)
    assert ran.code == 0, ran
    assert f"--model {tmp_path}/run/model.safetensors --format tiff'" in ran.err
    info = bundle.read_info(tmp_path / "run" / "model.safetensors")
    assert info.ranges.output.dtype == "float32" and info.fit == "tile"
    assert Image.open(tmp_path / "run" / "samples" / "00000001.png").mode == "RGB"
    if bands == 1:
        drawn = tmp_path / "preview.png"
        model = tmp_path / "run" / "model.safetensors"
        given = tmp_path / "data" / "A" / "0.npy"
        seen = run("preview", model, given, "--device", "cpu", "--out", drawn)
        assert seen.code == 0, seen
        with Image.open(drawn) as picture:
            bars = np.asarray(picture)[-2 * scale_bar.HEIGHT :].reshape(-1, 3).tolist()
        assert bars.count([68, 1, 84]) >= 2, "a scale for inputs and one for outputs"
    if bands == 2:
        checked = run("evaluate", tmp_path / "run" / "model.safetensors", tmp_path / "data",
                      "--device", "cpu", "--json")  # fmt: skip
        found = json.loads(checked.out)
        assert list(found["bands"]) == ["band 1", "band 2"]
        assert found["overall"]["spectral_angle"] > 0


# The worked examples


def test_elevation_to_imagery(tmp_path: Path) -> None:
    data = rasters.make_elevation_pairs(tmp_path / "data", 3)
    checked = run("dataset", "check", data, *SMALL)
    assert 'input_range: {type: uint16, percentiles: [2, 98], bands: ["elevation"]}' in checked.out
    keys = set_keys(in_channels=1, input_range=json.dumps(ELEVATION["input_range"]))
    sheet = tmp_path / "check.png"
    checked = run("dataset", "check", data, *SMALL, *keys, "--sheet", sheet)
    assert checked.code == 0, checked
    with Image.open(sheet) as drawn:
        bar = np.asarray(drawn)[-scale_bar.HEIGHT :].reshape(-1, 3).tolist()
    assert [68, 1, 84] in bar and [253, 231, 37] in bar, "the colours' scale"
    ran = train(data, tmp_path / "run", "--every", 2, **ELEVATION, epochs=0.67)
    assert ran.code == 0, ran
    model = tmp_path / "run" / "model.safetensors"
    early = tmp_path / "early.safetensors"
    imported = run("model", "import", tmp_path / "run" / "checkpoints" / "best.pt", early)
    assert imported.code == 0, imported
    assert bundle.read_info(early).ranges == bundle.read_info(model).ranges
    assert bundle.read_info(early).input_range is not None
    done = run("convert", data / "A", tmp_path / "out", "--model", model, "--workers", 1,
               "--device", "cpu", "--format", "tiff")  # fmt: skip
    assert done.code == 0, done
    with (
        rasterio.open(tmp_path / "out" / "0.tif") as made,
        rasterio.open(data / "A" / "0.tif") as given,
    ):
        assert made.count == 3 and made.dtypes[0] == "uint8"
        assert made.crs == given.crs and made.transform == given.transform


def test_radar_to_imagery_is_evaluated(radar: Path, trained: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    done = run("evaluate", trained / "model.safetensors", radar, "--split", "all", "--device",
               "cpu", "--json", "--picture", sheet)  # fmt: skip
    assert done.code == 0, done
    found = json.loads(done.out)
    assert set(found["overall"]) == {"mae", "rmse", "psnr", "ssim", "spectral_angle"}
    assert len(found["images"]) == 4 and len(found["bands"]) == 3
    per_band = [figures["mae"] for figures in found["bands"].values()]
    assert found["overall"]["mae"] == pytest.approx(np.mean(per_band))
    with Image.open(sheet) as picture:
        assert picture.mode == "RGB"


# Rasters larger than memory


@pytest.fixture
def read_by_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """No raster is read as a whole, and what is measured is read in several windows."""
    monkeypatch.setattr(raster_files, "HELD", 0)
    monkeypatch.setattr(raster_files, "STEP", 16)
    monkeypatch.setattr(raster_files, "PANEL", 0)


def test_windows_give_the_samples_of_whole_rasters(
    radar: Path, request: pytest.FixtureRequest
) -> None:
    """Ranges, training crops, validation and what ``dataset check`` tells are the same."""
    recipe = small(**RADAR)
    keys = {key: json.dumps(value) for key, value in RADAR.items()}
    check = ("dataset", "check", radar, *SMALL, *set_keys(**keys), "--json")
    whole, told = open_data(radar, recipe), json.loads(run(*check).out)
    samples = [whole.sample(k) for k in range(6)]
    middle, doubts = whole.val[0], whole.doubts
    request.getfixturevalue("read_by_windows")
    some = open_data(radar, recipe)
    assert isinstance(some, RasterData) and some.ranges == whole.ranges
    windows = list(some.reader.list_windows(radar / "A" / "0.tif", some.reader.a))
    assert len(windows) == 9
    for k, wanted in enumerate(samples):
        for one, other in zip(some.sample(k), wanted, strict=True):
            assert np.array_equal(one, other) and one.flags.c_contiguous
    for one, other in zip(some.val[0], middle, strict=True):
        assert np.array_equal(one, other)
    assert np.array_equal(some.train.read_source(0), whole.train.read(0)[0])  # type: ignore[attr-defined]
    assert some.doubts == doubts
    assert not whole.reader.warnings and not some.reader.warnings
    again = json.loads(run(*check).out)
    for one in (again, told):
        one["warnings"].sort(key=str)
    assert again == told


@pytest.mark.usefixtures("read_by_windows")
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("spoil_all", "holds no data: every pixel"),
        ("spoil_size", "is 48x48 pixels, its partner "),
    ],
)
def test_bad_rasters_are_named_where_they_are_large(tmp_path: Path, spoil: str, told: str) -> None:
    data = rasters.make_radar_pairs(tmp_path / "data", 3)
    globals()[spoil](data)
    keys = {key: json.dumps(value) for key, value in RADAR.items()}
    done = run("dataset", "check", data, *SMALL, *set_keys(**keys), "--json")
    (problem,) = json.loads(done.out)["problems"]
    assert done.code == 3 and told in problem["problem"] and Path(problem["file"]).stem == "1"


def test_of_large_rasters_no_more_is_held_than_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair that is opened, measured and trained on."""
    side, bands = 1300, {"A": 4, "B": 6}
    monkeypatch.setattr(raster_files, "HELD", 1 << 20)
    monkeypatch.setattr(raster_files, "PANEL", 1 << 19)
    monkeypatch.setattr(threads, "thread_count", lambda: 2)
    blocks = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "lzw"}
    plane = np.tile(np.arange(side, dtype=np.uint16), (side, 1))
    for folder, count in bands.items():
        (tmp_path / folder).mkdir()
        with rasterio.open(
            tmp_path / folder / "1.tif", "w", driver="GTiff", height=side, width=side,
            count=count, dtype="uint16", **blocks,
        ) as file:  # fmt: skip
            for band in range(1, count + 1):
                file.write(plane, band)
    ranges = {"type": "uint16", "percentiles": [0, 100]}
    keys = {"in_channels": 4, "out_channels": 6, "input_range": ranges, "output_range": ranges}
    tracemalloc.start()
    try:
        data = open_data(tmp_path, small(**keys, val_fraction=0))
        opened = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        source, target, valid = data.sample(0)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data.ranges.output.bands[5].high == side - 1
    assert source.shape == (32, 32, 4) and target.shape == (32, 32, 6) and valid.all()
    assert np.array_equal(source[:, :, 0], target[:, :, 5])
    whole = side * side * sum(bands.values()) * 2
    assert opened < whole / 2 and taken < whole / 10


def test_a_target_of_8_bits_over_the_bound_is_read_by_windows(tmp_path: Path) -> None:
    """As ``convert`` reads such pictures."""
    random = np.random.default_rng(0)
    write_raster(tmp_path / "A" / "1.tif", random.integers(0, 9, (400, 300, 1)).astype(np.uint16))
    target = random.integers(0, 255, (400, 300, 3)).astype(np.uint8)
    write_raster(tmp_path / "B" / "1.tif", target)
    recipe = small(**ELEVATION, val_fraction=0)
    whole, some = (
        open_data(tmp_path, recipe, Tolerance(max_pixels=most)) for most in (None, 10_000)
    )
    for one, other in zip(some.sample(0), whole.sample(0), strict=True):
        assert np.array_equal(one, other)


PALETTE = np.arange(768, dtype=np.uint16).reshape(3, 256) * 85


@pytest.mark.parametrize(
    ("channels", "taken", "values", "told"),
    [
        (1, 1, {"photometric": "palette", "colormap": PALETTE}, "has a palette, or white as 0"),
        (1, 3, {"photometric": "palette", "colormap": PALETTE}, "has a palette, or white as 0"),
        (1, 1, {"photometric": "miniswhite"}, "has a palette, or white as 0"),
        (1, 1, {"bitspersample": 4}, "has samples of fewer than 8 bits"),
        (1, 3, {}, "has 1 band, and the recipe takes 3, which is not heeded"),
        (3, 3, {"photometric": "icclab"}, "stores colours in another way"),
        (3, 3, {"photometric": "rgb", "extratags": [(274, 3, 1, 6, True)]}, "is not upright"),
        (3, 3, {"photometric": "rgb", "extratags": [(274, 3, 1, 0, True)]}, "cannot be read as a"),
    ],
)
def test_a_target_that_windows_would_change_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    channels: int,
    taken: int,
    values: Any,
    told: str,
) -> None:
    """As ``convert`` refuses it; below the bound it is read right."""
    monkeypatch.setattr(large_images, "LEAST_BYTES", 0)
    write_raster(tmp_path / "A" / "1.tif", np.arange(2304, dtype=np.uint16).reshape(48, 48, 1))
    (tmp_path / "B").mkdir()
    pixels = np.random.default_rng(0).integers(0, 16, (48, 48, channels), np.uint8)
    tifffile.imwrite(tmp_path / "B" / "1.tif", np.squeeze(pixels), metadata=None, **values)
    recipe = small(**ELEVATION | {"out_channels": taken}, val_fraction=0)
    with pytest.raises(InputError, match=re.escape(f"1.tif: {told}")):
        open_data(tmp_path, recipe, Tolerance(max_pixels=1000))
    whole = Reader().image(tmp_path / "B" / "1.tif", taken)
    assert np.array_equal(open_data(tmp_path, recipe).train[0][2], whole[8:40, 8:40])


def test_a_manifest_names_pages(tmp_path: Path) -> None:
    """Each as a file of its own; others have their first page and a warning."""
    drawn = draw_pages((40, 48), (36, 33))
    write_pages(tmp_path / "a.tif", *drawn)
    write_pages(tmp_path / "b.tif", *(pixels // 2 for pixels in drawn))
    rows = "".join(f"a.tif#{page},b.tif#{page}\n" for page in (1, 2))
    (tmp_path / "pairs.csv").write_text(f"a,b\n{rows}a.tif,b.tif\n")
    ranges = {"type": "uint16", "low": 0, "high": 65_535}
    keys = {"in_channels": 1, "out_channels": 1, "input_range": ranges, "output_range": ranges}
    data = open_data(tmp_path, small(**keys, val_fraction=0))
    assert isinstance(data, RasterData)
    names = [pair.name for pair in data.train.listed]
    assert names == ["a#1", "a#2", "a"] and len(data_signature(data.parts)) == 32
    for index, pixels in enumerate((*drawn, drawn[0])):
        source, target, _ = data.train.read(index)
        assert np.array_equal(source[:, :, 0], pixels)
        assert np.array_equal(target[:, :, 0], pixels // 2)
    warned = {Path(path).name: text for path, text in data.reader.warnings.items()}
    assert warned.keys() == {"a.tif", "b.tif"} and "has 2 pages" in warned["a.tif"]
    assert warned["b.tif"].endswith("(a manifest names others: b.tif#2)")
    done = run("dataset", "check", tmp_path, *SMALL, *set_keys(
        **{key: json.dumps(value) for key, value in keys.items()}), "--json")  # fmt: skip
    found = json.loads(done.out)
    assert found["rasters"]["A"]["files"] == 3, done
    assert not [note for note in found["notes"] if "no pair" in note]


def test_a_manifest_names_pages_of_pictures(tmp_path: Path) -> None:
    drawn = draw_pages((40, 48), (36, 33), dtype="uint8")
    write_pages(tmp_path / "a.tif", *drawn)
    (tmp_path / "pairs.csv").write_text("a,b\na.tif#2,a.tif#2\na.tif,a.tif\n")
    data = open_data(tmp_path, small(in_channels=1, out_channels=1, val_fraction=0))
    for index, pixels in enumerate(reversed(drawn)):
        assert np.array_equal(data.train.read(index)[0][:, :, 0], pixels)  # type: ignore[attr-defined]
    warning = data.reader.warnings[str(tmp_path / "a.tif")]
    assert "has 2 pages" in warning and warning.endswith("(a manifest names others: a.tif#2)")


# dataset check


def test_check_tells_of_samples_and_suggests_ranges(radar: Path) -> None:
    done = run("dataset", "check", radar, *SMALL)
    lines = done.out.splitlines()
    assert any(
        line.startswith("rasters A: 4 files, float32, 2 bands, EPSG:32632") for line in lines
    )
    assert "in_channels: 2" in done.out
    suggested = next(line.strip() for line in lines if "input_range:" in line)
    assert suggested == (
        "input_range: {type: float32, nodata: -9999.0, percentiles: [2, 98], scale: log, bands: "
        '["VV", "VH"]}'
    )
    with_it = run(
        "dataset", "check", radar, *SMALL, "--set", "in_channels=2", "--set",
        suggested.replace(": ", "=", 1), "--json",
    )  # fmt: skip
    found = json.loads(with_it.out)
    assert with_it.code == 0 and found["problems"] == [], found["problems"]
    band = found["rasters"]["A"]["bands"][0]
    whole = np.stack([rasters.make_radar(seed, 5)[:, 5:, 0] for seed in range(4)])
    assert band["min"] == whole.min() and band["max"] == whole.max()
    assert band["p50"] == pytest.approx(np.median(whole), rel=0.02)
    assert band["no_data"] == pytest.approx(5 / SIDE, abs=1e-6)


def test_a_value_for_no_data_that_no_file_declares_is_noted(tmp_path: Path) -> None:
    data = rasters.make_radar_pairs(tmp_path, 2)
    for path in (data / "A").iterdir():
        with rasterio.open(path, "r+") as file:
            file.nodata = None
    found = json.loads(run("dataset", "check", data, *SMALL, "--json").out)
    told = [note for note in found["notes"] if "A, band" in note]
    assert len(told) == 2 and "least value is -9999, which often stands for no data" in told[0]


def spoil_bands(data: Path) -> None:
    write_raster(data / "A" / "1.tif", np.ones((SIDE, SIDE, 3), np.float32))


def spoil_types(data: Path) -> None:
    write_raster(data / "A" / "1.tif", np.ones((SIDE, SIDE, 2), np.int16), ("VV", "VH"))


def spoil_size(data: Path) -> None:
    write_raster(data / "A" / "1.tif", np.ones((SIDE, 40, 2), np.float32), ("VV", "VH"))


def spoil_all(data: Path) -> None:
    empty = np.full((SIDE, SIDE, 2), GAP, np.float32)
    write_raster(data / "A" / "1.tif", empty, ("VV", "VH"), GAP)


def spoil_some(data: Path) -> None:
    pixels = rasters.make_radar(1)
    pixels[0, :4, 0] = np.nan
    write_raster(data / "A" / "1.tif", pixels, ("VV", "VH"), GAP)


def spoil_file(data: Path) -> None:
    (data / "A" / "1.tif").write_bytes((data / "A" / "0.tif").read_bytes()[:300])


@pytest.mark.parametrize(
    ("spoil", "told", "stops"),
    [
        (spoil_bands, "has 3 bands, and the recipe takes 2 (VV, VH)", True),
        (spoil_types, "has samples of int16, and ", True),
        (spoil_size, "is 48x48 pixels, its partner ", True),
        (spoil_file, "cannot be read as a raster: ", True),
        (spoil_all, "holds no data: every pixel", False),
    ],
)
def test_bad_rasters_are_named(tmp_path: Path, spoil: Any, told: str, stops: bool) -> None:
    data = rasters.make_radar_pairs(tmp_path / "data", 3)
    spoil(data)
    keys = {key: json.dumps(value) for key, value in RADAR.items()}
    done = run("dataset", "check", data, *SMALL, *set_keys(**keys), "--json")
    problems = json.loads(done.out)["problems"]
    assert done.code == 3 and len(problems) == 1
    assert told in problems[0]["problem"] and Path(problems[0]["file"]).stem == "1", problems
    if stops:
        with pytest.raises(InputError, match=r"1\.(tif|png)"):
            open_data(data, small(**RADAR))


@pytest.mark.parametrize("windows", ["", "read_by_windows"])
def test_what_is_read_all_the_same_is_no_problem(
    tmp_path: Path, windows: str, request: pytest.FixtureRequest
) -> None:
    if windows:
        request.getfixturevalue(windows)
    data = rasters.make_radar_pairs(tmp_path / "data", 3)
    spoil_some(data)
    pixels = rasters.make_radar(2)
    pixels[0, 0, 0] = np.inf
    write_raster(data / "A" / "2.tif", pixels, ("VV", "VH"), GAP)
    keys = set_keys(**{key: json.dumps(value) for key, value in RADAR.items()})
    for words in (keys, ()):  # with a recipe of rasters, and with one of pictures
        found = json.loads(run("dataset", "check", data, *SMALL, *words, "--json").out)
        (warning,) = [one for one in found["warnings"] if one["file"].endswith("2.tif")]
        assert warning["warning"] == "its infinite values are taken for no data"
        (note,) = [text for text in found["notes"] if "in some bands only" in text]
        assert note.startswith("2 files have pixels") and str(data / "A" / "1.tif") in note
        assert not words or not found["problems"]


def test_rasters_that_a_recipe_of_pictures_does_not_take_are_told_once(tmp_path: Path) -> None:
    """With what to set, whatever the files are."""
    radar = rasters.make_radar_pairs(tmp_path / "radar")
    arrays = rasters.make_radar_pairs(tmp_path / "arrays")
    for path in (arrays / "A").glob("*.tif"):
        np.save(path.with_suffix(".npy"), rasters.make_radar(int(path.stem)))
        path.unlink()
    setting = "--set in_channels=2 --set 'input_range={type: float32, percentiles: [2, 98]}'"
    for data in (radar, arrays):
        done = run("dataset", "check", data, *SMALL)
        problems = [line for line in done.out.splitlines() if line.startswith("problem: ")]
        assert done.code == 3 and len(problems) == 1
        assert "is a raster, as are 3 others of A" in problems[0]
        assert problems[0].endswith("set what is suggested above")
        with pytest.raises(InputError) as refused:
            open_data(data, small())
        assert str(refused.value).count("cannot be read as an image") < 2
        assert setting in str(refused.value)


def test_elevation_read_as_8_bits_is_doubted_with_what_to_set(tmp_path: Path) -> None:
    data = rasters.make_elevation_pairs(tmp_path / "data")
    for path in (data / "A").iterdir():
        with rasterio.open(path) as file:
            pixels = file.read()
        write_raster(path, np.moveaxis(pixels, 0, 2) // 13, ("elevation",))
    setting = "--set in_channels=1 --set 'input_range={type: uint16, percentiles: [2, 98]}'"
    (doubt,) = open_data(data, small()).doubts
    assert doubt.startswith("A uses levels ") and "samples of uint16" in doubt
    assert setting in doubt
    assert setting in run("dataset", "check", data, *SMALL).out
    (data / "A").rename(data / "C")
    (data / "B").rename(data / "A")
    (data / "C").rename(data / "B")
    (doubt,) = open_data(data, small()).doubts
    assert "--set out_channels=1 --set 'output_range={type: uint16" in doubt
    (doubt,) = open_data(data, small(direction="BtoA")).doubts
    assert setting in doubt


def test_a_range_that_most_values_lie_beyond_is_doubted(radar: Path) -> None:
    """Such as of percentiles given as shares of 1, or of another type."""
    assert not open_data(radar, small(**RADAR)).doubts
    narrow = RADAR | {"input_range": RADAR["input_range"] | {"percentiles": [0.02, 0.98]}}
    (doubt,) = open_data(radar, small(**narrow)).doubts
    assert doubt.startswith("A: 99 % of the values of V") and "on another scale?" in doubt
    words = set_keys(**{key: json.dumps(value) for key, value in narrow.items()})
    assert f"doubt: {doubt}" in run("dataset", "check", radar, *SMALL, *words).out


def test_arrays_with_their_bands_first_are_refused(tmp_path: Path) -> None:
    data = rasters.make_radar_pairs(tmp_path / "data", 3)
    for path in (data / "A").glob("*.tif"):
        np.save(path.with_suffix(".npy"), np.moveaxis(rasters.make_radar(0), 2, 0))
        path.unlink()
    keys = set_keys(**{key: json.dumps(value) for key, value in RADAR.items()})
    for words in (keys, ()):
        done = run("dataset", "check", data, *SMALL, *words)
        assert done.code == 3 and "suggested" not in done.out
        assert done.out.count("numpy.moveaxis(array, 0, -1)") == 3, done.out
    for recipe in (small(**RADAR), small()):
        with pytest.raises(InputError, match=r"numpy\.moveaxis\(array, 0, -1\)"):
            open_data(data, recipe)


def test_bands_taken_for_one_another_are_told(tmp_path: Path) -> None:
    data = rasters.make_radar_pairs(tmp_path / "data", 3)
    bands = [{"band": 2, "name": "VV"}, {"band": 1, "name": "VH"}]
    recipe = {**RADAR, "input_range": {**RADAR["input_range"], "bands": bands}}
    found = open_data(data, small(**recipe))
    found.train[0]
    (warning, *_) = found.reader.warnings.values()
    assert warning == (
        "the recipe's 'bands' take VH for VV, VV for VH: are they the right way round?"
    )


def test_bands_in_another_order_than_other_files_have_are_refused(
    tmp_path: Path, trained: Path
) -> None:
    """Unless the recipe names them, or numbers them where names are wrong."""
    data = rasters.make_radar_pairs(tmp_path / "data", 3)
    turned = np.ascontiguousarray(rasters.make_radar(1, 5)[:, :, ::-1])
    write_raster(data / "A" / "1.tif", turned, ("vh", "VV"), GAP)
    by_place = RADAR["input_range"] | {"bands": None}
    recipes = {"": {}, "places": RADAR | {"input_range": by_place}, "names": RADAR,
               "numbers": RADAR | {"input_range": by_place | {"bands": [1, 2]}}}  # fmt: skip
    told = f"its bands are called vh, VV, and those of {data / 'A' / '0.tif'} VV, VH; "
    for name, changes in recipes.items():
        words = set_keys(**{key: json.dumps(value) for key, value in changes.items()})
        found = json.loads(run("dataset", "check", data, *SMALL, *words, "--json").out)
        wrong = [one for one in found["problems"] if told in one["problem"]]
        assert len(wrong) == (name in ("", "places")), found["problems"]
        assert not wrong or Path(wrong[0]["file"]).name == "1.tif"
        assert not wrong or 'set bands: ["VV", "VH"] in the range of' in wrong[0]["problem"]
        bands = found["rasters"]["A"]["bands"]
        assert [band["name"] for band in bands] == [["VV", "VH"], ["", ""]][name == "numbers"]
        least = [rasters.make_radar(k, 5)[:, 5:].min(axis=(0, 1)) for k in range(3)]
        if name != "numbers":  # of the files in one order, or by name
            wanted = np.min(least[::2] if wrong else least, axis=0)
            assert [band["min"] for band in bands] == pytest.approx(wanted.tolist())
    with pytest.raises(InputError, match=r"1\.tif: its bands are called vh, VV, and those of "):
        open_data(data, small(**recipes["places"]))
    model = trained / "model.safetensors"
    evaluate = "evaluate", model, data, "--split", "all", "--device", "cpu"
    refused = run(*evaluate, *set_keys(**{"input_range.bands": "null"}))
    assert refused.code == 2 and told in refused.err and run(*evaluate).code == 0


@pytest.mark.parametrize(
    ("names", "first", "told"),
    [
        (("B4", "B3", "B2"), ("B2", "B3", "B4"), 'set bands: ["B2", "B3", "B4"] in the range'),
        (("B3", "B4", "B8"), ("B2", "B3", "B4"), "are taken in their order: bring all files"),
        (("", "B2"), ("B2", ""), "its bands are called ?, B2, and those of x.tif B2, ?; "),
        (("B8", "B11"), ("B2", "B3"), ""),
        (("b2", "B3"), ("B2", ""), ""),
        (("Gray", "Gray", "a"), ("Gray", "b", "Gray"), ""),
    ],
)
def test_names_tell_an_order_where_files_share_some(
    names: tuple[str, ...], first: tuple[str, ...], told: str
) -> None:
    said = describe_other_order(names, Path("x.tif"), first)
    assert told in said and bool(told) == bool(said)


def test_the_same_problem_of_many_files_is_said_once(tmp_path: Path) -> None:
    data = rasters.make_radar_pairs(tmp_path / "data", 4)
    with pytest.raises(InputError) as refused:
        open_data(data, small(**{**RADAR, "in_channels": 3, "input_range": {
            "type": "float32", "low": 0, "high": 1}}))  # fmt: skip
    assert str(refused.value).count("has 2 bands") == 1
    assert "0.tif and 3 others: has 2 bands (VV, VH), and the recipe takes 3" in str(refused.value)


def test_partners_that_lie_elsewhere_are_named(tmp_path: Path) -> None:
    pixels = rasters.make_radar(1)
    for side in "AB":
        for seed in range(3):
            write_raster(tmp_path / side / f"{seed}.tif", pixels, ("VV", "VH"))
    with rasterio.open(tmp_path / "B" / "1.tif", "r+") as file:
        file.crs = "EPSG:32633"
    with rasterio.open(tmp_path / "B" / "0.tif", "r+") as file:
        file.transform = file.transform * file.transform.translation(3, 0)
    with rasterio.open(tmp_path / "B" / "2.tif", "r+") as file:
        file.transform = file.transform * file.transform.translation(0.5, -0.5)
    done = run("dataset", "check", tmp_path, *SMALL, "--json")
    problems = json.loads(done.out)["problems"]
    (note,) = [text for text in json.loads(done.out)["notes"] if "half a pixel" in text]
    assert note.startswith("1 file lies up to half a pixel beside") and "2.tif: if " in note
    for name, told in (
        ("1.tif", "its CRS is EPSG:32633, its partner's EPSG:32632"),
        ("0.tif", "differ by 3 pixels"),
    ):
        own = [one["problem"] for one in problems if one["file"] == str(tmp_path / "B" / name)]
        assert any(told in problem for problem in own), problems


def test_partners_that_lie_elsewhere_are_refused_by_name(radar: Path, trained: Path) -> None:
    """By what ``dataset check`` says, once each, by whatever reads the pairs; a side may be
    pictures that lie somewhere."""
    data = trained.parent / "apart"
    changes = {
        "0": {"crs": "EPSG:32633"},
        "1": {"transform": from_origin(600_000, 5_000_000, 10, 10)},
        "2": {"transform": from_origin(500_000, 5_000_000, 20, 20)},
        "3": {"crs": rasterio.crs.CRS()},
        "4": {"crs": WORDED_OTHERWISE, "transform": from_origin(500_005, 4_999_995, 10, 10)},
        "5": {"transform": from_origin(500_000.5, 5_000_000, 10, 10)},
    }
    for name, change in changes.items():
        write_raster(data / "A" / f"{name}.tif", rasters.make_radar(int(name)), ("VV", "VH"), GAP)
        colours = np.asarray(picture(SIDE, SIDE, int(name)))
        with rasterio.open(write_raster(data / "B" / f"{name}.tif", colours), "r+") as file:
            for key, value in change.items():
                setattr(file, key, value)
    words = set_keys(**RADAR, size=32)
    checked = json.loads(run("dataset", "check", data, *words, "--json").out)
    told = {Path(one["file"]).stem: one["problem"] for one in checked["problems"]}
    assert set(told) == {"0", "1", "2"} and len(checked["problems"]) == 3, checked["problems"]
    assert "its CRS is EPSG:32633, its partner's EPSG:32632" in told["0"]
    assert "differ by 1e+04 pixels" in told["1"] and "cut both to one grid" in told["2"]
    notes = [note for note in checked["notes"] if "no CRS" in note]
    assert len(notes) == 1 and "1 file has no CRS, and its partner has one" in notes[0]
    assert str(data / "B" / "3.tif") in notes[0]
    beside = f"1 file lies up to half a pixel beside its partner, such as {data / 'B' / '4.tif'}: "
    assert [note for note in checked["notes"] if note.startswith(beside)]
    with pytest.raises(InputError) as refused:
        open_data(data, small(**RADAR))
    model = trained / "model.safetensors"
    evaluated = run("evaluate", model, data, "--split", "all", "--device", "cpu")
    assert evaluated.code == 2 and not evaluated.out
    for name, problem in told.items():
        said = f"{data / 'B' / name}.tif: {problem}"
        assert said in str(refused.value) and said in evaluated.err
    for name in told:
        (data / "B" / f"{name}.tif").unlink()
        (data / "A" / f"{name}.tif").unlink()
    assert [note for note in open_data(data, small(**RADAR)).notes if note.startswith(beside)]


def test_what_cannot_be_measured_is_said(tmp_path: Path) -> None:
    for seed in range(2):
        write_raster(tmp_path / "A" / f"{seed}.tif", np.full((40, 40, 2), 7, np.float32))
        write_raster(tmp_path / "B" / f"{seed}.tif", np.ones((40, 40, 3), np.uint8))
    measured = {"type": "float32", "percentiles": [2, 98]}
    with pytest.raises(InputError, match="input_range: band 1: its percentiles are both 7"):
        open_data(tmp_path, small(in_channels=2, input_range=measured))
    for path in (tmp_path / "A").iterdir():
        write_raster(path, np.full((40, 40, 2), -7, np.float32))
    with pytest.raises(InputError, match="band 1: no training image has data above 0"):
        open_data(tmp_path, small(in_channels=2, input_range={**measured, "scale": "log"}))
    write_raster(tmp_path / "one" / "0.tif", np.ones((40, 80, 2), np.float32))
    with pytest.raises(InputError, match="rasters are not side by side"):
        open_data(tmp_path / "one", small(in_channels=2, input_range=measured, val_fraction=0))


def test_bands_are_chosen_by_number_and_name(tmp_path: Path) -> None:
    for seed in range(2):
        pixels = np.rint(rasters.soft(seed, 4) * 9999).astype(np.uint16)
        write_raster(tmp_path / "A" / f"{seed}.tif", pixels, ("B2", "B3", "B4", "B8"))
        write_raster(tmp_path / "B" / f"{seed}.tif", np.uint8(pixels[:, :, :3] // 40))
    chosen = {
        "type": "uint16",
        "low": 0,
        "high": 10_000,
        "bands": [4, {"name": "B2", "high": 500, "low": 0}],
    }
    data = open_data(tmp_path, small(in_channels=2, input_range=chosen, flip=False))
    pixels = np.rint(rasters.soft(int(data.train[0][0]), 4) * 9999).astype(np.uint16)
    assert np.array_equal(data.train[0][1], pixels[8:40, 8:40, [3, 0]])
    assert [band.high for band in data.ranges.input.bands] == [10_000, 500]
    with pytest.raises(InputError, match="has no band 'B9'"):
        wrong = {**chosen, "bands": [4, {"name": "B9"}]}
        open_data(tmp_path, small(in_channels=2, input_range=wrong))


# What people see


def test_pictures_of_rasters() -> None:
    side = ValueRange("uint16", (BandRange(0, 100), BandRange(0, 200), BandRange(0, 400)))
    pixels = np.array([[[0, 0, 0], [100, 100, 100], [50, 200, 500]]], np.uint16)
    assert show(pixels, side).tolist() == [[[0, 0, 0], [255, 128, 64], [128, 255, 255]]]
    assert show(pixels, side, (2, 1, 0))[0, 2].tolist() == [255, 255, 128]
    assert show(pixels, side, (0,))[0].tolist() == [[68, 1, 84], [253, 231, 37], [33, 144, 141]]
    valid = np.array([[True, False, True]])
    assert tuple(show(pixels, side, None, valid)[0, 1]) == NOTHING
    two = ValueRange("uint8", (BandRange(0, 255),) * 2)
    assert show(np.full((1, 1, 2), [255, 51], np.uint8), two)[0, 0].tolist() == [255, 51, 255]
    grey = np.full((1, 1, 1), 9, np.uint8)
    assert show(grey, eight_bits(1))[0, 0].tolist() == [9, 9, 9]


def test_an_image_without_data_is_refused_where_it_is_read(tmp_path: Path) -> None:
    data = rasters.make_radar_pairs(tmp_path, 2)
    given = {**RADAR["input_range"], "percentiles": None, "low": 1e-4, "high": 1}  # type: ignore[dict-item]
    opened = open_data(data, small(in_channels=2, input_range=given))
    for path in (data / "A").iterdir():
        write_raster(path, np.full((SIDE, SIDE, 2), GAP, np.float32), ("VV", "VH"), GAP)
    with pytest.raises(ImageError, match=r"A/.*holds no data"):
        opened.sample(0)


def test_pictures_that_gdal_does_not_read_are_no_problem(tmp_path: Path) -> None:
    """By their names they might be rasters."""
    for side in "AB":
        (tmp_path / side).mkdir()
        for k in range(2):
            image = Image.fromarray((rasters.soft(k, 3) * 255).astype(np.uint8))
            image.quantize(64).save(tmp_path / side / f"{k}.tif", format="GIF")
    found = json.loads(run("dataset", "check", tmp_path, *SMALL, "--json").out)
    assert found["problems"] == [] and "rasters" not in found
