"""Training generators with residual blocks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators import GlobalGenerator, ResNet
from pix2pix_batch.inference.engine import TorchEngine
from tests.train.running import make_pairs, small, train, trainer

RESNET = {"generator": "resnet", "blocks": 2}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (RESNET, ResNet(blocks=2, ngf=2, norm="batch-statistics", dropout=True)),
        ({"generator": "resnet", "downs": 2, "norm": "instance", "dropout": False},
         ResNet(blocks=9, ngf=2)),
        ({**RESNET, "upsample": "resize", "size": 36},
         ResNet(blocks=2, ngf=2, norm="batch-statistics", dropout=True, upsample="nearest")),
        ({"generator": "pix2pixhd-global", "norm": "none"},
         GlobalGenerator(ngf=2, norm="none", dropout=True)),
        ({"generator": "pix2pixhd-global", "downs": 3, "norm": "instance"},
         GlobalGenerator(ngf=2, downs=3, dropout=True)),
    ],
)  # fmt: skip
def test_the_recipe_says_which(values: dict[str, object], expected: object) -> None:
    assert small(**values).architecture == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"generator": "cut"}, "generator"),
        ({**RESNET, "size": 34}, "size must be a multiple of 4"),
        ({"generator": "pix2pixhd-global", "downs": 5}, "size must be at least 64"),
        ({**RESNET, "downs": 3}, "downs.*pix2pixhd-global"),
        ({**RESNET, "skips": False}, "skips"),
        ({**RESNET, "init": "x", "train_blocks": 1}, "train_blocks"),
        ({**RESNET, "init": "x", "freeze_blocks": 1}, "freeze_blocks"),
        ({**RESNET, "upsample": "smooth"}, "upsample.*transposed or resize"),
        ({**RESNET, "blocks": 0}, "blocks"),
        ({"downs": 4}, "downs.*5 at least"),
    ],
)
def test_what_a_family_does_not_have_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(**values)


@pytest.mark.parametrize("generator", ["resnet", "pix2pixhd-global"])
def test_a_run_makes_a_bundle_that_is_as_its_last_weights(tmp_path: Path, generator: str) -> None:
    data = make_pairs(tmp_path / "data", train=4, val=1)
    depth = {"downs": 3} if generator != "resnet" else {}
    ran = train(data, tmp_path / "run", generator=generator, blocks=2, **depth)
    assert ran.code == 0, ran.err
    info, net = bundle.load(tmp_path / "run" / "model.safetensors")
    assert info.architecture.family == generator
    embedding = bundle.load_embedding(tmp_path / "run" / "model.safetensors")
    assert embedding is not None and embedding.mean.shape == (info.architecture.bottleneck,)
    image = np.zeros((1, 32, 32, 3), np.uint8)
    assert TorchEngine(net, size=32, batch_size=1)(image).images.shape == image.shape


def test_it_learns_and_goes_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    """With dropout in the blocks, whose masks each step has of its own."""
    data = make_pairs(tmp_path / "data", train=6, val=1)
    values = {**RESNET, "epochs": 4, "lambda_gan": 0, "lr": 0.003}
    whole = trainer(data, tmp_path / "whole", every=6, **values)
    start = {name: value.clone() for name, value in whole.generator.state_dict().items()}
    whole.fit()
    assert any(not torch.equal(value, start[name])
               for name, value in whole.generator.state_dict().items())  # fmt: skip
    newest = sorted(whole.run.checkpoints.glob("step-*.pt"))
    assert len(newest) >= 2
    newest[-1].unlink()
    again = trainer(data, tmp_path / "whole", every=6, **values)
    again.fit()
    for name, value in again.generator.state_dict().items():
        assert torch.equal(value, whole.generator.state_dict()[name]), name
