"""Options of commands, made of what :mod:`pix2pix_batch.options` declares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, TypeVar, get_type_hints

import click
from click.types import FloatParamType

from pix2pix_batch.commands.sharing import InOut
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.options import Options, declaration_of

Command = TypeVar("Command", bound=Callable[..., Any])


class FiniteFloat(FloatParamType):
    """A number: neither NaN, which passes every limit, nor infinity."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Raises ``click.BadParameter``, whose message names the option."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class FiniteRange(FiniteFloat, click.FloatRange):
    """A number within limits."""


class AutoOrCount(click.ParamType):
    """A whole number; ``auto`` for ``None``."""

    name = "auto|N"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | None:
        """Raises :class:`InputError`."""
        try:
            return None if value == "auto" else int(value)
        except ValueError:
            option = parameter.opts[0] if parameter is not None else self.name
            raise InputError(f"{option} takes a number or 'auto', not {value!r}") from None


def in_out_command(options: type) -> Callable[[Callable[..., None]], click.Command]:
    """A decorator that makes a command which takes IN and OUT, the ``options``, and ``--json``."""

    def decorate(function: Callable[..., None]) -> click.Command:
        as_json = click.option(
            "--json",
            "as_json",
            is_flag=True,
            help="Print the summary as one JSON object on standard output.",
        )
        function = add_options(options)(as_json(function))
        for name, metavar in (("out", "OUT"), ("source", "IN")):
            function = click.argument(name, metavar=metavar)(function)
        return click.command(cls=InOut)(function)

    return decorate


def add_options(kind: type[Any], *names: str) -> Callable[[Command], Command]:
    """A decorator that gives a command the options of the dataclass ``kind``, in its order; or
    only those of these ``names``, in theirs."""
    declared = {one.name: one for one in fields(kind)}
    types = get_type_hints(kind)

    def decorate(command: Command) -> Command:
        for name in reversed(names or tuple(declared)):
            command = _make_option(declared[name], types[name])(command)
        return command

    return decorate


def _make_option(option: Field[Any], kind: Any) -> Callable[[Command], Command]:
    """``kind``: the type of the option's values. A flag that is on by default is turned off by
    ``--no-...``."""
    declared, flag = declaration_of(option), option.name.replace("_", "-")
    if kind is bool and option.default:
        return click.option(
            f"--no-{flag}", option.name, flag_value=False, default=True, help=declared.help
        )
    if kind is bool:
        return click.option(f"--{flag}", is_flag=True, help=declared.help)
    default = "auto" if declared.has_auto else option.default
    return click.option(
        f"--{flag}",
        type=_click_type(option, kind),
        multiple=kind == tuple[str, ...],
        default=default,
        show_default=default not in (None, ()),
        metavar=declared.metavar,
        help=declared.help,
    )


def _click_type(option: Field[Any], kind: Any) -> click.ParamType | type:
    declared = declaration_of(option)
    if declared.choices:
        return click.Choice(declared.choices)
    if declared.has_auto:
        return AutoOrCount()
    for number in (int, float):
        if kind in (number, number | None):
            if number is int and declared.low is not None:
                return click.IntRange(int(declared.low), _whole(declared.high))
            return FiniteFloat() if number is float else number
    return str


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


add_tolerance = add_options(Options, "strict", "lenient", "max_pixels")
"""Gives a command the options; :func:`take_tolerance` takes their values."""


def take_tolerance(values: dict[str, Any]) -> Tolerance:
    """What the options say, which leave ``values``. Raises :class:`InputError`."""
    return Tolerance(**{name: values.pop(name) for name in ("lenient", "strict", "max_pixels")})
