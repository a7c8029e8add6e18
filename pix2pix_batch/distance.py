"""How far an image lies from a model's training inputs. ``docs/distance.md``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pix2pix_batch import bundle
from pix2pix_batch.bundle import PERCENTILES, Embedding
from pix2pix_batch.errors import BundleError

FOLDS = 5
"""Parts that the training inputs are cut into: each gets its distances from the others."""

FEWEST = 2 * FOLDS
"""With fewer training inputs there is no percentile to speak of."""

LEAST_SHARE = 0.5
"""A tile with a smaller share of the image in it, the rest being padding, tells nothing: from
there on padding alone moves maps that are like the training's beyond the 99th percentile
(``benchmarks/domain.py``)."""

DOUBT = 99.0
"""From here on an image is doubtful: one training input in a hundred lies as far out."""

DIGITS = 2
"""Decimals of a distance: more are noise of the arithmetic."""


def shrink_covariance(covariance: np.ndarray, inputs: int) -> np.ndarray:
    """The covariance, ``(D, D)``, drawn towards a multiple of the identity so that it has an
    inverse: oracle approximating shrinkage, which needs no more than ``covariance`` (unbiased)
    and the number of ``inputs`` (Chen, Wiesel, Eldar and Hero 2010, "Shrinkage Algorithms for
    MMSE Covariance Estimation", equation 23).

    All zero where there is no spread.
    """
    sample = covariance.astype(np.float64) * ((inputs - 1) / inputs)
    width = len(sample)
    trace, square = np.trace(sample), np.sum(sample * sample)
    away = (inputs + 1 - 2 / width) * (square - trace * trace / width)
    weight = min(1.0, ((1 - 2 / width) * square + trace * trace) / away) if away > 0 else 1.0
    return (1 - weight) * sample + weight * (trace / width) * np.eye(width)


class Metric(NamedTuple):
    """A Mahalanobis distance: ``mean`` ``(D,)``; ``whiten`` ``(D, D)`` turns the covariance into
    the identity."""

    mean: np.ndarray
    whiten: np.ndarray

    @classmethod
    def of(cls, mean: np.ndarray, covariance: np.ndarray, inputs: int) -> Metric | None:
        """``None`` where the inputs have no spread beyond what rounding to float32 makes."""
        rounding = float(np.abs(mean).max()) * np.finfo(np.float32).eps
        if inputs < 2 or not np.trace(covariance) > len(mean) * rounding**2:
            return None
        root = np.linalg.cholesky(shrink_covariance(covariance, inputs))
        return cls(mean.astype(np.float64), np.linalg.inv(root))

    def squared_distances(self, embeddings: np.ndarray) -> np.ndarray:
        """Squared distances, ``float64 (N,)``, of ``(N, D)`` embeddings.

        Each on its own and without BLAS, so that neither the batch nor the number of threads
        changes a bit of it.
        """
        away = embeddings.astype(np.float64) - self.mean
        white = [np.einsum("ij,j->i", self.whiten, one) for one in away]
        return np.array([np.einsum("i,i->", one, one) for one in white])


def describe_embeddings(embeddings: np.ndarray) -> Embedding:
    """What a bundle keeps of the training inputs' embeddings, ``float64 (N, D)``.

    The quantiles are of distances from other inputs than those that are measured: the inputs,
    in their order, are cut into :data:`FOLDS` parts, and each part's distances are taken from
    the mean and covariance of the others. Measured against their own covariance, few inputs of
    many features seem closer than any new one could be.
    """
    count, width = embeddings.shape
    mean = embeddings.mean(0)
    covariance = np.cov(embeddings, rowvar=False) if count > 1 else np.zeros((width, width))
    made = mean.astype(np.float32), np.atleast_2d(covariance).astype(np.float32), count
    if count < FEWEST:
        return Embedding(*made)
    distances: list[np.ndarray] = []
    for part in np.array_split(np.arange(count), FOLDS):
        others = np.delete(embeddings, part, axis=0)
        metric = Metric.of(others.mean(0), np.cov(others, rowvar=False), len(others))
        if metric is None:
            return Embedding(*made)
        distances.append(np.sqrt(metric.squared_distances(embeddings[part])))
    quantiles = np.percentile(np.concatenate(distances), PERCENTILES)
    if not 0 < quantiles[-1] < np.finfo(np.float32).max:
        return Embedding(*made)
    return Embedding(*made, quantiles.astype(np.float32))


class Domain:
    """Where a model's training inputs lie, to measure others against."""

    def __init__(self, metric: Metric, quantiles: np.ndarray) -> None:
        self.metric, self.quantiles = metric, quantiles.astype(np.float64)

    @classmethod
    def of(cls, embedding: Embedding | None) -> Domain | None:
        """``None`` where the bundle cannot tell: it has no statistics, or no quantiles."""
        if embedding is None or embedding.quantiles is None:
            return None
        metric = Metric.of(embedding.mean, embedding.covariance, embedding.inputs)
        return None if metric is None else cls(metric, embedding.quantiles)

    @classmethod
    def open(cls, path: Path) -> Domain | None:
        """Of the bundle at ``path``. Raises :class:`BundleError`."""
        try:
            return cls.of(bundle.load_embedding(path))
        except np.linalg.LinAlgError as error:
            raise BundleError(
                f"{path}: its embedding's covariance is none; get it again"
            ) from error

    def squared_distances(self, embeddings: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances, ``float64 (N,)``."""
        return self.metric.squared_distances(embeddings)

    def distance(self, squared_distances: Sequence[float], shares: Sequence[float]) -> float | None:
        """An image's distance, from its tiles' squared ones.

        Up to 100 it is the percentile among the training inputs; beyond, 100 times the ratio to
        the farthest of them. Over tiles it is the root of the mean square, each tile weighing
        what ``shares`` says is image in it and not padding. ``None`` where all are mostly padding.
        """
        told = [(s, w) for s, w in zip(squared_distances, shares, strict=True) if w >= LEAST_SHARE]
        if not told:
            return None
        weight = sum(share for _, share in told)
        return self.to_percentile((sum(square * share for square, share in told) / weight) ** 0.5)

    def to_percentile(self, distance: float) -> float:
        """A Mahalanobis distance as percentile, or beyond 100 as said above."""
        farthest = self.quantiles[-1]
        if distance > farthest:
            return round(float(100 * distance / farthest), DIGITS)
        return round(float(np.interp(distance, self.quantiles, PERCENTILES)), DIGITS)
