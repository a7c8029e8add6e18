"""``--creation-option``: what the drivers of GDAL that write outputs are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pix2pix_batch.errors import InputError

YES, NO = ("YES", "TRUE", "ON", "1"), ("NO", "FALSE", "OFF", "0")
"""What GDAL takes for yes and no, in upper case."""


def parse_creation_options(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """``NAME=VALUE`` each, as GDAL has them. Raises :class:`InputError`."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        name, value = name.strip().upper(), value.strip()
        if not equals or not name or not value:
            raise InputError(
                f"--creation-option {word!r}: must be NAME=VALUE, such as COMPRESS=ZSTD"
            )
        if found.setdefault(name, value) != value:
            raise InputError(
                f"--creation-option: {name} is given as {found[name]} and as {value}; choose one"
            )
    return tuple(found.items())


def complete_options(creation: Mapping[str, str]) -> dict[str, str]:
    """What "GTiff" is told for these: a tile's width makes tiles."""
    return {**({"TILED": "YES"} if "BLOCKXSIZE" in creation else {}), **creation}
