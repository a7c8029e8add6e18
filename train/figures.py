"""The figures of a model's outputs: each image's, and those of all together."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from pix2pix_batch.inference.engine import psnr
from pix2pix_batch.reporting.console import format_warnings
from pix2pix_batch.reporting.contact_sheet import to_rgb
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import metrics
from pix2pix_batch.train.jitter import Pixels

FIGURES = {
    "l1": "L1",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "lpips": "LPIPS",
    "sharpness": "sharpness",
    "pixel_accuracy": "pixel accuracy",
}
"""The figures that each image has, and their names for people."""

OVERALL = {
    "relative_l1": "relative L1",
    "grid": "grid",
    "bright": "bright",
    "fid": "FID",
    "class_accuracy": "class accuracy",
    "class_iou": "class IoU",
}
"""The figures that only many images have."""

SMALLER_IS_BETTER = ("l1", "lpips")
LISTED = 3
"""The images of greatest L1 that are named."""


class Sample(NamedTuple):
    """A pair and what the model made of it, ``(H, W, C)``. ``valid``: where rasters have data,
    ``bool (H, W)``."""

    name: str
    source: Pixels
    output: Pixels
    target: Pixels
    valid: Pixels | None = None


class Score(NamedTuple):
    """The figures of an image, and what the overall ones add up: the appearance of output and
    target, the confusion of their classes, and the size."""

    figures: dict[str, float]
    appearance: np.ndarray
    confusion: np.ndarray | None
    least_side: int


def score(sample: Sample, colours: np.ndarray | None = None) -> Score:
    """Measure how close an output is to its target. ``colours``: ``uint8 (K, 3)``, the colours of
    the classes if the targets are label maps."""
    _, _, output, target, _ = sample
    l1 = metrics.mean_absolute_error(output, target)
    appearance = np.array(
        [
            [l1, *_appearance(output)],
            [metrics.mean_colour_error(target), *_appearance(target)],
        ]
    )
    figures = {
        "l1": l1,
        "psnr": psnr(output, target),
        "ssim": metrics.ssim(output, target),
        "sharpness": metrics.ratio(*appearance[:, 1]),
    }
    least_side = min(target.shape[:2])
    if least_side >= metrics.MS_SSIM_SIDE:
        figures["ms_ssim"] = metrics.ms_ssim(output, target)
    confusion = None
    if colours is not None:
        classes, true = (
            metrics.nearest_class(to_rgb(image), colours) for image in (output, target)
        )
        confusion = metrics.confusion(classes, true, len(colours))
        figures["pixel_accuracy"] = float(np.trace(confusion) / confusion.sum())
    return Score(figures, appearance, confusion, least_side)


def _appearance(image: Pixels) -> list[float]:
    """What of an image can be compared without its partner."""
    return [
        metrics.vertical_gradient(image),
        metrics.bright_share(image),
        *metrics.grid_energies(image),
    ]


def compare_appearance(total: np.ndarray) -> dict[str, float]:
    """The overall figures of the sum of :attr:`Score.appearance` over all images.

    ``relative_l1``: L1 over that of each target's own mean colour, which a model cannot know.
    ``sharpness``: mean vertical gradient over the targets'. ``bright``: share of bright pixels
    over the targets'. ``grid``: the greatest of the ratios that
    :func:`metrics.grid_energies` have to the targets'.
    """
    l1, sharpness, bright, *grid = (metrics.ratio(*both) for both in total.T)
    return {"relative_l1": l1, "sharpness": sharpness, "bright": bright, "grid": max(grid)}


# The fields of the evaluation's JSON object.
@dataclass
class Evaluation:
    """The figures of a model on a split. ``images``: each one's, by its name; ``overall``: their
    means, but sharpness, FID and the classes', which are of all images together. The mean PSNR
    is that of the images that are not equal to their targets; ``equal`` is the number of the
    others. ``doubt``: why the data may not be pairs at all, or nothing; ``warnings``: what was
    wrong with files that were read for all that."""

    facts: dict[str, Any]
    doubt: str = ""
    images: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    overall: dict[str, float] = field(default_factory=dict)
    classes: dict[str, dict[str, float]] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)

    names: ClassVar[Mapping[str, str]] = FIGURES
    """The figures that each image has."""
    names_overall: ClassVar[Mapping[str, str]] = OVERALL
    """Those that only many images have."""
    smaller_is_better: ClassVar[tuple[str, ...]] = SMALLER_IS_BETTER
    ranked_by: ClassVar[str] = "l1"

    @property
    def equal(self) -> int:
        """The outputs that equal their targets: their PSNR is infinite."""
        return sum(math.isinf(figures["psnr"]) for _, figures in self.images)

    def add_means(self) -> None:
        """Over the images. What not every image has, none keeps."""
        for key in self.names:
            values = [figures[key] for _, figures in self.images if key in figures]
            if len(values) == len(self.images):
                if key == "psnr" and self.equal < len(values):
                    values = [value for value in values if math.isfinite(value)]
                self.overall[key] = float(np.mean(values))
                continue
            for _, figures in self.images:
                figures.pop(key, None)

    def add_classes(self, names: Sequence[str], confusion: np.ndarray) -> None:
        """Add the figures of label maps. ``confusion``: of all images together, as
        :func:`metrics.confusion` returns it."""
        label_figures = metrics.LabelFigures.of(confusion)
        self.overall |= {
            "pixel_accuracy": label_figures.pixel_accuracy,
            "class_accuracy": label_figures.class_accuracy,
            "class_iou": label_figures.class_iou,
        }
        shares = confusion.sum(axis=1) / confusion.sum()
        for name, *values in zip(
            names, label_figures.accuracies, label_figures.ious, shares, strict=True
        ):
            self.classes[name] = dict(zip(("accuracy", "iou", "share"), values, strict=True))

    def as_dict(self) -> dict[str, Any]:
        return {
            **self.facts,
            "doubt": self.doubt,
            "equal": self.equal,
            "overall": metrics.finite(self.overall),
            "classes": {name: metrics.finite(figures) for name, figures in self.classes.items()},
            "not_computed": self.not_computed,
            "notes": self.notes,
            "warnings": [{"file": file, "warning": said} for file, said in self.warnings.items()],
            "images": [{"name": name, **metrics.finite(figures)} for name, figures in self.images],
        }

    def as_csv(self) -> bytes:
        text = io.StringIO()
        keys = [key for key in self.names if key in self.images[0][1]]
        writer = csv.DictWriter(text, ["name", *keys])
        writer.writeheader()
        for name, figures in self.images:
            writer.writerow({"name": name} | figures)
        return text.getvalue().encode("utf-8", "surrogateescape")

    def rank_images(self) -> list[int]:
        """The images' indices, from the least error to the greatest."""
        return sorted(range(len(self.images)), key=lambda i: self.images[i][1][self.ranked_by])

    def lines(self) -> Iterator[str]:
        f = self.facts
        yield (
            f"{f['model']} on {escape(f['data'])}: {format_count(f['pairs'], 'pair')} "
            f"({f['split']}), {f['direction']}, {f['recipe']} recipe, {f['device']} "
            f"{f['precision']}"
        )
        if self.doubt:
            yield f"doubt: the figures may mean nothing: {self.doubt}"
        yield f"{'':16}{'overall':>9}{'best':>9}{'median':>9}{'worst':>9}"
        for key, name in {**self.names, **self.names_overall}.items():
            if key in self.overall:
                yield f"{name:16}" + "".join(f"{format_value(v):>9}" for v in self._row(key))
        if self.equal:
            yield self._describe_equality()
        ranked = [escape(self.images[i][0]) for i in self.rank_images()]
        error = self.names[self.ranked_by]
        yield f"least {error}: {ranked[0]}; greatest: {', '.join(ranked[: -LISTED - 1 : -1])}"
        if self.classes:
            yield f"{'class':16}{'accuracy':>9}{'IoU':>9}{'pixels':>9}"
        for name, figures in self.classes.items():
            cells = [format_value(figures[key]) for key in ("accuracy", "iou")]
            yield f"{name:16}{cells[0]:>9}{cells[1]:>9}{figures['share']:>9.1%}"
        yield from self._more_lines()
        for key, why in self.not_computed.items():
            yield f"{_name(key)}: not computed: {why}"
        for note in self.notes:
            yield f"note: {note}"
        yield from format_warnings(
            sorted(self.warnings.items()), len(self.warnings), "; --json has them all"
        )

    def _more_lines(self) -> Iterator[str]:
        """What a kind of its own has to say besides."""
        return iter(())

    def _describe_equality(self) -> str:
        if self.equal == len(self.images):
            return "PSNR: infinite, for every output equals its target"
        rest = format_count(len(self.images) - self.equal, "pair")
        outputs = (
            "output that equals its target" if self.equal == 1 else "outputs that equal theirs"
        )
        return f"PSNR: overall the mean of {rest}, without {self.equal:,} {outputs}"

    def _row(self, key: str) -> list[float]:
        """Overall, and for figures that images have: the best, the median and the worst."""
        row = [self.overall[key]]
        if key in self.names:
            values = sorted((figures[key] for _, figures in self.images))
            if key == "sharpness":
                values.sort(key=lambda value: abs(math.log(value)) if value > 0 else math.inf)
            elif key not in self.smaller_is_better:
                values.reverse()
            row += [values[0], values[len(values) // 2], values[-1]]
        return row


def _name(key: str) -> str:
    return (FIGURES | OVERALL)[key]


def format_value(value: float) -> str:
    """Four significant digits, as far as there are decimals."""
    if not math.isfinite(value):
        return "-" if math.isnan(value) else "inf"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"
