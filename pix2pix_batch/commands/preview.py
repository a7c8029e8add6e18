"""``pix2pix-batch preview``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pix2pix_batch.bundle import FITS
from pix2pix_batch.commands.options import add_options, add_tolerance, take_tolerance
from pix2pix_batch.commands.sharing import SOME_FAILED
from pix2pix_batch.synthesis.options import SynthesisOptions
from pix2pix_batch.text import escape


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("pictures", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Write the picture to this file.  [default: preview-MODEL.png]",
)
@click.option("--open", "show", is_flag=True, help="Open the picture in a viewer when it is drawn.")
@click.option(
    "--fit",
    type=click.Choice(FITS),
    help="What to do with images of other sizes than the model's, as for 'convert'.  "
    "[default: the model's]",
)
@add_options(SynthesisOptions, "bands", "device", "precision")
@add_tolerance
def preview(
    model: str, pictures: tuple[str, ...], out: Path | None, show: bool, **options: Any
) -> None:
    """Try MODEL on a handful of images.

    The command draws one picture that shows each input beside its output. MODEL is a shipped
    model's name or a bundle's file.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed.
    """
    from pix2pix_batch.reporting import preview

    tolerance = take_tolerance(options)
    made = preview.preview(model, pictures, out, tolerance=tolerance, **options)
    for path, reason in made.failures:
        click.echo(f"{escape(path)}: {reason}", err=True)
    for path, warning in made.warnings:
        click.echo(f"warning: {escape(path)}: {warning}", err=True)
    if made.note:
        click.echo(f"note: {made.note}", err=True)
    if made.path is not None:
        click.echo(escape(made.path))
        if show:
            click.launch(str(made.path))
    sys.exit(SOME_FAILED if made.failures else 0)
