"""What a run leaves: bundles that tell their recipe, data and figures, and where inputs lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pix2pix_batch
from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import InputError
from pix2pix_batch.train import finish
from pix2pix_batch.train.adopt import adopt
from pix2pix_batch.train.finish import write_bundles
from pix2pix_batch.train.loop import Trainer
from pix2pix_batch.train.rundir import recall_init
from tests.train.reference import encode
from tests.train.running import judge_by, make_pairs, records, small, trainer, weights

BETTER, WORSE = (3.0, 2.0, 1.0), (1.0, 2.0, 3.0)
"""Errors of a run's validations."""


def finished(
    data: Path, run: Path, errors: Sequence[float] = (), **changes: Any
) -> tuple[Trainer, list[Path]]:
    made = trainer(data, run, every=2, **{"epochs": 1, **changes})
    if errors:
        judge_by(made, errors)
    made.fit()
    return made, write_bundles(made)


def inputs(data: Path, side: int = 32) -> list[np.ndarray]:
    """The left halves of the training pairs, as the network sees them."""
    halves = []
    for path in sorted((data / "train").iterdir()):
        image = Image.open(path)
        half = image.crop((0, 0, image.width // 2, image.height))
        halves.append(np.asarray(half.resize((side, side), Image.Resampling.BICUBIC)))
    return halves


def embeddings(images: list[np.ndarray], state: dict[str, torch.Tensor], norm: str) -> np.ndarray:
    """By the reference's encoder, image by image."""
    found = []
    for image in images:
        x = torch.tensor(image / 127.5 - 1, dtype=torch.float64).permute(2, 0, 1)[None]
        weights = {name: value.double() for name, value in state.items()}
        found.append(encode(weights, x, 5, norm)[-1].mean((2, 3))[0].numpy())
    return np.stack(found)


@pytest.mark.parametrize("norm", ["batch-statistics", "instance", "none"])
def test_the_embeddings_statistics_are_of_the_training_inputs(
    pairs: Path, tmp_path: Path, norm: str
) -> None:
    _, (path, *_) = finished(pairs, tmp_path / "run", norm=norm)
    found = bundle.load_embedding(path)
    assert found is not None and found.inputs == 6
    x = embeddings(inputs(pairs), weights(tmp_path / "run", 6), norm)
    assert x.shape == (6, 16) and x.std() > 1e-4
    mean = x.sum(0) / 6
    covariance = (x - mean).T @ (x - mean) / 5
    np.testing.assert_allclose(found.mean, mean, atol=1e-4 * np.abs(mean).max())
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-3 * covariance.max())


def test_the_averages_embeddings_are_taken(pairs: Path, tmp_path: Path) -> None:
    """Where the bundle gets the averaged weights."""
    made, (path, *_) = finished(pairs, tmp_path / "run", ema=0.9, norm="none", lr=0.01)
    found = bundle.load_embedding(path)
    assert made.average is not None and found is not None
    x = embeddings(inputs(pairs), made.average.state_dict(), "none")
    np.testing.assert_allclose(found.mean, x.mean(0), atol=1e-4 * np.abs(x).max())
    live = embeddings(inputs(pairs), made.generator.state_dict(), "none")
    assert np.abs(found.mean - live.mean(0)).max() > 1e-3 * np.abs(x).max()


def test_of_many_inputs_an_even_choice_is_taken(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "most_of", lambda generator: 3)
    _, (path, *_) = finished(pairs, tmp_path / "run", norm="none")
    found = bundle.load_embedding(path)
    assert found is not None and found.inputs == 3
    x = embeddings(inputs(pairs), weights(tmp_path / "run", 6), "none")[[0, 2, 5]]
    np.testing.assert_allclose(found.mean, x.mean(0), atol=1e-4 * np.abs(x).max())


def test_one_input_has_no_spread(tmp_path: Path) -> None:
    data = make_pairs(tmp_path / "data", train=1)
    _, (path, *_) = finished(data, tmp_path / "run", val_fraction=0, epochs=2)
    found = bundle.load_embedding(path)
    assert found is not None and found.inputs == 1
    assert found.mean.any() and not found.covariance.any()


def test_the_bundle_tells_where_it_is_from(pairs: Path, tmp_path: Path) -> None:
    changes = {
        "source_domain": "soft colours", "target_domain": "negatives", "license": "CC0",
        "data_source": "made up", "batch_size": 2, "fit": "tile", "norm": "instance",
    }  # fmt: skip
    _, (path, *_) = finished(pairs, tmp_path / "run", **changes)
    info = bundle.read_info(path)
    assert info == BundleInfo(
        "small",
        small(**changes).architecture,
        32,
        "tile",
        "soft colours",
        "negatives",
        info.provenance,
    )
    told = info.provenance
    assert told["recipe"] == small(epochs=1, **changes).as_dict()
    digest = hashlib.sha256()
    for i in range(6):  # names and pixels; tiles show the middle
        both = np.asarray(Image.open(pairs / "train" / f"{i:02}.png"))[4:36]
        digest.update(json.dumps([f"{i:02}", [32, 32, 3], [32, 32, 3]]).encode())
        digest.update(both[:, 4:36].tobytes() + both[:, 44:76].tobytes())
    assert told["data"] == {
        "source": "made up",
        "license": "CC0",
        "training_pairs": 6,
        "validation_pairs": 2,
        "fingerprint": digest.hexdigest(),
    }
    last = records(tmp_path / "run")[-1]["validation"]
    assert told["validation"] == {name: round(value, 4) for name, value in last.items()}
    assert told["training"] == {
        "step": 3, "steps": 3, "images": 6, "init": "", "device": "cpu", "precision": "fp32",
        "processes": 1,
    }  # fmt: skip
    assert told["versions"] == {
        "torch": torch.__version__,
        "pix2pix-batch": pix2pix_batch.__version__,
    }


def test_its_weights_are_the_last_steps(pairs: Path, tmp_path: Path) -> None:
    _, (path, *_) = finished(pairs, tmp_path / "run")
    _, generator = bundle.load(path)
    expected = weights(tmp_path / "run", 6)
    for name, value in generator.state_dict().items():
        if value.dtype.is_floating_point:
            stored = expected[name].half() if ".conv." in name else expected[name]
            assert torch.equal(value, stored.float()), name


def test_an_earlier_step_that_was_better_is_kept_as_well(pairs: Path, tmp_path: Path) -> None:
    _, (model, best) = finished(pairs, tmp_path / "run", WORSE)
    assert (model.name, best.name) == ("model.safetensors", "best.safetensors")
    found = min(records(tmp_path / "run"), key=lambda record: record["validation"]["error"])
    told = bundle.read_info(best).provenance
    assert told["training"]["step"] == found["step"] == 2
    assert told["training"]["images"] == 2 and told["training"]["steps"] == 6
    assert told["validation"]["error"] == pytest.approx(found["validation"]["error"], abs=1e-4)
    _, generator = bundle.load(best)
    expected = weights(tmp_path / "run", 2)["up.1.conv.weight"]
    assert torch.equal(generator.up[1].conv.weight, expected.half().float())


def test_a_last_step_that_is_the_best_is_kept_once(pairs: Path, tmp_path: Path) -> None:
    made, paths = finished(pairs, tmp_path / "run", BETTER)
    assert made.best is not None and made.best["step"] == 6
    assert [path.name for path in paths] == ["model.safetensors"]


def test_the_best_of_a_shorter_run_goes_when_it_is_not_the_best(
    pairs: Path, tmp_path: Path
) -> None:
    stale = tmp_path / "run" / "best.safetensors"
    made, _ = finished(pairs, tmp_path / "run", BETTER)
    stale.write_bytes(b"of before")
    write_bundles(made)
    assert not stale.exists()


def test_a_damaged_best_checkpoint_costs_only_its_bundle(pairs: Path, tmp_path: Path) -> None:
    made, _ = finished(pairs, tmp_path / "run", WORSE)
    best = tmp_path / "run" / "checkpoints" / "best.pt"
    best.write_bytes(best.read_bytes()[:100])
    assert [path.name for path in write_bundles(made)] == ["model.safetensors"]


def test_a_finished_run_without_checkpoints_is_not_begun_again(pairs: Path, tmp_path: Path) -> None:
    _, (model, *_) = finished(pairs, tmp_path / "run")
    before = model.read_bytes()
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="whose checkpoints are gone"):
        finished(pairs, tmp_path / "run")
    assert model.read_bytes() == before


def test_a_bundle_can_be_gone_on_from(pairs: Path, tmp_path: Path) -> None:
    """``init`` starts with its weights, ``train_blocks`` leaves all but the outer decoder alone."""
    _, (path, *_) = finished(pairs, tmp_path / "first")
    _, first = bundle.load(path)
    begun = trainer(pairs, tmp_path / "x", init=str(path), train_blocks=2)
    for name, value in first.state_dict().items():
        if value.dtype.is_floating_point:
            assert torch.equal(begun.generator.state_dict()[name], value), name
    made, (second, *_) = finished(
        pairs, tmp_path / "second", init=str(path), train_blocks=2, lr=0.01
    )
    changed = {
        name
        for name, value in made.generator.named_parameters()
        if not torch.equal(value, first.state_dict()[name])
    }
    assert changed == {
        "up.0.conv.weight", "up.0.conv.bias", "up.1.conv.weight", "up.1.norm.weight",
        "up.1.norm.bias",
    }  # fmt: skip
    told = bundle.read_info(second).provenance["training"]
    assert told["init"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["init_provenance"] == bundle.read_info(path).provenance


def test_a_run_keeps_what_it_began_from(pairs: Path, tmp_path: Path) -> None:
    """Another model has the place of the first by the time that the run goes on."""
    _, (path, *_) = finished(pairs, tmp_path / "first")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = bundle.read_info(path).provenance
    run = tmp_path / "second"
    finished(pairs, run, init=str(path))
    _, (other, *_) = finished(pairs, tmp_path / "other", seed=5)
    path.write_bytes(other.read_bytes())
    finished(pairs, run, init=str(path), epochs=2)
    path.unlink()  # all weights are in the checkpoint now
    _, (second, *_) = finished(pairs, run, init=str(path), epochs=3)
    adopted = tmp_path / "adopted.safetensors"
    adopt(run / "checkpoints" / "step-00000018.pt", adopted)
    for made in (second, adopted):
        told = bundle.read_info(made).provenance["training"]
        assert (told["init"], told["init_provenance"]) == (before, origin)
    older = {"recipe": {"init": str(path)}}  # of a version that kept nothing else
    assert recall_init(older) == {"init": str(path)}


def test_outer_blocks_can_stay(pairs: Path, tmp_path: Path) -> None:
    """``freeze_blocks``: of encoder and decoder, and what norms know of the data."""
    _, (path, *_) = finished(pairs, tmp_path / "first")
    _, first = bundle.load(path)
    values: dict[str, Any] = {"lambda_texture": 1.0, "l1_pixels": 8, "lambda_gan": 0.0, "lr": 0.01}
    values |= {"init": str(path), "freeze_blocks": 2, "upsample": "resize"}  # theirs is another
    made, _ = finished(pairs, tmp_path / "second", **values)
    same = {
        name
        for name, value in made.generator.state_dict().items()
        if torch.equal(value, first.state_dict()[name])
    }
    outer = ("down.0.", "down.1.", "up.0.", "up.1.")
    assert same == {
        name
        for name in first.state_dict()
        if name.startswith(outer) or "running" in name or "num_batches" in name
    }


def test_patches_teach_textures_that_l1_blurs(tmp_path: Path) -> None:
    """Inputs and targets are noise: nothing says where a detail is."""
    data, random = tmp_path / "data", np.random.default_rng(0)
    noise = random.integers(0, 256, (2, 4, 32, 32, 3), dtype=np.uint8)
    for side, images in zip("AB", noise, strict=True):
        (data / side).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(image).save(data / side / f"{i}.png")
    x, strengths = torch.from_numpy(noise[0, :1]).permute(0, 3, 1, 2) / 127.5 - 1, []
    for name, weight in (("l1", 0.0), ("patches", 100.0)):
        changes: dict[str, Any] = {"lambda_gan": 0.0, "lambda_patches": weight}
        changes |= {"l1_pixels": 8, "lambda_l1": 10.0, "epochs": 10, "lr": 0.01}
        made, _ = finished(data, tmp_path / name, **changes)
        with torch.no_grad():
            strengths.append(made.generator.eval()(x).std().item())
    assert strengths[0] < 0.1 and 0.25 < strengths[1] < 0.7  # the targets': 0.58


def test_another_network_cannot_be_gone_on_from(pairs: Path, tmp_path: Path) -> None:
    _, (path, *_) = finished(pairs, tmp_path / "first")
    message = (
        f"init: {path} is another network: ngf is 2 there and 4 in the recipe; its own is "
        f"{path.parent / 'recipe.yaml'}, for --recipe"
    )
    with pytest.raises(InputError) as caught:
        trainer(pairs, tmp_path / "x", init=str(path), ngf=4)
    assert str(caught.value) == message
