"""Which files are pictures: the formats that are read, and what a file's name says of them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from typing import IO

from PIL import Image

from pix2pix_batch.imaging.decoding.formats import readable_formats
from pix2pix_batch.imaging.decoding.others import COMMON

SHARED = frozenset(
    {
        ".bw",  # raw samples
        ".fli",
        ".flc",
        ".ftc",
        ".ftu",
        ".gbr",  # Gerber, circuit boards
        ".icb",
        ".iim",
        ".im",
        ".msp",  # patches of Windows' installer
        ".pcd",  # point clouds
        ".pfm",  # metrics of fonts
        ".pxr",
        ".ras",
        ".rgb",  # raw samples
        ".rgba",
        ".vda",
        ".vst",  # Visio's templates
    }
)
"""Suffixes that more files of other kinds have than pictures: what begins as a picture is one."""

RASTERS = frozenset({".npy", ".vrt", ".img"})
"""Suffixes of files that are rasters and no pictures: NumPy's arrays, GDAL's virtual mosaics,
Erdas's."""

LOOKED_AT = 1 << 16
"""Bytes of such a file that are looked at where it does not lie on a disk."""

Open = Callable[[], "IO[bytes] | None"]
"""Opens a file to look into; ``None`` where it cannot be opened."""


@cache
def suffixes() -> frozenset[str]:
    """The file suffixes, lower case with a dot, of the formats that are read here."""
    return frozenset(_kinds_by_suffix())


@cache
def _kinds_by_suffix() -> Mapping[str, str]:
    readable = readable_formats() & COMMON
    return {
        suffix: name for suffix, name in Image.EXTENSION.items() if suffix and name in readable
    }  # Pillow 11.0 has one without a suffix


def suffix_of(name: str) -> str:
    """The suffix of a path, in lower case."""
    return os.path.splitext(name)[1].lower()


def is_picture(name: str, look: Open) -> bool:
    """Whether a file is a picture by its name; where other kinds share its suffix, by its
    beginning too, for which ``look`` opens it."""
    suffix = suffix_of(name)
    if suffix not in suffixes():
        return False
    return suffix not in SHARED or _begins_as_picture(look, _kinds_by_suffix()[suffix])


def _begins_as_picture(look: Open, form: str) -> bool:
    file = look()
    if file is None:
        return True  # it fails, and says why
    try:
        with file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Image.open(file, formats=(form,)).close()
    except Image.DecompressionBombError:
        return True
    except Exception:  # Pillow's plug-ins raise what they please
        return False
    return True
