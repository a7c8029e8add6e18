"""What engines are compiled from, of families beside the U-Net."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from pix2pix_batch import bundle
from pix2pix_batch.engines import builder, cpu, layers, library
from pix2pix_batch.engines.builder import BuildOptions
from pix2pix_batch.engines.emulation import emulate
from pix2pix_batch.engines.export import export
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.reference import import_checkpoint
from tests.reference_postactivation import PostActivation
from tests.reference_resnets import Cut, LocalHD, PlainResNet, lively

SIZE = 64
FAMILIES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "resnet": (lambda: PlainResNet(dropout=True, blocks=2), "instance"),
    "resnet, folded": (
        lambda: PlainResNet(norm="batch", padding="zeros", upsample="nearest", blocks=1),
        "running-statistics",
    ),
    "cut": (lambda: Cut(norm="batch", blocks=1), "batch-statistics"),
    "hd local": (lambda: LocalHD(downs=2, blocks=1, local_blocks=1), "instance"),
    "postactivation": (lambda: PostActivation(downs=5, ngf=4), "instance"),
}
"""A reference, and the norm that it is imported with."""

Made = Callable[[str], tuple[Path, nn.Module]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle of a family, and the reference that it was imported from."""
    found: dict[str, tuple[Path, nn.Module]] = {}

    def make(name: str) -> tuple[Path, nn.Module]:
        if name not in found:
            folder = tmp_path_factory.mktemp("families")
            reference, norm = FAMILIES[name][0](), FAMILIES[name][1]
            torch.save(lively(reference).state_dict(), folder / "net.pth")
            info, net = import_checkpoint(folder / "net.pth", name="x", norm=norm, image_size=SIZE)
            bundle.save(folder / "x.safetensors", info, net, half=False)
            found[name] = folder / "x.safetensors", reference
        return found[name]

    return make


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@torch.no_grad()
def golden(reference: nn.Module, pixels: np.ndarray, norm: str) -> np.ndarray:
    """Unrounded levels of each image alone, in float64."""
    wide = reference.double().train(norm == "batch-statistics")
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 127.5 - 1
    y = torch.cat([wide(one[None]) for one in x])
    return ((y + 1) * 127.5).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_file_computes_what_the_reference_does(name: str, made: Made, tmp_path: Path) -> None:
    path, reference = made(name)
    info, net = bundle.load(path)
    export(path, tmp_path / "x.onnx", precision="fp32")
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    x = images(3)
    translated, embedding = session.run(["translated", "embedding"], {"image": x})
    expected = golden(reference, x, info.architecture.norm)
    assert np.abs(translated - expected).max() <= 0.55
    floats = torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(embedding, net.embed(floats), rtol=1e-3, atol=1e-3)


def test_noise_is_an_input_of_the_file(made: Made, tmp_path: Path) -> None:
    path, reference = made("resnet")
    info, _ = bundle.load(path)
    written = export(path, tmp_path / "x.onnx", precision="fp32", noise=True)
    assert list(written.masks) == info.architecture.mask_shapes(SIZE, SIZE)
    assert len(written.masks) == 2
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    masks = [random.random((1, *shape)) < 0.5 for shape in written.masks]
    feed = {"image": images(1)} | {f"noise_{k}": mask for k, mask in enumerate(masks)}
    reference = copy.deepcopy(reference)  # which other tests use without noise
    assert isinstance(reference, PlainResNet)
    reference.set_masks([torch.from_numpy(2.0 * mask) for mask in masks])
    expected = golden(reference, images(1), info.architecture.norm)
    assert np.abs(session.run(["translated"], feed)[0] - expected).max() <= 0.55


def test_each_layer_is_looked_at(made: Made) -> None:
    path, _ = made("cut")
    order = EngineSpec(path, "fp16", 2, SIZE)
    found = layers.compare(order, images(2))
    _, net = bundle.load(path)
    convolutions = [layer for layer in found if layer.name.endswith(".conv")]
    assert len(convolutions) == sum(isinstance(one, nn.Conv2d | nn.ConvTranspose2d)
                                    for one in net.modules())  # fmt: skip
    assert layers.first_divergent(found) is None, [str(layer) for layer in found]


@pytest.mark.parametrize("name", ["resnet", "cut"])
def test_a_narrow_precision_is_emulated_and_the_cpus_engine_checked(name: str, made: Made) -> None:
    path, reference = made(name)
    norm = bundle.read_info(path).architecture.norm
    expected = golden(reference, images(2), norm)
    half = np.abs(emulate(EngineSpec(path, "fp16", 2, SIZE), images(2)) - expected).mean()
    brain = np.abs(emulate(EngineSpec(path, "bf16", 2, SIZE), images(2)) - expected).mean()
    assert 0 < half < brain < 6
    assert cpu.compare(EngineSpec(path, "fp32", 2, SIZE), images(2)).passes


@pytest.mark.parametrize(
    ("name", "target"), [("resnet", "sm75"), ("cut", "sm121"), ("hd local", "sm75")]
)
def test_engines_are_built_without_a_gpu(name: str, target: str, made: Made) -> None:
    """TensorRT-RTX compiles for GPUs that are not here; ``test_builder.py`` has all of them."""
    try:
        rtx = library.load("tensorrt_rtx")
    except library.MissingLibrary as error:
        pytest.skip(str(error))
    graph = EngineSpec(made(name)[0], "fp16", 4, SIZE).graph
    plan, _ = builder.build(rtx, graph, BuildOptions(target))
    assert len(plan) > 10_000
