"""How the samples of many rasters lie, band by band, in memory that does not grow with them.

Every type has at most 32 bits, whose order is that of the values once floats' are turned
(:func:`to_keys`). Histograms count the upper 16: of types of 16 bits and less these are all. Of
floats a second pass counts the lower 16 of those values alone that share the upper ones of a
percentile, so that percentiles are exact all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from pix2pix_batch.value_ranges import BandRange, ValueRange

BINS = 1 << 16


def to_keys(values: np.ndarray) -> np.ndarray:
    """Turn values of ``uint8``, ``uint16``, ``int16`` or finite ``float32`` into ``uint32`` keys in
    the same order."""
    if values.dtype.kind == "f":
        bits = (values.astype("<f4") + np.float32(0)).view("<u4")  # -0 is 0
        return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)).astype(np.uint32)
    least = np.iinfo(values.dtype).min
    return (values.astype(np.int32) - least).astype(np.uint32) << np.uint32(16)


def to_value(key: int, dtype: str) -> float:
    """The value that has the key."""
    if dtype != "float32":
        return float((key >> 16) + np.iinfo(dtype).min)
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.array(bits, "<u4").view("<f4"))


class BandStatistics:
    """The distribution of a band's values. ``count``: samples with data; ``absent``: those without;
    ``least`` and ``most`` are exact."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.counts = np.zeros(BINS, np.int64)
        self.count = self.absent = 0
        self.keys = (0xFFFFFFFF, 0)

    def add(self, values: np.ndarray, absent: int = 0) -> None:
        """Count values with data, ``(n,)`` of the band's type."""
        self.absent += absent
        if not values.size:
            return
        keys = to_keys(values)
        self.keys = min(self.keys[0], int(keys.min())), max(self.keys[1], int(keys.max()))
        self.counts += np.bincount(keys >> np.uint32(16), minlength=BINS)
        self.count += values.size

    def merge(self, other: BandStatistics) -> None:
        """Add what others of the same type were counted by."""
        self.absent += other.absent
        self.count += other.count
        self.keys = min(self.keys[0], other.keys[0]), max(self.keys[1], other.keys[1])
        self.counts += other.counts

    @property
    def least(self) -> float:
        return to_value(self.keys[0], self.dtype)

    @property
    def most(self) -> float:
        return to_value(self.keys[1], self.dtype)

    @property
    def absent_share(self) -> float:
        return self.absent / max(1, self.absent + self.count)

    def find_bin(self, percent: float) -> tuple[int, int]:
        """The upper 16 bits of the percentile's key, and how many samples of the same are not
        above it: the smallest value that at least ``percent`` of a hundred samples do not exceed
        (NumPy's ``inverted_cdf``)."""
        rank = max(1, math.ceil(percent / 100 * self.count))
        reached = np.cumsum(self.counts)
        place = int(np.searchsorted(reached, rank))
        return place, rank - (int(reached[place - 1]) if place else 0)

    def estimate(self, percent: float) -> float:
        """The percentile; of floats to within 1 in 128, by one pass alone."""
        if not self.count:
            return math.nan
        place, rank = self.find_bin(percent)
        key = place << 16
        if self.dtype == "float32":
            key += min(0xFFFF, (rank << 16) // int(self.counts[place]))
        return to_value(min(max(key, self.keys[0]), self.keys[1]), self.dtype)


Samples = Callable[[], Iterable[Sequence[np.ndarray]]]
"""From the first at each call: of each raster its bands' samples with data, ``(n,)`` each."""


def measure_percentiles(
    samples: Samples, dtype: str, wanted: Sequence[tuple[float, float] | None]
) -> list[tuple[float, float] | None]:
    """Measure percentiles exactly.

    Args:
        samples: Yields, from the first at each call, the samples of each raster, band by band.
        dtype: The type of the values.
        wanted: Of each band the two percentiles, 0 to 100, or ``None``.

    Returns:
        Of each band its two values; ``None`` if none were wanted, or the band has no sample.
    """
    first = [BandStatistics(dtype) for _ in wanted]
    for raster in samples():
        for statistics, values, percents in zip(first, raster, wanted, strict=True):
            if percents is not None:
                statistics.add(values)
    bins = [
        []
        if percents is None or not statistics.count
        else [statistics.find_bin(p) for p in percents]
        for statistics, percents in zip(first, wanted, strict=True)
    ]
    if dtype != "float32":
        keys = [[place << 16 for place, _ in band_keys] for band_keys in bins]
    else:
        keys = _refine(samples, bins)
    return [
        None if not band_keys else (to_value(band_keys[0], dtype), to_value(band_keys[1], dtype))
        for band_keys in keys
    ]


def _refine(samples: Samples, bins: Sequence[Sequence[tuple[int, int]]]) -> list[list[int]]:
    """The whole keys: of each band's bins, the lower 16 bits."""
    counts = {
        (band, place): np.zeros(BINS, np.int64)
        for band, band_bins in enumerate(bins) for place, _ in band_bins
    }  # fmt: skip
    for raster in samples():
        for (band, place), own in counts.items():
            keys = to_keys(raster[band])
            lower = keys[keys >> np.uint32(16) == place] & np.uint32(0xFFFF)
            own += np.bincount(lower, minlength=BINS)
    return [
        [
            (place << 16) + int(np.searchsorted(np.cumsum(counts[band, place]), rank))
            for place, rank in band_bins
        ]
        for band, band_bins in enumerate(bins)
    ]


def list_samples(
    pixels: np.ndarray, there: np.ndarray | None, side: ValueRange
) -> list[np.ndarray]:
    """List what the range of each band is measured on.

    Args:
        pixels: ``(H, W, C)``.
        there: ``bool (H, W, C)``, where there is data; ``None`` for everywhere.
        side: Says which bands are logarithmic; of these, values above 0 count alone.

    Returns:
        The samples of each band.
    """
    samples = []
    for index, band in enumerate(side.bands):
        values = pixels[:, :, index]
        values = values.reshape(-1) if there is None else values[there[:, :, index]]
        samples.append(values[values > 0] if band.scale == "log" else values)
    return samples


def require_span(low: float, high: float, band: BandRange, number: int) -> None:
    """Refuse percentiles that make no range.

    Args:
        low: The value of level -1.
        high: The value of level 1.
        band: The band, for the message.
        number: Its number, for the message.

    Raises:
        ValueError: They make no range.
    """
    if low >= high:
        raise ValueError(
            f"band {number}{f' ({band.name})' if band.name else ''}: its percentiles are both "
            f"{low:g}: it is all but constant; give low and high, or leave the band out"
        )
