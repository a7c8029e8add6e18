"""An image's bits do not depend on how many are in its batch, whatever the CPU can do.

That is oneDNN's doing, and nowhere promised; of MKL's products it is tried before they are used. So
each instruction set that this CPU has is tried, in a process of its own, with convolutions of many
shapes.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pix2pix_batch.generators import ResNet
from pix2pix_batch.generators.generator import Generator
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.engine import TorchEngine
from tests.end_to_end.command import environment, run_python
from tests.pix2pix_batch.inference.test_engine import make

BATCH = 6
COUNTS = (1, 5)
ISAS = {
    "SSE41": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "AVX512_CORE": {"ATEN_CPU_CAPABILITY": "avx512", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "ALL": {"ATEN_CPU_CAPABILITY": "", "MKL_ENABLE_INSTRUCTIONS": ""},
}
"""By oneDNN's name of an instruction set: what tells PyTorch's own kernels and MKL the same."""


@pytest.mark.parametrize("isa", ISAS)
def test_an_image_has_the_same_bits_in_a_batch_of_any_size(isa: str) -> None:
    variables = environment(ONEDNN_MAX_CPU_ISA=isa, **ISAS[isa])
    variables = {name: value for name, value in variables.items() if value}
    ran = run_python(f"from {__name__} import compare; compare()", env=variables)
    assert ran.code == 0, ran.err
    has_bf16 = isa == "ALL" and onednn.available(torch.bfloat16)
    assert {"fp32", *(["bf16"] if has_bf16 else [])} <= set(ran.out.split())


def compare() -> None:
    """Raises ``AssertionError`` where an image's bits differ; prints what was compared."""
    torch.set_num_threads(1)
    nets = [(make(norm=norm, downs=6), 64) for norm in ("running-statistics", "batch-statistics")]
    nets += [(make(norm="running-statistics", downs=5, ngf=64), 64), (make(norm="none", ngf=3), 96)]
    resnet = ResNet(ngf=24, blocks=1, dropout=True).build()
    resnet.init_weights(torch.Generator().manual_seed(0))
    nets.append((resnet.eval().requires_grad_(False), 68))
    for precision in ("fp32", "bf16"):
        if precision == "bf16" and not onednn.available(torch.bfloat16):
            continue
        for net, size in nets:
            compare_counts(net, size, precision)
        print(precision)


def compare_counts(net: Generator, size: int, precision: str) -> None:
    engine = TorchEngine(net, size=size, batch_size=BATCH, precision=precision)
    random = np.random.default_rng(size)
    images = random.integers(0, 256, (BATCH, size, size, 3), dtype=np.uint8)
    shapes = net.architecture.mask_shapes(size, size)
    noise = [random.random((BATCH, *shape)) < 0.5 for shape in shapes]
    for masks in (None, noise) if noise else (None,):
        whole = engine(images, masks)
        assert whole.images.std() > 5
        for count in COUNTS:
            for first in {0, BATCH - count}:
                part = slice(first, first + count)
                alone = engine(images[part], masks and [mask[part] for mask in masks])
                assert alone.images.shape == (count, size, size, 3)
                assert np.array_equal(alone.images, whole.images[part]), (precision, count, size)
                assert np.array_equal(alone.embeddings, whole.embeddings[part])
        if precision == "bf16":
            continue
        # nor on the size that the engine was made for
        other = TorchEngine(net, size=size, batch_size=1, precision=precision)
        one = other(images[:1], masks and [mask[:1] for mask in masks])
        assert np.array_equal(one.images, whole.images[:1])
