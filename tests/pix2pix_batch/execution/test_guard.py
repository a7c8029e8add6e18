"""A mount that goes ends the job; one that was never there, or a bad image, does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pix2pix_batch.errors import OutputError
from pix2pix_batch.execution.guard import Guard
from pix2pix_batch.journal.record import Record

BAD, GOOD = Record("a.png", "failed", reason="cannot be read"), Record("a.png", "done")


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    source, kept = tmp_path / "in", tmp_path / "out" / ".pix2pix-batch"
    for place in (source, kept):
        place.mkdir(parents=True)
        (place / "file").touch()
    return source, kept


def test_a_bad_image_is_no_reason_to_stop(places: tuple[Path, Path]) -> None:
    Guard(*places).check([BAD, GOOD])


@pytest.mark.parametrize("which", [0, 1])
def test_a_mount_that_goes(places: tuple[Path, Path], which: int) -> None:
    guard = Guard(*places)
    (places[which] / "file").unlink()  # the mount point, empty
    guard.check([GOOD])  # all is well as long as all goes well
    named = str(places[0] if which == 0 else places[1].parent)
    with pytest.raises(OutputError, match="mount it again, then run the same command") as caught:
        guard.check([GOOD, BAD])
    assert named in str(caught.value)
    shutil.rmtree(places[which])
    with pytest.raises(OutputError):
        guard.check([BAD])


def test_what_this_machine_never_saw_is_not_missed(places: tuple[Path, Path]) -> None:
    for root in (None, places[0] / "absent"):
        Guard(root, places[1]).check([BAD])
