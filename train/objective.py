"""The objective (Isola et al. 2017, section 3.1) and its usual variants.

Every function takes logits ``(N, 1, h, w)`` and returns a scalar in their precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PENALTY = 10.0  # Gulrajani et al. 2017, section 4: lambda = 10

OCTAVES = 3
"""Of :func:`texture_loss`: details of about 2, 4 and 8 pixels, which is what the U-Net's three
outermost blocks draw."""
LEAST_CONTRAST = 1 / 255
"""Added, as a square: half a level of 8 bits, which are 2 / 255 apart in [-1, 1]."""
WINDOW = 32
"""Side, in pixels, of the places whose contrasts :func:`texture_loss` compares: enough for a mean
of the largest details, and less than most fields, coasts and ranges of hills."""

PERIOD = 8
"""Pixels: the longest period of :func:`grid_loss`, three doublings."""
GRID_WINDOW = 64
"""Side of a window of :func:`grid_loss`: 64 squares, over which what does not repeat itself
averages out to an eighth."""


def discriminator_loss(mode: str, real: Tensor, fake: Tensor) -> Tensor:
    """What D minimises, halved: "we divide the objective by 2 while optimizing D" (section 3.3).

    Args:
        mode: ``vanilla``: cross entropy (Goodfellow et al. 2014). ``lsgan``: squares to the targets
            1 and 0 (Mao et al. 2017). ``hinge`` (Lim and Ye 2017). ``wgangp``: the critic's
            difference of means (Gulrajani et al. 2017), to which :func:`gradient_penalty` is added.
        real: D's logits of real pairs.
        fake: D's logits of generated pairs.
    """
    real_loss, fake_loss = DISCRIMINATOR[mode]
    return (real_loss(real) + fake_loss(fake)) / 2


def generator_loss(mode: str, fake: Tensor) -> Tensor:
    """What G minimises: that its images be taken for real.

    For ``vanilla`` the non-saturating form: "rather than training G to minimize log(1 - D), we
    maximize log D" (section 3.3).
    """
    return GENERATOR[mode](fake)


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Feature matching (Wang et al. 2018, equation 4): the mean difference of each of D's layers
    but the logits, added up over layers and discriminators, each a list of its layers'."""
    losses = [
        F.l1_loss(made, wanted)
        for layers, others in zip(fake, real, strict=True)
        for made, wanted in zip(layers[:-1], others[:-1], strict=True)
    ]
    return torch.stack(losses).sum()


def absolute_loss(
    fake: Tensor, target: Tensor, valid: Tensor | None = None, pixels: int = 1
) -> Tensor:
    """L1 over what is valid; 0 where nothing is.

    Args:
        fake: Generated images ``(N, C, H, W)``.
        target: Real images of the same shape.
        valid: ``bool (N, 1, H, W)``, where there is something to learn; ``None`` for everywhere.
        pixels: Side of the squares whose averages are compared; 1 for each pixel. What does not
            fill a square at the right and at the bottom is left out; recipes leave nothing.
    """
    difference = fake - target
    if valid is None:
        return average(difference, pixels).abs().mean()
    there = average(valid.to(difference.dtype), pixels)
    count = there.sum(dtype=torch.float32) * fake.shape[1]
    # In float32: mixed precision would add up hundreds of thousands of pixels in half. Each
    # square counts for as much of it as is valid.
    total = average(difference * valid, pixels).abs().sum(dtype=torch.float32)
    return total / count.clamp(min=pixels**-2)


def average(images: Tensor, pixels: int) -> Tensor:
    """The means of squares of so many pixels a side, ``(N, C, H // pixels, W // pixels)``."""
    return images if pixels == 1 else F.avg_pool2d(images, pixels)


def texture_loss(fake: Tensor, target: Tensor) -> Tensor:
    """How much the local contrast of generated images differs from the real ones', whatever their
    details are and wherever they lie.

    The root mean square of each octave of a Laplacian pyramid (Burt and Adelson 1983; two
    averages of 3x3 pixels stand for its Gaussian) over windows of :data:`WINDOW` pixels that
    overlap by half, channel by channel; the mean difference of these, added up over
    :data:`OCTAVES`. An octave of less than 2 pixels is left out. Squares, since means of absolute
    values would take many dim lights for a few bright ones.

    Args:
        fake: Generated images ``(N, C, H, W)`` in [-1, 1].
        target: Real images of the same shape.
    """
    loss = fake.new_zeros(())
    window = WINDOW
    for _ in range(OCTAVES):
        least = min(fake.shape[-2:])
        if least < 2:
            break
        low, wanted_low = _blur(fake), _blur(target)
        side = min(window, least)
        made, wanted = (
            # never the root of 0, which has no slope
            (F.avg_pool2d(detail.square(), side, max(1, side // 2)) + LEAST_CONTRAST**2).sqrt()
            for detail in (fake - low, target - wanted_low)
        )
        loss = loss + (made - wanted).abs().mean()
        fake, target, window = average(low, 2), average(wanted_low, 2), window // 2
    return loss


def grid_loss(fake: Tensor, target: Tensor) -> Tensor:
    """How much more generated images repeat themselves after 2, 4 and 8 pixels than real ones do:
    the patterns that upsampling by doubling leaves (:func:`metrics.grid_energies` measures them).

    Of each window of :data:`GRID_WINDOW` pixels, which overlap by half, the grey values are
    averaged over its squares of :data:`PERIOD` pixels: what is left is what repeats itself, and
    little of anything else. Of the Fourier amplitudes of these averages, all but the constant one,
    what exceeds the target's is averaged. Images smaller than a window are one window.

    Args:
        fake: Generated images ``(N, C, H, W)`` in [-1, 1].
        target: Real images of the same shape.
    """
    side = min(GRID_WINDOW, *(n // PERIOD * PERIOD for n in fake.shape[-2:]))
    if not side:
        return fake.new_zeros(())
    made, wanted = (_measure_repetition(images, side) for images in (fake, target))
    return F.relu(made - wanted).mean()


def _measure_repetition(images: Tensor, side: int) -> Tensor:
    """The amplitudes of what repeats itself, ``(N, rows, columns, PERIOD, PERIOD // 2 + 1)``."""
    grey = images.float().mean(dim=1)  # there is no Fourier transform of bfloat16
    step = max(PERIOD, side // 2)
    windows = grey.unfold(1, side, step).unfold(2, side, step)
    count = side // PERIOD
    squares = windows.unflatten(4, (count, PERIOD)).unflatten(3, (count, PERIOD))
    pattern = squares.mean(dim=(3, 5))
    return torch.fft.rfft2(pattern - pattern.mean(dim=(3, 4), keepdim=True)).abs()


def _blur(images: Tensor) -> Tensor:
    for _ in range(2):
        images = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return images


def gradient_penalty(
    judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, mix: Tensor
) -> Tensor:
    """Pull the norm of the critic's gradient to 1 between real and generated images, times 10.

    Gulrajani et al. 2017, equation 3; halved, as all that D minimises.

    Args:
        judge: Images ``(N, C, H, W)`` to logits.
        real: Real images.
        fake: Generated images of the same shape.
        mix: ``(N, 1, 1, 1)`` in [0, 1]: where between the two each image lies.
    """
    between = torch.lerp(fake.detach(), real, mix).requires_grad_(True)
    logits = judge(between)
    (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
    length = gradient.flatten(1).norm(dim=1)
    return PENALTY * (length - 1).square().mean() / 2


DISCRIMINATOR: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "vanilla": (lambda real: F.softplus(-real).mean(), lambda fake: F.softplus(fake).mean()),
    "lsgan": (lambda real: (real - 1).square().mean(), lambda fake: fake.square().mean()),
    "hinge": (lambda real: F.relu(1 - real).mean(), lambda fake: F.relu(1 + fake).mean()),
    "wgangp": (lambda real: -real.mean(), lambda fake: fake.mean()),
}

GENERATOR: dict[str, Callable[[Tensor], Tensor]] = {
    "vanilla": lambda fake: F.softplus(-fake).mean(),
    "lsgan": lambda fake: (fake - 1).square().mean(),
    "hinge": lambda fake: -fake.mean(),
    "wgangp": lambda fake: -fake.mean(),
}
