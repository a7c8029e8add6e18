"""``OUT/report.html`` as the commands leave it; what is on it is tested with the library."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.end_to_end.command import convert, error_of, everything, here, journal, put, small_disk

pytestmark = pytest.mark.usefixtures("workers")


def test_a_job_leaves_its_report(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in/a.png")
    (tmp_path / "in/bad.png").write_bytes(b"none")
    page = tmp_path / "out/report.html"
    ran = convert(tmp_path / "in", tmp_path / "out", tiny)
    assert ran.code == 3
    assert f"report: {page}" in ran.err.splitlines()
    text = page.read_text()
    assert "a.png" in text and "bad.png" in text and "Made by tiny" in text
    assert "<b>1</b>converted" in text and "<b>1</b>failed" in text
    assert "Not finished" not in text


def test_report_writes_it_again(tmp_path: Path, tiny: Path) -> None:
    """To the same bytes."""
    put(tmp_path / "in/a.png")
    convert(tmp_path / "in", tmp_path / "out", tiny)
    page = tmp_path / "out/report.html"
    before = page.read_bytes()
    page.unlink()
    ran = here("report", "out", cwd=tmp_path)
    assert (ran.code, ran.out, ran.err) == (0, "out/report.html\n", "")
    assert page.read_bytes() == before


def test_where_nothing_was_done_it_stays(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in/a.png")
    convert(tmp_path / "in", tmp_path / "out", tiny)
    before = (tmp_path / "out/report.html").stat().st_mtime_ns
    ran = convert(tmp_path / "in", tmp_path / "out", tiny)
    assert ran.counts() == (0, 1, 0)
    assert "report: " in ran.err
    assert (tmp_path / "out/report.html").stat().st_mtime_ns == before
    put(tmp_path / "in/b.png", seed=1)
    convert(tmp_path / "in", tmp_path / "out", tiny)
    assert "b.png" in (tmp_path / "out/report.html").read_text()


def test_no_report(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in/a.png")
    ran = convert(tmp_path / "in", tmp_path / "out", tiny, "--no-report")
    assert ran.code == 0 and "report" not in ran.err
    assert not (tmp_path / "out/report.html").exists()


def test_a_dry_run_leaves_none(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in/a.png")
    convert(tmp_path / "in", tmp_path / "out", tiny, "--no-report")
    before = everything(tmp_path / "out")
    assert convert(tmp_path / "in", tmp_path / "out", tiny, "--dry-run").code == 0
    assert everything(tmp_path / "out") == before


def test_what_is_wrong_with_the_report_is_no_fault_of_the_job(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in/a.png")
    (tmp_path / "out").mkdir()
    own = tmp_path / "out/report.html"
    own.write_text("my own")
    ran = convert(tmp_path / "in", tmp_path / "out", tiny)
    assert ran.code == 0
    assert f"note: no report: {own}: is there and not of this program; move it away" in ran.err
    assert own.read_text() == "my own"
    ran = here("report", tmp_path / "out")
    assert ran.code == 2 and "not of this program" in error_of(ran)
    own.unlink()
    own.mkdir()
    ran = here("report", tmp_path / "out")
    assert ran.code == 2 and "cannot be read (Is a directory)" in error_of(ran)


def test_a_report_for_which_there_is_no_room_is_a_note(tmp_path: Path, tiny: Path) -> None:
    for seed in range(6):
        put(tmp_path / f"in/{seed}.png", seed=seed, size=(192, 192))
    with small_disk(tmp_path, "4m") as disk:
        out = disk / "out"
        assert convert(tmp_path / "in", out, tiny, "--no-report").code == 0
        free = shutil.disk_usage(disk).free
        (disk / "filler").write_bytes(os.urandom(free - 16384))
        put(tmp_path / "in/0.png", size=(8, 8))
        ran = convert(tmp_path / "in", out, tiny)
        assert ran.counts() == (1, 5, 0)
        assert ran.code == 0, ran.err
        assert "note: no report: " in ran.err and "make room" in ran.err
        assert not (out / "report.html").exists()
        ran = here("report", out)
        assert ran.code == 3 and "make room" in error_of(ran)
        assert list((out / ".pix2pix-batch/tmp").iterdir()) == []
        (disk / "filler").unlink()
        assert here("report", out).code == 0


def test_a_directory_without_a_job_has_no_report(tmp_path: Path) -> None:
    ran = here("report", tmp_path)
    assert ran.code == 2
    assert "holds no journal" in error_of(ran)
    ran = here("report", tmp_path / "none")
    assert ran.code == 2
    assert not (tmp_path / "none").exists()


def test_an_out_that_was_moved_still_has_its_report(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in/a.png")
    convert(tmp_path / "in", tmp_path / "out", tiny)
    assert len([line for line in journal(tmp_path / "out") if line.get("status")]) == 1
    (tmp_path / "out").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "in")
    ran = here("report", tmp_path / "moved")
    assert ran.code == 0
    text = (tmp_path / "moved/report.html").read_text()
    assert "input: gone since" in text and text.count("data:image/webp") == 1
