"""``pix2pix-batch train``, ``recipe``, ``dataset`` and ``evaluate``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.commands.tolerance import add_tolerance, take_tolerance
from pix2pix_batch.errors import InputError
from pix2pix_batch.reporting.console import format_warnings
from pix2pix_batch.text import escape, format_count

if TYPE_CHECKING:
    from pix2pix_batch.imaging.decoding.tolerance import Tolerance
    from pix2pix_batch.train.arrange import Arranged
    from pix2pix_batch.train.figures import Evaluation
    from pix2pix_batch.train.fold_figures import FoldFigures

PROBLEMS = 3
"""The exit code where some files failed or have problems, as of ``convert``."""

INTERRUPTED = 130

DIRECTION = click.option(
    "--direction", type=click.Choice(["AtoB", "BtoA"]), help="Instead of the recipe's."
)
OVERRIDES = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As of 'train'."
)


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
            told = foreign.told_key(key)
            if key in Recipe.model_fields:
                told = f" (keys of the recipe are set so: --set {key}=VALUE)"
            raise click.NoSuchOption(
                error.option_name,
                f"{error.message}{told}",
                possibilities=error.possibilities,
                ctx=error.ctx,
            ) from error


@click.command(cls=_Train)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="A shipped recipe's name ('recipe list') or a YAML file, such as another run's "
    "recipe.yaml.  [default: RUN's own where it was begun, else 'default']",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the recipe, such as ngf=32; may be given again.",
)
@DIRECTION
@click.option(
    "--epochs",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Instead of the recipe's; may be changed when a run goes on, to end sooner or later.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="N",
    help="Steps between checkpoints, validations and samples.  [default: an epoch or, where that "
    "is shorter, 500; never more than a tenth of the run]",
)
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    default=3,
    show_default=True,
    help="Checkpoints kept, the best one apart.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="Processes that read data.  [default: by the cores]",
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

    RUN/model.safetensors is for 'convert --model'. Run the same command again to go on with a run
    that was stopped, with another --epochs for longer or less long.

    DATA: images with A and B side by side, directories A/ and B/ with files of equal names, a
    manifest (pairs.csv, pairs.jsonl), or the mosaics a recipe names. Look at it first with
    'dataset check'.

    Several GPUs: 'torchrun --nproc-per-node 2 -m pix2pix_batch.cli train ...'; batch_size is
    each process's own.

    Exit codes: 0 done, 2 wrong use, 3 it cannot go on, 130 stopped by Ctrl-C, 143 by SIGTERM, 129
    by SIGHUP (128 and the signal's number), each after a checkpoint.
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


@click.group()
def dataset() -> None:
    """Training data: check it, or change its layout."""


@dataset.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="The recipe it is for: a shipped one's name or a YAML file.",
)
@OVERRIDES
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw a sheet of training samples, as the jitter makes them.",
)
@add_tolerance
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
def check_dataset(
    data: Path,
    recipe: str,
    overrides: tuple[str, ...],
    sheet: Path | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Say what would be trained on, and every problem.

    All of DATA is read. It is as for 'train': images with A and B side by side, directories A/
    and B/, a manifest, or mosaics. Looked for: files without partner, unreadable ones, sizes that
    differ, transparency that the recipe has no channel for, images too small for crops, and
    images that are in two splits. Doubts are what looks wrong and may be right: values in a few
    levels, halves that are no pair, partners that show nothing of each other.

    Exit codes: 0 no problems, 2 wrong use, 3 problems.
    """
    require_extra()
    from pix2pix_batch.storage import output
    from pix2pix_batch.train import recipe as recipes
    from pix2pix_batch.train.dataset import check

    output.require_place(sheet, (".png",))
    read = recipes.read_recipe(recipes.find_recipe(recipe), overrides)
    found = check(data, read, take_tolerance(reading))
    if sheet is not None and found.samples:
        output.write(sheet, found.sheet())
    if as_json:
        click.echo(json.dumps(found.as_dict()))
    else:
        for line in found.lines():
            click.echo(line)
    if sheet is None:
        click.echo("hint: --sheet FILE.png draws a sheet of training samples", err=True)
    elif not found.samples:
        click.echo(f"{escape(sheet)}: not drawn, for no pair is sound", err=True)
    sys.exit(PROBLEMS if found.problems else 0)


@dataset.command("pair")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("file", metavar="FILE.csv", type=click.Path(dir_okay=False, path_type=Path))
def pair_dataset(a: str, b: str, file: Path) -> None:
    """List the pairs of A and B in a manifest, by their names.

    A and B are directories, or quoted patterns such as 'data/*_A.png' and 'data/*_B.png'. Names
    need not be equal: a word of each side's own, letter case and leading zeros may differ, and how
    they were paired is said. A manifest is what the other commands take as DATA.

    Exit codes: 0 all files have a partner, 2 wrong use, 3 some have none and are left out.
    """
    require_extra()
    from pix2pix_batch.train.pairing import list_pairs

    listed = list_pairs(a, b, file)
    first, second = (escape(path.name) for path in listed.example)
    click.echo(
        f"{escape(file)}: {format_count(listed.pairs, 'pair')}, {listed.rule}, such as {first} and "
        f"{second}"
    )
    if set(listed.splits) - {"train"}:
        parts = ", ".join(f"{split} {count:,}" for split, count in listed.splits.items())
        click.echo(f"splits, by the directories' names: {parts}")
    if listed.alone:
        some = ", ".join(escape(path) for path in listed.alone[:3])
        click.echo(f"{format_count(len(listed.alone), 'file')} without partner: {some}", err=True)
    sys.exit(PROBLEMS if listed.alone else 0)


FORMAT = click.option(
    "--format", "form", type=click.Choice(["png", "jpg"]), default="png", show_default=True
)
QUALITY = click.option(
    "--quality", type=click.IntRange(1, 100), metavar="1..100", help="Of JPEG.  [default: 90]"
)


@dataset.command("combine")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@FORMAT
@QUALITY
@add_tolerance
def combine_dataset(data: Path, out: Path, form: str, quality: int | None, **reading: Any) -> None:
    """Put A and B side by side, in OUT/<split>/.

    DATA has directories A/ and B/ or a manifest. OUT must be new or empty. PNG keeps every
    pixel. Splits stay as they are.

    Exit codes: 0 all done, 2 wrong use, 3 some pairs failed.
    """
    require_extra()
    from pix2pix_batch.train import arrange

    _arrange(arrange.combine, data, out, form, quality, take_tolerance(reading))


@dataset.command("split")
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@FORMAT
@QUALITY
@add_tolerance
def split_dataset(data: Path, out: Path, form: str, quality: int | None, **reading: Any) -> None:
    """Cut side-by-side images in two, OUT/A/ and OUT/B/.

    OUT must be new or empty. PNG keeps every pixel. Splits stay as they are.

    Exit codes: 0 all done, 2 wrong use, 3 some pairs failed.
    """
    require_extra()
    from pix2pix_batch.train import arrange

    _arrange(arrange.split, data, out, form, quality, take_tolerance(reading))


def _arrange(
    change: Callable[[Path, Path, str, int | None, Tolerance], Arranged],
    data: Path,
    out: Path,
    form: str,
    quality: int | None,
    tolerance: Tolerance,
) -> None:
    if quality is not None and form != "jpg":
        raise InputError("--quality is for --format jpg; PNG keeps every pixel")
    try:
        result = change(data, out, form, quality, tolerance)
    except KeyboardInterrupt:
        click.echo(f"Interrupted. {escape(out)} holds a part; remove it to start again.", err=True)
        sys.exit(INTERRUPTED)
    for failure in result.failures:
        click.echo(f"failed: {escape(failure)}", err=True)
    for line in format_warnings(sorted(result.warnings.items()), len(result.warnings)):
        click.echo(line, err=True)
    for doubt in result.doubts:
        click.echo(f"doubt: {escape(doubt)}; look at what was written", err=True)
    written = f"{format_count(result.written, 'pair')} written to {escape(out)}"
    click.echo(f"{written}, {len(result.failures):,} failed")
    sys.exit(PROBLEMS if result.failures else 0)


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["val", "test", "train", "all"]),
    help="Of DATA; 'val' is what training validated on.  [default: val; all, where DATA has no "
    "such split and the model was trained on mosaics]",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="How DATA is read.  [default: the recipe that the model was trained by, without its "
    "mosaics where DATA has pairs of files]",
)
@OVERRIDES
@DIRECTION
@click.option(
    "--palette/--no-palette",
    default=None,
    help="Take the targets as label maps in the recipe's palette.  [default: where the recipe "
    "has one and B is the target]",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="As of 'convert'.",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write each image's figures there.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw the best, the median and the worst pair by L1.",
)
@click.option(
    "--folds",
    is_flag=True,
    help="On each of the folds of the recipe's mosaics, with mean, worst and spread; '{fold}' in "
    "MODEL stands for the fold's name: each fold's own model.",
)
@add_tolerance
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def evaluate(
    model: str,
    data: Path,
    device: str,
    precision: str,
    direction: str | None,
    csv_file: Path | None,
    picture: Path | None,
    folds: bool,
    as_json: bool,
    **reading: Any,
) -> None:
    """How close MODEL's outputs are to the targets of DATA.

    MODEL is a shipped model's name or a bundle, DATA as for 'train'. Outputs are made as
    'convert' makes them. Figures: L1 (0 to 255), PSNR (dB), SSIM, MS-SSIM, and over the truth's:
    sharpness (edges and noise; a grid counts too), grid (energy of what repeats after 2, 4 or 8
    pixels), bright (share of pixels above 128), relative L1 (over that of each target's mean
    colour); for label maps accuracies and IoU; LPIPS and FID where the weights of their networks
    are at hand.
    """
    require_extra("torchmetrics")
    from pix2pix_batch.storage import output
    from pix2pix_batch.train.evaluate import Reading
    from pix2pix_batch.train.evaluate import evaluate as run

    output.require_place(csv_file, (".csv",))
    output.require_place(picture, (".png",))
    if direction:
        reading["overrides"] += (f"direction={direction}",)
    how = Reading(tolerance=take_tolerance(reading), **reading)
    if folds:
        if csv_file is not None or picture is not None:
            raise InputError("--folds: --csv and --picture are of one fold; --set mosaic.fold=NAME")
        from pix2pix_batch.train.fold_figures import evaluate_folds

        _print_figures(
            evaluate_folds(model, data, how, device=device, precision=precision), as_json
        )
        return
    result, drawn = run(
        model,
        data,
        how,
        device=device,
        precision=precision,
        picture=picture is not None,
    )
    if csv_file is not None:
        output.write(csv_file, result.as_csv())
    if picture is not None:
        output.write(picture, drawn)
    _print_figures(result, as_json)


def _print_figures(result: Evaluation | FoldFigures, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.as_dict()))
        return
    for line in result.lines():
        click.echo(line)


def require_extra(*more: str) -> None:
    """Raises :class:`InputError` where the extra ``train`` is not installed."""
    for module in ("accelerate", "pydantic", "tqdm", "yaml", *more):
        try:
            __import__(module)
        except ImportError as error:
            raise InputError(
                f"this command needs the package {module!r}; pip install 'pix2pix-batch[train]'"
            ) from error
