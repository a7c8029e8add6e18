"""``RUN/report.html``: a run on one page, curves and samples, nothing loaded from elsewhere."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pix2pix_batch.errors import InputError
from pix2pix_batch.reporting import template
from pix2pix_batch.text import duration, escape
from pix2pix_batch.train import checkpoint
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.rundir import read_records

SHEETS = 10
"""Sample sheets in a report, evenly spread over the run; the last is always there."""

WIDTH = 1200
"""Pixels a sheet is at most wide, to keep the page small."""

COLUMNS = 4
"""Charts in a row."""

UNDECIDED = {"vanilla": 0.69, "lsgan": 0.25, "hinge": 1.0}
"""What D loses that gives true and made images the same logits, the best ones for both; at each of
its scales."""


@dataclass(frozen=True)
class Trained:
    """What is told of a run besides its recipe and records: where its data is, how many pairs there
    are to train on and to validate with, and how many images make a step."""

    data: Path
    pairs: int
    validation_pairs: int
    step_images: int


def write_report(run: Path, recipe: Recipe, trained: Trained) -> Path:
    """Write the page from ``metrics.jsonl`` and ``samples/``.

    Lines that a crash tore are passed over. Raises :class:`InputError` where the first is gone or
    holds no whole line, :class:`OutputError`.
    """
    metrics = run / "metrics.jsonl"
    if not metrics.exists():
        raise InputError(f"{metrics}: is gone, and the report is made of it; the model is written")
    records = list(read_records(metrics))
    if not records:
        raise InputError(
            f"{metrics}: holds no whole line, and the report is made of it; the model is written"
        )
    images, seconds = measure_time(records, trained.step_images)
    sheets = sorted(path for path in (run / "samples").glob("*.png") if path.stem.isdecimal())
    defaults = {name: field.default for name, field in Recipe.model_fields.items()}
    text = template.render(
        Path(__file__).with_suffix(".html"),
        recipe=recipe,
        facts=list_facts(trained, records),
        last=records[-1],
        rate=images / seconds if seconds else 0.0,
        best=min(records, key=lambda record: record["validation"]["error"]),
        keys=[(k, v, v != defaults.get(k)) for k, v in recipe.as_dict().items() if v or v == 0],
        charts=[
            (
                "Validation",
                curves(records, "validation", records[-1]["validation"]),
                explain_figures(recipe),
            ),
            ("Losses", curves(records, "losses", recipe.losses), explain_losses(recipe)),
        ],
        sheets=[(int(path.stem), _shrink(path)) for path in spread_items(sheets, SHEETS)],
    )
    path = run / "report.html"
    checkpoint.write_whole(path, lambda file: file.write(text.encode()))
    return path


def list_facts(trained: Trained, records: list[dict[str, Any]]) -> dict[str, str]:
    """What the run was trained on, for how long, and where, for people."""
    held_out = f"{trained.validation_pairs:,} for validation"
    if not trained.validation_pairs:
        held_out = "none for validation, whose figures are of training pairs"
    seconds = measure_time(records, trained.step_images)[1]
    facts = {
        "data": escape(trained.data.absolute()),
        "pairs": f"{trained.pairs:,} for training, {held_out}",
        "training took": f"{duration(seconds)}, without validations and pauses",
    }
    # a run may go on elsewhere; those of earlier versions did not record it
    places = [f"{r['device']} ({r['precision']})" for r in records if "device" in r]
    return facts | ({"trained on": ", then ".join(dict.fromkeys(places))} if places else {})


def measure_time(records: list[dict[str, Any]], step_images: int) -> tuple[int, float]:
    """The images that were trained on, of the records that tell how fast, and the seconds that they
    took. ``step_images``: in a step."""
    counted, seconds, before = 0, 0.0, 0
    for record in records:
        images = (record["step"] - before) * step_images
        before = record["step"]
        if record.get("images_per_second"):
            counted, seconds = counted + images, seconds + images / record["images_per_second"]
    return counted, seconds


def explain_figures(recipe: Recipe) -> dict[str, str]:
    """What the figures of a validation mean."""
    scale = "of the range of each band, as 0 to 255" if recipe.takes_rasters else "0 to 255"
    return {
        "error": f"mean absolute difference of outputs and targets, {scale}",
        "sharpness": "mean vertical gradient of outputs over the targets': below 1 they are "
        "blurred; noise or a grid is sharp, too",
    }


def explain_losses(recipe: Recipe) -> dict[str, str]:
    """What the losses of a recipe mean, with their weights."""
    undecided = UNDECIDED.get(recipe.gan_mode, 0) * recipe.scales
    near = f"; near {undecided:g} it cannot, near 0 it has won" if undecided else ""
    squares = f"averages of squares of {recipe.l1_pixels} pixels a side"
    meanings = {
        "d": f"how well the discriminator tells targets from outputs ({recipe.gan_mode}){near}",
        "gan": "the generator's part of that: it falls as outputs are taken for targets, and rises "
        "as the discriminator learns",
        "l1": "mean absolute difference of outputs and targets, levels from -1 to 1"
        + (f", of {squares}" if recipe.l1_pixels > 1 else ""),
        "features": "difference of outputs and targets in the discriminator's layers",
        "texture": "difference of the local contrast of details of about 2, 4 and 8 pixels",
        "grid": "what outputs repeat after 2, 4 and 8 pixels more than targets do",
        "patches": "distance between the distributions of outputs' and targets' small patches",
        "perceptual": "difference of outputs and targets in VGG-19's layers",
    }
    weights = {name: getattr(recipe, f"lambda_{name}", None) for name in recipe.losses}
    return {
        name: meanings[name] + ("" if weight is None else f"; weight {weight:g}")
        for name, weight in weights.items()
    }


def curves(records: list[dict[str, Any]], group: str, wanted: Iterable[str]) -> str:
    """Draw a small chart for each of the ``wanted`` figures of ``group`` that any record has, as
    earlier versions logged fewer, as SVG that suits light and dark pages."""
    import matplotlib
    from matplotlib.figure import Figure

    steps = [record["step"] for record in records]
    names = [name for name in wanted if any(name in record[group] for record in records)]
    grey = "#808890"
    style: dict[Any, str] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "pix2pix-batch",
        "font.family": "sans-serif",
        "text.color": grey,
        "axes.edgecolor": grey,
        "axes.labelcolor": grey,
        "xtick.color": grey,
        "ytick.color": grey,
    }
    with matplotlib.rc_context(style):
        columns = min(len(names), COLUMNS)
        rows = -(-len(names) // COLUMNS)
        figure = Figure(figsize=(3.6 * columns, 2.6 * rows), layout="constrained")
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, columns, place)
            axes.plot(steps, [record[group].get(name) for record in records], "#3b82c4", marker=".")
            axes.set_title(name, fontsize=10)
            axes.set_xlabel("step", fontsize=8)
            axes.tick_params(labelsize=8)
            axes.spines[["top", "right"]].set_visible(False)
            axes.patch.set_alpha(0)
        figure.patch.set_alpha(0)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _shrink(path: Path) -> str:
    """A sheet as a ``data:`` URI."""
    image = Image.open(path).convert("RGB")
    image.thumbnail((WIDTH, 4 * WIDTH))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return template.data_uri("jpeg", buffer.getvalue())


def spread_items(items: list[Path], count: int) -> list[Path]:
    """Choose at most ``count`` of ``items``, evenly spread, the last among them."""
    if len(items) <= count:
        return items
    return [items[round((i + 1) * len(items) / count) - 1] for i in range(count)]
