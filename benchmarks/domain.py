"""Whether the distance from the training inputs tells other images from the model's own kind.

    python benchmarks/domain.py DATA [--model FILE] [--photos DIRECTORY] [--set KEY=VALUE]

DATA is what the model's recipe was trained on; its validation inputs, which training never saw,
are in the domain. Out of it are, easy: the targets of the same places (photos, where the model
takes maps), PHOTOS, noise, and white; hard: the same inputs with their colours shifted, without
colour, inverted, magnified, with a part from a target, or blurred. AUROC is the chance that one of
these is farther than a validation input. "Beyond 99" is the share that counts as doubtful. Through
the engine, as ``convert`` runs it. Then, what it costs, and what padding does to the distance.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import mannwhitneyu

from pix2pix_batch import bundle
from pix2pix_batch.distance import DOUBT, Domain
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.tiling import Tiles
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import open_data

BATCH = 8
TARGETS = "targets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--photos", type=Path, help="other images that the model is not for")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--set", action="append", default=[], help="a key of the recipe's")
    arguments = parser.parse_args()

    path = bundle.resolve(arguments.model)
    info, unet = bundle.load(path)
    domain = Domain.open(path)
    if domain is None:
        raise SystemExit(f"{path}: cannot tell; see 'pix2pix-batch model calibrate --help'")
    recipe = recipes.parse_recipe(info.provenance["recipe"], str(path))
    recipe = recipes.override_recipe(recipe, arguments.set)
    data = open_data(arguments.data, recipe)
    size = info.image_size
    engine = TorchEngine(unet, size=size, batch_size=BATCH, precision=arguments.precision)

    def distances(images: list[np.ndarray]) -> np.ndarray:
        found = []
        for at in range(0, len(images), BATCH):
            batch = np.zeros((BATCH, size, size, info.architecture.in_channels), np.uint8)
            batch[: len(images[at : at + BATCH])] = images[at : at + BATCH]
            found += domain.squared_distances(engine(batch).embeddings).tolist()
        return np.array([domain.to_percentile(square**0.5) for square in found[: len(images)]])

    inputs = [np.ascontiguousarray(data.val[i][1]) for i in range(len(data.val))]
    inside = distances(inputs)
    print(f"{info.name}, {arguments.precision}: {len(inputs)} validation inputs of {size} pixels")
    quartiles = ", ".join(f"{value:.0f}" for value in np.percentile(inside, (25, 50, 75, 100)))
    print(f"their percentiles: quartiles and largest {quartiles}\n")
    print(
        "| images | number | AUROC | beyond 99 | median distance |\n| --- | --- | --- | --- | --- |"
    )
    for name, pictures in others(data, inputs, size, arguments.photos).items():
        outside = distances(pictures)
        auroc = mannwhitneyu(outside, inside).statistic / len(outside) / len(inside)
        doubtful = (outside >= DOUBT).mean()
        median = np.median(outside)
        print(f"| {name} | {len(pictures)} | {auroc:.3f} | {doubtful:.0%} | {median:.0f} |")
    batch = np.repeat(inputs[0][None], BATCH, 0)
    took = {}
    for what, work in (
        ("engine", lambda: engine(batch)),
        ("distance", lambda: domain.squared_distances(np.zeros((BATCH, len(domain.metric.mean))))),
    ):
        work()
        start = time.process_time()
        for _ in range(10):
            work()
        took[what] = (time.process_time() - start) / 10 / BATCH * 1e3
    print(f"\nengine {took['engine']:.2f} ms an image, distance {took['distance']:.3f} ms")
    print("\n| side of the image | share of the tile | beyond 99 | median |")
    print("| --- | --- | --- | --- |")
    some = inputs + [np.ascontiguousarray(data.train[i][1]) for i in range(0, len(data.train), 3)]
    for side in (size, size * 7 // 8, size * 3 // 4, size * 5 // 8, size // 2, size // 4):
        padded = [next(iter(Tiles(image[:side, :side], size))) for image in some]
        found = distances(padded)
        share = (side / size) ** 2
        print(f"| {side} | {share:.2f} | {(found >= DOUBT).mean():.0%} | {np.median(found):.0f} |")


def others(
    data: object, inputs: list[np.ndarray], size: int, photos: Path | None
) -> dict[str, list[np.ndarray]]:
    """Images that are not of the domain, by what they are."""
    random = np.random.default_rng(0)
    shape = inputs[0].shape
    found = {TARGETS: [data.val[i][2] for i in range(len(data.val))]}
    if photos is not None:
        found[f"{photos.name}"] = [
            np.ascontiguousarray(tile)
            for file in image_files(photos)
            for tile in list(Tiles(images.read(file.read_bytes(), shape[2]).pixels, size))[:40]
        ]
    few = random.integers(0, 256, (30, 8, 8, 3), np.uint8)
    found["noise"] = [random.integers(0, 256, shape, np.uint8) for _ in range(30)]
    found["soft noise"] = [
        np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC))
        for one in few
    ]
    found["white"] = [np.full(shape, 255, np.uint8)]
    for shift in (20, 60, 128):
        name = f"hard: hue shifted by {shift * 360 // 256} degrees"
        found[name] = [hue(image, shift) for image in inputs]
    found["hard: inverted"] = [255 - image for image in inputs]
    found["hard: grey"] = [
        np.asarray(Image.fromarray(image).convert("L").convert("RGB")) for image in inputs
    ]
    found["hard: magnified 4 times"] = [
        np.asarray(Image.fromarray(image[: size // 4, : size // 4]).resize((size, size)))
        for image in inputs
    ]
    found["hard: a quarter is photo"] = [image.copy() for image in inputs]
    for image, photo in zip(found["hard: a quarter is photo"], found[TARGETS], strict=True):
        image[: size // 2, : size // 2] = photo[: size // 2, : size // 2]
    found["hard: blurred to a quarter"] = [
        np.asarray(Image.fromarray(image).resize((size // 4,) * 2).resize((size, size)))
        for image in inputs
    ]
    return found


def hue(image: np.ndarray, shift: int) -> np.ndarray:
    values = np.array(Image.fromarray(image).convert("HSV"))
    values[..., 0] += np.uint8(shift)
    return np.asarray(Image.fromarray(values, "HSV").convert("RGB"))


if __name__ == "__main__":
    main()
