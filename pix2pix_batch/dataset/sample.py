"""One image of a dataset, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pix2pix_batch.imaging.output_formats import SUFFIXES


@dataclass
class Sample:
    """A variant of an input.

    ``key``: its path in the dataset without suffix; ``base``: that of its input; ``form``: its
    format; ``source_form``: that of its input's copy; ``is_picture``: whether the image itself is
    of 8 bits, no raster; ``output`` and ``source``: the files that hold it and its input, where
    they lie before the dataset is laid out; ``facts``: what the manifest and the metadata say of
    it.
    """

    key: str
    base: str
    form: str
    output: Path
    source: Path | None
    split: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    source_form: str = "png"
    is_picture: bool = True

    @property
    def suffix(self) -> str:
        return SUFFIXES[self.form]

    @property
    def source_suffix(self) -> str:
        return SUFFIXES[self.source_form]
