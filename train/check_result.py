"""What ``dataset check`` found: as text, as JSON, and as a sheet of samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.reporting import contact_sheet
from pix2pix_batch.reporting.console import format_left_alone, format_warnings
from pix2pix_batch.reporting.scale_bar import Scale
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.raster_survey import SideSurvey
from pix2pix_batch.train.recipe import Recipe

SHEET_COLUMNS = 3
COMMON = 4
"""Sizes and modes named in the text, the most common first; JSON has them all."""

LISTED = 50
"""Problems named in the text."""

IN_JSON = "; --json has them all"

Problem = tuple[str, str]
"""A file, and what is wrong with it and what to do."""

Sample = tuple[str, Pixels, Pixels]


# The fields of the check's JSON object.
@dataclass
class Check:
    """What was found. ``naming``: which directories are A and B; ``sizes``: those of one image of
    a pair; ``modes``: Pillow's; ``doubts``: why these may be no pairs, by what they show;
    ``warnings``: what is wrong with files that are read for all that; ``left``: what lies there
    and is left alone; ``rasters``: by side, those that are; ``suggested``: recipe lines;
    ``scales``: of bands that the sheet shows in a map's colours."""

    data: Path
    recipe: Recipe
    layout: str
    naming: str = ""
    splits: dict[str, int] = field(default_factory=dict)
    held_out: bool = False
    sizes: Counter[str] = field(default_factory=Counter)
    modes: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    left: LeftAlone = field(default_factory=LeftAlone)
    samples: list[Sample] = field(default_factory=list)
    rasters: dict[str, SideSurvey] = field(default_factory=dict)
    suggested: list[str] = field(default_factory=list)
    scales: list[Scale] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "data": str(self.data),
            "layout": self.layout,
            "naming": self.naming,
            "splits": self.splits,
            "held_out": self.held_out,
            "sizes": dict(self.sizes.most_common()),
            "modes": {side: dict(modes.most_common()) for side, modes in self.modes.items()},
            **self._rasters_as_dict(),
            "training": describe_training(self.recipe),
            "problems": [{"file": file, "problem": what} for file, what in self.problems],
            "doubts": self.doubts,
            "warnings": [{"file": file, "warning": said} for file, said in self.warnings.items()],
            "notes": self.notes,
            "ignored": self.left.other.count + self.left.tar.count,
            "unread": self.left.unread.count,
            "litter": self.left.litter.count,
        }

    def _rasters_as_dict(self) -> dict[str, Any]:
        if not self.rasters:
            return {}
        sides = {side: survey.as_dict() for side, survey in self.rasters.items()}
        return {"rasters": sides, "suggested": self.suggested}

    def lines(self) -> Iterator[str]:
        recipe = self.recipe
        pairs_noun = "crop" if recipe.mosaic else "pair"
        total = format_count(sum(self.splits.values()), pairs_noun)
        naming = f" ({escape(self.naming)})" if self.naming else ""
        yield f"{escape(self.data)}: {self.layout}{naming}, {total}"
        for name, count in self.splits.items():
            yield f"  {name:6}{count:>8,}" + (self._describe_held_out() if name == "val" else "")
        if self.sizes:
            yield f"sizes   {_common(self.sizes)}"
        for side, modes in self.modes.items():
            yield f"modes   {side}: {_common(modes)}"
        for side, survey in self.rasters.items():
            yield from survey.lines(side)
        if self.suggested:
            yield "suggested for the recipe:"
            yield from (f"  {line}" for line in self.suggested)
        yield f"trains  {_describe_recipe(recipe)}"
        for note in self.notes:
            yield f"note: {note}"
        yield from format_left_alone(self.left)
        for doubt in self.doubts:
            yield f"doubt: {doubt}"
        yield from format_warnings(sorted(self.warnings.items()), len(self.warnings), IN_JSON)
        for file, what in self.problems[:LISTED]:
            yield f"problem: {escape(file)}: {escape(what)}"
        if (more := len(self.problems) - LISTED) > 0:
            yield f"and {format_count(more, 'problem')} more{IN_JSON}"
        yield ", ".join(self._ends())

    def _describe_held_out(self) -> str:
        if not self.held_out:
            return ""
        share = self.splits["val"] / max(1, self.splits["val"] + self.splits.get("train", 0))
        return (
            f", held out: those whose names hash below val_fraction {self.recipe.val_fraction:g}, "
            f"here {share:.0%}"
        )

    def _ends(self) -> Iterator[str]:
        if self.problems or not self.doubts:
            yield format_count(len(self.problems), "problem") if self.problems else "no problems"
        if self.doubts:
            yield format_count(len(self.doubts), "doubt") + ": look at --sheet before training"

    def sheet(self) -> bytes:
        """A PNG of training samples, after the jitter. Raises :class:`InputError`."""
        if not self.samples:
            raise InputError(f"{self.data}: no sound pairs to draw a sheet of")
        side_in, side_out = ("B", "A") if self.recipe.direction == "BtoA" else ("A", "B")
        heads = [f"input ({side_in})", f"target ({side_out})"]
        return contact_sheet.render_png(
            [(name, images) for name, *images in self.samples],
            heads,
            SHEET_COLUMNS,
            scales=self.scales,
        )


def describe_training(recipe: Recipe) -> dict[str, Any]:
    """What becomes of the pairs, as the recipe says."""
    resized = recipe.resize_side if recipe.fit == "resize" and recipe.mosaic is None else None
    return {
        "name": recipe.name,
        "direction": recipe.direction,
        "load_size": resized,
        "size": recipe.size,
        "flip": recipe.flip,
        "in_channels": recipe.in_channels,
        "out_channels": recipe.out_channels,
        "val_fraction": recipe.val_fraction,
    }


def _common(counts: Counter[str]) -> str:
    named = [f"{name} ({count:,})" for name, count in counts.most_common(COMMON)]
    more = len(counts) - COMMON
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _describe_recipe(recipe: Recipe) -> str:
    facts = describe_training(recipe)
    domains = [recipe.source_domain, recipe.target_domain]
    arrow = " -> ".join(reversed("AB") if recipe.direction == "BtoA" else "AB")
    parts = [arrow + (f" ({' -> '.join(domains)})" if all(domains) else "")]
    if facts["load_size"]:
        parts.append(f"resized to {facts['load_size']}x{facts['load_size']}")
    parts.append(f"cropped to {recipe.size}x{recipe.size}")
    if recipe.flip:
        parts.append("half of them mirrored")
    parts.append(f"{recipe.in_channels} -> {recipe.out_channels} channels")
    return ", ".join(parts)
