"""The recipe's sections ``input_range`` and ``output_range``: what samples mean, band by band."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pix2pix_batch.train.mosaic_recipe import Model
from pix2pix_batch.value_ranges import LIMITS, BandRange, ValueRange

Percent = Annotated[float, Field(ge=0, le=100)]
Percentiles = tuple[Percent, Percent]
Kind = Literal["uint8", "uint16", "int16", "float32"]


class Bounds(Model):
    """Which values of a band are -1 and 1: ``low`` and ``high``, or what ``percentiles`` of the
    training data are; ``scale``: what lies between."""

    low: float | None = None
    high: float | None = None
    percentiles: Percentiles | None = None
    scale: Literal["linear", "log"] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Bounds:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high: give both, or percentiles")
        if self.low is not None and self.percentiles is not None:
            raise ValueError("percentiles: are measured, and low and high are given; leave out one")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low: {self.low:g} is not below high, {self.high:g}")
        if self.percentiles is not None and self.percentiles[0] >= self.percentiles[1]:
            raise ValueError("percentiles: the lower comes first, as in [2, 98]")
        if self.scale == "log" and self.low is not None and self.low <= 0:
            raise ValueError(f"low: of a logarithmic band must be above 0, not {self.low:g}")
        return self

    @property
    def is_given(self) -> bool:
        return self.low is not None or self.percentiles is not None


class BandRecipe(Bounds):
    """A band of a recipe. ``band``: its number in the files, from 1; ``name``: its name there, and
    in the bundle. What is left out is as for all bands."""

    band: int | None = Field(None, ge=1)
    name: str = ""


class RangeRecipe(Bounds):
    """A side of a recipe of rasters.

    Attributes:
        type: The type of its samples.
        nodata: The value that stands for no data.
        bands: The number, name or :class:`BandRecipe` of each band; without it, all that the files
            have.
        show: The numbers or names of the bands that sheets show as red, green and blue, or of the
            one that they show in the colours of a scale.
    """

    type: Kind
    nodata: float | None = None
    bands: Annotated[list[BandRecipe], Field(min_length=1, max_length=64)] | None = None
    show: list[int | str] | None = None

    @field_validator("bands", mode="before")
    @classmethod
    def _read_words(cls, value: object) -> object:
        """A number or a name stands for a band that has nothing else of its own."""
        if not isinstance(value, list):
            return value
        if any(isinstance(word, bool) for word in value):
            raise ValueError("a band is a number, a name or a section, not yes or no; quote names")
        return [
            {"band": word} if isinstance(word, int) else {"name": word} if isinstance(word, str)
            else word for word in value
        ]  # fmt: skip

    @field_validator("show")
    @classmethod
    def _one_or_three(cls, value: list[int | str] | None) -> list[int | str] | None:
        if value is not None and len(value) not in (1, 3):
            raise ValueError("must be three bands, for red, green and blue, or one")
        return value

    def list_bands(self, channels: int) -> list[BandRecipe]:
        """Each band with all that is said of it. Raises ``ValueError``."""
        if self.bands is not None and len(self.bands) != channels:
            raise ValueError(f"bands: are {len(self.bands)}, and the recipe takes {channels}")
        return [
            self._complete(band)
            for band in self.bands or [BandRecipe.model_validate({})] * channels
        ]

    def _complete(self, band: BandRecipe) -> BandRecipe:
        values: dict[str, Any] = {"band": band.band, "name": band.name}
        source: Bounds = band if band.is_given else self
        if source.is_given:
            values |= {"low": source.low, "high": source.high, "percentiles": source.percentiles}
        elif self.type == "uint8":
            values |= {"low": 0.0, "high": 255.0}
        else:
            raise ValueError(
                "low and high, or percentiles such as [2, 98], must be given for each band, or "
                "for all; 'dataset check' suggests them"
            )
        values["scale"] = band.scale or self.scale or "linear"
        return BandRecipe(**values)

    def require_sound(self, channels: int) -> None:
        """Raises ``ValueError`` for values that no data could mend."""
        self.make_range(channels, [None] * channels)
        if self.show is not None:
            bare = self.bare_range(channels)
            for word in self.show:
                bare.find_band(str(word))

    def choose_words(self, channels: int) -> tuple[str, ...]:
        """What names each band in the files, where one is given by its number; else nothing."""
        listed = self.list_bands(channels)
        if all(band.band is None for band in listed):
            return ()
        return tuple(
            str(place if band.band is None and not band.name else band.band or band.name)
            for place, band in enumerate(listed, 1)
        )

    def bare_range(self, channels: int) -> ValueRange:
        """What is known before any file is read: types, names, no data. ``low`` and ``high`` are
        so far out that the middle between them is no value that files have."""
        names = [band.name for band in self.list_bands(channels)]
        return bare_range(self.type, names, self.nodata)

    def make_range(self, channels: int, measured: list[tuple[float, float] | None]) -> ValueRange:
        """Make the range of a side. ``measured``: the percentiles of each band, ``None`` if they
        are not known yet or not needed. Raises ``ValueError``."""
        bands = []
        for band, percentiles in zip(self.list_bands(channels), measured, strict=True):
            low, high = band.low, band.high
            if band.percentiles is not None:
                low, high = percentiles or (1.0, 2.0)
            assert low is not None and high is not None
            bands.append(BandRange(low, high, band.scale or "linear", band.name, band.percentiles))
        return ValueRange(self.type, tuple(bands), self.nodata)


FAR = 2e38
"""Farther from zero than what files have, and within ``float32``."""


def bare_range(kind: str, names: list[str], nodata: float | None) -> ValueRange:
    """A range of bands whose values are not known yet.

    Args:
        kind: The type of the samples.
        names: The names of the bands.
        nodata: The value that stands for no data; ``None`` if there is none.

    Returns:
        For integers a range over all of their type; for floats one whose middle, which fills gaps,
        is -0.5 * :data:`FAR`.
    """
    low, high = (-FAR, 0.0) if kind == "float32" else LIMITS[kind]
    return ValueRange(kind, tuple(BandRange(low, high, name=name) for name in names), nodata)


def describe_range(side: ValueRange) -> dict[str, Any]:
    """The section of a recipe that means ``side``."""
    bands = [
        {"name": band.name, "low": band.low, "high": band.high, "scale": band.scale}
        for band in side.bands
    ]
    return {"type": side.dtype, "nodata": side.nodata, "bands": bands}
