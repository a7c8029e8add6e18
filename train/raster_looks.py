"""How rasters are looked at while they are trained on: in parts of their range, and as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pix2pix_batch.imaging.composite import show
from pix2pix_batch.reporting.scale_bar import Shown, draw_scale, list_scales
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.looks import Looks
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import ValueRanges

HALF = 127.5
"""A level, of which there are two from end to end, in the 255 that pictures' errors are told in."""


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
