"""Whatever dies or hangs, all that can be converted is, and every input is accounted for."""

from __future__ import annotations

import contextlib
import json
import random
import tarfile
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.command import (
    JOURNAL,
    Started,
    convert,
    digests,
    finish,
    fork,
    journal,
    put,
    records,
    wait_for,
    words,
)
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.harmful import harmful, preloaded, shut

pytestmark = pytest.mark.timeout(900)

COUNT = 24
MANY = 300
"""Slow ones: more than even several workers do before a test has seen what it waits for."""

SMALL_CHUNKS = ("--batch-size", 4)
"""A chunk is a batch at least: by default half a minute of slow images."""


def workers_of(process_id: int) -> list[psutil.Process]:
    """The worker processes of a run on a cluster of its own: what its fork server has forked."""
    found = []
    for child in psutil.Process(process_id).children(recursive=True):
        try:
            if child.ppid() != process_id and "forkserver" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def find_worker(process: Started, rng: random.Random) -> psutil.Process:
    """One of a run's; the last to be killed may be all there was, until another takes its place."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = workers_of(process.pid)
        return bool(found)

    wait_for(look, process)
    return rng.choice(found)


def find_template(process: Started) -> psutil.Process:
    """What a run's workers are forked from."""
    found: list[psutil.Process] = []

    def look() -> bool:
        with contextlib.suppress(psutil.Error):  # a worker that has just ended has no parent
            found.extend(filter(None, (worker.parent() for worker in workers_of(process.pid))))
        return bool(found)

    wait_for(look, process)
    return found[0]


def test_harmful_images_are_quarantined_and_their_neighbours_converted(
    tmp_path: Path, tiny: Path
) -> None:
    """A crash, an out-of-memory kill and a hang among good images, in one chunk or the next."""
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(COUNT):
        put(source / f"{number:02}.png", seed=number)
    deeds = {"00a": "segfault", "01a": "kill", "02a": "hang", "15a": "memory"}
    for name, deed in deeds.items():
        harmful(source / f"{name}.png", deed)
    options = ["--workers", 2, "--item-timeout", 4]
    ran = convert(source, out, tiny, *options, **preloaded())
    assert (ran.code, *ran.counts()) == (3, COUNT, 0, 4), ran.err
    assert len(set(digests(out).values())) == COUNT
    found = records(out)
    assert {
        name: tuple(found[f"{name}.png"][key] for key in ("status", "reason")) for name in deeds
    } == {
        "00a": ("quarantined", "killed its worker 2 times (Segmentation fault)"),
        "01a": ("quarantined", "killed its worker 3 times"),
        "02a": ("quarantined", "decoding it took longer than 4 s"),
        "15a": ("failed", "too large for this machine's memory"),
    }
    assert not (out / ".pix2pix-batch" / "running").exists()
    # The next run leaves them alone.
    ran = convert(source, out, tiny, *options, **preloaded())
    assert ran.figures["converted"] == 0
    assert ran.figures["skipped"] == COUNT
    assert {name: record["status"] for name, record in records(out).items()} == {
        name: record["status"] for name, record in found.items()
    }


def test_a_harmful_image_in_a_tar_only_costs_itself(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    with tarfile.open(source / "a.tar", "w") as tar:
        for number in range(COUNT):
            tar.add(put(tmp_path / f"{number:02}.png", seed=number), f"{number:02}.png")
            tar.add(tiny, f"{number:02}.bin")
            if number == 9:  # not among those that are looked at first
                tar.add(harmful(tmp_path / "bad.png", "segfault"), "bad.png")
                tar.add(tiny, "bad.bin")
    ran = convert(source, out, tiny, **preloaded())
    assert (ran.code, *ran.counts()) == (3, COUNT, 0, 1), ran.err
    bad = records(out)["a.tar/bad.png"]
    assert (bad["status"], bad["reason"]) == (
        "quarantined",
        "killed its worker 2 times (Segmentation fault)",
    )
    with tarfile.open(out / "a.tar") as tar:
        assert tar.getnames() == [
            f"{number:02}.{suffix}" for number in range(COUNT) for suffix in ("png", "bin")
        ]
    ran = convert(source, out, tiny, **preloaded())
    assert (ran.code, *ran.counts(), ran.figures["failed_before"]) == (3, 0, 1, 0, 1), ran.err


def test_workers_killed_at_random_cost_no_image(tmp_path: Path, tiny: Path) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    for number in range(MANY):
        harmful(source / f"{number:03}.png", "slow")
    environs = preloaded(gate)
    process = fork(*words(source, out, tiny, "--workers", 2), **environs)
    rng = random.Random(5)
    for count in (1, 9):
        wait_for(lambda count=count: len(list(out.glob("*.png"))) >= count, process)
        with contextlib.suppress(psutil.NoSuchProcess):  # the one killed before, till now
            find_worker(process, rng).kill()
    template = find_template(process)
    assert template.pid != process.pid
    template.kill()  # what the workers are forked from, and all of them with it
    gate.unlink()
    ran = finish(process)
    assert (ran.code, *ran.counts()) == (0, MANY, 0, 0), ran.err
    assert len(digests(out)) == MANY


def test_workers_join_and_leave_and_the_scheduler_is_killed(tmp_path: Path, tiny: Path) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    for number in range(MANY):
        harmful(source / f"{number:03}.png", "slow")
    with Fleet(tmp_path / "fleet", **preloaded(gate)) as fleet:
        first = fleet.worker("first")
        fleet.wait_for(1)
        process = fork(*words(source, out, tiny, "--scheduler", fleet.file, *SMALL_CHUNKS))
        fleet.worker("second")

        def returned() -> list[str]:
            """The workers that chunks came back from, in order."""
            if not (out / JOURNAL).exists():
                return []
            lines = (out / JOURNAL).read_text().splitlines(keepends=True)
            parsed = [json.loads(line) for line in lines if line.endswith("\n")]
            return [line["worker"] for line in parsed if line.get("worker")]

        wait_for(lambda: len(set(returned())) == 2, process)  # the late one is used
        fleet.kill(first)
        known = len(returned())
        # the other goes on: what the first had done may have been on its way, which is no more
        # than it had at hand
        wait_for(lambda: len(returned()) > known + 4, process)
        fleet.kill(fleet.scheduler)
        ran = finish(process)
    assert ran.code == 3, ran.err
    assert "error: the Dask scheduler is gone" in ran.err
    assert "run the same command again" in ran.err
    converted = ran.figures["converted"]
    assert 0 < converted < MANY
    assert ran.figures["failed"] == 0
    assert sum(line.get("status") == "done" for line in journal(out)) == converted
    ran = convert(source, out, tiny, *SMALL_CHUNKS, **preloaded())
    assert (ran.code, *ran.counts()) == (0, MANY - converted, converted, 0), ran.err


def test_an_input_that_vanishes_ends_the_job(tmp_path: Path, tiny: Path) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    for number in range(MANY):
        harmful(source / f"{number:03}.png", "slow")
    process = fork(*words(source, out, tiny, *SMALL_CHUNKS), **preloaded(gate))
    wait_for(lambda: any(out.glob("*.png")), process)
    source.rename(tmp_path / "elsewhere")
    source.mkdir()  # as an empty mount point
    ran = finish(process)
    assert ran.code == 3, ran.err
    assert f"error: {source}: the input is gone or empty; mount it again" in ran.err
    converted = ran.figures["converted"]
    assert 0 < converted < MANY
    assert ran.figures["failed"] == 0, ran.err
    source.rmdir()
    (tmp_path / "elsewhere").rename(source)
    ran = convert(source, out, tiny, *SMALL_CHUNKS, **preloaded())
    assert (ran.code, *ran.counts()) == (0, MANY - converted, converted, 0), ran.err
