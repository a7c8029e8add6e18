"""``pix2pix-batch evaluate``: how close a model's outputs are to their targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.commands.options import add_tolerance, take_tolerance
from pix2pix_batch.commands.sharing import print_result
from pix2pix_batch.commands.training import DIRECTION, OVERRIDES, add_device, require_extra
from pix2pix_batch.errors import InputError

if TYPE_CHECKING:
    from pix2pix_batch.train.evaluation_recipe import Reading


@click.command()
@click.argument("model", metavar="MODEL")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(["val", "test", "train", "all"]),
    help="Evaluate on this split of DATA; 'val' is what training validated on.  [default: val, or "
    "all if DATA has no such split and the model was trained on mosaics]",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="Read DATA as this recipe says: a shipped one's name or a YAML file.  [default: the "
    "recipe that the model was trained by, without its mosaics if DATA has pairs of files]",
)
@OVERRIDES
@DIRECTION
@click.option(
    "--palette/--no-palette",
    default=None,
    help="Measure the targets as label maps in the colours of the recipe's palette, or do not.  "
    "[default: do so if the recipe has a palette and B is the target]",
)
@add_device("Where the model runs.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="The type of the network's numbers. 'auto' chooses it as 'convert' does.",
)
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Write the figures of each image into this file.",
)
@click.option(
    "--picture",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Draw the best, the median and the worst pair by L1 into this file.",
)
@click.option(
    "--folds",
    is_flag=True,
    help="Evaluate on each of the folds of the recipe's mosaics, with mean, worst and spread. "
    "'{fold}' in MODEL stands for the fold's name, if each fold has a model of its own.",
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
    """Measure how close MODEL's outputs are to the targets.

    MODEL is a shipped model's name or a bundle's file, and DATA the same as for 'train'. Outputs
    are made as 'convert' makes them.

    The figures are L1 (0 to 255), PSNR (dB), SSIM and MS-SSIM; sharpness (edges, but noise and a
    grid count too), grid (energy of patterns that repeat every 2, 4 or 8 pixels) and bright (share
    of pixels above 128), each divided by that of the targets; and relative L1 (divided by the L1
    of each target's mean colour). Label maps get accuracies and IoU. LPIPS and FID are added if
    the weights of their networks are at hand.

    Rasters are measured where there is data, band by band and in the output's units: MAE, RMSE,
    PSNR, SSIM and, if there are several bands, the spectral angle (degrees).

    Exit codes: 0 done, 2 wrong use, 3 a pair cannot be read.
    """
    require_extra("torchmetrics")
    from pix2pix_batch.storage import output
    from pix2pix_batch.train.evaluate import evaluate as run

    output.require_place(csv_file, (".csv",))
    output.require_place(picture, (".png",))
    how = _make_reading(reading, direction)
    on = {"device": device, "precision": precision}
    if folds:
        if csv_file is not None or picture is not None:
            raise InputError("--folds: --csv and --picture are of one fold; --set mosaic.fold=NAME")
        from pix2pix_batch.train.fold_figures import evaluate_folds

        print_result(evaluate_folds(model, data, how, **on), as_json)
        return
    result, drawn = run(model, data, how, picture=picture is not None, **on)
    if csv_file is not None:
        output.write(csv_file, result.as_csv())
    if picture is not None:
        output.write(picture, drawn)
    print_result(result, as_json)


def _make_reading(options: dict[str, Any], direction: str | None) -> Reading:
    """Make of the command's options how the data is to be read."""
    from pix2pix_batch.train.evaluation_recipe import Reading

    if direction:
        options["overrides"] += (f"direction={direction}",)
    return Reading(tolerance=take_tolerance(options), **options)
