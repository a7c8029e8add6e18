"""What commands that read images can be told of files that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from pix2pix_batch.imaging.decoding.tolerance import LARGE, Tolerance

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS = (
    click.option(
        "--strict",
        is_flag=True,
        help="Refuse images that can only be read with a warning, such as damaged ones.",
    ),
    click.option(
        "--lenient",
        is_flag=True,
        help="Of images that are cut short or damaged take what is there, with a warning.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        metavar="N",
        help="Of the largest image; what has more is refused as a decompression bomb.  "
        f"[default: {LARGE}]",
    ),
)


def add_tolerance(command: Command) -> Command:
    """Give a command the options; :func:`take_tolerance` takes their values."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def take_tolerance(values: dict[str, Any]) -> Tolerance:
    """What the options say, which leave ``values``. Raises :class:`InputError`."""
    return Tolerance(**{name: values.pop(name) for name in ("lenient", "strict", "max_pixels")})
