"""What a bundle says of its generator: its metadata, as JSON too. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from pix2pix_batch import generators
from pix2pix_batch.generators.description import Description
from pix2pix_batch.label_map import LabelMap
from pix2pix_batch.value_ranges import ValueRange, ValueRanges, eight_bits

SCHEMA = 3
"""The latest; bundles without value ranges are of the second, and those of U-Nets of the first,
which had no other family."""
FITS = ("tile", "resize", "exact", "whole")
OPTIONAL: dict[str, type[LabelMap] | type[ValueRange]] = {
    "labels": LabelMap,
    "input_range": ValueRange,
    "output_range": ValueRange,
}
"""The fields that are not there where they have nothing to say, and what each is."""


@dataclass(frozen=True)
class BundleInfo:
    """What a bundle says of itself.

    ``image_size``: the side, in pixels, of the images it was made for; ``fit``: how images of
    other sizes are treated by default; ``provenance``: anything about the training, as JSON;
    ``labels``: how images become channels where their pixels are labels; ``input_range`` and
    ``output_range``: what samples mean where they are not those of usual images.
    """

    name: str
    architecture: Description
    image_size: int = 256
    fit: str = "resize"
    source_domain: str = ""
    target_domain: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
    labels: LabelMap | None = None
    input_range: ValueRange | None = None
    output_range: ValueRange | None = None

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ValueError("name must be a word")
        self.architecture.require_side(self.image_size)
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, not {self.fit!r}")
        require_fit(self.architecture, self.fit)
        for field_name in ("source_domain", "target_domain"):
            if not isinstance(getattr(self, field_name), str):
                raise ValueError(f"{field_name} must be text")
        if not isinstance(self.provenance, dict):
            raise ValueError("provenance must be a JSON object")
        self._require_labels()
        self._require_ranges()

    @property
    def ranges(self) -> ValueRanges:
        """What samples mean, also where the bundle does not say it."""
        a = self.architecture
        return ValueRanges(
            self.input_range or eight_bits(a.in_channels),
            self.output_range or eight_bits(a.out_channels),
        )

    @property
    def raster_sides(self) -> dict[str, ValueRange]:
        """Of the sides ``input`` and ``output`` those that are no pictures."""
        sides = self.ranges._asdict()
        if self.labels is not None:  # whose images are pictures
            del sides["input"]
        return {word: side for word, side in sides.items() if not side.is_picture}

    @property
    def needs_full_precision(self) -> bool:
        """Whether outputs are finer than half precision is: bf16 has 8 bits, fp16 11."""
        return not self.ranges.output.is_eight_bit

    def _require_ranges(self) -> None:
        a = self.architecture
        for name, given, channels in (
            ("input_range", self.input_range, a.in_channels),
            ("output_range", self.output_range, a.out_channels),
        ):
            if given is not None and given.channels != channels:
                raise ValueError(f"{name} has {given.channels} bands, the generator {channels}")
        if self.labels is not None and self.input_range is not None:
            raise ValueError("input_range: inputs are labels, which have none")

    def _require_labels(self) -> None:
        channels = self.architecture.in_channels
        if self.labels is None:
            return
        if not self.architecture.takes_any_size:
            raise ValueError(
                f"labels are for pix2pixHD's kind, not for a {self.architecture.title}"
            )
        if self.labels.channels != channels:
            raise ValueError(
                f"labels have {self.labels.channels} channels, the generator takes {channels}"
            )
        if self.fit == "resize":
            raise ValueError("labels cannot be scaled; fit must be whole, tile or exact")

    def as_json(self) -> str:
        architecture = self.architecture.as_dict()
        schema = 2 if "family" in architecture else 1
        optional = {name: getattr(self, name) for name in OPTIONAL}
        if self.input_range is not None or self.output_range is not None:
            schema = SCHEMA
        values = {"schema": schema, **self.__dict__, "architecture": architecture}
        for name, value in optional.items():
            if value is None:
                del values[name]
            else:
                values[name] = value.as_dict()
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> BundleInfo:
        """Raises ``ValueError`` with what is wrong."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("the metadata is not a JSON object")
        schema = values.pop("schema", None)
        if schema not in range(1, SCHEMA + 1) or type(schema) is not int:
            raise ValueError(
                f"its schema is {schema!r}, this version reads 1 to {SCHEMA}; upgrade pix2pix-batch"
            )
        try:
            fields = dict(values.pop("architecture"))
            if schema < SCHEMA and ("family" in fields) != (schema > 1):
                raise TypeError("a family of generators is told from schema 2 on")
            if ("input_range" in values or "output_range" in values) != (schema == SCHEMA):
                raise TypeError(f"ranges of values are told from schema {SCHEMA} on")
            for name, kind in OPTIONAL.items():
                if name in values:
                    values[name] = kind.from_dict(values[name])
            return cls(architecture=generators.describe(fields), **values)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the metadata is incomplete or foreign ({error})") from error


def require_fit(architecture: Description, fit: str | None) -> None:
    """Raises ``ValueError`` where images as a whole are not for networks of the kind."""
    if fit == "whole" and not architecture.takes_any_size:
        raise ValueError(
            f"fit whole is for networks that take images of any size, not for a "
            f"{architecture.title}; use tile or resize"
        )
