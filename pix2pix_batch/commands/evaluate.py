"""``pix2pix-batch evaluate``: how close a model's outputs are to their targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pix2pix_batch.commands.sharing import print_result
from pix2pix_batch.commands.tolerance import add_tolerance, take_tolerance
from pix2pix_batch.commands.training import DEVICE, DIRECTION, OVERRIDES, require_extra
from pix2pix_batch.errors import InputError


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
@DEVICE
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
    are at hand. Of rasters, where there is data, in the output's units and by band: MAE, RMSE,
    PSNR, SSIM, and of several bands the spectral angle (degrees).
    """
    require_extra("torchmetrics")
    from pix2pix_batch.storage import output
    from pix2pix_batch.train.evaluate import evaluate as run
    from pix2pix_batch.train.evaluation_recipe import Reading

    output.require_place(csv_file, (".csv",))
    output.require_place(picture, (".png",))
    if direction:
        reading["overrides"] += (f"direction={direction}",)
    how = Reading(tolerance=take_tolerance(reading), **reading)
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
