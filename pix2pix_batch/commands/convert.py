"""``pix2pix-batch convert``."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from pix2pix_batch.commands.options import in_out_command
from pix2pix_batch.commands.sharing import say
from pix2pix_batch.options import Options
from pix2pix_batch.text import escape

if TYPE_CHECKING:
    from pix2pix_batch.item import Item


@in_out_command(Options)
def convert(source: str, out: str, as_json: bool, **values: Any) -> None:
    """Convert the images of IN into the directory OUT.

    IN is a directory, whose tree is mirrored in OUT; a pattern ('maps/**/*.png'); a list of files
    (@files.txt, or - for standard input); or tars ('shards-{0000..0099}.tar'). IN and OUT may be
    URLs (s3://bucket/maps) if the extra 'remote' is installed. To continue a run that was
    stopped, give the same command again: what is done and unchanged is skipped.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 stopped by Ctrl-C, 143 by
    SIGTERM.
    """
    from pix2pix_batch.engines import backends
    from pix2pix_batch.execution import job
    from pix2pix_batch.reporting import console
    from pix2pix_batch.reporting.progress import Display
    from pix2pix_batch.storage import files, remote

    def plan(item: Item) -> None:
        path = item.path + item.name.removeprefix(item.file_name)
        source_path, output = map(remote.redact, (path, files.join(out, item.output)))
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
