"""Which of Pillow's formats are read on this machine."""

from __future__ import annotations

import warnings
from functools import cache

from PIL import Image, ImageFile, features

PROGRAMS = frozenset({"EPS"})
"""Formats that are programs: Pillow hands them to Ghostscript, whatever the file is called."""

MISREAD = frozenset({"FITS", "MPEG"})
"""Formats that Pillow opens but does not read. FITS: its numbers are scaled by keywords (BZERO,
BSCALE; FITS standard 4.0, section 4.4.2.5) that Pillow leaves out. MPEG: no decoder."""

CODECS = {
    "AVIF": "avif",
    "JPEG": "jpg",
    "JPEG2000": "jpg_2000",
    "MPO": "jpg",
    "PNG": "zlib",
    "WEBP": "webp",
}
"""What Pillow may have been built without, by format."""

INSIDE_OTHERS = frozenset({"MPO"})
"""Formats that Pillow opens by way of another's plug-in."""


@cache
def readable_formats() -> frozenset[str]:
    """The formats that Pillow can decode on this machine, by its names."""
    Image.init()
    return frozenset(
        name
        for name in {*Image.OPEN, *INSIDE_OTHERS}
        if name not in PROGRAMS | MISREAD and not _is_stub(name) and _has_codec(name)
    )


def _is_stub(name: str) -> bool:
    """Whether a plug-in only knows the format by its first bytes, as for HDF5, GRIB and WMF."""
    opened = Image.OPEN.get(name, (None,))[0]
    return isinstance(opened, type) and issubclass(opened, ImageFile.StubImageFile)


def _has_codec(name: str) -> bool:
    if name not in CODECS:
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of codecs that an older Pillow does not know
        return bool(features.check(CODECS[name]))


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read, in the order in which they are tried."""
    return tuple(name for name in Image.ID if name in readable_formats())
