"""What failed is tried again by the next run where it could go well then, else when asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import convert, journal, put, records

pytestmark = pytest.mark.usefixtures("workers")


def tries(out: Path, name: str) -> int:
    """How often the journal has a record of an input."""
    return sum(line.get("name") == name for line in journal(out))


def test_a_damaged_image_is_left_alone_until_it_changes(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    broken = source / "broken.png"
    broken.write_bytes(b"no image")
    assert convert(source, out, tiny).counts() == (1, 0, 1)

    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts(), ran.figures["failed_before"]) == (3, 0, 1, 0, 1)
    assert "1 input failed before and did not change since" in ran.err
    assert "--retry-failed" in ran.err
    assert tries(out, "broken.png") == 1
    ran = convert(source, out, tiny, "--dry-run")
    assert (ran.code, *ran.counts(), ran.figures["failed_before"]) == (0, 0, 1, 0, 1)

    ran = convert(source, out, tiny, "--retry-failed")
    assert (ran.code, *ran.counts(), ran.figures["failed_before"]) == (3, 0, 1, 1, 0)
    assert tries(out, "broken.png") == 2

    put(broken)
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (0, 1, 1, 0)


def test_what_was_in_the_way_is_tried_again(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    put(source / "taken.png")
    listed = tmp_path / "list.txt"
    listed.write_text("in/a.png\nin/taken.png\nin/late.png\n")
    theirs = put(out / "in" / "taken.png", seed=9)
    ran = convert(f"@{listed}", out, tiny, "--workers", 1, cwd=tmp_path)
    assert ran.counts() == (1, 0, 2)
    assert "Run again to retry them." in ran.err
    assert "stamp" not in records(out)["in/late.png"]

    put(source / "late.png")
    ran = convert(f"@{listed}", out, tiny, cwd=tmp_path)
    assert (ran.code, *ran.counts()) == (3, 1, 1, 1)
    theirs.unlink()
    ran = convert(f"@{listed}", out, tiny, cwd=tmp_path)
    assert (ran.code, *ran.counts()) == (0, 1, 2, 0)
