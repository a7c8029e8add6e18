"""The shipped models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.imaging.tiling import Tiles
from pix2pix_batch.inference.engine import TorchEngine, psnr
from pix2pix_batch.train import recipe
from pix2pix_batch.train.metrics import vertical_gradient

EXAMPLES = Path(__file__).parents[2] / "examples" / "maps"
CARDS = Path(__file__).parents[2] / "docs" / "models"
SEA = ((112, 160, 205), (128, 174, 214), (146, 188, 222), (166, 204, 230), (190, 220, 238))
"""From deep to shallow."""
LEFT_OUT = {"map2aerial": (-125, -100), "day2night": (-72, -44)}
"""The longitudes that each one's last training left out, as its card says."""


def tiles_of(path: Path) -> list[np.ndarray]:
    return list(Tiles(np.asarray(Image.open(path).convert("RGB")), 256))


def sea_of(maps: np.ndarray) -> np.ndarray:
    """Where it is, ``bool (..., H, W)``."""
    return np.any([(maps == colour).all(axis=-1) for colour in SEA], axis=0)


def runs_of(provenance: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The training runs that a model was made of: its own, or those that were mixed."""
    if "training" in provenance:
        yield provenance
    for other in provenance.get("interpolated", {}).get("of", []):
        yield from runs_of(other["provenance"])


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    return np.stack([tile for path in sorted(EXAMPLES.iterdir()) for tile in tiles_of(path)])


def map2aerial(maps: np.ndarray, precision: str) -> np.ndarray:
    _, unet = bundle.load(bundle.resolve("map2aerial"))
    return TorchEngine(unet, size=256, batch_size=len(maps), precision=precision)(maps).images


@pytest.fixture(scope="module")
def aerial(maps: np.ndarray) -> np.ndarray:
    """What map2aerial makes of the example maps."""
    return map2aerial(maps, "fp32")


@pytest.mark.parametrize(("name", "size"), [("map2aerial", 256), ("day2night", 256)])
def test_they_are_small_and_say_where_they_come_from(name: str, size: int) -> None:
    path = bundle.resolve(name)
    info = bundle.read_info(path)
    assert path.stat().st_size <= 15_000_000
    assert (info.name, info.image_size, info.fit) == (name, size, "tile")
    assert "NASA" in info.provenance["data"]["license"]
    assert info.provenance["data"]["fingerprint"]


@pytest.mark.parametrize("name", bundle.shipped_names())
def test_each_was_made_by_the_last_command_of_its_card(name: str) -> None:
    provenance = bundle.read_info(bundle.resolve(name)).provenance
    card = (CARDS / f"{name}.md").read_text(encoding="utf-8")
    command = re.findall(r"pix2pix-batch train DATA \w+ --recipe .*", card)[-1]
    assert f"--recipe {name}" in command
    overrides = re.findall(r"--set (\S+)", command)
    own = recipe.parse_recipe(provenance["recipe"], name)  # keys may have come since, as defaults
    assert own == recipe.read_recipe(recipe.find_recipe(name), overrides)
    for run in runs_of(provenance):
        assert run["training"]["step"] == run["training"]["steps"]
        assert run["data"]["fingerprint"] == provenance["data"]["fingerprint"]
    assert own.mosaic is not None
    from_west, to_east = LEFT_OUT[name]
    bands = own.mosaic.held_out_bands
    assert any(west <= from_west and east >= to_east for west, east in bands)


@pytest.mark.parametrize("name", bundle.shipped_names())
def test_each_knows_its_training_inputs(name: str) -> None:
    embedding = bundle.load_embedding(bundle.resolve(name))
    assert embedding is not None and embedding.inputs > 100
    assert np.linalg.eigvalsh(embedding.covariance).min() > -1e-3


def test_nights_are_dark_with_lights() -> None:
    """The sea stays dark; on land there are points as bright as cities."""
    _, unet = bundle.load(bundle.resolve("day2night"))
    night = []
    for path in sorted((EXAMPLES.parent / "day").iterdir()):
        tiles = np.stack(list(Tiles(np.asarray(Image.open(path).convert("RGB")), 256)))
        night.append(TorchEngine(unet, size=256, batch_size=len(tiles))(tiles).images)
    pixels = np.concatenate(night).astype(int)
    assert np.median(pixels) < 60
    assert 0.001 < (pixels.min(axis=-1) > 128).mean() < 0.05


def test_bf16_is_close_to_fp32(maps: np.ndarray, aerial: np.ndarray) -> None:
    """Of a map, since a CPU without bf16 takes long for it."""
    assert psnr(map2aerial(maps[:1], "bf16"), aerial[:1]) >= 40


def test_the_sea_is_blue_and_the_land_is_not(maps: np.ndarray, aerial: np.ndarray) -> None:
    output = aerial.astype(int)
    blueness = output[..., 2] - output[..., 0]
    sea = sea_of(maps)
    assert blueness[sea].mean() > 40
    assert blueness[~sea].mean() < 10


def test_land_is_not_flat(maps: np.ndarray, aerial: np.ndarray) -> None:
    """Relief, climates and texture show. A model of L1 alone, which is blurred, has 1.4."""
    land = [
        image for image, source in zip(aerial, maps, strict=True) if sea_of(source).mean() < 0.1
    ]
    assert land and np.mean([vertical_gradient(image) for image in land]) > 4
