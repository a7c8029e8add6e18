"""What a run leaves: the bundle, with all that is known of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from pix2pix_batch import bundle, distance
from pix2pix_batch.bundle import BundleInfo, Embedding
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.description import Description
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.inference.fitting import fit_to_model
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import checkpoint
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import Data, LevelMappings, fingerprint, open_data
from pix2pix_batch.train.file_data import FileData
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.loop import Trainer
from pix2pix_batch.train.metrics import finite
from pix2pix_batch.train.range_recipe import bare_range
from pix2pix_batch.train.raster_files import RasterReader, RasterSide
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.rundir import RECIPE, read_run, recall_init
from pix2pix_batch.train.sampling import spread_indices
from pix2pix_batch.value_ranges import ValueRanges
from pix2pix_batch.version import __version__

EMBEDDED = 8
"""Training inputs whose embeddings are taken, for each of the bottleneck's features: enough for
their covariance, a minute's work for the paper's 512."""

NORM_INPUTS, NORM_BATCH = 512, 16
"""Training inputs on which batch norm's statistics are estimated, and how many at a time, enough
for a variance where a feature is a pixel or four."""


def write_bundles(trainer: Trainer) -> list[Path]:
    """Write ``model.safetensors``, and ``best.safetensors`` if an earlier step had the least error.
    Both have the recipe, the data, the figures and the distribution of the training inputs."""
    figures = trainer.validation(trainer.result, trainer.accelerator)[0]
    data = data_facts(trainer.recipe, trainer.data)
    written = [_write(trainer, "model", trainer.result, trainer.last, figures, data)]
    path = trainer.run.checkpoints / "best.pt"
    if trainer.best is None or trainer.best["step"] == trainer.last:
        # of a shorter run, whose best step is not the best any more
        (trainer.run.path / "best.safetensors").unlink(missing_ok=True)
    elif (state := checkpoint.load(path)) is not None:
        best: Generator = trainer.recipe.architecture.build().to(trainer.device)
        best.load_state_dict(state["generator"])
        best_figures = {k: v for k, v in trainer.best.items() if k != "step"}
        written.append(_write(trainer, "best", best, state["step"], best_figures, data))
    return written


def data_facts(recipe: Recipe, data: Data) -> dict[str, Any]:
    return {
        "source": recipe.data_source,
        "license": recipe.license,
        "training_pairs": len(data.train),
        "validation_pairs": len(data.val),
        "fingerprint": fingerprint(data.train),
    }


def _write(
    trainer: Trainer,
    name: str,
    generator: Generator,
    step: int,
    figures: dict[str, float],
    data: dict[str, Any],
) -> Path:
    recipe = trainer.recipe
    training = {
        "step": step,
        "steps": trainer.last,
        "images": step * trainer.step_images,
        **recall_init(read_run(trainer.run.path / RECIPE)),
        "device": trainer.device.type,
        "precision": trainer.precision,
        "processes": trainer.accelerator.num_processes,
    }
    path = trainer.run.path / f"{name}.safetensors"
    info = describe(recipe, recipe.name, training, figures, data, trainer.data.ranges)
    bundle.save(path, info, generator, embedding=embed_training(generator, trainer.data, recipe))
    return path


def describe(
    recipe: Recipe,
    name: str,
    training: dict[str, Any],
    figures: Mapping[str, float | None],
    data: dict[str, Any],
    ranges: ValueRanges | None = None,
) -> BundleInfo:
    """Make the metadata of a bundle, with all that is known of its training.

    Args:
        recipe: The recipe that it was trained by.
        name: The model's name.
        training: What the run says of itself: steps, time, versions.
        figures: The figures of its last validation.
        data: What is known of the training data.
        ranges: What samples mean; ``None`` for pictures.
    """
    sides = ranges or (None, None)
    return BundleInfo(
        name=name,
        architecture=recipe.architecture,
        image_size=recipe.size,
        fit=recipe.fit,
        source_domain=recipe.source_domain,
        target_domain=recipe.target_domain,
        input_range=None if sides[0] is None or sides[0].is_picture else sides[0],
        output_range=None if sides[1] is None or sides[1].is_picture else sides[1],
        provenance={
            "recipe": recipe.as_dict(),
            "data": data,
            "validation": {k: v and round(v, 4) for k, v in finite(figures).items()},
            "training": training,
            "versions": {"torch": torch.__version__, "pix2pix-batch": __version__},
        },
    )


def embed_training(generator: Generator, data: Data, recipe: Recipe) -> Embedding:
    """Measure how the embeddings of the training inputs are distributed.

    Args:
        generator: The trained network; in eval mode.
        data: The training data.
        recipe: The recipe that it was trained by.
    """
    inputs = inputs_of(data, recipe.fit, recipe.size, most_of(generator))
    return measure_embeddings(generator, inputs, LevelMappings(data.ranges).input)


def most_of(generator: Generator) -> int:
    """How many training inputs to take at most."""
    return EMBEDDED * generator.architecture.bottleneck


def inputs_of(
    data: Data, fit: str, size: int, most: int, architecture: Description | None = None
) -> Iterator[Pixels]:
    """Read training inputs that stand for all of them.

    Of files, they are what ``convert`` would make of them, so that the parts of an input stay
    together. Of mosaics, they are the first crops that were trained on: turned and scaled as they
    were, they are the domain, and there are as many as one likes, while the few upright ones are
    fewer than the channels of the bottleneck.

    Args:
        data: The training data.
        fit: How images of other sizes are treated, as ``convert --fit``.
        size: The model's size in pixels.
        most: About how many inputs are read.
        architecture: The generator's, which says which sizes it takes.

    Yields:
        ``uint8 (size, size, C)``, or the type of a raster's inputs.
    """
    if isinstance(data, FileData):
        count = len(data.train)
        yield from _tiles(count, data.train.read_source, fit, size, most, architecture)
        return
    for k in range(most):
        yield data.sample(k)[0]


def _tiles(
    count: int,
    read: Callable[[int], Pixels],
    fit: str,
    size: int,
    most: int,
    architecture: Description | None = None,
) -> Iterator[Pixels]:
    """``count`` images as ``convert`` hands them to the generator: all of them if there are few,
    else some, evenly spread; in turn of each image all tiles or some, without those that are
    mostly padding."""
    each = max(1, most // count)
    for index in spread_indices(count, most):
        cut = fit_to_model(read(index), "tile" if fit == "exact" else fit, size, architecture)
        tiles = [
            tile
            for tile, share in zip(cut, cut.shares, strict=True)
            if share >= distance.LEAST_SHARE
        ]
        for place in spread_indices(len(tiles), each):
            yield np.ascontiguousarray(tiles[place])


@torch.no_grad()
def measure_embeddings(
    generator: Generator, inputs: Iterable[Pixels], to_levels: Callable[[Tensor], Tensor]
) -> Embedding:
    """Measure how the embeddings of inputs are distributed, in float32 arithmetic.

    Args:
        generator: The network; in eval mode.
        inputs: ``(H, W, C)`` each.
        to_levels: Turns their samples into levels, as of :class:`LevelMappings`.
    """
    training = generator.training
    generator.eval()
    device = next(generator.parameters()).device
    embeddings = []
    for source in inputs:
        image = to_levels(torch.tensor(source)[None]).to(device)
        embeddings.append(generator.embed(image)[0].cpu().numpy().astype(np.float64))
    generator.train(training)
    return distance.describe_embeddings(np.stack(embeddings))


def calibrate(
    path: Path,
    data: Path,
    norms: bool = False,
    overrides: Sequence[str] = (),
    tolerance: Tolerance = USUAL,
) -> Embedding:
    """Measure the statistics of the training inputs anew and write them into a bundle.

    Args:
        path: The bundle, which is replaced.
        data: What the bundle was trained on, as its recipe reads it. For a bundle without a recipe,
            such as an imported one, a directory of images that it is meant for.
        norms: Whether to measure the running statistics of batch norm too (:func:`estimate_norms`).
        overrides: Changes of the recipe, ``key=value``, for other inputs than it was trained on.
        tolerance: What is made of damaged and of large files.

    Raises:
        InputError: The bundle or the data cannot be used.
    """
    info, generator = bundle.load(path)
    inputs = training_inputs(info, generator, path, data, overrides, tolerance)
    to_levels = LevelMappings(info.ranges).input
    if norms:
        if info.architecture.norm != "running-statistics":
            raise InputError(
                f"{escape(path)}: its norm is {info.architecture.norm}, which keeps no statistics; "
                "calibrate it without --norms"
            )
        seen = estimate_norms(generator, inputs(), to_levels)
        info = replace(info, provenance={**info.provenance, "norms_estimated_on": seen})
    embedding = measure_embeddings(generator, inputs(), to_levels)
    if embedding.quantiles is None:
        raise InputError(
            f"{data}: {format_count(embedding.inputs, 'input')}, too few or all alike, do not tell "
            f"how training inputs lie; at least {distance.FEWEST} different ones are needed"
        )
    if norms:
        bundle.save(path, info, generator, half=bundle.is_half(path), embedding=embedding)
    else:
        bundle.describe(path, embedding)
    return embedding


def training_inputs(
    info: BundleInfo,
    generator: Generator,
    path: Path,
    data: Path,
    overrides: Sequence[str],
    tolerance: Tolerance = USUAL,
) -> Callable[[], Iterator[Pixels]]:
    """Find the inputs that a bundle was trained on, or is meant for.

    Args:
        info: The bundle's metadata.
        generator: Its network.
        path: Its path, for messages.
        data: As in :func:`calibrate`.
        overrides: As in :func:`calibrate`.
        tolerance: As in :func:`calibrate`.

    Returns:
        A function that reads them, ``(size, size, C)`` each, from the first at each call.
    """
    size, most = info.image_size, most_of(generator)
    if (recipe := info.provenance.get("recipe")) is not None:
        own = recipes.override_recipe(recipes.parse_recipe(recipe, str(path)), overrides)
        opened = open_data(data, own, tolerance, info.ranges)
        return partial(inputs_of, opened, info.fit, size, most, info.architecture)
    if overrides:
        raise InputError(f"{escape(path)}: holds no recipe, so that --set has nothing to change")
    side = info.ranges.input
    files = list(image_files(data, rasters=not side.is_picture))
    if not files:
        raise InputError(f"{data}: holds no image; give a directory of images it is meant for")
    reader = RasterReader.plain(tolerance)
    own_side = RasterSide(side, bare_range(side.dtype, list(side.names), side.nodata))

    def read(index: int) -> Pixels:
        window = reader.find_middle(files[index], own_side)
        return reader.bands_of(files[index], own_side, window)[0]

    return partial(_tiles, len(files), read, info.fit, size, most, info.architecture)


class _WithoutNoise(nn.Module):
    """A generator that draws no dropout, in training mode either."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        return self.generator.translate(x, {})[0]


def estimate_norms(
    generator: Generator, inputs: Iterable[Pixels], to_levels: Callable[[Tensor], Tensor]
) -> int:
    """Give batch norm the running statistics that inputs have.

    Weights between or beyond trained ones have other statistics than what lies between or beyond
    theirs (Izmailov et al. 2018, arXiv 1803.05407, section 3.2). At most :data:`NORM_INPUTS` are
    taken, in batches of :data:`NORM_BATCH`, and each batch counts the same.

    Args:
        generator: The network, which is changed.
        inputs: ``(H, W, C)`` each.
        to_levels: As in :func:`measure_embeddings`.

    Returns:
        The number of inputs that were taken.
    """
    device = next(generator.parameters()).device
    chosen = list(islice(inputs, NORM_INPUTS))
    batches = [chosen[k : k + NORM_BATCH] for k in range(0, len(chosen), NORM_BATCH)]
    loader = (to_levels(torch.tensor(np.stack(batch))) for batch in batches)
    update_bn(loader, _WithoutNoise(generator), device)
    generator.eval()
    return len(chosen)
