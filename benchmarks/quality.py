"""How good a model trained on mosaics is, on its validation band, and how close bf16 is to fp32.

    python benchmarks/quality.py DATA [--model map2aerial] [--picture pairs.png]

DATA holds the recipe's two mosaics. Error is the mean absolute difference, 0 to 255; sharpness
the mean absolute vertical gradient of the grey values over the target's. Through the engine, as
``convert`` runs it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.engine import TorchEngine, psnr
from pix2pix_batch.train.loop import Recipe
from pix2pix_batch.train.metrics import mean_absolute_error, sharpness


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--picture", type=Path, help="write input, output and truth there")
    arguments = parser.parse_args()

    path = bundle.resolve(arguments.model)
    info, unet = bundle.load(path)
    recipe = Recipe(**info.provenance["recipe"])
    crops = recipe.validation_crops(recipe.open_mosaics(arguments.data))
    sources = np.stack([source for source, _ in crops])
    targets = np.stack([target for _, target in crops])
    own_mean = targets.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    print(
        f"{path.stem}: {path.stat().st_size / 1e6:.1f} MB, {len(crops)} crops of {recipe.val_size}"
    )
    print(f"each crop's own mean colour: error {mean_absolute_error(own_mean, targets):.1f}")
    outputs = {}
    for precision in ("fp32", "bf16"):
        engine = TorchEngine(unet, size=recipe.val_size, batch_size=len(crops), precision=precision)
        outputs[precision] = output = engine(sources).images
        error, sharp = mean_absolute_error(output, targets), sharpness(output, targets)
        print(f"{precision}: error {error:.1f}, sharpness {sharp:.2f}")
    print(f"bf16 against fp32: PSNR {psnr(outputs['bf16'], outputs['fp32']):.1f} dB")
    if arguments.picture:
        rows = np.concatenate((sources, outputs["bf16"], targets), axis=2)
        half = len(rows) // 2
        sheet = np.concatenate((np.concatenate(rows[:half]), np.concatenate(rows[-half:])), axis=1)
        Image.fromarray(sheet).save(arguments.picture)


if __name__ == "__main__":
    main()
