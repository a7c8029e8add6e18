"""The command line: parse, call the library, print."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.errors import (
    EngineError,
    InputError,
    OutputError,
    Pix2PixBatchError,
    TrainingError,
)
from pix2pix_batch.text import shown
from pix2pix_batch.version import __version__

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.scan import Item

WRONG_USE = 2
SOME_FAILED = 3
INTERRUPTED = 130
WIDEST = 100
"""Columns that a model's description takes at most."""


class Commands(click.Group):
    """Prints this package's errors as one line; loads the other packages' commands when asked."""

    TRAINING = ("dataset", "evaluate", "recipe", "train")
    ENGINES = ("doctor", "engine")

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("Interrupted. Run the same command again to go on from here.", err=True)
            context.exit(INTERRUPTED)
        except Pix2PixBatchError as error:
            click.echo(f"error: {error}", err=True)
            failed = isinstance(error, EngineError | OutputError | TrainingError)
            context.exit(SOME_FAILED if failed else WRONG_USE)

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *self.TRAINING, *self.ENGINES])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in self.TRAINING:
            from pix2pix_batch.train import command as trainer

            found: click.Command = getattr(trainer, name)
            return found
        if name in self.ENGINES:
            from pix2pix_batch.engines import command as engines

            found = getattr(engines, name)
            return found
        return super().get_command(context, name)


class InOut(click.Command):
    """Says what to do where there are more paths than two: the shell has expanded a glob."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.allow_extra_args = True
        rest = super().parse_args(context, args)
        if rest and not context.resilient_parsing:
            context.fail(
                f"{len(rest) + 2:,} paths given, but there is one IN and one OUT; put a pattern "
                "in quotes ('maps/*.png'), or give the directory or a list of files (@files.txt)"
            )
        return rest


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pix2pix-batch")
def main() -> None:
    """Convert image datasets from one domain to another with pix2pix generators.

    Shell completion: eval "$(_PIX2PIX_BATCH_COMPLETE=bash_source pix2pix-batch)" (or zsh_source,
    fish_source).
    """


@main.command(cls=InOut)
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--model",
    default="map2aerial",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped model's name ('model list') or a bundle.",
)
@click.option(
    "--fit",
    type=click.Choice(["tile", "resize", "exact"]),
    help="How images of other sizes than the model's are treated: overlapping tiles at "
    "native scale, scaling there and back, or refusal.  [default: the model's]",
)
@click.option(
    "--format",
    type=click.Choice(["png", "jpg", "webp", "tiff", "same"]),
    default="png",
    show_default=True,
    help="Format of the outputs; 'same' as each input.",
)
@click.option(
    "--quality",
    type=click.IntRange(1, 100),
    metavar="1..100",
    help="Of JPEG and WebP (100: lossless WebP).  [default: 90]",
)
@click.option(
    "--batch-size",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Images the network takes at once.",
)
@click.option(
    "--workers",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Worker processes, each with one inference thread.",
)
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
    help="'auto': bf16 or fp16 where the hardware has it and it is close enough to fp32 on the "
    "first images.",
)
@click.option(
    "--backend",
    type=click.Choice(["auto", "tensorrt", "tensorrt_rtx", "torch"]),
    default="auto",
    show_default=True,
    help="What runs the model: on a GPU, 'auto' tries TensorRT and then PyTorch.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Convert everything again, and replace files in OUT that another job or program made.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be done; write nothing.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N inputs.")
@click.option("--noise", is_flag=True, help="Use dropout as the noise z, as the paper does.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the noise.")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="An existing Dask cluster, such as "
    "tcp://host:8786, whose workers see IN, OUT and the model at the same paths.",
)
@click.option("--follow-links", is_flag=True, help="Also enter links to directories in IN.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def convert(source: str, out: Path, as_json: bool, **values: Any) -> None:
    """Convert the images of IN into the directory OUT.

    IN is a directory (its tree is mirrored), a glob ('maps/**/*.png'), a list of files
    (@files.txt), or - for a list on standard input. Run the same command again to go on where
    a run stopped: what is done and unchanged is skipped.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 interrupted.
    """
    from pix2pix_batch import job, report
    from pix2pix_batch.engines import ladder
    from pix2pix_batch.options import Options
    from pix2pix_batch.progress import Display

    for name in ("batch_size", "workers"):
        values[name] = auto_or_count(name, values[name])

    def plan(item: Item) -> None:
        click.echo(f"{shown(item.path)} -> {shown(out / item.output)}", err=as_json)

    with Display() as display:
        options = Options(**values)
        summary = job.convert(
            source, out, options, watch=display, plan=plan, opener=ladder.open_best
        )
    if as_json:
        click.echo(json.dumps(summary.figures()))
    for line in report.of_job(summary, out):
        click.echo(line, err=True)
    sys.exit(summary.exit_code)


def auto_or_count(name: str, text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        option = name.replace("_", "-")
        raise InputError(f"--{option} takes a number or 'auto', not {text!r}") from None


@main.group()
def model() -> None:
    """Look at bundles and import checkpoints."""


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
    from pix2pix_batch import report

    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 0)).columns)
    for line in report.of_bundle(info, path, width):
        click.echo(line)


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
@click.option("--image-size", type=int, help="Side of the images it was trained on.")
@click.option(
    "--fit", type=click.Choice(["tile", "resize", "exact"]), default="resize", show_default=True
)
@click.option("--source-domain", default="", help="What its inputs show.")
@click.option("--target-domain", default="", help="What its outputs show.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.")
def import_model(
    checkpoint: Path, file: Path, name: str | None, overwrite: bool, **values: Any
) -> None:
    """Turn a reference checkpoint (latest_net_G.pth) into a bundle."""
    from pix2pix_batch import bundle, reference

    if file.suffix != ".safetensors":
        raise InputError(f"{file}: a bundle's name ends in .safetensors")
    if file.exists() and not overwrite:
        raise InputError(f"{file}: exists; choose another name or pass --overwrite")
    info, generator = reference.import_checkpoint(checkpoint, name=name or file.stem, **values)
    try:
        bundle.save(file, info, generator, half=False)
    except OSError as error:
        raise InputError(
            f"{shown(file)}: cannot be written ({error.strerror}); choose another place"
        ) from error
    describe(info, file)


if __name__ == "__main__":
    main(prog_name="pix2pix-batch")
