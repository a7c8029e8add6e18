"""``pix2pix-batch synthesize``."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from pix2pix_batch.commands.options import in_out_command
from pix2pix_batch.commands.sharing import say
from pix2pix_batch.synthesis.options import SynthesisOptions


@in_out_command(SynthesisOptions)
def synthesize(source: str, out: str, as_json: bool, **values: Any) -> None:
    """Make a dataset in OUT from the images of IN.

    Each input is translated once or in several variants. The images are checked, divided into
    splits and laid out for training tools, with a card and a manifest that say where each image
    came from. The same command makes the same bytes, and continues where it was stopped.

    Exit codes: 0 all done, 2 wrong use, 3 some images failed, 130 stopped by Ctrl-C, 143 by
    SIGTERM.
    """
    from pix2pix_batch.engines import backends
    from pix2pix_batch.reporting.progress import Display
    from pix2pix_batch.synthesis import console, synthesize

    with Display() as display:
        options = SynthesisOptions(**values)
        made = synthesize.synthesize(source, out, options, watch=display, opener=backends.open_best)
    if as_json:
        click.echo(json.dumps(made.figures()))
    say(console.format_dataset(made, out))
    sys.exit(made.exit_code)
