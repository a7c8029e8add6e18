"""``RUN/report.html``: a run on one page, curves and samples, nothing loaded from elsewhere."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from pix2pix_batch.errors import InputError
from pix2pix_batch.reporting import template
from pix2pix_batch.train import checkpoint
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.rundir import read_records

SHEETS = 10
"""Sample sheets in a report, evenly spread over the run; the last is always there."""

WIDTH = 1200
"""Pixels a sheet is at most wide, to keep the page small."""


COLUMNS = 4
"""Charts in a row."""


def write_report(run: Path, recipe: Recipe) -> Path:
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
    sheets = sorted(path for path in (run / "samples").glob("*.png") if path.stem.isdecimal())
    defaults = {name: field.default for name, field in Recipe.model_fields.items()}
    text = template.render(
        Path(__file__).with_suffix(".html"),
        recipe=recipe,
        records=records,
        last=records[-1],
        best=min(records, key=lambda record: record["validation"]["error"]),
        keys=[(k, v, v != defaults.get(k)) for k, v in recipe.as_dict().items() if v or v == 0],
        charts=[
            ("Validation", curves(records, "validation", records[-1]["validation"])),
            ("Losses", curves(records, "losses", recipe.losses)),
        ],
        sheets=[(int(path.stem), _shrink(path)) for path in spread_items(sheets, SHEETS)],
    )
    path = run / "report.html"
    checkpoint.write_whole(path, lambda file: file.write(text.encode()))
    return path


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
