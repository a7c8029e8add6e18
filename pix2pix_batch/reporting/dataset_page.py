"""What the report says of a dataset beside its images: how it was made, and what was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import manifest, state
from pix2pix_batch.reporting.gallery import LONGEST_NAME, LONGEST_TEXT, shorten

NAMED = 20
"""Rejected or flagged images of each reason that are named."""

WHY = {
    "distance": "farther from the model's training inputs than the max distance",
    "near-duplicate": "near-duplicate of another input's image",
    "equal-variant": "equal to an earlier variant",
    "flat": "flat: no channel deviates more than 2 levels",
    "saturated": "saturated: nine in ten values are 0 or 255",
    "unmeasured": "of unknown distance",
}


@dataclass(frozen=True)
class Odd:
    """Images that were left out, or flagged, for one reason, some of them ``named``. ``flag``: as
    the manifest calls it."""

    flag: str
    reason: str
    count: int
    named: list[str]


@dataclass(frozen=True)
class Dataset:
    """``splits``: images by split, empty where nothing is laid out yet; ``rejected``: what was left
    out; ``flagged``: of what is in it."""

    settings: dict[str, Any] = field(default_factory=dict)
    splits: dict[str, int] = field(default_factory=dict)
    rejected: list[Odd] = field(default_factory=list)
    flagged: list[Odd] = field(default_factory=list)

    @classmethod
    def of(cls, out: Path, header: Mapping[str, Any] | None) -> Dataset:
        """What the header of the dataset says; without one, that of the finished one in ``out``."""
        if header is None:
            known = state.read(out)
            header = known.header if known is not None else {}
        splits = {
            shorten(str(name), LONGEST_NAME): n for name, n in header.get("splits", {}).items()
        }
        listed = state.copy_of_manifest(out)
        rejected = _count_by_reason(
            header.get("rejected", {}), lambda: manifest.read_rejected(listed)
        )
        flagged = _count_by_reason(header.get("flagged", {}), lambda: _read_flagged(listed))
        return cls(header.get("settings", {}), splits, rejected, flagged)

    @property
    def images(self) -> int:
        return sum(self.splits.values())

    @property
    def left_out(self) -> int:
        return sum(one.count for one in self.rejected)


def _count_by_reason(
    counts: Mapping[str, int], images: Callable[[], Iterable[tuple[str, str]]]
) -> list[Odd]:
    """Those of each reason. ``images``: each with why it is odd."""
    named: dict[str, list[str]] = {reason: [] for reason in counts}
    with suppress(OSError, ValueError, KeyError):
        for name, reason in images() if counts else ():
            if len(names := named.setdefault(reason, [])) < NAMED:
                names.append(shorten(name, LONGEST_NAME))
    found = []
    for reason, count in counts.items():
        flag = shorten(str(reason), LONGEST_TEXT)
        found.append(Odd(flag, WHY.get(reason, flag), count, named[reason]))
    return found


def _read_flagged(path: Path) -> Iterator[tuple[str, str]]:
    """The images that are flagged, and why; of near-duplicates, in which split the other is."""
    splits = {row["input"]: row["split"] for row in manifest.read_manifest(path)[1]}
    for row in manifest.read_manifest(path)[1]:
        for flag in row["flags"]:
            name = f"{row['file']}, row {row['row']}" if "row" in row else row["file"]
            if flag == "near-duplicate":
                there = splits.get(row["near"])
                name += f", near {row['near']}"
                name += f" in {there}" if there and there != row["split"] else ""
            yield name, flag
