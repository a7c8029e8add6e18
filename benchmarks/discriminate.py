"""Whether a discriminator that was trained afresh tells a model's outputs from the truth.

    python benchmarks/discriminate.py DATA [--model map2aerial] [--fold NAME] [--steps 400]

DATA holds the mosaics of the model's recipe. On patches of 64 pixels from all of its folds but
one, a small network learns which are outputs and which are targets; accuracy is then that on the
patches of the fold left out, by default the first that the model was not trained on. 50 % is what
guessing gives, 100 % that every patch gives itself away. Patches are not overlapping there, as
many of either kind. Outputs are made in whole crops, as ``evaluate`` makes them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pix2pix_batch import bundle
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.value_ranges import eight_bits

PATCH = 64
BATCH = 32
"""Patches of either kind, of the same places."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--fold", help="test on this one instead of the one held out")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    path = bundle.resolve(arguments.model)
    info, unet = bundle.load(path)
    recipe = recipes.parse_recipe(info.provenance["recipe"], str(path))
    assert recipe.mosaic is not None and recipe.mosaic.folds, "the model's recipe has no folds"
    engine = TorchEngine(unet, size=recipe.size, batch_size=8, precision="fp32")
    crops = {name: crops_of(arguments.data, recipe, name, engine) for name in recipe.mosaic.folds}
    fold = arguments.fold or recipe.mosaic.held_out_folds[0]
    tested = crops.pop(fold)
    outputs, targets = (np.concatenate(kind) for kind in zip(*crops.values(), strict=True))
    judge = train(outputs, targets, arguments.steps, arguments.seed)
    accuracies = [share_right(judge, *kinds) for kinds in ((outputs, targets), tested)]
    print(
        f"{info.name}: trained on {', '.join(crops)}: {accuracies[0]:.1%} right; "
        f"on {fold}: {accuracies[1]:.1%}"
    )


def crops_of(
    data: Path, recipe: Recipe, fold: str, engine: TorchEngine
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets of a fold, ``uint8 (N, size, size, 3)``."""
    split = open_data(data, recipes.override_recipe(recipe, [f"mosaic.fold='{fold}'"])).val
    pairs = [split[i][1:] for i in range(len(split))]
    made = []
    for start in range(0, len(pairs), engine.batch_size):
        some = [source for source, _ in pairs[start : start + engine.batch_size]]
        batch = np.zeros((engine.batch_size, *some[0].shape), np.uint8)
        batch[: len(some)] = some
        made.append(np.array(engine(batch).images[: len(some)]))
    return np.concatenate(made), np.stack([target for _, target in pairs])


def train(outputs: np.ndarray, targets: np.ndarray, steps: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    layers: list[nn.Module] = []
    for before, width in ((3, 32), (32, 64), (64, 128), (128, 128)):
        layers += [nn.Conv2d(before, width, 4, 2, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]
    judge = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 1))
    optimise = torch.optim.AdamW(judge.parameters(), 1e-3, weight_decay=1e-2)
    fade = torch.optim.lr_scheduler.OneCycleLR(optimise, 2e-3, steps)
    truth = torch.cat([torch.zeros(BATCH), torch.ones(BATCH)])
    for _ in range(steps):
        batch = np.stack([draw_patch(kind, random) for kind in (outputs, targets)
                          for _ in range(BATCH)])  # fmt: skip
        loss = F.binary_cross_entropy_with_logits(
            judge(to_levels(torch.tensor(batch)))[:, 0], truth
        )
        optimise.zero_grad()
        loss.backward()
        optimise.step()
        fade.step()
    return judge.eval()


def draw_patch(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """At random, turned and mirrored."""
    top, left = random.integers(0, images.shape[1] - PATCH + 1, 2)
    patch = images[random.integers(len(images)), top : top + PATCH, left : left + PATCH]
    return np.rot90(patch[:, :: random.choice((-1, 1))], random.integers(4))


@torch.no_grad()
def share_right(judge: nn.Module, outputs: np.ndarray, targets: np.ndarray) -> float:
    """Of all patches of both kinds, those judged right."""
    right = [
        ((judge(patches_of(images)) > 0).float() == kind).float().mean()
        for kind, images in enumerate((outputs, targets))
    ]
    return float(torch.stack(right).mean())


to_levels = ValueMapping(eight_bits(3)).to_levels


def patches_of(images: np.ndarray) -> Tensor:
    """Not overlapping ones, ``float32 (N, 3, 64, 64)``."""
    count = images.shape[1] // PATCH
    cut = images[:, : count * PATCH, : count * PATCH]
    cut = cut.reshape(len(images), count, PATCH, count, PATCH, 3).swapaxes(2, 3)
    return to_levels(torch.tensor(cut.reshape(-1, PATCH, PATCH, 3)))


if __name__ == "__main__":
    main()
