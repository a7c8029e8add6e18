"""A model's figures on each fold of the mosaics: what a recipe should be chosen by.

One part of the Earth is one climate. What is best there need not hold elsewhere, and what was
chosen on it among many is flattered by it. So each fold is held out once, by a model of its own.
"""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.text import escape
from pix2pix_batch.train.evaluate import evaluate
from pix2pix_batch.train.evaluation_recipe import Reading, choose_recipe, read_own_recipe
from pix2pix_batch.train.figures import FIGURES, OVERALL, Evaluation, format_value
from pix2pix_batch.train.mosaic_recipe import Band, subtract_bands

PLACE = "{fold}"
"""What stands for a fold's name in a model's path."""

SHOWN = ("l1", "relative_l1", "sharpness", "grid", "bright")
BEST_IS_ONE = ("sharpness", "bright")
"""Of the figures shown; of the others less is better."""


@dataclass(frozen=True)
class FoldFigures:
    """The figures of all folds.

    Attributes:
        folds: The figures of each fold, by its name.
        held_out: Whether the model of each was trained without the fold; ``None`` if that is not
            known.
    """

    folds: dict[str, Evaluation]
    held_out: dict[str, bool | None]

    def summarise(self) -> dict[str, dict[str, float]]:
        """Over the folds, of each figure shown: ``mean``; ``worst``, the greatest, or of
        sharpness and brightness the one farthest from 1; ``spread``, greatest less least."""
        summary: dict[str, dict[str, float]] = {"mean": {}, "worst": {}, "spread": {}}
        for key in SHOWN:
            values = [fold.overall[key] for fold in self.folds.values()]
            summary["mean"][key] = float(np.mean(values))
            summary["worst"][key] = max(
                values, key=_distance_from_one if key in BEST_IS_ONE else None
            )
            summary["spread"][key] = max(values) - min(values)
        return summary

    def as_dict(self) -> dict[str, Any]:
        summary = {
            word: {key: v if math.isfinite(v) else None for key, v in figures.items()}
            for word, figures in self.summarise().items()
        }
        folds = {
            name: fold.as_dict() | {"held_out": self.held_out[name]}
            for name, fold in self.folds.items()
        }
        return {"folds": folds, **summary}

    def lines(self) -> Iterator[str]:
        first = next(iter(self.folds.values())).facts
        yield (
            f"{first['model']} on {escape(first['data'])}: {len(self.folds)} folds, "
            f"{first['recipe']} recipe, {first['device']} {first['precision']}"
        )
        heads = ["pairs", "held out", *((FIGURES | OVERALL)[key] for key in SHOWN)]
        yield f"{'fold':16}" + "".join(f"{head:>13}" for head in heads)
        words = {True: "yes", False: "no", None: "unknown"}
        for name, fold in self.folds.items():
            cells = [f"{fold.facts['pairs']:,}", words[self.held_out[name]]]
            yield _row(name, cells, fold.overall)
        for word, figures in self.summarise().items():
            yield _row(word, ["", ""], figures)
        if False in self.held_out.values():
            yield "note: a fold that was trained on says little of places that were not"
        for note in dict.fromkeys(note for fold in self.folds.values() for note in fold.notes):
            yield f"note: {note}"


def _row(name: str, cells: list[str], figures: dict[str, float]) -> str:
    return f"{name:16}" + "".join(
        f"{cell:>13}" for cell in [*cells, *(format_value(figures[key]) for key in SHOWN)]
    )


def _distance_from_one(value: float) -> float:
    return abs(math.log(value)) if value > 0 else math.inf


def evaluate_folds(
    model: str, data: Path, reading: Reading, *, device: str, precision: str
) -> FoldFigures:
    """Evaluate a model on each fold of its recipe.

    Args:
        model: The name of a shipped model or the path of a bundle. With ``{fold}`` in it, each fold
            has a model of its own.
        data: As in :func:`pix2pix_batch.train.data.open_data`.
        reading: How the data is read. It must not name another split than ``val``.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        InputError: The recipe has no folds, or the model of a fold is not there.
    """
    if reading.split not in (None, "val"):
        raise InputError(f"--folds: a fold is what is held out, not the split {reading.split!r}")
    evaluations: dict[str, Evaluation] = {}
    held_out: dict[str, bool | None] = {}
    for name, bands in _find_folds(model, data, reading).items():
        fold_model = model.replace(PLACE, name)
        if PLACE in model and not Path(fold_model).is_file():
            raise InputError(
                f"{fold_model}: there is no model of this fold; train it with --set "
                f"mosaic.fold={name}"
            )
        own = replace(reading, overrides=(*reading.overrides, f"mosaic.fold='{name}'"))
        evaluations[name] = evaluate(fold_model, data, own, device=device, precision=precision)[0]
        held_out[name] = _was_held_out(fold_model, bands)
    return FoldFigures(evaluations, held_out)


def _find_folds(model: str, data: Path, reading: Reading) -> dict[str, list[Band]]:
    """The folds of the recipe by which the data is read, of the first of several models."""
    first = model
    if PLACE in model:
        there = sorted(glob.glob(glob.escape(model).replace(PLACE, "*")))
        if not there:
            raise InputError(
                f"{model}: there is no such model of any fold; {PLACE} stands for the fold's name"
            )
        first = there[0]
    info = bundle.read_info(bundle.resolve(first))
    mosaic = choose_recipe(info, data, reading).recipe.mosaic
    if mosaic is None or not mosaic.folds:
        raise InputError(
            f"{first}: the recipe by which the data is read has no folds (mosaic.folds); name "
            "one that has with --recipe"
        )
    return mosaic.folds


def _was_held_out(model: str, bands: list[Band]) -> bool | None:
    """Whether neither the model nor any that its weights come from was trained on the bands;
    ``None`` where that is not known of one of them."""
    info, known = bundle.read_info(bundle.resolve(model)), list[bool | None]()
    for provenance in _list_origins(info.provenance):
        recipe, _ = read_own_recipe(replace(info, provenance=dict(provenance)))
        if recipe is None or recipe.mosaic is None:
            known.append(None)
        else:
            known.append(subtract_bands(bands, recipe.mosaic.trained_bands) == bands)
    return False if False in known else None if None in known else True


def _list_origins(provenance: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The provenances of all models whose training made a model's weights."""
    if between := provenance.get("interpolated"):
        for one in between["of"]:
            yield from _list_origins(one["provenance"])
        return
    yield provenance
    training = provenance.get("training")
    if isinstance(training, dict) and training.get("init"):
        yield from _list_origins(training.get("init_provenance") or {})
