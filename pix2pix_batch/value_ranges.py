"""What the numbers in images' samples mean to a generator, band by band. Needs no torch.

A generator works with levels from -1 to 1. A bundle says of its inputs and of its outputs which
type their samples have, which value of each band is -1 and which is 1, and whether what lies
between is linear or logarithmic. A bundle that says nothing has images of 8 bits, 0 to 255.
``docs/rasters.md`` has it for users.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pix2pix_batch.text import format_count

if TYPE_CHECKING:
    import numpy as np

LIMITS: Mapping[str, tuple[float, float]] = {
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
    "float32": (-3.4028234663852886e38, 3.4028234663852886e38),
}
"""The types that samples may have, by NumPy's names: the least and the largest value of each."""

SCALES = ("linear", "log")

ALL = "all"
"""Stands for every band where one is asked for by number or name."""


@dataclass(frozen=True)
class BandRange:
    """``low`` and ``high``: the values that are -1 and 1; values beyond them count as these.

    ``scale``: ``log`` where the logarithm of a value is what is linear between them, as for the
    intensities of radar: ``low``, above 0, is then the floor under which nothing is told apart.
    ``name``: of the band. ``percentiles``: of the training data, where ``low`` and ``high`` were
    measured there.
    """

    low: float = 0.0
    high: float = 255.0
    scale: str = "linear"
    name: str = ""
    percentiles: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        """Raises ``ValueError``."""
        for name in ("low", "high"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not math.isfinite(value):
                raise ValueError(f"{name} must be a number, not {value!r}")
        if self.low >= self.high:
            raise ValueError(f"low must be below high: {self.low:g} is not below {self.high:g}")
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}, not {self.scale!r}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"low of a logarithmic band must be above 0, not {self.low:g}")
        if not isinstance(self.name, str):
            raise ValueError(f"name must be text, not {self.name!r}")
        if self.percentiles is not None:
            few, many = self.percentiles
            if not 0 <= few < many <= 100:
                raise ValueError("percentiles must be two of 0 to 100, the lower first")

    @property
    def middle(self) -> float:
        """The value whose level is 0."""
        if self.scale == "log":
            return math.sqrt(self.low) * math.sqrt(self.high)
        return self.low + (self.high - self.low) / 2

    def __str__(self) -> str:
        kind = " logarithmic" if self.scale == "log" else ""
        measured = ""
        if self.percentiles is not None:
            measured = " (percentiles {:g} to {:g})".format(*self.percentiles)
        return f"{self.low:.10g} to {self.high:.10g}{kind}{measured}"


@dataclass(frozen=True)
class ValueRange:
    """One side's samples, all of the type ``dtype``, a key of :data:`LIMITS`.

    ``nodata``: the value that stands for none; of ``float32`` NaN always does.
    """

    dtype: str
    bands: tuple[BandRange, ...]
    nodata: float | None = None

    def __post_init__(self) -> None:
        """Raises ``ValueError``."""
        if self.dtype not in LIMITS:
            raise ValueError(f"dtype must be one of {', '.join(LIMITS)}, not {self.dtype!r}")
        if not self.bands:
            raise ValueError("there must be a band")
        least, largest = LIMITS[self.dtype]
        for number, band in enumerate(self.bands, 1):
            if band.low < least or band.high > largest:
                raise ValueError(f"band {number}: {band} is beyond {self.dtype}")
            if self.is_whole and math.ceil(band.low) > math.floor(band.high):
                raise ValueError(f"band {number}: {band} holds no value of {self.dtype}")
        names = [band.name for band in self.bands if band.name]
        if len(set(names)) < len(names):
            raise ValueError(f"two bands have the same name: {', '.join(names)}")
        if self.nodata is not None:
            self._require_value(self.nodata)

    def _require_value(self, nodata: float) -> None:
        least, largest = LIMITS[self.dtype]
        if type(nodata) not in (int, float) or not least <= nodata <= largest:
            raise ValueError(f"nodata must be a number of {self.dtype}, not {nodata!r}")
        if self.is_whole and nodata != math.floor(nodata):
            raise ValueError(f"nodata must be a whole number of {self.dtype}, not {nodata!r}")

    @property
    def channels(self) -> int:
        return len(self.bands)

    @property
    def is_whole(self) -> bool:
        """Whether samples are whole numbers."""
        return self.dtype != "float32"

    @cached_property  # asked for of each image
    def is_eight_bit(self) -> bool:
        """Whether samples are those of usual images: whole numbers from 0, -1, to 255, 1."""
        plain = all((b.low, b.high, b.scale) == (0, 255, "linear") for b in self.bands)
        return self.dtype == "uint8" and plain

    @property
    def is_picture(self) -> bool:
        """Whether files for pictures hold such samples: 8 bits, grey, RGB or RGBA."""
        return self.is_eight_bit and self.channels in (1, 3, 4) and self.nodata is None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the bands, empty where one has none."""
        return tuple(band.name for band in self.bands)

    @property
    def fills(self) -> tuple[float, ...]:
        """Of each band the value, of the type, that is given where there is none: that which is
        nearest to level 0, as a network's own padding is."""
        if not self.is_whole:
            return tuple(band.middle for band in self.bands)
        return tuple(float(round(band.middle)) for band in self.bands)

    def limits_of(self, band: BandRange) -> tuple[float, float]:
        """The least and the largest value, of the type, that an output's band gets."""
        if not self.is_whole:
            return band.low, band.high
        return float(math.ceil(band.low)), float(math.floor(band.high))

    def to_levels(self, values: np.ndarray) -> np.ndarray:
        """``(..., C)`` of the type to ``float64 (..., C)`` in [-1, 1]: the definition, which
        engines compute in float32."""
        import numpy as np

        made = np.empty(values.shape, np.float64)
        for index, band in enumerate(self.bands):
            x = np.clip(values[..., index].astype(np.float64), band.low, band.high)
            low, high = band.low, band.high
            if band.scale == "log":
                x, low, high = np.log(x), math.log(low), math.log(high)
            made[..., index] = (x - low) * (2 / (high - low)) - 1
        return made

    def to_values(self, levels: np.ndarray) -> np.ndarray:
        """``(..., C)`` in [-1, 1] to the type: the definition, as :meth:`to_levels`."""
        import numpy as np

        made = np.empty(levels.shape, self.dtype)
        for index, band in enumerate(self.bands):
            share = (levels[..., index].astype(np.float64) + 1) / 2
            if band.scale == "log":
                x = np.exp(math.log(band.low) + share * math.log(band.high / band.low))
            else:
                x = band.low + share * (band.high - band.low)
            made[..., index] = np.clip(np.rint(x) if self.is_whole else x, *self.limits_of(band))
        return made

    def find_band(self, word: str) -> int:
        """The index of the band of that number, counted from 1, or name. Raises
        ``ValueError``."""
        index = find_name(word, self.names)
        if is_band_number(word, self.channels):
            if index not in (None, int(word) - 1):
                raise ValueError(
                    f"band {word} is not the one that is called {word}: give bands other names"
                )
            return int(word) - 1
        if index is not None:
            return index
        named = ", ".join(filter(None, self.names))
        raise ValueError(
            f"there is no band {word!r}: it has {format_count(self.channels, 'band')}"
            + (f" ({named})" if named else "")
        )

    def as_dict(self) -> dict[str, Any]:
        """What a bundle's metadata holds."""
        return {**asdict(self), "bands": [asdict(band) for band in self.bands]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ValueRange:
        """Raises ``ValueError``, ``KeyError`` or ``TypeError``."""
        bands = []
        for found in values["bands"]:
            fields = dict(found)
            if fields.get("percentiles") is not None:
                fields["percentiles"] = tuple(fields["percentiles"])
            bands.append(BandRange(**fields))
        return cls(**{**values, "bands": tuple(bands)})

    def describe(self) -> dict[str, Any]:
        """For people: a line a band, or one for all where all are alike."""
        told: dict[str, Any] = {"type": self.dtype}
        if self.nodata is not None:
            told["no data"] = f"{self.nodata:.10g}"
        if len({(b.low, b.high, b.scale, b.percentiles) for b in self.bands}) == 1:
            told["bands"] = str(self.channels)
            if any(self.names):
                told["bands"] += f": {', '.join(name or '?' for name in self.names)}"
            told["values"] = str(self.bands[0])
            return told
        for number, band in enumerate(self.bands, 1):
            told[f"band {number}"] = f"{band.name}: {band}" if band.name else str(band)
        return told


def is_band_number(word: str, count: int) -> bool:
    """Whether a word is the number, from 1, of one of ``count`` bands."""
    return word.isascii() and word.isdigit() and 1 <= int(word) <= count


def find_name(word: str, names: Sequence[str]) -> int | None:
    """The index of the band that is called ``word``, in whatever letter case where that is one
    alone; ``None`` without."""
    if not word:
        return None
    if word in names:
        return list(names).index(word)
    alike = [k for k, name in enumerate(names) if name.casefold() == word.casefold()]
    return alike[0] if len(alike) == 1 else None


class ValueRanges(NamedTuple):
    """Those of a generator's inputs and of its outputs."""

    input: ValueRange
    output: ValueRange


@cache
def eight_bits(channels: int) -> ValueRange:
    """Of usual images: what a bundle means that says nothing."""
    return ValueRange("uint8", (BandRange(),) * channels)


def parse_ranges(
    words: Iterable[str],
    channels: int,
    *,
    dtype: str | None = None,
    names: Iterable[str] = (),
    nodata: float | None = None,
    before: ValueRange | None = None,
) -> ValueRange:
    """The range of a side of ``channels`` bands that a user says in ``words``, each of the form
    ``BAND=LOW:HIGH`` or ``BAND=LOW:HIGH:log``.

    ``BAND``: a number from 1 on, two such as ``2-4``, a name, or :data:`ALL`; later words go
    before earlier ones. ``dtype``, ``names``, ``nodata``: as of :class:`ValueRange`; what is left
    out stays as it was ``before``. Raises ``ValueError``.
    """
    words, names = list(words), list(names)
    if before is None and dtype is None:
        raise ValueError("its samples' type is not known; say which, of " + ", ".join(LIMITS))
    if names and len(names) != channels:
        raise ValueError(f"{format_count(len(names), 'name')} for {channels} bands")
    start = before or eight_bits(channels)
    bands = list(start.bands)
    if names:
        bands = [replace(band, name=name) for band, name in zip(bands, names, strict=True)]
    named = ValueRange("float32", tuple(bands))  # which has room for any
    said = set()
    for word in words:
        which, found = _parse_range(word, named)
        said.update(which)
        for index in which:
            bands[index] = replace(
                bands[index], low=found.low, high=found.high, scale=found.scale, percentiles=None
            )
    left = sorted(set(range(channels)) - said)
    if left and before is None and dtype != "uint8":
        numbers = ", ".join(str(index + 1) for index in left)
        raise ValueError(f"no range is given for band {numbers}; give one, or {ALL}=LOW:HIGH")
    return ValueRange(
        dtype or start.dtype, tuple(bands), start.nodata if nodata is None else nodata
    )


def _parse_range(word: str, named: ValueRange) -> tuple[list[int], BandRange]:
    """The indices of the bands that ``word`` is for, and their range without a name."""
    which, _, values = word.rpartition("=")
    low, _, rest = values.partition(":")
    high, _, scale = rest.partition(":")
    try:
        numbers = float(low), float(high)
    except ValueError as error:
        raise ValueError(
            f"{word!r}: a range is BAND=LOW:HIGH, or BAND=LOW:HIGH:log, such as 1=0:10000"
        ) from error
    try:
        found = BandRange(*numbers, scale or "linear")
        return _parse_bands(which, named), found
    except ValueError as error:
        raise ValueError(f"{word!r}: {error}") from error


def _parse_bands(which: str, named: ValueRange) -> list[int]:
    if which == ALL:
        return list(range(named.channels))
    first, dash, last = which.partition("-")
    if dash and which not in named.names:
        start, end = named.find_band(first), named.find_band(last)
        if start > end:
            raise ValueError(f"{which}: the first band comes after the last")
        return list(range(start, end + 1))
    return [named.find_band(which)]
