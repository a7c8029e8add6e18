"""``pix2pix-batch train`` and ``recipe``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pix2pix_batch.commands.options import FiniteRange, add_tolerance, take_tolerance
from pix2pix_batch.commands.training import DIRECTION, INTERRUPTED, add_device, require_extra


class _Train(click.Command):
    """Knows the options of other trainers, which are keys of the recipe here."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            from pix2pix_batch.train import foreign

            require_extra()
            from pix2pix_batch.train.recipe import Recipe

            key = error.option_name.lstrip("-").replace("-", "_")
            told = foreign.explain_key(key)
            if key.lower() in Recipe.model_fields:
                told = f" (keys of the recipe are set so: --set {key.lower()}=VALUE)"
            possible = error.possibilities or []
            raise click.NoSuchOption(
                error.option_name,
                f"{error.message}{told}",
                # what is spelled alike may be something else
                possibilities=[one for one in possible if one.lstrip("-") in told or not told],
                ctx=error.ctx,
            ) from error


@click.command(cls=_Train)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="The recipe to train by: a shipped one's name (see 'recipe list') or a YAML file, such as "
    "another run's recipe.yaml.  [default: RUN's own if it was begun, else 'default']",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the recipe, such as ngf=32. May be given more than once.",
)
@DIRECTION
@click.option(
    "--epochs",
    type=FiniteRange(0, min_open=True),
    metavar="N",
    help="Train for N epochs. It may be changed when a run continues, to end sooner or later.  "
    "[default: what the recipe says]",
)
@add_device("Where to train.")
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="N",
    help="Make a checkpoint, a validation and samples every N steps.  [default: every epoch, or "
    "every 500 steps if an epoch is shorter; about ten times in a short run]",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    default=3,
    show_default=True,
    help="Keep the last N checkpoints, in addition to the best one.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="Read the data with N processes.  [default: chosen by the number of cores]",
)
@add_tolerance
def train(
    data: Path,
    run: Path,
    recipe: str | None,
    overrides: tuple[str, ...],
    direction: str | None,
    epochs: float | None,
    **options: Any,
) -> None:
    """Train a generator on the pairs in DATA.

    Everything is written to the directory RUN. The model is RUN/model.safetensors, which
    'convert --model' takes. To continue a run that was stopped, give the same command again. With
    another --epochs it becomes longer or shorter.

    DATA holds images with A and B side by side, or directories A/ and B/ with files of equal
    names, or a manifest (pairs.csv, pairs.jsonl), or the mosaics that a recipe names. Check it
    first with 'dataset check'.

    To use several GPUs, run 'torchrun --nproc-per-node 2 -m pix2pix_batch.cli train ...'. The
    batch_size is that of each process.

    Exit codes: 0 done, 2 wrong use, 3 it cannot continue, 130 stopped by Ctrl-C, 143 by SIGTERM,
    129 by SIGHUP (128 plus the signal's number). It writes a checkpoint before it stops.
    """
    require_extra()
    from pix2pix_batch.train import recipe as recipes
    from pix2pix_batch.train import rundir
    from pix2pix_batch.train.run import run_training

    if direction:
        overrides = (*overrides, f"direction={direction}")
    if epochs:
        overrides = (*overrides, f"epochs={epochs:g}")
    path = run / rundir.RECIPE
    if recipe is None and path.is_file():
        rundir.read_run(path)
    else:
        path = recipes.find_recipe(recipe or "default")
    read = recipes.read_recipe(path, overrides)
    try:
        run_training(read, data, run, tolerance=take_tolerance(options), **options)
    except KeyboardInterrupt as stopped:
        sys.exit(getattr(stopped, "code", INTERRUPTED))


@click.group()
def recipe() -> None:
    """Training recipes: list or print the shipped ones."""


@recipe.command("list")
def list_recipes() -> None:
    """List the shipped recipes."""
    require_extra()
    from pix2pix_batch.train import recipe as recipes

    names = recipes.shipped_names()
    width = max(map(len, names)) + 2
    for name in names:
        first = recipes.find_recipe(name).read_text(encoding="utf-8").splitlines()[0]
        click.echo(f"{name:{width}}{first.removeprefix('#').strip()}")


@recipe.command("show")
@click.argument("name", metavar="NAME|FILE")
def show_recipe(name: str) -> None:
    """Print a recipe."""
    require_extra()
    from pix2pix_batch.train import recipe as recipes

    path = recipes.find_recipe(name)
    recipes.read_recipe(path)
    click.echo(path.read_text(encoding="utf-8"), nl=False)
