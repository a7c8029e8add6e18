"""Where outputs go, by what earlier runs have made and by where the inputs lie."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pix2pix_batch.errors import InputError
from pix2pix_batch.execution.item_selector import ItemSelector
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import ScanOptions
from pix2pix_batch.journal.history import DIRECTORY_OF_NAMES, History
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.roll_call import Presence
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.options import Options
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.storage import files, local

JOB = {"input": "i", "model": "m"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


class Run:
    """What a run would convert, and why not the rest."""

    def __init__(self, source: str, out: str = "out", overwrite: bool = False) -> None:
        scan = open_inputs(source, ScanOptions("png", out))
        self.job = JOB | (
            {} if scan.directory_of_names is None else {DIRECTORY_OF_NAMES: scan.directory_of_names}
        )
        options = Options(model="", overwrite=overwrite)
        self.selector = ItemSelector(
            scan, options, str(Path(out).absolute()), Path(out), Summary(model=""),
            threading.Event(),
        )  # fmt: skip
        self.failed: list[Record] = []
        history = History(Path(out), self.job, overwrite=overwrite)
        self.items = list(self.selector.select(history, self.failed.extend))
        self.out = out

    @property
    def outputs(self) -> dict[str, str]:
        return {item.name: item.output for item in self.items}

    @property
    def reasons(self) -> dict[str, str]:
        return {record.name: record.reason for record in self.failed}

    def make(self) -> Run:
        """As if the workers had made the outputs."""
        journal = Journal(Path(self.out), self.job)
        for item in self.items:
            path = Path(self.out, item.output)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"of {item.name}")
            journal.add([Record(item.name, "done", files.stamp_of(item.path), item.output)])
        journal.close()
        return self


def test_an_input_keeps_its_output_when_another_of_its_name_comes_and_goes() -> None:
    write("in/a.jpg")
    assert Run("in").make().outputs == {"a.jpg": "a.png"}
    write("in/a.png")
    second = Run("in").make()
    assert second.outputs == {"a.png": "a.png.png"}, "a.jpg's own stays what it is"
    assert second.selector.summary.skipped == 1
    assert second.selector.scan.renames == [("a.png", "a.png.png")]
    Path("in/a.jpg").unlink()
    third = Run("in")
    assert (third.outputs, third.selector.summary.skipped) == ({}, 1)
    assert third.selector.presence == Presence(gone=frozenset({"a.jpg"}))


@pytest.mark.parametrize("first", ["in/*.jpg", "in/*.png"])
def test_patterns_in_turn(first: str) -> None:
    write("in/a.jpg", "in/a.png", "in/a.png.gif")
    Run(first).make()
    Run("in").make()
    made = {path.name: path.read_text() for path in Path("out").glob("*.png")}
    assert len(made) == len(set(made.values())) == 3
    for pattern in ("in", "in/*.png", "in/*.jpg", "in/*.gif"):
        assert Run(pattern).outputs == {}


def test_lists_in_another_order() -> None:
    write("a.jpg", "a.png", "one", "other")
    Path("one").write_text("a.jpg\na.png\n")
    Path("other").write_text("a.png\na.jpg\n")
    Run("@one").make()
    assert Run("@other").outputs == {}
    Path("other").write_text("a.png\n")
    assert Run("@other").outputs == {}


def test_a_changed_input_replaces_its_own_output_only() -> None:
    write("in/a.jpg", "in/a.png")
    Run("in/*.png").make()
    Run("in/*.jpg").make()
    Path("in/a.jpg").write_text("changed")
    assert Run("in/*.jpg").outputs == {"a.jpg": "a.jpg.png"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_input_of_a_list_is_never_replaced(overwrite: bool) -> None:
    write("a.jpg", "b.jpg", "a.png", "sub/b.png")
    Path("list").write_text("a.jpg\nb.jpg\na.png\nsub/b.png\n")
    found = Run("@list", ".", overwrite)
    assert found.outputs == {"b.jpg": "b.png", "a.png": "a.png.png"}
    assert "replace an input" in found.reasons["a.jpg"]
    assert "replace an input" in found.reasons["sub/b.png"]
    assert not any(record.outdated for record in found.failed), "it is an input"
    inner = Run("@list", "sub", overwrite)
    assert "replace an input" in inner.reasons["b.jpg"], "which is listed before it"


def test_no_output_lies_among_the_inputs() -> None:
    write("data/in/a.png", "data/in/in/a.png", "data/in/in/b.jpg")
    found = Run("data/in", "data", overwrite=True)
    assert found.outputs == {"a.png": "a.png"}
    assert all("among them" in found.reasons[name] for name in ("in/a.png", "in/b.jpg"))


def test_a_directory_is_no_output() -> None:
    write("in/a.png")
    Run("in").make()
    Path("out/a.png").unlink()
    Path("out/a.png").mkdir()
    assert Run("in").outputs == {"a.png": "a.png"}


def test_relative_paths_of_another_directory_are_another_job(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("one/a.png", "two/a.png", "list")
    Path("list").write_text("a.png\n")
    listed, out = f"@{here}/list", str(here / "out")
    monkeypatch.chdir(here / "one")
    Run(listed, out).make()
    monkeypatch.chdir(here / "two")
    with pytest.raises(InputError, match=r"a\.png: is a relative path.*/one, not .*/two"):
        Run(listed, out)
    (here / "list").write_text(f"{here}/two/a.png\n")
    assert len(Run(listed, out).items) == 1


def test_two_files_that_differ_in_a_slash(here: Path) -> None:
    inside = str(here / "a.png").lstrip("/")
    write(inside, "a.png")
    Path("list").write_text(f"{here}/a.png\n{inside}\n{inside}\n")
    found = Run("@list")
    assert len(found.items) == 1
    assert "list one of them" in found.reasons[inside]


def test_outputs_stay_where_case_was_first_thought_to_make_no_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of an OUT that is not there yet, on a disk that is found out about only then."""
    write("in/a.jpg", "in/A.jpg", "in/b.png")
    monkeypatch.setattr(local, "SEEN_ALIKE", {local._file_system(Path())})
    Path("0").mkdir()  # whose own name does not show whether case counts
    first = Run("in", "0/out").make()
    assert all("~" in first.outputs[name] for name in ("a.jpg", "A.jpg"))
    monkeypatch.setattr(local, "SEEN_ALIKE", set())
    assert Run("in", "0/out").items == []
    monkeypatch.setattr(local, "SEEN_ALIKE", {local._file_system(Path())})
    Path("empty").mkdir()
    assert all("~" not in output for output in Run("in", "empty/out").make().outputs.values())


def test_directories_that_differ_in_case_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that makes no difference, an output that would replace another's is not made."""
    write("in/Town/1.png", "in/town/1.png", "in/town/2.png", "in/town/x/1.png")
    monkeypatch.setattr(local, "SEEN_ALIKE", {local._file_system(Path())})
    Path("0").mkdir()
    for run in (Run("in", "0/out"), Run("in/*/*.png", "0/other")):
        ((name, reason),) = run.reasons.items()
        assert name == "town/1.png" and "directory and another differ in case alone" in reason
        assert run.outputs.keys() >= {"Town/1.png", "town/2.png"}
    assert len(Run("in", "out").items) == 4
    Path("list").write_text("in/Town/1.png\nin/town/1.png\n")
    outputs = Run("@list", "0/list").outputs.values()
    assert len({output.casefold() for output in outputs}) == 2
