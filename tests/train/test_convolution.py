"""The trainer's convolutions against PyTorch's, in both forms and with all their gradients."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import BatchNorm, UNet
from pix2pix_batch.train import tiles
from pix2pix_batch.train.convolution import (
    TILES,
    Convolve,
    Down,
    Up,
    choose_tile,
    use_own_convolutions,
)
from pix2pix_batch.train.discriminator import PatchGAN
from pix2pix_batch.train.tiles import Shape, transforms

SHAPES = st.builds(
    Shape,
    images=st.integers(1, 3),
    height=st.integers(1, 10),
    width=st.integers(1, 10),
    big=st.integers(1, 5),
    small=st.integers(1, 5),
    stride=st.sampled_from([1, 2]),
)
FORMS = pytest.mark.parametrize(
    "tile", [None, *TILES], ids=["product", *(f"tiles-of-{side}" for side in TILES)]
)
KINDS = pytest.mark.parametrize("transposed", [False, True], ids=["convolution", "transposed"])


def tensors(shape: Shape, transposed: bool, dtype: torch.dtype, seed: int = 0) -> list[Tensor]:
    """Input, weights and the output's gradient."""
    random = torch.Generator().manual_seed(seed)
    big = (shape.images, shape.big, *shape.sides)
    small = (shape.images, shape.small, shape.height, shape.width)
    sizes = [big, (shape.small, shape.big, 4, 4), small]
    if transposed:
        sizes.reverse()
    return [torch.randn(size, generator=random, dtype=torch.float64).to(dtype) for size in sizes]


def direct(x: Tensor, weight: Tensor, shape: Shape, transposed: bool) -> Tensor:
    convolve = F.conv_transpose2d if transposed else F.conv2d
    return convolve(x, weight, None, shape.stride, 1)


def with_gradients(made: Tensor, x: Tensor, weight: Tensor, gradient: Tensor) -> list[Tensor]:
    return [made.detach(), *torch.autograd.grad(made, (x, weight), gradient)]


@FORMS
@KINDS
@settings(max_examples=40, deadline=None)
@example(shape=Shape(2, 5, 7, 3, 1, 1), seed=0, block=tiles.BLOCK)
@given(shape=SHAPES, seed=st.integers(0, 99), block=st.sampled_from([1, 2000, tiles.BLOCK]))
def test_output_and_gradients_are_the_direct_convolutions(
    tile: int | None, transposed: bool, shape: Shape, seed: int, block: int
) -> None:
    """With one image, some, and all of them in a block."""
    x, weight, gradient = tensors(shape, transposed, torch.float64, seed)
    x, weight = x.requires_grad_(), weight.requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "BLOCK", block)
        ours = Convolve.apply(x, weight, shape, transposed, tile)
        found = with_gradients(ours, x, weight, gradient)
    expected = direct(x, weight, shape, transposed)
    for one, other in zip(found, with_gradients(expected, x, weight, gradient), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@FORMS
@KINDS
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_are_those_of_finite_differences(
    tile: int | None, transposed: bool, stride: int
) -> None:
    """Of first and of second order, which the gradient penalty takes."""
    shape = Shape(1, 4, 2, 1, 2, stride)
    x, weight, _ = tensors(shape, transposed, torch.float64)

    def function(x: Tensor, weight: Tensor) -> Tensor:
        made: Tensor = Convolve.apply(x, weight, shape, transposed, tile)
        return made

    inputs = (x.requires_grad_(), weight.requires_grad_())
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@KINDS
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("stride", [1, 2])
def test_rounding_is_some_millionths(transposed: bool, tile: int, stride: int) -> None:
    """In float32, relative to the whole result; a wrong transform would be off by tenths."""
    shape = Shape(2, 15, 16, 64, 96, stride)
    found = []
    for dtype in (torch.float32, torch.float64):
        x, weight, gradient = tensors(shape, transposed, dtype)
        x, weight = x.requires_grad_(), weight.requires_grad_()
        made = (
            Convolve.apply(x, weight, shape, transposed, tile)
            if dtype == torch.float32
            else direct(x, weight, shape, transposed)
        )
        found.append(with_gradients(made, x, weight, gradient))
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < 5e-6 * other.norm()


@pytest.mark.parametrize("side", TILES)
@pytest.mark.parametrize("taps", [2, 4])
def test_transforms_make_a_filter_of_few_products(side: int, taps: int) -> None:
    """One dimension by hand: the outputs of a tile by ``side + taps - 1`` products."""
    big, weights, small = transforms(side, taps)
    assert len(big) == side + taps - 1
    x, kernel = torch.randn(len(big)).double().numpy(), torch.randn(taps).double().numpy()
    expected = [sum(kernel[k] * x[i + k] for k in range(taps)) for i in range(side)]
    assert small @ ((weights @ kernel) * (big @ x)) == pytest.approx(expected)


LAYERS = {  # of the paper's networks at 256x256: height, big and small channels, stride
    "down.1": (64, 64, 128, 2), "down.2": (32, 128, 256, 2), "down.3": (16, 256, 512, 2),
    "down.5": (4, 512, 512, 2), "up.4": (8, 512, 1024, 2), "up.3": (16, 256, 1024, 2),
    "up.2": (32, 128, 512, 2), "up.1": (64, 64, 256, 2), "d.3": (31, 256, 512, 1),
}  # fmt: skip


@pytest.mark.parametrize(
    ("images", "of_four", "of_two"),
    [
        (1, {"down.1", "down.2", "up.2", "up.1", "d.3"}, {"down.3", "up.3"}),
        (4, {"down.1", "down.2", "down.3", "up.3", "up.2", "up.1", "d.3"}, {"up.4"}),
    ],
)
def test_tiles_are_taken_where_they_were_measured_faster(
    images: int, of_four: set[str], of_two: set[str]
) -> None:
    found = {
        name: choose_tile(Shape(images, side, side, *rest))
        for name, (side, *rest) in LAYERS.items()
    }
    expected = {name: 4 if name in of_four else 2 if name in of_two else None for name in LAYERS}
    assert found == expected


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("ours", "theirs", "arguments", "sides"),
    [
        (Down, nn.Conv2d, (4, 2, 1), (12, 20)),
        (Down, nn.Conv2d, (4, 1, 1), (12, 20)),
        (Down, nn.Conv2d, (4, 2, 1), (13, 20)),
        (Down, nn.Conv2d, (1, 1, 0), (5, 6)),
        (Down, nn.Conv2d, (4, 4, 0), (12, 20)),
        (Up, nn.ConvTranspose2d, (4, 2, 1), (6, 5)),
        (Up, nn.ConvTranspose2d, (3, 2, 1), (6, 5)),
    ],
    ids=str,
)
def test_layers_are_pytorchs(
    ours: type[Any], theirs: type[Any], arguments: tuple[int, ...], sides: tuple[int, int],
    bias: bool,
) -> None:  # fmt: skip
    """Also where the trainer's convolutions do not fit: other kernels, odd sides."""
    expected = theirs(3, 5, *arguments, bias=bias).double()
    layer = ours(3, 5, *arguments, bias=bias).double()
    layer.load_state_dict(expected.state_dict())
    x = torch.randn(2, 3, *sides, dtype=torch.float64)
    torch.testing.assert_close(layer(x), expected(x), rtol=1e-10, atol=1e-10)


def test_bf16_is_left_to_onednn() -> None:
    plain = nn.Conv2d(8, 16, 4, 2, 1)
    layer = Down(8, 16, 4, 2, 1)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), plain(x))
        assert layer(x).dtype == torch.bfloat16


def test_a_generator_keeps_its_weights_and_what_it_makes() -> None:
    torch.manual_seed(0)
    plain = UNet(Architecture(ngf=4, downs=5)).init_weights().double().eval()
    ours = copy.deepcopy(plain)
    use_own_convolutions(ours)
    assert ours.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_parts_are_judged_as_one_after_the_other(norm: Any) -> None:
    """Also what batch norm keeps."""
    torch.manual_seed(0)
    one = PatchGAN(3, 4, 34, norm).double().train()
    other = copy.deepcopy(one)
    first, second = torch.randn(2, 2, 3, 32, 32, dtype=torch.float64)
    together = one(torch.cat((first, second)), parts=2)
    apart = torch.cat((other(first), other(second)))
    torch.testing.assert_close(together, apart, rtol=1e-9, atol=1e-9)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-9, atol=1e-9)
    if norm == "batch":
        assert not torch.allclose(one(torch.cat((first, second))), apart, rtol=1e-3)


def test_spectral_norm_goes_on_once_a_pass() -> None:
    """As with PyTorch's own layers: each look at the weights is a power iteration."""
    layers = []
    for kind in (nn.Conv2d, Down):
        torch.manual_seed(0)
        layer = nn.utils.parametrizations.spectral_norm(kind(3, 5, 4, 2, 1).double())
        layer(torch.ones(1, 3, 8, 8, dtype=torch.float64))
        layers.append(layer.state_dict())
    for name, value in layers[0].items():
        torch.testing.assert_close(layers[1][name], value, msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("side", [1, 6])
def test_each_image_is_normalised_as_by_instance_norm(dtype: torch.dtype, side: int) -> None:
    """With the running statistics that it would keep."""
    torch.manual_seed(0)
    norm = BatchNorm(5, per_image=True).train()
    x = torch.randn(3, 5, side, 6).to(dtype).contiguous(memory_format=torch.channels_last)
    mean, variance = torch.zeros(5), torch.ones(5)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        made = norm(x)
        expected = F.instance_norm(x, mean, variance, norm.weight, norm.bias, True, eps=norm.eps)
    assert made.dtype == expected.dtype and made.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, variance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("per_image", [True, False])
def test_gradients_of_joined_images_are_those_of_the_norm(per_image: bool) -> None:
    """What comes back from a wider image lies otherwise in memory."""
    torch.manual_seed(0)
    norm = BatchNorm(5, per_image=per_image).double().train()
    x = torch.randn(2, 5, 4, 6, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    weights = torch.randn(2, 8, 4, 6, dtype=torch.float64)
    found, expected = (x.clone().requires_grad_() for _ in range(2))
    (torch.cat((x[:, :3], norm(found)), 1) * weights).sum().backward()
    axes = (2, 3) if per_image else (0, 2, 3)
    mean, variance = expected.mean(axes, keepdim=True), expected.var(axes, False, keepdim=True)
    golden = (expected - mean) / (variance + norm.eps).sqrt()
    (golden * weights[:, 3:]).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)
