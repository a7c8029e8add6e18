"""A training run from its data to its report: what the command does."""

from __future__ import annotations

import errno
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from safetensors import SafetensorError

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.reporting.console import format_warnings
from pix2pix_batch.storage.local import find_within
from pix2pix_batch.text import format_count
from pix2pix_batch.train import checkpoint, rundir
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.finish import write_bundles
from pix2pix_batch.train.loop import Options, Trainer
from pix2pix_batch.train.processes import lost_processes
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.report import Trained, write_report
from pix2pix_batch.train.stopping import TrainingStopped, stop_signals
from pix2pix_batch.train.watch import Progress, Samples, TensorBoard, Watchers
from pix2pix_batch.train.watcher import Watcher
from pix2pix_batch.value_ranges import ValueRange

REFUSED = frozenset({*checkpoint.FULL, errno.EROFS, errno.EIO})
"""What a disk says that takes no more."""

IN_CHECK = "; 'pix2pix-batch dataset check' lists them all"


def run_training(
    recipe: Recipe,
    data: Path,
    run: Path,
    *,
    device: str = "auto",
    every: int | None = None,
    keep: int = 3,
    workers: int | None = None,
    tolerance: Tolerance = USUAL,
) -> None:
    """Train a recipe, or go on with a run, and write bundles and the report.

    Args:
        recipe: The recipe.
        data: As in :func:`pix2pix_batch.train.data.open_data`.
        run: The directory of the run.
        device: ``auto``, ``cpu`` or ``cuda``.
        every: Steps between checkpoints; ``None`` for the usual number.
        keep: How many of the last checkpoints stay.
        workers: How many processes read data; ``None`` to choose.
        tolerance: What is made of damaged and of large files.

    Raises:
        InputError: The recipe, the data or the run cannot be used.
        OutputError: ``run`` cannot be written, as on a full disk.
        KeyboardInterrupt: The run was stopped, after its last step was saved.
    """
    options = Options(device, every, keep, workers)
    with stop_signals() as stop, disk_errors(run), lost_processes():
        trainer = None
        try:
            trainer = _prepare(recipe, data, run, options, tolerance)
            trainer.fit(_watcher(trainer, run), stop)
            if stop():  # at its last step
                raise stop.make_exception()
            if trainer.accelerator.is_main_process:
                _finish(trainer, data, run)
        except KeyboardInterrupt as error:
            if trainer is None or trainer.accelerator.is_main_process:
                print_message(_describe_stop(error, trainer, run))
            raise
        finally:
            if trainer is not None and trainer.accelerator.is_main_process:
                warnings = trainer.data.reader.warnings
                for line in format_warnings(sorted(warnings.items()), len(warnings), IN_CHECK):
                    print_message(line)


def _prepare(
    recipe: Recipe, data: Path, run: Path, options: Options, tolerance: Tolerance
) -> Trainer:
    opened = open_data(data, recipe, tolerance, rundir.read_ranges(run, recipe))
    require_outside(run, opened.pair_directories)
    trainer = Trainer(recipe, opened, run, options)
    if trainer.accelerator.is_main_process:
        print_message(
            f"{recipe.name}: {format_count(len(opened.train), 'training pair')}, "
            f"{len(opened.val):,} for validation, {format_count(trainer.last, 'step')} of "
            f"{format_count(trainer.step_images, 'image')}, on "
            f"{trainer.device.type} ({trainer.precision})"
        )
        if recipe.takes_rasters:
            for name, side in opened.ranges._asdict().items():
                described = "; ".join(f"{key} {value}" for key, value in side.describe().items())
                print_message(f"{name}: {described}")
        beginning = "" if rundir.RunDirectory(run).has_checkpoint() else describe_beginning(recipe)
        for note in filter(None, (*opened.notes, beginning)):
            print_message(f"note: {note}")
        for doubt in opened.doubts:
            print_message(
                f"doubt: {doubt}; 'pix2pix-batch dataset check {data} --sheet FILE.png' shows them"
            )
    return trainer


def describe_beginning(recipe: Recipe) -> str:
    """What weights a run begins with, where that is to be known."""
    if recipe.init:
        gan = "discriminator and the optimisers begin"
        others = gan if recipe.lambda_gan else "optimiser begins"
        return f"the generator starts from {recipe.init}; the {others} anew"
    if recipe.lambda_patches:
        return (
            "lambda_patches without init: from random weights the patch loss tends to draw a "
            "lattice of dots; train without it first, then go on in a new directory with "
            "--set init=RUN/model.safetensors"
        )
    return ""


def _watcher(trainer: Trainer, run: Path) -> Watcher:
    if not trainer.accelerator.is_main_process:
        return Watcher()
    return Watchers(
        Progress(advice=advise_faster_run(trainer.recipe, trainer.device.type)),
        Samples(run),
        TensorBoard(run),
    )


def _finish(trainer: Trainer, data: Path, run: Path) -> None:
    written = write_bundles(trainer)
    for path in written:
        click.echo(path)
    best = trainer.best
    if best is not None and best["step"] != trainer.last and len(written) == 1:
        print_message(
            f"note: {trainer.run.checkpoints / 'best.pt'} is gone or damaged, so that there is no "
            f"bundle of step {best['step']:,.0f}, which had the least error; all else is whole"
        )
    if changed := trainer.run.describe_changed_data(trainer.data.parts):
        print_message(f"note: {changed}")
    if best is None:
        print_message("note: the run ended before its first figures, so that it has no report")
    else:
        pairs = len(trainer.data.train), len(trainer.data.val)
        click.echo(write_report(run, trainer.recipe, Trained(data, *pairs, trainer.step_images)))
    model = shlex.quote(str(run / "model.safetensors"))
    chosen_format = _choose_format(trainer.data.ranges.output)
    print_message(
        "Next: look at the report; convert images with 'pix2pix-batch convert IN OUT --model "
        f"{model}{chosen_format}', or measure it with 'pix2pix-batch evaluate {model} "
        f"{shlex.quote(str(data))}'"
    )


def _choose_format(outputs: ValueRange) -> str:
    """What ``convert`` is told of its format where the usual one does not hold the outputs."""
    if outputs.is_picture:
        return ""
    return f" --format {'tiff' if library.is_installed() else 'npy'}"


def _describe_stop(error: KeyboardInterrupt, trainer: Trainer | None, run: Path) -> str:
    """How the run ended and what is left of it, in a sentence."""
    by = f" ({error.name})" if isinstance(error, TrainingStopped) else ""
    step = trainer.step_count if trainer else 0
    checkpoints = checkpoint.list_checkpoints(run / "checkpoints")
    remark = f"the last checkpoint is {checkpoints[-1]}" if checkpoints else "no checkpoint was due"
    where = f"after step {step:,}" if step else "before its first step"
    if trainer is not None and step == trainer.last:
        where += ", before all of its results were written"
    return f"Stopped {where}{by}; {remark}. The same command goes on from there."


def advise_faster_run(recipe: Recipe, device: str) -> str:
    """What to do where a run takes days."""
    ways = []
    if device == "cpu":
        ways.append("a GPU trains many times as fast (--device cuda)")
    if recipe.ngf > 32:
        narrow = f"--set ngf={recipe.ngf // 2} --set ndf={max(1, recipe.ndf // 2)}"
        ways.append(f"{narrow} has a quarter of the arithmetic")
    if device == "cpu" and recipe.batch_size * recipe.accumulate < 4:
        ways.append("--set batch_size=4 takes fewer steps, and less time an image")
    if recipe.epochs >= 2:
        half = f"{recipe.epochs / 2:g}"
        ways.append(f"--epochs {half} takes half the time, and may be said when a run goes on")
    ways.append("a run can be stopped (Ctrl-C) and gone on with at any time")
    text = "; ".join(ways)
    return f"{text[0].upper()}{text[1:]}. Another --set is a new run."


def require_outside(run: Path, pair_directories: list[Path]) -> None:
    """Raises :class:`InputError` where a run's own pictures would be taken for pairs."""
    for folder in pair_directories:
        if find_within(run, folder) is not None:
            raise InputError(
                f"{run}: lies inside {folder}, all of whose images are taken for pairs, a run's "
                "samples too; give a directory outside it"
            )


@contextmanager
def disk_errors(run: Path) -> Iterator[None]:
    """Samples, TensorBoard, records and bundles are written by many hands; say it in one way."""
    tell = threading.excepthook

    def quietly(args: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread hands its error on to the next who writes."""
        if not isinstance(args.exc_value, OSError):
            tell(args)

    threading.excepthook = quietly
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSED:
            raise
        raise checkpoint.explain_unwritable(run, error) from error
    except SafetensorError as error:
        raise OutputError(
            f"{run}: cannot be written to ({error}); see to that and run the same command again "
            "to go on from the last checkpoint"
        ) from error
    finally:
        threading.excepthook = tell


def print_message(text: str) -> None:
    """Print on standard error, if anyone still listens."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)
