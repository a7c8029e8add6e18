"""How good a model is: its outputs on pairs it was not trained on, made as ``convert`` makes them.

:mod:`pix2pix_batch.train.figures` has the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import ConcatDataset
from tqdm import tqdm

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.composite import show
from pix2pix_batch.inference.engine import Engine
from pix2pix_batch.reporting import contact_sheet
from pix2pix_batch.reporting.scale_bar import list_scales
from pix2pix_batch.train import metrics, pair_files, pairs, threads
from pix2pix_batch.train.data import Split, open_data
from pix2pix_batch.train.evaluation_recipe import Choice, Reading, choose_recipe, choose_split
from pix2pix_batch.train.figures import Evaluation, Sample, compare_appearance, score
from pix2pix_batch.train.file_data import FileSplit
from pix2pix_batch.train.jitter import Jitter, Pixels
from pix2pix_batch.train.pair_doubts import find_doubts
from pix2pix_batch.train.pair_files import Reader
from pix2pix_batch.train.perceptual import Perceptual
from pix2pix_batch.train.raster_data import RasterSplit
from pix2pix_batch.train.raster_figures import BandSums, RasterEvaluation, measure
from pix2pix_batch.train.raster_files import RasterReader
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.survey import hold_out
from pix2pix_batch.train.translation import open_engine, translate
from pix2pix_batch.value_ranges import ValueRange, ValueRanges

Colour = tuple[int, int, int]
Measured = TypeVar("Measured")


def open_split(
    data: Path, recipe: Recipe, split: str, reader: Reader
) -> tuple[Split, str, Counter[str]]:
    """Open the pairs of a split, without jitter.

    With ``fit: resize`` both images are scaled to the model's size, as in the paper. With ``fit:
    tile`` they keep their own size, and mosaics give crops of the model's size.

    Args:
        data: As in :func:`pix2pix_batch.train.data.open_data`.
        recipe: The recipe that says how they are read.
        split: ``train``, ``val``, ``test`` or ``all``.
        reader: Reads the files.

    Returns:
        The pairs; what may be wrong with them in a sentence, empty if nothing is; and how many
        pairs of files there are of each split.

    Raises:
        InputError: There is no such split, or the pairs do not fit the recipe.
    """
    if recipe.mosaic is not None:
        if split == "test":
            raise InputError(f"{data}: mosaics have no test split; use --split val")
        opened = open_data(data, recipe, reader.tolerance)
        reader.warnings |= opened.reader.warnings
        joined: Split = ConcatDataset([opened.train, opened.val])  # type: ignore[list-item]
        return {"train": opened.train, "val": opened.val, "all": joined}[split], "", Counter()
    held_out = recipe.val_fraction if split in ("train", "val") else 0
    rasters = recipe.takes_rasters
    surveyed = pairs.find(data, val_fraction=0, rasters=rasters)
    if held_out and len(surveyed.split("train")) > 1:
        hold_out(surveyed, held_out)
    listed = surveyed.pairs if split == "all" else surveyed.split(split)
    if not listed:
        there = ", ".join(f"{name}: {count:,}" for name, count in surveyed.counts().items())
        raise InputError(f"{data}: the split {split!r} is empty ({there}); choose another --split")
    pairs.require_sound(data, pair_files.check_headers(listed, reader=reader))
    split_type = RasterSplit if rasters else FileSplit
    files = split_type(listed, recipe, Jitter.of(recipe), reader)
    doubt = "; ".join(find_doubts(surveyed.layout, listed, recipe.side_channels, reader))
    return files if recipe.fit == "resize" else Whole(files), doubt, surveyed.counts()


class Whole:
    """Pairs at their own size."""

    def __init__(self, files: FileSplit) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.files.listed[index].name, *self.files.read(index)


def evaluate(
    model: str,
    data: Path,
    reading: Reading | None = None,
    *,
    device: str = "auto",
    precision: str = "auto",
    picture: bool = False,
) -> tuple[Evaluation, bytes]:
    """Run a model on a split of the data and measure how close its images are to the targets.

    Args:
        model: The name of a shipped model, or the path of a bundle.
        data: As in :func:`pix2pix_batch.train.data.open_data`.
        reading: The split, and how the data is read; ``None`` for the usual.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        picture: Whether to draw the best, median and worst images.

    Returns:
        The figures, and a PNG, which is empty without ``picture``.

    Raises:
        InputError: The model, data or options cannot be used.
        ImageError: A pair cannot be read: figures of some of the pairs would mislead.
    """
    reading = reading or Reading()
    path = bundle.resolve(model)
    info = bundle.read_info(path)
    choice = choose_recipe(info, data, reading)
    chosen = choice.recipe
    classes = _palette(chosen, reading.palette)
    split, split_note = choose_split(reading.split, data, choice)
    reader = _open_reader(info, chosen, reading)
    listed, doubt, counts = open_split(data, chosen, split, reader)
    division_note = _describe_division(info, counts) if split == "val" else ""
    engine, engine_note = open_engine(path, listed, device, precision)
    facts = {
        "model": info.name,
        "sha256": bundle.fingerprint(path),
        "data": str(data),
        "split": split,
        "pairs": len(listed),
        **_describe_run(choice, engine),
    }
    notes = [text for text in (choice.note, split_note, division_note, engine_note) if text]
    kind = RasterEvaluation if chosen.takes_rasters else Evaluation
    result = kind(facts, doubt=doubt, notes=notes)
    _measure_all(result, engine, listed, info, classes)
    result.warnings = reader.warnings
    return result, _picture(result, engine, listed, info, chosen) if picture else b""


def _describe_division(info: BundleInfo, counts: Counter[str]) -> str:
    """That as many pairs as the model had are divided otherwise here; nothing if they are not."""
    facts = info.provenance.get("data")
    facts = facts if isinstance(facts, dict) else {}
    trained, validated = facts.get("training_pairs"), facts.get("validation_pairs")
    if not isinstance(trained, int) or not isinstance(validated, int):
        return ""
    here = counts["train"], counts["val"]
    if here == (trained, validated) or sum(here) != trained + validated:
        return ""
    return (
        f"{info.name} was trained on {trained:,} pairs and validated on {validated:,}; here as "
        f"many are divided into {here[0]:,} and {here[1]:,}: if they are the same, the split 'val' "
        "holds pairs that it was trained on"
    )


def _describe_run(choice: Choice, engine: Engine) -> dict[str, Any]:
    """How the pairs were read and translated, for the facts of an evaluation."""
    return {
        "recipe": choice.called,
        "direction": choice.recipe.direction,
        "size": choice.recipe.size,
        "fit": choice.recipe.fit,
        "device": engine.device,
        "precision": engine.precision,
    }


def _open_reader(info: BundleInfo, recipe: Recipe, reading: Reading) -> Reader:
    """Make the reader of the pairs, for rasters as the model means them. Raises :class:`InputError`
    if the recipe means others."""
    if not recipe.takes_rasters:
        for word, side in info.ranges._asdict().items():
            if not side.is_picture:
                raise InputError(
                    f"{info.name}: its {word}s are rasters, and the recipe takes pictures; say "
                    f"what they are with --set {word}_range.type={side.dtype} and so on"
                )
        return Reader(reading.tolerance)
    for word, mine, its in zip(ValueRanges._fields, recipe.bare_ranges, info.ranges, strict=True):
        if mine.dtype != its.dtype:
            raise InputError(
                f"{info.name}: its {word}s are of {its.dtype}, the recipe's of {mine.dtype}"
            )
    reader = RasterReader(recipe, reading.tolerance)
    reader.set_ranges(info.ranges)
    return reader


def _measure_each(
    engine: Engine, listed: Split, measure: Callable[[Sample], Measured]
) -> Iterator[tuple[Sample, Measured]]:
    """The pairs with the engine's outputs, in order, and what is measured of each, in threads."""
    samples = translate(engine, threads.map_ahead(listed.__getitem__, range(len(listed))))
    shown = tqdm(samples, total=len(listed), unit="image", disable=None)
    return threads.map_ahead(lambda sample: (sample, measure(sample)), shown)


def _measure_all(
    result: Evaluation, engine: Engine, listed: Split, info: BundleInfo, classes: dict[str, Colour]
) -> None:
    if isinstance(result, RasterEvaluation):
        _measure_rasters(result, engine, listed, info.ranges.output)
    else:
        _score_all(result, engine, listed, classes)


def _measure_rasters(
    result: RasterEvaluation, engine: Engine, listed: Split, side: ValueRange
) -> None:
    total: BandSums | None = None
    for sample, sums in _measure_each(engine, listed, partial(measure, side=side)):
        total = sums if total is None else total.plus(sums)
        result.images.append((sample.name, sums.figures()))
    assert total is not None
    result.finish(total, side)


def _palette(recipe: Recipe, wanted: bool | None) -> dict[str, Colour]:
    if wanted is False or (wanted is None and recipe.direction == "BtoA"):
        return {}
    if wanted and not recipe.palette:
        raise InputError(f"--palette: the recipe {recipe.name!r} has no palette; add one to it")
    return recipe.palette or {}


def _score_all(
    result: Evaluation, engine: Engine, listed: Split, classes: dict[str, Colour]
) -> None:
    colours = np.array(list(classes.values()), np.uint8) if classes else None
    perceptual = Perceptual(engine.device)
    appearance: np.ndarray | float = 0.0
    confusion = np.zeros((len(classes),) * 2, np.int64)
    least_side = metrics.MS_SSIM_SIDE
    for sample, figures in _measure_each(engine, listed, partial(score, colours=colours)):
        appearance = appearance + figures.appearance
        least_side = min(least_side, figures.least_side)
        if figures.confusion is not None:
            confusion += figures.confusion
        perceptual_figures = perceptual.add(sample.output, sample.target)
        result.images.append((sample.name, figures.figures | perceptual_figures))
    result.add_means()
    assert isinstance(appearance, np.ndarray)
    result.overall |= compare_appearance(appearance) | perceptual.overall()
    result.not_computed |= perceptual.not_computed
    if (side := metrics.MS_SSIM_SIDE) > least_side:
        result.not_computed["ms_ssim"] = f"it needs {side}x{side} pixels; there are {least_side}"
    if classes:
        result.add_classes(list(classes), confusion)


def _picture(
    result: Evaluation, engine: Engine, listed: Split, info: BundleInfo, recipe: Recipe
) -> bytes:
    """The pairs of least, middle and greatest L1, made again: nothing else was kept of them."""
    ranked = result.rank_images()
    chosen = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
    rows: list[contact_sheet.Row] = []
    samples = translate(engine, (listed[index] for index in chosen.values()))
    for (word, index), sample in zip(chosen.items(), samples, strict=True):
        name, figures = result.images[index]
        error = f"{result.names[result.ranked_by]} {figures[result.ranked_by]:.4g}"
        if not recipe.takes_rasters:
            error = f"L1 {figures['l1']:.2f}"
        title = f"{word}: {name}, {error}"
        shown = _list_pictures(sample, info, recipe)
        rows.append((f"{title} (are these pairs?)" if result.doubt else title, shown))
    scales = list_scales(info.ranges, recipe.shown_bands) if recipe.takes_rasters else ()
    return contact_sheet.render_png(rows, ["input", "output", "target"], scales=scales)


def _list_pictures(sample: Sample, info: BundleInfo, recipe: Recipe) -> list[Pixels]:
    images = [sample.source, sample.output, sample.target]
    if not recipe.takes_rasters:
        return images
    first, second = recipe.shown_bands
    source_range, other = info.ranges
    return [
        show(images[0], source_range, first),
        *(show(image, other, second, sample.valid) for image in images[1:]),
    ]
