"""Several processes train as one with their batches put together, here over gloo on the CPU."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.end_to_end.command import Ran
from tests.train.running import Process, start, steps, timeless, train, weights, words

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()),
    reason="this PyTorch has no gloo",
)

EACH: dict[str, Any] = {"norm": "instance", "disc_norm": "instance", "lr": 0.002}
"""Norms that are each image's own: batch norm's statistics are each process's own on the CPU."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch(log: Path, arguments: list[str], processes: int = 2) -> list[Process]:
    """As ``accelerate launch --cpu`` and ``torchrun`` do."""
    together = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    return [
        start(
            log.with_name(f"{log.name}-{rank}"), arguments, RANK=rank, LOCAL_RANK=rank, **together
        )
        for rank in map(str, range(processes))
    ]


def finish(running: list[Process]) -> list[Ran]:
    return [process.finish() for process in running]


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "masks, average, accumulated": {"size": 64, "ema": 0.9, "accumulate": 2, "epochs": 4},
    "penalty": {"gan_mode": "wgangp", "norm": "batch-statistics", "spectral_norm": True},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_processes_train_as_one_with_twice_the_batch(
    pairs: Path, tmp_path: Path, variant: str
) -> None:
    changes = {"epochs": 2, **EACH, **VARIANTS[variant]}
    arguments = words(pairs, tmp_path / "two", "--every", 2, **changes, batch_size=1)
    first, second = finish(launch(tmp_path / "log", arguments))
    assert first.code == second.code == 0, (first, second)
    assert second.out == second.err == "", "the first process speaks for all"
    assert "6 steps of " in first.err

    assert train(pairs, tmp_path / "one", "--every", 2, **changes, batch_size=2).code == 0
    one, two = (timeless(tmp_path / name) for name in ("one", "two"))
    for record, other in zip(one, two, strict=True):
        assert record["step"] == other["step"] and record["epoch"] == other["epoch"]
        assert other["losses"] == pytest.approx(record["losses"], rel=1e-5, abs=1e-5)
        assert other["validation"] == pytest.approx(record["validation"], rel=1e-3)
    for step in steps(tmp_path / "one"):
        after, expected = (weights(tmp_path / name, step) for name in ("two", "one"))
        for name, value in expected.items():
            # Biases before instance norm are idle, running statistics each process's own
            if name.endswith(("weight", "norm.bias")):
                torch.testing.assert_close(after[name], value, rtol=1e-5, atol=1e-5, msg=name)


def test_the_other_half_of_the_batch_matters(pairs: Path, tmp_path: Path) -> None:
    """Or the comparison above would hold for a run that left it out."""
    for name, size in (("one", 1), ("two", 2)):
        assert (
            train(pairs, tmp_path / name, "--every", 3, **EACH, epochs=size, batch_size=size).code
            == 0
        )
    one, two = (weights(tmp_path / name, 6)["up.0.conv.weight"] for name in ("one", "two"))
    assert not torch.allclose(one, two, rtol=1e-3, atol=1e-3)


def test_stopped_together_they_go_on_exactly(pairs: Path, tmp_path: Path) -> None:
    """One of them is told to stop; all do, after the same step."""
    arguments = words(pairs, tmp_path / "two", "--every", 3, **EACH, epochs=15)
    running = launch(tmp_path / "log", arguments)
    running[0].wait_for(lambda: (tmp_path / "two/checkpoints/step-00000003.pt").exists())
    running[1].signal(signal.SIGTERM)
    first, second = finish(running)
    assert first.code == second.code == 130, (first, second)
    stopped = steps(tmp_path / "two")[-1]
    assert stopped < 45
    assert f"Stopped after step {stopped}" in first.err
    for ran in finish(launch(tmp_path / "again", arguments)):
        assert ran.code == 0, ran
    arguments = words(pairs, tmp_path / "whole", "--every", 3, **EACH, epochs=15)
    for ran in finish(launch(tmp_path / "log", arguments)):
        assert ran.code == 0, ran
    one, two = (timeless(tmp_path / name) for name in ("whole", "two"))
    assert len(one) == 15
    for record, other in zip(one, two, strict=True):
        assert other.pop("losses") == pytest.approx(record.pop("losses"), rel=1e-12)
        assert other == record
    model = "model.safetensors"
    assert (tmp_path / "two" / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()
