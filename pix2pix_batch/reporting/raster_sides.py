"""Which of a job's files are rasters, and how the report reads and shows them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.composite import choose_shown, show
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.imaging.raster.reading import Raster, open_raster
from pix2pix_batch.inference.input_reading import split_bands
from pix2pix_batch.journal.history import RANGES
from pix2pix_batch.reporting.scale_bar import has_scale, make_scale
from pix2pix_batch.reporting.template import data_uri
from pix2pix_batch.text import format_count
from pix2pix_batch.value_ranges import ValueRange, eight_bits

READ = 640
"""Pixels that are read of a side at most: twice what is shown."""

PICTURES = (3, 1, 4)
"""Channels of pictures in files for rasters, of which the job's line does not tell how many."""


@dataclass(frozen=True)
class RasterSide:
    """The rasters of one side. ``values``: ``None`` of pictures in files for rasters; ``bands``:
    those that were asked for."""

    values: ValueRange | None
    bands: tuple[str, ...] = ()

    def count_pixels(self, path: str) -> int:
        """How many pixels of a picture take as long to read; none where it cannot be read."""
        try:
            with self._open(path) as raster:
                return raster.count_reduced(READ) // 3
        except (ImageError, InputError, OSError, ValueError):
            return 0

    def read(self, path: str) -> tuple[np.ndarray, int, int]:
        """As it is shown, small, ``uint8 (h, w, 3)``; and the width and height of the whole.
        Raises :class:`ImageError`, :class:`InputError`."""
        with self._open(path) as raster:
            pixels, valid = raster.read_reduced(READ)
            values = self.values or eight_bits(pixels.shape[2])
            return show(pixels, values, valid=valid), raster.width, raster.height

    def _open(self, path: str) -> Raster:
        file, page = pages.locate(path)
        if self.values is not None:
            return open_raster(file, file, self.values, self.bands, page)
        counts = (len(self.bands),) if self.bands else PICTURES
        for count in counts[:-1]:
            try:
                return open_raster(file, file, eight_bits(count), self.bands, page)
            except ImageError:
                continue
        return open_raster(file, file, eight_bits(counts[-1]), self.bands, page)


@dataclass(frozen=True)
class Legend:
    """What the colours of one side mean: ``text``, or, of one band, ``low`` and ``high`` at the
    ends of the colours ``bar``, a ``data:`` URI."""

    text: str = ""
    bar: str = ""
    low: str = ""
    high: str = ""


class RasterSides:
    """Those of a job. ``job``: its line in the journal, which anybody may have edited."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        told = job.get(RANGES)
        sides = told if isinstance(told, Mapping) else {}
        self.input, self.output = (_parse(sides.get(word)) for word in ("input", "output"))
        bands = job.get("bands")
        self.bands = split_bands(bands) if isinstance(bands, str) else ()

    def find_input(self, path: str) -> RasterSide | None:
        """How the input at ``path`` is read; ``None`` where it is a picture."""
        if self.input is None and not self.bands and suffix_of(path) not in RASTERS:
            return None
        return RasterSide(self.input, self.bands)

    def find_output(self, path: str) -> RasterSide | None:
        """The same of an output."""
        if self.output is None and suffix_of(path) not in RASTERS:
            return None
        return RasterSide(self.output)

    def list_legends(self) -> list[Legend]:
        """Of the sides that are no pictures."""
        sides = {"Inputs": self.input, "Outputs": self.output}
        return [_explain(word, side) for word, side in sides.items() if side is not None]

    def describe(self) -> dict[str, str]:
        """The ranges for people."""
        sides = {"input values": self.input, "output values": self.output}
        return {
            word: "; ".join(f"{key} {value}" for key, value in side.describe().items())
            for word, side in sides.items()
            if side is not None
        }


def _parse(told: Any) -> ValueRange | None:
    try:
        return ValueRange.from_dict(told)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _explain(word: str, side: ValueRange) -> Legend:
    if has_scale(side):
        scale = make_scale(word, side)
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(scale.colours[None])).save(buffer, "PNG")
        return Legend("", data_uri("png", buffer.getvalue()), *scale.labels)
    chosen = choose_shown(side)
    names = [side.bands[index].name or f"band {index + 1}" for index in chosen]
    ranges = [side.bands[index] for index in chosen]
    if len({(one.low, one.high, one.scale) for one in ranges}) == 1:
        values = f", each {ranges[0].low:.6g} to {ranges[0].high:.6g}"
        values += ", log" if ranges[0].scale == "log" else ""
    else:
        values = ", each from its low to its high"
    of = f" of {format_count(side.channels, 'band')}" if side.channels > 3 else ""
    return Legend(f"{word}: {', '.join(names)} as red, green and blue{of}{values}.")
