"""Two hosts, made of two network namespaces, one of which is cut off while it works."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pix2pix_batch.execution.planner import WAITING_CHUNKS
from tests.end_to_end.command import finish, fork, records, wait_for, words
from tests.end_to_end.fleet import Fleet
from tests.end_to_end.harmful import harmful, preloaded, shut

pytestmark = pytest.mark.timeout(600)

COUNT = 300
SOON = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s",
}
"""What the guide advises to have a host missed soon."""


@dataclass
class Hosts:
    """``near`` and ``far``: their namespaces, at 10.77.0.1 and 10.77.0.2, joined by a cable."""

    near: str
    far: str

    def cut(self) -> None:
        ip("-n", self.near, "link", "set", self.near, "down")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


CLONE_NEWNET = 0x40000000


def on(host: str) -> Callable[[], None]:
    """What takes the process that calls it to a host."""
    return partial(move_to, host)


def move_to(host: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/var/run/netns/{host}") as namespace:
        moved = libc.setns(namespace.fileno(), CLONE_NEWNET)
    assert moved == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    code = uuid.uuid4().hex[:8]
    made = Hosts(f"near{code}", f"far{code}")
    both = (made.near, made.far)
    try:
        try:
            for name in both:
                ip("netns", "add", name)
            ip("link", "add", made.near, "type", "veth", "peer", "name", made.far)
            for number, name in enumerate(both, 1):
                ip("link", "set", name, "netns", name)
                ip("-n", name, "address", "add", f"10.77.0.{number}/24", "dev", name)
                for link in (name, "lo"):
                    ip("-n", name, "link", "set", link, "up")
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", "") or error
            pytest.skip(f"cannot make network namespaces: {why}")
        yield made
    finally:
        for name in both:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def workers_of(out: Path) -> list[str]:
    """The addresses of the workers that chunks came back from, in order."""
    path = out / ".pix2pix-batch" / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [line["worker"] for line in found if line.get("worker")]


def test_a_host_that_is_cut_off_is_done_without(tmp_path: Path, tiny: Path, hosts: Hosts) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    for number in range(COUNT):
        harmful(source / f"{number:03}.png", "slow")
    variables = {**preloaded(gate), **SOON}
    fleet_place = tmp_path / "fleet"
    with Fleet(fleet_place, before=on(hosts.near), host="10.77.0.1", **variables) as fleet:
        fleet.worker("near", before=on(hosts.near), host="10.77.0.1")
        fleet.worker("far", before=on(hosts.far), host="10.77.0.2")
        fleet.wait_for(2)
        given = words(source, out, tiny, "--scheduler", fleet.address)
        process = fork(*given, before=on(hosts.near), **SOON)
        both = {"10.77.0.1", "10.77.0.2"}
        wait_for(lambda: {host_of(address) for address in workers_of(out)} == both, process)
        hosts.cut()
        before = len(workers_of(out))
        gate.unlink()
        ran = finish(process)
        assert ran.code == 0, ran.err
    assert {record["status"] for record in records(out).values()} == {"done"}
    assert len(records(out)) == COUNT
    after = [host_of(address) for address in workers_of(out)[before:]]
    assert after.count("10.77.0.2") <= 2 + WAITING_CHUNKS  # which had come back before
    assert after[-1] == "10.77.0.1"


def host_of(address: str) -> str:
    return address.removeprefix("tcp://").rpartition(":")[0]
