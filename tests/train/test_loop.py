"""The loop: what steps it takes, and that a stopped run goes on as if it had never stopped."""

from __future__ import annotations

import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pix2pix_batch.errors import ImageError, InputError, TrainingError
from pix2pix_batch.train import meter, stopping
from pix2pix_batch.train.accelerator import make_accelerator
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.finish import write_bundles
from pix2pix_batch.train.loop import Options, Trainer
from pix2pix_batch.train.meter import Meter, StepRecord
from pix2pix_batch.train.rundir import RunDirectory
from pix2pix_batch.train.schedule import learning_rate, update_average
from pix2pix_batch.train.step import Batch, training_masks
from pix2pix_batch.train.watcher import Watcher
from tests.train.reference import Adam, Training
from tests.train.running import (
    judge_by,
    make_pairs,
    records,
    small,
    steps,
    timeless,
    train,
    trainer,
    weights,
)


class Tell(Watcher):
    """Calls a function with each step's number; keeps all that it is told."""

    def __init__(self, told: Callable[[int], object] = lambda step: None) -> None:
        self.told = told
        self.steps: list[int] = []
        self.losses: list[dict[str, float]] = []
        self.sheets: list[np.ndarray] = []
        self.bounds: tuple[int, int] | None = None
        self.closed = False

    def start(self, step: int, last: int) -> None:
        self.bounds = step, last

    def step(self, step: int, losses: dict[str, float]) -> None:
        self.steps.append(step)
        self.losses.append(losses)
        self.told(step)

    def record(self, record: StepRecord, sheet: Any) -> None:
        self.sheets.append(sheet)

    def close(self) -> None:
        self.closed = True


def at(step: int, do: Callable[[], object]) -> Tell:
    return Tell(lambda told: do() if told == step else None)


def stop_at(step: int, data: Path, run: Path, **options: Any) -> Path:
    """Interrupt a run as Ctrl-C does when it tells of ``step``; the run's directory."""
    with pytest.raises(KeyboardInterrupt):
        trainer(data, run, **options).fit(at(step, lambda: signal.raise_signal(signal.SIGINT)))
    return run


def state(run: Path, step: int) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / f"step-{step:08}.pt", weights_only=True)


def assert_equal(one: Any, other: Any, place: str = "state") -> None:
    """Bit for bit, through dictionaries and lists."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other), place
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), place
        for key, value in one.items():
            assert_equal(value, other[key], f"{place}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), place
        for i, value in enumerate(one):
            assert_equal(value, other[i], f"{place}.{i}")
    else:
        assert one == other, place


# Steps


def test_the_loop_is_the_references(pairs: Path, tmp_path: Path) -> None:
    """Ten steps: the data's order, the learning rate, D's own rate, masks, batches of two."""
    made = trainer(
        pairs, tmp_path / "run", size=64, batch_size=2, epochs=10 / 3, lr=0.002, lr_d=0.0005,
        lambda_l1=10, patch=16, disc_norm="instance", seed=5, beta1=0.6,
    )  # fmt: skip
    recipe, data = made.recipe, made.data
    first = {k: v.detach().clone() for k, v in made.generator.named_parameters()}
    reference = Training(
        g={k: v.double().requires_grad_() for k, v in first.items()},
        d=[v.detach().double().requires_grad_() for v in made.discriminator.parameters()],
        adam_g=Adam(0, 0.6, 0.999),
        adam_d=Adam(0, 0.6, 0.999),
        downs=6,
        patch=16,
        disc_norm="instance",
        lambda_l1=10,
    )
    told = Tell()
    made.fit(told)
    assert told.steps == list(range(1, 11))
    for step in range(10):
        rate = min(1, (10 - step) / 5)
        reference.adam_g.lr, reference.adam_d.lr = 0.002 * rate, 0.0005 * rate
        batch = [data.sample(2 * step + i) for i in range(2)]
        source, target = (
            torch.stack([torch.tensor(pair[side]) for pair in batch]).double().permute(0, 3, 1, 2)
            / 127.5 - 1
            for side in range(2)
        )  # fmt: skip
        masks = training_masks(5, recipe.architecture, Batch(source, target, 2 * step))
        losses = reference.step(source, target, [mask.double() for mask in masks], torch.empty(0))
        assert list(told.losses[step].values()) == pytest.approx(losses, rel=2e-3, abs=1e-4)
    for name, weight in made.generator.named_parameters():
        moved = (reference.g[name] - first[name]).norm()
        # Adam makes of gradients near 0, whose rounding is as large as they are, steps as any.
        assert (weight - reference.g[name]).norm() < 0.05 * moved, name


def test_the_learning_rate_is_constant_then_falls_to_zero() -> None:
    recipe = small(epochs=10)  # 100 steps of 10 an epoch
    rates = [learning_rate(step, 100, recipe) for step in range(101)]
    assert rates[:51] == [1] * 51
    assert rates[51:] == pytest.approx([1 - i / 50 for i in range(1, 51)])
    assert rates[100] == 0
    late = small(epochs=10, decay_epochs=2.5)
    assert learning_rate(75, 100, late) == 1
    assert learning_rate(80, 100, late) == pytest.approx(0.8)
    flat = small(epochs=10, decay_epochs=0)
    assert [learning_rate(step, 100, flat) for step in (0, 99)] == [1, 1]
    sloping = small(epochs=10, decay_epochs=10)
    assert learning_rate(25, 100, sloping) == 0.75


def test_records_tell_the_rate_of_their_last_step(pairs: Path, tmp_path: Path) -> None:
    trainer(pairs, tmp_path / "run", every=2, epochs=2, lr=0.001).fit()
    # 12 steps; the last six have 6/6, 5/6, ..., 1/6
    assert [record["step"] for record in records(tmp_path / "run")] == [2, 4, 6, 8, 10, 12]
    assert [record["lr"] for record in records(tmp_path / "run")] == pytest.approx(
        [0.001, 0.001, 0.001, 0.001 * 5 / 6, 0.001 * 3 / 6, 0.001 / 6]
    )
    assert [record["epoch"] for record in records(tmp_path / "run")] == pytest.approx(
        [1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2], abs=1e-3
    )


def test_the_last_step_is_of_the_last_epoch(pairs: Path, tmp_path: Path) -> None:
    """Two steps of four images are 8/6 of an epoch, and as near as steps come to one."""
    trainer(pairs, tmp_path / "run", epochs=1, batch_size=4, every=1).fit()
    assert [record["epoch"] for record in records(tmp_path / "run")] == [0.667, 1.0]


def test_records_hold_the_means_of_their_steps(pairs: Path, tmp_path: Path) -> None:
    told = Tell()
    trainer(pairs, tmp_path / "run", every=5, epochs=2).fit(told)
    for record, (first, last) in zip(
        records(tmp_path / "run"), ((0, 5), (5, 10), (10, 12)), strict=True
    ):
        for name in ("d", "gan", "l1"):
            values = [losses[name] for losses in told.losses[first:last]]
            assert record["losses"][name] == pytest.approx(sum(values) / len(values))
        assert record["losses"]["l1"] > 0
        assert 0 <= record["data_share"] <= 1 and record["images_per_second"] > 0


def test_a_stopped_run_of_an_earlier_version_has_means_of_what_all_steps_logged() -> None:
    left = Meter({"steps": 2, "sums": {"d": 0.0, "gan": 0.0, "l1": 2.0}})
    for losses in ({"l1": 4.0, "grid": 1.0}, {"l1": 2.0, "grid": 1.0}):
        left.add(losses)
    assert left.means() == {"l1": 2.0}


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({"epochs": 2}, 12),
        ({"epochs": 2, "batch_size": 4}, 3),
        ({"epochs": 2, "batch_size": 2, "accumulate": 2}, 3),
        ({"epochs": 0.5}, 3),
        ({"epochs": 0.01}, 1),
    ],
    ids=str,
)
def test_epochs_are_passes_over_the_pairs(
    pairs: Path, tmp_path: Path, changes: dict[str, Any], last: int
) -> None:
    assert trainer(pairs, tmp_path / "run", **changes).last == last


def test_training_learns_the_pair(pairs: Path, tmp_path: Path) -> None:
    made = trainer(pairs, tmp_path / "run", epochs=12, lr=0.003, ngf=4, every=20)
    before = made.validation(made.generator, made.accelerator)[0]["error"]
    told = Tell()
    made.fit(told)
    l1 = [losses["l1"] for losses in told.losses]
    assert np.mean(l1[-10:]) < 0.7 * np.mean(l1[:10])
    assert records(tmp_path / "run")[-1]["validation"]["error"] < 0.8 * before


@pytest.mark.parametrize(
    ("seed", "same"), [(0, True), (1, False)], ids=["the same seed", "another seed"]
)
def test_the_seed_decides_all(pairs: Path, tmp_path: Path, seed: int, same: bool) -> None:
    for name, value in (("one", 0), ("other", seed)):
        trainer(pairs, tmp_path / name, size=64, epochs=0.5, seed=value).fit()
    one, other = (weights(tmp_path / name, 3) for name in ("one", "other"))
    assert torch.equal(one["up.3.conv.weight"], other["up.3.conv.weight"]) is same


# The average


def test_the_average_is_of_the_closed_form() -> None:
    """a(n) = a(n-1) + (1 - r) (w(n) - a(n-1)), r = min(ema, n / (n + 10))."""
    average, live = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.zeros_(average.weight)
    expected, values = 0.0, np.random.default_rng(0).normal(size=60)
    for n, value in enumerate(values, 1):
        nn.init.constant_(live.weight, value)
        update_average(average, live, 0.8, n)
        rate = min(0.8, n / (n + 10))
        expected = rate * expected + (1 - rate) * value
        assert average.weight.item() == pytest.approx(expected, abs=1e-5)


def test_after_a_while_old_weights_fade_by_the_given_factor() -> None:
    average, live = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.ones_(average.weight)
    nn.init.zeros_(live.weight)
    for n in range(5):
        update_average(average, live, 0.9, 1000 + n)
    assert average.weight.item() == pytest.approx(0.9**5)


def test_the_average_follows_a_run(pairs: Path, tmp_path: Path) -> None:
    """Weights and running statistics both; it is what is validated and written."""
    made = trainer(pairs, tmp_path / "run", every=1, epochs=1, ema=0.8, norm="running-statistics")
    made.options = Options("cpu", 1, keep=10, workers=0)
    expected = {k: v.clone() for k, v in made.generator.state_dict().items()}
    made.fit()
    for n in range(1, 7):
        found = state(tmp_path / "run", n)
        rate = min(0.8, n / (n + 10))
        for name, value in found["generator"].items():
            if value.dtype.is_floating_point:
                expected[name] = rate * expected[name] + (1 - rate) * value
                torch.testing.assert_close(found["average"][name], expected[name], msg=name)
    assert made.result is made.average and made.result is not made.generator
    assert "up.2.norm.running_var" in expected


def test_without_ema_the_result_is_the_generator(pairs: Path, tmp_path: Path) -> None:
    made = trainer(pairs, tmp_path / "run")
    assert made.average is None and made.result is made.generator


def test_without_a_gan_the_discriminator_stays(pairs: Path, tmp_path: Path) -> None:
    """And the losses that are logged are those that the recipe has."""
    made = trainer(pairs, tmp_path / "run", epochs=1, lambda_gan=0, lambda_grid=1, lambda_patches=2)
    before = {k: v.clone() for k, v in made.discriminator.state_dict().items()}
    generator = made.generator.down[0].conv.weight.clone()
    made.fit()
    assert_equal(made.discriminator.state_dict(), before)
    assert not torch.equal(made.generator.down[0].conv.weight, generator)
    losses = records(tmp_path / "run")[-1]["losses"]
    assert list(losses) == ["l1", "grid", "patches"] and min(losses.values()) > 0


# Stopping and going on. 6 steps, of two passes over the data or more; a record and a checkpoint
# every 3.

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "spectral norm": {"spectral_norm": True, "gan_mode": "hinge"},
    "penalty": {"gan_mode": "wgangp", "disc_norm": "instance", "batch_size": 2, "epochs": 4},
    "all": {  # with dropout, which comes with the size
        "size": 64, "accumulate": 2, "epochs": 4, "ema": 0.9, "spectral_norm": True, "norm":
        "running-statistics", "lr_d": 0.001, "upsample": "resize",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs to train on and one to validate with; not to be changed."""
    return make_pairs(tmp_path_factory.mktemp("few"), train=3, val=1)


@pytest.fixture(scope="module")
def whole(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The uninterrupted run of a variant."""
    runs: dict[str, Path] = {}

    def run(variant: str) -> Path:
        if variant not in runs:
            runs[variant] = tmp_path_factory.mktemp("whole") / "run"
            made = trainer(few, runs[variant], every=3, **VARIANTS[variant])
            assert made.last == 6
            made.fit()
            write_bundles(made)
        return runs[variant]

    return run


def go_on(data: Path, run: Path, whole: Path, after: int, **changes: Any) -> None:
    """Finish ``run``, and see that it ends as ``whole``."""
    told = Tell()
    made = trainer(data, run, every=3, **changes)
    made.fit(told)
    assert told.bounds == (after, 6) and told.steps == list(range(after + 1, 7))
    assert_equal(state(run, 6), state(whole, 6))
    assert timeless(run) == timeless(whole)
    write_bundles(made)
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("variant", "number"),
    [*((variant, signal.SIGINT) for variant in VARIANTS), ("plain", signal.SIGTERM)],
)
def test_asked_to_stop_it_goes_on_exactly(
    few: Path, tmp_path: Path, whole: Callable[[str], Path], variant: str, number: int
) -> None:
    """After step 5: a checkpoint of that step is there, between two that are due."""
    run = tmp_path / "run"
    watcher = at(4, lambda: signal.raise_signal(number))  # told while step 5 is done
    with pytest.raises(KeyboardInterrupt):
        trainer(few, run, every=3, **VARIANTS[variant]).fit(watcher)
    assert watcher.closed and steps(run) == [3, 5]
    assert [record["step"] for record in records(run)] == [3]
    go_on(few, run, whole(variant), 5, **VARIANTS[variant])


@pytest.mark.parametrize("variant", ["plain", "all"])
def test_after_a_crash_it_goes_on_exactly(
    few: Path, tmp_path: Path, whole: Callable[[str], Path], variant: str
) -> None:
    """From the last checkpoint, 3; what was done after it is done again."""
    run = tmp_path / "run"

    def crash() -> None:
        raise RuntimeError("power failure")

    with pytest.raises(RuntimeError, match="power failure"):
        trainer(few, run, every=3, **VARIANTS[variant]).fit(at(5, crash))
    assert steps(run) == [3]
    go_on(few, run, whole(variant), 3, **VARIANTS[variant])


@pytest.mark.parametrize("told", [1, 2, 3, 4])
def test_it_can_be_stopped_at_any_step(
    few: Path, tmp_path: Path, whole: Callable[[str], Path], told: int
) -> None:
    """Also where a record is due, which is step 3's: it is written once, and later."""
    run = stop_at(told, few, tmp_path / "run", every=3)
    go_on(few, run, whole("plain"), 3 if told == 3 else told + 1)


def test_it_can_be_stopped_again_and_again(
    few: Path, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    for step in (1, 3, 4):
        run = stop_at(step, few, tmp_path / "run", every=3)
    go_on(few, run, whole("plain"), 5)


@pytest.mark.parametrize(
    ("number", "soon", "left"),
    [
        (signal.SIGINT, False, [3]),
        (signal.SIGINT, True, [3, 5]),
        (signal.SIGTERM, False, [3, 5]),
        (signal.SIGHUP, False, [3, 5]),
    ],
)
def test_asked_twice(
    few: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    soon: bool,
    left: list[int],
) -> None:
    """A second Ctrl-C ends it at once, unless it comes so soon that it is the first, sent to the
    group as well; whatever else comes twice, a checkpoint is written."""
    monkeypatch.setattr(stopping, "SAME_CTRL_C_SECONDS", 1000 if soon else 0)

    def twice() -> None:
        signal.raise_signal(number)
        signal.raise_signal(number)

    with pytest.raises(stopping.TrainingStopped) as caught:
        trainer(few, tmp_path / "run", every=3).fit(at(4, twice))
    assert caught.value.code == 128 + number
    assert steps(tmp_path / "run") == left


def test_signals_are_as_before_after_a_run(pairs: Path, tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        trainer(pairs, tmp_path / "run").fit(at(3, lambda: signal.raise_signal(signal.SIGTERM)))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_asked_to_stop_at_the_last_step_it_only_has_to_validate(
    few: Path, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    """Which may take long: it is done when the run goes on."""
    run = stop_at(5, few, tmp_path / "run", every=3)
    assert steps(run) == [3, 6]
    assert [record["step"] for record in records(run)] == [3]
    go_on(few, run, whole("plain"), 6)
    assert records(run)[-1]["images_per_second"] > 0, "of the steps before it was stopped"


def test_validations_are_no_part_of_the_time_of_steps(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes a second here, and each validation an hour, also of a run that is stopped."""
    now = [0.0]
    monkeypatch.setattr(meter, "time", SimpleNamespace(monotonic=lambda: now[0]))

    class Clock(Watcher):
        def step(self, step: int, losses: dict[str, float]) -> None:
            now[0] += 1
            if step == 3 and now[0] < 86_400:
                signal.raise_signal(signal.SIGTERM)

    def run() -> None:
        made = trainer(few, tmp_path / "run", every=2)
        validate = made.validation

        def slow(*arguments: Any) -> Any:
            now[0] += 3600
            return validate(*arguments)

        made.validation = slow  # type: ignore[assignment]
        made.fit(Clock())

    with pytest.raises(stopping.TrainingStopped):
        run()
    now[0] += 86_400
    run()
    found = {record["step"]: record["images_per_second"] for record in records(tmp_path / "run")}
    assert found.keys() == {2, 4, 6} and set(found.values()) == {1.0}


def test_data_that_changes_during_a_run_is_told(tmp_path: Path) -> None:
    data = make_pairs(tmp_path / "data", train=4)
    made = trainer(data, tmp_path / "run", val_fraction=0.25)
    file = next(path for part in made.data.parts for path in part.files)
    made.fit()
    assert made.run.describe_changed_data(made.data.parts) == ""
    shutil.copy(max(set(data.rglob("*.png")) - {file}), file)
    assert "has changed since the run began" in made.run.describe_changed_data(made.data.parts)
    file.unlink()
    assert "has changed since the run began" in made.run.describe_changed_data(made.data.parts)


@pytest.mark.parametrize("damage", ["torn", "empty", "words"])
def test_a_damaged_checkpoint_is_passed_over(
    few: Path, tmp_path: Path, whole: Callable[[str], Path], damage: str
) -> None:
    run = stop_at(4, few, tmp_path / "run", every=3)
    assert steps(run) == [3, 5]
    last = run / "checkpoints" / "step-00000005.pt"
    data = last.read_bytes()
    last.write_bytes({"torn": data[: len(data) // 2], "empty": b"", "words": b"words"}[damage])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "epo')  # torn as well
    go_on(few, run, whole("plain"), 3)


def test_where_no_checkpoint_can_be_read_it_says_so(pairs: Path, tmp_path: Path) -> None:
    run = stop_at(3, pairs, tmp_path / "run")
    (run / "checkpoints" / "step-00000004.pt").write_bytes(b"words")
    with pytest.raises(InputError, match=r"its 1 checkpoint cannot be read; start again"):
        trainer(pairs, run).fit()


def test_what_may_change_between_is_free(
    few: Path, tmp_path: Path, whole: Callable[[str], Path]
) -> None:
    """How often it is saved, how many are kept, and who reads the data."""
    run = stop_at(4, few, tmp_path / "run", every=2)
    recipe = small()
    made = Trainer(recipe, open_data(few, recipe), run, Options("cpu", 5, keep=1, workers=2))
    made.fit()
    assert_equal(weights(run, 6), weights(whole("plain"), 6))
    assert [record["step"] for record in records(run)] == [2, 4, 5, 6]
    assert steps(run) == [6]


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_only_the_last_checkpoints_and_the_best_are_kept(
    pairs: Path, tmp_path: Path, keep: int
) -> None:
    run, recipe = tmp_path / "run", small(lr=0.002, epochs=2)
    made = Trainer(recipe, open_data(pairs, recipe), run, Options("cpu", 2, keep, 0))
    made.fit()
    assert steps(run) == [2, 4, 6, 8, 10, 12][-keep:]
    best = min(records(run), key=lambda record: record["validation"]["error"])
    found = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert found["step"] == best["step"]
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        "best.pt",
        *(f"step-{step:08}.pt" for step in steps(run)),
    }


def test_the_best_is_of_its_step(pairs: Path, tmp_path: Path) -> None:
    run, recipe = tmp_path / "run", small(epochs=1)
    made = Trainer(recipe, open_data(pairs, recipe), run, Options("cpu", 1, 10, 0))
    judge_by(made, [3.0, 2.0, 4.0, 2.0, 5.0, 3.0])
    made.fit()
    best = torch.load(run / "checkpoints" / "best.pt", weights_only=True)
    assert best["step"] == 2
    assert_equal(best["generator"], weights(run, 2))


# What goes wrong


@pytest.mark.parametrize(
    ("mode", "every"), [("hinge", 2), ("hinge", 5), ("wgangp", 1), ("wgangp", 100)]
)
def test_losses_that_are_no_numbers_end_the_run(
    pairs: Path, tmp_path: Path, mode: str, every: int
) -> None:
    """G's gradients soon leave float32's range here; which step that is depends on the CPU."""
    run, told = tmp_path / "run", Tell()
    changes = {"gan_mode": mode, "disc_norm": "none", "lambda_gan": 1e37, "lambda_l1": 0}
    made = trainer(pairs, run, every=every, lr=0.03, epochs=30, **changes)
    with pytest.raises(TrainingError, match=r"the learning rate 0\.03 may") as caught:
        made.fit(told)
    message = str(caught.value)
    bad = told.steps[-1] if "a weight" in message else told.steps[-1] + 1
    assert message.startswith(f"step {bad}: ")
    assert "became nan; " in message.lower() or "became inf; " in message
    assert f"{mode} logits have no bound: try gan_mode=lsgan" in message
    if every > bad:
        assert "no checkpoint was due yet" in message and steps(run) == []
        return
    last = steps(run)[-1]
    assert bad - every <= last < bad
    assert f"the last good checkpoint is {run / 'checkpoints'}/step-{last:08}.pt" in message
    assert all(torch.isfinite(value).all() for value in weights(run, last).values())
    with pytest.raises(TrainingError, match=f"step {bad}: "):
        trainer(pairs, run, every=every, lr=0.03, epochs=30, **changes).fit(again := Tell())
    assert again.bounds is not None and again.bounds[0] == last


def test_an_image_that_goes_bad_ends_the_run(tmp_path: Path) -> None:
    """In the third epoch; what was saved stays, and the run goes on once it is mended."""
    data, run = make_pairs(tmp_path / "data", train=4, val=1), tmp_path / "run"
    image = data / "train" / "02.png"
    good = image.read_bytes()
    with pytest.raises(ImageError, match=r"train/02\.png: damaged"):
        trainer(data, run, every=3, epochs=4).fit(at(8, lambda: image.write_bytes(good[:900])))
    assert 6 in steps(run) and steps(run)[-1] <= 12
    image.write_bytes(good)
    trainer(data, run, every=3, epochs=4).fit()
    trainer(data, tmp_path / "whole", every=3, epochs=4).fit()
    assert_equal(weights(run, 16), weights(tmp_path / "whole", 16))


def test_one_run_at_a_time(pairs: Path, tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path / "run").lock(),
        pytest.raises(InputError, match="run: another run is train"),
    ):
        trainer(pairs, tmp_path / "run").fit()
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_a_directory_that_cannot_be_made_is_told(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/run: cannot be written to \(Not a directory\)"):
        trainer(pairs, tmp_path / "file" / "run").fit()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_devices_and_precisions_that_are_not_there() -> None:
    with pytest.raises(InputError, match="--device cuda: there is no CUDA GPU here"):
        make_accelerator(small(), "cuda")
    with pytest.raises(InputError, match="precision fp16 trains on GPUs only"):
        make_accelerator(small(precision="fp16"), "auto")
    assert make_accelerator(small(), "auto").device.type == "cpu"


def test_bf16_trains_float32_weights(pairs: Path, tmp_path: Path) -> None:
    made = trainer(pairs, tmp_path / "run", epochs=1, precision="bf16", ema=0.9)
    assert made.precision == "bf16"
    made.fit()
    assert {value.dtype for value in weights(tmp_path / "run", 6).values()} <= {
        torch.float32,
        torch.int64,
    }
    exact = trainer(pairs, tmp_path / "exact", epochs=1, ema=0.9)
    exact.fit()
    one, other = (records(tmp_path / name)[-1]["losses"] for name in ("run", "exact"))
    assert one != other and one == pytest.approx(other, rel=0.05)


# The resizing decoder


def test_a_resizing_decoder_stays_one(pairs: Path, tmp_path: Path) -> None:
    """After every step its kernels are those of doubling and a 3x3 convolution."""
    made = trainer(pairs, tmp_path / "run", every=3, epochs=1, upsample="resize", lr=0.01)
    made.fit()
    for step in (3, 6):
        found = weights(tmp_path / "run", step)
        for i in range(5):
            kernel = found[f"up.{i}.conv.weight"]
            x = torch.rand(1, kernel.shape[0], 4, 4, generator=torch.Generator().manual_seed(i))
            assert_doubles_evenly(x, kernel)
    assert math.isfinite(records(tmp_path / "run")[-1]["losses"]["l1"])


def assert_doubles_evenly(x: Tensor, kernel: Tensor) -> None:
    """On a flat input the four pixels made of one are equal, away from the border."""
    flat = torch.ones_like(x)
    y = torch.nn.functional.conv_transpose2d(flat, kernel, None, 2, 1)[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(y, y[:, :, :1, :1].expand_as(y), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
@pytest.mark.parametrize("norm", ["batch-statistics", "running-statistics"])
def test_bf16_trains_as_fp32_does_but_for_rounding(pairs: Path, tmp_path: Path, norm: str) -> None:
    """Also batches of several images, and also where the CPU emulates it."""
    found = []
    for precision in ("fp32", "bf16"):
        run = tmp_path / precision
        trainer(pairs, run, precision=precision, batch_size=2, epochs=1, norm=norm).fit()
        found.append(records(run)[-1]["losses"])
    fp32, bf16 = found
    assert bf16 == pytest.approx(fp32, rel=0.1)
    assert bf16 != fp32


def test_a_run_that_ends_before_its_first_figures_has_a_model_and_no_report(
    pairs: Path, tmp_path: Path
) -> None:
    """Made shorter than it is already."""
    run = tmp_path / "run"
    with pytest.raises(stopping.TrainingStopped):
        trainer(pairs, run).fit(at(3, lambda: signal.raise_signal(signal.SIGTERM)))
    assert not (run / "metrics.jsonl").exists()
    ran = train(pairs, run, "--epochs", 0.1)
    assert ran.code == 0, ran.err
    assert str(run / "model.safetensors") in ran.out and "has no report" in ran.err
    assert not (run / "report.html").exists()
