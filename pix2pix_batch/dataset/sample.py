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
    format; ``made`` and ``source``: the files that hold it and its input, where they lie before
    the dataset is laid out; ``facts``: what the manifest and the metadata say of it.
    """

    key: str
    base: str
    form: str
    made: Path
    source: Path | None
    split: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        return SUFFIXES[self.form]
