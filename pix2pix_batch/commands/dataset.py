"""``pix2pix-batch dataset``: looks at training data, lists its pairs, lays it out anew."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.commands.options import add_tolerance, take_tolerance
from pix2pix_batch.commands.sharing import print_result
from pix2pix_batch.commands.training import INTERRUPTED, OVERRIDES, PROBLEMS, require_extra
from pix2pix_batch.errors import InputError
from pix2pix_batch.reporting.console import format_warnings
from pix2pix_batch.text import escape, format_count

if TYPE_CHECKING:
    from pix2pix_batch.train.arrange import Arranged, Style


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
    help="Check DATA for training by this recipe: a shipped one's name or a YAML file.",
)
@OVERRIDES
@click.option(
    "--sheet",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw a sheet of training samples into this file, cropped and mirrored as in training.",
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

    DATA is the same as for 'train': images with A and B side by side, directories A/ and B/, a
    manifest, or mosaics. Every file is read. Problems are files without a partner, unreadable
    files, partners of different sizes, transparency that the recipe has no channel for, images
    that are too small for crops, and images that are in two splits. Doubts are about what looks
    wrong but may be right: few different values, halves that are no pair, partners that show
    nothing of each other.

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
    print_result(found, as_json)
    if sheet is None:
        click.echo("hint: --sheet FILE.png draws a sheet of training samples", err=True)
    else:
        became = "a sheet of training samples" if found.samples else "not drawn, no pair is sound"
        click.echo(f"{escape(sheet)}: {became}", err=True)
    sys.exit(PROBLEMS if found.problems else 0)


@dataset.command("pair")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("file", metavar="FILE.csv", type=click.Path(dir_okay=False, path_type=Path))
def pair_dataset(a: str, b: str, file: Path) -> None:
    """List the pairs of A and B in a manifest, by their names.

    A and B are directories, or quoted patterns such as 'data/*_A.png' and 'data/*_B.png'. Names
    need not be equal: they may differ in a word that each side has, in letter case and in leading
    zeros. The command says how it paired them. The other commands take the manifest as DATA.

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
        click.echo(
            "If a file is missing and those after it were numbered anew, these pairs are of "
            f"neighbours: look at them with 'dataset check {escape(file)} --sheet pairs.png'",
            err=True,
        )
    sys.exit(PROBLEMS if listed.alone else 0)


ARRANGING = (
    click.argument("data", type=click.Path(path_type=Path)),
    click.argument("out", type=click.Path(path_type=Path)),
    click.option(
        "--format",
        "form",
        type=click.Choice(["png", "jpg"]),
        default="png",
        show_default=True,
        help="The format of the files that are written.",
    ),
    click.option(
        "--quality",
        type=click.IntRange(1, 100),
        metavar="1..100",
        help="The quality of JPEG files.  [default: 90]",
    ),
    add_tolerance,
)
"""What the two commands take that write all pairs anew."""


def add_arranging(command: Callable[..., None]) -> Callable[..., None]:
    for decorate in reversed(ARRANGING):
        command = decorate(command)
    return command


@dataset.command("combine")
@add_arranging
def combine_dataset(**given: Any) -> None:
    """Put A and B side by side, in OUT/<split>/.

    DATA has directories A/ and B/, or a manifest. OUT must be new or empty. Splits stay as they
    are. PNG keeps every pixel.

    Exit codes: 0 all done, 2 wrong use, 3 some pairs failed.
    """
    require_extra()
    from pix2pix_batch.train import arrange

    _arrange(arrange.combine, **given)


@dataset.command("split")
@add_arranging
def split_dataset(**given: Any) -> None:
    """Cut side-by-side images in two, OUT/A/ and OUT/B/.

    OUT must be new or empty. Splits stay as they are. PNG keeps every pixel.

    Exit codes: 0 all done, 2 wrong use, 3 some pairs failed.
    """
    require_extra()
    from pix2pix_batch.train import arrange

    _arrange(arrange.split, **given)


def _arrange(
    change: Callable[[Path, Path, Style], Arranged],
    data: Path,
    out: Path,
    form: str,
    quality: int | None,
    **reading: Any,
) -> None:
    from pix2pix_batch.train.arrange import Style

    if quality is not None and form != "jpg":
        raise InputError("--quality is for --format jpg; PNG keeps every pixel")
    try:
        result = change(data, out, Style(form, quality, take_tolerance(reading)))
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
