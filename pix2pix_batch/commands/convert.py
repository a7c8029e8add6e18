"""``pix2pix-batch convert``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.commands.sharing import DEVICE, EXCLUDE, INCLUDE, InOut, auto_or_count, say
from pix2pix_batch.commands.tolerance import add_tolerance
from pix2pix_batch.text import escape

if TYPE_CHECKING:
    from pix2pix_batch.item import Item


@click.command(cls=InOut)
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
    type=click.Choice(["tile", "resize", "exact", "whole"]),
    help="How images of other sizes than the model's are treated: overlapping tiles at "
    "native scale, scaling there and back, refusal, or each as a whole at its own size (ResNets).  "
    "[default: the model's]",
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
@add_tolerance
@click.option("--follow-links", is_flag=True, help="Also enter links to directories in IN.")
@EXCLUDE
@INCLUDE
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

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 stopped by Ctrl-C, 143 by
    SIGTERM.
    """
    from pix2pix_batch.engines import backends
    from pix2pix_batch.execution import job
    from pix2pix_batch.options import Options
    from pix2pix_batch.reporting import console
    from pix2pix_batch.reporting.progress import Display
    from pix2pix_batch.storage import files, remote

    for name in ("batch_size", "workers"):
        values[name] = auto_or_count(name, values[name])

    def plan(item: Item) -> None:
        source_path, output = map(remote.redact, (item.path, files.join(out, item.output)))
        click.echo(f"{escape(source_path)} -> {escape(output)}", err=as_json)

    with Display() as display:
        options = Options(**values)
        summary = job.convert(
            source, out, options, watch=display, plan=plan, opener=backends.open_best
        )
    if as_json:
        click.echo(json.dumps(summary.figures()))
    say(console.format_job(summary, files.journal_directory(out, values["journal"])))
    sys.exit(summary.exit_code)
