"""What groups and strata are taken from: folders, patterns, tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2pix_batch.errors import InputError
from pix2pix_batch.synthesis.labels import labeller


def test_folders_and_patterns() -> None:
    folder = labeller("folder", "stratify")
    assert [folder(name) for name in ("a/b/c.png", "a.png")] == ["a/b", ""]
    group = labeller(r"(scene\d+)_", "group-by")
    assert [group(name) for name in ("x/scene12_a.png", "x/scene12_b.png", "other.png")] == [
        "scene12", "scene12", "other.png",
    ]  # fmt: skip
    assert labeller(r"^\w+", "group-by")("tile-7.png") == "tile"


def test_tables(tmp_path: Path) -> None:
    table = tmp_path / "inputs.csv"
    table.write_text("﻿name,place\na.png,north\nb/c.png,south\n", encoding="utf-8")
    label = labeller(f"{table}:place", "group-by")
    assert (label("a.png"), label("b/c.png")) == ("north", "south")
    with pytest.raises(InputError, match=r"--group-by: .*inputs\.csv: has no row for d\.png"):
        label("d.png")
    with pytest.raises(InputError, match=r"must name the columns name and region"):
        labeller(f"{table}:region", "group-by")
    with pytest.raises(InputError, match=r"absent\.csv: cannot be read"):
        labeller(f"{tmp_path}/absent.csv:place", "group-by")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, encoding: str) -> None:
    """Semicolons, names as Windows and macOS have them, other case of the heading."""
    table = tmp_path / "inputs.csv"
    rows = ("Name;Place", ".\\a.png;north", "b\\é.png; south")
    table.write_bytes("\r\n".join(rows).encode(encoding))
    label = labeller(f"{table}:place", "stratify")
    assert [label(name) for name in ("a.png", "b/é.png", "b/e\u0301.png")] == [
        "north", "south", "south",
    ]  # fmt: skip


def test_rows_that_contradict_each_other(tmp_path: Path) -> None:
    table = tmp_path / "inputs.csv"
    table.write_text("name,place\na.png,north\na.png,north\nb.png,east\n")
    assert labeller(f"{table}:place", "group-by")("b.png") == "east"
    table.write_text("name,place\na.png,north\n./a.png,south\n")
    with pytest.raises(InputError, match=r"line 3 has \./a\.png again, with another place"):
        labeller(f"{table}:place", "group-by")
    table.write_text("name,place,Place\na.png,north,south\n")
    with pytest.raises(InputError, match="has the column place twice"):
        labeller(f"{table}:place", "group-by")


def test_what_is_no_pattern() -> None:
    with pytest.raises(InputError, match=r"--stratify '\(': is no pattern"):
        labeller("(", "stratify")
