"""What the commands of the trainer share: options, exit codes, and the extra that they need."""

from __future__ import annotations

import os

import click

from pix2pix_batch.errors import InputError

PROBLEMS = 3
"""The exit code where some files failed or have problems, as of ``convert``."""

INTERRUPTED = 130

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


def require_extra(*more: str) -> None:
    """Import what the trainer is made of, PyTorch included.

    Raises :class:`InputError` where the extra ``train`` is not installed.
    """
    # OpenMP's threads spin while they wait for each other, in vain where another program has the
    # other's core: a step takes several times as long then (benchmarks/train.py --beside). The
    # variable is read once, when PyTorch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for module in ("accelerate", "pydantic", "tqdm", "yaml", *more):
        try:
            __import__(module)
        except ImportError as error:
            raise InputError(
                f"this command needs the package {module!r}; pip install 'pix2pix-batch[train]'"
            ) from error
