"""Small recipes, pairs and runs, in this process or in ones that signals may hit."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState
from click.testing import CliRunner
from PIL import Image

from pix2pix_batch.cli import main
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.loop import Options, Trainer
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.rundir import RunDirectory
from tests.end_to_end.command import PATIENCE, Ran, picture
from tests.end_to_end.forked import start_template

SMALL = {
    "name": "small", "size": 32, "ngf": 2, "ndf": 2, "precision": "fp32", "epochs": 2,
}  # fmt: skip


def parse(**values: object) -> Recipe:
    """A recipe of nothing but defaults and ``values``."""
    return recipes.parse_recipe({"name": "x", **values}, "some.yaml")


def small(**changes: object) -> Recipe:
    return recipes.parse_recipe({**SMALL, **changes}, "small")


def settings(**changes: object) -> list[str]:
    """:func:`small` as the command's options."""
    values = {key: value for key, value in {**SMALL, **changes}.items() if key != "name"}
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def side_by_side(seed: int, side: int = 40) -> Image.Image:
    """Soft colours and, on the right, their negative."""
    both = Image.new("RGB", (2 * side, side))
    both.paste(one := picture(side, side, seed), (0, 0))
    both.paste(Image.fromarray(255 - np.asarray(one)), (side, 0))
    return both


def make_pairs(data: Path, side: int = 40, **splits: int) -> Path:
    """That many pairs in each split's directory of ``data``."""
    for number, (split, count) in enumerate(splits.items()):
        (data / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            side_by_side(100 * number + i, side).save(data / split / f"{i:02}.png")
    return data


def trainer(data: Path, run: Path, *, every: int = 1000, **changes: object) -> Trainer:
    """As the command makes it, with no process to read data."""
    AcceleratorState._reset_state(reset_partial_state=True)
    recipe = small(**changes)
    return Trainer(recipe, open_data(data, recipe), run, Options("cpu", every, workers=0))


def judge_by(made: Trainer, errors: Iterable[float]) -> None:
    """Have the first validations find these errors, whatever the CPU's rounding makes of a
    run."""
    validate, given = made.validation, iter(errors)

    def judge(*arguments: Any) -> Any:
        figures, sheet = validate(*arguments)
        return figures | {"error": next(given, figures["error"])}, sheet

    made.validation = judge  # type: ignore[assignment]


def train(data: Path, run: Path, *more: object, **changes: object) -> Ran:
    """Run ``pix2pix-batch train`` here, in this process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    done = CliRunner().invoke(main, words(data, run, *more, **changes))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ran(done.exit_code, done.stdout, done.stderr)


def words(data: Path, run: Path, *more: object, **changes: object) -> list[str]:
    given = ["train", data, run, "--device", "cpu", *settings(**changes), *more]
    if "--workers" not in more:
        given += ["--workers", 0]
    return [str(word) for word in given]


# Runs in processes of their own. They are forked from a server that has imported the trainer,
# which takes seconds, and has done nothing else.

SERVER = multiprocessing.get_context("forkserver")
TRAINER = (
    "torch._dynamo",
    "accelerate",
    "matplotlib.figure",
    "torch.utils.tensorboard",
    "pix2pix_batch.cli",
    "pix2pix_batch.commands.train",
    "pix2pix_batch.train.run",
)


@dataclass
class Process:
    """A run of the command in a process of its own."""

    process: ForkServerProcess
    out: Path
    err: Path

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def interrupt(self) -> None:
        """As Ctrl-C in a terminal does: every process of the run is hit."""
        assert self.process.pid is not None
        os.killpg(self.process.pid, signal.SIGINT)

    def signal_group(self, number: int) -> None:
        assert self.process.pid is not None
        os.killpg(self.process.pid, number)

    def children(self) -> list[int]:
        """The processes that read data for it."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = entry.read_text().rpartition(")")[2].split()
                if int(fields[1]) == self.process.pid:
                    found.append(int(entry.parent.name))
        return found

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; the run must go on all the while."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.is_alive(), self.err.read_text()
            assert time.monotonic() < end, "nothing happened"
            time.sleep(0.01)

    def finish(self) -> Ran:
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.signal(signal.SIGKILL)
            raise AssertionError(f"hangs: {self.err.read_text()}")
        ran = Ran(self.process.exitcode, self.out.read_text(), self.err.read_text())
        assert "Traceback" not in ran.err or ran.code == -signal.SIGKILL, ran.err
        return ran


def is_alive(pid: int) -> bool:
    """Whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(log: Path, arguments: list[str], gate: Path | None = None, **environment: str) -> Process:
    """Begin the command; ``log`` gets the suffixes ``.out`` and ``.err``.

    ``gate``: while this file is there, the run waits after each checkpoint that it has written, so
    that it does not come to its end before a test has done to it what it will.
    """
    out, err = log.with_suffix(".out"), log.with_suffix(".err")
    start_template(*TRAINER)
    process = SERVER.Process(target=_run, args=(arguments, out, err, environment, gate))
    process.start()
    return Process(process, out, err)


def _run(
    arguments: list[str], out: Path, err: Path, environment: dict[str, str], gate: Path | None
) -> None:
    os.setsid()
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # for the run's own processes, as usual
    torch.set_num_threads(1)
    if gate is not None:
        _wait_after_checkpoints(gate)
    try:
        main(arguments, prog_name="pix2pix-batch")
    except Exception:
        traceback.print_exc()
        raise


def _wait_after_checkpoints(gate: Path) -> None:
    directory: Any = RunDirectory
    save = directory.save

    def save_and_wait(*arguments: Any) -> None:
        save(*arguments)
        while gate.exists():
            time.sleep(0.01)

    directory.save = save_and_wait


# What runs leave


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def timeless(run: Path) -> list[dict[str, Any]]:
    """The records but for what the clock decides."""
    clocks = ("images_per_second", "data_share")
    return [{k: v for k, v in one.items() if k not in clocks} for one in records(run)]


def steps(run: Path) -> list[int]:
    """Those of the checkpoints that are there."""
    return sorted(int(path.stem[5:]) for path in (run / "checkpoints").glob("step-*.pt"))


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    path = run / "checkpoints" / f"step-{step:08}.pt"
    return torch.load(path, weights_only=True)["generator"]
