"""The engine: bytes in, bytes out, and each image for itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.backend_names import BACKENDS
from pix2pix_batch.inference.engine import TorchEngine, default_batch_size, psnr, to_bytes
from pix2pix_batch.noise import dropout_masks

pytestmark = pytest.mark.usefixtures("one_thread")

NORMS = ("batch-statistics", "running-statistics", "instance", "none")
BATCH, SIZE = 3, 64

needs_bf16 = pytest.mark.skipif(
    not onednn.available(torch.bfloat16), reason="this CPU or PyTorch has no bf16 convolutions"
)


@pytest.fixture(params=["oneDNN", "plain"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to run on the CPU, whatever this CPU has."""
    if request.param == "plain":
        monkeypatch.setattr(onednn, "available", lambda dtype: False)
    elif not onednn.available(torch.float32):
        pytest.skip("this PyTorch has no oneDNN operators")
    return str(request.param)


def make(seed: int = 0, gain: float = 1.4, **values: object) -> UNet:
    """A small generator whose images use most of the range and seldom saturate."""
    net = UNet(Architecture(**{"downs": 5, "ngf": 6, **values}))
    random = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=random)
        elif name == "up.0.conv.weight":
            value.normal_(0.0, 0.6 / (4 * value.shape[0]) ** 0.5, generator=random)
        elif value.ndim == 4:  # 4 of the 16 taps of a transposed convolution meet a pixel
            taps = 4 * value.shape[0] if name.startswith("up") else 16 * value.shape[1]
            value.normal_(0.0, gain / taps**0.5, generator=random)
        elif value.ndim == 1:
            value.normal_(float(name.endswith("norm.weight")), 0.1, generator=random)
    return net.eval().requires_grad_(False)


def engine(net: UNet, precision: str = "fp32", batch_size: int = BATCH) -> TorchEngine:
    return TorchEngine(net, size=SIZE, batch_size=batch_size, precision=precision)


def images(count: int = BATCH, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth and busy parts, as photographs have."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(0, 255, (count, 8, 8, channels)).repeat(8, 1).repeat(8, 2)
    fine = random.normal(0, 12, (count, SIZE, SIZE, channels))
    return (coarse + fine).clip(0, 255).astype(np.uint8)


def masks_of(net: UNet, count: int = BATCH) -> list[np.ndarray]:
    shapes = net.architecture.mask_shapes(SIZE, SIZE)
    each = [dropout_masks(bytes([i] * 16), shapes) for i in range(count)]
    return [np.stack(masks) for masks in zip(*each, strict=True)]


@torch.no_grad()
def golden(
    net: UNet, batch: np.ndarray, masks: list[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Image by image through the generator itself; unrounded levels and embeddings."""
    levels, embeddings = [], []
    for i, image in enumerate(batch):
        x = torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
        scaled = masks and [torch.from_numpy(2.0 * mask[i : i + 1]).float() for mask in masks]
        y, embedding = net.translate(x, scaled)
        levels.append((y[0].double().numpy().transpose(1, 2, 0) + 1) * 127.5)
        embeddings.append(embedding[0].numpy())
    return np.stack(levels), np.stack(embeddings)


def assert_lively(levels: np.ndarray) -> None:
    """What is compared is neither grey nor saturated, or the comparison says little."""
    assert levels.std() > 20
    assert (np.abs(levels - 127.5) > 126).mean() < 0.1


# What it computes


@pytest.mark.parametrize("norm", NORMS)
def test_fp32_is_the_generator(norm: str, backend: str) -> None:
    net, batch = make(norm=norm), images()
    levels, embeddings = golden(net, batch)
    assert_lively(levels)
    runner = engine(net)
    result = runner(batch)
    assert isinstance(runner.run, onednn.OneDNNUNet) == (backend == "oneDNN")
    assert runner.backend == "torch", "one name for both"
    assert result.images.shape == (BATCH, SIZE, SIZE, 3) and result.images.dtype == np.uint8
    assert np.abs(result.images - levels).max() <= 0.5 + 0.02
    assert result.embeddings.shape == (BATCH, net.architecture.width(4))
    assert result.embeddings.dtype == np.float32
    np.testing.assert_allclose(result.embeddings, embeddings, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("downs", [5, 6])
@pytest.mark.parametrize("precision", [pytest.param("bf16", marks=needs_bf16)])
def test_bf16_is_close(norm: str, downs: int, precision: str) -> None:
    net, batch = make(norm=norm, downs=downs), images()
    levels, embeddings = golden(net, batch)
    assert_lively(levels)
    result = engine(net, precision)(batch)
    assert psnr(result.images, levels) >= 40
    error = np.abs(result.embeddings - embeddings).max()
    assert error < 0.05 * np.abs(embeddings).max()


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_without_skips_it_is_the_generator_as_well(norm: str, noise: bool, backend: str) -> None:
    net, batch = make(norm=norm, downs=6, skips=False, gain=2.0), images()
    masks = masks_of(net) if noise else None
    levels, embeddings = golden(net, batch, masks)
    assert levels.std() > 5
    result = engine(net)(batch, masks)
    assert np.abs(result.images - levels).max() <= 0.5 + 0.02
    np.testing.assert_allclose(result.embeddings, embeddings, rtol=1e-3, atol=1e-4)
    again = engine(net)(batch[::-1].copy(), masks and [mask[::-1].copy() for mask in masks])
    assert np.array_equal(again.images[::-1], result.images)


@pytest.mark.parametrize("channels", [(1, 3), (4, 1), (3, 4)])
def test_other_channels(channels: tuple[int, int], backend: str) -> None:
    net = make(in_channels=channels[0], out_channels=channels[1])
    batch = images(channels=channels[0])
    result = engine(net)(batch).images
    assert result.shape == (BATCH, SIZE, SIZE, channels[1])
    assert np.abs(result - golden(net, batch)[0]).max() <= 0.5 + 0.02


def test_embedding_is_the_mean_of_a_larger_bottleneck(backend: str) -> None:
    """At 64 with 5 halvings the bottleneck is 2x2."""
    net, batch = make(norm="none"), images()
    seen: list[Tensor] = []
    net.down[4].register_forward_hook(lambda module, args, output: seen.append(output))
    golden(net, batch)
    bottleneck = torch.cat(seen)
    assert bottleneck.shape[2:] == (2, 2)
    expected = bottleneck.flatten(2).mean(2)
    np.testing.assert_allclose(engine(net)(batch).embeddings, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_masks_are_the_generators(norm: str, backend: str) -> None:
    net, batch = make(norm=norm, downs=6), images()
    masks = masks_of(net)
    assert len(masks) == 1
    plain, noisy = engine(net)(batch), engine(net)(batch, masks)
    assert np.abs(noisy.images - golden(net, batch, masks)[0]).max() <= 0.5 + 0.02
    assert not np.array_equal(noisy.images, plain.images)
    assert np.array_equal(noisy.embeddings, plain.embeddings)


def test_masks_keep_what_they_are_true_for(backend: str) -> None:
    """All true is twice the block's values, not the block without noise."""
    net, batch = make(downs=6), images()
    kept = [np.ones_like(mask) for mask in masks_of(net)]
    assert np.abs(engine(net)(batch, kept).images - golden(net, batch, kept)[0]).max() <= 0.52
    assert not np.array_equal(engine(net)(batch, kept).images, engine(net)(batch).images)


def test_masks_of_another_number_are_refused(backend: str) -> None:
    net = make(downs=6)
    with pytest.raises(ValueError, match="zip"):
        engine(net)(images(), [*masks_of(net)] * 2)


# Each image for itself


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=needs_bf16)])
def test_neighbours_and_places_change_nothing(precision: str, norm: str, noise: bool) -> None:
    net = make(norm=norm, downs=6)
    runner, batch = engine(net, precision), images()
    masks = masks_of(net) if noise else None
    first = runner(batch, masks)
    order = [2, 0, 1]
    turned = runner(batch[order], masks and [mask[order] for mask in masks])
    assert np.array_equal(turned.images, first.images[order])
    assert np.array_equal(turned.embeddings, first.embeddings[order])
    others = np.stack([images(1, seed=9)[0], batch[1], np.zeros_like(batch[0])])
    kept = masks and [np.stack([~mask[0], mask[1], mask[2] | True]) for mask in masks]
    result = runner(others, kept)
    assert np.array_equal(result.images[1], first.images[1])
    assert np.array_equal(result.embeddings[1], first.embeddings[1])
    assert not np.array_equal(result.images[0], first.images[0])


def test_results_stay_when_the_engine_goes_on(backend: str) -> None:
    runner = engine(make())
    first = runner(images())
    kept = first.images.copy(), first.embeddings.copy()
    runner(images(seed=5))
    assert np.array_equal(first.images, kept[0])
    assert np.array_equal(first.embeddings, kept[1])
    again = runner(images())
    assert np.array_equal(again.images, kept[0])


def test_the_input_and_the_generator_stay_as_they_were(backend: str) -> None:
    net, batch = make(downs=6), images()
    masks = masks_of(net)
    before = (
        batch.copy(),
        [mask.copy() for mask in masks],
        {k: v.clone() for k, v in net.state_dict().items()},
    )
    for precision in ("fp32", "bf16") if backend == "plain" else ("fp32",):
        engine(net, precision)(batch, masks)
    assert np.array_equal(batch, before[0])
    assert all(np.array_equal(a, b) for a, b in zip(masks, before[1], strict=True))
    assert all(torch.equal(value, before[2][name]) for name, value in net.state_dict().items())


def test_a_batch_of_one(backend: str) -> None:
    net, batch = make(norm="batch-statistics"), images(1)
    assert np.abs(engine(net, batch_size=1)(batch).images - golden(net, batch)[0]).max() <= 0.52


@pytest.mark.parametrize("norm", NORMS)
def test_the_plain_way_agrees_with_onednn(norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not onednn.available(torch.float32):
        pytest.skip("this PyTorch has no oneDNN operators")
    net, batch = make(norm=norm, downs=6), images()
    masks = masks_of(net)
    fast = engine(net)(batch, masks)
    monkeypatch.setattr(onednn, "available", lambda dtype: False)
    plain = engine(net)(batch, masks)
    assert np.abs(fast.images.astype(int) - plain.images).max() <= 1
    np.testing.assert_allclose(fast.embeddings, plain.embeddings, rtol=1e-3, atol=1e-4)


# What it says of itself, and refuses


def test_attributes() -> None:
    runner = TorchEngine(make(), size=32, batch_size=2)
    assert (runner.size, runner.batch_size) == (32, 2)
    assert (runner.device, runner.precision) == ("cpu", "fp32")
    assert runner.backend in BACKENDS


def test_fp16_on_the_cpu_is_refused() -> None:
    with pytest.raises(InputError, match="fp16 runs on GPUs only; use --precision bf16 or fp32"):
        engine(make(), "fp16")


@pytest.mark.parametrize("limit", ["SSE41", "AVX2", "avx2_vnni", "AVX512_CORE"])
def test_a_limit_on_the_instruction_set_counts_as_such_a_cpu(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert not onednn.bf16_is_fast()


@pytest.mark.parametrize(
    ("amx", "avx512", "intel", "limit", "fast"),
    [
        (True, True, True, "DEFAULT", True),
        (True, True, True, "AVX512_CORE_BF16", False),  # as where AMX is hidden
        (True, True, True, "AVX512_CORE_AMX", True),
        (False, True, True, "DEFAULT", False),  # at half the rate of float32
        (False, True, False, "DEFAULT", True),
        (False, True, False, "AVX512_CORE", False),
        (False, False, True, "DEFAULT", False),
    ],
)
def test_bf16_is_fast_where_it_gains(
    amx: bool, avx512: bool, intel: bool, limit: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(onednn, "is_intel", lambda: intel)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert onednn.bf16_is_fast() == fast


@pytest.mark.parametrize("limit", ["DEFAULT", "AVX512_CORE_AMX"])
def test_a_limit_that_has_bf16_leaves_it_to_the_cpu(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    plain = onednn.bf16_is_fast()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert onednn.bf16_is_fast() == plain


def test_onednn_has_no_fp16() -> None:
    assert not onednn.available(torch.float16)


# Bytes


def test_bytes_survive_scaling() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    y = (levels.float() / 127.5 - 1).reshape(1, 1, 16, 16)
    assert torch.equal(to_bytes(y).flatten(), levels)


@given(
    values=st.lists(st.floats(-1.5, 1.5, width=32), min_size=1, max_size=20),
    channels=st.integers(1, 4),
)
def test_bytes_are_rounded_to_nearest(values: list[float], channels: int) -> None:
    y = torch.tensor(values).reshape(1, 1, 1, -1).repeat(1, channels, 1, 1)
    exact = np.clip((np.array(values) + 1) * 127.5, 0, 255)
    result = to_bytes(y)
    assert result.shape == (1, 1, len(values), channels) and result.dtype == torch.uint8
    assert result.is_contiguous()
    assert np.abs(result[0, 0].numpy() - exact[:, None]).max() <= 0.5 + 1e-4


def test_bytes_of_bf16_are_rounded_once() -> None:
    """Scaled in float32: bfloat16 has 8 bits, too few for what lies between 128 and 255."""
    y = torch.linspace(-1, 1, 200, dtype=torch.bfloat16)
    exact = ((y.double() + 1) * 127.5).numpy()
    result = to_bytes(y.reshape(1, 1, 1, -1)).flatten().numpy()
    assert np.abs(result - exact).max() <= 0.5 + 1e-4


def test_channels_go_last() -> None:
    y = torch.tensor([-1.0, 0.2, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 5)
    assert to_bytes(y.clone()).tolist() == [[[[0, 153, 255]] * 5] * 2]


# Figures


def test_psnr_closed_form() -> None:
    black, white = np.zeros((2, 4, 4, 3), np.uint8), np.full((2, 4, 4, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == pytest.approx(0)
    assert psnr(black, black) == float("inf")
    one = black.copy()
    one[0, 0, 0, 0] = 255  # one value in 96
    assert psnr(one, black) == pytest.approx(10 * np.log10(96))
    assert psnr(black, black + 1) == pytest.approx(48.1308, abs=1e-4)


@pytest.mark.parametrize(
    ("device", "size", "expected"),
    [
        ("cpu", 256, 4),
        ("cpu", 512, 1),
        ("cpu", 1024, 1),
        ("cpu", 2048, 1),
        ("cpu", 128, 16),
        ("cuda", 256, 32),
        ("cuda", 512, 8),
        ("cuda", 1024, 2),
        ("cuda", 4096, 1),
    ],
)
def test_default_batch_size(device: str, size: int, expected: int) -> None:
    assert default_batch_size(device, size) == expected
