"""What the shipped models' figures mean: brightness, and how close bf16 is to fp32.

    python benchmarks/quality.py DATA [--model map2aerial] [--set KEY=VALUE] [--picture pairs.png]

DATA is what the model's recipe was trained on. Error is the mean absolute difference, 0 to 255,
on the validation pairs; sharpness the mean absolute vertical gradient of the grey values over
the target's. A model of mosaics with folds is looked at on each; the histogram says what share of
all pixels is how bright, in outputs and in the truth. Through the engine, as ``convert`` runs it.
``pix2pix-batch evaluate`` has more.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference.engine import TorchEngine, psnr
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.metrics import (
    bright_share,
    mean_absolute_error,
    mean_colour_error,
    ratio,
    to_grey,
    vertical_gradient,
)
from pix2pix_batch.train.recipe import Recipe

EDGES = (0, 16, 32, 64, 96, 128, 192, 256)
"""Grey values between which pixels are counted."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--set", action="append", default=[], help="a key of the model's recipe")
    parser.add_argument("--picture", type=Path, help="write input, output and truth there")
    arguments = parser.parse_args()

    path = bundle.resolve(arguments.model)
    info, unet = bundle.load(path)
    values = dict(info.provenance["recipe"])
    for override in arguments.set:
        recipes.set_key(values, override)
    recipe = recipes.parse_recipe(values, str(path))
    print(f"{info.name}: {path.stat().st_size / 1e6:.1f} MB")
    names = list(recipe.mosaic.folds) if recipe.mosaic is not None else []
    for name in names or [None]:
        one = recipes.override_recipe(recipe, [f"mosaic.fold='{name}'"] if name else [])
        picture = (
            arguments.picture if name is None or name in recipe.mosaic.held_out_folds[:1] else None
        )
        look_at(unet, arguments.data, one, name or "validation pairs", picture)


def look_at(unet: UNet, data: Path, recipe: Recipe, name: str, picture: Path | None) -> None:
    split = open_data(data, recipe).val
    sources = np.stack([split[i][1] for i in range(len(split))])
    targets = np.stack([split[i][2] for i in range(len(split))])
    plain = float(np.mean([mean_colour_error(target) for target in targets]))
    print(f"\n{name}: {len(split)} pairs of {recipe.size}; own mean colour: error {plain:.1f}")
    outputs = {}
    for precision in ("fp32", "bf16"):
        engine = TorchEngine(unet, size=recipe.size, batch_size=len(split), precision=precision)
        outputs[precision] = output = engine(sources).images
        error = mean_absolute_error(output, targets)
        sharp = ratio(vertical_gradient(output), vertical_gradient(targets))
        bright = ratio(bright_share(output), bright_share(targets))
        print(
            f"{precision}: error {error:.2f}, {error / plain:.3f} of own mean colour's, "
            f"sharpness {sharp:.3f}, bright {bright:.2f}"
        )
    print(f"bf16 against fp32: PSNR {psnr(outputs['bf16'], outputs['fp32']):.1f} dB")
    shares = [np.histogram(to_grey(x), EDGES)[0] / x[..., 0].size for x in (output, targets)]
    heads = [f"{low} to {high - 1}" for low, high in itertools.pairwise(EDGES)]
    for title, cells in (
        ("grey", heads),
        *((t, [f"{v:.2%}" for v in s]) for t, s in zip(("output", "truth"), shares, strict=True)),
    ):
        print(f"{title:8}" + "".join(f"{cell:>12}" for cell in cells))
    if picture:
        rows = np.concatenate((sources, outputs["bf16"], targets), axis=2)
        half = len(rows) // 2
        sheet = np.concatenate((np.concatenate(rows[:half]), np.concatenate(rows[-half:])), axis=1)
        Image.fromarray(sheet).save(picture)


if __name__ == "__main__":
    main()
