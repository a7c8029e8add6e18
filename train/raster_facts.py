"""What a raster's file says of itself, without its samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.imaging.raster import library, numpy_raster
from pix2pix_batch.imaging.raster.paged import open_named
from pix2pix_batch.imaging.raster.samples import GDAL_TYPES
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import pair_files

GEOGRAPHIC = frozenset({".tif", ".tiff", ".jp2"})
"""Pictures' suffixes that files with more than 8 bits, or with a place on a map, may have."""


def may_be_raster(path: Path) -> bool:
    """Whether a file's name says that it may be a raster. ``path``: of a file, or of a page."""
    return suffix_of(pages.split_name(path.name)[0]) in RASTERS | GEOGRAPHIC


PIXEL_SHIFT = 0.501
"""Pixels by which partners may lie apart: half a one is what taking the coordinates of pixels'
centres for those of their corners makes, as programs often do, and what rounding adds."""

TOLD_SHIFT = 0.1
"""Pixels from which on that is told: less is rounding, and less than what images are aligned to."""


@dataclass(frozen=True)
class RasterFacts:
    """What a raster says of itself.

    Attributes:
        kind: The type of its samples, by NumPy's name.
        names: The names of its bands.
        nodata: Of each band the value that stands for no data.
        system: Its reference system in short; empty if it has none.
        transform: The six numbers of rasterio's transform; ``None`` if it does not say where it
            lies.
    """

    width: int
    height: int
    kind: str
    names: tuple[str, ...]
    nodata: tuple[float | None, ...]
    system: str = ""
    transform: tuple[float, ...] | None = None

    @property
    def bands(self) -> int:
        return len(self.names)


def read_facts(path: Path, channels: int | None = None) -> RasterFacts:
    """Read what a raster says of itself, but for a band of transparency.

    Args:
        path: Of a file, or of a page of one.
        channels: Those of the recipe; ``None`` if it does not say what the rasters are.

    Raises:
        ImageError: It cannot be read.
    """
    if suffix_of(path.name) == numpy_raster.SUFFIX:
        return _read_numpy(path, channels)
    rasterio = library.rasterio()
    with library.explain_errors("read as a raster"), open_named(str(path)) as file:
        own = [
            index for index, colour in enumerate(file.colorinterp)
            if colour != rasterio.enums.ColorInterp.alpha
        ]  # fmt: skip
        kinds = {file.dtypes[index] for index in own}
        if len(kinds) != 1:
            listed = ", ".join(sorted(kinds)) or "no samples"
            raise ImageError(f"its bands are of different types ({listed}); make them of one")
        return RasterFacts(
            file.width,
            file.height,
            kinds.pop(),
            tuple(file.descriptions[index] or "" for index in own),
            tuple(file.nodatavals[index] for index in own),
            _name_system(file.crs),
            None if file.transform.is_identity else tuple(file.transform)[:6],
        )


def _name_system(crs: Any) -> str:
    if not crs:
        return ""
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


def _read_numpy(path: Path, channels: int | None) -> RasterFacts:
    array = numpy_raster.load_array(str(path))
    height, width, bands = array.shape
    numpy_raster.require_bands_last(array.shape, channels)
    kind = array.dtype.newbyteorder("=").name
    return RasterFacts(width, height, kind, ("",) * bands, (None,) * bands)


def describe_other_kind(path: Path, kind: str, first: Path, same: str) -> str:
    """That a file's samples are not of the type of those of its side's ``first``; nothing if they
    are."""
    if kind == same:
        return ""
    if suffix_of(path.name) == numpy_raster.SUFFIX:
        remedy = f"array.astype({same!r})"
    else:
        remedy = f"gdal_translate -ot {GDAL_TYPES.get(same, same.title())}"
    return (
        f"has samples of {kind}, and {first} of {same}; all of a side must be of one type, and on "
        f"one scale: convert them ({remedy})"
    )


def describe_other_order(names: Sequence[str], first: Path, wanted: Sequence[str]) -> str:
    """That a file has a band at another place than its side's first, by the bands' names.

    Args:
        names: The names of the file's bands, empty for those without.
        first: The side's first file.
        wanted: The names of that one's bands.

    Returns:
        What is wrong, where no recipe names the bands and so they are taken in their order;
        nothing if no name that is unique in each file has two places.
    """
    own, others = ([name.casefold() for name in some] for some in (names, wanted))
    if not any(
        name and own.count(name) == others.count(name) == 1 and others.index(name) != place
        for place, name in enumerate(own)
    ):
        return ""
    called, known = (", ".join(name or "?" for name in some) for some in (names, wanted))
    remedy = "bring all files of the side into one order (gdal_translate -b)"
    if all(own) and sorted(own) == sorted(others):
        words = json.dumps(list(wanted), ensure_ascii=False)
        remedy = f"set bands: {words} in the range of the recipe, or {remedy}"
    return (
        f"its bands are called {called}, and those of {first} {known}; without 'bands' they are "
        f"taken in their order: {remedy}"
    )


def describe_mismatch(first: RasterFacts, other: RasterFacts) -> str:
    """How the places of a pair's rasters differ, as far as both tell theirs; else nothing."""
    if first.system and other.system and not _is_same_system(first.system, other.system):
        return f"its CRS is {other.system}, its partner's {first.system}; warp one to the other's"
    shift = _measure_shift(first, other)
    if shift > PIXEL_SHIFT:
        return (
            "it lies elsewhere than its partner: their transforms differ by "
            f"{shift:.3g} pixels; cut both to one grid"
        )
    return ""


def is_shifted(first: RasterFacts, other: RasterFacts) -> bool:
    """Whether a pair's rasters lie beside each other by so little that it is no mismatch."""
    is_near = TOLD_SHIFT < _measure_shift(first, other) <= PIXEL_SHIFT
    return is_near and _is_same_system(first.system, other.system)


def _measure_shift(first: RasterFacts, other: RasterFacts) -> float:
    """By how many pixels the corners of a pair's rasters of one system lie apart at most; 0 where
    they do not both say where they lie."""
    if not (first.transform and other.transform and first.system and other.system):
        return 0.0
    pixel = max(abs(first.transform[0]), abs(first.transform[1]), 1e-12)
    moved = np.abs(np.subtract(first.transform, other.transform))
    reach = np.array([other.width, other.height, 1] * 2)
    return float((moved * reach).max() / pixel)


def describe_shifted(files: Sequence[Path]) -> str:
    """That these lie up to half a pixel beside their partners."""
    have, partner = ("lies", "its partner") if len(files) == 1 else ("lie", "their partners")
    return (
        f"{format_count(len(files), 'file')} {have} up to half a pixel beside {partner}, such as "
        f"{escape(files[0])}: if the coordinates of one side mean the pixels' centres and those "
        "of the other their corners, correct one side's transform; else warp one to the other's "
        "grid"
    )


def _is_same_system(first: str, other: str) -> bool:
    """Whether two reference systems are one, however each file words it."""
    if first == other:
        return True
    crs = library.rasterio().crs.CRS
    return bool(crs.from_user_input(first) == crs.from_user_input(other))


def reword(reason: ImageError | str, path: Path) -> str:
    """What is said of a model and of options of ``convert``, as of a recipe."""
    text = pair_files.reword_pages(str(reason), path)
    for before, after in (
        ("choose them with --bands", "choose them with 'bands' in the recipe's range"),
        ("--bands names", "the recipe's range names"),
        ("--bands counts", "the recipe's 'bands' count"),
        ("--bands takes", "the recipe's 'bands' take"),
        ("for the model's", "for"),
        ("and the model's", "and the recipe's"),
        ("(see --bands)", "(see 'bands' in the recipe's range)"),
        ("the model takes", "the recipe takes"),
        ("the model was trained with", "the recipe has"),
    ):
        text = text.replace(before, after)
    return text
