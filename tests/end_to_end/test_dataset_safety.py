"""What a dataset's OUT holds besides is safe, and so is the dataset from runs that are refused, cut
off or begun twice."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pix2pix_batch.dataset import state
from pix2pix_batch.execution.job import Job
from pix2pix_batch.reporting import status
from pix2pix_batch.reporting.verification import verify
from pix2pix_batch.synthesis import quality
from tests.end_to_end.command import error_of, here
from tests.end_to_end.synthesizing import (
    manifest,
    soft,
    synthesize,
    tree,
)

KEPT = ".pix2pix-batch"
MADE = ".pix2pix-batch-made"
MORE = ("--variants", 2)
IMAGE = "train/images/0.v0.png"


pytestmark = pytest.mark.usefixtures("workers")


def pictures(source: Path, count: int) -> Path:
    source.mkdir()
    for number in range(count):
        soft(number).save(source / f"{number}.png")
    return source


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("safety") / "in", 4)


@pytest.fixture(scope="module")
def made(source: Path, model: Path, workers: None) -> Path:
    out = source.parent / "out"
    assert synthesize(source, out, model, *MORE).code == 0
    return out


@pytest.fixture
def out(tmp_path: Path, made: Path) -> Path:
    """A copy of a finished dataset."""
    shutil.copytree(made, tmp_path / "around" / "out")
    return tmp_path / "around" / "out"


def replaced(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


# One run at a time


def test_no_run_begins_while_another_lays_out(
    tmp_path: Path, source: Path, model: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal is free by then."""
    out, told = tmp_path / "out", []
    measured = quality.diversity

    def diversity(*inputs: Any, **options: Any) -> float | None:
        told.append(error_of(synthesize(source, out, model, *MORE)))
        told.append(error_of(here("status", out, "--verify")))
        told.append(here("status", out).out)
        return measured(*inputs, **options)

    monkeypatch.setattr(quality, "diversity", diversity)
    assert synthesize(source, out, model, *MORE).code == 0
    for error in told[:2]:
        assert f"{out}: another run is writing there (it holds {out / KEPT / 'dataset.lock'})" in (
            error
        )
    assert "A run is writing" in told[2]
    assert tree(out) == tree(made)


def test_a_refused_run_leaves_no_lock(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "deep" / "out"
    ran = synthesize(source, out, model, "--variants", 2, "--precision", "fp16")
    assert ran.code == 2 and "fp16" in error_of(ran)
    assert not (tmp_path / "deep").exists()


# What is not the dataset's


@pytest.mark.parametrize("entries", [["", ".", "..", KEPT, MADE, "train/inputs", 7, None], 5, {}])
def test_a_list_of_entries_cannot_name_what_is_not_in_it(
    out: Path, source: Path, model: Path, entries: Any
) -> None:
    precious = out.parent / "precious.txt"
    precious.write_text("mine")
    before = tree(out)
    path = out / KEPT / "entries.json"
    true = json.loads(path.read_text())
    (out / IMAGE).unlink()
    path.write_text(json.dumps([*entries, *true] if isinstance(entries, list) else entries))
    ran = synthesize(source, out, model, *MORE)
    if isinstance(entries, list):
        assert (ran.code, tree(out)) == (0, before), ran.err
    else:  # then nothing is known to be the dataset's
        assert ran.code == 2 and "holds other files" in error_of(ran)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("name", [KEPT, MADE])
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_nothing_is_removed_behind_a_link(
    tmp_path: Path, out: Path, source: Path, model: Path, name: str, more: Sequence[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    if (out / name).exists():
        (out / name).rename(elsewhere)
    else:
        elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    (out / name).symlink_to(elsewhere)
    (out / IMAGE).unlink()
    before = tree(elsewhere)
    ran = synthesize(source, out, model, *MORE, *more)
    assert ran.code == 2 and f"{name}: is a link" in error_of(ran)
    assert tree(elsewhere) == before


@pytest.mark.parametrize("more", [(), ("--overwrite",)])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_files_among_the_datasets_own_are_not_removed(
    out: Path, source: Path, model: Path, kind: str, more: Sequence[str]
) -> None:
    notes = out / "train" / "mine" / "my-notes.csv"
    notes.parent.mkdir()
    if kind == "link":
        notes.symlink_to(source)
    else:
        notes.write_text("mine")
    (out / IMAGE).unlink()
    before = tree(out)
    ran = synthesize(source, out, model, *MORE, *more)
    told = "holds train/mine/my-notes.csv, which is not the dataset's; move it away"
    assert ran.code == 2 and told in error_of(ran)
    assert tree(out) == before and os.path.lexists(notes)
    assert "a finished dataset" in here("status", out).out
    notes.rename(out.parent / "my-notes.csv")
    assert synthesize(source, out, model, *MORE, *more).code == 0
    assert (out / IMAGE).exists() and not notes.parent.exists()


def test_what_file_managers_leave_is_in_nobodys_way(
    out: Path, source: Path, model: Path, made: Path
) -> None:
    for litter in (out / ".DS_Store", out / "train" / "Thumbs.db"):
        litter.write_bytes(b"\0")
    (out / IMAGE).unlink()
    assert synthesize(source, out, model, *MORE).code == 0
    (out / ".DS_Store").unlink()
    assert tree(out) == tree(made)


def test_a_dataset_that_nothing_tells_of_is_not_removed(
    out: Path, source: Path, model: Path, made: Path
) -> None:
    for manifest_of in (out, out / KEPT):
        (manifest_of / "manifest.jsonl").unlink()
    ran = synthesize(source, out, model, *MORE)
    assert ran.code == 2 and "its manifest is damaged" in error_of(ran)
    assert "move train away" in error_of(ran)
    shutil.rmtree(out / "train")
    assert synthesize(source, out, model, *MORE).code == 0
    assert tree(out) == tree(made)


def test_a_new_dataset_has_a_new_card(out: Path, source: Path, model: Path, made: Path) -> None:
    (out / "README.md").write_text("mine")
    assert synthesize(source, out, model, *MORE, "--overwrite").code == 0
    assert tree(out) == tree(made)


# What is cut off


def test_a_run_that_stops_before_it_begins_changes_nothing(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    assert synthesize(source, out, model, *MORE).code == 0
    before, known = tree(out), state.read(out)
    soft(9).save(source / "9.png")
    decided = Job._autotune

    def stop(self: Job, *found: Any) -> None:
        self.stop.set()
        decided(self, *found)

    for more in ((), ("--overwrite",)):
        with monkeypatch.context() as patched:
            patched.setattr(Job, "_autotune", stop)
            assert synthesize(source, out, model, *MORE, *more).code == 130
        assert tree(out) == before and state.read(out) == known
    ran = synthesize(source, out, model, *MORE, "--layout", "a-b")
    assert ran.code == 2 and "layout was 'imagefolder', now 'a-b'" in error_of(ran)
    assert synthesize(source, out, model, *MORE).figures["images"] == 8


@pytest.mark.parametrize("moved", [0, 1, 2])
@pytest.mark.parametrize("mine", [False, True])
def test_a_move_into_place_that_is_cut_off_goes_on(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, moved: int, mine: bool
) -> None:
    """After so many of the three entries; a card that was changed is not lost."""
    source, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    assert synthesize(source, out, model, *MORE).code == 0
    if mine:
        (out / "README.md").write_text("mine")
    soft(9).save(source / "9.png")
    replace, left = os.replace, [max(0, moved - mine)]

    def full(at: Any, to: Any) -> None:
        if Path(to).parent == out and Path(at).parent.name == "dataset":
            if left[0] <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            left[0] -= 1
        replace(at, to)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        ran = synthesize(source, out, model, *MORE)
        assert ran.code == 3 and "cannot be written" in ran.err
    assert "an unfinished dataset" in here("status", out).out
    ran = synthesize(source, out, model, *MORE)
    assert ran.code == 0 and ran.figures["images_made"] == 0, ran.err
    assert synthesize(source, tmp_path / "anew", model, *MORE).code == 0
    if mine:
        assert (out / "README.md").read_text() == "mine"
        shutil.copy(tmp_path / "anew" / "README.md", out)
    assert tree(out) == tree(tmp_path / "anew")


def test_a_made_image_that_a_power_cut_emptied_is_made_again(tmp_path: Path, model: Path) -> None:
    source, out = pictures(tmp_path / "in", 3), tmp_path / "out"
    (source / "broken.png").write_bytes(b"no image")  # so that what was made stays apart
    assert synthesize(source, out, model, *MORE).code == 3
    before = tree(out)
    for name in ("images/0.v0.png", "images/1.v1.png", "inputs/2.png"):
        replaced(out / MADE / name, b"")
    for name in (IMAGE, "train/inputs/2.png"):
        (out / name).unlink()
    ran = synthesize(source, out, model, *MORE)
    assert ran.code == 3 and ran.figures["images_made"] == 1, ran.err
    assert tree(out) == before


# Its own records


@pytest.mark.parametrize("damage", [b"", b"5\n", b'{"settings": 5}\n{"file": 7}\n', b"\xff"])
def test_a_damaged_copy_of_the_manifest_hides_nothing(
    out: Path, source: Path, model: Path, made: Path, damage: bytes
) -> None:
    copy = state.copy_of_manifest(out)
    good = copy.read_bytes()
    copy.write_bytes(damage)
    (out / IMAGE).unlink()
    found = verify(str(out))
    assert found.counts == {"missing": 1, "changed": 1}
    assert [name for name, _ in found.examples["missing"]] == [IMAGE]
    assert [name for name, _ in found.examples["changed"]] == [f"{KEPT}/manifest.jsonl"]
    ran = synthesize(source, out, model, *MORE)
    assert ran.figures["images_made"] == 1, ran.err
    assert (tree(out), copy.read_bytes()) == (tree(made), good)
    copy.write_bytes(damage)
    assert not synthesize(source, out, model, *MORE).figures["nothing_to_do"]
    assert (tree(out), copy.read_bytes()) == (tree(made), good)


def test_what_a_cut_off_check_found_wrong_is_mended(
    out: Path, source: Path, model: Path, made: Path
) -> None:
    replaced(out / IMAGE, b"no image")

    def stop(checked: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(str(out), watch=stop)
    assert here("status", out, "--json").figures["dataset"]["wrong"] == 1
    ran = synthesize(source, out, model, *MORE)
    assert ran.figures["images_made"] == 1 and not ran.figures["nothing_to_do"]
    assert tree(out) == tree(made)


def test_what_is_right_again_is_not_made_again(
    out: Path, source: Path, model: Path, made: Path
) -> None:
    """``wrong`` is what the last check found."""
    good = (out / IMAGE).read_bytes()
    copy = (out / "train" / "inputs" / "1.png").read_bytes()
    replaced(out / IMAGE, b"no image")
    replaced(out / "train" / "inputs" / "1.png", good)
    assert verify(str(out)).counts == {"damaged": 1, "changed": 1}
    replaced(out / IMAGE, good)
    assert verify(str(out)).counts == {"changed": 1}
    assert (status.read_status(out).done, status.read_status(out).failed) == (8, 0)
    replaced(out / "train" / "inputs" / "1.png", copy)
    assert verify(str(out)).wrong == 0
    assert here("status", out, "--json").figures["dataset"]["wrong"] == 0
    assert synthesize(source, out, model, *MORE).figures["nothing_to_do"]
    assert tree(out) == tree(made) and manifest(out) == manifest(made)


@pytest.mark.parametrize("inputs", ["5", "[]", '{"0.png": 5, "1.png": []}', "\0"])
def test_a_damaged_list_of_inputs_is_only_not_told_of(
    out: Path, source: Path, model: Path, inputs: str
) -> None:
    (out / KEPT / "inputs.json").write_text(inputs)
    (out / IMAGE).unlink()
    assert synthesize(source, out, model, *MORE).code == 0


# What the options would do to it


def test_a_limit_takes_no_inputs_out(source: Path, out: Path, model: Path) -> None:
    before = tree(out)
    ran = synthesize(source, out, model, *MORE, "--limit", 3)
    assert ran.code == 2
    assert f"--limit 3: {out} has images of 1 input beyond it, which would go" in error_of(ran)
    assert tree(out) == before
    assert synthesize(source, out, model, *MORE, "--limit", 4).code == 0


def test_inputs_within_out_are_refused(out: Path, model: Path) -> None:
    """The dataset would be made of itself, and replace what it is made of."""
    before = tree(out)
    for more in ((), ("--overwrite",)):
        ran = synthesize(out / "train" / "inputs", out, model, *MORE, *more)
        assert ran.code == 2 and "lies in OUT, whose files the dataset replaces" in error_of(ran)
    assert tree(out) == before
