"""The patch loss against scipy's Wasserstein distance, and what it asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import correlate
from scipy.stats import wasserstein_distance
from torch import Tensor

from pix2pix_batch.train.patch_loss import (
    OCTAVES,
    PROJECTIONS,
    SOURCE_WEIGHT,
    draw_kernels,
    patch_loss,
)
from pix2pix_batch.train.sampling import generator_at


def images(seed: int, *shape: int) -> Tensor:
    values = np.random.default_rng(seed).uniform(-1, 1, shape)
    return torch.from_numpy(values).float()


def loss(source: Tensor, fake: Tensor, target: Tensor, seed: int = 0) -> Tensor:
    return patch_loss(source, fake, target, [generator_at(seed, i) for i in range(len(source))])


def many(source: Tensor, fake: Tensor, target: Tensor) -> float:
    """The mean over some draws: any one sees a few projections only."""
    return float(np.mean([loss(source, fake, target, seed).item() for seed in range(8)]))


def test_it_is_the_wasserstein_distance_of_each_projection() -> None:
    source, fake, target = images(1, 1, 2, 33, 33), images(2, 1, 3, 33, 33), images(3, 1, 3, 33, 33)
    random = generator_at(0, 0)
    both = [
        np.concatenate([SOURCE_WEIGHT * source[0].numpy(), image[0].numpy()])
        for image in (fake, target)
    ]
    expected = 0.0
    for octave in range(OCTAVES):
        kernels = draw_kernels(random, 2, 3).numpy()
        step = 1 if octave else 2
        row, column = random.integers(step, size=2)
        seen = [
            np.stack(
                [correlate(one, kernel, "valid")[0, row::step, column::step] for kernel in kernels]
            )
            for one in both
        ]
        side = min(seen[0].shape[1:])
        y, x = (int(random.integers(n % side + 1)) for n in seen[0].shape[1:])
        windows = [one[:, y : y + side, x : x + side].reshape(PROJECTIONS, -1) for one in seen]
        expected += np.mean([wasserstein_distance(*pair) for pair in zip(*windows, strict=True)])
        half = both[0].shape[1] // 2 * 2
        both = [one[:, :half, :half].reshape(5, half // 2, 2, -1, 2).mean((2, 4)) for one in both]
    assert loss(source, fake, target).item() == pytest.approx(expected, rel=1e-4)


def test_it_asks_which_details_there_are_not_where() -> None:
    """Without an input that says where, a target of the same noise, turned, is as good as its own;
    what is flat, twice as strong, or of other details, is not."""
    noise, blank = images(5, 1, 3, 128, 128), torch.zeros(1, 3, 128, 128)
    soft = torch.nn.functional.avg_pool2d(images(6, 1, 3, 130, 130), 3, 1)
    soft = soft * noise.std() / soft.std()
    assert many(blank, noise, noise) == 0
    turned = many(blank, noise, noise.flip(2, 3))
    assert turned < 0.2 * min(many(blank, noise, other) for other in (0.5 + blank, 2 * noise, soft))


def test_colours_are_no_details() -> None:
    noise = images(5, 1, 3, 64, 64)
    assert many(noise, noise, noise + 0.3) < 1e-5


def test_details_lie_where_the_input_says() -> None:
    """The same bright lines cost more beside those of the input than on them."""
    lines = torch.zeros(1, 1, 128, 128)
    lines[..., ::16] = 1
    beside = lines.roll(4, 3)
    blank = torch.zeros_like(lines)
    assert many(lines, lines, lines) == 0
    assert many(blank, beside, lines) < 0.5 * many(lines, beside, lines)


def test_each_image_is_judged_by_itself() -> None:
    source, fake, target = (images(seed, 3, 3, 40, 40) for seed in (1, 2, 3))
    random = [generator_at(7, i) for i in range(3)]
    each = [
        patch_loss(source[i : i + 1], fake[i : i + 1], target[i : i + 1], [generator_at(7, i)])
        for i in range(3)
    ]
    together = patch_loss(source, fake, target, random)
    assert together.item() == pytest.approx(torch.stack(each).mean().item(), rel=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 64), (6, 6), (64, 7), (31, 200)])
def test_images_of_any_size(height: int, width: int) -> None:
    """Octaves of less than a patch are left out."""
    fake = images(1, 2, 3, height, width).requires_grad_()
    found = loss(images(2, 2, 1, height, width), fake, images(3, 2, 3, height, width))
    assert (found.item() == 0) == (min(height, width) < 6)
    if found.item():
        assert torch.isfinite(torch.autograd.grad(found, fake)[0]).all()


def test_half_precision_is_summed_in_float32() -> None:
    source, fake, target = (images(seed, 1, 3, 64, 64) for seed in (1, 2, 3))
    half = loss(source.bfloat16(), fake.bfloat16(), target.bfloat16())
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(loss(source, fake, target).item(), rel=0.02)
