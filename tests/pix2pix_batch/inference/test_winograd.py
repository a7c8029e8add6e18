"""Convolutions as matrix products: the same as the definition's, each image for itself."""

from __future__ import annotations

from collections.abc import Callable
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
from pix2pix_batch.inference.convolution_rule import choose_way
from pix2pix_batch.inference.few_pixel_winograd import FewPixelWinograd
from pix2pix_batch.inference.patch_convolution import PatchConvolution
from pix2pix_batch.inference.strided_layer import StridedLayer
from pix2pix_batch.inference.thin_convolution import ThinConvolution
from pix2pix_batch.inference.winograd import WinogradConvolution
from pix2pix_batch.inference.winograd_tiling import BLOCKS, Blocks
from pix2pix_batch.inference.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

RELU = partial(torch.clamp_min, min=0)


def golden(layer: StridedLayer, x: Tensor) -> Tensor:
    """PyTorch's own convolution in float64, without the activation."""
    function = F.conv_transpose2d if layer.transposed else F.conv2d
    bias = None if layer.bias is None else layer.bias.double()
    return function(x.double(), layer.weight.double(), bias, stride=2, padding=1)


def make_layer(
    channels: tuple[int, int],
    shape: tuple[int, int, int],
    transposed: bool,
    *,
    biased: bool = True,
    activate: Callable[..., Tensor] | None = None,
) -> StridedLayer:
    random = torch.Generator().manual_seed(1)
    inputs, outputs = channels
    weight = torch.randn((*(channels if transposed else channels[::-1]), 4, 4), generator=random)
    bias = torch.randn(outputs, generator=random) if biased else None
    weight /= (16 * inputs) ** 0.5
    return StridedLayer(weight, bias, shape, transposed, activate, Workspace())


def make_input(layer: StridedLayer, n: int) -> Tensor:
    random = torch.Generator().manual_seed(2)
    x = torch.randn((n, layer.channels[0], *layer.shape[1:]), generator=random)
    return x.contiguous(memory_format=torch.channels_last)


def empty_output(layer: StridedLayer, x: Tensor) -> Tensor:
    """Half of wider images, as the generator joins them, and filled with what must not stay."""
    height, width = (n * 2 if layer.transposed else n // 2 for n in x.shape[2:])
    wide = torch.full((len(x), 3 + layer.channels[1], height, width), float("nan"))
    return wide.contiguous(memory_format=torch.channels_last)[:, 3:]


Convolve = Callable[[Tensor, Tensor], Tensor]


def assert_convolves(
    make: Callable[[StridedLayer], Convolve],
    layer: StridedLayer,
    n: int,
    *,
    within: float,
    activation: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """``n`` images come out as they are defined, each the same to the bit alone and with others,
    and from a convolution that was made for one."""
    x, convolution = make_input(layer, n), make(layer)
    single = make(layer._replace(shape=(1, *layer.shape[1:]), workspace=Workspace()))
    result = convolution(x, empty_output(layer, x))
    expected = golden(layer, x)
    expected = activation(expected) if activation else expected
    assert result.shape == expected.shape
    assert (result - expected).abs().max() < within
    for i in range(n):
        for one in (convolution, single):
            alone = one(x[i : i + 1], empty_output(layer, x[:1]))
            assert torch.equal(alone[0], result[i])


def sides(most: int) -> st.SearchStrategy[tuple[int, int]]:
    """Two of anything, channels or half an image's height and width."""
    return st.tuples(st.integers(1, most), st.integers(1, most))


def input_size(half: tuple[int, int], transposed: bool) -> tuple[int, int]:
    return half if transposed else (2 * half[0], 2 * half[1])


@settings(max_examples=60)
@given(st.integers(1, 5), sides(9), sides(15), st.booleans(), st.booleans(), st.data())
def test_winograd_is_the_convolution(
    n: int,
    channels: tuple[int, int],
    half: tuple[int, int],
    transposed: bool,
    biased: bool,
    data: st.DataObject,
) -> None:
    block = data.draw(st.sampled_from([1, 4, 7, 25, 80]), "tiles of a block")
    outputs_first = data.draw(st.booleans(), "outputs first")
    layer = make_layer(channels, (n, *input_size(half, transposed)), transposed, biased=biased)
    layer.workspace.reserve("lines", 1)  # as another layer may have
    blocks = Blocks(block, BLOCKS["AVX2"].group, outputs_first)
    assert_convolves(partial(WinogradConvolution, blocks=blocks), layer, n, within=3e-5)


@settings(max_examples=40)
@given(st.integers(1, 5), sides(9), sides(7), st.booleans(), st.booleans(), st.booleans())
def test_winograd_of_few_pixels_is_the_convolution(
    n: int,
    channels: tuple[int, int],
    quarter: tuple[int, int],
    transposed: bool,
    biased: bool,
    activated: bool,
) -> None:
    half = 2 * quarter[0], 2 * quarter[1]
    shape = (4, *input_size(half, transposed))
    activate = RELU if activated else None
    layer = make_layer(channels, shape, transposed, biased=biased, activate=activate)

    def make(layer: StridedLayer) -> FewPixelWinograd:
        convolution = FewPixelWinograd(layer)
        for name, buffer in convolution.shapes.items():  # as another layer may leave them
            layer.workspace.view(name, *buffer).fill_(float("nan"))
        return convolution

    assert_convolves(make, layer, n, within=3e-5, activation=activate)


@settings(max_examples=40)
@given(
    n=st.integers(1, 4),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 7)),
    size=sides(30),
    biased=st.booleans(),
)
def test_a_thin_one_is_the_convolution(
    n: int, channels: tuple[int, int], size: tuple[int, int], biased: bool
) -> None:
    layer = make_layer(channels, (n, *size), transposed=True, biased=biased, activate=torch.tanh)
    assert_convolves(ThinConvolution, layer, n, within=1e-5, activation=torch.tanh)


@settings(max_examples=40)
@given(st.integers(1, 5), sides(40), sides(12), st.booleans(), st.booleans(), st.booleans())
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
    shape = (4, *input_size(half, transposed))
    activate = RELU if activated else None
    layer = make_layer(channels, shape, transposed, biased=biased, activate=activate)
    assert_convolves(PatchConvolution, layer, n, within=1e-5, activation=activate)


@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "transposed"),
    [
        (128, 256, 64, False),
        (256, 512, 32, False),
        (256, 64, 64, True),
        (1024, 256, 16, True),
        (512, 512, 16, False),
        (1024, 512, 8, True),
    ],
)
def test_at_full_size_it_is_as_exact_as_direct(
    inputs: int, outputs: int, side: int, transposed: bool
) -> None:
    layer = make_layer((inputs, outputs), (1, side, side), transposed, activate=RELU)
    x = make_input(layer, 1)
    few = side <= (16 if transposed else 32)
    convolution = FewPixelWinograd(layer) if few else WinogradConvolution(layer)
    result = convolution(x, empty_output(layer, x))
    expected = golden(layer, x).relu()
    assert (result - expected).norm() < 2e-6 * expected.norm()


# The rule


@pytest.mark.parametrize(
    ("instruction_set", "expected"),
    [
        (
            "AVX2",
            {
                "winograd": "d1 d2 u1 u2",
                "few-pixel winograd": "d3 d4 u3 u4",
                "patches": "d5 d6 u5 u6",
            },
        ),
        ("AVX512", {"winograd": "d2 u1 u2", "few-pixel winograd": "d3 d4 u3 u4"}),
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
        for kind in ("winograd", "few-pixel winograd", "patches")
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
