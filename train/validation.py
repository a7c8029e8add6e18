"""How a generator does on fixed pairs, while it is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator

from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.train.data import Data, Split
from pix2pix_batch.train.looks import Looks, RasterLooks
from pix2pix_batch.train.metrics import ratio
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.sampling import spread_indices
from pix2pix_batch.value_ranges import ValueRanges

LIMIT = 100
"""Pairs looked at each time, evenly spread; ``evaluate`` looks at all."""

SHOWN = 8
"""Pairs in a sample sheet."""


class ValidationStopped(Exception):
    """It was asked to stop before its end."""


def make_validation(data: Data, recipe: Recipe) -> Validation:
    """Make the validation on the pairs that are held out; if there are none, on those that are
    trained on."""
    split = data.val if len(data.val) else data.train
    looks = RasterLooks(data.ranges, recipe) if recipe.takes_rasters else None
    return Validation(split, recipe, looks)


class Validation:
    """Measures a generator on the same pairs each time."""

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
        ``sharpness`` (infinite where the targets alone are flat), in eval mode, and a sheet of
        samples: rows of input, output, target. Raises :class:`ValidationStopped` once ``stop``
        says so."""
        training, looks = generator.training, self.looks
        generator.eval()
        errors, gradients, rows = [], np.zeros(2), []
        for index in self.chosen:
            # Asked at each pair: a validation may take longer than a batch system waits after its
            # signal.
            if stop is not None and stop():
                generator.train(training)
                raise ValidationStopped
            _, source, target, *valid = self.split[index]
            image = looks.to_levels(torch.tensor(source)[None]).to(accelerator.device)
            with accelerator.autocast():
                levels = generator(image)
            output = looks.to_values(levels)[0].cpu().numpy()
            errors.append(looks.measure_error(output, target, *valid))
            gradients += [looks.measure_gradient(shown, *valid) for shown in (output, target)]
            if index in self.shown:
                rows.append(looks.draw_row(source, output, target, *valid))
        generator.train(training)
        sharpness = ratio(float(gradients[0]), float(gradients[1]))
        # A pair without data has no error, and one NaN would be the mean of all.
        defined = [error for error in errors if not np.isnan(error)]
        error = float(np.mean(defined)) if defined else 0.0
        return {"error": error, "sharpness": sharpness}, looks.finish_sheet(rows)
