"""The U-Net: what it computes, its noise, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pix2pix_batch.generators.generator import DROPOUT_RATE, INIT_STD
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import NORM_EPS, UNet
from tests.reference_unet import ReferenceUNet

NORMS = ("batch-statistics", "running-statistics", "instance", "none")


def make(seed: int = 0, **values: object) -> UNet:
    """A small generator whose every parameter leaves traces in its output; eval mode."""
    net = UNet(Architecture(**{"downs": 5, "ngf": 4, **values}))
    random = torch.Generator().manual_seed(seed)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0, generator=random)
        elif value.ndim == 4:
            value.normal_(0.0, 1.5 / value[0].numel() ** 0.5, generator=random)
        elif value.ndim == 1:
            value.normal_(float(name.endswith(".weight")), 0.3, generator=random)
    return net.eval().requires_grad_(False)


def images(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# What it is


def test_full_size_net_has_the_references_parameters() -> None:
    with torch.device("meta"):
        ours, reference = UNet(Architecture()), ReferenceUNet()
    counts = [sum(p.numel() for p in net.parameters()) for net in (ours, reference)]
    # By hand; the norms have a scale and a shift a channel, 6 of them going down and 7 going up.
    convolutions, outer_bias, norms = 54_404_096, 3, 2 * (2432 + 2496)
    assert counts == [convolutions + outer_bias + norms] * 2 == [54_413_955] * 2


def test_names_are_flat_and_outermost_first() -> None:
    names = UNet(Architecture(downs=5, ngf=1)).state_dict()
    convs = [name for name in names if name.endswith(".conv.weight")]
    expected = [f"{way}.{i}.conv.weight" for way in ("down", "up") for i in range(5)]
    assert convs == expected
    assert [name for name in names if name.endswith(".conv.bias")] == ["up.0.conv.bias"]
    assert [name for name in names if name.startswith("down.0.")] == ["down.0.conv.weight"]
    assert not any(name.startswith("down.4.norm") for name in names)
    assert any(name.startswith("up.4.norm") for name in names)


def test_init_is_the_papers() -> None:
    net = UNet(Architecture(downs=6, ngf=16)).init_weights(torch.Generator().manual_seed(0))
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert abs(module.weight.mean()) < 6 * INIT_STD / module.weight.numel() ** 0.5
            assert module.weight.std().item() == pytest.approx(INIT_STD, rel=0.1)
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1.0, abs=0.02)
            assert not module.bias.any()
    scales = torch.cat([m.weight for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
    assert scales.std().item() == pytest.approx(INIT_STD, rel=0.15)


def test_init_repeats_with_its_seed() -> None:
    first, again, other = (
        UNet(Architecture(downs=5, ngf=2)).init_weights(torch.Generator().manual_seed(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first.down[1].conv.weight, again.down[1].conv.weight)
    assert not torch.equal(first.down[1].conv.weight, other.down[1].conv.weight)


# What it computes


def golden_down(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """4x4 convolution, stride 2, padding 1, tap by tap."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    y = np.zeros((weight.shape[0], height // 2, width // 2))
    for i in range(4):
        for j in range(4):
            taps = padded[:, i : i + height : 2, j : j + width : 2]
            y += np.einsum("oc,chw->ohw", weight[:, :, i, j], taps)
    return y + bias[:, None, None]


def golden_up(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """The transpose of :func:`golden_down`."""
    height, width = x.shape[1:]
    y = np.zeros((weight.shape[1], 2 * height + 2, 2 * width + 2))
    for i in range(4):
        for j in range(4):
            taps = np.einsum("co,chw->ohw", weight[:, :, i, j], x)
            y[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += taps
    return y[:, 1:-1, 1:-1] + bias[:, None, None]


def golden_norm(x: np.ndarray, state: dict[str, np.ndarray], module: str, norm: str) -> np.ndarray:
    mean, variance = x.mean((1, 2)), x.var((1, 2))
    if norm == "none" or module in ("down.0.norm", "down.4.norm", "up.0.norm"):
        return x
    if norm == "running-statistics":
        mean, variance = state[f"{module}.running_mean"], state[f"{module}.running_var"]
    scale = state.get(f"{module}.weight", np.ones(len(x))) / np.sqrt(variance + NORM_EPS)
    shift = state.get(f"{module}.bias", np.zeros(len(x))) - mean * scale
    return x * scale[:, None, None] + shift[:, None, None]


def golden(net: UNet, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Output and embedding of a net with 5 downs, for one image, from the paper's text."""
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    norm = net.architecture.norm

    def layer(function, module: str, value: np.ndarray) -> np.ndarray:
        weight = state[f"{module}.conv.weight"]
        outputs = weight.shape[0 if function is golden_down else 1]
        bias = state.get(f"{module}.conv.bias", np.zeros(outputs))
        return golden_norm(function(value, weight, bias), state, f"{module}.norm", norm)

    skips = [layer(golden_down, "down.0", x)]
    for i in range(1, 5):
        leaky = np.where(skips[-1] > 0, skips[-1], 0.2 * skips[-1])
        skips.append(layer(golden_down, f"down.{i}", leaky))
    embedding = skips[-1].mean((1, 2))
    value = layer(golden_up, "up.4", np.maximum(skips.pop(), 0))
    for i in range(3, -1, -1):
        if net.architecture.skips:
            value = np.concatenate([skips[i], value])
        value = layer(golden_up, f"up.{i}", np.maximum(value, 0))
    return np.tanh(value), embedding


@pytest.mark.parametrize("skips", [True, False], ids=["U-Net", "encoder-decoder"])
@pytest.mark.parametrize("norm", NORMS)
def test_computes_what_the_paper_says(norm: str, skips: bool) -> None:
    """Without skips it is section 4.3's encoder-decoder."""
    net = make(ngf=2, norm=norm, in_channels=2, out_channels=1, skips=skips).double()
    x = images(1, 2, 64, 32).double()
    expected, embedding = golden(net, x[0].numpy())
    y, e = net.translate(x)
    np.testing.assert_allclose(y[0].numpy(), expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(e[0].numpy(), embedding, rtol=1e-9, atol=1e-10)


def test_an_encoder_decoder_has_fewer_weights() -> None:
    """By hand: of the U-Net's decoder blocks but the innermost, half of the inputs are gone."""
    with torch.device("meta"):
        net = UNet(Architecture(skips=False))
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes["up.7.conv.weight"] == (512, 512, 4, 4)
    assert shapes["up.6.conv.weight"] == (512, 512, 4, 4)
    assert shapes["up.3.conv.weight"] == (512, 256, 4, 4)
    assert shapes["up.0.conv.weight"] == (64, 3, 4, 4)
    gone = 16 * (3 * 512 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    assert sum(p.numel() for p in net.parameters()) == 54_413_955 - gone


def test_an_encoder_decoder_sees_its_input_through_the_bottleneck_only() -> None:
    net, x = make(skips=False, norm="none"), images(2, 3, 64, 64)
    embedding_of: list[Tensor] = []

    def squash(module: nn.Module, args: object, output: Tensor) -> Tensor:
        embedding_of.append(output)
        return torch.zeros_like(output)

    net.down[4].register_forward_hook(squash)
    one, other = net(x)
    assert torch.equal(one, other)
    assert not torch.equal(embedding_of[0][0], embedding_of[0][1])
    with_skips = make(norm="none")
    with_skips.down[4].register_forward_hook(squash)
    one, other = with_skips(x)
    assert not torch.allclose(one, other, atol=1e-3)


@given(
    downs=st.integers(5, 10),
    times=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    channels=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    norm=st.sampled_from(NORMS),
)
@settings(max_examples=20)
def test_any_depth_takes_any_multiple(
    downs: int, times: tuple[int, int], channels: tuple[int, int], norm: str
) -> None:
    net = make(downs=downs, ngf=1, norm=norm, in_channels=channels[0], out_channels=channels[1])
    height, width = (net.architecture.multiple * n for n in times)
    y, embedding = net.translate(images(1, channels[0], height, width))
    assert y.shape == (1, channels[1], height, width)
    assert embedding.shape == (1, net.architecture.width(downs - 1))
    assert y.abs().max() <= 1
    assert torch.isfinite(embedding).all()


def test_embedding_is_the_bottlenecks_mean() -> None:
    net = make()
    seen: list[Tensor] = []
    net.down[4].register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    _, embedding = net.translate(images(2, 3, 64, 96))
    assert seen[0].shape == (2, 32, 2, 3)
    assert torch.equal(embedding, seen[0].mean(dim=(2, 3)))


@pytest.mark.parametrize("norm", NORMS)
def test_no_image_depends_on_its_neighbours(norm: str) -> None:
    net = make(norm=norm, downs=6)
    x = images(4, 3, 64, 64)
    x[1] = 0
    x[2] *= 1000
    together, embeddings = net.translate(x)
    for i in range(4):
        alone, embedding = net.translate(x[i : i + 1])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(embeddings[i : i + 1], embedding, rtol=1e-4, atol=1e-4)
    turned = net(x.flip(0)).flip(0)
    torch.testing.assert_close(turned, together, rtol=1e-4, atol=1e-4)


def test_input_is_left_as_it_was() -> None:
    x = images(1, 3, 32, 32)
    before = x.clone()
    make()(x)
    assert torch.equal(x, before)


def test_training_for_running_statistics_uses_and_updates_the_batchs() -> None:
    """Images of a batch change each other while it is trained, as in any batch norm."""
    net = make(norm="running-statistics").train()
    x = images(3, 3, 64, 64)
    before = net.down[1].norm.running_mean.clone()
    together = net(x)
    assert not torch.equal(net.down[1].norm.running_mean, before)
    assert not torch.allclose(together[:1], net(x[:1]), atol=1e-3)
    assert not torch.allclose(together, net.eval()(x), atol=1e-3)


@pytest.mark.parametrize("count", [1, 3])
def test_training_for_batch_statistics_is_a_batch_of_one_for_each_image(count: int) -> None:
    """That is the paper's training, at any batch size: outputs and gradients."""
    net = make(norm="batch-statistics", downs=6).double().train().requires_grad_(True)
    x = images(count, 3, 64, 64).double()
    masks = [mask.double() for mask in draw(net, count, 64, 64)]
    together = net(x, masks)
    together.square().mean().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    for i in range(count):
        alone = net(x[i : i + 1], [mask[i : i + 1] for mask in masks])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-9, atol=1e-9)
        (alone.square().mean() / count).backward()
    for gradient, parameter in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-7, atol=1e-10)


def test_training_for_batch_statistics_runs_as_it_trains() -> None:
    net, x = make(norm="batch-statistics", dropout=False), images(3, 3, 64, 64)
    torch.testing.assert_close(net(x), net.train()(x), rtol=1e-4, atol=1e-4)


def test_training_keeps_running_statistics_for_batch_statistics_too() -> None:
    """The mean over the images of what each alone would give."""
    x = images(3, 3, 64, 64)
    found = []
    for part in (x, x[:1], x[1:2], x[2:]):
        net = make(norm="batch-statistics").train()
        net(part)
        found.append([net.down[1].norm.running_mean, net.down[1].norm.running_var])
    for whole, *each in zip(*found, strict=True):
        torch.testing.assert_close(whole, torch.stack(each).mean(0), rtol=1e-4, atol=1e-5)


# Its noise


def draw(net: UNet, n: int, height: int, width: int, seed: int = 0) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = net.architecture.mask_shapes(height, width)
    return [torch.randint(0, 2, (n, *shape), generator=random) * 2.0 for shape in shapes]


def test_there_are_downs_less_5_masks() -> None:
    for downs in range(5, 11):
        net = UNet(Architecture(downs=downs, ngf=1))
        size = net.architecture.multiple
        assert len(draw(net, 1, size, size)) == downs - 5


def test_masks_make_reproducible_variants() -> None:
    net, x = make(downs=7), images(2, 3, 128, 128)
    one, again = net(x, draw(net, 2, 128, 128)), net(x, draw(net, 2, 128, 128))
    other = net(x, draw(net, 2, 128, 128, seed=1))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, net(x), atol=1e-3)


def test_each_image_has_its_own_masks() -> None:
    net, x = make(downs=7), images(2, 3, 128, 128)
    masks = draw(net, 2, 128, 128)
    together = net(x, masks)
    for i in range(2):
        alone = net(x[i : i + 1], [mask[i : i + 1] for mask in masks])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-4)


def test_masks_of_ones_are_no_noise() -> None:
    net, x = make(downs=7), images(1, 3, 128, 128)
    ones = [torch.ones(1, *shape) for shape in net.architecture.mask_shapes(128, 128)]
    assert torch.equal(net(x, ones), net(x))


def test_masks_may_be_bytes() -> None:
    net, x = make(downs=6), images(1, 3, 64, 64)
    masks = draw(net, 1, 64, 64)
    assert torch.equal(net(x, [mask.to(torch.uint8) for mask in masks]), net(x, masks))


def test_eval_mode_draws_no_noise() -> None:
    net, x = make(downs=7), images(1, 3, 128, 128)
    assert torch.equal(net(x), net(x))


def test_training_draws_noise_from_the_global_generator() -> None:
    net, x = make(downs=7).train(), images(1, 3, 128, 128)
    torch.manual_seed(5)
    one = net(x)
    other = net(x)
    torch.manual_seed(5)
    again = net(x)
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=1e-3)
    assert DROPOUT_RATE == 0.5


def test_training_without_dropout_draws_nothing() -> None:
    net, x = make(downs=7, dropout=False).train(), images(1, 3, 128, 128)
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("count", [1, 3])
def test_refuses_a_wrong_number_of_masks(count: int) -> None:
    net = make(downs=7)
    with pytest.raises(ValueError):
        net(images(1, 3, 128, 128), [torch.ones(1, 1, 1, 1)] * count)


# What it refuses


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 32, 32), r"\(N, 3, H, W\)"),
        ((3, 32, 32), r"\(N, 3, H, W\)"),
        ((1, 32, 32, 3), r"\(N, 3, H, W\)"),
        ((1, 3, 33, 32), "multiples of 32 and at least 32, got 32x33"),
        ((1, 3, 32, 48), "multiples of 32 and at least 32, got 48x32"),
        ((1, 3, 0, 32), r"\(N, 3, H, W\)"),
        ((0, 3, 32, 32), r"\(N, 3, H, W\)"),
    ],
)
def test_refuses_images_it_cannot_halve(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(torch.zeros(shape))
