"""Whatever dies or hangs, all that can be converted is, and every input is accounted for."""

from __future__ import annotations

import json
import random
from pathlib import Path

import psutil

from tests.end_to_end.command import (
    convert,
    digests,
    environment,
    finish,
    journal,
    put,
    records,
    start,
    wait_for,
    words,
)
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.harmful import harmful, preloaded

COUNT = 24
MANY = 80


def workers_of(process_id: int) -> list[psutil.Process]:
    """The worker processes of a run on a cluster of its own."""
    found = []
    for child in psutil.Process(process_id).children(recursive=True):
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


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
    options = ["--workers", 2, "--item-timeout", 2]
    ran = convert(source, out, tiny, *options, env=environment(**preloaded()))
    assert (ran.code, *ran.counts()) == (3, COUNT, 0, 4), ran.err
    assert len(set(digests(out).values())) == COUNT
    found = records(out)
    assert {
        name: tuple(found[f"{name}.png"][key] for key in ("status", "reason")) for name in deeds
    } == {
        "00a": ("quarantined", "killed its worker 2 times (Segmentation fault)"),
        "01a": ("quarantined", "killed its worker 3 times"),
        "02a": ("quarantined", "decoding it took longer than 2 s"),
        "15a": ("failed", "too large for this machine's memory"),
    }
    assert not (out / ".pix2pix-batch" / "running").exists()
    # The next run leaves them alone.
    ran = convert(source, out, tiny, *options, env=environment(**preloaded()))
    assert ran.figures["converted"] == 0
    assert ran.figures["skipped"] == COUNT
    assert {name: record["status"] for name, record in records(out).items()} == {
        name: record["status"] for name, record in found.items()
    }


def test_workers_killed_at_random_cost_no_image(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(COUNT):
        harmful(source / f"{number:02}.png", "slow")
    process = start(*words(source, out, tiny, "--workers", 2), env=environment(**preloaded()))
    rng = random.Random(5)
    for count in (1, 9):
        wait_for(lambda count=count: len(list(out.glob("*.png"))) >= count, process)
        victims = workers_of(process.pid)
        if victims:
            rng.choice(victims).kill()
    ran = finish(process)
    assert (ran.code, *ran.counts()) == (0, COUNT, 0, 0), ran.err
    assert len(digests(out)) == COUNT


def test_workers_join_and_leave_and_the_scheduler_is_killed(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(MANY):
        harmful(source / f"{number:03}.png", "slow")
    with Fleet(tmp_path / "fleet", **preloaded()) as fleet:
        first = fleet.worker("first")
        fleet.wait_for(1)
        more = ["--scheduler", fleet.file, "--format", "png"]
        process = start(*words(source, out, tiny, *more))
        fleet.worker("second")
        journal_file = out / ".pix2pix-batch" / "journal.jsonl"

        def seen() -> set[str]:
            if not journal_file.exists():
                return set()
            lines = journal_file.read_text().splitlines(keepends=True)
            parsed = [json.loads(line) for line in lines if line.endswith("\n")]
            return {line["worker"] for line in parsed if line.get("worker")}

        wait_for(lambda: len(seen()) == 2, process)  # the late one is used
        fleet.kill(first)
        done = len(list(out.glob("*.png")))
        wait_for(lambda: len(list(out.glob("*.png"))) > done, process)  # the other goes on
        fleet.kill(fleet.scheduler)
        ran = finish(process)
    assert ran.code == 3, ran.err
    assert "error: the Dask scheduler is gone" in ran.err
    assert "run the same command again" in ran.err
    converted = ran.figures["converted"]
    assert 0 < converted < MANY
    assert ran.figures["failed"] == 0
    assert sum(line.get("status") == "done" for line in journal(out)) == converted
    ran = convert(source, out, tiny, "--workers", 2, env=environment(**preloaded()))
    assert (ran.code, *ran.counts()) == (0, MANY - converted, converted, 0), ran.err


def test_an_input_that_vanishes_ends_the_job(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(COUNT):
        harmful(source / f"{number:02}.png", "slow")
    process = start(*words(source, out, tiny), env=environment(**preloaded()))
    wait_for(lambda: any(out.glob("*.png")), process)
    source.rename(tmp_path / "elsewhere")
    source.mkdir()  # as an empty mount point
    ran = finish(process)
    assert ran.code == 3, ran.err
    assert f"error: {source}: the input is gone or empty; mount it again" in ran.err
    converted = ran.figures["converted"]
    assert 0 < converted < COUNT
    assert ran.figures["failed"] == 0, ran.err
    source.rmdir()
    (tmp_path / "elsewhere").rename(source)
    ran = convert(source, out, tiny, env=environment(**preloaded()))
    assert (ran.code, *ran.counts()) == (0, COUNT - converted, converted, 0), ran.err
