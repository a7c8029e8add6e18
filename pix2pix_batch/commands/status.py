"""``pix2pix-batch status`` and ``report``: what a job in OUT has done."""

from __future__ import annotations

import json
import sys

import click

from pix2pix_batch.commands.sharing import SOME_FAILED, print_lines
from pix2pix_batch.text import escape, format_count


@click.command()
@click.argument("out", metavar="OUT")
@click.option(
    "--verify",
    is_flag=True,
    help="Read every output and check that it is there, whole and unchanged.",
)
@click.option(
    "--journal",
    metavar="DIR",
    help="The directory of the journal, if OUT is a URL and the job was given --journal.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
def status(out: str, verify: bool, journal: str | None, as_json: bool) -> None:
    """Show where the job in OUT stands, also while it runs.

    The figures come from the journal. With --verify, every output is read, decoded and compared
    with its recorded hash. What is missing, damaged or changed is listed, and the next run makes
    it again. Outputs whose inputs have failed since are listed too.

    Exit codes: 0 nothing wrong, 2 wrong use, 3 --verify found something wrong.
    """
    import time

    from pix2pix_batch.reporting import console, status, status_text

    def tick(count: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{format_count(count, 'output')} checked", nl=False, err=True)

    found = None
    if verify:
        from pix2pix_batch.reporting import verification

        found = verification.verify(out, journal, watch=tick)
        click.echo("\r\x1b[K" if sys.stderr.isatty() else "", nl=False, err=True)
    now = status.read_status(out, journal)
    if as_json:
        click.echo(json.dumps(now.figures() | ({"verified": found.figures()} if found else {})))
    else:
        print_lines(status_text.format_status(now, out, time.time()))
        print_lines(console.format_verification(found, bool(now.dataset)) if found else ())
    sys.exit(SOME_FAILED if found and (found.wrong or found.outdated) else 0)


@click.command()
@click.argument("out", metavar="OUT")
@click.option(
    "--journal",
    metavar="DIR",
    help="The directory of the journal, if OUT is a URL and the job was given --journal.",
)
def report(out: str, journal: str | None) -> None:
    """Write OUT/report.html, the page on a job, anew.

    The page shows what a job made, what is doubtful, and what failed. 'convert' writes it at its
    end. It is a single file that needs nothing else, made from the journal and from samples of
    the images.
    """
    from pix2pix_batch.reporting import html_page
    from pix2pix_batch.storage import files

    click.echo(
        escape(html_page.publish(files.journal_directory(out, journal), files.absolute(out)))
    )
