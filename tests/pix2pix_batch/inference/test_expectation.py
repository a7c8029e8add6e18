"""What a checkpoint's keys leave open, settled by an image and what the network made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pix2pix_batch.errors import BundleError
from pix2pix_batch.inference.expectation import settle
from tests.reference_resnets import PlainResNet, lively
from tests.reference_unet import ReferenceUNet
from tests.reference_unet import lively as lively_unet


def save_case(folder: Path, net: nn.Module, order: str, size: tuple[int, int]) -> tuple[Path, ...]:
    """The checkpoint, an input, and what the reference makes of it."""
    torch.save(net.state_dict(), folder / "net.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    step = -1 if order == "bgr" else 1
    x = torch.from_numpy(pixels[:, :, ::step].copy()).permute(2, 0, 1)[None].double() / 127.5 - 1
    with torch.no_grad():
        y = ((net.double()(x)[0].permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()
    Image.fromarray(pixels).save(folder / "in.png")
    Image.fromarray(y[:, :, ::step]).save(folder / "out.png")
    return folder / "net.pth", folder / "in.png", folder / "out.png"


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("net", "norm", "size"),
    [
        (PlainResNet(norm="instance"), "instance", (36, 52)),
        (PlainResNet(norm="none", bias=True), "none", (36, 36)),
        (PlainResNet(norm="batch").train(), "batch-statistics", (36, 36)),
        (PlainResNet(norm="batch").eval(), "running-statistics", (36, 36)),
        (PlainResNet(norm="affine"), "batch-statistics", (36, 36)),
    ],
    ids=["instance", "none", "batch", "running", "affine"],
)
def test_norm_and_order_are_found(
    tmp_path: Path, net: nn.Module, norm: str, size: tuple[int, int], order: str
) -> None:
    training = net.training
    net = lively(net).train(training)
    found = settle(*save_case(tmp_path, net, order, size), {"name": "x"})
    assert found.values == {"norm": norm, "channels": order}
    assert found.levels < 0.5


def test_a_unet_is_settled(tmp_path: Path) -> None:
    net = lively_unet(ReferenceUNet(downs=5, ngf=4, norm="instance")).eval()
    found = settle(*save_case(tmp_path, net, "rgb", (64, 64)), {"name": "x"})
    assert found.values["norm"] == "instance"


def test_another_picture_is_refused(tmp_path: Path) -> None:
    checkpoint, source, _ = save_case(tmp_path, lively(PlainResNet()), "rgb", (36, 36))
    with pytest.raises(BundleError, match=r"net\.pth: does not make .*in\.png.*further than"):
        settle(checkpoint, source, source, {"name": "x"})
    Image.open(source).crop((0, 0, 35, 36)).save(tmp_path / "odd.png")
    with pytest.raises(BundleError, match=r"odd\.png: is 35x36.*multiples of 4"):
        settle(checkpoint, source, tmp_path / "odd.png", {"name": "x"})
