"""Markers survive their process and tell what it was doing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pix2pix_batch.execution import marker
from pix2pix_batch.execution.marker import Marker, Trial
from pix2pix_batch.journal.record import Record
from tests.end_to_end.command import ROOT


def died(path: Path, code: str) -> int:
    """Run ``code`` with a marker ``mark`` at ``path``, in a process that is to die of it."""
    program = (
        "import os, signal\nfrom pix2pix_batch.execution.marker import Marker\n"
        "from pix2pix_batch.journal.record import Record\n"
        f"mark = Marker({str(path)!r})\nwith mark, mark.naming_signals():\n    "
    ) + code.replace("\n", "\n    ")
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode


def test_a_chunk_that_ends_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    with Marker(str(path)):
        assert marker.read_trace(str(path)) == marker.Trace()
    assert marker.read_trace(str(path)) is None
    with pytest.raises(ZeroDivisionError), Marker(str(path)):
        1 / 0  # noqa: B018
    assert not path.exists()


def test_a_crash_leaves_what_was_done_and_what_was_in_hand(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    code = (
        "mark.begin(0, '5:6')\n"
        "mark.finish(Record('a\\udcff', 'done', '5:6', 'a.png', distance=2.5))\n"
        "mark.begin(1, '7:8')\nos.kill(os.getpid(), signal.SIGSEGV)"
    )
    assert died(path, code) == -11
    trace = marker.read_trace(str(path))
    assert trace is not None
    assert trace.records == [Record("a\udcff", "done", "5:6", "a.png", distance=2.5)]
    assert (trace.index, trace.stamp, trace.signal) == (1, "7:8", "Segmentation fault")
    with pytest.raises(FileExistsError):  # given to another worker, which must not begin it
        Marker(str(path))


def test_a_kill_from_outside_has_no_signal(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    assert died(path, "mark.begin(3, '')\nos.kill(os.getpid(), signal.SIGKILL)") == -9
    assert marker.read_trace(str(path)) == marker.Trace(index=3)


def test_a_tars_image_is_named_while_it_is_in_hand(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    code = "mark.begin(0, '7:8')\nwith mark.member('a.tar/1.png'): "
    assert died(one, f"{code}os.kill(os.getpid(), signal.SIGKILL)") == -9
    assert marker.read_trace(str(one)) == marker.Trace(index=0, stamp="7:8", member="a.tar/1.png")
    assert died(two, f"{code}pass\nos.kill(os.getpid(), signal.SIGKILL)") == -9
    assert marker.read_trace(str(two)) == marker.Trace(index=0, stamp="7:8")


def test_a_run_removes_the_markers_of_the_killed_one_before_and_no_others(tmp_path: Path) -> None:
    journal, shard = tmp_path / "journal.jsonl", tmp_path / "journal-1-of-2.jsonl"
    (tmp_path / "running" / "journal" / "old").mkdir(parents=True)
    with marker.marker_directory(shard) as other:
        with marker.marker_directory(journal) as mine:
            assert [path.name for path in (tmp_path / "running" / "journal").iterdir()] == [
                Path(mine).name
            ]
        assert Path(other).is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_place_without_room_has_no_markers(tmp_path: Path) -> None:
    blocked = tmp_path / "running"
    blocked.write_text("a file where the directory should be")
    with marker.marker_directory(tmp_path / "journal.jsonl") as none:
        assert none == ""
    with Marker(""), Marker(str(tmp_path / "absent" / "mark")) as mark:
        mark.begin(0, "")


def test_a_trial_remembers_what_was_begun_and_never_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "trial")
    first = Trial(path)
    for name in ("a", "b"):
        first.begin(name)
        first.end(name)
    first.begin("c")  # and died
    assert Trial(path).harmful == {"c"}
    assert Trial("").harmful == set()
