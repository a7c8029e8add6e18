"""The reference of the command line, made of the commands themselves.

(mkdocs-click leaves out the commands that are loaded when asked for, and what options take.)
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from typing import Any

import click

from pix2pix_batch.cli import main

PAGE = "reference/commands.md"
PROGRAM = "pix2pix-batch"


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Add each command to PAGE."""
    if page.file.src_uri != PAGE:
        return markdown
    return "\n".join([markdown, *described(click.Context(main, info_name=PROGRAM))])


def described(context: click.Context, depth: int = 2) -> Iterator[str]:
    """A command, its options and its commands, as Markdown."""
    command = context.command
    if depth > 2:  # the first is the page's own
        path = context.command_path
        label = path.removeprefix(f"{PROGRAM} ")
        yield f"\n{'#' * (depth - 1)} {label} {{ #{label.replace(' ', '-')} }}\n"
    if command.help:
        yield text(inspect.cleandoc(command.help).replace("\b\n", ""))
    yield f"\n```text\n{usage(context)}\n```\n"
    yield from options(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from described(click.Context(inner, parent=context, info_name=name), depth + 1)


def usage(context: click.Context) -> str:
    return " ".join([context.command_path, *context.command.collect_usage_pieces(context)])


def options(context: click.Context) -> Iterator[str]:
    """What ``--help`` says of each option, as a table."""
    known = [p for p in context.command.get_params(context) if isinstance(p, click.Option)]
    records = [p.get_help_record(context) for p in known if "--help" not in p.opts]
    if any(records):
        yield "| option | meaning |\n| --- | --- |"
    for names, meaning in filter(None, records):
        yield f"| `{names}` | {text(meaning)} |"


def text(plain: str) -> str:
    """Plain text as Markdown that shows it."""
    return re.sub(r"([\\*_`\[\]|])", r"\\\1", html.escape(plain, quote=False))
