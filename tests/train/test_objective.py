"""The objective, against closed forms and values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pix2pix_batch.train.objective import discriminator_loss, generator_loss, gradient_penalty

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
