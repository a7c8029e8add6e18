"""The journal: what is written stays, what is torn is forgotten, and one run at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.storage.common import DIRECTORY, stamp

JOB: dict[str, Any] = {"model": "f00", "fit": "tile", "quality": None, "noise": False, "seed": 0}


def open_journal(out: Path, job: dict[str, Any] | None = None, **options: bool) -> Journal:
    return Journal(out, JOB if job is None else job, **options)


def done(name: str, stamp: str = "1:1") -> Record:
    return Record(name, "done", stamp, f"{name}.png")


def failed(name: str, stamp: str = "1:1") -> Record:
    return Record(name, "failed", stamp, reason="damaged")


def is_done(history: History, name: str, stamp: str) -> bool:
    return history.status_of(name, stamp) == "done"


def path_of(out: Path) -> Path:
    return out / DIRECTORY / "journal.jsonl"


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path_of(out).read_bytes().splitlines()]


def run(out: Path, *records: Record, claim: list[str] | None = None) -> None:
    journal = open_journal(out)
    if claim:
        journal.claim(claim)
    if records:
        journal.add(list(records))
    journal.close()


# What it says of an input


def test_nothing_is_done_at_first(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert not is_done(journal, "a", "1:1")
    assert not journal.is_ours("a")
    journal.close()


def test_done_failed_and_claimed(tmp_path: Path) -> None:
    run(tmp_path, done("a"), failed("b"), failed("refused"), claim=["a", "b", "c"])
    journal = open_journal(tmp_path)
    assert [is_done(journal, name, "1:1") for name in ("a", "b", "c", "refused")] == [
        True,
        False,
        False,
        False,
    ]
    assert not is_done(journal, "a", "1:2")
    assert not is_done(journal, "a", "")
    assert [journal.is_ours(name) for name in ("a", "b", "c")] == [True] * 3
    assert not journal.is_ours("refused"), "an output of somebody else stays so"
    journal.close()


def test_the_last_word_counts(tmp_path: Path) -> None:
    run(tmp_path, done("a", "1:1"), done("b", "1:1"), claim=["a", "b"])
    run(tmp_path, done("a", "2:2"), failed("b", "2:2"), claim=["a", "b"])
    journal = open_journal(tmp_path)
    assert is_done(journal, "a", "2:2") and not is_done(journal, "a", "1:1")
    assert not is_done(journal, "b", "1:1") and not is_done(journal, "b", "2:2")
    assert journal.is_ours("b")
    journal.close()


def test_what_failed_for_a_reason_of_its_own_is_known_until_it_changes(tmp_path: Path) -> None:
    run(
        tmp_path,
        failed("damaged"),
        Record("deadly", "quarantined", "1:1", reason="killed three workers"),
        failed("unread", stamp=""),
        Record("odd", "of another kind", "1:1"),
    )
    history = History(tmp_path, JOB)
    names = ("damaged", "deadly", "unread", "odd", "unknown")
    assert [history.status_of(name, "1:1") for name in names] == [
        "failed",
        "quarantined",
        "",
        "",
        "",
    ]
    assert not any(history.status_of(name, stamp) for name in names for stamp in ("1:2", ""))


def test_a_claim_does_not_undo(tmp_path: Path) -> None:
    run(tmp_path, done("a"), claim=["a"])
    run(tmp_path, claim=["a"])
    journal = open_journal(tmp_path)
    assert is_done(journal, "a", "1:1")
    journal.close()


def test_stamp_changes_with_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    first = stamp(path.stat())
    assert first == "5:1700000000123456789"
    os.utime(path, ns=(6, 1_700_000_000_123_456_789))
    assert stamp(path.stat()) == first, "reading is no change"
    os.utime(path, ns=(6, 1_700_000_000_123_456_790))
    assert stamp(path.stat()) != first
    path.write_bytes(b"123456")
    os.utime(path, ns=(5, 1_700_000_000_123_456_789))
    assert stamp(path.stat()) != first


def test_what_is_on_disk(tmp_path: Path) -> None:
    run(tmp_path, done("a"), failed("ü\n"), claim=["a", "ü\n"])
    header, claim, *records, came = lines_of(tmp_path)
    assert header == {"schema": 2, **JOB, "overwrite": False}
    assert claim == {"claim": ["a", "ü\n"]}
    assert records == [
        {"name": "a", "status": "done", "stamp": "1:1", "output": "a.png"},
        {"name": "ü\n", "status": "failed", "stamp": "1:1", "reason": "damaged"},
    ]
    assert came["at"] == pytest.approx(time.time(), abs=60)
    assert (came["seconds"], came["worker"]) == (0, "")
    assert path_of(tmp_path).read_bytes().isascii()


def test_when_and_where_a_chunk_was_worked_on(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.add([done("a"), done("b")], seconds=1.25, worker="tcp://127.0.0.1:1")
    journal.add([failed("c")])
    journal.close()
    assert [(line["seconds"], line["worker"]) for line in lines_of(tmp_path) if "at" in line] == [
        (1.25, "tcp://127.0.0.1:1"),
        (0, ""),
    ]


def test_records_are_on_disk_at_once(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.claim(["a"])
    assert lines_of(tmp_path)[-1] == {"claim": ["a"]}
    journal.add([done("a")])
    assert lines_of(tmp_path)[-2]["status"] == "done"
    journal.close()


NAMES = st.text(
    st.characters() | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    min_size=1,
    max_size=20,
)


@given(names=st.lists(NAMES, unique=True, min_size=1, max_size=8))
@settings(max_examples=40)
def test_any_name_round_trips(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """Also those that are no UTF-8, which Python holds as lone surrogates."""
    out = tmp_path_factory.mktemp("out")
    run(out, *(done(name) for name in names[1:]), claim=names)
    journal = open_journal(out)
    assert [is_done(journal, name, "1:1") for name in names] == [False] + [True] * (len(names) - 1)
    assert all(journal.is_ours(name) for name in names)
    assert not journal.is_ours("".join(names) + "!")
    journal.close()
    assert lines_of(out)[1]["claim"] == names


def test_names_that_are_no_utf8_are_told_apart(tmp_path: Path) -> None:
    run(tmp_path, done("a\udce9"), claim=["a\udce9"])
    journal = open_journal(tmp_path)
    assert is_done(journal, "a\udce9", "1:1")
    assert not any(journal.is_ours(name) for name in ("a\udce8", "a?", "a\ufffd"))
    journal.close()


# Crashes


def test_torn_at_every_byte(tmp_path: Path) -> None:
    """However far the last write came, all before it counts and the journal goes on."""
    records = [done("a"), failed("b"), done(os.fsdecode(b"\xff\n")), done("d")]
    run(tmp_path, *records, claim=[record.name for record in records])
    path = path_of(tmp_path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        journal = open_journal(tmp_path)
        for record, end in zip(records, ends[2:-1], strict=True):
            expected = record.status == "done" and end <= cut
            assert is_done(journal, record.name, "1:1") == expected, (cut, record)
            assert journal.is_ours(record.name) == (ends[1] <= cut), (cut, record)
        kept = max([end for end in ends if end <= cut], default=ends[0])
        assert path.read_bytes() == whole[:kept], cut
        journal.add([done("new")])
        journal.close()
        assert path.read_bytes().startswith(whole[:kept] + b'{"name":"new"'), cut


@given(tail=st.binary(max_size=60))
@settings(max_examples=40)
def test_garbage_at_the_end(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    """What a file system may leave there after a power cut."""
    out = tmp_path_factory.mktemp("out")
    run(out, done("a"), claim=["a"])
    whole = path_of(out).read_bytes()
    path_of(out).write_bytes(whole + b"{" + tail)
    journal = open_journal(out)
    assert is_done(journal, "a", "1:1")
    journal.add([done("b")])
    journal.close()
    journal = open_journal(out)
    assert is_done(journal, "a", "1:1") and is_done(journal, "b", "1:1")
    journal.close()


@pytest.mark.parametrize("foreign", [b"\0" * 40 + b"\n", b"[1]\n", b"7\n", b"{}\n", b"\xff\n"])
def test_lines_that_are_no_record_cost_no_other_record(tmp_path: Path, foreign: bytes) -> None:
    run(tmp_path, done("a"), done("b"), claim=["a", "b"])
    lines = path_of(tmp_path).read_bytes().splitlines(keepends=True)
    lines.insert(2, foreign)
    path_of(tmp_path).write_bytes(b"".join(lines))
    journal = open_journal(tmp_path)
    assert is_done(journal, "a", "1:1") and is_done(journal, "b", "1:1")
    journal.close()


def test_leftovers_are_removed(tmp_path: Path) -> None:
    run(tmp_path)
    leftover = tmp_path / DIRECTORY / "tmp" / "0123abcd"
    leftover.write_bytes(b"half an image")
    (tmp_path / "theirs.png").touch()
    journal = open_journal(tmp_path)
    assert list(journal.temporary.iterdir()) == []
    assert leftover.parent == journal.temporary
    assert (tmp_path / "theirs.png").exists()
    journal.close()


# The job that it is of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "f01"}, "model was 'f00', now 'f01'"),
        ({"model": "f" * 64, "model_name": "a"}, "model was 'f00', now 'f"),
        ({"fit": "resize"}, "fit was 'tile', now 'resize'"),
        ({"quality": 80}, "quality was not given, now 80"),
        ({"noise": True, "seed": 3}, "noise was False, now True; seed was 0, now 3"),
        ({"new option": 1}, "new option was not given, now 1"),
        ({"lenient": True}, "choose another OUT, with a list of the damaged images as IN"),
    ],
)
def test_another_job_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run(tmp_path, done("a"), claim=["a"])
    before = path_of(tmp_path).read_bytes()
    with pytest.raises(InputError, match=f"holds another job's images.*{message}.*--overwrite"):
        open_journal(tmp_path, {**JOB, **change})
    assert path_of(tmp_path).read_bytes() == before
    run(tmp_path)  # the refused one has let go of the lock


def test_what_options_decided_holds_as_long_as_they_are_the_same(tmp_path: Path) -> None:
    one, other = "item_timeout=300", "max_pixels=5 strict"
    under = {"a": "", "b": one, "c": other, "d": f"{one}; {other}"}
    run(
        tmp_path,
        *(Record(name, "failed", "1:1", reason="x", under=told) for name, told in under.items()),
    )
    history = History(tmp_path, JOB)

    def known(*options: str) -> str:
        return "".join(name for name in under if history.status_of(name, "1:1", options))

    assert known(one, other) == "abcd"
    assert known(one, "max_pixels=6 strict") == "ab"
    assert known("item_timeout=9", other) == "ac"
    assert known() == "a"
    assert not any(history.status_of(name, "1:2", (one, other)) for name in under)


def test_a_model_file_that_has_changed_is_told_in_words(tmp_path: Path) -> None:
    job = {**JOB, "model": "a" * 64, "model_name": "maps"}
    open_journal(tmp_path, job).close()
    said = (
        r"the file of model 'maps' has changed since: its SHA-256 began a{12}, now b{12}; to go "
        r"on, give --model the file of before\)"
    )
    with pytest.raises(InputError, match=said):
        open_journal(tmp_path, {**job, "model": "b" * 64})
    with pytest.raises(InputError, match="model was 'maps', now 'other'"):
        open_journal(tmp_path, {**job, "model": "b" * 64, "model_name": "other"})


@pytest.mark.parametrize("schema", [0, 1, 3, None, "2"])
def test_another_version_is_refused(tmp_path: Path, schema: object) -> None:
    run(tmp_path)
    path_of(tmp_path).write_text(json.dumps({**JOB, "schema": schema}) + "\n")
    with pytest.raises(InputError, match=r"another version of pix2pix-batch.*--overwrite"):
        open_journal(tmp_path)
    journal = open_journal(tmp_path, overwrite=True)
    journal.begin()
    journal.close()
    assert lines_of(tmp_path)[0]["schema"] == 2


def test_overwrite_begins_anew(tmp_path: Path) -> None:
    run(tmp_path, done("a"), claim=["a"])
    journal = open_journal(tmp_path, {**JOB, "fit": "resize"}, overwrite=True)
    assert journal.overwrites
    assert not is_done(journal, "a", "1:1") and not journal.is_ours("a")
    journal.add([failed("refused")])
    journal.begin(workers=2)
    journal.close()
    header, refused, _, begun = lines_of(tmp_path)
    assert header == {"schema": 2, **JOB, "fit": "resize", "overwrite": True}
    assert refused["name"] == "refused"
    assert begun["workers"] == 2


@pytest.mark.parametrize("ends", ["close", "withdraw", "is killed"])
def test_overwriting_changes_nothing_before_the_run_begins(tmp_path: Path, ends: str) -> None:
    run(tmp_path, done("a"), claim=["a"])
    before = path_of(tmp_path).read_bytes()
    journal = open_journal(tmp_path, {**JOB, "fit": "resize"}, overwrite=True)
    journal.add([failed("refused")])
    assert path_of(tmp_path).read_bytes() == before
    if ends == "is killed":
        journal._file.close()
        journal._held.close()
    else:
        getattr(journal, ends)()
    assert path_of(tmp_path).read_bytes() == before
    journal = open_journal(tmp_path)
    assert is_done(journal, "a", "1:1")
    assert list(journal.temporary.iterdir()) == []
    journal.close()


def test_a_refused_run_leaves_what_was_written_before(tmp_path: Path) -> None:
    """Also where no run of the job has begun yet: all its inputs were refused."""
    run(tmp_path, failed("a"))
    before = path_of(tmp_path).read_bytes()
    open_journal(tmp_path).withdraw()
    assert path_of(tmp_path).read_bytes() == before


def test_a_run_that_was_refused_touches_nothing_more(tmp_path: Path) -> None:
    """Another one may be writing by the time it is closed."""
    run(tmp_path, done("a"))
    refused = open_journal(tmp_path)
    refused.withdraw()
    other = open_journal(tmp_path)
    (other.temporary / "in-the-making").touch()
    refused.close()
    assert (other.temporary / "in-the-making").exists()
    with pytest.raises(InputError, match="another run is writing there"):
        open_journal(tmp_path)
    other.close()


def test_a_refused_first_run_leaves_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.add([failed("a")])
    journal.withdraw()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_another_command_makes_there_is_refused(tmp_path: Path, overwrite: bool) -> None:
    dataset = {**JOB, "kind": "synthesize"}
    for kind, other, message in (
        (JOB, dataset, "holds images of 'pix2pix-batch convert'; choose another OUT"),
        (dataset, JOB, "holds a dataset of 'pix2pix-batch synthesize', finished or not"),
    ):
        out = tmp_path / message[6:13]
        open_journal(out, kind).close()
        before = path_of(out).read_bytes()
        for opener in (Journal, History):
            with pytest.raises(InputError, match=message):
                opener(out, other, overwrite=overwrite)
        assert path_of(out).read_bytes() == before


def test_a_tar_is_known_to_lack_members_until_it_is_made_whole(tmp_path: Path) -> None:
    whole = Record("x.tar", "done", "1:1", "x.tar", members=3)
    run(tmp_path, failed("x.tar/a.png"), replace(whole, failed=1))
    assert [History(tmp_path, JOB).failed_within(name) for name in ("x.tar", "y.tar")] == [1, 0]
    run(tmp_path, done("x.tar/a.png"), whole)
    assert History(tmp_path, JOB).failed_within("x.tar") == 0


def test_a_resumed_overwrite_may_still_overwrite(tmp_path: Path) -> None:
    run(tmp_path)
    journal = open_journal(tmp_path, overwrite=True)
    journal.begin()
    journal.close()
    journal = open_journal(tmp_path)
    assert journal.overwrites
    journal.close()


def test_without_overwrite_nothing_may_be(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert not journal.overwrites
    journal.close()


def test_settled_decisions_stay(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.settle(precision="bf16", batch_size=8)
    journal.claim(["a"])
    journal.add([done("a")])
    journal.close()
    journal = open_journal(tmp_path)
    assert (journal.job["precision"], journal.job["batch_size"]) == ("bf16", 8)
    assert is_done(journal, "a", "1:1")
    journal.close()
    header, *_ = lines_of(tmp_path)
    assert header == {"schema": 2, **JOB, "overwrite": False, "precision": "bf16", "batch_size": 8}


def test_what_was_recorded_before_settling_stays(tmp_path: Path) -> None:
    """Inputs refused before the first claim are part of the record too."""
    journal = open_journal(tmp_path)
    journal.add([failed("refused")])
    journal.settle(precision="fp32")
    journal.add([failed("later")])
    journal.close()
    names = [line["name"] for line in lines_of(tmp_path) if "name" in line]
    assert names == ["refused", "later"]


def test_settling_that_cannot_be_written(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    (tmp_path / DIRECTORY / "journal.new").mkdir()
    with pytest.raises(OutputError, match=r"journal\.jsonl"):
        journal.settle(precision="fp32")
    journal.close()


# One run at a time

OPEN_AND_WAIT = """
import sys, json
from pathlib import Path
from pix2pix_batch.journal.writer import Journal, Record
journal = Journal(Path(sys.argv[1]), json.loads(sys.argv[2]))
journal.claim(["a", "b"])
journal.add([Record("a", "done", "1:1")])
print("open", flush=True)
sys.stdin.read()
journal.close()
"""


def other_process(out: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, str(out), json.dumps(JOB)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    return process


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path, overwrite: bool) -> None:
    process = other_process(tmp_path)
    (tmp_path / DIRECTORY / "tmp" / "in-the-making").touch()
    before = path_of(tmp_path).read_bytes()
    with pytest.raises(InputError, match="another run is writing there"):
        open_journal(tmp_path, overwrite=overwrite)
    assert path_of(tmp_path).read_bytes() == before
    assert (tmp_path / DIRECTORY / "tmp" / "in-the-making").exists()
    process.communicate(b"")
    assert process.returncode == 0
    open_journal(tmp_path, overwrite=overwrite).close()


def test_a_killed_runs_lock_does_not_block(tmp_path: Path) -> None:
    process = other_process(tmp_path)
    process.kill()
    process.communicate()
    journal = open_journal(tmp_path)
    assert is_done(journal, "a", "1:1")
    assert journal.is_ours("b") and not is_done(journal, "b", "1:1")
    journal.close()


def test_a_second_journal_in_the_same_process_is_refused(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    with pytest.raises(InputError, match="another run is writing there"):
        open_journal(tmp_path)
    journal.close()
    open_journal(tmp_path).close()


# Reading alone


def test_history_says_what_the_journal_says_and_writes_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.claim(["a", "b", "c"])
    journal.add([done("a"), failed("b")])
    with path_of(tmp_path).open("ab") as file:
        file.write(b'{"name": "c", "status": "do')  # just being written
    (journal.temporary / "in-the-making").touch()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    history = History(tmp_path, JOB)  # while the journal is open
    assert [is_done(history, name, "1:1") for name in "abcd"] == [True, False, False, False]
    assert [history.is_ours(name) for name in "abcd"] == [True, True, True, False]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert path_of(tmp_path).read_bytes().endswith(b'"do')
    journal.close()


@pytest.mark.parametrize("overwrite", [False, True])
def test_history_of_nothing(tmp_path: Path, overwrite: bool) -> None:
    if overwrite:
        run(tmp_path, done("a"), claim=["a"])
    before = sorted(tmp_path.rglob("*"))
    history = History(tmp_path, JOB, overwrite=overwrite)
    assert not is_done(history, "a", "1:1") and not history.is_ours("a")
    assert history.overwrites == overwrite
    assert sorted(tmp_path.rglob("*")) == before


def test_history_of_another_job_is_refused(tmp_path: Path) -> None:
    run(tmp_path, done("a"))
    with pytest.raises(InputError, match="model was 'f00', now 'f01'"):
        History(tmp_path, {**JOB, "model": "f01"})


# Output directories that take nothing


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputError, match="out: cannot be written"):
        open_journal(tmp_path / "out")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / DIRECTORY).touch()
    with pytest.raises(OutputError, match="other: cannot be written"):
        open_journal(tmp_path / "other")


def test_a_directory_where_the_journal_should_be(tmp_path: Path) -> None:
    path_of(tmp_path).mkdir(parents=True)
    with pytest.raises(OutputError, match=r"journal\.jsonl: "):
        open_journal(tmp_path)
    path_of(tmp_path).rmdir()
    open_journal(tmp_path).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            open_journal(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("what", ["claim", "add"])
def test_a_full_disk(tmp_path: Path, what: str) -> None:
    run(tmp_path, done("a"), claim=["a"])
    journal = open_journal(tmp_path)
    with open("/dev/full", "ab") as full:
        os.dup2(full.fileno(), journal._file.fileno())
    with pytest.raises(OutputError, match=r"cannot be written.*same command goes on from there"):
        journal.claim(["b"]) if what == "claim" else journal.add([done("b")])
    journal.close()
    journal = open_journal(tmp_path)
    assert is_done(journal, "a", "1:1") and not is_done(journal, "b", "1:1")
    journal.close()


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"<<<<<<< HEAD\n"])
def test_a_journal_that_an_editor_or_a_merge_has_damaged_is_refused(
    tmp_path: Path, before: bytes
) -> None:
    run(tmp_path, done("a"))
    damaged = before + path_of(tmp_path).read_bytes()
    path_of(tmp_path).write_bytes(damaged)
    for read in (open_journal, lambda out: list(read_events(out)), lambda out: History(out, JOB)):
        with pytest.raises(InputError, match="is damaged: line 1 must be the job"):
            read(tmp_path)
    assert path_of(tmp_path).read_bytes() == damaged
    open_journal(tmp_path, overwrite=True).close()


def test_lines_may_end_as_on_windows(tmp_path: Path) -> None:
    run(tmp_path, done("a"))
    path_of(tmp_path).write_bytes(path_of(tmp_path).read_bytes().replace(b"\n", b"\r\n"))
    assert is_done(History(tmp_path, JOB), "a", "1:1")
