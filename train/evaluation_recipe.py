"""Which recipe the pairs are read by that a model is evaluated on, and which split of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators import Architecture, GlobalGenerator
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.text import escape
from pix2pix_batch.train import pairs
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.range_recipe import describe_range
from pix2pix_batch.train.recipe import Recipe


@dataclass(frozen=True)
class Reading:
    """How the data is to be read. What is ``None`` is found from the model and the data.

    Attributes:
        split: ``train``, ``val``, ``test`` or ``all``. ``None`` for ``val``, or for all pairs if
            the model was trained on mosaics and the data has pairs without that split.
        recipe: The name of a shipped recipe, or a file, instead of the model's own.
        overrides: ``key=value`` changes of the recipe.
        palette: Whether to take the targets as label maps in the recipe's palette. ``None`` to do
            so if it has one and B is the target.
        tolerance: What is made of damaged and of large files.
    """

    split: str | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    palette: bool | None = None
    tolerance: Tolerance = USUAL


class Choice(NamedTuple):
    """How the pairs are read. ``called``: the recipe's name for people, ``own`` for the model's;
    ``note``: why that one could not be had, or what of it does not suit the data; ``foreign``: the
    model was trained on mosaics, and the data is not these."""

    recipe: Recipe
    called: str
    note: str = ""
    foreign: bool = False


def choose_recipe(info: BundleInfo, data: Path, reading: Reading) -> Choice:
    """Choose the recipe by which the data is read, always at the model's size.

    It is the one that is asked for, else the one in the bundle, else ``default``. The mosaics of
    the bundle's recipe only count if they are in ``data``.

    Args:
        info: The model's metadata.
        data: The data that it is evaluated on.
        reading: What the user asks for.

    Raises:
        InputError: The recipe does not fit the model.
    """
    a, overrides = info.architecture, reading.overrides
    own = [f"size={info.image_size}", "load_size=null", *_generator(info)]
    stored, note = read_own_recipe(info)
    if reading.recipe is not None:
        read = recipes.read_recipe(recipes.find_recipe(reading.recipe), [*own, *overrides])
        choice = Choice(read, reading.recipe)
    elif stored is not None:
        choice = _choose_recipe(info, data, recipes.override_recipe(stored, [*own, *overrides]))
    else:
        own += [f"in_channels={a.in_channels}", f"out_channels={a.out_channels}"]
        own += [
            f"{word}_range={json.dumps(describe_range(side))}"
            for word, side in info.ranges._asdict().items()
            if not side.is_picture
        ]
        own += [f"fit={'tile' if info.fit == 'tile' else 'resize'}"]
        read = recipes.read_recipe(recipes.find_recipe("default"), [*own, *overrides])
        choice = Choice(read, "default", note)
    _require_fit(info, choice.recipe)
    return choice


def _generator(info: BundleInfo) -> list[str]:
    """What the sizes that a recipe takes depend on, as changes of it. A family that is not trained
    counts as the one that takes most sizes: only the data is read by the recipe."""
    a = info.architecture
    if isinstance(a, Architecture):
        return [f"downs={a.downs}"]
    if a.family in ("resnet", "pix2pixhd-global"):
        depth = [f"downs={a.downs}"] if isinstance(a, GlobalGenerator) else []
        return [f"generator={a.family}", *depth]
    return ["generator=pix2pixhd-global", "downs=1"]


def read_own_recipe(info: BundleInfo) -> tuple[Recipe | None, str]:
    """The recipe that the model was trained by, or a note why there is none to be had."""
    stored = info.provenance.get("recipe")
    if stored is None:
        return None, ""
    try:
        return recipes.parse_recipe(stored, f"{info.name}'s recipe"), ""
    except (TypeError, ValueError) as error:
        reason = str(error).split("; ")[0]
        return None, (
            f"{reason}: it is of another version, so the recipe 'default' is used; give another "
            "with --recipe"
        )


def _choose_recipe(info: BundleInfo, data: Path, recipe: Recipe) -> Choice:
    """The model's own recipe, for pairs of files where ``data`` has none of its mosaics."""
    mosaic = recipe.mosaic
    if mosaic is None or any((data / name).exists() for name in (mosaic.source, mosaic.target)):
        return Choice(recipe, "own")
    sides = [recipe.source_domain or "the input", recipe.target_domain or "the target"]
    if recipe.direction == "BtoA":
        sides.reverse()
    note = (
        f"{info.name} was trained on the mosaics {mosaic.source} and {mosaic.target}, which are "
        f"not in {escape(data)}: pairs of image files are read there, A as {sides[0]}, B as "
        f"{sides[1]} (--direction turns that round)"
    )
    return Choice(recipes.override_recipe(recipe, ["mosaic=null"]), "own", note, foreign=True)


def _require_fit(info: BundleInfo, recipe: Recipe) -> None:
    a = info.architecture
    for key, has in (("in_channels", a.in_channels), ("out_channels", a.out_channels)):
        if (wanted := getattr(recipe, key)) != has:
            raise InputError(
                f"{info.name}: the model's {key} is {has}, the recipe's {wanted}; evaluate with "
                f"--set {key}={has}"
            )
    if recipe.size != info.image_size:
        raise InputError(
            f"{info.name}: the model runs at size {info.image_size}, not {recipe.size}; leave out "
            "--set size"
        )


def choose_split(wanted: str | None, data: Path, choice: Choice) -> tuple[str, str]:
    """Choose the split that is evaluated.

    Unless the user wants another, that is ``val``, or ``all`` for pairs that the model was not
    trained on and that have no such split, since nothing of them was held out.

    Returns:
        The split, and a note, empty if there is nothing to say.

    Raises:
        InputError: There are no pairs.
    """
    if wanted is not None or not choice.foreign:
        return wanted or "val", ""
    try:
        surveyed = pairs.survey(data, val_fraction=0)
    except InputError as error:
        if not data.is_dir():
            raise
        mosaics = f"the mosaics that {choice.recipe.name} was trained on are not there either"
        raise InputError(f"{error}; {mosaics}") from error
    if surveyed.split("val"):
        return "val", ""
    return "all", "they have no split 'val', so all of them are judged"
