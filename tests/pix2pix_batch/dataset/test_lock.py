"""The lock on a dataset's OUT: one at a time, and no trace where nothing was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from pix2pix_batch.dataset.lock import lock_directory, lock_of
from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.reader import is_locked


def test_one_at_a_time(tmp_path: Path) -> None:
    with lock_directory(tmp_path):
        assert is_locked(lock_of(tmp_path))
        with (
            pytest.raises(InputError, match="another run is writing there"),
            lock_directory(tmp_path),
        ):
            pass
        assert is_locked(lock_of(tmp_path))
    with lock_directory(tmp_path):
        pass


def test_what_was_made_for_it_goes_with_it(tmp_path: Path) -> None:
    with lock_directory(tmp_path / "deep" / "out"):
        assert lock_of(tmp_path / "deep" / "out").exists()
    assert list(tmp_path.iterdir()) == []


def test_what_was_put_there_stays(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with lock_directory(out):
        (lock_of(out).parent / "journal.jsonl").touch()
    assert (lock_of(out).parent / "journal.jsonl").exists()
    with lock_directory(out):  # whose directories were there
        (lock_of(out).parent / "journal.jsonl").unlink()
    assert lock_of(out).parent.is_dir()
    assert not is_locked(lock_of(out))


def test_a_place_that_cannot_be_written_is_wrong_use(tmp_path: Path) -> None:
    lock_of(tmp_path).mkdir(parents=True)
    with (
        pytest.raises(InputError, match=r"dataset\.lock: cannot be written"),
        lock_directory(tmp_path),
    ):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="cannot be written"),
        lock_directory(tmp_path / "file" / "out"),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == [tmp_path / ".pix2pix-batch", tmp_path / "file"]
