"""``convert --dry-run``: what it lists, and that it writes nothing."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from filelock import FileLock

from tests.end_to_end.command import convert, error_of, everything, here, put

pytestmark = pytest.mark.usefixtures("workers")


def test_dry_run_lists_and_writes_nothing(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "b.jpg", "b.png", "sub/c.png", "sub/new\nline.png"):
        put(source / name)
    (tmp_path / "list.txt").write_text("in/b.jpg\n./in/sub/c.png\n\n")

    def list_planned(what: str, *more: str) -> list[str]:
        ran = here(
            *("convert", what, out, "--model", tiny, "--format", "webp", "--dry-run", *more),
            cwd=tmp_path,
        )
        assert ran.code == 0, ran.err
        lines = [line.replace(f"{out}{os.sep}", "") for line in ran.out.splitlines()]
        assert f"{len(lines)} image{'s' * (len(lines) != 1)} would be converted, 0 are" in ran.err
        return lines

    whole = [
        "in/a.png -> a.webp",
        "in/b.jpg -> b.jpg.webp",
        "in/b.png -> b.png.webp",
        "in/sub/c.png -> sub/c.webp",
        "in/sub/new\\nline.png -> sub/new\\nline.webp",
    ]
    before = everything(tmp_path)
    assert list_planned("in") == whole
    assert list_planned("in", "--limit", "2") == whole[:2]
    assert list_planned("in/**/*.png") == [
        "in/a.png -> a.webp",
        "in/b.png -> b.webp",
        *whole[3:],
    ]
    assert list_planned("in/s*/c.png") == ["in/sub/c.png -> sub/c.webp"]
    assert list_planned("in/b.jpg") == ["in/b.jpg -> b.webp"]
    assert list_planned("@list.txt") == ["in/b.jpg -> in/b.webp", "./in/sub/c.png -> in/sub/c.webp"]
    ran = convert("in", out, tiny, "--dry-run", cwd=tmp_path)
    assert [ran.figures[name] for name in ("total", "planned", "renamed")] == [5, 5, 2]
    assert not out.exists()
    assert everything(tmp_path) == before
    (tmp_path / "file").touch()
    ran = here("convert", "in", "file", "--model", tiny, "--dry-run", cwd=tmp_path)
    assert (ran.code, "is a file; OUT must be a directory" in error_of(ran)) == (2, True)

    out.mkdir()
    (out / "a.webp").write_bytes(b"precious")
    assert list_planned("in") == whole[1:]
    assert list_planned("in", "--overwrite") == whole
    assert everything(out).keys() == {out / "a.webp"}


def test_dry_run_says_what_would_become_of_all(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    assert convert(source, out, tiny).code == 0
    put(source / "b.png")
    put(source / "c.png")
    (source / "nowhere.png").symlink_to("absent.png")
    (source / "notes.txt").touch()
    (out / "c.png").write_bytes(b"precious")
    ran = convert(source, out, tiny, "--dry-run")
    assert ran.code == 0, ran.err
    names = ("total", "planned", "converted", "skipped", "failed", "ignored")
    assert [ran.figures[name] for name in names] == [4, 1, 0, 1, 2, 1]
    reasons = {failure["name"]: failure["reason"] for failure in ran.figures["failures"]}
    assert "its output exists" in reasons["c.png"]
    assert "is a link to absent.png" in reasons["nowhere.png"]
    assert "1 image would be converted, 1 are done, 2 would fail" in ran.err
    assert "would fail: c.png: its output exists" in ran.err
    assert "  notes.txt" in ran.err.splitlines()
    ran = convert(source, out, tiny, "--workers", 1)
    assert (ran.code, *ran.counts()) == (3, 1, 1, 2), ran.err


def test_dry_run_beside_a_journal_changes_nothing(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    assert convert(source, out, tiny).code == 0
    put(source / "b.png")
    kept = out / ".pix2pix-batch"
    (kept / "tmp" / "in-the-making").write_bytes(b"half an image")
    with (kept / "journal.jsonl").open("ab") as file:
        file.write(b'{"name": "b.png", "sta')  # a run is writing it just now
    before = everything(out)
    with FileLock(kept / "lock"):
        ran = here("convert", source, out, "--model", tiny, "--dry-run")
        (kept / "lock").unlink()
        (kept / "tmp" / "in-the-making").unlink()
        (kept / "tmp").rmdir()
        bare = here("convert", source, out, "--model", tiny, "--dry-run")
        assert not (kept / "lock").exists()
        assert not (kept / "tmp").exists()
    assert ran.code == bare.code == 0, ran.err
    assert ran.out == bare.out == f"{source / 'b.png'} -> {out / 'b.png'}\n"
    assert "1 image would be converted, 1 are done" in ran.err
    assert everything(out).items() <= before.items()
    ran = here("convert", source, out, "--model", tiny, "--dry-run", "--format", "jpg")
    assert ran.code == 2
    assert "format was 'png', now 'jpg'" in error_of(ran)


def test_dry_run_counts_tars(tmp_path: Path, tiny: Path) -> None:
    """Whose images it does not read."""
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "a.tar", "w"):
        pass
    ran = here("convert", tmp_path / "in", tmp_path / "out", "--model", tiny, "--dry-run")
    assert (ran.code, "1 tar would be converted, 0 are done" in ran.err) == (0, True), ran.err


def test_dry_run_lists_all(tmp_path: Path, tiny: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(1500):
        (source / f"{number:04}.png").write_bytes(b"x")
    ran = here("convert", source, tmp_path / "out", "--model", tiny, "--dry-run")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1500
