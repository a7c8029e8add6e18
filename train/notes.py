"""What ``dataset check`` has to say of data besides problems and doubts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import counted, shown
from pix2pix_batch.train import manifest, pairs
from pix2pix_batch.train import recipe as recipes

GREY_MODES = ("1", "L", "I")

if TYPE_CHECKING:
    from pix2pix_batch.train.dataset import Check


def of(result: Check, found: pairs.Survey) -> Iterator[str]:
    """What to know of data in which files were looked at."""
    recipe = result.recipe
    known = {os.path.abspath(path) for pair in found.pairs for path in pair.files()}
    known |= {os.path.abspath(file) for file, _ in found.problems}
    places = [os.path.abspath(side) + os.sep for one in found.sides for side in (one.a, one.b)]
    files = map(os.path.abspath, image_files(found.data))
    others = [path for path in files if path not in known and not path.startswith(tuple(places))]
    if found.hint:
        yield found.hint
    if others:
        of = "belongs" if len(others) == 1 else "belong"
        yield (
            f"{counted(len(others), 'image')} in {shown(found.data)} {of} to no pair and will not "
            f"be used, such as {shown(others[0])}"
        )
    shapes = [(int(width), int(height)) for width, height in
              (size.split("x") for size in result.sizes)]  # fmt: skip
    narrow = sum(n for (width, height), n in zip(shapes, result.sizes.values(), strict=True)
                 if 2 * width <= height)  # fmt: skip
    if found.layout == "side-by-side" and 0 < narrow < len(found.pairs):
        yield f"{counted(narrow, 'image')} of them not wider than high; are they side by side?"
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


def left_alone(found: pairs.Survey) -> LeftAlone:
    """What lies in the data and is no input, as ``convert`` tells it; without the manifest."""
    left = LeftAlone()
    for _ in image_files(found.data, left):
        pass
    if found.layout == "manifest" and left.other.count:
        left.other.count -= 1
        left.other.first = [x for x in left.other.first if not manifest.is_manifest(Path(x))]
    return left
