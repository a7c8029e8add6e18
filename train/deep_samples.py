"""Files of more than 8 bits that a recipe of pictures reads as 8: what to set instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of
from pix2pix_batch.imaging.raster import library
from pix2pix_batch.train.pair_files import Pair
from pix2pix_batch.train.raster_facts import RasterFacts, read_facts
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import LIMITS

LOOKED_AT = 8
"""Pairs whose files are looked at: those of a side are mostly alike."""


def describe_remedies(listed: Sequence[Pair], recipe: Recipe) -> dict[int, str]:
    """Of A, 0, and of B, 1, where their files have more than 8 bits: what they are and what is to
    be set to have them trained on in their own values. Nothing of others, of pairs in one file,
    and where no rasters can be read."""
    if recipe.takes_rasters or not library.is_installed():
        return {}
    found: dict[int, str] = {}
    for pair in listed[:LOOKED_AT]:
        for place, path in enumerate(pair.files() if pair.b is not None else ()):
            try:
                facts = read_facts(path)
            except ImageError as error:
                if suffix_of(path.name) in RASTERS:
                    found.setdefault(place, f"{path}: {error}")
                continue
            if facts.kind != "uint8":
                found.setdefault(place, _describe(facts, place, recipe))
    return found


def describe_suitable_ranges(
    problems: Sequence[tuple[str, str]], listed: Sequence[Pair], recipe: Recipe
) -> str:
    """What to set where files that no recipe of pictures takes are among the ``problems``; else
    nothing."""
    files = {file for file, _ in problems}
    bad = [pair for pair in listed if files & set(map(str, pair.files()))]
    return format_remedies(describe_remedies(bad, recipe)) if bad else ""


def format_remedies(remedies: Mapping[int, str]) -> str:
    """Of both sides."""
    return ". ".join(f"{'AB'[place]}: {remedy}" for place, remedy in sorted(remedies.items()))


def _describe(facts: RasterFacts, place: int, recipe: Recipe) -> str:
    is_input = (place == 0) != (recipe.direction == "BtoA")
    kind = facts.kind if facts.kind in LIMITS else "float32"
    told = {"type": kind, "percentiles": "[2, 98]" if is_input else "[0, 100]"}
    word = "in" if is_input else "out"
    return f"its files have samples of {facts.kind}; {format_settings(word, facts.bands, told)}"


def format_settings(word: str, bands: int, told: Mapping[str, str]) -> str:
    """The options that set what a side's samples mean. ``word``: ``in`` or ``out``."""
    section = ", ".join(f"{key}: {value}" for key, value in told.items())
    return (
        f"--set {word}_channels={bands} --set '{word}put_range={{{section}}}' trains on their own "
        "values ('dataset check' measures them)"
    )
