"""What tells that the data is no longer that of a run."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.train import signature
from pix2pix_batch.train.signature import BLOCK, Part

SIZES = (10, 3 * BLOCK, 50 * BLOCK + 7)


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    """Files of several sizes, of random bytes."""
    random = np.random.default_rng(0)
    found = []
    for number, size in enumerate(SIZES):
        file = tmp_path / "data" / f"{number}.bin"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(random.bytes(size))
        found.append(Part((str(number), "train"), (file,)))
    return found


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(bytes(content))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_every_byte_of_small_data_counts(parts: list[Part], data: st.DataObject) -> None:
    before = signature.data_signature(parts)
    (file,) = parts[data.draw(st.integers(0, 2))].files
    place = data.draw(st.integers(0, file.stat().st_size - 1))
    flip(file, place)
    assert signature.data_signature(parts) != before
    flip(file, place)
    assert signature.data_signature(parts) == before


def test_names_splits_and_the_division_into_files_count(parts: list[Part]) -> None:
    (one, _), (two, _), rest = parts[0], parts[1], parts[2]
    seen = {signature.data_signature(parts)}
    seen.add(signature.data_signature([Part(("x", one[1]), parts[0].files), parts[1], rest]))
    seen.add(signature.data_signature([Part((one[0], "val"), parts[0].files), parts[1], rest]))
    seen.add(signature.data_signature([parts[1], parts[0], rest]))
    seen.add(signature.data_signature([Part(two, parts[0].files + parts[1].files), rest]))
    seen.add(signature.data_signature(parts[:2]))
    assert len(seen) == 6


def test_a_copy_elsewhere_is_the_same_data(parts: list[Part], tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    copies = [Part(p.words, tuple(tmp_path / "copy" / f.name for f in p.files)) for p in parts]
    assert signature.data_signature(copies) == signature.data_signature(parts)


def test_of_large_data_both_ends_and_some_between_count(parts: list[Part]) -> None:
    """A budget of 30 blocks is 10 a file: the two smaller ones whole, a fifth of the largest."""
    budget = 30 * BLOCK
    (file,) = parts[2].files
    before = signature.data_signature(parts, budget)
    noticed = []
    for place in range(0, SIZES[2], BLOCK // 2):
        flip(file, place)
        noticed.append(signature.data_signature(parts, budget) != before)
        flip(file, place)
    assert noticed[0] and noticed[-1]
    assert 0.15 < np.mean(noticed) < 0.25
    flip(parts[1].files[0], BLOCK + 1)
    assert signature.data_signature(parts, budget) != before


def test_a_file_that_is_gone_is_named(parts: list[Part]) -> None:
    (file,) = parts[1].files
    file.unlink()
    with pytest.raises(InputError, match=r"1\.bin: cannot be read \(No such file"):
        signature.data_signature(parts)


def test_a_vrt_has_the_contents_of_the_files_that_it_names(tmp_path: Path) -> None:
    mosaic, tile = tmp_path / "all.vrt", tmp_path / "tile.tif"
    mosaic.write_text('<VRTDataset><SourceFilename relativeToVRT="1">tile.tif</SourceFilename>')
    seen = set()
    for content in (b"1", b"2"):
        tile.write_bytes(content)
        seen.add(signature.data_signature([Part(("x", "train"), (mosaic,))]))
    assert len(seen) == 2
    tile.write_bytes(b"1")  # at another time
    assert signature.data_signature([Part(("x", "train"), (mosaic,))]) in seen


def test_what_lies_beside_a_raster_counts(tmp_path: Path) -> None:
    raster, mask, header = (tmp_path / name for name in ("a.tif", "a.tif.msk", "a.tif.aux.xml"))
    raster.write_bytes(b"1")
    parts = [Part(("x", "train"), (raster,))]
    seen = [signature.data_signature(parts)]
    mask.write_bytes(b"1")
    seen.append(signature.data_signature(parts))
    header.write_text("<NoDataValue>0</NoDataValue>")
    seen.append(signature.data_signature(parts))
    assert len(set(seen)) == 3
