"""Pages of TIFF files, from the command to its report."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.command import convert, here, put, records, visible
from tests.pix2pix_batch.imaging.test_pages import draw_pages, write_pages

pytestmark = pytest.mark.usefixtures("workers")


def test_pages_are_converted_resumed_verified_and_shown(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "in"
    put(folder / "one.png")
    put(folder / "stack#2.png")
    write_pages(folder / "stack.tif", *draw_pages((64, 70), (30, 90), (64, 64), dtype="uint8"))
    dry = here("convert", folder, tmp_path / "out", "--model", tiny, "--pages", "all", "--dry-run")
    assert f"{folder}/stack.tif#3 -> {tmp_path}/out/stack#3.png" in dry.out
    first = convert(folder, tmp_path / "out", tiny, "--no-report")
    assert first.counts() == (3, 0, 0) and "has 3 pages, of which the first is read" in first.err
    before = visible(tmp_path / "out")["stack.png"].read_bytes()
    ran = convert(folder, tmp_path / "out", tiny, "--pages", "all")  # the same job goes on
    assert ran.counts() == (3, 2, 0) and "of which the first" not in ran.err
    pages = {f"stack.tif#{number}": f"stack#{number}.png" for number in (1, 3)}
    made = {name: record["output"] for name, record in records(tmp_path / "out").items()}
    assert made.items() >= pages.items()
    assert made["stack#2.png"] == "stack#2.png", "it keeps the name that it has"
    assert made["stack.tif#2"] == "stack.tif#2.png"
    assert (tmp_path / "out" / "stack#1.png").read_bytes() == before
    assert convert(folder, tmp_path / "out", tiny, "--pages", "all").counts() == (0, 5, 0)
    verified = here("status", tmp_path / "out", "--verify", "--json")
    assert verified.code == 0 and verified.figures["verified"]["wrong"] == 0
    html = (tmp_path / "out" / "report.html").read_text()
    assert "gone since" not in html and html.count("data:image/webp") >= 10
    assert len(re.findall(r'href="[^"]*in/stack\.tif"', html)) >= 3


def test_a_list_of_pages_and_one_that_is_not_there(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "in").mkdir()
    write_pages(tmp_path / "in" / "s.tif", *draw_pages((64, 70), (30, 90), dtype="uint8"))
    (tmp_path / "list").write_text("in/s.tif#2\nin/s.tif#3\n")
    ran = convert(f"@{tmp_path / 'list'}", tmp_path / "out", tiny, cwd=tmp_path)
    assert ran.counts() == (1, 0, 1) and "has 2 pages, and no page 3" in ran.err
    assert (tmp_path / "out" / "in" / "s#2.png").exists()
    again = convert(f"@{tmp_path / 'list'}", tmp_path / "out", tiny, cwd=tmp_path)
    assert again.counts() == (0, 1, 0) and again.figures["failed_before"] == 1
    write_pages(tmp_path / "in" / "s.tif", *draw_pages((64, 70), (30, 90), (5, 5), dtype="uint8"))
    os.utime(tmp_path / "in" / "s.tif", (1, 1))
    assert convert(f"@{tmp_path / 'list'}", tmp_path / "out", tiny, cwd=tmp_path).counts()[0] == 2


def test_variants_of_pages(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    drawn = [np.repeat(one[:, :, None], 3, 2) for one in draw_pages((64, 64), (64, 64))]
    write_pages(folder / "s.tif", *((one >> 8).astype(np.uint8) for one in drawn))
    ran = here(
        "synthesize", folder, tmp_path / "out", "--model", model, "--variants", 2, "--pages", "all",
        "--workers", 1, "--precision", "fp32", "--no-report",
    )  # fmt: skip
    assert ran.code == 0, ran
    made = sorted(path.name for path in (tmp_path / "out" / "train" / "images").iterdir())
    assert made == ["s#1.v0.png", "s#1.v1.png", "s#2.v0.png", "s#2.v1.png"]
    assert len(list((tmp_path / "out" / "train" / "inputs").iterdir())) == 2
