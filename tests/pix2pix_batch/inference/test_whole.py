"""Images as a whole, each at its own size, and tiles that share an image's statistics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pix2pix_batch import bundle
from pix2pix_batch.generators import CutResNet, Description, GlobalGenerator, LocalEnhancer, ResNet
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.imaging.tiling import Padded, SharingTiles, Tiles
from pix2pix_batch.inference import fitting
from pix2pix_batch.inference.batch_builder import BatchBuilder
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.inference.fitting import fit_to_model, large_tile, pad_size
from pix2pix_batch.inference.settings import settings_without_job
from tests.reference_unet import lively

SMALL = ResNet(ngf=4, blocks=2)
FAMILIES: list[Description] = [
    SMALL,
    ResNet(ngf=4, blocks=1, norm="batch-statistics", padding="zeros", upsample="nearest"),
    ResNet(ngf=40, blocks=1, norm="none"),
    CutResNet(ngf=4, blocks=1),
    GlobalGenerator(ngf=2, blocks=1, norm="running-statistics"),
    LocalEnhancer(ngf=2, downs=2, blocks=1, local_blocks=1),
]


def make(architecture: Description) -> Generator:
    net = architecture.build()
    lively(net)
    return net.eval().requires_grad_(False)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something smooth with an uneven brightness, ``uint8 (H, W, 3)``."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 32
    waves = [np.sin(a * y + b * x + c) for a, b, c in random.uniform(-1, 1, (3, 3)) * 3]
    tilt = (y / y.max() + x / x.max())[:, :, None]
    return np.clip(np.stack(waves, -1) * 50 + tilt * 70 + 50, 0, 255).astype(np.uint8)


def golden(net: Generator, pixels: np.ndarray) -> np.ndarray:
    wide = net.architecture.build()
    wide.load_state_dict(net.state_dict())
    x = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2).double() / 127.5 - 1
    with torch.no_grad():
        y = wide.double().eval()(x)
    return ((y[0].permute(1, 2, 0) + 1) * 127.5).numpy()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", FAMILIES, ids=lambda a: f"{a.family} {a.norm}")
def test_one_engine_takes_images_of_any_size(architecture: Description, precision: str) -> None:
    net = make(architecture)
    engine = TorchEngine(net, size=64, batch_size=1, precision=precision)
    sizes = [(64, 64), (96, 32), (64, 128), (32, 96), (64, 64)]
    made = {size: engine(picture(*size)[None]).images[0] for size in sizes}
    for size, image in made.items():
        difference = np.abs(image - golden(net, picture(*size))).mean()
        assert difference <= (0.3 if precision == "fp32" else 6)
        alone = TorchEngine(net, size=64, batch_size=1, precision=precision)
        assert np.array_equal(alone(picture(*size)[None]).images[0], image)


@pytest.mark.parametrize("architecture", FAMILIES[:4], ids=lambda a: f"{a.family} {a.norm}")
def test_statistics_of_the_image_itself_change_nothing(architecture: Description) -> None:
    net, pixels = make(architecture), picture(64, 96)[None]
    engine = TorchEngine(net, size=64, batch_size=1)
    norms = engine.measure_norms(pixels)
    own = engine(pixels).images
    assert np.array_equal(engine.translate_with(pixels, None, norms).images, own)
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
    plain = net.measure_norms(x)
    assert norms.keys() == plain.keys()
    for name, found in norms.items():
        torch.testing.assert_close(found[1], plain[name][1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(net.translate(x, None, plain)[0], net(x), rtol=1e-4, atol=1e-4)
    other = engine.measure_norms(picture(64, 96, seed=5)[None])
    if norms:
        assert not np.array_equal(engine.translate_with(pixels, None, other).images, own)


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from(FAMILIES))
def test_whole_images_are_padded_to_what_the_network_takes(
    height: int, width: int, architecture: Description
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    fitted = fit_to_model(pixels, "whole", 64, architecture)
    assert isinstance(fitted, Padded) and len(fitted) == 1
    (tile,) = fitted
    for side, own in zip(tile.shape[:2], (height, width), strict=True):
        assert side % architecture.multiple == 0 and side >= max(own, architecture.least_side)
        assert side - own < architecture.multiple or side == architecture.least_side
    fitted.add_tile(0, tile)
    assert fitted.result is not None and np.array_equal(fitted.result, pixels)
    again = fitted.restart()
    assert again.result is None and np.array_equal(next(iter(again)), tile)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Images of more than some 200 pixels' sides do not fit."""
    monkeypatch.setattr(fitting, "WHOLE_MEMORY", fitting.image_memory(SMALL, (200, 200)))
    monkeypatch.setattr(fitting, "LARGE_TILE", 128)
    large_tile.cache_clear()
    yield
    large_tile.cache_clear()


@pytest.mark.usefixtures("little_memory")
def test_what_does_not_fit_is_cut_into_tiles() -> None:
    assert isinstance(fit_to_model(picture(200, 200), "whole", 64, SMALL), Padded)
    large = fit_to_model(picture(200, 204), "whole", 64, SMALL)
    assert isinstance(large, SharingTiles) and large.size == 128
    fixed = ResNet(ngf=4, blocks=2, norm="none")
    assert type(fit_to_model(picture(400, 300), "whole", 64, fixed)) is Tiles
    assert fitting.reckoned_size(SMALL, [(100, 100), (196, 200)]) == (196, 200)
    assert fitting.reckoned_size(SMALL, [(100, 100), (4000, 4000)]) == (128, 128)
    assert fitting.reckoned_size(SMALL, []) == (128, 128)


@given(st.integers(1, 500), st.integers(1, 500))
def test_parts_are_from_all_over_an_image(height: int, width: int) -> None:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.arange(height)[:, None] * 255 // max(1, height - 1)
    pixels[..., 1] = np.arange(width) * 255 // max(1, width - 1)
    parts = SharingTiles(pixels, 64, 16).parts
    assert parts.shape == (16, 16, 16, 3)
    for channel, length in ((0, height), (1, width)):
        if length >= 16:
            found = parts[..., channel]
            assert found.min() == 0 and found.max() == 255 * (length > 1)
            assert abs(found.mean() - pixels[..., channel].mean()) < 3


def run(net: Generator, tiles: Tiles | Padded, folder: Path) -> np.ndarray:
    """As a worker does."""
    path = folder / "x.safetensors"
    bundle.save(path, bundle.BundleInfo("x", net.architecture, 64, "whole"), net, half=False)
    settings = settings_without_job(path, 64, "whole", "cpu", "fp32")
    engine = TorchEngine(net, size=64, batch_size=1)
    lane: BatchBuilder[int] = BatchBuilder(engine, settings, net.architecture)
    norms = lane.measure_norms(tiles.parts) if isinstance(tiles, SharingTiles) else None
    for index, tile in enumerate(tiles):
        assert lane.add(tile, index, None)
        _, batch, masks = lane.take()
        tiles.add_tile(index, lane.translate(batch, masks, norms).images[0])
    assert tiles.result is not None
    return tiles.result


def jump_at_borders(image: np.ndarray, size: int) -> float:
    """The mean jump where tiles begin or end, over that elsewhere."""
    found = []
    for axis in (0, 1):
        length = image.shape[axis]
        jumps = np.abs(np.diff(image.astype(float), axis=axis)).mean(axis=(1 - axis, 2))
        tiles = Tiles(np.zeros((length, size, 1), np.uint8), size)
        starts = np.arange(tiles.rows.count) * tiles.rows.stride - tiles.rows.before
        borders = {int(place) - 1 for start in starts for place in (start, start + size)}
        at = [k for k in range(length - 1) if k in borders]
        found.append((jumps[at].mean(), np.delete(jumps, at).mean()))
    return float(np.mean([at for at, _ in found]) / np.mean([inside for _, inside in found]))


def soften(net: Generator) -> Generator:
    """Kernels that are mostly blurs: of smooth images it makes smooth ones, as trained ones do."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            flat = module.weight.mean(dim=(2, 3), keepdim=True)
            module.weight.copy_(0.9 * flat + 0.02 * module.weight)
    return net


@pytest.mark.usefixtures("little_memory")
def test_tiles_that_share_statistics_have_no_seams_and_are_as_the_whole(tmp_path: Path) -> None:
    net, pixels = soften(make(SMALL)), picture(320, 320)
    whole = run(net, Padded(pixels, (320, 320)), tmp_path).astype(float)
    shared = run(net, SharingTiles(pixels, 128, 32), tmp_path)
    apart = run(net, Tiles(pixels, 128), tmp_path)
    assert jump_at_borders(shared, 128) <= 1.1
    assert np.abs(shared - whole).mean() < np.abs(apart - whole).mean() / 2


def test_whole_images_are_for_networks_of_any_size(tmp_path: Path) -> None:
    from pix2pix_batch.generators.unet import Architecture

    with pytest.raises(ValueError, match="fit whole is for networks that take images of any size"):
        bundle.BundleInfo("x", Architecture(), 256, "whole")
    assert Architecture().default_fit == "resize"
    assert [a.default_fit for a in FAMILIES] == ["whole", "whole", "tile", "whole", "tile", "whole"]
    assert pad_size((1, 1000), SMALL) == (8, 1000)
    assert isinstance(make(SMALL), nn.Module)
