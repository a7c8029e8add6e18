"""The memory that an engine is reckoned to take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import ConvTranspose2d

from pix2pix_batch import bundle
from pix2pix_batch.execution.gpu_sharing import memory_on_gpu
from pix2pix_batch.generators import CutResNet, Description, GlobalGenerator, LocalEnhancer, ResNet
from pix2pix_batch.generators.residual import ResidualGenerator
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference.memory import (
    count_held_weights,
    count_weights,
    engine_memory,
    list_layers,
)
from tests.end_to_end.command import run_python

MIB = 1 << 20


@given(st.integers(1, 5), st.integers(1, 4), st.integers(5, 8), st.integers(1, 20), st.booleans())
def test_weights_are_those_of_the_generator(
    inputs: int, outputs: int, downs: int, ngf: int, skips: bool
) -> None:
    architecture = Architecture(inputs, outputs, downs, ngf, skips=skips)
    blocks = [*(net := UNet(architecture)).down, *net.up]
    assert sum(count_weights(architecture)) == sum(block.conv.weight.numel() for block in blocks)
    found = Counter(layer[:2] + layer[3:] for layer in list_layers(architecture))
    assert found == Counter(
        (block.conv.in_channels, block.conv.out_channels, isinstance(block.conv, ConvTranspose2d))
        for block in blocks
    )


def test_kernels_are_reckoned_by_the_rule() -> None:
    """The numbers that the paper's generator holds at 256x256 with AVX2, layer by layer."""
    expected = Counter({(side, i): 64 for side in ("down", "up") for i in (1, 2)})
    expected |= Counter({(side, i): 36 for side in ("down", "up") for i in (3, 4)})
    for layer in list_layers(Architecture()):
        of = ("up", layer.halvings - 1) if layer.transposed else ("down", layer.halvings)
        each = count_held_weights(layer, (256, 256)) / (layer.inputs * layer.outputs)
        assert each == (expected[of] or 16)


@pytest.mark.parametrize(
    ("architecture", "size", "batch"),
    [
        (Architecture(ngf=64, norm="running-statistics"), 256, 1),
        (Architecture(ngf=16, norm="running-statistics"), 1024, 1),
        (ResNet(), 128, 1),
        (ResNet(ngf=16, blocks=2), 1024, 1),
        (CutResNet(ngf=32, blocks=3), 256, 2),
        (LocalEnhancer(ngf=16, downs=2, blocks=3), 512, 1),
    ],
)
def test_an_engine_holds_what_is_reckoned(
    architecture: Description, size: int, batch: int, tmp_path: Path
) -> None:
    """Much of it in weights, or in features. Those of the bundle are let go of."""
    path = tmp_path / "model.safetensors"
    net = architecture.build()
    net.init_weights()
    bundle.save(path, bundle.BundleInfo("m", architecture), net)
    code = """
import sys
import numpy as np, psutil, torch
from pathlib import Path
from pix2pix_batch import bundle
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.engine_cache import open_engine
path, size, batch = sys.argv[1], *map(int, sys.argv[2:])
uss = lambda: psutil.Process().memory_full_info().uss
torch.nn.Conv2d(3, 3, 3)(torch.zeros(1, 3, 8, 8))  # so that what loads at first use is there
before = uss()
engine = open_engine(path, bundle.fingerprint(Path(path)), size, batch, "cpu", "fp32")
for _ in range(2):
    engine(np.zeros((batch, size, size, 3), np.uint8))
print(uss() - before)
"""
    ran = run_python(code, path, size, batch)
    assert ran.code == 0, ran.err
    reckoned = engine_memory(architecture, size, batch)
    assert 0.4 * reckoned < int(ran.out) < 1.2 * reckoned + 30 * MIB


@pytest.mark.parametrize("memory", [engine_memory, memory_on_gpu])
@given(st.integers(8, 128), st.integers(1, 128), st.sampled_from([256, 512, 1024]))
@example(90, 1, 1024)
def test_more_of_anything_takes_more_memory(
    memory: Callable[[Architecture, int, int], int], ngf: int, batch: int, size: int
) -> None:
    least = memory(Architecture(ngf=ngf), size, batch)
    assert memory(Architecture(ngf=ngf + 1), size, batch) > least
    assert memory(Architecture(ngf=ngf), size, batch + 1) > least
    assert memory(Architecture(ngf=ngf), 2 * size, batch) > least


@pytest.mark.parametrize("family", [ResNet, CutResNet, GlobalGenerator, LocalEnhancer])
@given(st.integers(1, 250), st.integers(1, 16), st.sampled_from([64, 128, 256]))
def test_more_of_a_layered_generator_takes_more_memory(
    family: type[ResidualGenerator], ngf: int, batch: int, size: int
) -> None:
    one = engine_memory(family(ngf=ngf, blocks=2), size, batch)
    assert engine_memory(family(ngf=ngf + 1, blocks=2), size, batch) > one
    assert engine_memory(family(ngf=ngf, blocks=3), size, batch) > one
    assert engine_memory(family(ngf=ngf, blocks=2), size, batch + 1) > one
    assert engine_memory(family(ngf=ngf, blocks=2), 2 * size, batch) > one
    assert engine_memory(family(ngf=ngf, blocks=2), (size, 2 * size), batch) > one
