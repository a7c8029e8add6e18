"""The first, plain trainer."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.cli import main
from pix2pix_batch.errors import InputError
from pix2pix_batch.train.command import RECIPES
from pix2pix_batch.train.discriminator import PatchGAN
from pix2pix_batch.train.loop import Recipe, Trainer, gan_loss
from pix2pix_batch.train.metrics import mean_absolute_error, sharpness
from pix2pix_batch.train.mosaic import CropSampler, MosaicPair, grid_crops, to_tensor

SEA = (160, 200, 225)


def mosaics(width: int = 720) -> MosaicPair:
    """Longitude in the red channel of both, latitude in the green one; no sea."""
    column = np.linspace(0, 255, width).astype(np.uint8)
    row = np.linspace(0, 255, width // 2).astype(np.uint8)
    image = np.zeros((width // 2, width, 3), np.uint8)
    image[:, :, 0], image[:, :, 1] = column, row[:, None]
    return MosaicPair(image, image, np.ones(image.shape[:2], bool))


def sampler(**changes: object) -> CropSampler:
    settings = {"size": 32, "scales": (0.7, 1.6), "min_land": 0.3, "seed": 0} | changes
    return CropSampler(mosaics(), [(-180, -72), (42, 180)], (-58, 70), **settings)  # type: ignore[arg-type]


def test_the_patch_is_seventy_pixels() -> None:
    """The receptive field of one logit, found from gradients (section 6.1.2: 70x70)."""
    discriminator = PatchGAN(2, ndf=4).eval()
    for parameter in discriminator.parameters():
        torch.nn.init.uniform_(parameter, 0.1, 1)
    image = torch.rand(1, 1, 128, 128, requires_grad=True)
    logits = discriminator(image, image.detach())
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].abs() > 0
    assert int(touched.any(0).sum()) == int(touched.any(1).sum()) == 70


def test_gan_loss_is_cross_entropy_on_logits() -> None:
    logits = torch.tensor([[-2.0, 0.0, 3.0]], dtype=torch.float64)
    real = sum(math.log1p(math.exp(-x)) for x in (-2, 0, 3)) / 3
    fake = sum(math.log1p(math.exp(x)) for x in (-2, 0, 3)) / 3
    assert gan_loss(logits, True).item() == pytest.approx(real, rel=1e-6)
    assert gan_loss(logits, False).item() == pytest.approx(fake, rel=1e-6)


def test_crops_never_leave_their_bands() -> None:
    """Red tells the longitude: none of the band between the two training bands is seen."""
    crops = sampler()
    west, east = (-72 + 180) / 360 * 255, (42 + 180) / 360 * 255
    for _ in range(200):
        source, target = crops.pair()
        assert source.shape == (32, 32, 3) and np.array_equal(source, target)
        red = source[:, :, 0].astype(int)
        assert red.max() <= west + 2 or red.min() >= east - 2


def test_crops_are_the_same_for_the_same_seed() -> None:
    for one, two in zip(sampler(seed=3).batch(4), sampler(seed=3).batch(4), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(sampler(seed=3).batch(1)[0], sampler(seed=4).batch(1)[0])


def test_crops_without_land_are_skipped() -> None:
    pair = mosaics()
    pair = replace(pair, land=pair.source[:, :, 0] > 200)
    crops = CropSampler(pair, [(42, 180)], (-58, 70), size=32, scales=(1, 1), min_land=0.9, seed=0)
    assert all(crops.pair()[0][:, :, 0].mean() > 180 for _ in range(50))


def test_the_validation_grid_covers_its_band() -> None:
    crops = grid_crops(mosaics(), (-72, -44), (-58, 70), size=32, stride=16, min_land=0.3)
    assert len(crops) == len(range(0, 256 - 31, 16)) * len(range(0, 56 - 31, 16))
    assert all(source.shape == (32, 32, 3) for source, _ in crops)


def test_to_tensor_scales_to_the_tanh_range() -> None:
    image = np.array([[[0, 255, 51]]], np.uint8)
    assert torch.allclose(to_tensor([image])[0, :, 0, 0], torch.tensor([-1.0, 1.0, -0.6]))


def test_metrics_against_hand_worked_values() -> None:
    target = np.zeros((2, 1, 3), np.uint8)
    target[1] = 100
    blurred = np.zeros_like(target)
    blurred[1] = 40
    assert mean_absolute_error(blurred, target) == pytest.approx(30)
    assert sharpness(blurred, target) == pytest.approx(0.4)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two small mosaics: the target is the source's negative."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (30, 60, 3), dtype=np.uint8))
    image = noise.resize((960, 480), Image.Resampling.BICUBIC)
    image.save(folder / "map.png")
    Image.fromarray(255 - np.asarray(image)).save(folder / "satellite.png")
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    values = yaml.safe_load((RECIPES / "map2aerial.yaml").read_text())
    values |= {
        "target": "satellite.png", "size": 64, "val_size": 64, "image_size": 64, "ngf": 4,
        "ndf": 4, "batch_size": 2, "scales": [0.7, 1.2], "min_land": 0.0,
        "texture_steps": 0,
    }  # fmt: skip
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_command_makes_a_bundle(tmp_path: Path, data: Path, recipe: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", str(data), str(run), "--recipe", str(recipe)]
    result = CliRunner().invoke(main, [*arguments, "--steps", "4", "--every", "2"])
    assert result.exit_code == 0, result.output
    info, generator = bundle.load(run / "model.safetensors")
    assert (info.name, info.image_size, info.fit) == ("map2aerial", 64, "tile")
    assert info.provenance["recipe"]["steps"] == 4
    assert generator(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    assert sorted(path.name for path in (run / "samples").iterdir()) == [
        "0000002.png",
        "0000004.png",
    ]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2

    again = CliRunner().invoke(main, arguments)
    assert again.exit_code == 2 and "holds a run already" in again.output


def test_training_learns_the_pair(tmp_path: Path, data: Path, recipe: Path) -> None:
    torch.set_num_threads(2)
    trainer = Trainer(
        Recipe.read(recipe, {"steps": 40, "ngf": 8, "lr": 1e-3}), data, tmp_path / "run"
    )
    before = trainer.validate(trainer.generator)["error"]
    losses = [trainer.step(*trainer.sampler.batch(4))["l1"] for _ in range(40)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])
    assert trainer.validate(trainer.generator)["error"] < before
    assert trainer.learning_rate() == 0


def test_the_texture_stage_changes_only_the_outer_decoder(
    tmp_path: Path, data: Path, recipe: Path
) -> None:
    trainer = Trainer(Recipe.read(recipe, {"steps": 1, "texture_steps": 2}), data, tmp_path)
    trainer.step(*trainer.sampler.batch(2))
    trainer.begin_texture()
    before = {name: value.clone() for name, value in trainer.generator.state_dict().items()}
    trainer.step(*trainer.sampler.batch(2))
    changed = {
        name
        for name, value in trainer.generator.state_dict().items()
        if not torch.equal(value, before[name])
    }
    assert changed and all(name.startswith(("up.0.", "up.1.", "up.2.")) for name in changed)
    assert not any("running" in name for name in changed)


def test_recipes_with_faults_are_refused(tmp_path: Path, recipe: Path) -> None:
    with pytest.raises(InputError, match="unknown key 'lamda_l1'"):
        Recipe.read(recipe, {"lamda_l1": 10})
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"broken\.yaml: cannot be read"):
        Recipe.read(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(InputError, match="key: value"):
        Recipe.read(tmp_path / "list.yaml")
    (tmp_path / "short.yaml").write_text("name: x")
    with pytest.raises(InputError, match="missing"):
        Recipe.read(tmp_path / "short.yaml")


def test_an_empty_validation_band_is_refused(tmp_path: Path, data: Path, recipe: Path) -> None:
    with pytest.raises(InputError, match="val_band"):
        Trainer(Recipe.read(recipe, {"val_size": 256}), data, tmp_path / "run")


def test_unaligned_mosaics_are_refused(data: Path) -> None:
    Image.new("RGB", (10, 5)).save(data / "satellite.png")
    with pytest.raises(InputError, match=r"satellite\.png: its size differs"):
        MosaicPair.open(data / "map.png", data / "satellite.png", SEA, 24)
