"""What ``dataset check`` has to say of data besides problems and doubts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pix2pix_batch.imaging import pages
from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import manifest
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.check_result import Check
from pix2pix_batch.train.survey import Survey

GREY_MODES = ("1", "L", "I")


def list_notes(result: Check, surveyed: Survey) -> Iterator[str]:
    """What to know of data in which files were looked at; what is left alone of them is noted in
    ``result``."""
    recipe = result.recipe
    known = {os.path.abspath(path) for pair in surveyed.pairs for path in pair.files()}
    known |= {pages.locate(path)[0] for path in known}
    known |= {os.path.abspath(file) for file, _ in surveyed.problems}
    places = [
        os.path.abspath(side) + os.sep for sides in surveyed.sides for side in (sides.a, sides.b)
    ]
    files = map(os.path.abspath, image_files(surveyed.data, result.left, surveyed.rasters))
    others = [path for path in files if path not in known and not path.startswith(tuple(places))]
    if surveyed.layout == "manifest":
        _drop_manifest(result.left)
    if surveyed.hint:
        yield surveyed.hint
    if links := surveyed.describe_links():
        yield links
    if others:
        of = "belongs" if len(others) == 1 else "belong"
        yield (
            f"{format_count(len(others), 'image')} in {escape(surveyed.data)} {of} to no pair and "
            f"will not be used, such as {escape(others[0])}"
        )
    shapes = [(int(width), int(height)) for width, height in
              (size.split("x") for size in result.sizes)]  # fmt: skip
    narrow = sum(n for (width, height), n in zip(shapes, result.sizes.values(), strict=True)
                 if 2 * width <= height)  # fmt: skip
    if surveyed.layout == "side-by-side" and 0 < narrow < len(surveyed.pairs):
        yield f"{format_count(narrow, 'image')} of them not wider than high; are they side by side?"
    if recipe.fit == "resize" and any(width != height for width, height in shapes):
        yield "images that are not square are squeezed into squares (fit=resize)"
    if sum("its partner" in what for _, what in result.problems) > 1:
        yield "an output has its input's size: scale A and B alike beforehand, the smaller ones up"
    if advice := recipes.advise_size(recipe, Counter(dict.fromkeys(shapes, 1))):
        yield advice
    grey = [
        all(mode.split(";")[0] in GREY_MODES for mode in modes) for modes in result.modes.values()
    ]
    if grey and all(grey) and (recipe.in_channels, recipe.out_channels) != (1, 1):
        yield "all images are grey; --set in_channels=1 --set out_channels=1 trains a smaller model"


def _drop_manifest(left: LeftAlone) -> None:
    """The file that lists the pairs is used, and not left alone."""
    manifests = [name for name in left.other.first if manifest.is_manifest(Path(name))]
    if manifests:
        left.other.first.remove(manifests[0])
    left.other.count -= bool(left.other.count)
