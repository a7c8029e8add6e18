"""Rasters beside what a model makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.composite import NOTHING
from pix2pix_batch.reporting.contact_sheet import CELL
from pix2pix_batch.reporting.preview import preview
from tests.identity import save_identity, whole_range

pytestmark = pytest.mark.usefixtures("one_thread", "family")


def count_grey(path: Path) -> int:
    """Pixels of the picture that show that there is no data."""
    return int((np.asarray(Image.open(path).convert("RGB")) == NOTHING).all(axis=2).sum())


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_what_has_no_data_is_grey_on_both_sides(tmp_path: Path, dtype: str) -> None:
    nodata = 0.0 if dtype == "uint16" else None
    side = whole_range(dtype, 3, nodata)
    model = save_identity(tmp_path / "m.safetensors", side)
    pixels = np.full((CELL, CELL, 3), 9000, dtype)
    pixels[:40] = 0 if nodata is not None else np.nan
    np.save(tmp_path / "a.npy", pixels)
    made = preview(str(model), [str(tmp_path / "a.npy")], tmp_path / "p.png", device="cpu")
    assert not made.failures
    assert abs(count_grey(tmp_path / "p.png") - 2 * 40 * CELL) < CELL  # and edges of the text


def test_pages_and_bands_are_taken_as_convert_takes_them(tmp_path: Path) -> None:
    model = save_identity(tmp_path / "m.safetensors", whole_range("uint16", 1))
    stack, array = tmp_path / "s.tif", tmp_path / "a.npy"
    with tifffile.TiffWriter(stack) as file:
        for value in (0, 65_535):
            file.write(np.full((70, 70), value, np.uint16))
    np.save(array, np.stack([np.full((70, 70), value, np.uint16) for value in (0, 65_535)], axis=2))
    pictures = []
    for name, bands in ((f"{stack}#2", None), (str(array), "2"), (str(stack), None)):
        out = tmp_path / f"{len(pictures)}.png"
        made = preview(str(model), [name], out, bands=bands, device="cpu")
        assert not made.failures
        # a stack of which the first page is taken is told, as convert tells it
        assert [path for path, _ in made.warnings] == ([name] if name == str(stack) else [])
        pictures.append(np.asarray(Image.open(out).convert("RGB")))
    rows = slice(40, 90)  # below the title, which is the name
    assert np.array_equal(pictures[0][rows], pictures[1][rows])
    assert not np.array_equal(pictures[0][rows], pictures[2][rows])


def test_wrong_bands_and_pages_are_refused(tmp_path: Path) -> None:
    model = str(save_identity(tmp_path / "m.safetensors", whole_range("uint16", 2)))
    stack = tmp_path / "s.tif"
    tifffile.imwrite(stack, np.zeros((70, 70), np.uint16))
    for name, bands, said in (
        (str(stack), "1", "--bands names 1 band, and the model takes 2"),
        (str(stack), "0,1", "counted from 1"),
        (str(stack), ",", "--bands names none"),
        (f"{stack}#0", None, "pages are counted from 1"),
    ):
        with pytest.raises(InputError, match=said):
            preview(model, [name], tmp_path / "p.png", bands=bands)
