"""How a generator does on fixed pairs, while it is trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator

from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.inference.engine import to_bytes
from pix2pix_batch.reporting.contact_sheet import to_rgb
from pix2pix_batch.train.data import Split, spread_indices, to_unit
from pix2pix_batch.train.metrics import mean_absolute_error, vertical_gradient
from pix2pix_batch.train.recipe import Recipe

LIMIT = 100
"""Pairs looked at each time, evenly spread; ``evaluate`` looks at all."""

SHOWN = 8
"""Pairs in a sample sheet."""


class ValidationStopped(Exception):
    """It was asked to stop before its end."""


class Validation:
    """The same pairs each time."""

    def __init__(self, split: Split, recipe: Recipe) -> None:
        self.split, self.recipe = split, recipe
        self.chosen = spread_indices(len(split), LIMIT)
        self.shown = {self.chosen[i] for i in spread_indices(len(self.chosen), SHOWN)}

    @torch.no_grad()
    def __call__(
        self, generator: Generator, accelerator: Accelerator, stop: Callable[[], bool] | None = None
    ) -> tuple[dict[str, float], np.ndarray]:
        """``error`` (mean absolute difference, 0 to 255) and ``sharpness``, in eval mode, and a
        sheet of samples: rows of input, output, target. Raises :class:`ValidationStopped` once
        ``stop`` says so."""
        training = generator.training
        generator.eval()
        errors, gradients, rows = [], np.zeros(2), []
        for index in self.chosen:
            if stop is not None and stop():
                generator.train(training)
                raise ValidationStopped
            _, source, target = self.split[index]
            image = to_unit(torch.tensor(source)[None]).to(accelerator.device)
            with accelerator.autocast():
                made = generator(image)
            output = to_bytes(made)[0].cpu().numpy()
            errors.append(mean_absolute_error(output, target))
            gradients += vertical_gradient(output), vertical_gradient(target)
            if index in self.shown:
                rows.append(np.concatenate([to_rgb(x) for x in (source, output, target)], axis=1))
        generator.train(training)
        sharpness = float(gradients[0] / gradients[1]) if gradients[1] else 1.0
        return {"error": float(np.mean(errors)), "sharpness": sharpness}, np.concatenate(rows)
