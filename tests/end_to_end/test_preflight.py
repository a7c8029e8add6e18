"""What the workers of somebody's cluster must have, each shown by a real one that lacks it."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pix2pix_batch.execution.planner import WAITING_CHUNKS
from pix2pix_batch.inference.autotune import PROBE_IMAGES
from tests.end_to_end.command import JOURNAL, convert, finish, fork, put, wait_for, words
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.harmful import harmful, preloaded, shut

OLD = "from pix2pix_batch.execution import preflight\npreflight.__version__ = '0.0.1'\n"
"""Loaded by a worker, has it say that it has another version."""

DIES_WHEN_ASKED = """
import os, pathlib
from pix2pix_batch.execution import preflight

answer = getattr(preflight, "answer", preflight.find_problems)  # Dask may load this more than once
preflight.answer, mark = answer, pathlib.Path({mark!r})

def find_problems(*needs):
    if mark.exists():
        return answer(*needs)
    mark.touch()
    os._exit(1)

preflight.find_problems = find_problems
"""


CLONE_NEWNS = 0x00020000


def elsewhere(command: str) -> Callable[[], None]:
    """What changes the file systems of the process that calls it, for it alone, by ``command``."""
    words = ["unshare", "--mount", "sh", "-c", command]
    tried = subprocess.run(words, capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"cannot have mounts of its own: {tried.stderr.strip()}")
    return partial(change_mounts, command)


def change_mounts(command: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["sh", "-c", command], check=True)


def test_workers_that_are_not_fit_are_named_with_the_remedy(tmp_path: Path, tiny: Path) -> None:
    source, out, other = tmp_path / "in", tmp_path / "out", tmp_path / "other"
    put(source / "a.png")
    for place in (out, other):
        place.mkdir()
    old = tmp_path / "old.py"
    old.write_text(OLD)
    with Fleet(tmp_path / "fleet") as fleet:
        fleet.worker("old", DASK_DISTRIBUTED__WORKER__PRELOAD=str(old))
        fleet.worker("blind", before=elsewhere(f"mount -t tmpfs none {source}"))
        fleet.worker("apart", before=elsewhere(f"mount -t tmpfs none {out}"))
        read_only = f"mount --bind {out} {out} && mount -o remount,ro,bind {out}"
        fleet.worker("mute", before=elsewhere(read_only))
        put(tmp_path / "copy" / "a.png", seed=1)
        fleet.worker("behind", before=elsewhere(f"mount --bind {tmp_path / 'copy'} {source}"))
        fleet.wait_for(5)
        ran = convert(source, out, tiny, "--scheduler", fleet.address)
        lines = ran.err.splitlines()
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert lines[0] == "error: 5 workers are not fit for this job:"
        assert all(line.startswith("  tcp://127.0.0.1:") for line in lines[1:])
        for reason in (
            "has pix2pix-batch 0.0.1, not ",
            f"cannot read the input {source / 'a.png'}",
            f"has another file as the input {source / 'a.png'}: mount the same IN there",
            f"does not see the OUT of this run, {out}: mount the same file system there",
            f"cannot write in OUT, {out} (Read-only file system)",
        ):
            assert sum(reason in line for line in lines[1:]) == 1, ran.err
        assert list(out.iterdir()) == []
        made = tmp_path / "made"  # to begin anew is refused as well, and costs nothing then
        assert convert(source, made, tiny).code == 0
        before = (made / JOURNAL).read_bytes()
        ran = convert(source, made, tiny, "--scheduler", fleet.address, "--overwrite")
        assert (ran.code, ran.out) == (2, ""), ran.err
        assert (made / JOURNAL).read_bytes() == before


def test_a_worker_that_dies_as_it_is_asked_is_asked_no_more(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    (tmp_path / "dies.py").write_text(DIES_WHEN_ASKED.format(mark=str(tmp_path / "mark")))
    with Fleet(tmp_path / "fleet") as fleet:
        fleet.worker("good")
        fleet.worker("dies", DASK_DISTRIBUTED__WORKER__PRELOAD=str(tmp_path / "dies.py"))
        fleet.wait_for(2)
        ran = convert(tmp_path / "in", tmp_path / "out", tiny, "--scheduler", fleet.address)
    assert ran.code == 0, ran.err
    assert (tmp_path / "mark").exists()


def test_an_unfit_worker_that_joins_late_is_left_out(tmp_path: Path, tiny: Path) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    count = 100
    for number in range(count):
        harmful(source / f"{number:03}.png", "held" if number >= PROBE_IMAGES else "none")
    with Fleet(tmp_path / "fleet", **preloaded(gate)) as fleet:
        fleet.worker("good")
        fleet.wait_for(1)
        process = fork(*words(source, out, tiny, "--scheduler", fleet.address))

        def sent() -> int:
            if not (out / JOURNAL).exists():
                return 0
            return (out / JOURNAL).read_text().count('{"claim":')

        wait_for(lambda: sent() == 1 + WAITING_CHUNKS, process)
        fleet.worker("blind", before=elsewhere(f"mount -t tmpfs none {source}"))
        # it was seen, and is given something
        wait_for(lambda: sent() > 1 + WAITING_CHUNKS, process)
        gate.unlink()
        ran = finish(process)
    assert (ran.code, *ran.counts()) == (0, count, 0, 0), ran.err
    assert ran.err.count("note: left out tcp://127.0.0.1:") == 1
    assert "cannot read the input" in ran.err
