"""Convolutions as matrix products: the same as the definition's, each image for itself."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.convolution_rule import BLOCKS, Blocks, choose_way
from pix2pix_batch.inference.patch_convolution import PatchConvolution
from pix2pix_batch.inference.thin_convolution import ThinConvolution
from pix2pix_batch.inference.winograd import WinogradConvolution
from pix2pix_batch.inference.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

RELU = partial(torch.clamp_min, min=0)


def golden(x: Tensor, weight: Tensor, bias: Tensor | None, transposed: bool) -> Tensor:
    """PyTorch's own convolution in float64."""
    function = F.conv_transpose2d if transposed else F.conv2d
    return function(
        x.double(), weight.double(), None if bias is None else bias.double(), stride=2, padding=1
    )


def make_input(seed: int, n: int, channels: int, size: tuple[int, int]) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn((n, channels, *size), generator=random)
    return x.contiguous(memory_format=torch.channels_last)


def make_weights(seed: int, inputs: int, outputs: int, transposed: bool) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shape = (inputs, outputs) if transposed else (outputs, inputs)
    weight = torch.randn((*shape, 4, 4), generator=random) / (16 * inputs) ** 0.5
    return weight, torch.randn(outputs, generator=random)


def empty_output(x: Tensor, outputs: int, transposed: bool) -> Tensor:
    """Half of wider images, as the generator joins them, and filled with what must not stay."""
    height, width = (n * 2 if transposed else n // 2 for n in x.shape[2:])
    wide = torch.full((len(x), 3 + outputs, height, width), float("nan"))
    return wide.contiguous(memory_format=torch.channels_last)[:, 3:]


@settings(max_examples=60)
@given(
    n=st.integers(1, 5),
    channels=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    half=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    transposed=st.booleans(),
    biased=st.booleans(),
    block=st.sampled_from([1, 4, 7, 25, 80]),
    outputs_first=st.booleans(),
)
def test_winograd_is_the_convolution(
    n: int,
    channels: tuple[int, int],
    half: tuple[int, int],
    transposed: bool,
    biased: bool,
    block: int,
    outputs_first: bool,
) -> None:
    size = half if transposed else (2 * half[0], 2 * half[1])
    weight, bias = make_weights(1, *channels, transposed)
    workspace = Workspace()
    workspace.reserve("lines", 1)  # as another layer may have
    convolution = WinogradConvolution(
        weight,
        bias if biased else None,
        shape=(n, *size),
        transposed=transposed,
        activate=None,
        workspace=workspace,
        blocks=Blocks(block, BLOCKS["AVX2"].group, outputs_first),
    )
    x = make_input(2, n, channels[0], size)
    result = convolution(x, empty_output(x, channels[1], transposed))
    expected = golden(x, weight, bias if biased else None, transposed)
    assert result.shape == expected.shape
    assert (result - expected).abs().max() < 3e-5
    for i in range(n):  # each image alone, and beside others
        alone = convolution(x[i : i + 1], empty_output(x[:1], channels[1], transposed))
        assert torch.equal(alone[0], result[i])


@settings(max_examples=40)
@given(
    n=st.integers(1, 4),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 7)),
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    biased=st.booleans(),
)
def test_a_thin_one_is_the_convolution(
    n: int, channels: tuple[int, int], size: tuple[int, int], biased: bool
) -> None:
    weight, bias = make_weights(3, *channels, transposed=True)
    convolution = ThinConvolution(
        weight, bias if biased else None, size=size, activate=torch.tanh, workspace=Workspace()
    )
    x = make_input(4, n, channels[0], size)
    result = convolution(x, empty_output(x, channels[1], True))
    expected = golden(x, weight, bias if biased else None, True).tanh()
    assert (result - expected).abs().max() < 1e-5
    for i in range(n):
        assert torch.equal(
            convolution(x[i : i + 1], empty_output(x[:1], channels[1], True))[0], result[i]
        )


@settings(max_examples=40)
@given(
    n=st.integers(1, 5),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    half=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    transposed=st.booleans(),
    biased=st.booleans(),
    activated=st.booleans(),
)
def test_a_product_with_patches_is_the_convolution(
    n: int,
    channels: tuple[int, int],
    half: tuple[int, int],
    transposed: bool,
    biased: bool,
    activated: bool,
) -> None:
    if not onednn.available(torch.float32):
        pytest.skip("this PyTorch has no oneDNN")
    size = half if transposed else (2 * half[0], 2 * half[1])
    weight, bias = make_weights(7, *channels, transposed)
    convolution = PatchConvolution(
        weight,
        bias if biased else None,
        shape=(4, *size),
        transposed=transposed,
        activate=RELU if activated else None,
        workspace=Workspace(),
    )
    x = make_input(8, n, channels[0], size)
    result = convolution(x, empty_output(x, channels[1], transposed))
    expected = golden(x, weight, bias if biased else None, transposed)
    expected = expected.relu() if activated else expected
    assert result.shape == expected.shape
    assert (result - expected).abs().max() < 1e-5
    for i in range(n):
        alone = convolution(x[i : i + 1], empty_output(x[:1], channels[1], transposed))
        assert torch.equal(alone[0], result[i])


@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "transposed"),
    [(128, 256, 64, False), (256, 512, 32, False), (256, 64, 64, True), (1024, 256, 16, True)],
)
def test_at_full_size_it_is_as_exact_as_direct(
    inputs: int, outputs: int, side: int, transposed: bool
) -> None:
    weight, bias = make_weights(5, inputs, outputs, transposed)
    x = make_input(6, 1, inputs, (side, side))
    convolution = WinogradConvolution(
        weight,
        bias,
        shape=(1, side, side),
        transposed=transposed,
        activate=RELU,
        workspace=Workspace(),
    )
    result = convolution(x, empty_output(x, outputs, transposed))
    expected = golden(x, weight, bias, transposed).relu()
    assert (result - expected).norm() < 2e-6 * expected.norm()


# The rule


@pytest.mark.parametrize(
    ("instruction_set", "expected"),
    [
        ("AVX2", {"winograd": "d1 d2 d3 u1 u2 u3", "patches": "d5 d6 u4 u5 u6"}),
        ("AVX512", {"winograd": "d2 d3 u1 u2 u3"}),
        ("DEFAULT", {}),
    ],
)
def test_the_rule_takes_the_fastest_way(instruction_set: str, expected: dict[str, str]) -> None:
    """Of the paper's generator at 256x256, as docs/architecture.md says."""
    widths = [Architecture().width(i) for i in range(8)]
    ways = {}
    for i in range(1, 7):
        for transposed in (False, True):
            channels = (2 * widths[i], widths[i - 1]) if transposed else (widths[i - 1], widths[i])
            side = 256 >> (i + 1 if transposed else i)
            way = choose_way(*channels, (side, side), transposed, instruction_set)
            ways["u" if transposed else "d", i] = way
    found = {
        kind: " ".join(f"{side}{i}" for (side, i), way in sorted(ways.items()) if way == kind)
        for kind in ("winograd", "patches")
    }
    assert {kind: layers for kind, layers in found.items() if layers} == expected


@pytest.mark.parametrize("norm", ["running-statistics", "batch-statistics", "instance", "none"])
@pytest.mark.parametrize("skips", [True, False])
def test_a_generator_by_the_rule_is_the_direct_one(norm: str, skips: bool) -> None:
    if not (onednn.available(torch.float32) and onednn.instruction_set()):
        pytest.skip("this CPU or PyTorch has direct convolutions only")
    torch.manual_seed(0)
    architecture = Architecture(norm=norm, skips=skips, ngf=52, downs=5)  # type: ignore[arg-type]
    unet = UNet(architecture).init_weights().eval().requires_grad_(False)
    random = torch.Generator().manual_seed(1)
    x = torch.rand((3, 3, 128, 128), generator=random) * 2 - 1
    masks = {3: torch.randint(0, 2, (3, architecture.width(2), 16, 16), generator=random) * 2.0}
    with torch.inference_mode():
        networks = [
            onednn.OneDNNUNet(unet, 3, 128, torch.float32, direct=direct)
            for direct in (False, True)
        ]
        kinds = {type(one) for one in [*networks[0].down, *networks[0].up]}
        assert onednn.ProductConvolution in kinds and onednn.Convolution in kinds
        (y, embedding), (direct, _) = (one(x, masks) for one in networks)
        y, embedding = y.clone(), embedding.clone()
        alone, its = networks[0](x[1:2], {3: masks[3][1:2]})
        assert torch.equal(alone[0], y[1]) and torch.equal(its[0], embedding[1])
        golden_y, golden_embedding = unet.double().translate(x.double(), masks)
    assert (y - direct).abs().max() < 1e-4
    assert (y - golden_y).norm() < 1e-5 * golden_y.norm()
    assert (embedding - golden_embedding).norm() < 1e-5 * golden_embedding.norm()
