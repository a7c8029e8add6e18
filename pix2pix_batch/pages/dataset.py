"""What the report says of a dataset beside its images: how it was made, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import complete, manifest
from pix2pix_batch.pages.exhibit import LONGEST_NAME, LONGEST_TEXT, short

NAMED = 20
"""Rejected images of each reason that are named."""

WHY = {
    "distance": "farther from the model's training inputs than the max distance",
    "near-duplicate": "near-duplicate of another input's image",
    "equal-variant": "equal to an earlier variant",
    "flat": "flat: no channel deviates more than 2 levels",
    "saturated": "saturated: nine in ten values are 0 or 255",
    "unmeasured": "of unknown distance",
}


@dataclass(frozen=True)
class Rejected:
    """Images that were left out for one reason, some of them ``named``."""

    reason: str
    count: int
    named: list[str]


@dataclass(frozen=True)
class Dataset:
    """``splits``: images by split, empty where nothing is laid out yet."""

    settings: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    @classmethod
    def of(cls, out: Path, header: Mapping[str, Any] | None) -> Dataset:
        """What the header of the dataset says; without one, that of the finished one in ``out``."""
        if header is None:
            known = complete.read(out)
            header = known.header if known is not None else {}
        counts = header.get("rejected", {})
        named = _named(out) if counts else {}
        rejected = [
            Rejected(
                WHY.get(reason, short(str(reason), LONGEST_TEXT)), count, named.get(reason, [])
            )
            for reason, count in counts.items()
        ]
        splits = {short(str(name), LONGEST_NAME): n for name, n in header.get("splits", {}).items()}
        return cls(header.get("settings", {}), splits, rejected)

    @property
    def images(self) -> int:
        return sum(self.splits.values())

    @property
    def left_out(self) -> int:
        return sum(one.count for one in self.rejected)


def _named(out: Path) -> dict[str, list[str]]:
    """The first of the images that were rejected, by reason."""
    found: dict[str, list[str]] = {}
    with suppress(OSError, ValueError):
        for name, reason in manifest.rejected(complete.copy_of_manifest(out)):
            names = found.setdefault(reason, [])
            if len(names) < NAMED:
                names.append(short(name, LONGEST_NAME))
    return found
