"""The perceptual loss, against VGG-19 as its paper's table has it, with weights of our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pix2pix_batch.errors import InputError
from pix2pix_batch.train.perceptual_loss import VGG19, PerceptualLoss
from tests.train.running import make_pairs, small, train

WIDTHS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Simonyan and Zisserman 2015, table 1, column E, to conv5_1; 0 is a maximum over 2x2."""

FIRST_OF_STAGE = (0, 3, 6, 11, 16)
"""Of these, the first convolution of each stage."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of PyTorch with weights of VGG-19, small ones so that nothing overflows."""
    found = tmp_path_factory.mktemp("home")
    folder = found / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    random, weights, before, number = torch.Generator().manual_seed(0), {}, 3, 0
    for width in WIDTHS:
        if width:
            shape = (width, before, 3, 3)
            scale = (2 / (9 * before)) ** 0.5
            weights[f"features.{number}.weight"] = torch.randn(shape, generator=random) * scale
            weights[f"features.{number}.bias"] = torch.randn(width, generator=random) * 0.1
            before = width
        number += 2 if width else 1
    torch.save(weights, folder / VGG19)
    return found


def expected(weights: dict[str, Tensor], made: Tensor, wanted: Tensor) -> float:
    total, number, shares = 0.0, 0, iter((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0))
    x = torch.cat((made, wanted)).double()
    for place, width in enumerate(WIDTHS):
        if not width:
            x, number = F.max_pool2d(x, 2), number + 1
            continue
        weight, bias = (
            weights[f"features.{number}.{part}"].double() for part in ("weight", "bias")
        )
        x, number = F.conv2d(x, weight, bias, padding=1).relu(), number + 2
        if place in FIRST_OF_STAGE:
            first, second = x.chunk(2)
            total += next(shares) * float((first - second).abs().mean())
    return total


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_that_of_the_paper(
    channels: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(home))
    weights = torch.load(home / "hub" / "checkpoints" / VGG19, weights_only=True)
    random = torch.Generator().manual_seed(1)
    made, wanted = (torch.rand(2, channels, 32, 48, generator=random) * 2 - 1 for _ in range(2))
    made.requires_grad_(True)
    loss = PerceptualLoss()
    found = loss(made, wanted)
    three = (made.detach().expand(-1, 3, -1, -1), wanted.expand(-1, 3, -1, -1))
    assert float(found.detach()) == pytest.approx(expected(weights, *three), rel=1e-4)
    found.backward()
    assert made.grad is not None and bool(made.grad.abs().sum() > 0)
    assert all(weight.grad is None for weight in loss.parameters())
    assert float(loss(wanted, wanted)) == 0
    side = 16  # which is halved four times before the last layer that counts
    loss(made[:, :, :side, :side], wanted[:, :, :side, :side])


def test_training_with_it(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first step's own figures are the same, what it makes of the weights is not."""
    monkeypatch.setenv("TORCH_HOME", str(home))
    data = make_pairs(tmp_path / "data", train=2)
    made = []
    for weight in (0.0, 10.0):
        out = tmp_path / f"run-{weight:g}"
        assert train(data, out, epochs=1, lambda_perceptual=weight).code == 0
        made.append((out / "model.safetensors").read_bytes())
    assert made[0] != made[1]


def test_without_weights_or_with_others(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    with pytest.raises(InputError, match=f"lambda_perceptual: put {VGG19} into {folder}"):
        PerceptualLoss()
    folder.mkdir(parents=True)
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, folder / VGG19)
    with pytest.raises(InputError, match=r"cannot be used .*features.0.bias.*get it again"):
        PerceptualLoss()
    os.remove(folder / VGG19)
    with pytest.raises(ValueError, match="3 channels"):
        small(lambda_perceptual=1, out_channels=2)
