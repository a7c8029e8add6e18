"""What groups and strata are taken from: folders, patterns, tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2pix_batch.dataset.labels import labeller
from pix2pix_batch.errors import InputError


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
    with pytest.raises(InputError, match=r"inputs\.csv: has no column 'region'"):
        labeller(f"{table}:region", "group-by")
    with pytest.raises(InputError, match=r"absent\.csv: cannot be read"):
        labeller(f"{tmp_path}/absent.csv:place", "group-by")


def test_what_is_no_pattern() -> None:
    with pytest.raises(InputError, match=r"--stratify '\(': is no pattern"):
        labeller("(", "stratify")
