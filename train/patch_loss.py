"""The patch loss: how far the patches of an output are from those of its target, as a distribution.

A discriminator of patches learns what tells outputs from targets, which takes thousands of steps.
This needs none: it compares the distributions directly, by the sliced Wasserstein distance (Rabin
et al. 2011) between patches (Elnekave and Weiss, "Generating natural images with direct patch
distributions matching", 2022; Heitz et al., "A sliced Wasserstein loss for neural texture
synthesis", 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 5
"""Side of a patch in pixels; in the three octaves, patches of 5, 10 and 20 pixels of the image."""
OCTAVES = 3
WINDOW = 64
"""Side, in pixels of the image, of the places whose patches are compared: some 4,000 patches, and
less than most fields, coasts and ranges of hills."""
PROJECTIONS = 24
"""Of each octave of an image, new ones at each step. Over the steps any few are without bias."""
SOURCE_WEIGHT = 0.5
"""Of the input in a patch. With it, details must lie where the input says; were it much heavier,
its details would be all that is seen of a patch."""


def patch_loss(
    source: Tensor, fake: Tensor, target: Tensor, random: Sequence[np.random.Generator]
) -> Tensor:
    """The sliced Wasserstein distance between the patches of generated images and of real ones.

    A patch is of the input and the output together, as a conditional discriminator sees it. Each
    octave of an image (each half the size of the one before) is convolved with random kernels
    whose mean is 0, so that they see details and no colours. In each window of the result the
    values of the generated image and of the real one are sorted, and the mean difference of the
    k-th ones is the Wasserstein distance of this projection. It does not ask where in its window a
    detail lies, but which there are, how strong and how often.

    Args:
        source: Inputs ``(N, C, H, W)`` in [-1, 1].
        fake: Generated images ``(N, D, H, W)`` in [-1, 1].
        target: Real images of the same shape.
        random: For each image, where its kernels and its windows come from.

    Returns:
        The mean over the images, added up over the octaves that a patch fits into.
    """
    losses = [
        _loss_of_image(
            torch.cat((SOURCE_WEIGHT * x, y)), torch.cat((SOURCE_WEIGHT * x, t)), len(x), r
        )
        for x, y, t, r in zip(source.float(), fake.float(), target.float(), random, strict=True)
    ]
    return torch.stack(losses).mean()


def _loss_of_image(
    made: Tensor, wanted: Tensor, channels_in: int, random: np.random.Generator
) -> Tensor:
    """``made``, ``wanted``: input and output together, ``(C + D, H, W)``."""
    loss = made.new_zeros(())
    made, wanted = made[None], wanted[None]
    # Every second place of the whole image: neighbours tell nearly the same.
    step, window = 2, WINDOW
    for _ in range(OCTAVES):
        if min(made.shape[-2:]) < PATCH + step - 1:
            break
        kernels = draw_kernels(random, channels_in, made.shape[1] - channels_in).to(made)
        row, column = random.integers(step, size=2)
        results = [
            F.conv2d(one[..., row:, column:], kernels, stride=step)[0] for one in (made, wanted)
        ]
        side = min(window // step, *results[0].shape[-2:])
        places = [int(random.integers(n % side + 1)) for n in results[0].shape[-2:]]
        first, second = (_sort_windows(one, side, places) for one in results)
        loss = loss + (first - second).abs().mean()
        made, wanted = F.avg_pool2d(made, 2), F.avg_pool2d(wanted, 2)
        step, window = 1, window // 2
    return loss


def draw_kernels(random: np.random.Generator, channels_in: int, channels_out: int) -> Tensor:
    """Draw :data:`PROJECTIONS` kernels, ``float32 (PROJECTIONS, channels_in + channels_out, PATCH,
    PATCH)``: the mean of each channel is 0, the length of the output's part is 1."""
    shape = PROJECTIONS, channels_in + channels_out, PATCH, PATCH
    kernels = random.standard_normal(shape)
    kernels -= kernels.mean(axis=(2, 3), keepdims=True)
    lengths = np.linalg.norm(kernels[:, channels_in:].reshape(PROJECTIONS, -1), axis=1)
    return torch.from_numpy(kernels / lengths[:, None, None, None]).float()


def _sort_windows(values: Tensor, side: int, places: Sequence[int]) -> Tensor:
    """The sorted values of each window, ``(P, windows, side * side)``, of ``(P, H, W)``.

    ``places``: the first window's row and column; what fills no window is left out.
    """
    for axis, place in enumerate(places, 1):
        count = (values.shape[axis] - place) // side
        values = values.narrow(axis, place, count * side)
    windows = values.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return windows.permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2).sort(dim=-1).values
