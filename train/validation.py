"""How a generator does on fixed pairs, while it is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from accelerate import Accelerator

from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.reporting.contact_sheet import to_rgb
from pix2pix_batch.train.data import Data, Split, spread_indices
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.metrics import mean_absolute_error, vertical_gradient
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import ValueRanges

LIMIT = 100
"""Pairs looked at each time, evenly spread; ``evaluate`` looks at all."""

SHOWN = 8
"""Pairs in a sample sheet."""


class ValidationStopped(Exception):
    """It was asked to stop before its end."""


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
        return np.concatenate([to_rgb(image) for image in (source, output, target)], axis=1)

    def finish_sheet(self, rows: Sequence[Pixels]) -> Pixels:
        return np.concatenate(rows)


def make_validation(data: Data, recipe: Recipe) -> Validation:
    """Of the pairs that are held out; where none are, of those that are trained on."""
    split = data.val if len(data.val) else data.train
    if not recipe.takes_rasters:
        return Validation(split, recipe)
    from pix2pix_batch.train.raster_looks import RasterLooks

    return Validation(split, recipe, RasterLooks(data.ranges, recipe))


class Validation:
    """The same pairs each time."""

    def __init__(self, split: Split, recipe: Recipe, looks: Looks | None = None) -> None:
        """``looks``: at samples; ``None`` for those of pictures."""
        self.split, self.recipe = split, recipe
        self.looks = looks or Looks(ValueRanges(*recipe.bare_ranges))
        self.chosen = spread_indices(len(split), LIMIT)
        self.shown = {self.chosen[i] for i in spread_indices(len(self.chosen), SHOWN)}

    @torch.no_grad()
    def __call__(
        self, generator: Generator, accelerator: Accelerator, stop: Callable[[], bool] | None = None
    ) -> tuple[dict[str, float], np.ndarray]:
        """``error`` (mean absolute difference, 0 to 255, of rasters over each band's range) and
        ``sharpness``, in eval mode, and a sheet of samples: rows of input, output, target. Raises
        :class:`ValidationStopped` once ``stop`` says so."""
        training, looks = generator.training, self.looks
        generator.eval()
        errors, gradients, rows = [], np.zeros(2), []
        for index in self.chosen:
            if stop is not None and stop():
                generator.train(training)
                raise ValidationStopped
            _, source, target, *valid = self.split[index]
            image = looks.to_levels(torch.tensor(source)[None]).to(accelerator.device)
            with accelerator.autocast():
                made = generator(image)
            output = looks.to_values(made)[0].cpu().numpy()
            errors.append(looks.measure_error(output, target, *valid))
            gradients += [looks.measure_gradient(one, *valid) for one in (output, target)]
            if index in self.shown:
                rows.append(looks.draw_row(source, output, target, *valid))
        generator.train(training)
        sharpness = float(gradients[0] / gradients[1]) if gradients[1] else 1.0
        found = [error for error in errors if not np.isnan(error)]
        error = float(np.mean(found)) if found else 0.0
        return {"error": error, "sharpness": sharpness}, looks.finish_sheet(rows)
