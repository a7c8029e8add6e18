"""What speaks against a raster being what a model takes, though its type and bands fit."""

from __future__ import annotations

import numpy as np

from pix2pix_batch.value_ranges import ValueRange

SURVEYED = 1 << 14
"""Places of a window at which values are looked at."""


class Survey:
    """Counts which values lie beyond the range that a model tells apart, at some thousand places
    of each window: an image that mostly does is on another scale, and becomes one of ends."""

    def __init__(self, side: ValueRange, is_told: bool = True) -> None:
        """``is_told``: whether the range is known yet; else nothing is said."""
        self._side, self._said = side, ""
        self._is_silent = side.is_eight_bit or not is_told
        self._beyond, self._counted = np.zeros(side.channels, np.int64), 0

    def add(self, values: np.ndarray, valid: np.ndarray | None, warnings: list[str]) -> None:
        """Count the values of a window.

        Args:
            values: ``(height, width, C)`` as :meth:`.reading.Raster.read` returns it.
            valid: Where there is data, as that returns it.
            warnings: Gets what is to be said of all windows so far, in place of what was said
                before.
        """
        if self._is_silent:
            return
        step = max(1, round((values.shape[0] * values.shape[1] / SURVEYED) ** 0.5))
        few = values[::step, ::step]
        few = few.reshape(-1, few.shape[2]) if valid is None else few[valid[::step, ::step]]
        for band, band_range in enumerate(self._side.bands):
            beyond = (few[:, band] < band_range.low) | (few[:, band] > band_range.high)
            self._beyond[band] += np.count_nonzero(beyond)
        self._counted += len(few)
        if self._said in warnings:
            warnings.remove(self._said)
        self._said = self._describe()
        if self._said:
            warnings.append(self._said)

    def _describe(self) -> str:
        band = int(np.argmax(self._beyond))
        most, band_range = int(self._beyond[band]), self._side.bands[band]
        if 2 * most <= self._counted:
            return ""
        share = round(100 * most / self._counted)
        name = band_range.name or f"band {band + 1}"
        return (
            f"{share} % of the values of {name} lie beyond {band_range}, which the model tells "
            "apart: is it on another scale?"
        )
