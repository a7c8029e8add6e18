"""Decoders without checkerboards: their kernels are of forms that draw none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.train.upsample import keep_form


def random(*shape: int, seed: int = 0) -> Tensor:
    values = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=values, dtype=torch.float64)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def kept(kernels: Tensor, upsample: str = "resize") -> Tensor:
    """``kernels`` as the innermost ones of a decoder, brought back."""
    net = UNet(Architecture(downs=5, ngf=1)).double()
    shape = net.up[4].conv.weight.shape
    with torch.no_grad():
        net.up[4].conv.weight.copy_(kernels.expand(shape))
    keep_form(net, upsample)
    return net.up[4].conv.weight.detach()[:1, :1]


def spread(small: Tensor) -> Tensor:
    """``small`` 3x3, convolved with 2x2 ones: what doubling and it make of one pixel."""
    large = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    for i in range(2):
        for j in range(2):
            large[:, :, i : i + 3, j : j + 3] += small
    return large


def test_the_form_is_doubling_and_a_convolution() -> None:
    small, x = random(1, 1, 3, 3), random(1, 1, 6, 5, seed=1)
    doubled = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    # The transposed convolution's kernel is the convolution's, turned around.
    expected = F.conv2d(doubled, small.flip(2, 3), padding=1)
    torch.testing.assert_close(F.conv_transpose2d(x, spread(small), None, 2, 1), expected)


def test_kernels_of_the_form_stay() -> None:
    kernel = spread(random(1, 1, 3, 3))
    torch.testing.assert_close(kept(kernel), kernel)


@pytest.mark.parametrize("seed", range(3))
def test_others_become_the_nearest_of_the_form(seed: int) -> None:
    """Least squares, by NumPy on the nine numbers of a 3x3 kernel."""
    kernel = random(1, 1, 4, 4, seed=seed)
    basis = np.stack([spread(unit.reshape(1, 1, 3, 3)).numpy().ravel() for unit in torch.eye(9)], 1)
    nine = np.linalg.lstsq(basis, kernel.numpy().ravel(), rcond=None)[0]
    found = kept(kernel)
    np.testing.assert_allclose(found.numpy().ravel(), basis @ nine, atol=1e-10)
    assert not torch.allclose(found, kernel, atol=0.1)
    torch.testing.assert_close(kept(found), found)


@pytest.mark.parametrize("seed", range(3))
def test_the_smooth_form_is_bilinear_doubling(seed: int) -> None:
    """PyTorch's own, apart from the border, where it repeats pixels and a convolution has none."""
    x, kernel = random(1, 1, 6, 5, seed=seed), random(1, 1, 4, 4, seed=seed + 10)
    found = kept(kernel, "smooth")
    doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    made = F.conv_transpose2d(x, found, None, 2, 1)
    factor = found.sum() / 4
    torch.testing.assert_close(made[..., 1:-1, 1:-1], (factor * doubled)[..., 1:-1, 1:-1])
    weights = torch.tensor([1.0, 3, 3, 1]).double()
    shape = torch.outer(weights, weights)
    torch.testing.assert_close(factor, 4 * (kernel[0, 0] * shape).sum() / (shape**2).sum() * 4)


def test_a_smooth_decoder_is_a_resizing_one_but_for_its_innermost_block() -> None:
    resizing, smooth = (UNet(Architecture(downs=5, ngf=2)).init_weights(seeded()) for _ in "ab")
    keep_form(resizing, "resize")
    keep_form(smooth, "smooth")
    same = [
        torch.equal(a.conv.weight, b.conv.weight)
        for a, b in zip(resizing.up, smooth.up, strict=True)
    ]
    assert same == [True] * 4 + [False]


@pytest.mark.parametrize("seed", range(3))
def test_even_kernels_are_the_nearest_of_equal_sums(seed: int) -> None:
    """Least squares under the three conditions, by Lagrange's multipliers."""
    kernel = random(1, 1, 4, 4, seed=seed)
    net = UNet(Architecture(downs=5, ngf=1)).double()
    with torch.no_grad():
        net.up[0].conv.weight.copy_(kernel.expand(net.up[0].conv.weight.shape))
    keep_form(net, "even")
    found = net.up[0].conv.weight.detach()[:1, :1]
    phase = np.add.outer(2 * (np.arange(4) % 2), np.arange(4) % 2).ravel()
    conditions = np.stack([(phase == p) * 1.0 - (phase == 0) for p in (1, 2, 3)])
    system = np.block([[np.eye(16), conditions.T], [conditions, np.zeros((3, 3))]])
    expected = np.linalg.solve(system, [*kernel.numpy().ravel(), 0, 0, 0])[:16]
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-10)
    assert not torch.allclose(found, kernel, atol=0.1)


def test_an_even_decoder_can_draw_what_a_resizing_one_can() -> None:
    for upsample in ("resize", "smooth"):
        net = UNet(Architecture(downs=5, ngf=2)).init_weights(seeded()).double()
        keep_form(net, upsample)
        keep_form(net, "smooth")
        before = [block.conv.weight.clone() for block in net.up]
        keep_form(net, "even")
        for weight, block in zip(before, net.up, strict=True):
            torch.testing.assert_close(block.conv.weight, weight)


@pytest.mark.parametrize("upsample", ["resize", "smooth", "even"])
def test_the_whole_decoder_is_brought_back_and_the_encoder_left(upsample: str) -> None:
    net = UNet(Architecture(downs=5, ngf=2, norm="none")).init_weights()
    down = [block.conv.weight.clone() for block in net.down]
    keep_form(net, upsample)
    assert all(torch.equal(a, block.conv.weight) for a, block in zip(down, net.down, strict=True))
    for block in net.up:
        flat = torch.ones(1, block.conv.in_channels, 5, 5)
        y = F.conv_transpose2d(flat, block.conv.weight, None, 2, 1)[:, :, 2:-2, 2:-2]
        assert (y - y[:, :, :1, :1]).abs().max() < 1e-5 * y.abs().max()
