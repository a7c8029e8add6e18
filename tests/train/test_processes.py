"""Several processes train as one with their batches put together, here over gloo on the CPU."""

from __future__ import annotations

import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.end_to_end.command import Ran
from tests.train.running import (
    Process,
    start,
    steps,
    timeless,
    train,
    trainer,
    weights,
    words,
)

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch has no gloo",
)

EACH: dict[str, Any] = {"norm": "instance", "disc_norm": "instance", "lr": 0.002}
"""Norms that are each image's own: batch norm's statistics are each process's own on the CPU."""


@dataclass
class Launched:
    """Processes that train as one, and what they meet at, which must live as long as they do."""

    processes: list[Process]
    store: torch.distributed.TCPStore

    def finish(self) -> list[Ran]:
        return [process.finish() for process in self.processes]


def launch(
    log: Path, arguments: list[str], processes: int = 2, gate: Path | None = None
) -> Launched:
    """As ``accelerate launch --cpu`` and ``torchrun`` do: the one that launches has the port open
    at which they meet, so that nobody else can take it."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    together = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "OMP_NUM_THREADS": "1",
    }
    ranks = map(str, range(processes))
    running = [
        start(
            log.with_name(f"{log.name}-{rank}"), arguments, gate,
            RANK=rank, LOCAL_RANK=rank, **together,
        )
        for rank in ranks
    ]  # fmt: skip
    return Launched(running, store)


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "masks, average, accumulated": {"size": 64, "ema": 0.9, "accumulate": 2, "epochs": 4},
    "penalty, patches": {
        "gan_mode": "wgangp",
        "norm": "batch-statistics",
        "spectral_norm": True,
        "lambda_patches": 100.0,
    },
}


def rounding(images: int, size: int) -> float:
    """How far two runs may be apart, as a share of how far they moved.

    A weight's gradient is a sum over the batch's ``images * size**2`` pixels at most, so a sum in
    another order differs by that many epsilons of its terms at most, by their root as a rule.
    Adam divides by the gradient's size: weights whose gradient is that small may move by a whole
    step either way. They are as rare as small, so that the norm over a layer differs by the root.
    """
    return float((images * size**2 * torch.finfo(torch.float32).eps) ** 0.5)


def apart(one: Path, other: Path, begun: dict[str, torch.Tensor], step: int) -> dict[str, float]:
    """How far two runs' weights are from each other, as a share of how far they moved."""
    first, second = weights(one, step), weights(other, step)
    # Biases before instance norm are idle, running statistics each process's own
    names = [name for name in begun if name.endswith(("weight", "norm.bias"))]
    moved = {name: float((first[name] - begun[name]).norm()) for name in names}
    return {
        name: float((first[name] - second[name]).norm()) / moved[name]
        for name in names if moved[name]
    }  # fmt: skip


def starting_weights(data: Path, run: Path, **changes: Any) -> dict[str, torch.Tensor]:
    made = trainer(data, run, **changes)
    return {name: value.clone() for name, value in made.generator.state_dict().items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_train_as_one_with_twice_the_batch(
    pairs: Path, tmp_path: Path, variant: str
) -> None:
    changes = {"epochs": 2, **EACH, **VARIANTS[variant]}
    arguments = words(pairs, tmp_path / "two", "--every", 2, **changes, batch_size=1)
    first, second = launch(tmp_path / "log", arguments).finish()
    assert first.code == second.code == 0, (first, second)
    assert second.out == second.err == "", "the first process speaks for all"
    assert "6 steps of " in first.err

    assert train(pairs, tmp_path / "one", "--every", 2, **changes, batch_size=2).code == 0
    far = rounding(2 * changes.get("accumulate", 1), changes.get("size", 32))
    one, two = (timeless(tmp_path / name) for name in ("one", "two"))
    for record, other in zip(one, two, strict=True):
        assert record["step"] == other["step"] and record["epoch"] == other["epoch"]
        # a tenth of what they move by is more than losses change in so few steps
        assert other["losses"] == pytest.approx(record["losses"], rel=far / 10, abs=far / 10)
        assert other["validation"] == pytest.approx(record["validation"], rel=far / 10)
    begun = starting_weights(pairs, tmp_path / "start", **changes)
    for step in steps(tmp_path / "one"):
        found = apart(tmp_path / "one", tmp_path / "two", begun, step)
        assert found and max(found.values()) < far, found


def test_the_other_half_of_the_batch_matters(pairs: Path, tmp_path: Path) -> None:
    """Or the comparison above would hold for a run that left it out."""
    for name, size in (("one", 1), ("two", 2)):
        assert (
            train(pairs, tmp_path / name, "--every", 3, **EACH, epochs=size, batch_size=size).code
            == 0
        )
    begun = starting_weights(pairs, tmp_path / "start", **EACH)
    found = apart(tmp_path / "one", tmp_path / "two", begun, 6)
    assert min(found.values()) > 5 * rounding(2, 32), found


def test_stopped_together_they_go_on_exactly(pairs: Path, tmp_path: Path) -> None:
    """One of them is told to stop; all do, after the same step."""
    arguments = words(pairs, tmp_path / "two", "--every", 3, **EACH, epochs=4)
    gate = tmp_path / "gate"
    gate.touch()
    running = launch(tmp_path / "log", arguments, gate=gate)
    running.processes[0].wait_for(lambda: (tmp_path / "two/checkpoints/step-00000003.pt").exists())
    running.processes[1].signal(signal.SIGTERM)
    gate.unlink()
    first, second = running.finish()
    assert first.code == second.code == 143, (first, second)
    stopped = steps(tmp_path / "two")[-1]
    assert stopped < 12
    assert f"Stopped after step {stopped}" in first.err
    for ran in launch(tmp_path / "again", arguments).finish():
        assert ran.code == 0, ran
    arguments = words(pairs, tmp_path / "whole", "--every", 3, **EACH, epochs=4)
    for ran in launch(tmp_path / "log", arguments).finish():
        assert ran.code == 0, ran
    one, two = (timeless(tmp_path / name) for name in ("whole", "two"))
    assert len(one) == 4
    for record, other in zip(one, two, strict=True):
        assert other.pop("losses") == pytest.approx(record.pop("losses"), rel=1e-12)
        assert other == record
    model = "model.safetensors"
    assert (tmp_path / "two" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()


def launch_at_gate(pairs: Path, place: Path) -> tuple[list[str], Path, Launched]:
    """Two processes that wait after their first checkpoint; and what they were started with."""
    arguments = words(pairs, place / "run", "--every", 3, **EACH, epochs=4)
    gate = place / "gate"
    gate.touch()
    running = launch(place / "log", arguments, gate=gate)
    first = place / "run/checkpoints/step-00000003.pt"
    running.processes[0].wait_for(first.exists)
    return arguments, gate, running


def test_a_pair_that_one_of_them_cannot_read_any_more(pairs: Path, tmp_path: Path) -> None:
    """All end after the same step, with a checkpoint, and go on once it is mended."""
    data = tmp_path / "pairs"
    shutil.copytree(pairs, data)
    arguments, gate, running = launch_at_gate(data, tmp_path)
    pair = sorted((data / "train").iterdir())[0]
    whole = pair.read_bytes()
    pair.write_bytes(whole[:100])
    gate.unlink()
    ended = running.finish()
    told = [ran for ran in ended if pair.name in ran.err]
    other = [ran for ran in ended if "another process of this run cannot go on" in ran.err]
    assert len(told) == len(other) == 1, ended
    assert other[0].code == 3
    stopped = steps(tmp_path / "run")[-1]
    assert 3 <= stopped < 12
    pair.write_bytes(whole)
    for ran in launch(tmp_path / "again", arguments).finish():
        assert ran.code == 0, ran
    assert [record["step"] for record in timeless(tmp_path / "run")] == [3, 6, 9, 12]


def test_one_of_them_is_killed(pairs: Path, tmp_path: Path) -> None:
    _, gate, running = launch_at_gate(pairs, tmp_path)
    running.processes[1].signal(signal.SIGKILL)
    gate.unlink()
    first, second = running.finish()
    assert (first.code, second.code) == (3, -signal.SIGKILL), first
    assert "error: another process of this run has ended" in first.err


def test_a_run_in_use_is_refused_to_all_of_them(pairs: Path, tmp_path: Path) -> None:
    arguments, gate, running = launch_at_gate(pairs, tmp_path)
    refused, other = launch(tmp_path / "second", arguments).finish()
    assert refused.code == 2 and "another run is training there now" in refused.err
    assert other.code == 3 and "another process of this run has ended" in other.err
    gate.unlink()
    assert [ran.code for ran in running.finish()] == [0, 0]
