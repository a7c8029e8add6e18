"""Reading journals."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.shard import Shard, journal_of
from pix2pix_batch.journal.writer import Journal

JOB = {"model": "f00", "model_name": "tiny"}


def test_a_run_reads_the_first_line_of_each_journal_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may lie on a disk far away, one for each of very many shards."""
    for number in (1, 2, 3):
        journal = Journal(tmp_path, JOB, shard=Shard(number, 3))
        journal.begin(1)
        journal.add([Record(f"{number}.png", "done", "1:1")])
        journal.close()
    opened: list[str] = []
    open_path = Path.open

    def count(path: Path, *arguments: str) -> object:
        opened.append(path.name)
        return open_path(path, *arguments)

    monkeypatch.setattr(Path, "open", count)
    for read in (History, Journal):
        opened.clear()
        reading = read(tmp_path, JOB, shard=Shard(1, 3))
        own, *others = (journal_of(tmp_path, Shard(number, 3)).name for number in (1, 2, 3))
        assert [opened.count(name) for name in others] == [1, 1]
        assert opened.count(own) == (2 if read is History else 3), "its lines; and to write"
        if isinstance(reading, Journal):
            reading.close()
