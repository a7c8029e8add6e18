"""How samples are looked at while they are trained on: their errors, and sheets of them.

Errors of rasters are in parts of their range, and their sheets are pictures of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pix2pix_batch.imaging.composite import show
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.reporting.contact_sheet import to_rgb
from pix2pix_batch.reporting.scale_bar import Shown, draw_scale, list_scales
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.metrics import mean_absolute_error, vertical_gradient
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import ValueRanges

HALF = 127.5
"""A level, of which there are two from end to end, in the 255 that pictures' errors are told in."""


class Looks:
    """How pictures are looked at."""

    def __init__(self, ranges: ValueRanges) -> None:
        self.ranges = ranges
        self.to_levels = ValueMapping(ranges.input).to_levels
        self.to_values = ValueMapping(ranges.output).to_values

    def measure_error(self, output: Pixels, target: Pixels) -> float:
        return mean_absolute_error(output, target)

    def measure_gradient(self, image: Pixels) -> float:
        return vertical_gradient(image)

    def draw_row(self, source: Pixels, output: Pixels, target: Pixels) -> Pixels:
        """Source, output and target beside each other, ``uint8 (H, 3 * W, 3)``."""
        return np.concatenate([to_rgb(image) for image in (source, output, target)], axis=1)

    def finish_sheet(self, rows: Sequence[Pixels]) -> Pixels:
        return np.concatenate(rows)


class RasterLooks(Looks):
    """Pixels without data are left out of figures, and grey in sheets."""

    def __init__(self, ranges: ValueRanges, recipe: Recipe) -> None:
        super().__init__(ranges)
        self.shown = recipe.shown_bands

    def measure_error(self, output: Pixels, target: Pixels, valid: Pixels | None = None) -> float:
        """The mean absolute error of an output, in levels of 255; NaN if nothing is valid.

        Args:
            output: ``(H, W, C)``.
            target: The same shape.
            valid: ``bool (H, W)``, where both have data; ``None`` for everywhere.
        """
        levels, true = (self.ranges.output.to_levels(image) for image in (output, target))
        there = slice(None) if valid is None else valid
        difference = np.abs(levels - true)[there]
        return float(difference.mean()) * HALF if difference.size else float("nan")

    def measure_gradient(self, image: Pixels, valid: Pixels | None = None) -> float:
        """The mean over the bands."""
        steps = np.abs(np.diff(self.ranges.output.to_levels(image), axis=0))
        if valid is not None:
            steps = steps[valid[1:] & valid[:-1]]
        return float(steps.mean()) * HALF if steps.size else 0.0

    def draw_row(
        self, source: Pixels, output: Pixels, target: Pixels, valid: Pixels | None = None
    ) -> Pixels:
        """Source, output and target beside each other, ``uint8 (H, 3 * W, 3)``, grey where
        ``valid`` is false."""
        given, wanted = self.ranges
        images = [
            show(source, given, self.shown[0]),
            show(output, wanted, self.shown[1], valid),
            show(target, wanted, self.shown[1], valid),
        ]
        return np.concatenate(images, axis=1)

    def finish_sheet(self, rows: Sequence[Pixels]) -> Pixels:
        """Join the rows, and draw the scales of single bands below."""
        sheet = np.concatenate(rows)
        return add_scales(sheet, self.ranges, self.shown)


def add_scales(sheet: Pixels, ranges: ValueRanges, shown: Shown) -> Pixels:
    """Draw a bar with values below a sheet, for each side that is shown in the colours of a map.

    Args:
        sheet: ``uint8 (H, W, 3)``.
        ranges: What the samples mean.
        shown: Which bands are shown.
    """
    bars = [draw_scale(scale, sheet.shape[1]) for scale in list_scales(ranges, shown)]
    return np.concatenate([sheet, *bars]) if bars else sheet
