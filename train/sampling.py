"""Random numbers for each position in a run, the order of an epoch, and samples to look at."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


def generator_at(seed: int, *position: int) -> np.random.Generator:
    """Random numbers of their own for each position (up to three numbers) in a run.

    Philox is counter-based (Salmon et al. 2011): the position is the counter's upper part, so
    that streams never meet.
    """
    # The first of the four words counts the numbers that are drawn, so it begins at 0.
    counter = [0, *position, *(0 for _ in range(3 - len(position)))]
    return np.random.Generator(np.random.Philox(key=seed, counter=counter))


# Two epochs: samples are read ahead over the end of one, and an order takes 8 bytes a pair.
@lru_cache(maxsize=2)
def shuffle_indices(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of the pairs in an epoch: each once."""
    return generator_at(seed, epoch, 0).permutation(count)


def spread_indices(length: int, count: int) -> list[int]:
    """Choose up to ``count`` indices into ``length``, evenly spread, the first and the last among
    them."""
    return [round(i) for i in np.linspace(0, length - 1, min(count, length))]
