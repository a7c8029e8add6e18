"""Verification: every output is there, decodes and is the one that the job made."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.history import History
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.shard import Shard
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.reporting.verification import verify

JOB = {"model": "f00", "fit": "tile"}


def image(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def record(name: str, data: bytes) -> Record:
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return Record(name, "done", "1:1", f"{name}.png", hash=digest)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """100 images; a, b, c, d are made wrong in four ways."""
    names = [*"abcd", *(f"{number}" for number in range(96))]
    journal = Journal(tmp_path, JOB)
    for seed, name in enumerate(names):
        (tmp_path / f"{name}.png").write_bytes(image(seed))
        journal.add([record(name, image(1000)), record(name, image(seed))])
    journal.add([Record("failed", "failed", "1:1", reason="damaged")])
    journal.close()
    (tmp_path / "a.png").unlink()
    (tmp_path / "b.png").write_bytes(image(1)[:400])
    (tmp_path / "c.png").write_bytes(image(1000))  # what an earlier run made
    (tmp_path / "d.png").unlink()
    (tmp_path / "d.png").mkdir()
    return tmp_path


def test_says_what_is_wrong_by_kind_and_has_it_made_again(out: Path) -> None:
    seen: list[int] = []
    found = verify(str(out), watch=seen.append)
    assert (found.checked, found.wrong) == (100, 4)
    assert seen[-1] == 100
    figures = found.figures()
    assert [figures[kind] for kind in ("missing", "damaged", "changed", "unreadable")] == [1] * 4
    assert {kind: names[0][0] for kind, names in found.examples.items()} == {
        "missing": "a.png",
        "damaged": "b.png",
        "changed": "c.png",
        "unreadable": "d.png",
    }
    history = History(out, JOB)
    assert [history.status_of(name, "1:1") for name in ("a", "b", "c", "d", "0")] == [
        *[""] * 4,
        "done",
    ]
    assert all(history.is_ours(name) for name in "abcd"), "so that they may be replaced"
    again = verify(str(out))
    assert (again.checked, again.wrong) == (100, 4), "they are not made again yet"


def test_shards_are_checked_together(tmp_path: Path) -> None:
    for number in (1, 2):
        journal = Journal(tmp_path, JOB, shard=Shard(number, 2))
        journal.add([record(f"{number}", image(number))])
        journal.close()
    (tmp_path / "1.png").write_bytes(image(1))
    found = verify(str(tmp_path))
    assert (found.checked, found.figures()["missing"]) == (2, 1)
    assert History(tmp_path, JOB).status_of("1", "1:1") == "done"


def test_not_while_a_run_writes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JOB)
    with pytest.raises(InputError, match="another run is writing there"):
        verify(str(tmp_path))
    journal.close()


def test_nothing_is_made_where_there_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no journal"):
        verify(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_what_goes_with_an_output_is_missed(tmp_path: Path) -> None:
    journal = Journal(tmp_path, JOB)
    journal.add([replace(record("a", image(1)), beside=("a.pgw",))])
    journal.close()
    (tmp_path / "a.png").write_bytes(image(1))
    (tmp_path / "a.pgw").write_text("1")
    assert verify(str(tmp_path)).wrong == 0
    (tmp_path / "a.pgw").unlink()
    found = verify(str(tmp_path))
    assert found.figures()["missing"] == 1
    assert "a.pgw" in found.examples["missing"][0][1]


def test_a_journal_apart_from_its_outputs_is_not_taken_for_out(tmp_path: Path) -> None:
    """As lies in the DIR of --journal: its outputs are at a URL, and none is missing."""
    journal = Journal(tmp_path, {**JOB, "out": "s3://bucket/o"})
    journal.add([record("a", image(0))])
    journal.close()
    before = journal.path.read_bytes()
    with pytest.raises(InputError, match=r"status s3://bucket/o --journal .* --verify"):
        verify(str(tmp_path))
    assert journal.path.read_bytes() == before
    Journal(tmp_path, JOB).close()  # what the line tells makes no other job


def test_images_of_an_unpacked_tar_that_fails_now_are_not_looked_for(tmp_path: Path) -> None:
    """No run makes them before the tar is mended: they are outdated, with its directory."""
    image_record = replace(record("t.tar/a.png", image(0)), output="t/a.png")
    journal = Journal(tmp_path, JOB)
    journal.add([image_record, Record("t.tar", "done", "1:1", "t", members=1)])
    (tmp_path / "t").mkdir()
    journal.close()
    assert verify(str(tmp_path)).figures()["missing"] == 1
    journal = Journal(tmp_path, JOB)
    journal.add([image_record, Record("t.tar", "done", "1:1", "t", members=1)])
    journal.add([Record("t.tar", "failed", "2:2", reason="is cut off", outdated="t")])
    journal.close()
    found = verify(str(tmp_path))
    assert (found.checked, found.wrong, found.outdated_such) == (0, 0, ["t"])
