"""The shipped models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.engine import TorchEngine, psnr
from pix2pix_batch.tiling import Tiles
from pix2pix_batch.train.metrics import vertical_gradient

EXAMPLES = Path(__file__).parents[2] / "examples" / "maps"
SEA = (160, 200, 225)


def tiles_of(path: Path) -> list[np.ndarray]:
    return list(Tiles(np.asarray(Image.open(path).convert("RGB")), 256))


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    return np.stack([tile for path in sorted(EXAMPLES.iterdir()) for tile in tiles_of(path)])


@pytest.fixture(scope="module")
def aerial(maps: np.ndarray) -> dict[str, np.ndarray]:
    """What map2aerial makes of the example maps, in each of the CPU's precisions."""
    _, unet = bundle.load(bundle.resolve("map2aerial"))
    return {
        precision: TorchEngine(unet, size=256, batch_size=len(maps), precision=precision)(
            maps
        ).images
        for precision in ("fp32", "bf16")
    }


def test_it_is_small_and_says_where_it_comes_from() -> None:
    path = bundle.resolve("map2aerial")
    info = bundle.read_info(path)
    assert path.stat().st_size <= 15_000_000
    assert (info.image_size, info.fit) == (256, "tile")
    assert info.architecture.dropout_blocks
    assert "NASA" in info.provenance["license"]
    assert info.provenance["recipe"]["val_band"] == [-72, -44]


def test_bf16_is_close_to_fp32(aerial: dict[str, np.ndarray]) -> None:
    assert psnr(aerial["bf16"], aerial["fp32"]) >= 40


def test_the_sea_is_blue_and_the_land_is_not(
    maps: np.ndarray, aerial: dict[str, np.ndarray]
) -> None:
    output = aerial["fp32"].astype(int)
    blueness = output[..., 2] - output[..., 0]
    sea = (maps == SEA).all(axis=-1)
    assert blueness[sea].mean() > 40
    assert blueness[~sea].mean() < 10


def test_land_has_texture(maps: np.ndarray, aerial: dict[str, np.ndarray]) -> None:
    """An L1-only generator's land is nearly flat; grey levels here change from row to row."""
    land = [
        image
        for image, source in zip(aerial["fp32"], maps, strict=True)
        if (source != SEA).any(axis=-1).mean() > 0.9
    ]
    assert land and np.mean([vertical_gradient(image) for image in land]) > 2
