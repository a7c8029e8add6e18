"""Shards: parts of a job that together are all of it, each with a journal of its own."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.events import Header, Recorded
from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.shard import Shard, journal_of, lock_of, shards_of
from pix2pix_batch.journal.writer import LOCK_SECONDS, Journal
from tests.end_to_end.command import run_python

JOB = {"model": "f00", "model_name": "tiny", "fit": "tile"}
CHOSEN = {"backend": "torch", "precision": "bf16", "batch_size": 8}


@given(name=st.text(), count=st.integers(1, 50))
def test_each_input_is_in_one_shard(name: str, count: int) -> None:
    assert sum(Shard(number, count).holds(name) for number in range(1, count + 1)) == 1


def test_shards_are_of_about_one_size() -> None:
    names = [f"tiles/{number:06d}.png" for number in range(8000)]
    sizes = [sum(map(Shard(number, 8).holds, names)) for number in range(1, 9)]
    assert all(850 < size < 1150 for size in sizes), sizes  # five standard deviations of 30


@pytest.mark.parametrize("text", ["1/1", "2/8", "8/8", "10/100"])
def test_reads_what_it_writes(text: str) -> None:
    shard = Shard.parse(text)
    assert str(shard) == text
    assert Shard.of_file(f"journal{shard.mark}.jsonl") == shard
    assert Shard.of_file(f"lock{shard.mark}") == shard


@pytest.mark.parametrize(
    "text", ["", "2", "0/8", "9/8", "-1/8", "2/", "2/8/3", "a/b", " 1/2", "1/²"]
)
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(InputError, match="shard must be"):
        Shard.parse(text)


@pytest.mark.parametrize("name", ["journal.jsonl", "lock", "journal-9-of-8.jsonl", "journal-x"])
def test_files_of_no_shard(name: str) -> None:
    assert Shard.of_file(name) is None


def headers(out: Path) -> list[Header]:
    return [event for event in read_events(out) if isinstance(event, Header)]


def open_journal(out: Path, text: str = "", **options: bool) -> Journal:
    return Journal(out, JOB, shard=Shard.parse(text) if text else None, **options)


def add(out: Path, text: str, *records: Record) -> None:
    journal = open_journal(out, text)
    if "precision" not in journal.job:
        journal.settle(**CHOSEN)
    journal.claim([record.name for record in records])
    journal.add(list(records))
    journal.close()


def done(name: str, stamp: str = "1:1") -> Record:
    return Record(name, "done", stamp, name)


def begun(out: Path, text: str, **options: bool) -> None:
    """A run that began, and then did nothing."""
    journal = open_journal(out, text, **options)
    journal.begin()
    journal.close()


def names_of(out: Path) -> list[str]:
    return [event.name for event in read_events(out) if isinstance(event, Recorded)]


def test_shards_run_side_by_side_and_keep_each_others_files(tmp_path: Path) -> None:
    first = open_journal(tmp_path, "1/2")
    (first.temporary / "in-the-making").touch()
    second = open_journal(tmp_path, "2/2")
    assert (first.temporary / "in-the-making").exists()
    first.add([done("a")])
    second.add([done("b")])
    assert names_of(tmp_path) == ["a", "b"]
    first.close()
    second.close()
    open_journal(tmp_path, "2/2").close()
    assert list(first.temporary.iterdir()) == [], "nobody is there to whom it could belong"


def test_who_excludes_whom(tmp_path: Path) -> None:
    shard = open_journal(tmp_path, "1/2")
    for text, message in (
        ("1/2", "shard 1/2 is running there"),
        ("", "shard 1/2 is running there"),
        ("1/3", "shard 1/2 is running there"),
    ):
        with pytest.raises(InputError, match=message):
            open_journal(tmp_path, text)
    shard.close()
    whole = open_journal(tmp_path)
    with pytest.raises(InputError, match="another run is writing there"):
        open_journal(tmp_path)
    whole.close()


def test_a_shard_waits_for_no_run_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pix2pix_batch.journal.writer.SHARD_LOCK_SECONDS", 1e6)
    whole = open_journal(tmp_path)
    with pytest.raises(InputError, match="another run is writing there"):
        open_journal(tmp_path, "1/2")
    whole.close()
    open_journal(tmp_path, "1/2").close()


def test_a_shard_waits_while_another_begins(tmp_path: Path) -> None:
    other = open_journal(tmp_path, "1/2")
    door = FileLock(lock_of(tmp_path), thread_local=False)  # as the other holds it then
    door.acquire()
    opener = threading.Timer(3 * LOCK_SECONDS, door.release)
    opener.start()
    open_journal(tmp_path, "2/2").close()
    opener.join()
    other.close()


def test_a_run_of_the_whole_merges_them(tmp_path: Path) -> None:
    add(tmp_path, "", done("old"), done("changed", "1:1"))
    add(tmp_path, "1/2", done("a"), done("changed", "2:2"))
    add(tmp_path, "2/2", done("b"), Record("c", "failed", "1:1", reason="damaged"))
    torn = journal_of(tmp_path, Shard(1, 2))
    torn.write_bytes(torn.read_bytes() + b'{"name":"torn","sta')
    before = names_of(tmp_path)

    history = History(tmp_path, JOB)
    journal = open_journal(tmp_path)
    for found in (history, journal):
        assert [found.status_of(name, "1:1") for name in ("old", "a", "b", "c", "torn")] == [
            "done",
            "done",
            "done",
            "failed",
            "",
        ]
        assert found.status_of("changed", "2:2") == "done", "the shards came later"
        assert found.job["precision"] == "bf16"
    journal.add([done("d")])
    journal.close()

    assert names_of(tmp_path) == [*before, "d"]
    assert shards_of(tmp_path) == []
    assert [path.name for path in sorted(journal.directory.iterdir())] == [
        "journal.jsonl",
        "lock",
        "tmp",
    ]
    header = headers(tmp_path)[0].values
    assert header == {"schema": 2, **JOB, **CHOSEN, "overwrite": False}


def test_merging_that_a_crash_cut_off_is_done_again(tmp_path: Path) -> None:
    add(tmp_path, "1/2", done("a", "1:1"))
    shard = journal_of(tmp_path, Shard(1, 2))
    left = shard.read_bytes()
    open_journal(tmp_path).close()
    shard.write_bytes(left)
    add(tmp_path, "1/2", done("a", "2:2"))
    journal = open_journal(tmp_path)
    assert journal.status_of("a", "2:2") == "done"
    journal.close()


def test_shards_know_what_the_whole_did_before(tmp_path: Path) -> None:
    add(tmp_path, "", done("a"))
    journal = open_journal(tmp_path, "1/2")
    assert journal.status_of("a", "1:1") == "done"
    assert journal.job["precision"] == "bf16"
    journal.close()


def test_another_number_of_shards_is_refused_until_they_are_merged(tmp_path: Path) -> None:
    add(tmp_path, "1/2", done("a"))
    with pytest.raises(InputError, match=r"journals of 2 shards.*--shard i/2"):
        open_journal(tmp_path, "1/3")
    open_journal(tmp_path).close()
    journal = open_journal(tmp_path, "1/3")
    assert journal.status_of("a", "1:1") == "done"
    journal.close()


def test_another_jobs_shards_are_refused(tmp_path: Path) -> None:
    add(tmp_path, "1/2", done("a"))
    for shard in (None, Shard(2, 2)):
        with pytest.raises(InputError, match="model was 'tiny', now 'other'"):
            Journal(tmp_path, {**JOB, "model": "f01", "model_name": "other"}, shard=shard)


def test_overwriting_forgets_all_but_the_same_jobs_shards(tmp_path: Path) -> None:
    add(tmp_path, "", done("whole"))
    begun(tmp_path, "1/2", overwrite=True)
    add(tmp_path, "1/2", done("a"))
    open_journal(tmp_path, "2/2", overwrite=True).close()
    assert names_of(tmp_path) == ["a"]
    begun(tmp_path, "2/2", overwrite=True)
    assert names_of(tmp_path) == ["a"]
    journal = open_journal(tmp_path, "2/2")
    assert journal.overwrites, "also when it goes on"
    journal.close()
    open_journal(tmp_path, "1/3", overwrite=True).close()
    assert shards_of(tmp_path) == [Shard(1, 2), Shard(2, 2)]
    begun(tmp_path, "1/3", overwrite=True)
    assert shards_of(tmp_path) == [Shard(1, 3)]
    begun(tmp_path, "", overwrite=True)
    assert shards_of(tmp_path) == []
    assert names_of(tmp_path) == []


OVERWRITE_AND_DIE = """
import os, sys
from pathlib import Path
from pix2pix_batch.journal.shard import Shard
from pix2pix_batch.journal.writer import Journal
out, shard, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
job = {"model": "f00", "model_name": "tiny", "fit": "resize"}
journal = Journal(out, job, overwrite=True, shard=Shard.parse(shard) if shard else None)

def before(event, arguments):  # of all that changes the disk
    global left
    if event in ("os.rename", "os.remove", "os.truncate", "open"):
        left -= 1
        if left < 0:
            os._exit(9)

sys.addaudithook(before)
journal.begin()
os._exit(0)
"""


@pytest.mark.parametrize("text", ["", "1/3"])
def test_overwriting_that_a_crash_cut_off_has_happened_or_not(tmp_path: Path, text: str) -> None:
    """Wherever it was cut off, the old journals count or the new one does, and never both."""
    before = tmp_path / "before"
    add(before, "", done("old"), done("a", "0:0"))
    add(before, "1/2", done("a"))
    add(before, "2/2", done("b"))
    seen = []
    for step in range(40):
        out = tmp_path / str(step)
        shutil.copytree(before, out)
        code = run_python(OVERWRITE_AND_DIE, out, text, step).code
        fits = {header.values["fit"] for header in headers(out)}
        assert len(fits) == 1 and not any(header.replaces for header in headers(out))
        (fit,) = fits
        assert names_of(out) == (["old", "a", "a", "b"] if fit == "tile" else [])
        job = {**JOB, "fit": fit}
        dry = History(out, job)
        shard = None if fit == "tile" else text and Shard.parse(text)
        journal = Journal(out, job, shard=shard or None)
        for found in (dry, journal):
            assert found.status_of("a", "1:1") == ("done" if fit == "tile" else "")
            assert found.overwrites == (fit == "resize")
        journal.close()
        assert shards_of(out) == ([] if fit == "tile" or not text else [Shard.parse(text)])
        seen.append(fit)
        if code == 0:
            break
    assert code == 0 and seen == sorted(seen, reverse=True)
    assert {"tile", "resize"} == set(seen)


@pytest.mark.parametrize("again", [1, 2])
def test_overwriting_once_more_decides_anew(tmp_path: Path, again: int) -> None:
    """A shard that begins anew once more asks none of those that have not."""
    for text in ("1/2", "2/2"):
        journal = open_journal(tmp_path, text, overwrite=True)
        assert journal.settle(**CHOSEN) == CHOSEN
        journal.close()
    now = {**CHOSEN, "precision": "fp32"}
    first, second = (f"{again}/2", f"{3 - again}/2")
    journal = open_journal(tmp_path, first, overwrite=True)
    assert journal.settle(**now) == now
    journal.close()
    other = open_journal(tmp_path, second)
    assert other.job["precision"] == "bf16", "one that goes on does so as it began"
    other.close()
    journal = open_journal(tmp_path, second, overwrite=True)
    assert journal.settle(**CHOSEN) == now, "the first has begun anew too"
    journal.close()
    journal = open_journal(tmp_path, first)
    assert journal.job["precision"] == "fp32"
    journal.close()


def test_overwriting_does_not_ask_shards_that_went_on_from_a_whole_that_it_forgets(
    tmp_path: Path,
) -> None:
    whole = open_journal(tmp_path, overwrite=True)
    whole.settle(**CHOSEN)
    whole.close()
    add(tmp_path, "1/2", done("a"))
    now = {**CHOSEN, "precision": "fp32"}
    journal = open_journal(tmp_path, "2/2", overwrite=True)
    assert journal.settle(**now) == now
    journal.close()


@given(st.data())
@settings(max_examples=20)
def test_in_one_overwriting_the_first_decides_for_all(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """However often all shards were told to overwrite, and in whatever order they came."""
    out, count = tmp_path_factory.mktemp("out"), 3
    for turn in range(data.draw(st.integers(1, 3))):
        mine = {**CHOSEN, "batch_size": 10 * turn}
        order = data.draw(st.permutations(range(1, count + 1)))
        for place, number in enumerate(order):
            journal = open_journal(out, f"{number}/{count}", overwrite=True)
            asked = {**mine, "batch_size": mine["batch_size"] + place}
            assert journal.settle(**asked) == mine
            journal.begin()
            journal.close()


def test_the_first_shard_decides_for_all(tmp_path: Path) -> None:
    first, second = open_journal(tmp_path, "1/2"), open_journal(tmp_path, "2/2")
    assert first.settle(**CHOSEN) == CHOSEN
    assert second.settle(**{**CHOSEN, "precision": "fp32"}) == CHOSEN
    for journal in (first, second):
        journal.close()
    assert [header.values["precision"] for header in headers(tmp_path)] == [
        "bf16",
        "bf16",
    ]


def test_what_was_decided_before_does_not_bind_those_that_begin_anew(tmp_path: Path) -> None:
    for text in ("1/2", "2/2"):
        add(tmp_path, text, done(text))
    now = {**CHOSEN, "precision": "fp32"}
    first = open_journal(tmp_path, "1/2", overwrite=True)
    assert first.settle(**now) == now
    second = open_journal(tmp_path, "2/2", overwrite=True)
    assert second.settle(**CHOSEN) == now, "the first has begun anew too"
    for journal in (first, second):
        journal.begin()
        journal.close()
    assert [header.values["precision"] for header in headers(tmp_path)] == ["fp32"] * 2


def test_locks_are_told_from_journals(tmp_path: Path) -> None:
    shard = Shard(1, 2)
    open_journal(tmp_path, "1/2").close()
    assert lock_of(tmp_path, shard).exists()
    assert shards_of(tmp_path) == shards_of(tmp_path, "lock") == [shard]
