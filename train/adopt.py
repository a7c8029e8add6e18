"""A bundle of any checkpoint of a run, also while it goes on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.checkpoint_kinds import find_damaged_record
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train import rundir, signature
from pix2pix_batch.train.data import Data, open_data
from pix2pix_batch.train.finish import data_facts, describe, embed_training
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import ValueRanges


@dataclass(frozen=True)
class Adopted:
    """The bundle's metadata, and what could not be done as at the end of a run."""

    info: BundleInfo
    notes: list[str]


def adopt(
    path: Path,
    file: Path,
    *,
    data: Path | None = None,
    name: str | None = None,
    **domains: str,
) -> Adopted:
    """Write a bundle of a checkpoint, as the end of its run would.

    It has the averaged weights if there are any, the recipe, the figures, and the distribution of
    the training inputs.

    Args:
        path: The checkpoint, in the directory of its run.
        file: The bundle to write.
        data: Where the training data is; ``None`` for where it was.
        name: The model's name; ``None`` for the recipe's.
        domains: ``source_domain`` and ``target_domain``, where they are not the recipe's.

    Raises:
        InputError: The checkpoint or the data cannot be used.
    """
    run = path.absolute().parent.parent
    recorded = _read_recorded(path, run)
    recipe = recipes.parse_recipe(recorded["recipe"], str(run / rundir.RECIPE))
    generator, step = _load_generator(path, run, recipe)
    ranges = rundir.read_ranges(run, recipe)
    if recipe.takes_rasters and ranges is None:
        raise InputError(f"{run / rundir.RECIPE}: does not say what the values of its rasters mean")
    opened, notes = _open_data(
        data or Path(recorded.get("path") or ""), recipe, recorded, data, ranges
    )
    processes = recorded.get("processes", 1)
    training: dict[str, Any] = {
        "step": step,
        "images": step * recipe.batch_size * recipe.accumulate * processes,
        "processes": processes,
        **rundir.recall_init(recorded),
    }
    facts = data_facts(recipe, opened) if opened else {"source": recipe.data_source,
                                                       "license": recipe.license}  # fmt: skip
    info = describe(recipe, name or recipe.name, training, _figures(run, step), facts, ranges)
    said: dict[str, Any] = {key: value for key, value in domains.items() if value}
    info = replace(info, **said)
    embedding = embed_training(generator, opened, recipe) if opened else None
    bundle.save(file, info, generator, embedding=embedding)
    return Adopted(info, notes)


def _read_recorded(path: Path, run: Path) -> dict[str, Any]:
    if not (run / rundir.RECIPE).is_file():
        raise InputError(
            f"{path}: is a checkpoint of 'pix2pix-batch train', whose recipe is not beside it in "
            f"{run / rundir.RECIPE}; leave it in its run's directory, RUN/checkpoints/"
        )
    return rundir.read_run(run / rundir.RECIPE)


def _load_generator(path: Path, run: Path, recipe: Recipe) -> tuple[Generator, int]:
    """The checkpoint's generator, in eval mode, and its step."""
    if damaged := find_damaged_record(path):
        raise InputError(
            f"{path}: is damaged: {damaged!r} within it is not what was written; take another one"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    generator: Generator = recipe.architecture.build()
    try:
        generator.load_state_dict(state.get("average") or state["generator"])
    except (RuntimeError, AttributeError, TypeError) as error:
        raise InputError(f"{path}: holds another network than {run / rundir.RECIPE}") from error
    return generator.eval(), int(state["step"])


def _open_data(
    place: Path,
    recipe: Recipe,
    recorded: dict[str, Any],
    folder: Path | None,
    ranges: ValueRanges | None,
) -> tuple[Data | None, list[str]]:
    """The training data, where it is still there, and what to say where it is not, or another."""
    try:
        if folder is None and not recorded.get("path"):
            raise InputError("the run did not record where its data is")
        opened = open_data(place, recipe, ranges=ranges)
    except InputError as error:
        if folder is not None:
            raise
        return None, [
            f"the training data is not there ({error}), so the model does not know how far images "
            "lie from it: --data DATA says where it is"
        ]
    if recorded["data"] != signature.data_signature(opened.parts):
        return opened, [f"{place} is not, or no longer, the data of that run"]
    return opened, []


def _figures(run: Path, step: int) -> dict[str, float]:
    """The validation of that step, if there was one."""
    with suppress(OSError):
        for record in rundir.read_records(run / "metrics.jsonl"):
            if record["step"] == step:
                return dict(record["validation"])
    return {}
