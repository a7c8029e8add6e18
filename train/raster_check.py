"""What ``dataset check`` does of rasters, besides what it does of each pair."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.reporting.scale_bar import list_scales
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import pair_files
from pix2pix_batch.train.check_result import Check
from pix2pix_batch.train.pair_files import Reader
from pix2pix_batch.train.raster_data import doubt_ranges, measure_ranges
from pix2pix_batch.train.raster_facts import describe_shifted
from pix2pix_batch.train.raster_files import RasterReader
from pix2pix_batch.train.raster_survey import SideSurvey, survey_rasters
from pix2pix_batch.train.survey import Survey


def check_rasters(result: Check, surveyed: Survey, reader: Reader) -> dict[str, str]:
    """Look at samples of rasters, suggest ranges, and measure those that the recipe asks for.

    Args:
        result: Gets what is found.
        surveyed: The pairs.
        reader: Reads the files.

    Returns:
        The files that no recipe of pictures takes, each with its side; none if the recipe takes
        rasters.
    """
    own = reader if isinstance(reader, RasterReader) else None
    looked = survey_rasters(surveyed.pairs, own)
    sides = {
        side: side_survey
        for side, side_survey in looked.sides.items()
        if own or not side_survey.is_picture
    }
    # others may be pictures all the same, which GDAL does not read
    problems = [found for found in looked.problems if sides or suffix_of(found[0]) in RASTERS]
    result.problems += problems
    if not sides:
        return {}
    result.rasters = sides
    result.warnings |= looked.warnings
    if looked.partly:
        result.notes.append(_describe_partly(looked.partly))
    if looked.without_system:
        result.notes.append(_describe_one_sided(looked.without_system))
    if looked.shifted:
        result.notes.append(describe_shifted(looked.shifted))
    for side, side_survey in sides.items():
        range_recipes = result.recipe.input_range, result.recipe.output_range
        is_input = (side == "A") != (result.recipe.direction == "BtoA")
        result.notes += _list_undeclared(side, side_survey)
        if range_recipes[not is_input] is None and not side_survey.is_picture:
            result.suggested += side_survey.suggest(is_input)
    if own is None:
        return looked.unlike_pictures
    _measure(result, surveyed, own)
    return {}


def _measure(result: Check, surveyed: Survey, reader: RasterReader) -> None:
    """Measure the ranges that the recipe asks for, on files of the type that most have, in
    the first file's order of bands."""
    for place, side in enumerate("AB"):
        if side in result.rasters:
            side_survey = result.rasters[side]
            kind = side_survey.kinds.most_common(1)[0][0]
            reader.kinds[place] = side_survey.examples[kind], kind
            reader.first_names[place] = side_survey.first, side_survey.names
    listed = [pair for pair in surveyed.pairs if pair.split == "train" and pair.b is not None]
    listed = [pair for pair in listed if not pair_files.check_headers([pair], reader=reader)]
    if not listed:  # what is wrong with each of them is said
        return
    try:
        ranges = measure_ranges(reader, listed, result.recipe)
        reader.set_ranges(ranges)
        result.doubts += doubt_ranges(reader, listed)
        result.scales = list_scales(ranges, result.recipe.shown_bands)
    except InputError as error:
        if not isinstance(error.__cause__, ImageError):  # a file that its pair's reading names
            result.problems.append((str(result.data), str(error)))


def describe_unread_rasters(side: str, files: Sequence[str]) -> str:
    """That a recipe of pictures does not take these of a side; what it needs is suggested."""
    others = f", as are {format_count(len(files) - 1, 'other')} of {side}" if len(files) > 1 else ""
    return f"is a raster{others}, which this recipe does not take: set what is suggested above"


USUAL_NODATA = (-999.0, -9999.0, -99999.0, -32768.0, float(np.finfo(np.float32).min))
"""What programs write where there is no data: GDAL's, ESRI's and SRTM's."""


def _list_undeclared(side: str, survey: SideSurvey) -> Iterator[str]:
    """Of bands whose least value looks like one for no data, which no file says."""
    for number, statistics in enumerate(survey.bands, 1):
        if survey.nodata is None and statistics.count and statistics.least in USUAL_NODATA:
            yield (
                f"{side}, band {number}: the least value is {statistics.least:g}, which often "
                "stands for no data, but no file says so; if it does, set nodata in the range of "
                "this side"
            )


def _describe_partly(files: Sequence[Path]) -> str:
    have = "has" if len(files) == 1 else "have"
    return (
        f"{format_count(len(files), 'file')} {have} pixels that lack data (NaN) in some bands "
        f"only, such as {escape(files[0])}: in inputs these bands get the middle of their range, "
        "in targets such pixels are left out"
    )


def _describe_one_sided(files: Sequence[Path]) -> str:
    have = "has" if len(files) == 1 else "have"
    partner = "its partner has" if len(files) == 1 else "their partners have"
    return (
        f"{format_count(len(files), 'file')} {have} no CRS, and {partner} one, such as "
        f"{escape(files[0])}: that both show the same place cannot be checked"
    )
