"""``pix2pix-batch synthesize``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from pix2pix_batch.commands.sharing import (
    DEVICE,
    EXCLUDE,
    INCLUDE,
    PRECISION,
    InOut,
    auto_or_count,
    say,
)
from pix2pix_batch.commands.tolerance import add_tolerance


@click.command(cls=InOut)
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
@click.option("--model", default="map2aerial", show_default=True, metavar="NAME|FILE")
@click.option(
    "--variants",
    type=click.IntRange(1),
    metavar="K",
    help="Images an input: one as 'convert' makes it, the others with noise.  [default: 1]",
)
@click.option(
    "--target-count",
    type=click.IntRange(1),
    metavar="N",
    help="Make N images in all, spread evenly over the inputs; --variants is then the most an "
    "input may get.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of noise and splits.")
@click.option(
    "--layout",
    type=click.Choice(["imagefolder", "webdataset", "parquet", "side-by-side", "a-b"]),
    default="imagefolder",
    show_default=True,
    help="For Hugging Face datasets, webdataset, Parquet readers, or pix2pix trainers.",
)
@click.option(
    "--split",
    default="train=1",
    show_default=True,
    metavar="train=0.8,val=0.1,...",
    help="Shares of the inputs; all variants of an input stay together.",
)
@click.option(
    "--group-by",
    metavar="REGEX|folder|FILE.csv:COLUMN",
    help="Inputs for which this gives the same stay in one split.",
)
@click.option(
    "--stratify",
    metavar="folder|REGEX|FILE.csv:COLUMN",
    help="Each split gets its share of what this tells apart.",
)
@click.option(
    "--max-distance",
    type=float,
    metavar="P",
    help="Leave out what is farther from the model's training inputs than P percent of these; "
    "200: than twice the farthest.",
)
@click.option(
    "--reject-flagged",
    is_flag=True,
    help="Leave out near-duplicates, flat images and what else is flagged.",
)
@click.option("--noise-rate", type=float, default=0.5, show_default=True, help="Of dropout.")
@click.option(
    "--noise-blocks",
    type=click.IntRange(1),
    metavar="N",
    help="Noise in the N innermost decoder blocks.  [default: those trained with it]",
)
@click.option(
    "--input-noise",
    type=float,
    default=0.0,
    show_default=True,
    metavar="LEVELS",
    help="Deviation of noise on the input of all variants but the first, of 255.",
)
@click.option("--no-sources", "sources", flag_value=False, default=True, help="Outputs only.")
@click.option(
    "--no-mark",
    "mark",
    flag_value=False,
    default=True,
    help="Do not say in the images' metadata that they are synthetic.",
)
@click.option("--name", help="The dataset's, for its card.  [default: the model's and IN's]")
@click.option("--license", default="other", show_default=True, help="For its card.")
@click.option(
    "--fit", type=click.Choice(["tile", "resize", "exact", "whole"]), help="As for 'convert'."
)
@click.option(
    "--format",
    type=click.Choice(["png", "jpg", "webp", "tiff"]),
    default="png",
    show_default=True,
)
@click.option("--quality", type=click.IntRange(1, 100), metavar="1..100")
@click.option("--batch-size", default="auto", show_default=True, metavar="auto|N")
@click.option("--workers", default="auto", show_default=True, metavar="auto|N")
@DEVICE
@PRECISION
@click.option(
    "--backend",
    type=click.Choice(["auto", "tensorrt", "tensorrt_rtx", "torch"]),
    default="auto",
    show_default=True,
)
@click.option("--overwrite", is_flag=True, help="Make the dataset in OUT anew.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N inputs.")
@click.option("--scheduler", metavar="ADDRESS|FILE", help="An existing Dask cluster.")
@add_tolerance
@click.option("--follow-links", is_flag=True, help="Also enter links to directories in IN.")
@EXCLUDE
@INCLUDE
@click.option("--retry-failed", is_flag=True, help="Also try again what failed before.")
@click.option("--item-timeout", type=float, default=300.0, show_default=True, metavar="SECONDS")
@click.option("--no-report", "report", flag_value=False, default=True, help="No report.html.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def synthesize(source: str, out: str, as_json: bool, **values: Any) -> None:
    """Make a dataset in OUT from the images of IN.

    Each input is translated, once or in several variants; the result is checked, split, and laid
    out for training tools, with a card and a manifest that say where each image came from. The
    same command makes the same bytes, and goes on where it was stopped.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 stopped by Ctrl-C, 143 by
    SIGTERM.
    """
    from pix2pix_batch.engines import backends
    from pix2pix_batch.reporting.progress import Display
    from pix2pix_batch.synthesis import console, synthesize
    from pix2pix_batch.synthesis.options import SynthesisOptions

    for name in ("batch_size", "workers"):
        values[name] = auto_or_count(name, values[name])
    with Display() as display:
        about = SynthesisOptions(**values)
        made = synthesize.synthesize(source, out, about, watch=display, opener=backends.open_best)
    if as_json:
        click.echo(json.dumps(made.figures()))
    say(console.format_dataset(made, out))
    sys.exit(made.exit_code)
