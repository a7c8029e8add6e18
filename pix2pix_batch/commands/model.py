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
from pix2pix_batch.commands.finite import FiniteRange
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
    """The shipped models."""
    from pix2pix_batch import bundle

    for name in bundle.shipped_names():
        info = bundle.read_info(bundle.resolve(name))
        click.echo(f"{name}\t{info.source_domain} -> {info.target_domain}")


@model.command("show")
@click.argument("name", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print the metadata as JSON.")
def show_model(name: str, as_json: bool) -> None:
    """What a bundle says of itself."""
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
@click.option("--name", help="The model's name.  [default: FILE's]")
@click.option(
    "--norm",
    type=click.Choice(["batch-statistics", "running-statistics", "instance", "none"]),
    help="How to normalise at inference.  [default: what the checkpoint's keys say; "
    "batch norm runs with each image's own statistics, as the reference's test script]",
)
@click.option(
    "--dropout/--no-dropout",
    default=None,
    help="Whether it was trained with dropout, for 'convert --noise'.  [default: what the keys "
    "say, or the reference's own]",
)
@click.option(
    "--channels",
    type=click.Choice(["rgb", "bgr"]),
    default="rgb",
    show_default=True,
    help="Their order in the images that it was trained on; bgr is OpenCV's.",
)
@click.option(
    "--labels",
    metavar="ids|ids+edges|FILE",
    help="Its inputs are images of labels, one-hot as pix2pixHD's: by number, with edges between "
    "them, or by the colours in FILE, one a line.",
)
@click.option(
    "--expect",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="INPUT OUTPUT",
    help="An image, and what the network made of it: tells --norm and --channels.",
)
@click.option(
    "--weights",
    metavar="KEY|ema",
    help="Which of several generators in CHECKPOINT, by its key there; ema: the averaged weights.",
)
@click.option("--image-size", type=int, help="Side of the images it was trained on.")
@click.option(
    "--fit",
    type=click.Choice(FITS),
    help="How images of other sizes are treated.  [default: resize for U-Nets; for ResNets whole, "
    "or tile where they norm by fixed statistics or not at all]",
)
@click.option("--source-domain", default="", help="What its inputs show.")
@click.option("--target-domain", default="", help="What its outputs show.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Of a checkpoint of 'train': its training data.  [default: where it was]",
)
@ranges.range_options
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
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

    CHECKPOINT is the latest_net_G.pth of pix2pix, CycleGAN, CUT or pix2pixHD; what TensorFlow's
    tutorial saves, .keras, .h5 or ckpt-....index (extra 'keras'); or one of 'train',
    RUN/checkpoints/best.pt or step-....pt, also while the run goes on: it becomes what the end of
    the run would have made of it.
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
    help="0 gives FIRST, 1 SECOND, 0.5 what is half-way, 1.1 what lies a tenth beyond SECOND.",
)
@click.option("--encoder", type=FiniteRange(-1, 2), help="The same of the encoder alone.")
@click.option("--decoder", type=FiniteRange(-1, 2), help="The same of the decoder alone.")
@click.option(
    "--texture",
    type=FiniteRange(-1, 2),
    help="The same of the decoder's three outermost blocks, which draw what is 8 pixels wide or "
    "less.  [default: the decoder's]",
)
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
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

    SECOND was trained on from FIRST, or the other way round ('train' with init). Of a sharp model
    and a smooth one, what lies between is a compromise of texture and error.
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
    help="Estimate batch norm's statistics anew too, which an interpolated model may need.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of the model's recipe, for other inputs than it was trained on.",
)
def calibrate_model(
    file: Path, data: Path | None, norms: bool, overrides: tuple[str, ...], **values: Any
) -> None:
    """Teach a bundle its values' ranges or its training inputs.

    FILE is changed. Ranges say what the values of rasters are to the network, and need no DATA.
    DATA is what it was trained on, as 'train' takes it; for a bundle without a recipe, such as an
    imported one, a directory of images that it is meant for: it then tells how far images lie from
    these. What 'train' makes is calibrated already.
    """
    from pix2pix_batch import bundle

    path = bundle.resolve(file)
    if ranges.is_given(values):
        with _write_errors(file):
            bundle.change_info(path, ranges.apply_ranges(bundle.read_info(path), values))
        click.echo(f"{escape(file)}: takes and makes the values of its ranges")
    elif data is None:
        raise InputError("give DATA to learn distances from, or what samples mean with --range")
    if data is None:
        return
    from pix2pix_batch.train import finish

    found = finish.calibrate(path, data, norms, overrides)
    if norms:
        seen = bundle.read_info(path).provenance["norms_estimated_on"]
        click.echo(
            f"{escape(file)}: batch norm's running statistics estimated anew on {seen:,} training "
            "inputs; its outputs change"
        )
    click.echo(f"{escape(file)}: knows the distances of {found.inputs:,} training inputs")
