"""Discriminators of several scales, and feature matching, against an independent statement."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.train.accelerator import make_accelerator
from pix2pix_batch.train.discriminator import MultiScale, PatchGAN, make_discriminator
from pix2pix_batch.train.step import Batch, Networks, Step, training_masks
from tests.train.running import make_pairs, small, train

VALUES = {"size": 32, "patch": 16, "disc_norm": "instance", "scales": 2, "lambda_features": 10.0}


def halve(x: Tensor) -> Tensor:
    """Averages of 3x3 around every other pixel, of what lies inside."""
    rows = []
    for y in range(0, x.shape[2], 2):
        row = [
            x[:, :, max(0, y - 1) : y + 2, max(0, k - 1) : k + 2].mean((2, 3))
            for k in range(0, x.shape[3], 2)
        ]
        rows.append(torch.stack(row, -1))
    return torch.stack(rows, -2)


def features(judge: nn.Module, x: Tensor) -> list[Tensor]:
    """Of a single discriminator: what comes after each activation, and the logits."""
    assert isinstance(judge, PatchGAN)
    found = []
    for layer in judge.layers:
        x = layer(x)
        if isinstance(layer, nn.LeakyReLU):
            found.append(x)
    return [*found, x]


def descend(net: nn.Module) -> None:
    """A step of plain gradient descent, with a rate of 0.1."""
    with torch.no_grad():
        for weight in net.parameters():
            assert weight.grad is not None
            weight -= 0.1 * weight.grad


def test_a_step_is_the_published_objectives() -> None:
    recipe = small(**VALUES, lambda_l1=3.0, lambda_gan=2.0)
    torch.manual_seed(0)
    generator = recipe.architecture.build().double().train()
    judge = make_discriminator(6, recipe.ndf, 16, "instance", False, 2).double()
    assert isinstance(judge, MultiScale)
    for weight in (*generator.parameters(), *judge.parameters()):
        if weight.ndim == 4:
            weight.data.normal_(0, weight[0].numel() ** -0.5)
    own, others = copy.deepcopy(generator), copy.deepcopy(judge)
    descents = [torch.optim.SGD(net.parameters(), 0.1) for net in (generator, judge)]
    accelerator = make_accelerator(recipe, "cpu")
    networks = Networks(*accelerator.prepare(generator, judge, *descents))
    random = torch.Generator().manual_seed(1)
    source, target = (
        torch.rand(2, 3, 32, 32, generator=random, dtype=torch.float64) * 2 - 1 for _ in range(2)
    )
    batch = Batch(source, target, 0)
    told = Step(recipe, networks, accelerator)([batch])

    fake = own(source, training_masks(recipe.seed, recipe.architecture, batch))
    scales = [(source, target), (halve(source), halve(target))]
    made = [fake, halve(fake)]
    d_loss = torch.zeros((), dtype=torch.float64)
    for one, (x, y), z in zip(others.judges, scales, made, strict=True):
        real, false = (features(one, torch.cat((x, end), 1))[-1] for end in (y, z.detach()))
        d_loss = d_loss + (F.softplus(-real).mean() + F.softplus(false).mean()) / 2
    d_loss.backward()
    descend(others)
    gan = match = torch.zeros((), dtype=torch.float64)
    for one, (x, y), z in zip(others.judges, scales, made, strict=True):
        of_fake, of_real = (features(one, torch.cat((x, end), 1)) for end in (z, y))
        gan = gan + F.softplus(-of_fake[-1]).mean()
        for k in range(len(of_fake) - 1):
            match = match + (of_fake[k] - of_real[k].detach()).abs().mean()
    l1 = (fake - target).abs().mean()
    (2.0 * gan + 10.0 * match + 3.0 * l1).backward()
    assert match > 0.01
    expected = torch.stack([d_loss, gan, l1, match]).detach().float()
    torch.testing.assert_close(told, expected, rtol=1e-5, atol=1e-6)
    descend(own)
    for ours, theirs in ((generator, own), (judge, others)):
        for name, value in theirs.named_parameters():
            torch.testing.assert_close(ours.get_parameter(name), value, rtol=1e-6, atol=1e-7)


def test_one_scale_is_the_discriminator_itself() -> None:
    assert isinstance(make_discriminator(6, 4, 16, "batch", False, 1), PatchGAN)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scales": 5}, "scales"),
        ({"lambda_features": 1, "lambda_gan": 0}, "lambda_features"),
        ({"scales": 2, "gan_mode": "wgangp", "disc_norm": "none", "patch": 16}, "scales: wgangp"),
        ({"scales": 4, "patch": 34, "size": 64}, "needs images of 96 pixels"),
    ],
)
def test_what_does_not_go_together(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**values)


def test_a_run_with_them_makes_a_bundle(tmp_path: Path) -> None:
    data = make_pairs(tmp_path / "data", train=4, val=1)
    ran = train(data, tmp_path / "run", **VALUES)
    assert ran.code == 0, ran.err
    _, net = bundle.load(tmp_path / "run" / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())
