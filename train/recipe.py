"""Recipes, YAML files that say how to train one domain. ``docs/recipes.md`` lists the keys."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.unet import MIN_DOWNS
from pix2pix_batch.text import describe_error
from pix2pix_batch.train import foreign, plain_yaml
from pix2pix_batch.train.mosaic_recipe import Model, Mosaic
from pix2pix_batch.train.range_recipe import BandRecipe, RangeRecipe
from pix2pix_batch.train.recipe_schema import Recipe as Recipe
from pix2pix_batch.train.recipe_schema import most_downs

LEAST_LIKENESS = 0.75
"""Of what is written to a key that is proposed, as difflib has it."""

ONE_LETTER = 0.88
"""The likeness of words of nine letters, of which one differs."""

RECIPES = Path(__file__).parent / "recipes"
"""Where the shipped recipes lie, each as ``<name>.yaml``."""


def advise_size(recipe: Recipe, sizes: Mapping[tuple[int, int], int]) -> str:
    """What to set where all images are smaller than ``size``, or nothing.

    ``sizes``: widths and heights of the images of A or B.
    """
    if recipe.mosaic is not None or not sizes:
        return ""
    side = max(min(size) for size in sizes)
    if side >= recipe.size:
        return ""
    least = 1 << MIN_DOWNS
    good = sorted({max(least, side // step * step) for step in (least, 1 << side.bit_length() - 1)})
    accepted = []
    for size in reversed(good):
        for words in ([f"size={size}"], [f"size={size}", f"downs={most_downs(size)}"]):
            with contextlib.suppress(InputError):
                override_recipe(recipe, [*words, *(["load_size=null"] if recipe.load_size else [])])
                accepted.append(" ".join(f"--set {word}" for word in words))
                break
    if not accepted or good[-1] >= recipe.size:
        return ""
    outcome = "are enlarged" if recipe.fit == "resize" else "too small for crops"
    return (
        f"all images are smaller than {recipe.size} pixels (at most {side}) and {outcome}; "
        f"{' or '.join(accepted)} trains at about their own size"
    )


def shipped_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def find_recipe(recipe: str) -> Path:
    """The file of a shipped recipe's name, or of a path. Raises :class:`InputError`."""
    shipped = RECIPES / f"{recipe}.yaml"
    if "/" not in recipe and shipped.is_file():
        return shipped
    path = Path(recipe)
    if path.is_file():
        return path
    hint = _nearest(recipe, shipped_names())
    raise InputError(
        f"{recipe}: no such recipe{hint}. Shipped recipes: {', '.join(shipped_names())}; or give "
        "the path of a YAML file"
    )


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe at ``path`` with ``key=value`` overrides. Raises :class:`InputError`."""
    values = _values(path)
    recipe, where = None, str(path)
    with contextlib.suppress(InputError):
        recipe = parse_recipe(values, where)
    for override in overrides:
        set_key(values, override)
        if recipe is not None:  # what is wrong now is not the file's fault
            where = "--set"
    return parse_recipe(values, where)


def override_recipe(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """A model's recipe with ``key=value`` overrides. Raises :class:`InputError`."""
    values = recipe.as_dict()
    for override in overrides:
        set_key(values, override)
    return parse_recipe(values, f"{recipe.name}, the model's recipe")


def _values(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's keys over those of the recipe that its key ``extends`` names."""
    try:
        values = plain_yaml.load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is no valid YAML: {describe_error(error, None)}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: is no recipe; a recipe is a list of 'key: value' lines")
    if isinstance(values.get("recipe"), dict) and "data" in values:  # RUN/recipe.yaml
        values = dict(values["recipe"])
    base = values.pop("extends", None)
    if base is None:
        return values
    extending = (*extending, path.resolve())
    if not isinstance(base, str):
        raise InputError(f"{path}: extends: must name another recipe, not {base!r}")
    beside = path.parent / base
    extended = beside if beside.is_file() else find_recipe(base)
    if extended.resolve() in extending:
        raise InputError(f"{path}: extends: {base!r} is, or extends, this very recipe")
    return _values(extended, extending) | values


def parse_recipe(values: Mapping[str, Any], where: str) -> Recipe:
    """A checked recipe; ``where`` names it in errors. Raises :class:`InputError`."""
    try:
        return Recipe.model_validate(dict(values))
    except ValidationError as error:
        problems = [_problem(dict(detail)) for detail in error.errors()]
        raise InputError(f"{where}: " + "; ".join(problems)) from error


def set_key(values: dict[str, Any], override: str) -> None:
    """Set the key of ``key=value``, or ``section.key=value``; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"--set {override}: must be key=value, such as --set ngf=32")
    *sections, last = key.strip().split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: {section!r} has no keys of its own")
    try:
        values[last] = plain_yaml.load(text)
        if plain_yaml.has_comment(text):
            raise InputError(
                f"--set {override}: what follows # would be left out as a comment; remove it, or, "
                "if # is part of a text, put the text into quotes that the shell leaves there"
            )
    except yaml.constructor.ConstructorError as error:
        raise InputError(f"--set {override}: {error.problem}") from error
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: the value is no valid YAML") from error
    if isinstance(values[last], str):  # YAML 1.1 reads 2e-4 as text
        with contextlib.suppress(ValueError):
            values[last] = float(values[last])


def _problem(detail: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = list(_model_at(detail["loc"]).model_fields)
        key = str(detail["loc"][-1])
        return f"unknown key {place!r}{foreign.explain_key(key) or nearest_key(key, known)}"
    if detail["type"] == "missing":
        return f"{place}: is missing"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if not place:
        return message
    value = detail.get("input")
    shown = "" if isinstance(value, dict | list | bool) else f", not {value!r}"
    return f"{place}: {message[0].lower()}{message[1:]}{shown}{foreign.explain_value(place, value)}"


def _model_at(place: tuple[str | int, ...]) -> type[Model]:
    """What holds the key at ``place``."""
    if len(place) > 1 and place[0] == "mosaic":
        return Mosaic
    if len(place) > 1 and place[0] in ("input_range", "output_range"):
        return BandRecipe if "bands" in place[1:-1] else RangeRecipe
    return Recipe


def nearest_key(word: str, known: Iterable[str]) -> str:
    """The key that ``word`` is probably meant to be, in brackets, or nothing: few keys are near
    enough to what another trainer calls something else."""
    plain = word.lower().replace("-", "_")
    best = max(known, key=lambda key: _likeness(plain, key))
    return f" (did you mean {best!r}?)" if _likeness(plain, best) >= LEAST_LIKENESS else ""


def _likeness(word: str, key: str) -> float:
    """From 0 to 1; what several keys begin with counts in whole words only."""
    if sorted(word) == sorted(key):  # two letters exchanged, which a short key has few others of
        return 1
    whole = difflib.SequenceMatcher(None, word, key).ratio()
    if whole >= ONE_LETTER or word.replace("_", "") == key.replace("_", ""):
        return whole
    start = key.rpartition("_")[0]
    if start and word.startswith(f"{start}_"):
        word, key = word.removeprefix(f"{start}_"), key.removeprefix(f"{start}_")
    return difflib.SequenceMatcher(None, word, key).ratio()


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
