"""``--creation-option``: what the drivers of GDAL that write outputs are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pix2pix_batch.errors import InputError

YES, NO = ("YES", "TRUE", "ON", "1"), ("NO", "FALSE", "OFF", "0")
"""What GDAL takes for yes and no, in upper case."""

NEED_PIXELS = {
    "COMPRESS": ("WEBP",),
    "PHOTOMETRIC": ("YCBCR", "CIELAB", "ICCLAB", "ITULAB"),
}
"""Values of options that encode the bands of a pixel together. libtiff has WebP of planes written,
and cannot read it; the colour spaces' samples are of whole pixels (TIFF 6.0, sections 21, 23)."""


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


def find_pixel_need(creation: Mapping[str, str]) -> str:
    """Which of the options needs the bands of a pixel together; empty for none."""
    needing = (
        f"{name}={value}" for name, value in creation.items()
        if value.upper() in NEED_PIXELS.get(name, ())
    )  # fmt: skip
    return next(needing, "")


def complete_options(creation: Mapping[str, str]) -> dict[str, str]:
    """What "GTiff" is told for these: a tile's width makes tiles, and what encodes colours has the
    bands of a pixel together, however the input has them."""
    completed = {"TILED": "YES"} if "BLOCKXSIZE" in creation else {}
    if find_pixel_need(creation):
        completed["INTERLEAVE"] = "PIXEL"
    return {**completed, **creation}
