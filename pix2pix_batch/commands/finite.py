"""Options whose value is a number: neither NaN, which passes every limit, nor infinity."""

from __future__ import annotations

import math
from typing import Any

import click
from click.types import FloatParamType


class FiniteFloat(FloatParamType):
    """A number."""

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
