"""A training run from its data to its report: what the command does."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from safetensors import SafetensorError

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.text import counted
from pix2pix_batch.train import checkpoint
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.finish import write_bundles
from pix2pix_batch.train.loop import Options, Trainer, Watcher
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.report import write_report
from pix2pix_batch.train.watch import All, Progress, Samples, TensorBoard

REFUSED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO})
"""What a disk says that takes no more."""


def run_training(
    recipe: Recipe,
    data: Path,
    run: Path,
    *,
    device: str = "auto",
    every: int | None = None,
    keep: int = 3,
    workers: int | None = None,
) -> None:
    """Train ``recipe`` on ``data`` in ``run``, or go on with it; write bundles and report.

    Raises what :meth:`Trainer.fit` raises, and :class:`OutputError` where ``run`` is full.
    """
    options = Options(device, every, keep, workers)
    opened = open_data(data, recipe)
    require_outside(run, opened.walked)
    trainer = Trainer(recipe, opened, run, options)
    main = trainer.accelerator.is_main_process
    if main:
        say(
            f"{recipe.name}: {counted(len(opened.train), 'training pair')}, "
            f"{len(opened.val):,} for validation, {counted(trainer.last, 'step')} of "
            f"{counted(trainer.step_images, 'image')}, on "
            f"{trainer.device.type} ({trainer.precision})"
        )
        if opened.doubt:
            say(f"note: {opened.doubt}")
    watcher = (
        All(Progress(advice=quicker(recipe, trainer.device.type)), Samples(run), TensorBoard(run))
        if main
        else Watcher()
    )
    with disk_errors(run):
        try:
            trainer.fit(watcher)
        except KeyboardInterrupt:
            if main:
                found = checkpoint.saved(run / "checkpoints")
                kept = f"the last checkpoint is {found[-1]}" if found else "no checkpoint was due"
                say(f"Stopped after step {trainer.step_count:,}; {kept}.")
            raise
        if main:
            for path in write_bundles(trainer):
                click.echo(path)
            click.echo(write_report(run, recipe))


def quicker(recipe: Recipe, device: str) -> str:
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
        ways.append(f"--set epochs={half} takes half the time")
    ways.append("a run can be stopped (Ctrl-C) and gone on with at any time")
    text = "; ".join(ways)
    return f"{text[0].upper()}{text[1:]}. A changed recipe is a new run."


def require_outside(run: Path, walked: list[Path]) -> None:
    """Raises :class:`InputError` where a run's own pictures would be taken for pairs."""
    for folder in walked:
        if run.resolve().is_relative_to(folder.resolve()):
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
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in REFUSED:
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(
            f"{run}: cannot be written to ({reason}); free some space and run the same command "
            "again to go on from the last checkpoint"
        ) from error
    finally:
        threading.excepthook = tell


def say(text: str) -> None:
    click.echo(text, err=True)
