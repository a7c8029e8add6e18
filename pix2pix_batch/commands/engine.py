"""``pix2pix-batch engine``: what is compiled from a bundle, and ``doctor``: what runs here."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from pix2pix_batch import bundle
from pix2pix_batch.commands.options import FiniteRange
from pix2pix_batch.commands.sharing import print_lines
from pix2pix_batch.errors import InputError
from pix2pix_batch.text import escape, format_count

PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp16", "fp32", "bf16"]),
    default="fp16",
    show_default=True,
    help="The type of the network's numbers. The statistics of norms are always fp32.",
)
SIZE = click.option(
    "--size",
    type=click.IntRange(1),
    metavar="S",
    help="The side of the images in pixels.  [default: the model's]",
)
NOISE = click.option(
    "--noise", is_flag=True, help="Add inputs for the dropout masks, which are the noise z."
)
IMAGES = click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Use the images in this directory as inputs.  [default: a few that are shipped]",
)


@click.group()
def engine() -> None:
    """Compile models for GPUs: export, build, check, keep."""


@engine.command()
@click.argument("model", metavar="MODEL")
@click.argument("file", metavar="FILE.onnx", type=click.Path(path_type=Path))
@PRECISION
@click.option(
    "--batch-size",
    default="dynamic",
    show_default=True,
    metavar="dynamic|N",
    help="How many images the network takes at once: any number, or always N.",
)
@SIZE
@NOISE
@click.option("--overwrite", is_flag=True, help="Replace FILE.onnx if it exists.")
def export(
    model: str,
    file: Path,
    precision: str,
    batch_size: str,
    size: int | None,
    noise: bool,
    overwrite: bool,
) -> None:
    """Write MODEL as an ONNX file: bytes in, bytes out.

    MODEL is a shipped model's name or a bundle's file. The ONNX graph takes 'image', uint8
    (N, S, S, channels), and with --noise also 'noise_0', 'noise_1' and so on, bool masks that are
    true where a value is kept. It returns 'translated', uint8 (N, S, S, channels), and
    'embedding', float32 (N, D).
    """
    from pix2pix_batch.engines import export as exports

    count = None if batch_size == "dynamic" else parse_count(batch_size)
    info = exports.export(
        bundle.resolve(model),
        file,
        precision=precision,
        batch_size=count,
        size=size,
        noise=noise,
        overwrite=overwrite,
    )
    click.echo(f"file: {escape(info.path)}")
    click.echo(f"bytes: {info.bytes:,}")
    click.echo(f"sha256: {info.sha256}")
    click.echo(f"precision: {info.precision}")
    click.echo(f"batch size: {info.batch_size or 'dynamic'}")
    click.echo(f"image size: {info.size}x{info.size}")
    click.echo(f"noise inputs: {len(info.masks)}")


def parse_count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"--batch-size takes a number or 'dynamic', not {text!r}") from None


@engine.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--target",
    default="current",
    show_default=True,
    metavar="current|cpu|SM,...",
    help="What to build for: the GPU of this machine, or kinds of GPUs such as sm86,sm89. With "
    "'cpu' nothing has to be built, and the engine is only checked.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp16", "fp32", "bf16"]),
    help="The type of the network's numbers. The statistics of norms are always fp32.  [default: "
    "fp16; on the CPU what 'convert' chooses]",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    metavar="N",
    help="The engine always takes N images at once.  [default: what 'convert' chooses]",
)
@SIZE
@NOISE
@click.option(
    "--optimization-level",
    type=click.IntRange(0, 5),
    help="How long to look for a fast engine, from 0 (quick build) to 5 (best engine).  "
    "[default: 3]",
)
@click.option(
    "--workspace",
    "workspace_mib",
    type=click.IntRange(1),
    metavar="MIB",
    help="The GPU memory, in MiB, that building may use.  [default: all]",
)
@click.option(
    "--library",
    "library_name",
    type=click.Choice(["tensorrt", "tensorrt_rtx"]),
    help="The library to build with.  [default: tensorrt if it is installed; tensorrt_rtx for "
    "other GPUs than this machine's]",
)
@IMAGES
def build(
    model: str,
    target: str,
    optimization_level: int | None,
    workspace_mib: int | None,
    library_name: str | None,
    images: Path | None,
    **request: Any,
) -> None:
    """Compile MODEL for GPUs and keep the engines in the cache.

    An engine for the GPU of this machine is compared with fp32 PyTorch at once, others when they
    first run. Nothing is compiled for the CPU: --target cpu says what runs there, how close it is
    to fp32 and how soon it is ready.
    """
    from pix2pix_batch.engines import manage
    from pix2pix_batch.engines.builder import BuildOptions

    options: dict[str, Any] = {}
    if optimization_level is not None:
        options["optimization_level"] = optimization_level
    if workspace_mib is not None:
        options["workspace_mib"] = workspace_mib
    made = manage.build(
        bundle.resolve(model),
        manage.EngineRequest(**request),
        [name.strip().lower() for name in target.split(",") if name.strip()],
        BuildOptions(**options) if options else None,
        library_name,
        images=images,
        display=Line(),
    )
    print_lines(made)


class Line:
    """A live line on a terminal; nothing elsewhere. Called with what is done and how far it is."""

    def __init__(self) -> None:
        self.stream = sys.stderr
        self.live = self.stream.isatty()

    def __call__(self, text: str) -> None:
        if self.live:
            self.stream.write("\r\x1b[K" + text[: shutil.get_terminal_size().columns - 1])
            self.stream.flush()


@engine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the engines as a JSON array.")
def list_engines(as_json: bool) -> None:
    """List the engines in the cache."""
    from pix2pix_batch.engines import listing
    from pix2pix_batch.engines.cache import Cache, Entry

    cache = Cache()
    rows = []
    for entry in cache.entries():
        if isinstance(entry, Entry):
            rows.append(listing.make_row(entry))
        else:
            click.echo(f"warning: {entry}", err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print_lines(listing.format_table(rows, width))
    found = f"{format_count(len(rows), 'engine')} in {escape(cache.folder)}"
    hint = "" if rows else "; 'pix2pix-batch engine build' makes them"
    click.echo(found + hint, err=True)


@engine.command()
@click.argument("name", metavar="ID")
def show(name: str) -> None:
    """Print all that is known of an engine, as JSON."""
    from pix2pix_batch.engines.cache import Cache

    entry = Cache().find_by_id(name)
    click.echo(json.dumps({"id": entry.id, "file": str(entry.path), **entry.facts}, indent=2))


@engine.command()
@click.argument("name", metavar="ID|MODEL")
@click.option("--layers", is_flag=True, help="Compare MODEL layer by layer. This needs no GPU.")
@PRECISION
@IMAGES
def verify(name: str, layers: bool, precision: str, images: Path | None) -> None:
    """Check an engine, or all of a model's, against fp32 PyTorch.

    The command also says whether the engine's file is whole and made for this machine. If an
    engine is not close to PyTorch, it names the first layer that differs.
    """
    from pix2pix_batch.engines import manage

    told = (
        manage.find_layer(bundle.resolve(name), precision, images)
        if layers
        else manage.verify(name, images)
    )
    print_lines(told)


@engine.command()
@click.argument("name", metavar="ID|MODEL")
@IMAGES
def bench(name: str, images: Path | None) -> None:
    """Measure an engine, or all of a model's, on the GPU here."""
    from pix2pix_batch.engines import manage

    print_lines(manage.bench(name, images))


@engine.command()
@click.option("--all", "everything", is_flag=True, help="Remove every engine.")
@click.option(
    "--older-than",
    type=FiniteRange(0),
    metavar="DAYS",
    help="Also remove engines that were not used for this number of days.",
)
def prune(everything: bool, older_than: float | None) -> None:
    """Remove engines that are of no use.

    These are damaged engines, engines of other versions, and what interrupted builds left behind.
    """
    from pix2pix_batch.engines import manage

    engines, freed = manage.prune(everything=everything, older_than=older_than)
    click.echo(f"{format_count(engines, 'engine')} removed, {freed:,} bytes freed")


@click.command()
@click.option(
    "--model",
    default="map2aerial",
    show_default=True,
    metavar="NAME|FILE",
    help="The model that 'convert' would run: a shipped one's name or a bundle's file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
def doctor(model: str, as_json: bool) -> None:
    """Say what this machine has and what would run on it.

    The command lists the CPU, GPUs and packages that matter, which device, library and precision
    'convert' would choose, and what would make it faster.
    """
    from pix2pix_batch.engines import doctor as doctors

    machine = doctors.examine(bundle.resolve(model))
    if as_json:
        click.echo(json.dumps(machine.as_dict()))
        return
    print_lines(map(escape, doctors.format_machine(machine)))
