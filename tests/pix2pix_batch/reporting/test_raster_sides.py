"""Rasters on the report's page: by the model's value ranges, read reduced."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.execution.job_plan import plan_job
from pix2pix_batch.imaging.composite import NOTHING, VIRIDIS
from pix2pix_batch.journal.history import RANGES
from pix2pix_batch.journal.record import SCHEMA, Record, to_line
from pix2pix_batch.options import Options
from pix2pix_batch.reporting import html_page
from pix2pix_batch.reporting.raster_sides import READ, RasterSide, RasterSides
from pix2pix_batch.reporting.thumbnail import Thumbnail, thumbnails
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.value_ranges import BandRange, ValueRange
from tests.end_to_end.command import put
from tests.identity import identity_family, save_identity
from tests.train.rasters import write_raster

FOUR = ValueRange("uint16", tuple(BandRange(0, 1000, name=name) for name in ("B2", "B3", "B4", "")))
HEIGHT = ValueRange("float32", (BandRange(-100, 300),), -9999.0)


def see(made: Thumbnail | str, *places: tuple[int, int]) -> list[tuple[int, ...]]:
    """The colours at these rows and columns."""
    assert isinstance(made, Thumbnail), made
    picture = Image.open(io.BytesIO(base64.b64decode(made.uri.partition(",")[2]))).convert("RGB")
    pixels = np.asarray(picture, int)
    return [tuple(pixels[place].tolist()) for place in places]


def near(seen: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) < 12


def halves(left: Any, right: Any, bands: int, dtype: str) -> np.ndarray:
    """``(60, 100, bands)``."""
    made = np.empty((60, 100, bands), dtype)
    made[:, :50], made[:, 50:] = left, right
    return made


def test_rasters_are_shown_by_their_ranges(tmp_path: Path) -> None:
    """Red is the third band: its values are a hundredth of what 16 bits hold."""
    pixels = halves((0, 0, 1000, 7), (500, 500, 500, 7), 4, "uint16")
    tif, npy = str(tmp_path / "a.tif"), str(tmp_path / "a.npy")
    write_raster(Path(tif), pixels)
    np.save(npy, pixels)
    heights = str(tmp_path / "h.tif")
    write_raster(Path(heights), halves(300, -9999, 1, "float32"), nodata=-9999)
    sides = {tif: RasterSide(FOUR), npy: RasterSide(FOUR), heights: RasterSide(HEIGHT)}
    made = thumbnails(sides, 200_000, sides)
    for path in (tif, npy):
        left, right = see(made[path], (30, 20), (30, 80))
        assert near(left, (255, 0, 0)) and near(right, (128, 128, 128)), path
    left, right = see(made[heights], (30, 20), (30, 80))
    assert near(left, VIRIDIS[-1]) and near(right, NOTHING)


def test_a_picture_in_a_file_for_rasters_is_shown(tmp_path: Path) -> None:
    path = str(tmp_path / "a.npy")
    np.save(path, halves((200, 30, 30), (0, 0, 255), 3, "uint8"))
    side = RasterSides({}).find_input(path)
    assert side is not None
    (made,) = thumbnails([path], 100_000, {path: side}).values()
    left, right = see(made, (30, 20), (30, 80))
    assert near(left, (200, 30, 30)) and near(right, (0, 0, 255))


@pytest.mark.parametrize("overviews", [(), (2, 4)])
def test_large_ones_are_read_reduced(tmp_path: Path, overviews: tuple[int, ...]) -> None:
    rasterio = pytest.importorskip("rasterio")
    path = str(tmp_path / "a.tif")
    pixels = np.full((4 * READ, 100, 4), 500, np.uint16)
    write_raster(Path(path), pixels)
    with rasterio.open(path, "r+") as file:
        file.build_overviews(list(overviews))
    side = RasterSide(FOUR)
    shown, width, height = side.read(path)
    assert (width, height) == (100, 4 * READ) and shown.shape == (READ, 25, 3)
    assert side.count_pixels(path) == pixels.nbytes // (4 if overviews else 1) ** 2 // 3


@pytest.mark.parametrize(
    "told", [None, 3, {"input": 3}, {"input": {"dtype": "uint16", "bands": [{"low": 900}]}}]
)
def test_a_job_line_that_was_edited_is_of_pictures(told: object) -> None:
    sides = RasterSides({RANGES: told, "bands": 3})
    assert sides.find_input("a.tif") is None and sides.find_output("a.png") is None
    assert sides.list_legends() == [] and sides.describe() == {}


def test_the_page_shows_them_and_says_how(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for folder in (source, out / DIRECTORY / "tmp"):
        folder.mkdir(parents=True)
    write_raster(source / "a.tif", halves((0, 0, 900, 7), 500, 4, "uint16"))
    write_raster(out / "a.tif", halves(10, 20, 1, "float32"))
    ranges = {"input": FOUR.as_dict(), "output": HEIGHT.as_dict()}
    job = {"schema": SCHEMA, "input": str(source), RANGES: ranges}
    lines = [to_line(job), Record("a.tif", "done", "1:1", "a.tif").line()]
    (out / DIRECTORY / "journal.jsonl").write_bytes(b"".join(lines))
    text = html_page.write(out).read_text()
    assert text.count("data:image/webp") == 2 and text.count("data:image/png") == 1
    assert "Inputs: B4, B3, B2 as red, green and blue of 4 bands, each 0 to 1000." in text
    assert "Outputs: -100" in text and "no data -9999" in text


def test_a_job_tells_its_ranges_where_they_are_no_pictures(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.png")
    with identity_family():
        for side in (None, FOUR):
            model = save_identity(tmp_path / "m.safetensors", side)
            options = Options(model=str(model), format="tiff")
            told = plan_job(str(tmp_path / "in"), str(tmp_path / "out"), options).identity
            sides = RasterSides(told)
            assert (sides.input, sides.output) == (side, side)
            assert (RANGES in told) == (side is not None)
