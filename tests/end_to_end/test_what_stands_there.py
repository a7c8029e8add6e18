"""A file where a directory should be, a directory in a file's place, what was removed: each command
says so in one line, or does without."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pix2pix_batch.synthesis import synthesize as synthesis
from pix2pix_batch.synthesis.synthesize import Synthesis
from tests.end_to_end.command import Argument, Ran, convert, here, one_worker, put
from tests.end_to_end.synthesizing import synthesize


@pytest.fixture(scope="module", autouse=True)
def shared_worker() -> Iterator[None]:
    with one_worker():
        yield


def harm(path: Path, how: str) -> None:
    """Put something else in the place of a file or directory, or nothing."""
    was_directory = path.is_dir()
    if was_directory:
        shutil.rmtree(path)
    else:
        path.unlink()
    if how == "swapped" and was_directory:
        path.write_text("x")
    elif how == "swapped":
        path.mkdir()
    elif how == "linked to itself":
        path.symlink_to(path.name)


HOW = ("swapped", "gone", "linked to itself")


def require_told(ran: Ran, *what: Argument) -> None:
    assert ran.code in (0, 2, 3), (what, ran)
    if ran.code == 2 or (ran.code == 3 and not ran.out):
        assert ran.err.startswith("error: ") and len(ran.err.splitlines()) <= 2, (what, ran.err)


@pytest.mark.parametrize("how", HOW)
def test_whatever_stands_in_the_output_of_convert(tmp_path: Path, tiny: Path, how: str) -> None:
    put(tmp_path / "in" / "a.png")
    made = tmp_path / "made"
    assert convert(tmp_path / "in", made, tiny).code == 0
    out = tmp_path / "out"
    for inside in sorted(path.relative_to(made) for path in (made, *made.rglob("*"))):
        for words in (["status", out], ["status", out, "--verify"], ["report", out]):
            shutil.copytree(made, out)
            harm(out / inside, how)
            require_told(here(*words), how, inside, *words)
            harm(out, "gone") if out.is_dir() and not out.is_symlink() else out.unlink(True)


@pytest.mark.parametrize("how", HOW)
def test_whatever_stands_where_a_dataset_is(tmp_path: Path, tiny: Path, how: str) -> None:
    put(tmp_path / "in" / "a.png")
    more = ("--variants", 2, "--noise-blocks", 2)
    made = tmp_path / "made"
    ran = synthesize(tmp_path / "in", made, tiny, *more)
    assert ran.code == 0, ran
    out = tmp_path / "out"
    for inside in sorted(path.relative_to(made) for path in (made, *made.glob(".pix2pix-batch/*"))):
        for words in (["status", out], ["synthesize", tmp_path / "in", out]):
            shutil.copytree(made, out)
            harm(out / inside, how)
            ran = here(*words) if words[0] == "status" else synthesize(*words[1:], tiny, *more)
            require_told(ran, how, inside, *words)
            harm(out, "gone") if out.is_dir() and not out.is_symlink() else out.unlink(True)


def test_a_dataset_that_is_removed_while_it_is_made(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told in a line, and the lock that has gone with it does no harm."""
    put(tmp_path / "in" / "a.png")
    out, plain = tmp_path / "out", Synthesis._begin

    def begin(self: Synthesis) -> None:
        shutil.rmtree(out)
        plain(self)

    monkeypatch.setattr(synthesis.Synthesis, "_begin", begin)
    ran = synthesize(tmp_path / "in", out, tiny, "--variants", 2, "--noise-blocks", 2)
    require_told(ran)
    assert ran.code == 3


def test_a_journal_that_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".pix2pix-batch").write_text("")
    ran = here("status", tmp_path / "out")
    assert ran.code == 3 and ".pix2pix-batch" in ran.err and len(ran.err.splitlines()) == 1
