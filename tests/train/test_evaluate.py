"""``evaluate``: the figures against independent ones, and the command."""

from __future__ import annotations

import csv
import io
import json
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy.linalg import sqrtm
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from pix2pix_batch import bundle
from pix2pix_batch.execution import worker
from pix2pix_batch.inference.engine import TorchEngine
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.train import metrics
from tests.conftest import save_bundle
from tests.end_to_end.command import picture as soft
from tests.train.evaluating import evaluate, read_figures, read_refusal

SIZE = 64
"""Of the bundles that tests/conftest.py makes."""

FP32 = ("--precision", "fp32", "--device", "cpu")
NO_RECIPE = ("--set", "val_fraction=0.5")


# --- the figures ----------------------------------------------------------------------------------


def filtered(image: np.ndarray) -> np.ndarray:
    """11x11 Gaussian windows of sigma 1.5, edges mirrored without repeating them."""
    return gaussian_filter(image, 1.5, truncate=3.5, mode="mirror", axes=(0, 1))


def similarity(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast term at each pixel (Wang et al. 2004, equations 12 and 13)."""
    c1, c2 = 0.01**2, 0.03**2
    mean_x, mean_y = filtered(x), filtered(y)
    var_x, var_y = filtered(x * x) - mean_x**2, filtered(y * y) - mean_y**2
    contrast = (2 * (filtered(x * y) - mean_x * mean_y) + c2) / (var_x + var_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * contrast, contrast


def two_images(side: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """A soft image and a noisy, darker one."""
    random = np.random.default_rng(0)
    one = np.asarray(soft(side, side, 1))[:, :, :channels]
    other = np.clip(one * 0.8 + random.normal(0, 20, one.shape), 0, 255).astype(np.uint8)
    return one, other


@pytest.mark.parametrize("channels", [1, 3])
def test_ssim_is_that_of_its_definition(channels: int) -> None:
    one, other = two_images(48, channels)
    expected = similarity(one / 255, other / 255)[0].mean()
    assert metrics.ssim(one, other) == pytest.approx(expected, abs=1e-5)
    assert 0.05 < expected < 0.95
    assert metrics.ssim(one, one) == pytest.approx(1)


def test_ms_ssim_is_that_of_its_definition() -> None:
    """Wang et al. 2003, equation 7: contrast at five scales, halved by 2x2 means, luminance at the
    last; contrast where the window lies inside."""
    one, other = two_images(metrics.MS_SSIM_SIDE, 3)
    x, y, expected = one / 255, other / 255, 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        ssim, contrast = similarity(x, y)
        expected *= (ssim if scale == 4 else contrast[5:-5, 5:-5]).mean() ** weight
        x, y = (image.reshape(len(x) // 2, 2, -1, 2, 3).mean((1, 3)) for image in (x, y)) \
            if scale < 4 else (x, y)  # fmt: skip
    assert metrics.ms_ssim(one, other) == pytest.approx(expected, abs=1e-5)
    assert 0.05 < expected < 0.95


def test_sharpness_of_flat_images() -> None:
    images = np.zeros((2, 1, 1), np.uint8), np.array([[[0]], [[100]]], np.uint8)
    flat, steps = map(metrics.vertical_gradient, images)
    assert metrics.ratio(flat, steps) == 0
    assert metrics.ratio(flat, flat) == 1
    assert metrics.ratio(steps, flat) == float("inf")


@settings(max_examples=30, deadline=None)
@given(
    image=arrays(np.uint8, (3, 4, 3)),
    colours=st.integers(1, 6).flatmap(lambda count: arrays(np.uint8, (count, 3))),
)
def test_pixels_belong_to_the_nearest_colour(image: np.ndarray, colours: np.ndarray) -> None:
    distances = cdist(image.reshape(-1, 3).astype(float), colours.astype(float), "sqeuclidean")
    expected = distances.argmin(axis=1).reshape(3, 4)
    assert np.array_equal(metrics.nearest_class(image, colours), expected)


def test_label_figures_worked_by_hand() -> None:
    """Of eight pixels, by class of the target: a: 3 of 4 right, one is b; b: 2 of 3, one is c, a
    class that no target has; d: 0 of 1, it is a."""
    target = np.array([[0, 0, 0, 0], [1, 1, 1, 3]])
    output = np.array([[0, 0, 0, 1], [1, 1, 2, 0]])
    confusion = metrics.confusion(output, target, 4)
    assert confusion.tolist() == [[3, 1, 0, 0], [0, 2, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    figures = metrics.LabelFigures.of(confusion)
    assert figures.pixel_accuracy == 5 / 8
    assert figures.class_accuracy == pytest.approx((3 / 4 + 2 / 3 + 0) / 3)
    # intersection over union: a: 3 of 4 + 1 outputs elsewhere; b: 2 of 3 + 1; d: 0 of 1
    assert figures.class_iou == pytest.approx((3 / 5 + 2 / 4 + 0) / 3)
    assert np.isnan(figures.ious[2]) and np.isnan(figures.accuracies[2])


# --- the command ----------------------------------------------------------------------------------


def figures(model: object, data: object, *arguments: object) -> dict[str, Any]:
    return read_figures(model, data, *FP32, *arguments)


def outputs(model: Path, sources: list[np.ndarray]) -> list[np.ndarray]:
    """What the model makes of images of its size, one by one."""
    engine = TorchEngine(bundle.load(model)[1], size=SIZE, batch_size=1)
    return [engine(np.array(source[None])).images[0] for source in sources]


def lay(data: Path, split: str, pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    for side in range(2):
        (data / "AB"[side] / split).mkdir(parents=True, exist_ok=True)
        for name, images in pairs.items():
            Image.fromarray(images[side].squeeze()).save(data / "AB"[side] / split / f"{name}.png")
    return data


def sources(count: int, side: int = SIZE) -> list[np.ndarray]:
    return [np.asarray(soft(side, side, seed)) for seed in range(count)]


def with_provenance(model: Path, path: Path, recipe: object) -> Path:
    info, generator = bundle.load(model)
    bundle.save(path, replace(info, provenance={"recipe": recipe}), generator)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pairs in ``val``, more than a batch; a positive in A, its negative in B."""
    pairs = {f"{i:02}": (image, 255 - image) for i, image in enumerate(sources(12))}
    return lay(tmp_path_factory.mktemp("data"), "val", pairs)


def test_each_images_figures_are_those_of_the_models_output(tiny: Path, data: Path) -> None:
    values = figures(tiny, data)
    assert values["pairs"] == len(values["images"]) == 12 and values["size"] == SIZE
    gradients = np.zeros(2)
    made = outputs(tiny, sources(12))
    for i, (source, output) in enumerate(zip(sources(12), made, strict=True)):
        image, target = values["images"][i], 255 - source
        error = output.astype(float) - target
        assert image["name"] == f"{i:02}"
        assert image["l1"] == pytest.approx(np.abs(error).mean())
        assert image["psnr"] == pytest.approx(20 * np.log10(255 / np.sqrt((error**2).mean())))
        assert image["ssim"] == pytest.approx(
            similarity(output / 255, target / 255)[0].mean(), abs=1e-5
        )
        steps = [
            np.abs(np.diff(x @ [0.299, 0.587, 0.114], axis=0)).mean() for x in (output, target)
        ]
        assert image["sharpness"] == pytest.approx(steps[0] / steps[1])
        gradients += steps
    for key in ("l1", "psnr", "ssim"):
        mean = np.mean([image[key] for image in values["images"]])
        assert values["overall"][key] == pytest.approx(mean)
    assert values["overall"]["sharpness"] == pytest.approx(gradients[0] / gradients[1])


def test_targets_that_the_model_makes_itself_are_perfect(tiny: Path, tmp_path: Path) -> None:
    made = outputs(tiny, sources(2))
    pairs = {str(i): (s, o) for i, (s, o) in enumerate(zip(sources(2), made, strict=True))}
    data = lay(tmp_path, "val", pairs)
    values = figures(tiny, data)
    overall = values["overall"]
    assert overall["l1"] == 0 and overall["psnr"] is None  # infinite
    assert overall["ssim"] == overall["sharpness"] == 1
    assert values["equal"] == 2
    lines = evaluate(tiny, data, *FP32).stdout.splitlines()
    assert "PSNR: infinite, for every output equals its target" in lines


def test_the_mean_psnr_leaves_out_what_is_equal(tiny: Path, tmp_path: Path) -> None:
    made = outputs(tiny, sources(3))
    pairs = {str(i): (s, 255 - s) for i, s in enumerate(sources(3))}
    pairs["1"] = (sources(3)[1], made[1])
    data = lay(tmp_path, "val", pairs)
    text = evaluate(tiny, data, "--json", *FP32).stdout
    assert "Infinity" not in text and "NaN" not in text
    values = json.loads(text)
    errors = [np.square(made[i].astype(float) - pairs[str(i)][1]).mean() for i in (0, 2)]
    mean = np.mean([20 * np.log10(255 / np.sqrt(error)) for error in errors])
    assert values["overall"]["psnr"] == pytest.approx(mean)
    assert values["equal"] == 1 and values["images"][1]["psnr"] is None
    lines = evaluate(tiny, data, *FP32).stdout.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("PSNR  "))
    assert float(row[1]) == pytest.approx(mean, abs=0.01) and row[2] == "inf"
    assert "PSNR: overall the mean of 2 pairs, without 1 output that equals its target" in lines


def test_large_images_are_tiled_as_convert_tiles_them(tiny: Path, tmp_path: Path) -> None:
    """``tiny`` has ``fit: tile``: whole images, whatever their size."""
    image = np.asarray(soft(150, 100, 3))
    data = lay(tmp_path / "data", "val", {"x": (image, 255 - image)})
    converted = Settings(
        str(tiny), bundle.fingerprint(tiny), str(tmp_path), "tile", SIZE, None, 4, "cpu", "fp32",
        False, 0,
    )  # fmt: skip
    (tmp_path / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    item = Item(str(data / "A" / "val" / "x.png"), "x.png", "out.png", "png")
    (record,) = worker.convert_chunk(converted, [item]).records
    assert record.status == "done"
    output = np.asarray(Image.open(tmp_path / "out.png")).astype(float)
    assert output.shape == image.shape
    (found,) = figures(tiny, data)["images"]
    assert found["l1"] == pytest.approx(np.abs(output - (255 - image.astype(float))).mean())


def test_a_model_that_resizes_is_judged_at_its_size(tiny: Path, tmp_path: Path) -> None:
    large = np.asarray(Image.fromarray(sources(1)[0]).resize((100, 90), Image.Resampling.BICUBIC))
    data = lay(tmp_path, "val", {"x": (large, 255 - large)})
    (found,) = figures(tiny, data, "--set", "fit=resize")["images"]
    source, target = (
        np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
        for image in (large, 255 - large)
    )
    (output,) = outputs(tiny, [source])
    assert found["l1"] == pytest.approx(np.abs(output.astype(float) - target).mean())


def test_the_direction_swaps_the_sides(tiny: Path, data: Path, tmp_path: Path) -> None:
    swapped = lay(tmp_path, "val", {f"{i:02}": (255 - x, x) for i, x in enumerate(sources(3))})
    there = figures(tiny, data)["images"][:3]
    assert figures(tiny, swapped, "--direction", "BtoA")["images"] == there
    assert figures(tiny, swapped)["images"] != there


def test_the_splits(tiny: Path, tmp_path: Path) -> None:
    images = sources(5)
    data = lay(tmp_path, "train", {str(i): (images[i], images[i]) for i in range(4)})
    lay(data, "test", {"4": (images[4], images[4])})
    held_out = {}
    for split in ("train", "val", "test", "all"):
        listed = figures(tiny, data, "--split", split, "--set", "val_fraction=0.5")["images"]
        held_out[split] = {image["name"] for image in listed}
    assert held_out["test"] == {"4"}
    assert held_out["train"] | held_out["val"] == {"0", "1", "2", "3"}
    assert held_out["val"] and not held_out["train"] & held_out["val"]
    assert held_out["all"] == {"0", "1", "2", "3", "4"}
    lay(tmp_path / "one", "", {"4": (images[4], images[4])})
    assert "empty (train: 1); choose another --split" in read_refusal(tiny, tmp_path / "one")
    assert len(figures(tiny, tmp_path / "one", "--split", "all")["images"]) == 1


def test_as_many_pairs_as_the_model_had_otherwise_divided_are_noted(
    tiny: Path, tmp_path: Path
) -> None:
    images = sources(4)
    data = lay(tmp_path, "train", {str(i): (images[i], images[i]) for i in range(2)})
    lay(data, "val", {str(i): (images[i], images[i]) for i in range(2, 4)})
    info, generator = bundle.load(tiny)
    for trained, validated in ((3, 1), (2, 2), (9, 1), (None, 1)):
        facts = {"data": {"training_pairs": trained, "validation_pairs": validated}}
        model = tmp_path / f"{trained}.safetensors"
        bundle.save(model, replace(info, provenance=facts), generator)
        notes = figures(model, data)["notes"]
        told = f"{info.name} was trained on 3 pairs and validated on 1; here as many are divided "
        assert [note.startswith(told) for note in notes] == [True] * (trained == 3), notes
        assert figures(model, data, "--split", "all")["notes"] == []


def test_an_empty_split_is_refused(tiny: Path, data: Path) -> None:
    message = read_refusal(tiny, data, "--split", "test")
    assert f"{data}: the split 'test' is empty (val: 12)" in message


def test_unreadable_pairs_are_refused(tiny: Path, tmp_path: Path) -> None:
    data = lay(tmp_path, "val", {str(i): (x, x) for i, x in enumerate(sources(2))})
    bad = data / "B" / "val" / "1.png"
    content = bad.read_bytes()
    bad.write_bytes(b"no image")
    assert f"{bad}: cannot be read as an image" in read_refusal(tiny, data)
    bad.write_bytes(content[: len(content) // 2])
    assert f"{bad}: damaged" in read_refusal(tiny, data)


# --- recipes --------------------------------------------------------------------------------------


RECIPE = {"name": "kept", "size": SIZE, "fit": "tile", "downs": 6, "direction": "BtoA"}


def test_the_models_own_recipe_is_used(tiny: Path, data: Path, tmp_path: Path) -> None:
    own = with_provenance(tiny, tmp_path / "own.safetensors", RECIPE)
    values = figures(own, data)
    assert (values["recipe"], values["direction"], values["notes"]) == ("own", "BtoA", [])
    assert values["overall"] == figures(tiny, data, "--direction", "BtoA")["overall"]
    assert figures(own, data, "--recipe", "default", "--set", "fit=tile")["direction"] == "AtoB"


@pytest.mark.parametrize("recipe", [{**RECIPE, "texture_steps": 5}, "a text", [1]])
def test_a_recipe_of_another_version_is_told(
    tiny: Path, data: Path, tmp_path: Path, recipe: object
) -> None:
    old = with_provenance(tiny, tmp_path / "old.safetensors", recipe)
    values = figures(old, data)
    assert values["recipe"] == "default" and values["overall"] == figures(tiny, data)["overall"]
    (note,) = values["notes"]
    assert "the recipe 'default' is used" in note and "--recipe" in note
    assert f"note: {note}" in evaluate(old, data, *FP32).stdout


def test_a_recipe_that_does_not_fit_the_model_is_refused(tiny: Path, data: Path) -> None:
    message = read_refusal(tiny, data, "--set", "in_channels=1")
    assert "the model's in_channels is 3, the recipe's 1" in message
    assert "runs at size 64" in read_refusal(tiny, data, "--set", "size=128")


def test_grey_models(bundles: Path, tmp_path: Path) -> None:
    grey = save_bundle(bundles / "grey.safetensors", in_channels=1, out_channels=1)
    images = [image[:, :, :1] for image in sources(2)]
    data = lay(tmp_path, "val", {str(i): (x, 255 - x) for i, x in enumerate(images)})
    (output, _) = outputs(grey, images)
    found = figures(grey, data, "--picture", tmp_path / "picture.png")["images"][0]
    assert found["l1"] == pytest.approx(np.abs(output.astype(float) - (255 - images[0])).mean())


def test_mosaics(tiny: Path, tmp_path: Path) -> None:
    recipe, data = tmp_path / "mosaic.yaml", tmp_path / "data"
    data.mkdir()
    land = Image.fromarray(np.asarray(soft(360, 180, 0)) // 2)
    for name in ("map.png", "satellite.png"):
        land.save(data / name)
    recipe.write_text(yaml.safe_dump({"name": "m", "fit": "tile", "mosaic": MOSAIC}))
    found = figures(tiny, data, "--recipe", recipe)
    # 100 degrees are 100 pixels: windows of 64 at 0 and 32; 180 rows: at 0, 32, 64 and 96
    assert found["pairs"] == 2 * 4
    assert figures(tiny, data, "--recipe", recipe, "--split", "all")["pairs"] == 2 * 2 * 4
    own = {**RECIPE, "downs": 6, "mosaic": MOSAIC}
    own = figures(with_provenance(tiny, tmp_path / "own.safetensors", own), data)
    assert (own["pairs"], own["recipe"], own["notes"]) == (2 * 4, "own", [])
    assert "no test split" in read_refusal(tiny, data, "--recipe", recipe, "--split", "test")


MOSAIC = {
    "source": "map.png", "target": "satellite.png", "sea": [255, 255, 255],
    "train_bands": [[-180, -80]], "val_bands": [[-80, 20]],
}  # fmt: skip


@pytest.fixture
def earthling(tiny: Path, tmp_path: Path) -> Path:
    """A model that was trained on mosaics."""
    recipe = {**RECIPE, "direction": "AtoB", "mosaic": MOSAIC, "source_domain": "map"}
    return with_provenance(tiny, tmp_path / "earthling.safetensors", recipe)


def test_a_model_of_mosaics_is_judged_on_ones_own_pairs(
    tiny: Path, earthling: Path, data: Path, tmp_path: Path
) -> None:
    """By the data's layout, with the model's own recipe otherwise."""
    values = figures(earthling, data)
    assert (values["recipe"], values["fit"], values["split"]) == ("own", "tile", "val")
    assert values["images"] == figures(tiny, data)["images"]
    (note,) = values["notes"]
    assert "trained on the mosaics map.png and satellite.png, which are not in" in note
    assert "A as map, B as the target (--direction turns that round)" in note

    pairs = {str(i): (x, 255 - x) for i, x in enumerate(sources(3))}
    flat = lay(tmp_path / "flat", "", pairs)  # A/ and B/, no split
    values = figures(earthling, flat)
    assert (values["split"], values["pairs"]) == ("all", 3)
    assert values["notes"][1] == "they have no split 'val', so all of them are judged"
    assert len(figures(earthling, flat, "--split", "val", *NO_RECIPE)["images"]) in (1, 2)

    beside = tmp_path / "beside"
    beside.mkdir()
    for name, both in pairs.items():
        Image.fromarray(np.concatenate(both, axis=1)).save(beside / f"{name}.png")
    assert figures(earthling, beside)["images"] == values["images"]


def test_what_may_be_no_pairs_is_told_before_the_figures(tiny: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i, image in enumerate(sources(3)):
        Image.fromarray(image).save(data / f"{i}.png")
    every = ("--split", "all")
    lines = evaluate(tiny, data, *FP32, *every).stdout.splitlines()
    assert lines[1].startswith("doubt: the figures may mean nothing: no image is wider than high")
    assert lines[2].split()[0] == "overall"
    values = figures(tiny, data, *every)
    assert "are these really A and B side by side?" in values["doubt"]
    assert values["notes"] == []
    for i, image in enumerate(sources(3)):  # pairs, and of a shape that pairs have
        both = np.concatenate([image, 255 - image], axis=1)
        Image.fromarray(both).save(data / f"{i}.png")
    assert figures(tiny, data, *every)["doubt"] == ""
    assert "doubt" not in evaluate(tiny, data, *FP32, *every).stdout


@pytest.mark.parametrize("name", ["t.tar", "t.csv", "t.JSONL", "t"])
def test_a_file_that_is_no_manifest_is_refused_with_what_may_be_given(
    tiny: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    with tarfile.open(path, "w") as tar:
        tar.add(_saved(tmp_path / "a.png", sources(1)[0]), "a.png")
    for said in (read_refusal(tiny, path), read_refusal("map2aerial", path)):
        assert said.startswith(f"error: {path}: ") and "codec" not in said
        assert "manifest" in said and "mosaics" not in said
        if name in ("t.tar", "t"):
            assert "directories A/ and B/" in said and "unpack" in said


def _saved(path: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(path)
    return path


def test_a_model_of_mosaics_without_pairs_and_without_mosaics(
    earthling: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    message = read_refusal(earthling, empty)
    assert "no pairs found" in message
    assert "the mosaics that kept was trained on are not there either" in message
    Image.fromarray(sources(1)[0]).save(empty / "map.png")  # half of the mosaics
    assert "satellite.png: there is no such file" in read_refusal(earthling, empty)


@pytest.mark.parametrize("model", ["map2aerial", "day2night"])
def test_shipped_models_are_judged_on_pairs_of_files(model: str, tmp_path: Path) -> None:
    image = np.asarray(soft(256, 256, 0))
    values = figures(model, lay(tmp_path, "", {"x": (image, image)}))
    assert (values["recipe"], values["fit"], values["pairs"]) == ("own", "tile", 1)


# --- label maps -----------------------------------------------------------------------------------


PALETTE = {"dark": (0, 0, 0), "light": (255, 255, 255), "red": (255, 0, 0)}


@pytest.fixture
def labels(tiny: Path, tmp_path: Path) -> tuple[Path, Path, float]:
    """A model whose recipe has a palette, a pair whose target is the model's output in the
    palette's colours with its upper rows made dark, and the share of pixels still right."""
    colours = np.array(list(PALETTE.values()), np.uint8)
    (output,) = outputs(tiny, sources(1))
    distances = cdist(output.reshape(-1, 3).astype(float), colours.astype(float))
    classes = distances.argmin(axis=1).reshape(SIZE, SIZE)
    assert set(np.unique(classes)) == {0, 1, 2}
    target = classes.copy()
    target[:20] = 0
    data = lay(tmp_path / "data", "val", {"x": (sources(1)[0], colours[target])})
    recipe = {**RECIPE, "direction": "AtoB", "palette": PALETTE}
    model = with_provenance(tiny, tmp_path / "labels.safetensors", recipe)
    return model, data, float((classes == target).mean())


def test_label_maps_have_accuracies(labels: tuple[Path, Path, float]) -> None:
    model, data, right = labels
    values = figures(model, data)
    assert values["overall"]["pixel_accuracy"] == pytest.approx(right)
    assert values["images"][0]["pixel_accuracy"] == pytest.approx(right)
    assert list(values["classes"]) == ["dark", "light", "red"]
    red, light = values["classes"]["red"], values["classes"]["light"]
    assert red["accuracy"] == light["accuracy"] == 1 and red["iou"] < 1
    classes = values["classes"].values()
    for overall, key in (("class_accuracy", "accuracy"), ("class_iou", "iou")):
        mean = np.mean([one[key] for one in classes])
        assert values["overall"][overall] == pytest.approx(mean)
    assert sum(one["share"] for one in classes) == pytest.approx(1)
    assert "\nred " in evaluate(model, data, *FP32).stdout


def test_the_palette_is_that_of_b(labels: tuple[Path, Path, float], tiny: Path) -> None:
    model, data, _ = labels
    assert figures(model, data, "--direction", "BtoA")["classes"] == {}
    assert figures(model, data, "--no-palette")["classes"] == {}
    assert figures(model, data, "--direction", "BtoA", "--palette")["classes"]
    assert "has no palette" in read_refusal(tiny, data, "--palette")


def test_a_class_that_no_target_has_is_left_out(labels: tuple[Path, Path, float]) -> None:
    model, data, _ = labels
    values = figures(model, data, "--set", "palette.green=[0, 255, 0]")
    assert values["classes"]["green"]["iou"] is None
    assert values["classes"]["green"]["share"] == 0
    text = evaluate(model, data, *FP32, "--set", "palette.green=[0, 255, 0]").stdout
    assert ["green", "-", "-", "0.0%"] in [line.split() for line in text.splitlines()]


# --- what is written ------------------------------------------------------------------------------


def test_the_text_is_compact(tiny: Path, data: Path) -> None:
    lines = evaluate(tiny, data, *FP32).stdout.splitlines()
    assert lines[0] == f"tiny on {data}: 12 pairs (val), AtoB, default recipe, cpu fp32"
    assert lines[1].split() == ["overall", "best", "median", "worst"]
    assert [line.split()[0] for line in lines[2:6]] == ["L1", "PSNR", "SSIM", "sharpness"]
    best, worst = (float(lines[2].split()[column]) for column in (2, 4))
    assert best < worst
    assert any(line.startswith("MS-SSIM: not computed: it needs 176x176") for line in lines)


def test_ms_ssim_of_large_enough_images(tiny: Path, tmp_path: Path) -> None:
    images = sources(2, metrics.MS_SSIM_SIDE)
    data = lay(tmp_path, "val", {str(i): (x, 255 - x) for i, x in enumerate(images)})
    values = figures(tiny, data)
    assert values["overall"]["ms_ssim"] == pytest.approx(
        np.mean([image["ms_ssim"] for image in values["images"]])
    )
    lay(data, "val", {"small": (sources(1)[0], sources(1)[0])})
    values = figures(tiny, data)
    assert "ms_ssim" in values["not_computed"] and "ms_ssim" not in values["overall"]
    assert not any("ms_ssim" in image for image in values["images"])


def test_csv_and_picture(tiny: Path, data: Path, tmp_path: Path) -> None:
    table, drawn = tmp_path / "figures.csv", tmp_path / "picture.png"
    values = figures(tiny, data, "--csv", table, "--picture", drawn)
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["name"] for row in rows] == [image["name"] for image in values["images"]]
    assert [float(row["l1"]) for row in rows] == [image["l1"] for image in values["images"]]
    by_error = sorted(values["images"], key=lambda image: image["l1"])
    sheet = np.asarray(Image.open(drawn))
    cell, row = 3 * SIZE, 3 * SIZE + 26  # a name above each row, a gap below
    for place, image in enumerate((by_error[0], by_error[6], by_error[-1])):
        source = sources(12)[int(image["name"])]
        (output,) = outputs(tiny, [source])
        top = 36 + place * row
        for column, expected in enumerate((source, output, 255 - source)):
            left = 8 + column * (cell + 8)
            shown = sheet[top : top + cell : 3, left : left + cell : 3]
            assert np.array_equal(shown, expected)


def test_places_that_cannot_be_written_are_refused_first(
    tiny: Path, data: Path, tmp_path: Path
) -> None:
    assert "must end in .csv" in read_refusal(tiny, data, "--csv", tmp_path / "x.txt")
    assert "is no directory" in read_refusal(tiny, data, "--picture", tmp_path / "no" / "x.png")


def test_no_model_and_no_data(tiny: Path, tmp_path: Path) -> None:
    assert "no such model" in read_refusal("nothing", tmp_path)
    assert "no pairs found" in read_refusal(tiny, tmp_path)


# --- LPIPS and FID --------------------------------------------------------------------------------


def test_missing_weights_are_told_and_not_fetched(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    values = figures(tiny, data)
    folder = tmp_path / "hub" / "checkpoints"
    assert values["not_computed"]["lpips"] == f"put alexnet-owt-7be5be79.pth into {folder}"
    assert values["not_computed"]["fid"]
    assert not any(tmp_path.iterdir())


class Trap:
    """Fails the test that unpickles it."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("the pickle was run",)


def lpips(layers: dict[str, torch.Tensor], weights: list[torch.Tensor], x: Any, y: Any) -> float:
    """Zhang et al. 2018, equation 1, on AlexNet's five layers."""
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    images = torch.stack([torch.tensor(z / 127.5 - 1).permute(2, 0, 1).float() for z in (x, y)])
    z, total = (images - shift) / scale, 0.0
    for (number, stride, padding), weight in zip(
        ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)), weights, strict=True
    ):
        if number in (3, 6):
            z = F.max_pool2d(z, 3, 2)
        kernel, bias = (layers[f"features.{number}.{key}"] for key in ("weight", "bias"))
        z = F.relu(F.conv2d(z, kernel, bias, stride, padding))
        unit = z / torch.sqrt(1e-8 + z.square().sum(1, keepdim=True))
        difference = (unit[0] - unit[1]).square()
        total += float((difference * weight[0]).sum(0).mean())
    return total


def test_lpips_with_weights_at_hand(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classifier, which LPIPS does not use and which is most of the file, is left zero."""
    import torchmetrics  # not above: it takes seconds, and all processes that test read this file
    import torchvision

    folder = tmp_path / "home" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    random = torch.Generator().manual_seed(0)
    with torch.device("meta"):
        network = torchvision.models.alexnet()
    state = {
        name: torch.randn(value.shape, generator=random) / max(1, value[0].numel()) ** 0.5
        if name.startswith("features")
        else torch.zeros(()).expand(value.shape)
        for name, value in network.state_dict().items()
    }
    torch.save(state, folder / "alexnet-owt-7be5be79.pth")
    linear = torch.load(
        Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth",
        map_location="cpu",
    )
    weights = [linear[f"lin{i}.model.1.weight"] for i in range(5)]

    source, same = sources(2)
    made = outputs(tiny, [source, same])
    data = lay(tmp_path / "data", "val", {"x": (source, 255 - source), "y": (same, made[1])})
    values = figures(tiny, data)
    first, second = values["images"]
    assert first["lpips"] == pytest.approx(lpips(state, weights, made[0], 255 - source), rel=1e-4)
    assert first["lpips"] > 0.01 and second["lpips"] == pytest.approx(0, abs=1e-6)
    assert values["overall"]["lpips"] == pytest.approx(first["lpips"] / 2, abs=1e-6)


def inception(path: Path) -> dict[str, torch.Tensor]:
    """The state of torch-fidelity's Inception with random weights, to be saved at ``path``.

    Variances stay from layer to layer, so that images differ in their features.
    """
    extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    with pytest.MonkeyPatch.context() as patch, torch.device("meta"):
        torch.save({}, path)
        patch.setattr(extractor.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        network = extractor.FeatureExtractorInceptionV3(
            "shapes", ["2048"], feature_extractor_weights_path=str(path)
        )
    random, state = torch.Generator().manual_seed(0), {}
    for name, value in network.state_dict().items():
        if value.ndim == 4:
            state[name] = torch.randn(value.shape, generator=random) * (2 / value[0].numel()) ** 0.5
        else:
            fill = torch.ones if name.endswith(("bn.weight", "running_var")) else torch.zeros
            state[name] = fill(value.shape, dtype=value.dtype)
    return state


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """Heusel et al. 2017, equation 6, of features ``(N, D)``.

    The eigenvalues of the product of both covariances are those of a matrix ``(N, N)``: their
    square roots take scipy's matrix root of that.
    """
    centred = [x - x.mean(axis=0) for x in (one, other)]
    cross = centred[0] @ centred[1].T / (len(one) - 1)
    spreads = sum(np.square(x).sum() / (len(x) - 1) for x in centred)
    means = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    return float(means + spreads - 2 * np.trace(sqrtm(cross @ cross.T).real))


def test_fid_with_weights_at_hand(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    path = tmp_path / "home" / "hub" / "checkpoints" / "weights-inception-2015-12-05-6726825d.pth"
    path.parent.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    torch.save(inception(path), path)

    count = 2
    originals = sources(count)
    made = outputs(tiny, originals)
    targets = [255 - source for source in originals]
    pairs = {str(i): both for i, both in enumerate(zip(originals, targets, strict=True))}
    values = figures(tiny, lay(tmp_path / "data", "val", pairs))

    network = fidelity.FeatureExtractorInceptionV3(
        "ours", ["2048"], feature_extractor_weights_path=str(path)
    ).eval()
    features = [
        network(torch.tensor(np.stack(images)).permute(0, 3, 1, 2))[0].double().numpy()
        for images in (made, targets)
    ]
    assert [x.shape for x in features] == [(count, 2048)] * 2
    expected = frechet(*features)
    assert expected > 1 and features[0].std(axis=0).mean() > 1e-3
    assert values["overall"]["fid"] == pytest.approx(expected, rel=1e-3)
    assert "fid" not in values["not_computed"]


@pytest.mark.parametrize(
    "content", [b"cut short", pickle.dumps(Trap(), 2), b""], ids=["damaged", "a trap", "empty"]
)
def test_weights_that_are_none_are_refused_and_not_run(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    reason = figures(tiny, data)["not_computed"]["lpips"]
    assert reason.startswith(f"{path} cannot be used (") and reason.endswith("get it again")
