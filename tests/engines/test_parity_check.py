"""The parity gate: figures on images, what is set aside, and the images it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.engines import layers, library, parity_check, samples
from pix2pix_batch.engines.cache import Cache, Entry
from pix2pix_batch.engines.parity_check import Parity
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import EngineError, InputError
from pix2pix_batch.inference.engine import Engine, TorchEngine, Translated
from pix2pix_batch.value_ranges import eight_bits


class Off:
    """An engine whose bytes are off by ``much`` in every image, where they can be."""

    def __init__(self, engine: Engine, much: int) -> None:
        self.engine, self.much = engine, much
        self.batch_size, self.size, self.precision = 3, engine.size, engine.precision
        self.device, self.backend = engine.device, "off"

    def __call__(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> Translated:
        made = np.concatenate([self.engine(one[None], masks_of(masks, 1)).images for one in images])
        moved = np.where(made < 128, made + self.much, made - self.much).astype(np.uint8)
        return Translated(moved, np.zeros((len(images), 1), np.float32))


def masks_of(masks: Sequence[np.ndarray] | None, count: int) -> list[np.ndarray] | None:
    return None if masks is None else [mask[:count] for mask in masks]


def engine(model: Path, batch_size: int = 1) -> TorchEngine:
    return TorchEngine(bundle.load(model)[1], size=64, batch_size=batch_size)


def kept(order: EngineSpec) -> tuple[Cache, Entry]:
    key = order.key(library.load("tensorrt_rtx"), "sm89")
    cache = Cache()
    return cache, cache.obtain(key, lambda: (b"plan", {"model": order.name})).entry


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_figures(tiny: Path, count: int) -> None:
    """10 * log10(255**2 / 5**2) is 34.15; engines with other batch sizes see the same images."""
    images = samples.read_samples(None, 64, eight_bits(3))[np.arange(count) % 4]
    found = parity_check.compare(Off(engine(tiny), 5), engine(tiny, 2), images)
    assert (round(found.psnr, 2), found.greatest, found.images) == (34.15, 5, count)
    assert not found.passes
    assert found.as_dict() == {"psnr": 34.15, "greatest": 5, "images": count}
    same = parity_check.compare(engine(tiny), engine(tiny, 2), images)
    assert same.passes and same.greatest == 0 and same.as_dict()["psnr"] == 999.0


def test_the_bar() -> None:
    assert Parity(40.0, 9, 4).passes and not Parity(39.99, 9, 4).passes
    assert not Parity(float("nan"), 0, 4).passes


def test_what_passes_is_noted(tiny: Path, place: Path) -> None:
    cache, entry = kept(EngineSpec(tiny, "fp16", 3, 64))
    images = samples.read_samples(None, 64, eight_bits(3))
    after, parity = parity_check.check_entry(
        cache, entry, Off(engine(tiny), 1), EngineSpec(tiny, "fp16", 3, 64), images
    )
    assert parity.greatest == 1 and after.facts["parity"] == parity.as_dict()
    assert list(cache.entries()) == [after] and after.refusal == ""


def test_what_fails_is_set_aside_and_kept(tiny: Path, place: Path) -> None:
    order = EngineSpec(tiny, "fp16", 3, 64)
    cache, entry = kept(order)
    with pytest.raises(EngineError) as caught:
        parity_check.check_entry(
            cache, entry, Off(engine(tiny), 5), order, samples.read_samples(None, 64, eight_bits(3))
        )
    message = str(caught.value)
    assert f"the fp16 engine {entry.id[:12]} is 34.2 dB from fp32 PyTorch on 4 images" in message
    assert "(bar 40; fp16 itself: " in message and "verify --layers" in message
    (found,) = cache.entries()
    assert isinstance(found, Entry) and found.refusal and found.facts["parity"]["psnr"] == 34.15


def test_an_engine_with_noise_is_compared_with_noise(noisy: Path, place: Path) -> None:
    order = EngineSpec(noisy, "fp16", 3, 64, noise=True)
    cache, entry = kept(order)
    _, parity = parity_check.check_entry(
        cache, entry, Off(engine(noisy), 0), order, samples.read_samples(None, 64, eight_bits(3))
    )
    assert parity.greatest == 0
    plain = parity_check.translate_all(engine(noisy), samples.read_samples(None, 64, eight_bits(3)))
    shapes = bundle.read_info(noisy).architecture.mask_shapes(64, 64)
    masks = [np.zeros(shape, bool) for shape in shapes]
    assert (
        parity_check.translate_all(
            engine(noisy), samples.read_samples(None, 64, eight_bits(3)), masks
        )
        != plain
    ).any()


def test_shipped_images() -> None:
    assert samples.read_samples(None, 256, eight_bits(3)).shape == (4, 256, 256, 3)
    assert sum(path.stat().st_size for path in samples.SHIPPED.iterdir()) < 100_000
    assert samples.read_samples(None, 256, eight_bits(3)).std() > 20, "they show something"
    for channels in (1, 2, 3, 4, 5):
        found = samples.read_samples(None, 64, eight_bits(channels))
        assert found.shape == (4, 64, 64, channels) and found.flags.c_contiguous


def test_images_of_ones_own(tmp_path: Path) -> None:
    for i in range(20):
        folder = tmp_path / str(i % 3)
        folder.mkdir(exist_ok=True)
        Image.new("RGB", (30, 50), (i, 0, 0)).save(folder / f"{i:02}.png")
    (tmp_path / "0" / "bad.jpg").write_text("no image")
    found = samples.read_samples(tmp_path, 64, eight_bits(3))
    assert found.shape == (samples.COUNT, 64, 64, 3)
    assert list(found[:4, 0, 0, 0]) == [0, 3, 6, 9]
    with pytest.raises(InputError, match="is no directory of images"):
        samples.read_samples(tmp_path / "0" / "bad.jpg", 64, eight_bits(3))


def test_layers_of_norms_are_seen_too(noisy: Path) -> None:
    from pix2pix_batch.bundle import BundleInfo
    from pix2pix_batch.generators.unet import Architecture
    from pix2pix_batch.generators.unet_network import UNet

    architecture = Architecture(downs=5, ngf=2, norm="instance", dropout=False)
    net = UNet(architecture).init_weights(torch.Generator().manual_seed(0)).eval()
    net.down[0].conv.weight.data *= 20
    net.down[1].conv.weight.data *= 1e6  # the norm takes it out again, but too late
    path = noisy.with_name("hidden.safetensors")
    bundle.save(path, BundleInfo("hidden", architecture, 32), net, half=False)
    order = EngineSpec(path, "fp16", 2, 32)
    found = layers.first_divergent(
        layers.compare(order, samples.read_samples(None, 32, eight_bits(3))[:2])
    )
    assert found is not None and found.name == "down.1.conv" and not found.finite
