"""The objective, against closed forms and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from torch import Tensor

from pix2pix_batch.train.objective import (
    OCTAVES,
    WINDOW,
    absolute_loss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    grid_loss,
    texture_loss,
)

REAL, FAKE = [2.0, -0.5, 0.0], [-1.5, 3.0, 0.25]


def logits(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# D's loss on REAL and FAKE, and G's on FAKE
CLOSED = {
    "vanilla": (
        mean([math.log(1 + math.exp(-x)) for x in REAL])
        + mean([math.log(1 + math.exp(x)) for x in FAKE]),
        mean([math.log(1 + math.exp(-x)) for x in FAKE]),
    ),
    "lsgan": (
        (1 + 2.25 + 1) / 3 + (2.25 + 9 + 0.0625) / 3,
        (6.25 + 4 + 0.5625) / 3,
    ),
    "hinge": ((0 + 1.5 + 1) / 3 + (0 + 4 + 1.25) / 3, -1.75 / 3),
    "wgangp": (-1.5 / 3 + 1.75 / 3, -1.75 / 3),
}


@pytest.mark.parametrize("mode", CLOSED)
def test_losses_are_the_closed_forms(mode: str) -> None:
    """D's is halved: "we divide the objective by 2 while optimizing D" (section 3.3)."""
    d, g = CLOSED[mode]
    assert discriminator_loss(mode, logits(REAL), logits(FAKE)).item() == pytest.approx(d / 2)
    assert generator_loss(mode, logits(FAKE)).item() == pytest.approx(g)


@pytest.mark.parametrize("mode", CLOSED)
def test_better_judging_costs_less(mode: str) -> None:
    """And what fools D is better for G; the slopes have these signs everywhere."""
    real, fake = (logits(values).requires_grad_(True) for values in (REAL, FAKE))
    by_real, by_fake = torch.autograd.grad(discriminator_loss(mode, real, fake), [real, fake])
    assert by_real.sum() < 0 < by_fake.sum()
    (by_fake,) = torch.autograd.grad(generator_loss(mode, fake), fake)
    assert by_fake.sum() < 0


def test_vanilla_bears_any_logit() -> None:
    """Where log(sigmoid(x)) would be minus infinity, the loss is -x."""
    assert generator_loss("vanilla", logits([-1000.0])).item() == 1000
    assert discriminator_loss("vanilla", logits([-1000.0]), logits([1000.0])).item() == 1000


def test_vanilla_does_not_saturate() -> None:
    """G maximises log D: the surer D is, the steeper (section 3.3)."""
    sure = logits([-30.0]).requires_grad_(True)
    (slope,) = torch.autograd.grad(generator_loss("vanilla", sure), sure)
    assert slope.item() == pytest.approx(-1)


def test_the_penalty_of_a_linear_critic() -> None:
    """Of ``x -> sum(w * x)`` the gradient is w everywhere: 10 * (|w| - 1)^2, halved."""
    w = torch.tensor([[[3.0, 0], [0, 4]]], dtype=torch.float64)
    real, fake = torch.rand(2, 4, 1, 2, 2, dtype=torch.float64)
    penalty = gradient_penalty(
        lambda x: w * x, real, fake, torch.rand(4, 1, 1, 1, dtype=torch.float64)
    )
    assert penalty.item() == pytest.approx(10 * (5 - 1) ** 2 / 2)


def test_the_penalty_is_taken_between_the_images() -> None:
    """Of ``x -> |x|^2 / 2`` the gradient is x itself, so the penalty tells where it was taken."""
    real, fake = torch.full((3, 1, 1, 1), 5.0), torch.full((3, 1, 1, 1), 2.0)
    mix = torch.tensor([0.0, 1.0, 1 / 3])[:, None, None, None]
    penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, mix)
    lengths = [2.0, 5.0, 3.0]
    assert penalty.item() == pytest.approx(10 * mean([(x - 1) ** 2 for x in lengths]) / 2)


def test_the_penalty_moves_the_critic_but_not_the_generator() -> None:
    w = torch.tensor(3.0, requires_grad=True)
    fake = torch.rand(2, 1, 2, 2, requires_grad=True)
    penalty = gradient_penalty(
        lambda x: w * x, torch.rand(2, 1, 2, 2), fake, torch.rand(2, 1, 1, 1)
    )
    penalty.backward()
    # |gradient| is w * 2 (four pixels): 5 * (2w - 1)^2 has the slope 20 * (2w - 1)
    assert w.grad is not None and w.grad.item() == pytest.approx(100)
    assert fake.grad is None


def images(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 5), st.integers(5, 14), st.integers(5, 14), st.booleans())
def test_l1_of_squares_is_that_of_their_averages(
    pixels: int, height: int, width: int, gaps: bool
) -> None:
    """A square counts for as much of it as is valid; what fills none is left out."""
    fake, target = images(1, 2, 3, height, width), images(2, 2, 3, height, width)
    valid = images(3, 2, 1, height, width) > 0.5 if gaps else None
    there = np.ones((2, 1, height, width)) if valid is None else valid.numpy()
    difference = (fake - target).numpy() * there
    total = count = 0.0
    for i in range(0, height - pixels + 1, pixels):
        for j in range(0, width - pixels + 1, pixels):
            square = np.s_[:, :, i : i + pixels, j : j + pixels]
            total += np.abs(difference[square].mean(axis=(2, 3))).sum()
            count += there[square].mean(axis=(2, 3)).sum() * 3
    loss = absolute_loss(fake, target, valid, pixels)
    assert loss.item() == pytest.approx(total / count, rel=1e-6)


def contrasts(image: np.ndarray) -> list[np.ndarray]:
    """The root mean squares of each octave of a Laplacian pyramid, by scipy, ``(H, W)``."""
    found, window = [], WINDOW
    for _ in range(OCTAVES):
        low = uniform_filter(uniform_filter(image, 3, mode="nearest"), 3, mode="nearest")
        detail, step = np.square(image - low), window // 2
        found.append(
            np.array(
                [
                    [math.sqrt(detail[i : i + window, j : j + window].mean() + 1 / 255**2)
                     for j in range(0, detail.shape[1] - window + 1, step)]
                    for i in range(0, detail.shape[0] - window + 1, step)
                ]
            )
        )  # fmt: skip
        height, width = (side // 2 * 2 for side in low.shape)
        low = low[:height, :width]
        image = low.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3))
        window = step
    return found


def test_texture_is_the_contrast_of_each_octave() -> None:
    fake, target = images(1, 1, 1, 96, 70), images(2, 1, 1, 96, 70) * images(3, 1, 1, 96, 70)
    pairs = zip(contrasts(fake[0, 0].numpy()), contrasts(target[0, 0].numpy()), strict=True)
    expected = sum(np.abs(made - wanted).mean() for made, wanted in pairs)
    assert texture_loss(fake, target).item() == pytest.approx(expected)


def test_texture_does_not_ask_where_details_lie() -> None:
    """A target of the same noise, turned, is as good as its own; L1's mean, which is blurred, and
    twice the contrast are not."""
    noise = images(5, 1, 3, 128, 128)
    turned = noise.flip(2, 3)
    blurred, doubled = torch.full_like(noise, 0.5), 2 * noise
    good, flat, harsh = (texture_loss(noise, x).item() for x in (turned, blurred, doubled))
    assert texture_loss(noise, noise).item() == 0
    assert good < 0.1 * min(flat, harsh)


@pytest.mark.parametrize("side", [1, 2, 3, 31])
def test_texture_of_small_images(side: int) -> None:
    """Octaves of less than 2 pixels are left out."""
    one, other = images(1, 2, 3, side, side).requires_grad_(), images(2, 2, 3, side, side)
    loss = texture_loss(one, other)
    assert loss.item() == 0 if side == 1 else loss.item() > 0
    assert side == 1 or torch.isfinite(torch.autograd.grad(loss, one)[0]).all()


def test_a_grid_is_its_amplitude() -> None:
    """Of a checkerboard of amplitude a, only one of the 8 x 5 frequencies is there, 64 a strong."""
    flat = torch.zeros(2, 3, 128, 192, dtype=torch.float64)
    rows, columns = torch.arange(128)[:, None], torch.arange(192)
    checkers = flat + 0.01 * (1 - 2 * ((rows + columns) % 2))
    assert grid_loss(checkers, flat).item() == pytest.approx(64 * 0.01 / 40, rel=1e-5)
    assert grid_loss(flat, checkers).item() == 0, "less than the target's is no fault"
    assert grid_loss(checkers, checkers).item() == 0


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_grid_costs_and_noise_of_its_strength_hardly(period: int) -> None:
    """Noise has no period; neither has a pattern that repeats itself after 5 pixels."""
    flat, noise = torch.zeros(1, 3, 128, 128), images(7, 1, 1, 128, 128).float() - 0.5
    pattern = images(8, 1, 1, period, period).float()
    grid = (pattern - pattern.mean()).tile(1, 1, 128 // period, 128 // period)
    five = images(9, 1, 1, 5, 5).float().tile(1, 1, 26, 26)[..., :128, :128]
    costs = [grid_loss((x - x.mean()) / x.std() + flat, flat).item() for x in (grid, noise, five)]
    assert costs[0] > 2 * max(costs[1:])


@pytest.mark.parametrize("side", [7, 8, 9, 63, 65])
def test_a_grid_of_any_size(side: int) -> None:
    one, other = images(1, 2, 3, side, side).requires_grad_(), images(2, 2, 3, side, side)
    loss = grid_loss(one, other)
    assert loss.item() == 0 if side < 8 else loss.item() > 0
    assert side < 8 or torch.isfinite(torch.autograd.grad(loss, one)[0]).all()
