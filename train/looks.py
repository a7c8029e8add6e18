"""How samples are looked at while they are trained on: their errors, and sheets of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.reporting.contact_sheet import to_rgb
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.metrics import mean_absolute_error, vertical_gradient
from pix2pix_batch.value_ranges import ValueRanges


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
