"""What the commands of the trainer share: options, exit codes, and the extra that they need."""

from __future__ import annotations

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
    """Raises :class:`InputError` where the extra ``train`` is not installed."""
    for module in ("accelerate", "pydantic", "tqdm", "yaml", *more):
        try:
            __import__(module)
        except ImportError as error:
            raise InputError(
                f"this command needs the package {module!r}; pip install 'pix2pix-batch[train]'"
            ) from error
