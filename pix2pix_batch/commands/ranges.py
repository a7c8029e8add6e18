"""The options of ``model import`` and ``model calibrate`` that say what samples mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pix2pix_batch.errors import InputError
from pix2pix_batch.value_ranges import LIMITS, parse_ranges

if TYPE_CHECKING:
    from pix2pix_batch.bundle import BundleInfo

Command = TypeVar("Command", bound=Callable[..., Any])

SIDES = {"": "input", "output_": "output"}
"""What the options of each side begin with."""

FORM = "BAND=LOW:HIGH[:log]"


def range_options(command: Command) -> Command:
    """Give a command the options, whose values :func:`apply_ranges` takes."""
    for start, side in reversed(SIDES.items()):
        dash = start.replace("_", "-")
        for one in (
            click.option(
                f"--{dash}nodata",
                type=float,
                help=f"The value that stands for 'no data' in {side}s.",
            ),
            click.option(
                f"--{dash}bands",
                metavar="NAME,...",
                help=f"The names of the {side}s' bands, in order.",
            ),
            click.option(
                f"--{dash}dtype",
                type=click.Choice([*LIMITS]),
                help=f"The type of the {side}s' samples. It has to be given unless the bundle "
                "says it already.",
            ),
            click.option(
                f"--{dash}range",
                f"{start}ranges",
                multiple=True,
                metavar=FORM,
                help=f"The values in this band of the {side}s that the network takes as -1 and "
                "1, on a linear scale or, with ':log', on a logarithmic one. BAND is a number from "
                "1, a span of numbers (2-4), a name or 'all'. May be given more than once.",
            ),
        ):
            command = one(command)
    return command


def take_range_values(values: dict[str, Any]) -> dict[str, Any]:
    """Take the options' values out of those of a command."""
    names = [f"{start}{name}" for start in SIDES for name in ("ranges", "dtype", "bands", "nodata")]
    return {name: values.pop(name) for name in names}


def is_given(values: dict[str, Any]) -> bool:
    """Whether one of the options was given."""
    return any(value not in (None, ()) for value in values.values())


def apply_ranges(info: BundleInfo, values: dict[str, Any]) -> BundleInfo:
    """``info`` with what the options say. Raises :class:`InputError`."""
    a = info.architecture
    channels = {"input": a.in_channels, "output": a.out_channels}
    for start, side in SIDES.items():
        mine = {key: values[f"{start}{key}"] for key in ("ranges", "dtype", "bands", "nodata")}
        if not is_given(mine):
            continue
        names = [name.strip() for name in (mine["bands"] or "").split(",") if name.strip()]
        try:
            found = parse_ranges(
                mine["ranges"],
                channels[side],
                dtype=mine["dtype"],
                names=names,
                nodata=mine["nodata"],
                before=getattr(info, f"{side}_range"),
            )
            changed: Any = {f"{side}_range": found}
            info = replace(info, **changed)
        except ValueError as error:
            dash = start.replace("_", "-")
            raise InputError(f"--{dash}range, --{dash}dtype: {error}") from error
    return info
