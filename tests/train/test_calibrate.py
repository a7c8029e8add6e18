"""What a bundle knows of its training inputs' distances: from training, or given it later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.cli import main
from pix2pix_batch.distance import Domain, describe_embeddings
from pix2pix_batch.errors import InputError
from pix2pix_batch.train import finish
from pix2pix_batch.train.data import LevelMappings, open_data
from pix2pix_batch.train.finish import calibrate, inputs_of, write_bundles
from tests.conftest import save_bundle
from tests.end_to_end.command import picture, put
from tests.train.running import make_pairs, small, trainer


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pairs(tmp_path_factory.mktemp("data"), train=24, val=4)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = trainer(data, tmp_path_factory.mktemp("run"), epochs=1, norm="none")
    made.fit()
    return write_bundles(made)[0]


def without_quantiles(path: Path, target: Path) -> Path:
    tensors = safetensors.numpy.load_file(path)
    del tensors["embedding.quantiles"]
    with safetensors.safe_open(path, framework="numpy") as file:
        safetensors.numpy.save_file(tensors, target, file.metadata())
    return target


def test_training_leaves_the_quantiles(trained: Path, data: Path) -> None:
    domain = Domain.open(trained)
    assert domain is not None
    recipe = small(norm="none")
    info, unet = bundle.load(trained)
    to_levels = LevelMappings(info.ranges).input
    validation = [pair[1] for pair in map(open_data(data, recipe).val.__getitem__, range(4))]
    squared_distances = domain.squared_distances(
        finish.measure_embeddings(unet, validation, to_levels).mean[None]
    )
    # a mean lies in the middle
    assert domain.to_percentile(float(squared_distances[0]) ** 0.5) < 50


def test_an_old_bundle_is_given_them(trained: Path, data: Path, tmp_path: Path) -> None:
    """The same as training wrote, but for the half precision of its weights; nothing else is
    touched."""
    path = without_quantiles(trained, tmp_path / "old.safetensors")
    assert Domain.open(path) is None
    ran = CliRunner().invoke(main, ["model", "calibrate", str(path), str(data)])
    assert ran.exit_code == 0, ran.output
    assert "knows the distances of 24 training inputs" in ran.output
    ours, theirs = bundle.load_embedding(path), bundle.load_embedding(trained)
    assert ours is not None and ours.quantiles is not None
    assert theirs is not None and theirs.quantiles is not None
    np.testing.assert_allclose(ours.quantiles, theirs.quantiles, rtol=0.05)
    tensors = [safetensors.numpy.load_file(one) for one in (path, trained)]
    assert tensors[0].keys() == tensors[1].keys()
    for name, value in tensors[0].items():
        if not name.startswith("embedding."):
            assert np.array_equal(value, tensors[1][name]), name
            assert value.dtype == tensors[1][name].dtype
    assert bundle.read_info(path) == bundle.read_info(trained)


def test_a_model_without_a_recipe_takes_images_it_is_meant_for(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "imported.safetensors")
    for number in range(15):
        put(tmp_path / "images" / f"{number % 3}" / f"{number}.png", seed=number, size=(64, 64))
    put(tmp_path / "images" / "wide.png", seed=99, size=(112, 64))  # two whole tiles
    put(tmp_path / "images" / "narrow.png", seed=98, size=(20, 64))  # mostly padding
    assert calibrate(path, tmp_path / "images").inputs == 17
    info, unet = bundle.load(path)
    domain = Domain.open(path)
    assert domain is not None
    files = sorted((tmp_path / "images").glob("*/*.png"))
    wide = np.asarray(Image.open(tmp_path / "images" / "wide.png"))
    pixels = [np.asarray(Image.open(file)) for file in files] + [wide[:, :64], wide[:, 48:]]
    golden = finish.measure_embeddings(unet, pixels, LevelMappings(info.ranges).input)
    found = bundle.load_embedding(path)
    assert found is not None
    np.testing.assert_allclose(found.mean, golden.mean, atol=1e-5)
    np.testing.assert_allclose(found.covariance, golden.covariance, atol=1e-5)


def test_norms_get_the_statistics_of_the_inputs(tmp_path: Path) -> None:
    """Those of the first norm follow from the first two convolutions alone."""
    path = save_bundle(tmp_path / "mixed.safetensors", dropout=True)
    for number in range(16):
        put(tmp_path / "images" / f"{number:02}.png", seed=number, size=(64, 64))
    _, before = bundle.load(path)
    ran = CliRunner().invoke(
        main, ["model", "calibrate", "--norms", str(path), str(tmp_path / "images")]
    )
    assert ran.exit_code == 0, ran.output
    info, after = bundle.load(path)
    assert info.provenance["norms_estimated_on"] == 16
    pixels = [np.asarray(Image.open(one)) for one in sorted((tmp_path / "images").iterdir())]
    x = torch.tensor(np.stack(pixels)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        found = before.down[1].conv(F.leaky_relu(before.down[0].conv(x), 0.2))
    norm = after.down[1].norm
    torch.testing.assert_close(norm.running_mean, found.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(norm.running_var, found.var((0, 2, 3)), rtol=1e-3, atol=1e-4)
    ours, theirs = after.state_dict(), before.state_dict()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]) == (".norm.running" not in name), name
    embedding = bundle.load_embedding(path)
    assert embedding is not None
    golden = finish.measure_embeddings(after, pixels, LevelMappings(info.ranges).input)
    np.testing.assert_allclose(embedding.mean, golden.mean, atol=1e-5)


def test_norms_without_statistics_are_told(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "instance.safetensors", norm="instance")
    before = path.read_bytes()
    put(tmp_path / "images" / "one.png")
    with pytest.raises(InputError, match="its norm is instance, which keeps no statistics"):
        calibrate(path, tmp_path / "images", norms=True)
    assert path.read_bytes() == before


def test_other_inputs_of_the_same_data(trained: Path, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(trained.read_bytes())
    words = ["model", "calibrate", str(path), str(data), "--set"]
    ran = CliRunner().invoke(main, [*words, "direction=BtoA"])
    assert ran.exit_code == 0, ran.output
    there, back = bundle.load_embedding(trained), bundle.load_embedding(path)
    assert there is not None and back is not None
    assert not np.allclose(there.mean, back.mean, rtol=1e-3, atol=0)
    ran = CliRunner().invoke(main, [*words, "directoin=BtoA"])
    assert ran.exit_code == 2 and "direction" in ran.output
    imported = save_bundle(tmp_path / "imported.safetensors")
    with pytest.raises(InputError, match="holds no recipe, so that --set has nothing to change"):
        calibrate(imported, data, overrides=["direction=BtoA"])


def test_too_few_images_are_told(tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "imported.safetensors")
    before = path.read_bytes()
    put(tmp_path / "images" / "one.png")
    with pytest.raises(InputError, match=r"images: 1 input, too few .* at least 10 different"):
        calibrate(path, tmp_path / "images")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="none: holds no image"):
        calibrate(path, tmp_path / "none")
    cut = tmp_path / "images" / "one.png"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    words = ["model", "calibrate", str(path), str(tmp_path / "images")]
    assert "--lenient takes what is there" in CliRunner().invoke(main, words).stderr
    assert "1 input, too few" in CliRunner().invoke(main, [*words, "--lenient"]).stderr
    assert path.read_bytes() == before


def test_mosaics_give_crops_as_they_were_trained_on(tmp_path: Path) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        picture(400, 200, number).save(tmp_path / name)
    recipe = small(
        fit="tile",
        mosaic={
            "source": "a.png", "target": "b.png", "sea": [1, 2, 3],
            "train_bands": [[-180, 0]], "val_bands": [[0, 180]], "latitudes": [-80, 80],
        },
    )  # fmt: skip
    data = open_data(tmp_path, recipe)
    found = list(inputs_of(data, "tile", 32, 7))
    assert len(found) == 7
    for k, pixels in enumerate(found):
        assert np.array_equal(pixels, data.sample(k)[0])


def test_of_large_files_all_tiles_count_alike(tmp_path: Path) -> None:
    """As ``convert`` cuts them; of many files an even choice."""
    from tests.train.running import side_by_side

    for number in range(6):
        (tmp_path / "train").mkdir(exist_ok=True)
        side_by_side(number, 56).save(tmp_path / "train" / f"{number}.png")
    data = open_data(tmp_path, small(fit="tile", val_fraction=0))
    assert len(list(inputs_of(data, "tile", 32, 1000))) == 6 * 4
    some = list(inputs_of(data, "tile", 32, 12))
    assert len(some) == 12
    first = np.asarray(Image.open(tmp_path / "train" / "0.png"))[:, :56]
    assert np.array_equal(some[0], first[:32, :32]) and np.array_equal(some[1], first[24:, 24:])


def test_what_is_described_is_what_is_measured() -> None:
    x = np.random.default_rng(0).normal(size=(100, 8))
    domain = Domain.of(describe_embeddings(x))
    assert domain is not None
    inside = [domain.to_percentile(square**0.5) for square in domain.squared_distances(x)]
    assert 35 < np.median(inside) < 55  # a little closer than inputs it has not seen
