"""The figures of a model of rasters, in the units of its output, band by band, where there is
data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.train.figures import Evaluation, Sample, format_value
from pix2pix_batch.train.metrics import map_similarity
from pix2pix_batch.value_ranges import ValueRange

FIGURES = {
    "mae": "MAE", "rmse": "RMSE", "psnr": "PSNR", "ssim": "SSIM",
    "spectral_angle": "spectral angle",
}  # fmt: skip


@dataclass(frozen=True)
class BandSums:
    """Of the pixels with data: how many, and of each band, ``float64 (C,)``, the sums of the
    absolute and of the squared differences, in the output's units and, squared, in shares of its
    range; ``ssim``: the sum of the structural similarities; ``angles``: of the spectral ones."""

    count: int
    absolute: np.ndarray
    squared: np.ndarray
    shares: np.ndarray
    ssim: np.ndarray
    angles: float

    def plus(self, other: BandSums) -> BandSums:
        return BandSums(
            self.count + other.count,
            self.absolute + other.absolute,
            self.squared + other.squared,
            self.shares + other.shares,
            self.ssim + other.ssim,
            self.angles + other.angles,
        )

    def figures(self) -> dict[str, float]:
        """Over all bands."""
        figures = {
            "mae": float(self.absolute.mean() / self.count),
            "rmse": math.sqrt(self.squared.mean() / self.count),
            "psnr": to_decibels(float(self.shares.mean() / self.count)),
            "ssim": float(self.ssim.mean() / self.count),
        }
        if len(self.absolute) > 1:
            figures["spectral_angle"] = self.angles / self.count
        return figures

    def by_band(self) -> list[dict[str, float]]:
        """Each band's."""
        return [
            {
                "mae": float(self.absolute[k] / self.count),
                "rmse": math.sqrt(self.squared[k] / self.count),
                "psnr": to_decibels(float(self.shares[k] / self.count)),
                "ssim": float(self.ssim[k] / self.count),
            }
            for k in range(len(self.absolute))
        ]


def to_decibels(share: float) -> float:
    """The PSNR of a mean squared difference in shares of the range."""
    return math.inf if share == 0 else -10 * math.log10(share)


def measure(sample: Sample, side: ValueRange) -> BandSums:
    """Measure how close an output is to its target. ``side``: what the samples mean. Raises
    :class:`ImageError` if no pixel has data.

    PSNR and SSIM are computed on the levels of the range, 0 to 1, which are logarithmic for
    logarithmic bands; values beyond the range count as its ends. MAE, RMSE and the spectral angle
    are computed on the values themselves.
    """
    output, target = (image.astype(np.float64) for image in (sample.output, sample.target))
    there = np.ones(target.shape[:2], bool) if sample.valid is None else sample.valid
    if not there.any():
        raise ImageError(f"{sample.name}: no pixel of it has data in the input and in the target")
    difference = (output - target)[there]
    translated, true = ((side.to_levels(image) + 1) / 2 for image in (sample.output, sample.target))
    translated, true = (np.where(there[:, :, None], levels, 0.5) for levels in (translated, true))
    return BandSums(
        int(there.sum()),
        np.abs(difference).sum(axis=0),
        np.square(difference).sum(axis=0),
        np.square(translated - true)[there].sum(axis=0),
        map_similarity(translated, true)[there].sum(axis=0, dtype=np.float64),
        float(spectral_angles(output[there], target[there]).sum()),
    )


def spectral_angles(output: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The angles between spectra, ``(n, C)``, as vectors, in degrees, ``float64 (n,)`` (Kruse et
    al. 1993); 0 if both are zero, 90 if one is."""
    lengths = np.linalg.norm(output, axis=1) * np.linalg.norm(target, axis=1)
    products = (output * target).sum(axis=1)
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    both = (np.abs(output).sum(axis=1) == 0) & (np.abs(target).sum(axis=1) == 0)
    return np.where(both, 0.0, np.degrees(np.arccos(np.clip(cosines, -1, 1))))


@dataclass
class RasterEvaluation(Evaluation):
    """The figures of a model of rasters. ``bands``: those of each band over all pixels with data,
    by its name or number."""

    bands: dict[str, dict[str, float]] = field(default_factory=dict)

    names: ClassVar[Mapping[str, str]] = FIGURES
    names_overall: ClassVar[Mapping[str, str]] = {}
    smaller_is_better: ClassVar[tuple[str, ...]] = ("mae", "rmse", "spectral_angle")
    ranked_by: ClassVar[str] = "mae"

    def finish(self, total: BandSums, side: ValueRange) -> None:
        """The overall figures: those of all pixels of all images together."""
        self.overall |= total.figures()
        for number, (band, figures) in enumerate(zip(side.bands, total.by_band(), strict=True), 1):
            self.bands[band.name or f"band {number}"] = figures

    def as_dict(self) -> dict[str, Any]:
        bands = {
            name: {key: value if math.isfinite(value) else None for key, value in sums.items()}
            for name, sums in self.bands.items()
        }
        return {**super().as_dict(), "bands": bands}

    def _more_lines(self) -> Iterator[str]:
        if len(self.bands) < 2:
            return
        yield f"{'band':16}{'MAE':>9}{'RMSE':>9}{'PSNR':>9}{'SSIM':>9}"
        for name, sums in self.bands.items():
            cells = "".join(f"{format_value(value):>9}" for value in sums.values())
            yield f"{name[:16]:16}{cells}"
