"""A disk that refuses for a moment is asked again; one that refuses for good is not."""

from __future__ import annotations

import errno

import pytest

from pix2pix_batch.storage.retry import retry_disk


class Disk:
    """Refuses with these errors, one after the other, and then gives ``data``."""

    def __init__(self, *errors: int) -> None:
        self.errors = list(errors)

    def __call__(self) -> bytes:
        if self.errors:
            raise OSError(self.errors.pop(0), "refused")
        return b"data"


def test_what_passes_is_waited_for() -> None:
    assert retry_disk(Disk()) == b"data"
    assert retry_disk(Disk(errno.ESTALE, errno.EIO), waits=(0, 0)) == b"data"


def test_what_stays_is_raised() -> None:
    with pytest.raises(OSError) as caught:
        retry_disk(Disk(*[errno.EIO] * 3), waits=(0, 0))
    assert caught.value.errno == errno.EIO


def test_a_file_that_is_not_there_is_not_waited_for() -> None:
    disk = Disk(errno.ENOENT, errno.EIO)
    with pytest.raises(FileNotFoundError):
        retry_disk(disk, waits=(60,))
    assert disk.errors == [errno.EIO]
