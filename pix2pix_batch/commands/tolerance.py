"""What commands that read images can be told of files that are not as they should be."""

from __future__ import annotations

from typing import Any

from pix2pix_batch.commands.options import add_options
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.options import Options

add_tolerance = add_options(Options, "strict", "lenient", "max_pixels")
"""Gives a command the options; :func:`take_tolerance` takes their values."""


def take_tolerance(values: dict[str, Any]) -> Tolerance:
    """What the options say, which leave ``values``. Raises :class:`InputError`."""
    return Tolerance(**{name: values.pop(name) for name in ("lenient", "strict", "max_pixels")})
