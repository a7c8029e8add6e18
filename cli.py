"""The command line: parse, call the library, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.errors import InputError, OutputError, Pix2PixBatchError
from pix2pix_batch.version import __version__

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.job import Summary
    from pix2pix_batch.scan import Item

WRONG_USE = 2
INTERRUPTED = 130
SHOWN_FAILURES = 10


class Commands(click.Group):
    """Prints this package's errors as one line, with exit code 2; loads ``train`` when asked."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            click.echo("Interrupted. Run the same command again to go on from here.", err=True)
            context.exit(INTERRUPTED)
        except Pix2PixBatchError as error:
            click.echo(f"error: {error}", err=True)
            context.exit(3 if isinstance(error, OutputError) else WRONG_USE)

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), "train"])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name == "train":
            from pix2pix_batch.train.command import train

            return train
        return super().get_command(context, name)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pix2pix-batch")
def main() -> None:
    """Convert image datasets from one domain to another with pix2pix generators.

    Shell completion: eval "$(_PIX2PIX_BATCH_COMPLETE=bash_source pix2pix-batch)" (or zsh_source,
    fish_source).
    """


@main.command()
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
    "--overwrite",
    is_flag=True,
    help="Convert everything again, and replace files in OUT that another job or program made.",
)
@click.option("--dry-run", is_flag=True, help="Only list what would be done.")
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
    from pix2pix_batch import job
    from pix2pix_batch.progress import Display

    for name in ("batch_size", "workers"):
        values[name] = auto_or_count(name, values[name])

    def plan(item: Item) -> None:
        click.echo(f"{shown(item.path)} -> {shown(out / item.output)}", err=as_json)

    with Display() as display:
        summary = job.convert(source, out, job.Options(**values), watch=display, plan=plan)
    if as_json:
        click.echo(json.dumps(summary.figures()))
    report(summary, out, dry_run=values["dry_run"])
    sys.exit(summary.exit_code)


def auto_or_count(name: str, text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        option = name.replace("_", "-")
        raise InputError(f"--{option} takes a number or 'auto', not {text!r}") from None


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def shown(path: object) -> str:
    from pix2pix_batch import scan

    return scan.shown(path)


def report(summary: Summary, out: Path, *, dry_run: bool) -> None:
    """The summary for people, on standard error."""

    def say(text: str) -> None:
        click.echo(text, err=True)

    if dry_run:
        pending = summary.total - summary.skipped
        say(f"{counted(pending, 'image')} would be converted, {summary.skipped:,} are done.")
        return
    rate = f" ({summary.images_per_second:.1f} images/s)" if summary.converted else ""
    say(
        f"{summary.converted:,} converted, {summary.skipped:,} skipped (done before), "
        f"{summary.failed:,} failed in {summary.seconds:.1f} s{rate}"
    )
    if summary.note:
        say(f"note: {summary.note}")
    if summary.total == 0:
        say("No images were found in the input.")
    if summary.ignored:
        say(f"{counted(summary.ignored, 'file')} left alone: no image suffix, or listed twice.")
    if summary.links:
        links = counted(summary.links, "link")
        say(f"{links} to directories not followed (see --follow-links).")
    for record in summary.failures[:SHOWN_FAILURES]:
        say(f"  failed: {shown(record.name)}: {record.reason}")
    if summary.failed:
        more = summary.failed - SHOWN_FAILURES
        tail = f"  ... and {more:,} more; all" if more > 0 else "  All"
        say(f"{tail} are in {out / '.pix2pix-batch' / 'journal.jsonl'}; run again to retry them.")
    if summary.fatal:
        say(f"error: {summary.fatal}")
    if summary.interrupted:
        say("Interrupted. Run the same command again (without --overwrite) to go on from here.")


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
    for key, value in description(info, path):
        click.echo(f"{key:<16} {value}")


def description(info: BundleInfo, path: Path) -> list[tuple[str, object]]:
    from pix2pix_batch import bundle

    a = info.architecture
    return [
        ("name", info.name),
        ("file", path),
        ("bytes", f"{path.stat().st_size:,}"),
        ("sha256", bundle.fingerprint(path)),
        ("domains", f"{info.source_domain or '?'} -> {info.target_domain or '?'}"),
        ("image size", f"{info.image_size}x{info.image_size}, other sizes: {info.fit}"),
        ("channels", f"{a.in_channels} -> {a.out_channels}"),
        ("architecture", f"U-Net, {a.downs} downs, ngf {a.ngf}"),
        ("norm", a.norm),
        ("dropout blocks", len(a.dropout_blocks)),
        *info.provenance.items(),
    ]


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
    for key, value in description(info, file):
        click.echo(f"{key:<16} {value}")


if __name__ == "__main__":
    main(prog_name="pix2pix-batch")
