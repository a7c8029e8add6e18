"""What several commands take and give: paths, exit codes, messages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any, Protocol

import click

SOME_FAILED = 3
"""The exit code where some images failed or some outputs are wrong."""


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


class Result(Protocol):
    """What a command has found, for programs and for people."""

    def as_dict(self) -> dict[str, Any]: ...
    def lines(self) -> Iterable[str]: ...


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def print_result(found: Result, as_json: bool) -> None:
    """As one JSON object, or in lines."""
    print_lines([json.dumps(found.as_dict())] if as_json else found.lines())


def say(lines: Iterable[str]) -> None:
    """Print to standard error; that nobody reads it any more (``| head``) changes no exit code."""
    try:
        for line in lines:
            click.echo(line, err=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
