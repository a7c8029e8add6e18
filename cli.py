"""The command line: parse, call the library, print."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
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
    from pix2pix_batch.inputs.scan import Item

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


DEVICE = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
)


@main.command(cls=InOut)
@click.argument("source", metavar="IN")
@click.argument("out", metavar="OUT")
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
@DEVICE
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
    metavar="ADDRESS|FILE",
    help="An existing Dask cluster (tcp://host:8786, tls://..., or its scheduler file) whose "
    "workers see IN, OUT and the model at the same paths.",
)
@click.option(
    "--item-timeout",
    type=float,
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="An image that takes longer to decode, translate or encode is given up; 0: never.",
)
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Also try again what failed before and did not change since.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Only the I-th of N parts of the inputs: several machines without a cluster run one each, "
    "on the same IN and OUT.",
)
@click.option(
    "--no-georeference",
    "georeference",
    flag_value=False,
    default=True,
    help="Leave world files, .prj and .aux.xml beside the images, GeoTIFF tags and the "
    "descriptions of tile sets behind.",
)
@click.option(
    "--keep-exif",
    is_flag=True,
    help="Outputs keep their input's EXIF (GPS too), without thumbnail and maker notes.",
)
@click.option("--keep-times", is_flag=True, help="Outputs get their input's modification time.")
@click.option("--follow-links", is_flag=True, help="Also enter links to directories in IN.")
@click.option(
    "--no-report",
    "report",
    flag_value=False,
    default=True,
    help="Do not write OUT/report.html, the page that shows what came out.",
)
@click.option(
    "--unpack", is_flag=True, help="Write the members of tars as files, not as tars again."
)
@click.option(
    "--journal",
    metavar="DIR",
    help="Where the journal of an OUT that is a URL is kept.  [default: in the user's state "
    "directory]",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def convert(source: str, out: str, as_json: bool, **values: Any) -> None:
    """Convert the images of IN into the directory OUT.

    IN is a directory (its tree is mirrored), a glob ('maps/**/*.png'), a list of files
    (@files.txt), - for a list on standard input, or tars ('shards-{0000..0099}.tar'); any of
    these and OUT may be URLs (s3://bucket/maps), given the extra 'remote'. Run the same command
    again to go on where a run stopped: what is done and unchanged is skipped.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 interrupted.
    """
    from pix2pix_batch import job, report
    from pix2pix_batch.engines import ladder
    from pix2pix_batch.files import remote, storage
    from pix2pix_batch.options import Options
    from pix2pix_batch.progress import Display

    for name in ("batch_size", "workers"):
        values[name] = auto_or_count(name, values[name])

    def plan(item: Item) -> None:
        source_path, output = map(remote.safe, (item.path, storage.joined(out, item.output)))
        click.echo(f"{shown(source_path)} -> {shown(output)}", err=as_json)

    with Display() as display:
        options = Options(**values)
        summary = job.convert(
            source, out, options, watch=display, plan=plan, opener=ladder.open_best
        )
    if as_json:
        click.echo(json.dumps(summary.figures()))
    for line in report.of_job(summary, storage.kept(out, values["journal"])):
        click.echo(line, err=True)
    sys.exit(summary.exit_code)


@main.command(cls=InOut)
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
@click.option("--fit", type=click.Choice(["tile", "resize", "exact"]), help="As for 'convert'.")
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
@click.option("--follow-links", is_flag=True, help="Also enter links to directories in IN.")
@click.option("--retry-failed", is_flag=True, help="Also try again what failed before.")
@click.option("--item-timeout", type=float, default=300.0, show_default=True, metavar="SECONDS")
@click.option("--no-report", "report", flag_value=False, default=True, help="No report.html.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def synthesize(source: str, out: str, as_json: bool, **values: Any) -> None:
    """Make a dataset in OUT from the images of IN.

    Each input is translated, once or in several variants; the result is checked, split, and laid
    out for training tools, with a card and a manifest that say where each image came from. The
    same command makes the same bytes, and goes on where it was stopped.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 interrupted.
    """
    from pix2pix_batch.dataset import report, synthesis
    from pix2pix_batch.dataset.options import SynthesisOptions
    from pix2pix_batch.engines import ladder
    from pix2pix_batch.progress import Display

    for name in ("batch_size", "workers"):
        values[name] = auto_or_count(name, values[name])
    with Display() as display:
        about = SynthesisOptions(**values)
        made = synthesis.synthesize(source, out, about, watch=display, opener=ladder.open_best)
    if as_json:
        click.echo(json.dumps(made.figures()))
    for line in report.of_dataset(made, out):
        click.echo(line, err=True)
    sys.exit(made.exit_code)


@main.command("status")
@click.argument("out", metavar="OUT")
@click.option("--verify", is_flag=True, help="Also check each output: there, whole, unchanged.")
@click.option("--journal", metavar="DIR", help="Where the journal is, if OUT is a URL.")
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
def show_status(out: str, verify: bool, journal: str | None, as_json: bool) -> None:
    """Where the job in OUT stands, from its journal; also while a run is going.

    With --verify every output is read, decoded and compared with its recorded hash. What is
    missing, damaged or changed is listed, and made again by the next run.

    Exit codes: 0, 2 wrong use, 3 --verify found something wrong.
    """
    import time

    from pix2pix_batch import report
    from pix2pix_batch.records import status

    def tick(count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{count:,} outputs checked", nl=False, err=True)

    found = None
    if verify:
        from pix2pix_batch.records import verification

        found = verification.verify(out, journal, watch=tick)
        click.echo("\r\x1b[K" if sys.stderr.isatty() else "", nl=False, err=True)
    now = status.read(out, journal)
    if as_json:
        click.echo(json.dumps(now.figures() | ({"verified": found.figures()} if found else {})))
    else:
        for line in report.of_status(now, out, time.time()):
            click.echo(line)
        for line in report.of_verification(found) if found else ():
            click.echo(line)
    sys.exit(SOME_FAILED if found and found.wrong else 0)


@main.command("report")
@click.argument("out", metavar="OUT")
@click.option("--journal", metavar="DIR", help="Where the journal is, if OUT is a URL.")
def write_report(out: str, journal: str | None) -> None:
    """Write OUT/report.html anew: what a job made, what is doubtful, and what failed.

    Every convert leaves this page at its end. It is one file that needs nothing else, and is made
    of the journal in OUT and of samples of the images.
    """
    from pix2pix_batch.files import storage
    from pix2pix_batch.pages import page

    click.echo(shown(page.publish(storage.kept(out, journal), storage.absolute(out))))


@main.command()
@click.argument("model", metavar="MODEL")
@click.argument("pictures", metavar="IMAGE...", nargs=-1, required=True)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE.png",
    help="Where the picture goes.  [default: preview-MODEL.png]",
)
@click.option("--open", "show", is_flag=True, help="Open the picture in a viewer.")
@click.option(
    "--fit",
    type=click.Choice(["tile", "resize", "exact"]),
    help="How images of other sizes are treated, as in convert.  [default: the model's]",
)
@DEVICE
@PRECISION
def preview(
    model: str, pictures: tuple[str, ...], out: Path | None, show: bool, **options: Any
) -> None:
    """Try MODEL on a handful of images: one picture, inputs beside outputs.

    MODEL is a shipped model's name or a bundle. Exit codes: 0 all done, 2 wrong use, 3 some
    images failed.
    """
    from pix2pix_batch import preview

    made = preview.preview(model, pictures, out, **options)
    for path, reason in made.failures:
        click.echo(f"{shown(path)}: {reason}", err=True)
    if made.note:
        click.echo(f"note: {made.note}", err=True)
    if made.path is not None:
        click.echo(shown(made.path))
        if show:
            click.launch(str(made.path))
    sys.exit(SOME_FAILED if made.failures else 0)


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

    _require_new_bundle(file, overwrite)
    info, generator = reference.import_checkpoint(checkpoint, name=name or file.stem, **values)
    with _writing(file):
        bundle.save(file, info, generator, half=False)
    describe(info, file)


def _require_new_bundle(file: Path, overwrite: bool) -> None:
    if file.suffix != ".safetensors":
        raise InputError(f"{file}: a bundle's name ends in .safetensors")
    if file.exists() and not overwrite:
        raise InputError(f"{file}: exists; choose another name or pass --overwrite")


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{shown(file)}: cannot be written ({error.strerror}); choose another place"
        ) from error


@model.command("interpolate")
@click.argument("first", metavar="FIRST")
@click.argument("second", metavar="SECOND")
@click.argument("file", metavar="FILE.safetensors", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--by",
    type=click.FloatRange(-1, 2),
    default=0.5,
    show_default=True,
    help="0 gives FIRST, 1 SECOND, 0.5 what is half-way, 1.1 what lies a tenth beyond SECOND.",
)
@click.option("--encoder", type=click.FloatRange(-1, 2), help="The same of the encoder alone.")
@click.option("--decoder", type=click.FloatRange(-1, 2), help="The same of the decoder alone.")
@click.option(
    "--texture",
    type=click.FloatRange(-1, 2),
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
    with _writing(file):
        told = interpolate(*paths, file, parts)
    describe(bundle.read_info(file), file)
    if not told:
        click.echo(
            "It cannot tell how far images lie from its training inputs; 'pix2pix-batch model "
            f"calibrate {shown(file)} DATA' has it learn that.",
            err=True,
        )


@model.command("calibrate")
@click.argument("file", metavar="FILE.safetensors", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
def calibrate_model(file: Path, data: Path) -> None:
    """Have a bundle tell how far images lie from its training inputs.

    FILE is changed. DATA is what it was trained on, as 'train' takes it; for a bundle without a
    recipe, such as an imported one, a directory of images that it is meant for. What 'train'
    makes is calibrated already.
    """
    from pix2pix_batch import bundle
    from pix2pix_batch.train import finish

    found = finish.calibrate(bundle.resolve(file), data)
    click.echo(f"{shown(file)}: knows the distances of {found.inputs:,} training inputs")


if __name__ == "__main__":
    main(prog_name="pix2pix-batch")
