"""Engines take and give what their bundle says, in PyTorch, on a GPU's slots and in ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.engines import cpu, export, parity_check, samples
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference import autotune, onednn
from pix2pix_batch.inference.cuda import CudaEngine
from pix2pix_batch.inference.engine import TorchEngine, psnr
from pix2pix_batch.inference.settings import settings_without_job
from pix2pix_batch.inference.value_mapping import ValueMapping
from pix2pix_batch.value_ranges import LIMITS, BandRange, ValueRange, eight_bits
from tests.contrast import fill_with_contrast
from tests.fake_cuda import fake_cuda
from tests.identity import save_identity, whole_range

pytestmark = pytest.mark.usefixtures("one_thread", "family")

FOUR = ValueRange(
    "uint16",
    (BandRange(0, 10000), BandRange(0, 65535), BandRange(100, 10000, "log"), BandRange(7, 8000)),
)
HEIGHT = ValueRange("float32", (BandRange(-430.0, 8848.0),))


def save(path: Path, side: ValueRange, made: ValueRange) -> Path:
    architecture = Architecture(side.channels, made.channels, downs=5, ngf=4, norm="instance")
    net = UNet(architecture)
    fill_with_contrast(net)
    info = BundleInfo("deep", architecture, 32, "tile", input_range=side, output_range=made)
    bundle.save(path, info, net.eval(), half=False)
    return path


def draw(side: ValueRange, count: int = 3, size: int = 32) -> np.ndarray:
    """Values of all over each band's range, and some beyond it."""
    random = np.random.default_rng(0)
    levels = random.uniform(-1.05, 1.05, (count, size, size, side.channels))
    levels[:, ::2] = levels[:, :1]  # smooth parts too
    return side.to_values(levels)


@torch.no_grad()
def golden(path: Path, batch: np.ndarray) -> np.ndarray:
    """By plain PyTorch in float64, on the same arrays: unrounded levels."""
    info, net = bundle.load(path)
    x = torch.from_numpy(info.ranges.input.to_levels(batch)).permute(0, 3, 1, 2)
    return net.double()(x).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("dtype", sorted(LIMITS))
def test_an_identity_changes_no_value(tmp_path: Path, dtype: str) -> None:
    side = whole_range(dtype, 5)
    info, net = bundle.load(save_identity(tmp_path / "same.safetensors", side))
    batch = draw(side, size=64)
    if dtype == "uint16":  # every value there is
        batch[0, :, :, 0], batch[1, :, :, 0] = np.arange(65536).reshape(-1, 64, 64)[:2]
    engine = TorchEngine(net, size=64, batch_size=3, ranges=info.ranges)
    made = engine(batch).images
    assert made.dtype == batch.dtype
    tolerance = 10000 / 65535 if dtype == "float32" else 0
    assert np.abs(made.astype(np.float64) - batch).max() <= tolerance


@pytest.mark.parametrize(
    ("side", "made"),
    [
        (FOUR, ValueRange("uint16", (BandRange(0, 65535),) * 3)),
        (FOUR, HEIGHT),
        (HEIGHT, eight_bits(3)),
        (eight_bits(3), ValueRange("float32", (BandRange(1e-4, 1.0, "log"),) * 2)),
    ],
)
def test_every_engine_is_plain_pytorch(
    tmp_path: Path, side: ValueRange, made: ValueRange, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "deep.safetensors", side, made)
    info, net = bundle.load(path)
    batch = draw(side)
    levels = golden(path, batch)
    assert levels.std() > 0.1, "says little"

    def compare(images: np.ndarray) -> None:
        assert images.dtype == made.dtype
        apart = np.abs(made.to_levels(images) - levels) / 2
        step = 0.5 / 255 if made.is_eight_bit else 1 / 65535
        assert apart.mean() <= step and apart.max() <= 20 * step

    compare(TorchEngine(net, size=32, batch_size=3, ranges=info.ranges)(batch).images)
    if made is not HEIGHT and side is not HEIGHT:  # the exporter takes seconds
        onnxruntime = pytest.importorskip("onnxruntime")
        file = tmp_path / "deep.onnx"
        export.export(path, file, precision="fp32")
        session = onnxruntime.InferenceSession(file)
        assert session.get_inputs()[0].type == f"tensor({side.dtype})"
        compare(session.run(["translated"], {"image": batch})[0])

    monkeypatch.setattr(onednn, "available", lambda dtype: False)
    with fake_cuda(seed=0) as cuda:
        gpu = CudaEngine(net, size=32, batch_size=3, precision="fp32", ranges=info.ranges)
        for images in (batch, batch[:2]):
            gpu.start(images.copy())
        compare(gpu.finish().images)
        assert np.array_equal(gpu.finish().images[:, :, :, 0].shape, (2, 32, 32))
        assert cuda.failed == 0 and cuda.replays == 2


def test_tensorrts_graph_has_no_16_bit_integers(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    path = save(tmp_path / "deep.safetensors", FOUR, FOUR)
    graph = onnx.load_from_string(EngineSpec(path, "fp32", 2, 32).graph).graph
    types = [one.type.tensor_type.elem_type for one in (graph.input[0], graph.output[0])]
    assert types == [onnx.TensorProto.INT32] * 2
    casts = {a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute}
    assert not casts & {onnx.TensorProto.UINT16, onnx.TensorProto.INT16}


def test_eight_bits_go_the_way_they_always_went() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1)
    mapping = ValueMapping(eight_bits(1))
    levels = mapping.to_levels(every)
    assert torch.equal(levels[:, 0], every[..., 0].float().div(127.5).sub(1))
    y = torch.linspace(-1.1, 1.1, 256).reshape(1, 1, 16, 16)
    wanted = y.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    assert torch.equal(mapping.to_values(y.clone())[..., 0], wanted[:, 0])


def test_psnr_is_in_units_of_each_bands_range() -> None:
    side = ValueRange("uint16", (BandRange(0, 1000), BandRange(0, 50000)))
    zero = np.zeros((4, 4, 2), np.uint16)
    off = zero + np.array([10, 500], np.uint16)  # a hundredth of each
    assert psnr(off, zero, side) == pytest.approx(40)
    assert psnr(zero, zero, side) == float("inf")


def test_the_gate_speaks_in_parts_of_the_range(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.safetensors", FOUR, HEIGHT)
    order = EngineSpec(path, "fp32", 2, 32)
    batch = samples.read_samples(None, 32, FOUR)
    assert batch.dtype == np.uint16 and batch[..., 0].max() <= 10000
    parity = cpu.compare(order, batch)
    assert parity.passes and parity.finest == 65535 and "of 65,535" in str(parity)
    reference = parity_check.reference_engine(order)(batch).images
    worse = parity_check.measure_parity(reference + np.float32(927.8), reference, HEIGHT)
    assert worse.greatest == pytest.approx(6554, abs=1) and worse.psnr == pytest.approx(20, abs=0.1)
    half = cpu.compare(EngineSpec(path, "bf16", 2, 32), batch)
    assert half.psnr < parity.psnr


def test_outputs_finer_than_half_precision_run_in_full(tmp_path: Path) -> None:
    path = save(tmp_path / "deep.safetensors", eight_bits(3), HEIGHT)
    settings = settings_without_job(path, 32, "tile", "cpu", "auto")
    found = autotune.expected_settings(settings)
    assert found is not None and found.precision == "fp32"
    assert autotune.autotune(settings, []).precision == "fp32"
