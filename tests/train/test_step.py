"""One training step against an independent statement of it, in float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.train.accelerator import make_accelerator
from pix2pix_batch.train.convolution import use_own_convolutions
from pix2pix_batch.train.discriminator import PatchGAN
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.step import Batch, Networks, Step, penalty_mix, training_masks
from tests.train.reference import Adam, Training
from tests.train.running import small

EXACT = {"rtol": 1e-5, "atol": 2e-6}
"""Of weights that a step moves by 0.01: Adam scales up what rounding leaves of idle biases."""


class Ours:
    """Both networks with weights that all leave traces, and a :class:`Step` on them."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        random = torch.Generator().manual_seed(0)
        self.generator = UNet(recipe.architecture).double().train()
        use_own_convolutions(self.generator)
        channels = recipe.out_channels + (recipe.in_channels if recipe.conditional else 0)
        self.discriminator = PatchGAN(channels, recipe.ndf, recipe.patch, recipe.disc_norm).double()
        for network in (self.generator, self.discriminator):
            network.to(memory_format=torch.channels_last)
            for name, p in network.named_parameters():
                if p.ndim == 4:
                    p.data.normal_(0, 1.5 / p[0].numel() ** 0.5, generator=random)
                else:
                    p.data.normal_(float(name.endswith("weight")), 0.3, generator=random)
        accelerator = make_accelerator(recipe, "cpu")
        betas = (recipe.beta1, recipe.beta2)
        self.networks = Networks(
            *accelerator.prepare(
                self.generator,
                self.discriminator,
                torch.optim.Adam(self.generator.parameters(), recipe.lr, betas),
                torch.optim.Adam(self.discriminator.parameters(), recipe.lr_d or recipe.lr, betas),
            )
        )
        self.step = Step(recipe, self.networks, accelerator)

    def reference(self) -> Training:
        """The reference's training from the same weights."""
        recipe = self.recipe
        betas = (recipe.beta1, recipe.beta2)
        return Training(
            g={k: v.detach().clone().requires_grad_() for k, v in self.weights(self.generator)},
            d=[v.detach().clone().requires_grad_() for _, v in self.weights(self.discriminator)],
            adam_g=Adam(recipe.lr, *betas),
            adam_d=Adam(recipe.lr_d or recipe.lr, *betas),
            downs=recipe.architecture.downs,
            norm=recipe.norm,
            skips=recipe.skips,
            patch=recipe.patch,
            disc_norm=recipe.disc_norm,
            conditional=recipe.conditional,
            mode=recipe.gan_mode,
            lambda_gan=recipe.lambda_gan,
            lambda_l1=recipe.lambda_l1,
        )

    def weights(self, network: nn.Module) -> list[tuple[str, Tensor]]:
        return list(network.named_parameters())


def batch(first: int, count: int, recipe: Recipe) -> Batch:
    """Images of their own for each place in the stream, laid out as the loop lays them."""

    def images(kind: int, channels: int) -> Tensor:
        shape = (1, channels, recipe.size, recipe.size)
        seeds = [torch.Generator().manual_seed(10 * (first + i) + kind) for i in range(count)]
        made = [torch.rand(shape, generator=seed, dtype=torch.float64) for seed in seeds]
        return (torch.cat(made) * 2 - 1).contiguous(memory_format=torch.channels_last)

    return Batch(images(0, recipe.in_channels), images(1, recipe.out_channels), first)


def assert_same(ours: Ours, reference: Training) -> None:
    for (name, weight), expected in zip(
        ours.weights(ours.generator), reference.g.values(), strict=True
    ):
        torch.testing.assert_close(weight, expected, **EXACT, msg=lambda m, n=name: f"{n}: {m}")
    for (name, weight), expected in zip(ours.weights(ours.discriminator), reference.d, strict=True):
        torch.testing.assert_close(weight, expected, **EXACT, msg=lambda m, n=name: f"{n}: {m}")


def assert_same_gradients(network: nn.Module, expected: list[Tensor]) -> None:
    """A bias before an instance norm has none; rounding leaves traces of it."""
    found = [p.grad for p in network.parameters() if p.grad is not None]
    scale = max((gradient.abs().max().item() for gradient in expected), default=0)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-12 * scale)


def follow(recipe: Recipe, steps: int = 2, count: int = 2) -> tuple[Ours, Training]:
    """Take the same steps both ways; losses, gradients and weights must agree after each."""
    ours = Ours(recipe)
    reference = ours.reference()
    for i in range(steps):
        given = batch(count * i, count, recipe)
        losses = ours.step([given])
        masks = [mask.double() for mask in training_masks(recipe.seed, recipe.architecture, given)]
        expected = reference.step(
            given.source, given.target, masks, penalty_mix(recipe.seed, given)
        )
        named = dict(zip(("d", "gan", "l1"), expected, strict=True))
        wanted = [named[name] for name in recipe.losses]
        assert losses.tolist() == pytest.approx(wanted, rel=1e-5, abs=1e-9)
        assert_same_gradients(ours.generator, reference.gradients_g)
        assert_same_gradients(ours.discriminator, reference.gradients_d)
        assert_same(ours, reference)
    return ours, reference


FAST: dict[str, Any] = {"lr": 0.01, "batch_size": 2, "epochs": 10, "disc_norm": "instance"}

WEIGHTS = [
    pytest.param({"lambda_gan": 1, "lambda_l1": 100}, id="GAN and L1"),
    pytest.param({"lambda_gan": 0, "lambda_l1": 7}, id="L1 alone"),
    pytest.param({"lambda_gan": 3, "lambda_l1": 0}, id="GAN alone"),
]


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("conditional", [True, False], ids=["conditional", "unconditional"])
@pytest.mark.parametrize("mode", ["vanilla", "lsgan", "hinge", "wgangp"])
def test_a_step_is_the_references(mode: str, conditional: bool, weights: dict[str, float]) -> None:
    follow(small(gan_mode=mode, conditional=conditional, patch=16, **weights, **FAST))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "batch-statistics", "disc_norm": "batch", "patch": 1},
        {"norm": "running-statistics", "disc_norm": "batch"},
        {"norm": "instance", "disc_norm": "none", "patch": 34},
        {"norm": "none", "gan_mode": "wgangp", "disc_norm": "none"},
        {"skips": False, "norm": "instance"},
        {"skips": False, "size": 64},
        {"size": 64, "downs": 6, "seed": 3},  # one mask
        {"size": 128, "downs": 7, "norm": "instance"},  # two
        {"size": 64, "dropout": False},
        {"in_channels": 1, "out_channels": 4},
        {"lr_d": 0.002, "beta1": 0.9, "beta2": 0.99},
        {"batch_size": 1, "norm": "batch-statistics", "disc_norm": "batch"},
        {"batch_size": 1, "gan_mode": "wgangp", "patch": 70},
    ],
    ids=str,
)
def test_networks_and_optimisers_are_the_references(changes: dict[str, Any]) -> None:
    recipe = small(**{**FAST, "patch": 16, "lambda_l1": 5, **changes})
    follow(recipe, count=recipe.batch_size)


def test_dropout_masks_make_a_difference() -> None:
    """Or the tests above would not see which are used."""
    noisy, plain = (
        Ours(small(**FAST, size=64, dropout=dropout)).generator(torch.zeros(1, 3, 64, 64).double())
        for dropout in (True, False)
    )
    assert not torch.allclose(noisy, plain, atol=1e-3)


def test_each_image_has_masks_of_its_own_place() -> None:
    recipe = small(size=128, ngf=4)
    together = training_masks(recipe.seed, recipe.architecture, batch(4, 3, recipe))
    assert [tuple(mask.shape) for mask in together] == [(3, 32, 4, 4), (3, 32, 8, 8)]
    for i in range(3):
        alone = training_masks(recipe.seed, recipe.architecture, batch(4 + i, 1, recipe))
        assert all(torch.equal(a[i : i + 1], b) for a, b in zip(together, alone, strict=True))
    assert not torch.equal(together[1][0], together[1][1])
    assert set(torch.cat([mask.flatten() for mask in together]).tolist()) == {0.0, 2.0}
    other = training_masks(recipe.seed + 1, recipe.architecture, batch(4, 3, recipe))
    assert not torch.equal(together[1], other[1])


def test_the_penaltys_mix_is_each_images_own() -> None:
    recipe = small()
    mix = penalty_mix(0, batch(0, 200, recipe)).flatten()
    assert penalty_mix(0, batch(7, 1, recipe)).item() == mix[7]
    assert len(set(mix.tolist())) == 200 and mix.min() >= 0 and mix.max() < 1
    assert mix.mean().item() == pytest.approx(0.5, abs=0.1)
    assert penalty_mix(1, batch(7, 1, recipe)).item() != mix[7]


@pytest.mark.parametrize("mode", ["vanilla", "wgangp"])
def test_the_generator_learns_from_the_discriminators_new_weights(mode: str) -> None:
    """With its old ones another update would come out."""
    recipe = small(**FAST, gan_mode=mode, patch=16, lambda_l1=0)
    _, reference = follow(recipe, steps=1)
    late = replace(Ours(recipe).reference())
    given = batch(0, 2, recipe)
    late.step(given.source, given.target, [], penalty_mix(recipe.seed, given), late=True)
    assert all(torch.equal(a, b) for a, b in zip(late.d, reference.d, strict=True))
    assert any(
        not torch.allclose(a, b, rtol=1e-3, atol=1e-6)
        for a, b in zip(late.g.values(), reference.g.values(), strict=True)
    )


@pytest.mark.parametrize("norm", ["batch-statistics", "instance", "none"])
@pytest.mark.parametrize("mode", ["vanilla", "wgangp"])
def test_two_accumulated_batches_are_one_of_twice_the_size(mode: str, norm: str) -> None:
    """Where no norm mixes a batch's images."""
    recipe = small(**FAST, size=64, patch=16, gan_mode=mode, norm=norm, lambda_l1=5)
    one, two = Ours(recipe), Ours(recipe)
    for i in range(2):
        whole = one.step([batch(4 * i, 4, recipe)])
        parts = two.step([batch(4 * i, 2, recipe), batch(4 * i + 2, 2, recipe)])
        torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-9)
    assert_same_gradients(two.generator, [p.grad for p in one.generator.parameters()])
    for network in ("generator", "discriminator"):
        for a, b in zip(
            getattr(one, network).parameters(), getattr(two, network).parameters(), strict=True
        ):
            torch.testing.assert_close(a, b, **EXACT)


def test_without_a_gan_the_discriminator_stays() -> None:
    ours = Ours(small(**FAST, lambda_gan=0))
    before = [p.clone() for p in ours.discriminator.parameters()]
    losses = ours.step([batch(0, 2, ours.recipe)])
    assert losses.shape == (1,) and losses[0] > 0, "L1 alone"
    assert all(
        torch.equal(a, b) for a, b in zip(before, ours.discriminator.parameters(), strict=True)
    )


def test_the_discriminator_can_learn_after_a_step() -> None:
    """G's half of the step takes its gradients away for a while only."""
    ours = Ours(small(**FAST, patch=16))
    ours.step([batch(0, 2, ours.recipe)])
    assert all(p.requires_grad for p in ours.discriminator.parameters())
