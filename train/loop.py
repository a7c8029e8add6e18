"""The training loop: steps, checkpoints, validation; stopped at any time, it goes on exactly."""

from __future__ import annotations

import copy
import json
import signal
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

from pix2pix_batch.errors import Pix2PixBatchError, TrainingError
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference import freed_memory
from pix2pix_batch.text import escape
from pix2pix_batch.train import checkpoint
from pix2pix_batch.train.accelerator import default_workers, make_accelerator
from pix2pix_batch.train.data import Data, LevelMappings
from pix2pix_batch.train.discriminator import make_discriminator
from pix2pix_batch.train.meter import Meter, StepRecord
from pix2pix_batch.train.networks import make_generator, place_networks, prepare_networks
from pix2pix_batch.train.pace import FORWARD, Pace, choose_interval
from pix2pix_batch.train.processes import average_values, describe_failure, find_greatest
from pix2pix_batch.train.reading import batches
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.rundir import KEEP, RunDirectory
from pix2pix_batch.train.schedule import learning_rate, update_average
from pix2pix_batch.train.step import Batch, Step
from pix2pix_batch.train.stopping import StopRequest, stop_signals
from pix2pix_batch.train.upsample import keep_form
from pix2pix_batch.train.validation import ValidationStopped, make_validation
from pix2pix_batch.train.watcher import Watcher


@dataclass(frozen=True)
class Options:
    """How a run is done; unlike the recipe's keys, free to change when it is resumed.

    ``device``: ``auto``, ``cpu`` or ``cuda``. ``every``: steps between checkpoints, each with a
    validation; ``None``: see :func:`choose_interval`. ``workers``: processes that read data.
    """

    device: str = "auto"
    every: int | None = None
    keep: int = KEEP
    workers: int | None = None


# The state of a run: networks, optimisers, data, and where it stands.
class Trainer:
    """Trains one run in the directory ``run``."""

    def __init__(self, recipe: Recipe, data: Data, run: Path, options: Options | None = None):
        self.recipe, self.data, self.run = recipe, data, RunDirectory(run)
        self.options = options or Options()
        self.accelerator = make_accelerator(recipe, self.options.device)
        self.device = self.accelerator.device
        if self.device.type == "cpu":
            freed_memory.keep()
        processes = self.accelerator.num_processes
        self.step_images = recipe.batch_size * recipe.accumulate * processes
        self.last = max(1, round(recipe.epochs * data.epoch / self.step_images))
        self.validation = make_validation(data, recipe)
        self.pause = len(self.validation.chosen) * FORWARD / recipe.batch_size / recipe.accumulate
        epoch = round(data.epoch / self.step_images)
        self.every = self.options.every or choose_interval(self.last, epoch, self.pause)
        self.step_count = 0
        self.best: dict[str, float] | None = None
        self.restored_meter: dict[str, Any] | None = None
        self.validation_pending = False
        self.has_warned = False
        self.failures: list[str] = []
        self._build()
        self.mappings = LevelMappings(data.ranges)

    def _build(self) -> None:
        recipe, accelerator = self.recipe, self.accelerator
        torch.manual_seed(recipe.seed)  # of the first weights; all else is drawn by position
        self.generator = make_generator(recipe, self.run.has_checkpoint())
        channels = recipe.out_channels + (recipe.in_channels if recipe.conditional else 0)
        self.discriminator = make_discriminator(
            channels, recipe.ndf, recipe.patch, recipe.disc_norm, recipe.spectral_norm,
            recipe.scales,
        )  # fmt: skip
        networks = place_networks(recipe, accelerator, self.generator, self.discriminator)
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if recipe.ema else None
        self.networks = prepare_networks(recipe, accelerator, *networks)
        self.train_step = Step(recipe, self.networks, accelerator)

    @property
    def precision(self) -> str:
        """The precision of the arithmetic: ``fp32``, ``bf16`` or ``fp16``. Weights are float32
        always."""
        mixed = self.accelerator.mixed_precision
        return "fp32" if mixed == "no" else mixed

    @property
    def result(self) -> Generator:
        """The generator that the bundle gets: the averaged one where there is one."""
        return self.generator if self.average is None else self.average

    def fit(self, watcher: Watcher | None = None, stop: StopRequest | None = None) -> None:
        """Run all steps that are left.

        Raises :class:`InputError` where ``run`` holds something else, :class:`TrainingError`
        where the losses stop being numbers or, after a checkpoint, a process that reads data was
        killed, :class:`TrainingStopped` after a checkpoint where ``stop`` was asked for (by
        signals, unless it is given).
        """
        watcher = watcher or Watcher()
        with self.run.lock() if self.accelerator.is_main_process else nullcontext():
            for change in self._resume():
                watcher.note(change)
            watcher.start(self.step_count, self.last)
            try:
                with nullcontext(stop) if stop else stop_signals() as asked, asked.defer_signals():
                    self._run(watcher, asked)
            finally:
                watcher.close()

    def _run(self, watcher: Watcher, stop: StopRequest) -> None:
        recipe = self.recipe
        self.generator.train(not recipe.keeps_norms)
        self.discriminator.train()
        meter = Meter(self.restored_meter)
        if self.validation_pending:  # the run was stopped while it validated
            meter = self._record(watcher, meter, stop)
        stream = batches(
            self.data,
            first=self.step_count * recipe.accumulate,
            last=self.last * recipe.accumulate,
            batch_size=recipe.batch_size,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            workers=default_workers(self.device) if self.options.workers is None
            else self.options.workers,
            died=self.failures.append,
        )  # fmt: skip
        with closing(stream):  # type: ignore[type-var]
            self._run_steps(stream, watcher, meter, stop)

    def _run_steps(
        self,
        stream: Iterator[tuple[Tensor, ...]],
        watcher: Watcher,
        meter: Meter,
        stop: StopRequest,
    ) -> None:
        pace = Pace(self.step_count, self.last, self.every, pause_steps=self.pause)
        pending: tuple[int, Tensor] | None = None
        while self.step_count < self.last:
            with meter.time_waiting():
                batch = self._try_next(stream)
            self._note_warning(watcher)
            unread = isinstance(batch, Pix2PixBatchError)
            if find_greatest(self.accelerator, int(unread)):  # a pair that cannot be read any more
                if pending is not None:
                    watcher.step(*self._check_losses(*pending, meter))
                    self._save(meter)
                raise batch if isinstance(batch, Pix2PixBatchError) else self._describe_failure()
            assert not isinstance(batch, Pix2PixBatchError)
            losses = self._train_batch(batch)
            if pending is not None:  # a step late, so that a GPU is never waited for
                watcher.step(*self._check_losses(*pending, meter))
            pending = self.step_count, losses
            stopping = self._agree_to_stop(stop)
            due = self.step_count % self.every == 0 or self.step_count == self.last
            if not stopping and not due:
                pace.end_step()
                watcher.expect(pace)
                continue
            watcher.step(*self._check_losses(*pending, meter))
            pending = None
            pace.end_step()
            watcher.expect(pace)
            self._require_finite()  # at checkpoints only: it waits for the GPU
            if due:
                meter = self._record(watcher, meter, stop)
            else:
                self._save(meter)
            if stopping and self.step_count != self.last:
                self._end(stop)
            pace.end_pause()

    def _record(self, watcher: Watcher, meter: Meter, stop: StopRequest) -> Meter:
        """Validate, record and save; asked to stop meanwhile, save what is owed and stop."""
        try:
            self._report(watcher, meter, stop)
        except ValidationStopped:
            self.validation_pending = True
            self._save(meter)
            raise stop.make_exception() from None
        self.validation_pending = False
        self._save(None)
        return Meter()

    def _end(self, stop: StopRequest) -> None:
        if self.failures or stop.number is None:
            raise self._describe_failure()
        raise stop.make_exception()

    def _describe_failure(self) -> TrainingError:
        path = checkpoint.path_of(self.run.checkpoints, self.step_count)
        return describe_failure(self.failures, path)

    def _note_warning(self, watcher: Watcher) -> None:
        """The first image that is read with one, lest it is known only when the run ends."""
        warned = self.data.reader.warnings
        if warned and not self.has_warned:
            self.has_warned = True
            file, said = next(iter(warned.items()))
            watcher.note(
                f"note: {escape(file)}: {escape(said)}: read for all that, as more may be; "
                "'dataset check' lists them, and so does this run's end; --strict refuses such"
            )

    def _try_next(self, stream: Iterator[tuple[Tensor, ...]]) -> list[Batch] | Pix2PixBatchError:
        """The images of the next step, or why they cannot be read."""
        try:
            return self._next(stream)
        except Pix2PixBatchError as error:
            return error

    def _next(self, stream: Iterator[tuple[Tensor, ...]]) -> list[Batch]:
        recipe, accelerator = self.recipe, self.accelerator
        parts = []
        for i in range(recipe.accumulate):
            source, target, *valid = (
                images.to(self.device, non_blocking=True) for images in next(stream)
            )
            place = self.step_count * recipe.accumulate + i
            first = (place * accelerator.num_processes + accelerator.process_index) * len(source)
            levels = self.mappings.input(source), self.mappings.output(target)
            parts.append(Batch.of(*levels, first, *valid))
        return parts

    def _train_batch(self, batch: list[Batch]) -> Tensor:
        recipe = self.recipe
        self.rate = learning_rate(self.step_count, self.last, recipe)
        for optimiser, base in (
            (self.networks.optimise_g, recipe.lr),
            (self.networks.optimise_d, recipe.lr_d or recipe.lr),
        ):
            for group in optimiser.param_groups:
                group["lr"] = base * self.rate
        losses = self.train_step(batch)
        if isinstance(self.generator, UNet):
            keep_form(self.generator, recipe.upsample)
        self.step_count += 1
        if self.average is not None:
            update_average(self.average, self.generator, recipe.ema, self.step_count)
        return losses

    def _check_losses(
        self, step: int, losses: Tensor, meter: Meter
    ) -> tuple[int, dict[str, float]]:
        values = dict(zip(self.recipe.losses, losses.tolist(), strict=True))
        for name, value in values.items():
            if value != value or abs(value) == float("inf"):
                raise self._divergence_error(step, f"the loss {name!r} became {value}")
        meter.add(values)
        return step, values

    def _require_finite(self) -> None:
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
                raise self._divergence_error(self.step_count, f"a weight of the {name} became NaN")

    def _divergence_error(self, step: int, what: str) -> TrainingError:
        reasons = [f"the learning rate {self.recipe.lr:g} may be too high"]
        if self.accelerator.mixed_precision == "fp16":
            reasons.insert(0, "float16 overflows easily: try precision=bf16 or fp32")
        if self.recipe.gan_mode in ("wgangp", "hinge"):
            reasons.append(f"{self.recipe.gan_mode} logits have no bound: try gan_mode=lsgan")
        saved = checkpoint.list_checkpoints(self.run.checkpoints)
        remark = (
            f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint was due yet"
        )
        return TrainingError(
            f"step {step}: {what}; {remark}. Likely: {'; '.join(reasons)}. Start again in a new "
            "directory with --set"
        )

    def _agree_to_stop(self, stop: StopRequest) -> bool:
        """Whether any process has to; a signal to one of them counts as one to each."""
        failure = signal.NSIG  # of a process that reads data: above all signals
        mine = failure if self.failures else stop.number or 0
        greatest = find_greatest(self.accelerator, mine)
        if 0 < greatest < failure and stop.number is None:
            stop.number = greatest
        return greatest > 0

    def _report(self, watcher: Watcher, meter: Meter, stop: StopRequest) -> None:
        meter.stop()
        losses = average_values(self.accelerator, meter.means())
        if not self.accelerator.is_main_process:
            return
        # several processes cannot leave in the middle: the others wait for this one
        leave = stop if self.accelerator.num_processes == 1 else None
        figures, sheet = self.validation(self.result, self.accelerator, leave)
        if self.best is None or figures["error"] < self.best["error"]:
            self.best = {"step": self.step_count, **figures}
            self.run.save_best(self.step_count, self.result.state_dict())
        # whole steps may end a little after the last epoch
        epochs = min(self.step_count * self.step_images / self.data.epoch, self.recipe.epochs)
        record = StepRecord(
            step=self.step_count,
            epoch=round(epochs, 3),
            losses=losses,
            lr=self.recipe.lr * self.rate,
            images_per_second=round(meter.timed * self.step_images / meter.seconds(), 2),
            data_share=round(meter.waited / meter.seconds(), 4),
            device=self.device.type,
            precision=self.precision,
            validation=figures,
        )
        self.run.add_record(record)
        watcher.record(record, sheet)

    def _save(self, meter: Meter | None) -> None:
        """``meter``: where it holds losses that are not recorded yet."""
        left = meter and meter.state(average_values(self.accelerator, meter.sums))
        if self.accelerator.is_main_process:
            state: dict[str, Any] = {
                "step": self.step_count,
                "best": self.best,
                "meter": left,
                "owed": self.validation_pending,
                "generator": self.generator.state_dict(),
                "discriminator": self.discriminator.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimise_g": self.networks.optimise_g.state_dict(),
                "optimise_d": self.networks.optimise_d.state_dict(),
                "scaler": self.accelerator.scaler and self.accelerator.scaler.state_dict(),
            }
            self.run.save(self.step_count, state, max(1, self.options.keep))
        if self.accelerator.num_processes > 1:
            for warnings in gather_object([self.data.reader.warnings]):
                self.data.reader.warnings.update(warnings)
        self.accelerator.wait_for_everyone()

    def _describe_ranges(self) -> dict[str, Any]:
        """What samples mean, once that is found from the data."""
        if not self.recipe.takes_rasters:
            return {}
        ranges = {
            side: side_range.as_dict() for side, side_range in self.data.ranges._asdict().items()
        }
        return {"ranges": json.loads(json.dumps(ranges))}  # as it is read back

    def _resume(self) -> list[str]:
        """Go on from the last checkpoint; what has changed since, for people.

        Raises :class:`InputError` where ``run`` is another's.
        """
        changes: list[str] = []
        if self.accelerator.is_main_process:
            changes = self.run.claim(
                self.data.parts,
                {
                    "path": str(self.data.place.absolute()),
                    "processes": self.accelerator.num_processes,
                    "recipe": self.recipe.as_dict(),
                    **self._describe_ranges(),
                },
                self.last,
            )
        self.accelerator.wait_for_everyone()  # others read only what is claimed
        state, damaged = self.run.last_checkpoint()
        changes += [
            f"{path} is damaged and cannot be read; going on from an earlier checkpoint"
            for path in damaged
        ]
        if state is not None:
            self.step_count, self.best = state["step"], state["best"]
            self.restored_meter, self.validation_pending = state["meter"], state.get("owed", False)
            self.last = max(self.last, self.step_count)  # of a run that was made shorter
            self.rate = learning_rate(self.step_count - 1, self.last, self.recipe)
            self.generator.load_state_dict(state["generator"])
            self.discriminator.load_state_dict(state["discriminator"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            self.networks.optimise_g.load_state_dict(state["optimise_g"])
            self.networks.optimise_d.load_state_dict(state["optimise_d"])
            if self.accelerator.scaler is not None and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.accelerator.is_main_process:
            self.run.forget_after(self.step_count)
        return changes
