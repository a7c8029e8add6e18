"""``evaluate --folds``: each fold's figures, and their mean, worst and spread."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from pix2pix_batch import bundle
from pix2pix_batch.interpolation import Parts, interpolate
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.data import open_data
from tests.end_to_end.command import picture as soft
from tests.train.evaluating import evaluate, read_figures, read_refusal

MOSAIC: dict[str, Any] = {
    "source": "map.png", "target": "satellite.png", "sea": [[255, 255, 255], [9, 9, 9]],
    "train_bands": [[-180, 12], [42, 180]], "fold": "west",
    "folds": {"west": [-180, -100], "far-east": [90, 180]},
}  # fmt: skip
RECIPE = {"name": "kept", "size": 64, "fit": "tile", "downs": 6}
CPU = ("--precision", "fp32", "--device", "cpu")
FIGURES = ("l1", "relative_l1", "sharpness", "grid", "bright")


def command(*arguments: object) -> Result:
    return evaluate(*arguments, *CPU)


def figures(*arguments: object) -> dict[str, Any]:
    return read_figures(*arguments, *CPU)


def refused(*arguments: object) -> str:
    return read_refusal(*arguments, *CPU)


def with_mosaic(model: Path, path: Path, **mosaic: object) -> Path:
    info, generator = bundle.load(model)
    recipe = RECIPE | {"mosaic": MOSAIC | mosaic}
    path.parent.mkdir(exist_ok=True)
    bundle.save(path, replace(info, provenance={"recipe": recipe}), generator)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earth")
    for name, seed in (("map.png", 0), ("satellite.png", 1)):
        soft(360, 180, seed).save(folder / name)
    return folder


def test_each_fold_is_judged_apart(tiny: Path, data: Path, tmp_path: Path) -> None:
    model = with_mosaic(tiny, tmp_path / "model.safetensors")
    found = figures(model, data, "--folds")
    assert list(found["folds"]) == ["west", "far-east"]
    for name, one in found["folds"].items():
        alone = figures(model, data, "--set", f"mosaic.fold={name}")
        assert one == alone | {"held_out": name == "west"}
    # crops of 64, each 32: 80 and 90 columns give one each, 180 rows four
    assert [one["pairs"] for one in found["folds"].values()] == [4, 4]


def test_the_summary_worked_by_hand(tiny: Path, data: Path, tmp_path: Path) -> None:
    model = with_mosaic(tiny, tmp_path / "model.safetensors")
    found = figures(model, data, "--folds")
    for key in FIGURES:
        one, other = (fold["overall"][key] for fold in found["folds"].values())
        assert found["mean"][key] == pytest.approx((one + other) / 2)
        assert found["spread"][key] == pytest.approx(abs(one - other))
        if key in ("sharpness", "bright"):  # of 0.5 and 1.6 the former is farther from 1
            ordered = sorted((one, other), key=lambda value: max(value, 1 / (value or 1e-9)))
            assert found["worst"][key] == ordered[-1]
        else:
            assert found["worst"][key] == max(one, other)


def test_each_fold_may_have_its_own_model(tiny: Path, data: Path, tmp_path: Path) -> None:
    for name in MOSAIC["folds"]:
        with_mosaic(tiny, tmp_path / name / "model.safetensors", fold=name)
    pattern = tmp_path / "{fold}" / "model.safetensors"
    found = figures(pattern, data, "--folds")["folds"]
    assert [one["held_out"] for one in found.values()] == [True, True]
    (tmp_path / "far-east" / "model.safetensors").unlink()
    message = refused(pattern, data, "--folds")
    assert "no model of this fold; train it with --set mosaic.fold=far-east" in message
    (tmp_path / "west" / "model.safetensors").unlink()
    assert "no such model of any fold" in refused(pattern, data, "--folds")


def test_the_text_has_a_row_for_each_fold(tiny: Path, data: Path, tmp_path: Path) -> None:
    model = with_mosaic(tiny, tmp_path / "model.safetensors")
    result = command(model, data, "--folds")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"tiny on {data}: 2 folds, own recipe, cpu fp32"
    assert [line.split()[0] for line in lines[1:7]] == [
        "fold", "west", "far-east", "mean", "worst", "spread",
    ]  # fmt: skip
    assert [line.split()[2] for line in lines[2:4]] == ["yes", "no"]
    assert len({len(line) for line in lines[1:7]}) == 1
    assert "a fold that was trained on says little" in lines[7]


def test_a_model_of_unknown_origin_is_told_so(tiny: Path, data: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"mosaic": MOSAIC}))
    found = figures(tiny, data, "--recipe", recipe, "--folds")["folds"]
    assert [one["held_out"] for one in found.values()] == [None, None]
    assert "unknown" in command(tiny, data, "--recipe", recipe, "--folds").stdout


def test_what_a_model_began_from_counts_too(tiny: Path, data: Path, tmp_path: Path) -> None:
    """A fold that an earlier training had seen is not held out, nor between two models."""
    east = with_mosaic(tiny, tmp_path / "east.safetensors", fold="far-east")
    west = with_mosaic(tiny, tmp_path / "west.safetensors", fold="west")
    info, generator = bundle.load(west)

    def held_out(**more: object) -> list[bool | None]:
        path = tmp_path / "made.safetensors"
        bundle.save(path, replace(info, provenance=info.provenance | more), generator)
        return [one["held_out"] for one in figures(path, data, "--folds")["folds"].values()]

    assert held_out() == [True, False]
    origin = bundle.read_info(east).provenance
    assert held_out(training={"init": "f00", "init_provenance": origin}) == [False, False]
    assert held_out(training={"init": "f00"}) == [None, False]
    between = tmp_path / "between.safetensors"
    interpolate(west, east, between, Parts(0.5, 0.5, 0.5))
    found = figures(between, data, "--folds")["folds"].values()
    assert [one["held_out"] for one in found] == [False, False]


def test_a_model_that_was_trained_by_bands_is_known(tiny: Path, data: Path, tmp_path: Path) -> None:
    """As the models of earlier versions: what they trained on is compared with the folds."""
    bands = {"folds": {}, "fold": None, "train_bands": [[-180, 60]], "val_bands": [[90, 180]]}
    model = with_mosaic(tiny, tmp_path / "model.safetensors", **bands)
    recipe = tmp_path / "r.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE | {"mosaic": MOSAIC}))
    found = figures(model, data, "--recipe", recipe, "--folds")["folds"]
    assert {name: one["held_out"] for name, one in found.items()} == {
        "west": False, "far-east": True,
    }  # fmt: skip


def test_what_has_no_folds_is_refused(tiny: Path, data: Path, tmp_path: Path) -> None:
    message = refused(tiny, data, "--folds")
    assert "no folds (mosaic.folds); name one that has with --recipe" in message
    model = with_mosaic(tiny, tmp_path / "model.safetensors")
    assert "not the split 'train'" in refused(model, data, "--folds", "--split", "train")
    table = tmp_path / "x.csv"
    assert "of one fold" in refused(model, data, "--folds", "--csv", table)
    assert not table.exists()


def test_crops_of_a_fold_are_not_trained_on(data: Path) -> None:
    for name, bands in MOSAIC["folds"].items():
        recipe = recipes.parse_recipe(RECIPE | {"mosaic": MOSAIC | {"fold": name}}, "r")
        opened = open_data(data, recipe)
        columns = {
            split: {int(part[index][0].split("-")[0][1:]) for index in range(len(part))}
            for split, part in (("train", opened.train), ("val", opened.val))
        }
        west, east = bands[0] + 180, bands[1] + 180  # 360 pixels
        assert all(west <= x <= east - 64 for x in columns["val"])
        assert all(x + 64 <= west or x >= east for x in columns["train"])
        # 12E..42E, in neither
        assert all(x + 64 <= 192 or x >= 222 for found in columns.values() for x in found)
