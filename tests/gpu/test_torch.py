"""PyTorch's engine on a real GPU."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pix2pix_batch import bundle
from pix2pix_batch.errors import MemoryShortage
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference.cuda import CudaEngine
from pix2pix_batch.inference.engine import TorchEngine, Translated, psnr
from pix2pix_batch.noise import dropout_masks
from tests.contrast import fill_with_contrast

SIZE, BATCH = 128, 8
NORMS = ("batch-statistics", "running-statistics", "instance", "none")
MODEL = bundle.resolve("map2aerial")


def make(norm: str = "batch-statistics", ngf: int = 16) -> UNet:
    """A generator whose images use most of the range and seldom saturate."""
    net = UNet(Architecture(downs=7, ngf=ngf, norm=norm))
    fill_with_contrast(net)
    return net.eval().requires_grad_(False)


def images(seed: int = 0, count: int = BATCH) -> np.ndarray:
    """Smooth and busy parts, as photographs have."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (count, 8, 8, 3)).repeat(SIZE // 8, 1).repeat(SIZE // 8, 2)
    fine = random.normal(0, 12, (count, SIZE, SIZE, 3))
    return (coarse + fine).clip(0, 255).astype(np.uint8)


def masks_of(net: UNet) -> list[np.ndarray]:
    shapes = net.architecture.mask_shapes(SIZE, SIZE)
    each = [dropout_masks(bytes([i] * 16), shapes) for i in range(BATCH)]
    return [np.stack(masks) for masks in zip(*each, strict=True)]


def on_gpu(net: UNet, precision: str = "fp32", batch_size: int = BATCH) -> CudaEngine:
    return CudaEngine(net, size=SIZE, batch_size=batch_size, precision=precision)


def digest(made: Translated) -> str:
    return hashlib.sha256(made.images.tobytes() + made.embeddings.tobytes()).hexdigest()


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("precision", "bar"), [("fp32", 70), ("fp16", 50), ("bf16", 40)])
def test_it_is_close_to_the_cpu(precision: str, bar: float, norm: str, noise: bool) -> None:
    net = make(norm)
    masks = masks_of(net) if noise else None
    expected = TorchEngine(net, size=SIZE, batch_size=BATCH)(images(), masks)
    assert expected.images.std() > 20
    engine = on_gpu(net, precision)
    assert engine.remark == "", "its graph is captured"
    assert psnr(engine(images(), masks).images, expected.images) >= bar


@pytest.mark.parametrize("norm", NORMS)
def test_fp32_is_not_tf32(norm: str) -> None:
    """Whose 10 bits of mantissa are off by a thousandth."""
    net = make(norm)
    expected = TorchEngine(net, size=SIZE, batch_size=BATCH)(images()).embeddings
    error = np.abs(on_gpu(net)(images()).embeddings - expected).max()
    assert error < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_same_batch_gives_the_same_bytes(precision: str) -> None:
    """Again and again, in another engine, and in another process."""
    engine = on_gpu(make(), precision)
    first = digest(engine(images()))
    assert {digest(engine(images())) for _ in range(50)} == {first}
    assert digest(on_gpu(make(), precision)(images())) == first
    code = (
        "from tests.gpu.test_torch import *; "
        f"print(digest(on_gpu(make(), {precision!r})(images())))"
    )
    root = Path(__file__).parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert ran.stdout.strip() == first, ran.stderr


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_neighbours_places_and_numbers_change_nothing(precision: str) -> None:
    engine = on_gpu(make(), precision)
    first = engine(images())
    turned = engine(images()[::-1].copy())
    assert np.array_equal(turned.images[::-1], first.images)
    alone = engine(images()[2:3])
    assert len(alone.images) == 1 and np.array_equal(alone.images[0], first.images[2])
    assert np.array_equal(alone.embeddings[0], first.embeddings[2])


@pytest.mark.parametrize("noise", [False, True])
def test_overlapped_batches_come_back_in_order(noise: bool) -> None:
    net = make()
    engine = on_gpu(net, "fp16")
    masks = masks_of(net) if noise else None
    wanted = [digest(engine(images(number), masks)) for number in range(20)]
    assert len(set(wanted)) == 20
    made = []
    for number in range(20):
        batch = images(number)
        engine.start(batch, masks)
        batch[...] = 0  # it is done with the array
        if number:
            made.append(digest(engine.finish()))
    made.append(digest(engine.finish()))
    assert made == wanted


def test_a_batch_is_begun_and_not_waited_for() -> None:
    _, unet = bundle.load(MODEL)
    engine = CudaEngine(unet, size=256, batch_size=64, precision="fp32")
    batch = np.zeros((64, 256, 256, 3), np.uint8)
    engine(batch)
    engine.start(batch)
    engine.start(batch)
    assert not engine.in_flight[1].done.query(), "some hundred GFLOP are not done yet"
    engine.finish()
    engine.finish()


def test_after_a_capture_that_fails_all_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that looks at a value, for which PyTorch waits, as no capture allows."""
    net = make()
    wanted = digest(on_gpu(net)(images()))
    translate = UNet.translate

    def looking(self: UNet, x: torch.Tensor, masks: Any = None) -> Any:
        if x.is_cuda:
            x.sum().item()
        return translate(self, x, masks)

    with monkeypatch.context() as patch:
        patch.setattr(UNet, "translate", looking)
        engine = on_gpu(net)
        assert engine.remark.startswith("no CUDA graph could be captured (")
        assert torch.cuda.current_stream() == torch.cuda.default_stream()
        assert {digest(engine(images())) for _ in range(3)} == {wanted}
    big = [torch.empty(1 << 28, dtype=torch.uint8, device="cuda") for _ in range(4)]
    del big, engine
    torch.cuda.empty_cache()
    again = on_gpu(net)
    assert again.remark == "" and digest(again(images())) == wanted


def test_captures_while_another_thread_allocates() -> None:
    """As those that decode do. In CUDA's default mode the captures would fail of it."""
    ended = threading.Event()

    def allocate() -> None:
        held: list[torch.Tensor] = []
        while not ended.is_set():
            held.append(torch.empty(1 << 22, dtype=torch.uint8, pin_memory=True))
            if len(held) > 20:
                held.clear()
                torch._C._host_emptyCache() if hasattr(torch._C, "_host_emptyCache") else None

    other = threading.Thread(target=allocate)
    other.start()
    try:
        assert [on_gpu(make(), "fp16").remark for _ in range(5)] == [""] * 5
    finally:
        ended.set()
        other.join()


def test_a_batch_that_does_not_fit() -> None:
    """Is want of memory, of the GPU or of the host, and leaves room for one that does."""
    net = make()
    with pytest.raises(MemoryShortage, match=r"(?i)memory"):
        on_gpu(net, batch_size=1 << 22)
    gc.collect()
    assert on_gpu(net)(images()).images.shape == (BATCH, SIZE, SIZE, 3)


def test_memory_is_given_back() -> None:
    def used() -> int:
        gc.collect()
        torch.cuda.empty_cache()
        return torch.cuda.memory_reserved()

    on_gpu(make())(images())
    before = used()
    for _ in range(3):
        on_gpu(make())(images())
    assert used() <= before
