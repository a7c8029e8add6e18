"""The recipe's section ``mosaic``: which parts of two aligned mosaics serve what."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

Colour = tuple[
    Annotated[int, Field(ge=0, le=255)],
    Annotated[int, Field(ge=0, le=255)],
    Annotated[int, Field(ge=0, le=255)],
]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Band = tuple[Longitude, Longitude]
"""West and east, in degrees."""
Bands = Annotated[list[Band], Field(min_length=1)]
FoldName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
"""Fit for a file's name."""


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _require_no_switch(cls, value: object, info: ValidationInfo) -> object:
        """``yes``, ``no`` or the like in place of a number, which pydantic takes for 1 or 0."""
        annotation = str(cls.model_fields[info.field_name or ""].annotation)
        if isinstance(value, bool) and "bool" not in annotation:
            raise ValueError(
                f"is {'yes' if value else 'no'} (true or false, on or off), which is no value of it"
            )
        return value


# The keys of a recipe's mosaic.
class Mosaic(Model):
    """A pair of aligned mosaics of the whole Earth (plate carrée), and which parts serve what.

    Bands are ranges of longitude in degrees. Crops with less than ``min_land`` of their pixels
    off all colours of ``sea`` (by more than ``sea_tolerance`` in any channel of the mosaic that
    ``sea_in`` names) are left out.

    What is held out of training, to validate on, is either ``val_bands``, or of several ``folds``
    the one that ``fold`` names, or those that it lists; ``train_bands`` then hold all folds.
    """

    source: str
    target: str
    sea: Annotated[list[Colour], Field(min_length=1)]
    sea_in: Literal["source", "target"] = "source"
    sea_tolerance: int = Field(24, ge=0, le=255)
    train_bands: Bands
    val_bands: Bands | None = None
    folds: dict[FoldName, Bands] = Field(default_factory=dict)
    fold: str | Annotated[list[str], Field(min_length=1)] | None = None
    latitudes: tuple[Latitude, Latitude] = (-90.0, 90.0)
    min_land: Fraction = 0.3
    val_min_land: Fraction = 0.3
    scales: tuple[float, float] = (1.0, 1.0)
    turn: bool | Literal["quarter"] = False
    crops_per_epoch: int = Field(1000, ge=1)

    @field_validator("sea", mode="before")
    @classmethod
    def _list_sea(cls, value: Any) -> Any:
        """Take one colour that stands alone as a list of it."""
        return _list_single(value)

    @field_serializer("sea")
    def _write_sea(self, value: list[Colour]) -> list[Colour] | Colour:
        """Write one colour alone, as earlier versions read and wrote it."""
        return value[0] if len(value) == 1 else value

    @field_validator("folds", mode="before")
    @classmethod
    def _list_folds(cls, value: Any) -> Any:
        """A fold of one band may be given as that."""
        if not isinstance(value, dict):
            return value
        return {name: _list_single(bands) for name, bands in value.items()}

    @model_validator(mode="after")
    def _whole(self) -> Mosaic:
        self._require_order()
        if self.folds:
            self._require_folds()
        elif self.fold is not None:
            raise ValueError(f"fold: there are no folds to hold {self.fold!r} out of")
        elif self.val_bands is None:
            raise ValueError("val_bands: is missing; or give folds, and the fold that is held out")
        else:
            self._require_apart(self.val_bands)
        if not 0 < self.scales[0] <= self.scales[1]:
            raise ValueError("scales: must be above 0, the smaller first")
        return self

    def _require_order(self) -> None:
        named = {"train_bands": self.train_bands, "val_bands": self.val_bands or []}
        for key, bands in (named | {f"folds.{name}": b for name, b in self.folds.items()}).items():
            for west, east in bands:
                if west >= east:
                    raise ValueError(
                        f"{key}: a band is its west, then its east, not [{west:g}, {east:g}]; "
                        "cut a band in two at the 180th meridian"
                    )

    def _require_apart(self, val_bands: list[Band]) -> None:
        for west, east in self.train_bands:
            for other_west, other_east in val_bands:
                if west < other_east and other_west < east:
                    raise ValueError(
                        f"val_bands: [{other_west:g}, {other_east:g}] overlaps the training band "
                        f"[{west:g}, {east:g}]"
                    )

    def _require_folds(self) -> None:
        names = ", ".join(self.folds)
        if self.val_bands is not None:
            raise ValueError("val_bands: the fold is what is held out; leave out one of both")
        if self.fold is None:
            raise ValueError(f"fold: is missing; name the one that is held out, of {names}")
        for fold in self.held_out_folds:
            if fold not in self.folds:
                raise ValueError(f"fold: {fold!r} is none of the folds {names}")
        for name, bands in self.folds.items():
            if outside := subtract_bands(bands, self.train_bands):
                west, east = outside[0]
                raise ValueError(
                    f"folds.{name}: [{west:g}, {east:g}] lies outside of train_bands, which are "
                    "all that there is, the folds included"
                )
        if not self.trained_bands:
            raise ValueError(f"fold: without {self.fold!r} nothing is left of train_bands")

    @property
    def held_out_folds(self) -> list[str]:
        """The names of the folds that are validated on."""
        if isinstance(self.fold, list):
            return self.fold
        return [] if self.fold is None else [self.fold]

    @property
    def held_out_bands(self) -> list[Band]:
        """What is validated on."""
        folds = [band for name in self.held_out_folds for band in self.folds[name]]
        return folds or list(self.val_bands or [])

    @property
    def trained_bands(self) -> list[Band]:
        """What is trained on: ``train_bands`` without what is held out."""
        return subtract_bands(self.train_bands, self.held_out_bands)


def subtract_bands(bands: list[Band], others: list[Band]) -> list[Band]:
    """Take out of ``bands`` what lies in ``others``."""
    for west, east in others:
        left = [(start, min(end, west)) for start, end in bands]
        right = [(max(start, east), end) for start, end in bands]
        pieces = zip(left, right, strict=True)
        bands = [piece for both in pieces for piece in both if piece[0] < piece[1]]
    return bands


def _list_single(value: Any) -> Any:
    """A list of ``value``, where it is one colour or band and not a list of them."""
    if isinstance(value, list | tuple) and value:
        return value if any(isinstance(v, list | tuple) for v in value) else [value]
    return value
