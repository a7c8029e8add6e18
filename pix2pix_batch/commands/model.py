"""``pix2pix-batch model``: look at bundles, import and mix them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pix2pix_batch.bundle import FITS
from pix2pix_batch.commands import ranges
from pix2pix_batch.commands.options import FiniteRange, add_tolerance, take_tolerance
from pix2pix_batch.commands.sharing import print_lines
from pix2pix_batch.errors import InputError
from pix2pix_batch.text import escape

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo

WIDEST = 100
"""Columns that a model's description takes at most."""


@click.group()
def model() -> None:
    """Look at bundles, import, mix and calibrate them."""


@model.command("list")
def list_models() -> None:
    """List the shipped models."""
    from pix2pix_batch import bundle

    for name in bundle.shipped_names():
        info = bundle.read_info(bundle.resolve(name))
        click.echo(f"{name}\t{info.source_domain} -> {info.target_domain}")


@model.command("show")
@click.argument("name", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the metadata as JSON.")
def show_model(name: str, as_json: bool) -> None:
    """Print what a bundle says of itself.

    Of the models that its weights come from ('train' with init, 'model interpolate') it prints a
    few lines each; --json prints all that is known of them.
    """
    from pix2pix_batch import bundle

    path = bundle.resolve(name)
    info = bundle.read_info(path)
    if as_json:
        click.echo(info.as_json())
        return
    describe(info, path)


def describe(info: BundleInfo, path: Path) -> None:
    from pix2pix_batch.reporting import console

    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    print_lines(console.format_bundle(info, path, width))


@model.command("import")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("file", metavar="FILE.safetensors", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--name", help="The name of the model.  [default: the name of FILE]")
@click.option(
    "--norm",
    type=click.Choice(["batch-statistics", "running-statistics", "instance", "none"]),
    help="The norm at inference.  [default: what the checkpoint's keys say; batch norm uses each "
    "image's own statistics, as in the reference's test script]",
)
@click.option(
    "--dropout/--no-dropout",
    default=None,
    help="Whether the model was trained with dropout, which 'convert --noise' needs.  [default: "
    "what the checkpoint's keys say, else what the reference does]",
)
@click.option(
    "--channels",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="The order of the channels in the images that it was trained on; bgr is OpenCV's.",
)
@click.option(
    "--labels",
    metavar="ids|ids+edges|FILE",
    help="The inputs are label maps, which the network takes one-hot as pix2pixHD does. Pixels "
    "hold the numbers of labels (ids, or ids+edges for a channel of edges between them), or the "
    "colours that FILE lists, one a line.",
)
@click.option(
    "--expect",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="INPUT OUTPUT",
    help="Find --norm and --channels by an image and what the network made of it.",
)
@click.option(
    "--weights",
    metavar="KEY|ema",
    help="Which of several generators in CHECKPOINT to import, by its key there. 'ema' stands for "
    "the averaged weights.",
)
@click.option(
    "--image-size",
    type=int,
    help="The side, in pixels, of the images that it was trained on.  [default: what the depth of "
    "a U-Net says, else 256]",
)
@click.option(
    "--fit",
    type=click.Choice(FITS),
    help="What 'convert' does with images of other sizes.  [default: resize for U-Nets; whole for "
    "ResNets, or tile if their norm has fixed statistics or they have none]",
)
@click.option("--source-domain", default="", help="What the inputs show, for people.")
@click.option("--target-domain", default="", help="What the outputs show, for people.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="The training data of a checkpoint of 'train'.  [default: where it was then]",
)
@ranges.range_options
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def import_model(
    checkpoint: Path,
    file: Path,
    name: str | None,
    data: Path | None,
    expect: tuple[Path, Path] | None,
    overwrite: bool,
    **values: Any,
) -> None:
    """Turn a checkpoint into a bundle.

    CHECKPOINT is one of these:

    \b
      latest_net_G.pth of pix2pix, CycleGAN, CUT or pix2pixHD
      .keras, .h5 or ckpt-....index of TensorFlow's tutorial (extra 'keras')
      RUN/checkpoints/best.pt or step-....pt of 'train', also while it runs

    A checkpoint of 'train' becomes a bundle with the weights, the recipe and the figures that the
    end of a run would give it.
    """
    from pix2pix_batch import bundle, reference, state_dicts
    from pix2pix_batch.inference import expectation

    _require_new_bundle(file, overwrite)
    told = ranges.take_range_values(values)
    if state_dicts.is_training_checkpoint(checkpoint):
        if ranges.is_given(told):
            raise InputError(f"--range: {escape(checkpoint)} is of 'train', whose recipe says it")
        _adopt(checkpoint, file, name, data, values)
        return
    if data is not None:
        raise InputError(f"{escape(checkpoint)}: is no checkpoint of 'train', which --data is for")
    values["name"] = name or file.stem
    if expect is not None:
        found = expectation.settle(checkpoint, *expect, values)
        values |= found.values
        click.echo(f"settled by {escape(expect[1])}: {found}", err=True)
    info, generator = reference.import_checkpoint(checkpoint, **values)
    info = ranges.apply_ranges(info, told)
    with _write_errors(file):
        bundle.save(file, info, generator, half=False)
    describe(info, file)


def _adopt(
    checkpoint: Path, file: Path, name: str | None, data: Path | None, values: dict[str, Any]
) -> None:
    from pix2pix_batch.commands.training import require_extra
    from pix2pix_batch.train.adopt import adopt

    require_extra()
    context = click.get_current_context()
    for key in ("norm", "dropout", "channels", "labels", "expect", "weights", "image_size", "fit"):
        if context.get_parameter_source(key) == ParameterSource.COMMANDLINE:
            option = f"--{key.replace('_', '-')}"
            raise InputError(f"{option}: {escape(checkpoint)} is of 'train', whose recipe says it")
    domains = {key: values[key] for key in ("source_domain", "target_domain")}
    with _write_errors(file):
        made = adopt(checkpoint, file, data=data, name=name, **domains)
    describe(made.info, file)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)


def _require_new_bundle(file: Path, overwrite: bool) -> None:
    if file.suffix != ".safetensors":
        raise InputError(f"{file}: a bundle's name ends in .safetensors")
    if file.exists() and not overwrite:
        raise InputError(f"{file}: exists; choose another name or pass --overwrite")


@contextlib.contextmanager
def _write_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{escape(file)}: cannot be written ({error.strerror}); choose another place"
        ) from error


@model.command("interpolate")
@click.argument("first", metavar="FIRST")
@click.argument("second", metavar="SECOND")
@click.argument("file", metavar="FILE.safetensors", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--by",
    type=FiniteRange(-1, 2),
    default=0.5,
    show_default=True,
    help="How far to go from FIRST (0) to SECOND (1). 0.5 is half-way, 1.1 a tenth beyond SECOND.",
)
@click.option(
    "--encoder", type=FiniteRange(-1, 2), help="The same for the encoder alone.  [default: --by]"
)
@click.option(
    "--decoder", type=FiniteRange(-1, 2), help="The same for the decoder alone.  [default: --by]"
)
@click.option(
    "--texture",
    type=FiniteRange(-1, 2),
    help="The same for the decoder's three outermost blocks, which draw what is up to 8 pixels "
    "wide.  [default: the decoder's]",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE if it exists.")
def interpolate_models(
    first: str,
    second: str,
    file: Path,
    by: float,
    encoder: float | None,
    decoder: float | None,
    texture: float | None,
    overwrite: bool,
) -> None:
    """Make the model between two related ones, or beyond.

    One of FIRST and SECOND must have been trained further from the other ('train' with init). The
    model between a sharp one and a smooth one is a compromise of texture and error.
    """
    from pix2pix_batch import bundle
    from pix2pix_batch.interpolation import Parts, interpolate

    paths = bundle.resolve(first), bundle.resolve(second)
    _require_new_bundle(file, overwrite)
    encoder, decoder = (by if part is None else part for part in (encoder, decoder))
    parts = Parts(encoder, decoder, decoder if texture is None else texture)
    with _write_errors(file):
        told = interpolate(*paths, file, parts)
    click.echo(f"name: {bundle.read_info(file).name}")
    click.echo(f"file: {escape(file)}")
    click.echo(f"bytes: {file.stat().st_size:,}")
    click.echo(f"made of: {escape(first)} -> {escape(second)}, {parts}")
    if not told:
        click.echo(
            "It cannot tell how far images lie from its training inputs; 'pix2pix-batch model "
            f"calibrate {escape(file)} DATA' has it learn that.",
            err=True,
        )


@model.command("calibrate")
@click.argument("file", metavar="FILE.safetensors", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@ranges.range_options
@click.option(
    "--norms",
    is_flag=True,
    help="Also estimate the statistics of batch norm anew, which an interpolated model may need.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the model's recipe, for other inputs than it was trained on. May be "
    "given more than once.",
)
@add_tolerance
def calibrate_model(
    file: Path, data: Path | None, norms: bool, overrides: tuple[str, ...], **values: Any
) -> None:
    """Teach a bundle its values' ranges or its training inputs.

    The command changes FILE. With ranges, it stores what the values of rasters mean to the network;
    this needs no DATA. With DATA, it stores how the training inputs are distributed, so that
    'convert' can tell how far an image lies from them. DATA is the same as for 'train', or a
    directory of images that the model is meant for, if the bundle has no recipe, as an imported
    one. A model that 'train' made is calibrated already.
    """
    from pix2pix_batch import bundle

    path, tolerance = bundle.resolve(file), take_tolerance(values)
    if ranges.is_given(values):
        with _write_errors(file):
            bundle.change_info(path, ranges.apply_ranges(bundle.read_info(path), values))
        click.echo(f"{escape(file)}: takes and makes the values of its ranges")
    elif data is None:
        raise InputError("give DATA to learn distances from, or what samples mean with --range")
    if data is None:
        return
    from pix2pix_batch.train import finish

    found = finish.calibrate(path, data, norms, overrides, tolerance)
    if norms:
        seen = bundle.read_info(path).provenance["norms_estimated_on"]
        click.echo(
            f"{escape(file)}: batch norm's running statistics estimated anew on {seen:,} training "
            "inputs; its outputs change"
        )
    click.echo(f"{escape(file)}: knows the distances of {found.inputs:,} training inputs")
