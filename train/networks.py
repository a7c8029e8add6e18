"""The two networks of a run: made, put on their device, and prepared to be trained."""

from __future__ import annotations

import warnings

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.train.adam import ChannelsLastAdam
from pix2pix_batch.train.convolution import use_own_convolutions
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.rundir import RECIPE
from pix2pix_batch.train.step import Networks
from pix2pix_batch.train.upsample import keep_form


def make_generator(recipe: Recipe, goes_on: bool = False) -> Generator:
    """Make the generator, with random weights of PyTorch's global generator or those of
    ``recipe.init``; the latter are not looked for where it ``goes_on``, with a checkpoint's.
    Raises :class:`InputError`."""
    generator: Generator = recipe.architecture.build()
    generator.init_weights()
    if recipe.init and not goes_on:
        generator.load_state_dict(initial_state(recipe))
    if isinstance(generator, UNet):
        freeze(generator, recipe)
        keep_form(generator, recipe.upsample)
        use_own_convolutions(generator)
    return generator


def freeze(generator: UNet, recipe: Recipe) -> None:
    """Take the gradients from the blocks that the recipe does not train."""
    if recipe.train_blocks is not None:
        generator.requires_grad_(False)
        for block in generator.up[: recipe.train_blocks]:
            block.requires_grad_(True)
    for blocks in (generator.down, generator.up):
        for block in blocks[: recipe.freeze_blocks or 0]:
            block.requires_grad_(False)


def place_networks(
    recipe: Recipe, accelerator: Accelerator, generator: Generator, discriminator: nn.Module
) -> tuple[nn.Module, nn.Module]:
    """Move both networks to their device.

    If there are several processes, batch norms span them all.

    Args:
        recipe: The recipe.
        accelerator: Has the device and the processes.
        generator: The generator.
        discriminator: The discriminator.
    """
    device = accelerator.device
    placed_generator, placed_discriminator = (
        network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for network in (generator, discriminator)
    )
    if accelerator.num_processes > 1 and device.type == "cuda":
        placed_discriminator = nn.SyncBatchNorm.convert_sync_batchnorm(placed_discriminator)
        if recipe.norm == "running-statistics":  # the other norms are each image's own
            placed_generator = nn.SyncBatchNorm.convert_sync_batchnorm(placed_generator)
    return placed_generator, placed_discriminator


def prepare_networks(
    recipe: Recipe, accelerator: Accelerator, generator: nn.Module, discriminator: nn.Module
) -> Networks:
    """Wrap both networks and make their optimisers, as accelerate runs them.

    Args:
        recipe: The recipe.
        accelerator: Has the device and the processes.
        generator: The generator on its device.
        discriminator: The discriminator on its device.
    """
    betas = (recipe.beta1, recipe.beta2)
    with warnings.catch_warnings():  # broadcast_buffers has a new name that old PyTorch lacks
        warnings.simplefilter("ignore", FutureWarning)
        return Networks(
            *accelerator.prepare(
                generator,
                discriminator,
                ChannelsLastAdam(trainable_parameters(generator), recipe.lr, betas),
                ChannelsLastAdam(trainable_parameters(discriminator), recipe.lr, betas),
            )
        )


def initial_state(recipe: Recipe) -> dict[str, Tensor]:
    """The weights of the bundle that ``recipe.init`` names. Raises :class:`InputError`."""
    path = bundle.resolve(recipe.init)
    info, generator = bundle.load(path)
    if info.architecture != recipe.architecture:
        mine, theirs = (
            {"family": architecture.family, **architecture.as_dict()}
            for architecture in (recipe.architecture, info.architecture)
        )
        differing = [
            f"{key} is {value!r} there and {mine[key]!r} in the recipe"
            for key, value in theirs.items()
            if key in mine and value != mine[key]
        ]
        own = path.parent / RECIPE
        hint = f"; its own is {own}, for --recipe" if own.is_file() else ""
        raise InputError(f"init: {path} is another network: {'; '.join(differing)}{hint}")
    return generator.state_dict()


def trainable_parameters(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]
