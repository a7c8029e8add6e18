"""What the commands of the trainer share: options, exit codes, and the extra that they need."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pix2pix_batch.errors import InputError

Command = TypeVar("Command", bound=Callable[..., Any])

PROBLEMS = 3
"""The exit code where some files failed or have problems, as of ``convert``."""

INTERRUPTED = 130

SPINS = "10000"
"""How often a thread of GNU's OpenMP looks for the others before it sleeps; by default 300,000
times. On free cores a step took as long (medians of three: 202 and 198 ms an image), beside two
programs that only count 487 in place of 722 ms, beside a conversion 720 in place of 3,200 ms; where
threads sleep at once it took half as long again on free cores (``benchmarks/train.py --beside``, an
Intel Xeon with 2 cores)."""

DIRECTION = click.option(
    "--direction",
    type=click.Choice(["AtoB", "BtoA"]),
    help="Whether the model makes B from A or A from B.  [default: what the recipe says]",
)
OVERRIDES = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the recipe, such as size=128. May be given more than once.",
)


def add_device(where: str) -> Callable[[Command], Command]:
    """A decorator that gives a command the option of the device. ``where``: what it says of it."""
    return click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help=f"{where} 'auto' is a GPU if there is one, else the CPU.",
    )


def require_extra(*more: str) -> None:
    """Import what the trainer is made of, PyTorch included.

    Raises :class:`InputError` where the extra ``train`` is not installed.
    """
    # OpenMP's threads spin while they wait for each other, in vain where another program has the
    # other's core: a step takes several times as long then (benchmarks/train.py --beside). The
    # variable is read once, when PyTorch is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    for module in ("accelerate", "pydantic", "tqdm", "yaml", *more):
        try:
            __import__(module)
        except ImportError as error:
            raise InputError(
                f"this command needs the package {module!r}; pip install 'pix2pix-batch[train]'"
            ) from error
