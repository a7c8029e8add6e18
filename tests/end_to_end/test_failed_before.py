"""What failed is tried again by the next run where it could go well then, else when asked to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.command import convert, here, journal, put, records, with_wrong_text, words

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


def test_what_was_made_before_is_not_taken_for_todays(tmp_path: Path, model: Path) -> None:
    """Outputs of inputs that fail now, or that options given now refuse, stay and are named."""
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "changes.png")
    put(source / "small.png", size=(20, 20))
    (source / "warned.png").write_bytes(with_wrong_text())
    put(source / "large.png", size=(80, 80))
    ran = convert(source, out, model, "--max-pixels", 5000)
    assert ran.counts() == (3, 0, 1)
    assert (ran.figures["unmeasured"], ran.figures["outdated"]) == (1, 0)
    assert "too small): how far from the training inputs is not known:\n  small.png\n" in ran.err
    assert "not measured (too small)" in (out / "report.html").read_text()

    old = (out / "changes.png").read_bytes()
    (source / "changes.png").write_bytes(b"no image")
    ran = convert(source, out, model, "--strict")
    assert ran.counts() == (1, 2, 1), "with another --max-pixels the large one is tried again"
    assert (ran.figures["outdated"], ran.figures["warned_before"]) == (1, 1)
    lines = ran.err.splitlines()
    told = "1 output is outdated: made before, of an input that now fails. Nothing is removed; "
    (at,) = [number for number, line in enumerate(lines) if line.startswith(told)]
    assert lines[at + 1] == "  changes.png"
    (at,) = [number for number, line in enumerate(lines) if "--strict would refuse" in line]
    assert lines[at].startswith("1 output made by earlier runs") and lines[at + 1] == "  warned.png"
    assert (out / "changes.png").read_bytes() == old
    assert records(out)["changes.png"]["outdated"] == "changes.png"

    again = here(*words(source, out, model, "--dry-run"))
    assert (again.figures["outdated"], again.figures["failed_before"]) == (1, 1)
    ran = here("status", out, "--verify", "--json")
    verified = ran.figures["verified"]
    assert (ran.code, verified["wrong"], verified["outdated"]) == (3, 0, 1)
    assert verified["outdated_outputs"] == ["changes.png"]
    (out / "changes.png").unlink()
    ran = here("status", out, "--verify")
    assert ran.code == 0 and ran.out.endswith("3 outputs checked, 0 wrong\n"), ran


def test_what_is_empty_or_leads_nowhere_is_told_before_a_run(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    (source / "none.png").touch()
    (source / "away.png").symlink_to("gone.png")
    (source / "round.png").symlink_to("round.png")
    ran = here(*words(source, out, tiny, "--dry-run"))
    assert (ran.figures["planned"], ran.figures["failed"]) == (1, 3)
    assert {one["name"]: one["reason"] for one in ran.figures["failures"]} == {
        "none.png": "the file is empty",
        "away.png": "is a link to gone.png, which is not there; mend or remove it",
        "round.png": "is a link that leads in a circle, by round.png; mend or remove it",
    }
