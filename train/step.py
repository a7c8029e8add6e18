"""One training step: the discriminator's update, then the generator's (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from pix2pix_batch.generators.description import Description
from pix2pix_batch.inference.onednn import KEEP_SCALE
from pix2pix_batch.noise import dropout_masks, noise_key
from pix2pix_batch.train import objective
from pix2pix_batch.train.patch_loss import patch_loss
from pix2pix_batch.train.perceptual_loss import PerceptualLoss
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.sampling import generator_at


class Batch(NamedTuple):
    """A batch on its device.

    Attributes:
        source: ``float32 (N, C, H, W)`` in [-1, 1].
        target: The same, 0 where ``valid`` is false.
        first: The position of the first image in the training stream, which decides the dropout
            masks.
        valid: ``bool (N, 1, H, W)``, where there is something to learn; ``None`` for everywhere.
    """

    source: Tensor
    target: Tensor
    first: int
    valid: Tensor | None = None

    @classmethod
    def of(cls, source: Tensor, target: Tensor, first: int, valid: Tensor | None = None) -> Batch:
        """Make a batch.

        Args:
            source: ``float32 (N, C, H, W)`` in [-1, 1].
            target: The same, which is set to 0 where nothing is valid.
            first: The position of the first image in the training stream.
            valid: ``bool (N, H, W)``, where there is something to learn; ``None`` for everywhere.
        """
        if valid is None:
            return cls(source, target, first)
        there = valid[:, None]
        # Not a product: where there is no data a value may be NaN, which times 0 stays NaN.
        return cls(source, torch.where(there, target, 0.0), first, there)


class Networks(NamedTuple):
    """Both networks and their optimisers, as ``Accelerator.prepare`` returns them."""

    generator: nn.Module
    discriminator: nn.Module
    optimise_g: Optimizer
    optimise_d: Optimizer


class Step:
    """Trains ``networks`` for ``recipe``, a batch or several accumulated ones at a time."""

    def __init__(self, recipe: Recipe, networks: Networks, accelerator: Accelerator) -> None:
        """Raises :class:`InputError` if the perceptual loss cannot be set up."""
        self.recipe, self.networks, self.accelerator = recipe, networks, accelerator
        self.architecture = recipe.architecture
        self.perceptual: PerceptualLoss | None = None
        if recipe.lambda_perceptual:
            self.perceptual = PerceptualLoss().to(accelerator.device)

    def __call__(self, batches: Sequence[Batch]) -> Tensor:
        """Do one step on ``batches``, whose gradients are averaged, and return the recipe's
        ``losses``, each before its weight.

        D's step comes first with several batches too. So G's images are then made twice: for D, and
        again for G once D has its new weights.
        """
        recipe, share = self.recipe, 1 / len(batches)
        device = batches[0].source.device
        losses = {name: torch.zeros((), device=device) for name in recipe.losses}
        # L1 first and always, also with a weight of 0, as in earlier versions: gradients of G's
        # images add up in the order of their terms, so a run that one of them began goes on alike.
        terms = ["l1", *(name for name in losses if name not in ("d", "l1"))]
        fakes: list[Tensor | None] = [None] * len(batches)
        if len(batches) == 1:
            # With its graph, so that G is trained on the same images: a single batch needs no
            # second pass.
            fakes = [self.generate(batches[0])]
        if recipe.lambda_gan:
            losses["d"] = self._train_discriminator(batches, fakes, share)
        self.networks.optimise_g.zero_grad(set_to_none=True)
        for i, batch in enumerate(batches):
            with self._gradient_sync(self.networks.generator, i, batches):
                fake = fakes[i]
                fake = self.generate(batch) if fake is None else fake
                total = torch.zeros((), device=fake.device)
                for name in terms:
                    term = self._generator_loss(name, batch, fake)
                    total = total + getattr(recipe, f"lambda_{name}") * term
                    if name in losses:
                        losses[name] += term.detach() * share
                self.accelerator.backward(total * share)
        self.networks.optimise_g.step()
        return torch.stack(list(losses.values()))

    def generate(self, batch: Batch) -> Tensor:
        masks = training_masks(self.recipe.seed, self.architecture, batch)
        fake: Tensor = self.networks.generator(batch.source, masks)
        # 0 as the target there, so that D learns nothing from gaps, and G is not judged by them
        return fake if batch.valid is None else torch.where(batch.valid, fake, 0.0)

    def _train_discriminator(
        self, batches: Sequence[Batch], fakes: Sequence[Tensor | None], share: float
    ) -> Tensor:
        self.networks.optimise_d.zero_grad(set_to_none=True)
        total = torch.zeros((), device=batches[0].source.device)
        for i, batch in enumerate(batches):
            fake = fakes[i]
            if fake is None:
                with torch.no_grad():
                    fake = self.generate(batch)
            with self._gradient_sync(self.networks.discriminator, i, batches):
                loss = self._discriminator_loss(batch, fake.detach())
                self.accelerator.backward(loss * share)
            total += loss.detach() * share
        self.networks.optimise_d.step()
        return total

    def _discriminator_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        mode = self.recipe.gan_mode
        judge = self.networks.discriminator
        # In one pass: weights are prepared once, and a batch of one image fills no CPU or GPU
        both = torch.cat((fake, batch.target))
        twice = batch._replace(source=torch.cat((batch.source, batch.source)))
        loss = torch.zeros((), device=fake.device)
        for logits in list_scales(judge(*self._discriminator_inputs(twice, both), parts=2)):
            fake_logits, real_logits = logits.chunk(2)
            loss = loss + objective.discriminator_loss(mode, real_logits, fake_logits)
        if mode == "wgangp":
            mix = penalty_mix(self.recipe.seed, batch)
            loss = loss + objective.gradient_penalty(
                lambda image: judge(*self._discriminator_inputs(batch, image)),
                batch.target,
                fake,
                mix,
            )
        return loss

    def _generator_loss(self, name: str, batch: Batch, fake: Tensor) -> Tensor:
        """The term of G's loss that the recipe's ``losses`` call so, before its weight."""
        target = batch.target
        if name == "gan":
            return self._gan_loss(batch, fake)
        if name == "l1":
            return objective.absolute_loss(fake, target, batch.valid, self.recipe.l1_pixels)
        if name == "features":
            return self._feature_loss(batch, fake)
        if name == "texture":
            return objective.texture_loss(fake, target)
        if name == "grid":
            return objective.grid_loss(fake, target)
        if name == "patches":
            random = patch_randomness(self.recipe.seed, batch)
            return patch_loss(batch.source, fake, target, random)
        assert self.perceptual is not None
        loss: Tensor = self.perceptual(fake, target)
        return loss

    def _gan_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        # Without the wrapper that averages D's gradients over processes, and with its weights held:
        # none of G's losses trains D.
        judge = self.accelerator.unwrap_model(self.networks.discriminator)
        judge.requires_grad_(False)
        logits = list_scales(judge(*self._discriminator_inputs(batch, fake)))
        gan = torch.stack(
            [objective.generator_loss(self.recipe.gan_mode, judged) for judged in logits]
        )
        judge.requires_grad_(True)
        return gan.sum()

    def _feature_loss(self, batch: Batch, fake: Tensor) -> Tensor:
        """The distance between D's features of G's images and of the targets."""
        judge = self.accelerator.unwrap_model(self.networks.discriminator)
        judge.requires_grad_(False)
        with torch.no_grad():
            real = judge.list_features(*self._discriminator_inputs(batch, batch.target))
        loss = objective.feature_loss(
            real, judge.list_features(*self._discriminator_inputs(batch, fake))
        )
        judge.requires_grad_(True)
        return loss

    def _discriminator_inputs(self, batch: Batch, image: Tensor) -> tuple[Tensor, ...]:
        return (batch.source, image) if self.recipe.conditional else (image,)

    def _gradient_sync(
        self, network: nn.Module, i: int, batches: Sequence[Batch]
    ) -> AbstractContextManager[object]:
        """Gradients of several processes are averaged at the last batch only."""
        last = i == len(batches) - 1
        return nullcontext() if last else self.accelerator.no_sync(network)


def list_scales(logits: Tensor | list[Tensor]) -> list[Tensor]:
    """The logits of each discriminator, of which there may be one."""
    return [logits] if isinstance(logits, Tensor) else logits


def training_masks(seed: int, architecture: Description, batch: Batch) -> list[Tensor]:
    """Make the dropout masks of a batch, each named by its image's place in the training stream.

    Args:
        seed: The recipe's.
        architecture: The generator's.
        batch: The batch.

    Returns:
        A mask for each block with dropout, with the values 0 and 2.
    """
    shapes = architecture.mask_shapes(*batch.source.shape[2:])
    if not shapes:
        return []
    each = [
        dropout_masks(noise_key(seed, b"training", batch.first + i), shapes)
        for i in range(len(batch.source))
    ]
    stacked = [np.stack(masks) for masks in zip(*each, strict=True)]
    device = batch.source.device
    return [torch.from_numpy(mask).to(device, torch.float32).mul_(KEEP_SCALE) for mask in stacked]


def penalty_mix(seed: int, batch: Batch) -> Tensor:
    """Draw where between the true and the generated image each image of a batch lies: uniform in
    [0, 1)."""
    # 2 as a stream of its own: 0 is the order of an epoch, 1 what a sample is cut and jittered by,
    # 3 which rasters are measured.
    values = [generator_at(seed, batch.first + i, 2).random() for i in range(len(batch.source))]
    return batch.source.new_tensor(values)[:, None, None, None]


def patch_randomness(seed: int, batch: Batch) -> list[np.random.Generator]:
    """What the patch loss draws for each image of a batch: its own, whatever the batch."""
    return [generator_at(seed, batch.first + i, 4) for i in range(len(batch.source))]
