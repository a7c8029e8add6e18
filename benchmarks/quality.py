"""What the shipped models' figures mean, and how close bf16 is to fp32.

    python benchmarks/quality.py DATA [--model map2aerial] [--set KEY=VALUE] [--picture pairs.png]

DATA is what the model's recipe was trained on. Error is the mean absolute difference, 0 to 255,
on the validation pairs; sharpness the mean absolute vertical gradient of the grey values over
the target's. Through the engine, as ``convert`` runs it. ``pix2pix-batch evaluate`` has more.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.inference.engine import TorchEngine, psnr
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.metrics import mean_absolute_error, sharpness


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
    split = open_data(arguments.data, recipe).val
    sources = np.stack([split[i][1] for i in range(len(split))])
    targets = np.stack([split[i][2] for i in range(len(split))])
    own_mean = targets.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    print(f"{info.name}: {path.stat().st_size / 1e6:.1f} MB, {len(split)} pairs of {recipe.size}")
    print(f"each crop's own mean colour: error {mean_absolute_error(own_mean, targets):.1f}")
    outputs = {}
    for precision in ("fp32", "bf16"):
        engine = TorchEngine(unet, size=recipe.size, batch_size=len(split), precision=precision)
        outputs[precision] = output = engine(sources).images
        error, sharp = mean_absolute_error(output, targets), sharpness(output, targets)
        print(f"{precision}: error {error:.2f}, sharpness {sharp:.3f}")
    print(f"bf16 against fp32: PSNR {psnr(outputs['bf16'], outputs['fp32']):.1f} dB")
    if arguments.picture:
        rows = np.concatenate((sources, outputs["bf16"], targets), axis=2)
        half = len(rows) // 2
        sheet = np.concatenate((np.concatenate(rows[:half]), np.concatenate(rows[-half:])), axis=1)
        Image.fromarray(sheet).save(arguments.picture)


if __name__ == "__main__":
    main()
