"""How the learning rate falls, and how weights are averaged, over a run."""

from __future__ import annotations

import torch
from torch import nn

from pix2pix_batch.train.recipe import Recipe


def learning_rate(step: int, last: int, recipe: Recipe) -> float:
    """The share of the recipe's learning rate at a step: 1, then falling linearly to 0 over the
    decay epochs.

    Args:
        step: The number of the step, from 0.
        last: The number of steps of the run.
        recipe: Has the epochs.
    """
    decay = last * recipe.decay / recipe.epochs
    return min(1.0, (last - step) / decay) if decay else 1.0


@torch.no_grad()
def update_average(average: nn.Module, live: nn.Module, ema: float, step: int) -> None:
    """Update an exponential moving average of weights and statistics, quicker over the first steps.

    Args:
        average: The averaged network, which is changed.
        live: The network that is trained.
        ema: The share of the average that stays, 0 to 1.
        step: The number of the step.
    """
    rate = 1 - min(ema, step / (step + 10))
    current, values, targets = live.state_dict(), [], []
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            values.append(value)
            targets.append(current[name])
        else:
            value.copy_(current[name])
    torch._foreach_lerp_(values, targets, rate)  # on a GPU a launch for all, not for each
