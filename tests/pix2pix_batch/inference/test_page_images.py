"""Pages of TIFF files through a worker's converter: each as a file of its own would be."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile

from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.metadata import tiff_pages
from pix2pix_batch.inference import large_images
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import ScanOptions
from pix2pix_batch.journal.record import Record
from tests.conftest import save_bundle
from tests.identity import save_identity, whole_range
from tests.pix2pix_batch.imaging.test_pages import draw_pages, write_pages
from tests.pix2pix_batch.inference.test_rasters import convert, draw, read, settings_of, write

pytestmark = pytest.mark.usefixtures("one_thread", "family")

SHAPES = ((70, 50), (64, 64), (40, 90))


def convert_pages(
    out: Path, model: Path, path: Path, form: str = "tiff", **values: Any
) -> dict[str, Record]:
    """What became of the pages, by name."""
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True, exist_ok=True)
    scan = open_inputs(str(path), ScanOptions(form, out, pages="all"))
    converter = Converter(settings_of(model, out=str(out), **values))
    converter.run(scan)
    assert not converter.fatal
    return {record.name: record for record in converter.records}


@pytest.mark.parametrize("in_memory", [True, False])
def test_pages_of_rasters_of_different_sizes(tmp_path: Path, in_memory: bool) -> None:
    """From the disk, and where the file's bytes are read for something else."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    drawn = draw_pages(*SHAPES)
    source = write_pages(tmp_path / "stack.tif", *drawn)
    records = convert_pages(tmp_path / "out", model, source, keep_exif=in_memory)
    assert [record.output for record in records.values()] == [
        "stack#1.tif", "stack#2.tif", "stack#3.tif",
    ]  # fmt: skip
    for number, pixels in enumerate(drawn, 1):
        record = records[f"stack.tif#{number}"]
        assert (record.status, record.warning) == ("done", "")
        made = read(tmp_path / "out" / record.output)[:, :, 0].astype(int)
        assert np.abs(made - pixels).max() <= 1


def test_pages_of_pictures_are_as_files_of_their_own(tmp_path: Path) -> None:
    """To the byte; of several pages the first alone is read with a warning."""
    model = save_bundle(tmp_path / "m.safetensors", norm="instance")
    drawn = draw_pages(*SHAPES, dtype="uint8")
    source = write_pages(tmp_path / "stack.tif", *drawn)
    records = convert_pages(tmp_path / "out", model, source, "png")
    for number, pixels in enumerate(drawn, 1):
        alone = write_pages(tmp_path / f"alone{number}.tif", pixels)
        convert(tmp_path / "alone", model, alone, form="png")
        assert (records[f"stack.tif#{number}"].status, records[f"stack.tif#{number}"].warning) == (
            "done", "",
        )  # fmt: skip
        one, other = tmp_path / "out" / f"stack#{number}.png", tmp_path / "alone"
        assert one.read_bytes() == (other / f"alone{number}.png").read_bytes()
    (first,) = convert(tmp_path / "first", model, source, form="png").values()
    assert first.warning.startswith("has 3 pages, of which the first is read")
    made = (tmp_path / "first" / "stack.png").read_bytes()
    assert made == (tmp_path / "out" / "stack#1.png").read_bytes()
    (strict,) = convert(
        tmp_path / "strict", model, source, form="png", tolerance=Tolerance(strict=True)
    ).values()
    assert "has 3 pages" in strict.reason and strict.reason.endswith("refused by --strict")


@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_damaged_later_page_fails_alone(tmp_path: Path, kind: str) -> None:
    """Its samples, its directory, or what leads on from it."""
    model = save_identity(tmp_path / "m.safetensors", whole_range(kind, 1))
    source = write_pages(tmp_path / "stack.tif", *draw_pages(*SHAPES, dtype=kind))
    data = bytearray(source.read_bytes())
    found = tiff_pages.list_pages(tiff_pages.reader_of(bytes(data)))
    with tifffile.TiffFile(source) as file:
        page = file.pages[1]
        assert isinstance(page, tifffile.TiffPage)
        place = page.tags["StripOffsets"].valueoffset
    struct.pack_into("<I", data, place, len(data) * 2)
    struct.pack_into("<I", data, found[2].end, len(data) + 2)
    source.write_bytes(data)
    records = convert_pages(tmp_path / "out", model, source)
    assert {name[-2:]: record.status for name, record in records.items()} == {
        "#1": "done", "#2": "failed", "#3": "done", "#4": "failed",
    }  # fmt: skip
    assert "damaged: page 4: its directory is cut off" in records["stack.tif#4"].reason
    assert all(record.stamp for record in records.values())


def test_masks_and_overviews_are_their_pages(tmp_path: Path) -> None:
    """As GDAL writes them: no items, and heeded."""
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1, nodata=7))
    mask = np.ones((96, 80), bool)
    mask[:, :30] = False
    source = write(
        tmp_path / "a.tif", draw((96, 80, 1)), mask=mask, tiled=True, blockxsize=16, blockysize=16,
        overviews=[2, 4],
    )  # fmt: skip
    assert tiff_pages.count_in(source.read_bytes()) == 1
    with tifffile.TiffFile(source) as file:
        assert len(file.pages) > 3
    (record,) = convert_pages(tmp_path / "out", model, source).values()
    assert (record.status, record.output) == ("done", "a.tif")
    with tifffile.TiffWriter(source, append=True) as file:
        file.write(draw((32, 40, 1))[:, :, 0], metadata=None)
    records = convert_pages(tmp_path / "out", model, source)
    assert records.keys() == {"a.tif#1", "a.tif#2"}
    with rasterio.open(tmp_path / "out" / "a#1.tif") as made:
        assert np.array_equal(made.dataset_mask() > 0, mask) and made.overviews(1) == [2, 4]
    with rasterio.open(tmp_path / "out" / "a#2.tif") as made:
        assert made.shape == (32, 40) and not made.overviews(1)


def test_a_page_that_does_not_fit_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    drawn = draw_pages((60, 60), (400, 90))
    source = write_pages(tmp_path / "stack.tif", *drawn)
    convert_pages(tmp_path / "held", model, source)
    monkeypatch.setattr(large_images, "WHOLE_RASTER", 60_000)
    convert_pages(tmp_path / "out", model, source)
    for number, pixels in enumerate(drawn, 1):
        one, other = (read(tmp_path / out / f"stack#{number}.tif") for out in ("held", "out"))
        assert np.array_equal(one, other) and one.shape[:2] == pixels.shape


def test_a_picture_s_page_over_the_bound_is_read_by_windows(tmp_path: Path) -> None:
    model = save_bundle(tmp_path / "m.safetensors", norm="instance", in_channels=1)
    drawn = draw_pages((600, 500), (70, 80), dtype="uint8")
    source = write_pages(tmp_path / "stack.tif", *drawn, drawn[0][::-1])
    held = convert_pages(tmp_path / "held", model, source)
    made = convert_pages(tmp_path / "out", model, source, tolerance=Tolerance(max_pixels=100_000))
    assert {record.status for record in (*held.values(), *made.values())} == {"done"}
    for number in (1, 2, 3):
        one, other = (read(tmp_path / out / f"stack#{number}.tif") for out in ("held", "out"))
        assert np.array_equal(one, other)


def test_variants_of_each_page_are_its_own(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    drawn = draw_pages((64, 64), (64, 64))
    source = write_pages(tmp_path / "stack.tif", *drawn)
    out = tmp_path / "out"
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    pages = list(open_inputs(str(source), ScanOptions("tiff", out, pages="all")))
    items = [
        replace(item, name=f"{item.name}/{k}", output=f"{item.page}.v{k}.tif", variant=k)
        for item in pages
        for k in (0, 1)
    ]
    converter = Converter(settings_of(model, out=str(out)))
    converter.run(items)
    assert [record.status for record in converter.records] == ["done"] * 4
    for page, pixels in enumerate(drawn, 1):
        for k in (0, 1):
            made = read(out / f"{page}.v{k}.tif")[:, :, 0].astype(int)
            assert np.abs(made - pixels).max() <= 1
