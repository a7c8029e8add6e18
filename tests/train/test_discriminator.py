"""The PatchGAN: what a logit sees, of what layers it is made, and how they are held in check."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pix2pix_batch.train.discriminator import PatchGAN
from tests.train.reference import patchgan

PATCHES = (1, 16, 34, 70, 142, 286)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("patch", PATCHES)
def test_a_logit_sees_that_many_pixels(patch: int) -> None:
    """Found from the gradient of one logit in the middle (section 6.1.2)."""
    discriminator = PatchGAN(1, ndf=1, patch=patch, norm="none")
    for parameter in discriminator.parameters():  # all positive: nothing cancels
        nn.init.uniform_(parameter, 0.1, 1)
    side = 64 if patch < 35 else 3 * patch // 2 // 32 * 32 + 64
    image = images(1, 1, side, side).double().abs().requires_grad_(True)
    logits = discriminator.double()(image)
    middle = logits.shape[2] // 2
    (gradient,) = torch.autograd.grad(logits[0, 0, middle, middle], image)
    seen = gradient[0, 0].abs() > 1e-12 * gradient.abs().max()  # less is rounding
    rows = seen.any(1).nonzero().flatten()
    columns = seen.any(0).nonzero().flatten()
    assert len(rows) == len(columns) == patch
    assert rows[-1] - rows[0] == columns[-1] - columns[0] == patch - 1
    assert rows[0] > 0 and rows[-1] < side - 1, "cut off by the border"


def test_an_image_of_256_is_judged_by_30x30_patches() -> None:
    logits = PatchGAN(6, ndf=1)(images(1, 3, 256, 256), images(1, 3, 256, 256, seed=1))
    assert logits.shape == (1, 1, 30, 30)


@pytest.mark.parametrize(
    ("patch", "widths"),
    [
        (1, [64, 128, 1]),
        (16, [64, 128, 1]),
        (70, [64, 128, 256, 512, 1]),
        (286, [64, 128, 256, 512, 512, 512, 1]),
    ],
)
def test_layers_are_the_papers(patch: int, widths: list[int]) -> None:
    """C64-C128-... of section 6.1.2, 4x4 filters but for the PixelGAN's 1x1; no norm at first."""
    layers = list(PatchGAN(6, patch=patch).layers)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == widths
    assert [layer.in_channels for layer in convolutions] == [6, *widths[:-1]]
    assert {layer.kernel_size for layer in convolutions} == {(1, 1) if patch == 1 else (4, 4)}
    kinds = [nn.Conv2d if isinstance(layer, nn.Conv2d) else type(layer) for layer in layers]
    first, middle = [nn.Conv2d, nn.LeakyReLU], [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert kinds == [*first, *middle * (len(widths) - 2), nn.Conv2d]
    assert {layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)} == {0.2}


def test_the_full_size_discriminator_has_the_references_parameters() -> None:
    """By hand: 4*4*(6*64 + 64*128 + 128*256 + 256*512 + 512) weights, the first and the last
    layer's biases, two for each normed channel."""
    count = sum(p.numel() for p in PatchGAN(6).parameters())
    assert count == 16 * 172_928 + 65 + 2 * 896 == 2_768_705


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("patch", [1, 34, 70])
def test_computes_what_the_paper_says(patch: int, norm: str) -> None:
    torch.manual_seed(0)
    discriminator = PatchGAN(4, 3, patch, norm).double()  # type: ignore[arg-type]
    for parameter in discriminator.parameters():
        nn.init.normal_(parameter, float(parameter.ndim == 1), 0.3)
    source, image = images(2, 1, 48, 48).double(), images(2, 3, 48, 48, seed=1).double()
    expected = patchgan(
        list(discriminator.parameters()), torch.cat([source, image], 1), patch, norm
    )
    assert expected.std() > 0.01
    torch.testing.assert_close(discriminator(source, image), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_only_batch_norm_lets_images_judge_each_other(norm: str) -> None:
    x = images(3, 3, 64, 64)

    def neighbours_matter(norm: str) -> bool:
        discriminator = PatchGAN(3, 4, 34, norm)  # type: ignore[arg-type]
        return not torch.allclose(discriminator(x)[:1], discriminator(x[:1]), atol=1e-5)

    assert not neighbours_matter(norm)
    assert neighbours_matter("batch")


def test_weights_begin_as_the_papers() -> None:
    """N(0, 0.02), norm scales N(1, 0.02), biases 0 (section 6.2)."""
    torch.manual_seed(0)
    for layer in PatchGAN(6, ndf=32).layers:
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert layer.bias is None or not layer.bias.any()
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.weight.mean().item() == pytest.approx(1, abs=0.02)
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.3)
            assert not layer.bias.any()


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_spectral_norm_bounds_every_convolution(norm: str) -> None:
    """Its weights, as they are used, have the largest singular value 1 (Miyato et al. 2018)."""
    torch.manual_seed(0)
    discriminator = PatchGAN(3, 4, 34, norm, spectral=True)  # type: ignore[arg-type]
    for name, parameter in discriminator.named_parameters():
        if name.endswith("original"):
            nn.init.normal_(parameter, 0, 3)
    for _ in range(60):  # each has one power iteration
        discriminator(images(1, 3, 32, 32))
    convolutions = [layer for layer in discriminator.layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 4
    for layer in convolutions:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(
            1, abs=0.02
        )
