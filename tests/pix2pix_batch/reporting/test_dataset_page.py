"""What the page says of a dataset beside its images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset.state import copy_of_manifest
from pix2pix_batch.reporting.dataset_page import NAMED, Dataset


def dataset(out: Path, header: dict[str, Any], rows: list[dict[str, Any]]) -> Dataset:
    path = copy_of_manifest(out)
    path.parent.mkdir()
    path.write_text("".join(json.dumps(line) + "\n" for line in [header, *rows]))
    return Dataset.of(out, header)


def row(name: str, split: str, *flags: str, **more: Any) -> dict[str, Any]:
    place = {"input": name, "file": f"{split}/images/{name}", "split": split}
    return {**place, "variant": 0, "flags": list(flags), **more}


def test_near_duplicates_in_another_split_are_told(tmp_path: Path) -> None:
    header = {"flagged": {"near-duplicate": 2, "flat": 1}, "rejected": {}}
    rows = [
        row("a.png", "train"),
        row("b.png", "val", "near-duplicate", near="a.png"),
        row("c.png", "train", "near-duplicate", "flat", near="a.png", row=7),
    ]
    near, flat = dataset(tmp_path, header, rows).flagged
    assert (near.flag, near.count) == ("near-duplicate", 2)
    assert near.named == [
        "val/images/b.png, near a.png in train",
        "train/images/c.png, row 7, near a.png",
    ]
    assert (flat.flag, flat.named) == ("flat", ["train/images/c.png, row 7"])


def test_of_many_the_first_are_named(tmp_path: Path) -> None:
    many = 2 * NAMED
    rejected = [{"rejected": f"{i:02d}.v0", "reason": "distance"} for i in range(many)]
    (found,) = dataset(tmp_path, {"rejected": {"distance": many}}, rejected).rejected
    assert found.count == many and found.named == [f"{i:02d}.v0" for i in range(NAMED)]


def test_a_manifest_that_is_gone_leaves_the_counts(tmp_path: Path) -> None:
    (found,) = Dataset.of(tmp_path, {"flagged": {"flat": 3}}).flagged
    assert (found.count, found.named) == (3, [])
