"""What several commands take and give: options, exit codes, counts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import click

from pix2pix_batch.errors import InputError

SOME_FAILED = 3
"""The exit code where some images failed or some outputs are wrong."""

DEVICE = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16", "fp16"]),
    default="auto",
    show_default=True,
)
EXCLUDE = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what matches in IN, by the rules of .gitignore: '*_mask.png', 'drafts/'. May "
    "be given more than once.",
)
INCLUDE = click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Take what matches all the same: hidden files and what systems leave ('@eaDir/'), other "
    "suffixes ('*.dat'), what --exclude leaves out.",
)


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


def say(lines: Iterable[str]) -> None:
    """Print to standard error; that nobody reads it any more (``| head``) changes no exit code."""
    try:
        for line in lines:
            click.echo(line, err=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def auto_or_count(name: str, text: str) -> int | None:
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        option = name.replace("_", "-")
        raise InputError(f"--{option} takes a number or 'auto', not {text!r}") from None
