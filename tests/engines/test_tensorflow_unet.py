"""What engines are compiled from, of TensorFlow's U-Net: a norm at a bottleneck of one pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from pix2pix_batch import bundle
from pix2pix_batch.engines import builder, cpu, layers, library
from pix2pix_batch.engines.builder import BuildOptions
from pix2pix_batch.engines.export import export
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.reference import import_checkpoint
from tests.reference_tensorflow import Block, make_blocks, translate, write_checkpoint

SIZE = 16


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Block]]:
    folder, blocks = tmp_path_factory.mktemp("tensorflow"), make_blocks(ngf=4)
    index = write_checkpoint(folder / "ckpt-1", {"generator": blocks})
    info, net = import_checkpoint(index, name="x", image_size=SIZE)
    bundle.save(folder / "x.safetensors", info, net, half=False)
    return folder / "x.safetensors", blocks


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def golden(blocks: list[Block], pixels: np.ndarray, **values: object) -> np.ndarray:
    """Unrounded levels of each image alone, in float64."""
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 127.5 - 1
    y = torch.cat([translate(blocks, one[None], **values) for one in x])  # type: ignore[arg-type]
    return ((y + 1) * 127.5).permute(0, 2, 3, 1).numpy()


def test_the_file_computes_what_the_tutorial_does(
    made: tuple[Path, list[Block]], tmp_path: Path
) -> None:
    """With noise where the tutorial has dropout."""
    path, blocks = made
    written = export(path, tmp_path / "x.onnx", precision="fp32", noise=True)
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    random, x = np.random.default_rng(1), images(1)
    masks = [random.random((1, *shape)) < 0.5 for shape in written.masks]
    feed = {f"noise_{k}": mask for k, mask in enumerate(masks)}
    translated, embedding = session.run(["translated", "embedding"], {"image": x, **feed})
    noise = [torch.from_numpy(2.0 * mask) for mask in masks]
    assert len(noise) == 3
    assert np.abs(translated - golden(blocks, x, masks=noise)).max() <= 0.55
    _, net = bundle.load(path)
    floats = torch.from_numpy(x).permute(0, 3, 1, 2) / 127.5 - 1
    np.testing.assert_allclose(embedding, net.embed(floats), rtol=1e-3, atol=1e-3)


def test_each_layer_and_the_cpus_engine_agree(made: tuple[Path, list[Block]]) -> None:
    found = layers.compare(EngineSpec(made[0], "fp16", 2, SIZE), images(2))
    assert layers.first_divergent(found) is None, [str(layer) for layer in found]
    assert cpu.compare(EngineSpec(made[0], "fp32", 2, SIZE), images(2)).passes


def test_engines_are_built_without_a_gpu(made: tuple[Path, list[Block]]) -> None:
    try:
        rtx = library.load("tensorrt_rtx")
    except library.MissingLibrary as error:
        pytest.skip(str(error))
    for precision in ("fp32", "fp16"):
        graph = EngineSpec(made[0], precision, 4, SIZE).graph
        plan, _ = builder.build(rtx, graph, BuildOptions("sm120"))
        assert len(plan) > 10_000
