"""What a journal tells of its job, while a run writes it and afterwards."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.events import Begun, Counted, Ended
from pix2pix_batch.journal.record import Record, to_line
from pix2pix_batch.journal.shard import Shard, journal_of
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.reporting import status, status_text

JOB = {"input": "/maps", "model": "f00" * 20, "model_name": "tiny", "fit": "tile", "format": "png"}
START = 1_700_000_000.0


def done(name: str) -> Record:
    return Record(name, "done", "1:1", name)


def failed(name: str, reason: str, stamp: str = "1:1") -> Record:
    return Record(name, "failed", stamp, reason=reason)


def write(out: Path, *lines: dict[str, object] | Record, shard: Shard | None = None) -> None:
    """A journal of these lines, as a run that was killed leaves it."""
    Journal(out, JOB, shard=shard).close()
    with journal_of(out, shard).open("ab") as file:
        for line in lines:
            file.write(line.line() if isinstance(line, Record) else to_line(line))


def told(out: Path, now: float = START + 3600) -> list[str]:
    return list(status_text.format_status(status.read_status(out), str(out), now))


def test_counts_by_the_last_word_on_each_input(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"begin": START, "workers": 2},
        {"total": 20},
        {"claim": ["a", "b", "c", "d", "e", "f", "g"]},
        *map(done, "abc"),
        failed("d", "cannot be decoded (3 bytes missing)"),
        failed("e", "cannot be decoded (17 bytes missing)"),
        failed("f", "cannot be read (Input/output error)", stamp=""),
        Record("g", "quarantined", "1:1", reason="killed 3 workers"),
        {"at": START + 10, "seconds": 10.0, "worker": "tcp://1"},
        {"claim": ["c", "h"]},
        failed("a", "cannot be decoded (1 bytes missing)"),
        {"at": START + 20, "seconds": 10.0, "worker": "tcp://1"},
    )
    found = status.read_status(tmp_path)
    assert (found.done, found.failed, found.quarantined) == (2, 4, 1)
    assert (found.total, found.left, found.unfinished, found.retriable) == (20, 13, 1, 1)
    assert [(group.count, group.reason) for group in found.failures] == [
        (3, "cannot be decoded (N bytes missing)"),
        (1, "cannot be read (Input/output error)"),
    ]
    assert [(group.example, group.reason) for group in found.quarantine] == [
        ("g", "killed N workers")
    ]
    assert found.rate == pytest.approx(8 / 20, rel=0.1)
    assert json.loads(json.dumps(found.figures()))["job"]["model_name"] == "tiny"
    text = "\n".join(told(tmp_path))
    assert "The last run was cut off." in text
    assert "2 of 20 done (10 %), 4 failed, 1 quarantined, 13 left" in text
    assert re.search(r"3  such as [dea]: cannot be decoded \(\d+ bytes missing\)", text)
    assert "1  f: cannot be read (Input/output error)" in text
    assert text.endswith(
        "The same command again would convert the 13 left, retry 1 of the failures, leave 4 alone "
        "while unchanged (see --retry-failed)."
    )


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("finished", "The last one finished 59 min 0 s ago"),
        ("interrupted", "The last one was interrupted 59 min"),
        ("stopped", "The last one could not go on and stopped 59 min"),
    ],
)
def test_how_the_last_run_ended(tmp_path: Path, outcome: str, says: str) -> None:
    write(
        tmp_path,
        {"begin": START - 100, "workers": 1},
        {"end": START - 50, "outcome": "interrupted", "total": 1},
        {"begin": START, "workers": 1},
        {"total": 1},
        done("a"),
        {"at": START + 50, "seconds": 1.0, "worker": ""},
        {"end": START + 60, "outcome": outcome, "total": 1},
    )
    assert status.read_status(tmp_path).outcome == outcome
    assert says in told(tmp_path)[1]
    assert told(tmp_path)[-1].startswith("All is done")


def test_a_job_that_has_not_begun(tmp_path: Path) -> None:
    write(tmp_path)
    assert told(tmp_path)[1:] == [
        "No run is writing.",
        "0 done",
        "The same command again would convert what is left.",
    ]


def test_sees_a_run_and_shards_that_are_writing_and_disturbs_neither(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JOB)
    journal.add_event(Begun(START, 1))
    journal.add([done("a")])
    with journal.path.open("ab") as file:
        file.write(b'{"name":"b","sta')  # just being written
    before = journal.path.read_bytes()
    assert status.read_status(tmp_path).running == ["all"]
    assert told(tmp_path)[1] == "A run is writing now, since 1 h 0 min."
    assert journal.path.read_bytes() == before
    journal.close()
    assert status.read_status(tmp_path).running == []
    shards = [Journal(tmp_path, JOB, shard=Shard(number, 4)) for number in (1, 3)]
    assert told(tmp_path)[1].startswith("Shards 1/4, 3/4 are writing now")
    for shard in shards:
        shard.close()


def test_shards_are_told_together(tmp_path: Path) -> None:
    for number, name in enumerate("ab", 1):
        assert status_total(tmp_path) is None
        if number == 2:
            assert told(tmp_path)[2] == "Shard 1/2 of 2 shards; 2/2 has not begun."
            assert told(tmp_path)[-1] == (
                "A run without --shard would do the rest; or one of --shard 2/2."
            )
            assert status.read_status(tmp_path).missing == ["2/2"]
        write(
            tmp_path,
            {"begin": START, "workers": 1, "shard": f"{number}/2"},
            {"total": 5 * number, "shard": f"{number}/2"},
            done(name),
            {"at": START + 1, "seconds": 1.0, "worker": ""},
            shard=Shard(number, 2),
        )
    found = status.read_status(tmp_path)
    assert (found.done, found.total, found.left) == (2, 15, 13)
    assert (found.shards, found.missing) == (["1/2", "2/2"], [])
    assert told(tmp_path)[2] == "All 2 shards have begun."
    Journal(tmp_path, JOB).close()  # merges them
    assert status.read_status(tmp_path) == replace(found, shards=[])


def status_total(out: Path) -> int | None:
    try:
        return status.read_status(out).total
    except InputError:
        return None


def test_a_directory_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no journal; give a directory"):
        status.read_status(tmp_path)
    for name in ("recipe.yaml", "report.html"):
        (tmp_path / name).touch()
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InputError, match=r"a run of .* train', which .*/report\.html describes; "):
        status.read_status(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such directory"):
        status.read_status(tmp_path / "nowhere")


def test_a_journal_of_another_version(tmp_path: Path) -> None:
    write(tmp_path)
    path = journal_of(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"schema":2', b'"schema":1'))
    with pytest.raises(InputError, match="another version of pix2pix-batch"):
        status.read_status(tmp_path)


@pytest.mark.parametrize(
    "gone",
    [
        {"done": 5, "failed": 1, "quarantined": 0},  # as earlier versions wrote it
        [*"01234", "bad"],
    ],
)
def test_inputs_that_are_gone_do_not_count(
    tmp_path: Path, gone: list[str] | dict[str, int]
) -> None:
    journal = Journal(tmp_path, {"input": "i"})
    journal.add([Record(f"{n}", "done", "1:1", f"{n}.png") for n in range(10)])
    journal.add([Record("bad", "failed", "1:1", reason="damaged")])
    journal.begin(workers=1)
    journal.add_event(Counted(10, gone))
    journal.add([Record(f"new {n}", "done", "1:1", f"new {n}.png") for n in range(3)])
    journal.close()
    found = status.read_status(tmp_path)
    assert (found.done, found.failed, found.total, found.left) == (8, 0, 10, 2)
    assert not found.failures


def made(tar: str, *members: Record) -> list[Record]:
    """The records of a tar that was converted."""
    failed = sum(one.status == "failed" for one in members) or None
    tar_record = Record(tar, "done", "1:1", tar, hash="f00", members=len(members), failed=failed)
    return [*members, tar_record]


def test_of_a_tar_the_images_count_that_it_had_when_it_was_made_last(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JOB)
    bad = failed("s.tar/bad.png", "damaged")
    odd = replace(done("s.tar/odd.png"), warning="is short")
    journal.add_event(Begun(START, 1))
    journal.add([*made("s.tar", done("s.tar/a.png"), odd, bad), *made("t.tar", done("t.tar/a"))])

    def counts() -> tuple[int | None, int, int, int, int]:
        found = status.read_status(tmp_path)
        assert sum(group.count for group in found.failures) == found.failed
        return found.total, found.done, found.failed, found.warned, found.tars

    journal.add_event(Ended(START, Ended.FINISHED, {"total": 4}))
    assert counts() == (4, 3, 1, 1, 2)
    journal.add(made("s.tar", done("s.tar/a.png"), done("s.tar/b.png")))
    assert counts() == (3, 3, 0, 0, 2)
    journal.add([failed("s.tar", "its output was missing: no such file", "")])
    assert counts() == (2, 1, 1, 0, 1)
    journal.add(made("s.tar", done("s.tar/a.png"), done("s.tar/b.png"))[-1:])
    assert counts() == (3, 3, 0, 0, 2), "as a check restores what it finds right again"
    journal.add_event(Counted(3, ["s.tar"]))
    assert counts() == (1, 1, 0, 0, 1)
    journal.add([failed("t.tar", "its output was changed: is not the tar the job made", "")])
    assert counts() == (1, 0, 1, 0, 0), "of no image is known any more that it is left"
    journal.add([done("x.png")])
    journal.add_event(Counted(1, ["t.tar"]))
    assert counts() == (1, 1, 0, 0, 0)
    journal.add_event(Counted(2, [], back=["s.tar"]))
    assert counts() == (3, 3, 0, 0, 1)
    journal.close()
