"""A job that everything happens to: ``python -m tests.chaos``.

Images, some of them bad in every way, are converted on a Dask cluster whose workers are killed one
after the other, whose scheduler is killed once, and by a client that is killed once. Then every
input must be accounted for exactly once, every good one be converted, each bad one have its
reason, and the outputs be byte for byte those of a run that nothing happened to.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.conftest import save_bundle
from tests.end_to_end.command import (
    PATIENCE,
    convert,
    digests,
    environment,
    put,
    records,
    words,
)
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.forked import Forked, run_logged
from tests.end_to_end.harmful import harmful, preloaded

LIMIT = 3.0
"""Seconds that an image may take."""

PROGRESS = 5
"""Images that are done between two kills, at least: where workers start slowly, they would else be
killed before they are of any use, for a long time."""

REASONS = {
    "truncated": ("failed", "damaged: "),
    "text": ("failed", "not an image"),
    "memory": ("failed", "too large for this machine's memory"),
    "segfault": ("quarantined", "killed its worker"),
    "kill": ("quarantined", "killed its worker"),
    "hang": ("quarantined", "decoding it took longer than"),
}
"""What each kind of bad image must end as."""

DEADLY = ("segfault", "kill", "hang")
"""Those that end their worker, several times each."""


@dataclass
class Plan:
    """``every``: seconds between two kills of a worker; ``deadly``: images of each of the kinds
    ``kill_by``, of which each costs its workers several times; the other bad ones are told at
    once."""

    images: int = 5000
    bad: float = 0.02
    deadly: int = 3
    kill_by: tuple[str, ...] = DEADLY
    every: float = 10.0
    workers: int = 2
    size: tuple[int, int] = (200, 150)
    seed: int = 0


@dataclass
class Events:
    """What happened to the job, in order."""

    start: float = field(default_factory=time.monotonic)
    counts: collections.Counter[str] = field(default_factory=collections.Counter)

    def tell(self, what: str, more: str = "") -> None:
        self.counts[what] += 1
        print(f"{time.monotonic() - self.start:7.1f} s  {what}{more}", flush=True)


def make_inputs(place: Path, plan: Plan) -> dict[str, str]:
    """Good images in ``place / "good"``, and all in ``place / "in"``; the bad ones by name."""
    rng = random.Random(plan.seed)
    kinds = [kind for kind in plan.kill_by for _ in range(plan.deadly)]
    told = [kind for kind in REASONS if kind not in DEADLY]
    number = max(len(told), round(plan.images * plan.bad) - len(kinds))
    kinds += [told[index % len(told)] for index in range(number)]
    where = dict(zip(rng.sample(range(plan.images), len(kinds)), kinds, strict=True))
    bad = {}
    (place / "in").mkdir()
    for index in range(plan.images):
        name = f"{index:06}.png"
        path = place / "in" / name
        kind = where.get(index, "")
        if not kind:
            put(place / "good" / name, seed=index, size=plan.size)
            os.link(place / "good" / name, path)
            continue
        bad[name] = kind
        if kind == "truncated":
            whole = put(place / "whole.png", seed=index, size=plan.size).read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        elif kind == "text":
            path.write_text("This is no image.")
        else:
            harmful(path, kind)
    return bad


class Chaos:
    """One job, killed and resumed until it is done."""

    def __init__(self, place: Path, plan: Plan, model: Path) -> None:
        self.place, self.plan, self.events = place, plan, Events()
        self.out = place / "out"
        self.rng = random.Random(plan.seed)
        self.command = [*map(str, words(place / "in", self.out, model))]
        self.command += ["--item-timeout", str(LIMIT)]
        self.fleets: list[Fleet] = []

    def run(self) -> int:
        """The exit code of the last run."""
        try:
            fleet = self._fleet()
            self._until(fleet, 1 / 3)
            fleet.kill(fleet.scheduler)
            self.events.tell("scheduler killed")
            code = self.client.wait(timeout=PATIENCE)
            self.events.tell("client ended", f" with {code}")
            assert code == 3, "the client did not notice"
            fleet = self._fleet()  # while the old one's workers live on
            self._until(fleet, 2 / 3)
            self.client.kill()
            self.client.wait()
            self.events.tell("client killed")
            self._until(fleet, 2)
            return self.client.wait()
        finally:
            for fleet in self.fleets:
                fleet.__exit__()

    def _fleet(self) -> Fleet:
        fleet = Fleet(self.place / f"fleet{len(self.fleets)}", **preloaded())
        self.fleets.append(fleet)
        for index in range(self.plan.workers):
            fleet.worker(str(index))
        fleet.wait_for(self.plan.workers)
        return fleet

    def _until(self, fleet: Fleet, share: float) -> None:
        """Run the client, killing workers, until that share of the images is done, or it ends."""
        given = [str(self.place / "client.log"), *self.command, "--scheduler", fleet.address]
        self.client = Forked(given, environment(), str(self.place), None, run_logged)
        self.events.tell("client started")
        next_kill, known = time.monotonic() + self.plan.every, 0
        while self.client.poll() is None:
            if self._done() >= share * self.plan.images:
                return
            if time.monotonic() >= next_kill and self._done() >= known + PROGRESS:
                next_kill, known = time.monotonic() + self.plan.every, self._done()
                self._kill_a_worker(fleet)
            time.sleep(0.2)
        assert share > 1, f"the client ended with {self.client.returncode}: see its log"

    def _done(self) -> int:
        return (
            sum(name.endswith(".png") for name in os.listdir(self.out)) if self.out.exists() else 0
        )

    def _kill_a_worker(self, fleet: Fleet) -> None:
        found = []
        for process in fleet.processes[1:]:
            try:
                children = psutil.Process(process.pid).children(recursive=True)
                found += [child for child in children if child.ppid() != process.pid]
            except psutil.Error:
                continue
        if found:
            with contextlib.suppress(psutil.NoSuchProcess):  # an image was quicker
                self.rng.choice(found).send_signal(signal.SIGKILL)
                self.events.tell("worker killed", f", {self._done():,} images done")


def check(place: Path, bad: dict[str, str], plan: Plan, code: int) -> list[str]:
    """What is not as it should be."""
    out, wrong = place / "out", []
    found = records(out)
    names = set(os.listdir(place / "in"))
    if code != 3:
        wrong.append(f"the last run ended with {code}, not 3 (some failed)")
    if set(found) != names:
        wrong.append(f"{len(names ^ set(found))} inputs are not accounted for")
    for name, record in found.items():
        status, reason = REASONS.get(bad.get(name, ""), ("done", ""))
        if record["status"] != status or reason not in record.get("reason", ""):
            wrong.append(f"{name} ({bad.get(name, 'good')}) is {record}")
    quiet, made = digests(place / "quiet"), digests(out)
    if quiet != made:
        differ = {name for name in quiet.keys() | made.keys() if quiet.get(name) != made.get(name)}
        wrong.append(f"{len(differ)} outputs differ from the quiet run's: {sorted(differ)[:5]}")
    left = [path for path in (out / ".pix2pix-batch" / "tmp").iterdir()]
    if left or (out / ".pix2pix-batch" / "running").exists():
        wrong.append("temporary files are left")
    return wrong


def play(place: Path, plan: Plan) -> list[str]:
    """Do it all below ``place``; what went wrong."""
    model = save_bundle(place / "tiny.safetensors")
    bad = make_inputs(place, plan)
    begun = time.monotonic()
    ran = convert(place / "good", place / "quiet", model)
    assert ran.code == 0, ran.err
    took = time.monotonic() - begun
    chaos = Chaos(place, plan, model)
    code = chaos.run()
    events = chaos.events
    wrong = check(place, bad, plan, code)
    kinds = collections.Counter(bad.values())
    print(f"\n{plan.images:,} images, {len(bad):,} of them bad {dict(kinds)}")
    print(f"quiet run (one worker, good images only): {took:.0f} s")
    print(f"with chaos ({plan.workers} workers): {time.monotonic() - events.start:.0f} s, of which")
    for what, count in events.counts.items():
        print(f"  {what}: {count}")
    for line in wrong:
        print(f"WRONG: {line}")
    if wrong:
        print("what the clients said at last:")
        print((place / "client.log").read_text(errors="replace")[-4000:])
    else:
        print("every input is accounted for once, every good one is as in the quiet run")
    return wrong


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=Plan.images)
    parser.add_argument("--bad", type=float, default=Plan.bad, help="share of bad images")
    parser.add_argument("--deadly", type=int, default=Plan.deadly, help="of each deadly kind")
    parser.add_argument("--every", type=float, default=Plan.every, help="seconds between kills")
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--keep", type=Path, help="a new directory to keep all in")
    given = vars(parser.parse_args(arguments))
    keep = given.pop("keep")
    if keep is not None:
        keep.mkdir(parents=True)
        return bool(play(keep.resolve(), Plan(**given)))
    with tempfile.TemporaryDirectory() as place:
        return bool(play(Path(place), Plan(**given)))


if __name__ == "__main__":
    sys.exit(main())
