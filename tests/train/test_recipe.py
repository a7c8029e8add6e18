"""Recipes: which are good, what errors say, and how keys are changed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.cli import main
from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.recipe import Recipe
from tests.train.running import parse

MOSAIC = {
    "source": "map.png", "target": "aerial.png", "sea": [160, 200, 225],
    "train_bands": [[-180, -72], [-44, 12]], "val_bands": [[-72, -44]],
}  # fmt: skip
FOLDS = {
    "source": "map.png", "target": "aerial.png", "sea": [[1, 2, 3], [4, 5, 6]],
    "train_bands": [[-180, 12], [42, 180]], "fold": "west",
    "folds": {"west": [-125, -100], "east": [[95, 120], [-10, 0]]},
}  # fmt: skip


def error_of(**values: object) -> str:
    with pytest.raises(InputError) as caught:
        parse(**values)
    message = str(caught.value)
    assert message.startswith("some.yaml: ") and "\n" not in message
    return message.removeprefix("some.yaml: ")


def write(path: Path, **values: object) -> Path:
    path.write_text(yaml.safe_dump(values))
    return path


# The shipped ones


def test_the_papers_recipes_are_shipped() -> None:
    names = recipes.shipped_names()
    assert {"default", "facades", "labels2photo", "edges2photo", "map2aerial"} <= set(names)
    assert sum(name.startswith("ablation-") for name in names) >= 9


@pytest.mark.parametrize("name", recipes.shipped_names())
def test_shipped_recipes_are_good(name: str) -> None:
    recipe = recipes.read_recipe(recipes.find_recipe(name))
    assert recipe.name == name or name == "default"
    lines = recipes.find_recipe(name).read_text().splitlines()
    assert lines[0].startswith("# ") and lines[0].endswith((".", "1."))


def test_the_default_is_the_paper() -> None:
    """Sections 3.3, 6.1 and 6.2: each value as it stands there."""
    recipe = recipes.read_recipe(recipes.find_recipe("default"))
    assert recipe.architecture == Architecture()
    assert (recipe.size, recipe.resize_side, recipe.flip) == (256, 286, True)
    assert recipe.upsample == "transposed"
    assert (recipe.ndf, recipe.patch, recipe.disc_norm) == (64, 70, "batch")
    assert (recipe.conditional, recipe.spectral_norm) == (True, False)
    assert (recipe.gan_mode, recipe.lambda_gan, recipe.lambda_l1) == ("vanilla", 1, 100)
    assert (recipe.lr, recipe.beta1, recipe.beta2, recipe.batch_size) == (2e-4, 0.5, 0.999, 1)
    assert (recipe.epochs, recipe.decay, recipe.ema) == (200, 100, 0)


def test_the_ablations_are_the_papers_tables() -> None:
    """Tables 1 to 3: what differs from the labels2photo that they are measured on."""
    base = recipes.read_recipe(recipes.find_recipe("labels2photo")).as_dict()
    expected = {
        "ablation-l1": {"lambda_gan": 0},
        "ablation-gan": {"lambda_l1": 0, "conditional": False},
        "ablation-cgan": {"lambda_l1": 0},
        "ablation-l1-gan": {"conditional": False},
        "ablation-encoder-decoder-l1": {"skips": False, "lambda_gan": 0},
        "ablation-encoder-decoder-l1-cgan": {"skips": False},
        "ablation-patch-1": {"patch": 1},
        "ablation-patch-16": {"patch": 16},
        "ablation-patch-286": {"patch": 286},
    }
    for name, changes in expected.items():
        values = recipes.read_recipe(recipes.find_recipe(name)).as_dict()
        changed = {key: value for key, value in values.items() if value != base[key]}
        assert changed == {"name": name, **changes}, name


def test_every_key_but_the_name_has_a_default() -> None:
    assert [name for name, key in Recipe.model_fields.items() if key.is_required()] == ["name"]
    with pytest.raises(InputError, match="x: name: is missing"):
        recipes.parse_recipe({}, "x")


# What errors say


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("lamda_l1", "lambda_l1"),
        ("batchsize", "batch_size"),
        ("learning", None),
        ("ngf_", "ngf"),
        ("nfg", "ngf"),
        ("xyzzy", None),
    ],
)
def test_unknown_keys_name_the_nearest(key: str, nearest: str | None) -> None:
    hint = f" (did you mean {nearest!r}?)" if nearest else ""
    assert error_of(**{key: 1}) == f"unknown key {key!r}{hint}"


OTHERS = {
    "num_train_epochs": "epochs", "train_batch_size": "batch_size", "NGF": "ngf", "ndf_dim": None,
    "max_train_steps": "epochs, which counts passes", "resume_from_checkpoint": "goes on with",
    "lambda_NCE": "leave it out", "lambda_GAN": "lambda_gan", "lambda_style": None,
    "lambda_L1": "lambda_l1", "steps_per_epoch": "leave it out", "optimizer": "is Adam",
    "adam_beta1": "beta1", "checkpointing_steps": "--every", "img_height": "size",
    "CUT_mode": "leave it out", "nce_layers": "leave it out", "netF": "leave it out",
    "instance_feat": "leave it out", "no_vgg_loss": "lambda_perceptual=0", "callbacks": "leave it",
    "lr_scheduler": "decay_epochs", "dataloader_num_workers": "--workers", "num_D": "scales",
    "image_column": "pairs.csv", "wandb_project_name": "leave it out", "train_data_dir": "DATA",
}  # fmt: skip
"""Options of diffusers' scripts, Keras, pix2pixHD and CUT, and what is said of them."""


@pytest.mark.parametrize("key", OTHERS)
def test_options_of_other_trainers_are_told_rightly_or_not(tmp_path: Path, key: str) -> None:
    """As keys, and as options of the command."""
    told = OTHERS[key]
    ran = [
        CliRunner().invoke(main, ["train", str(tmp_path), str(tmp_path / "run"), *words])
        for words in (["--set", f"{key}=1"], [f"--{key}", "1"])
    ]
    for one in ran:
        assert one.exit_code == 2 and key in one.output, one.output
        if told is None:
            assert "did you mean" not in one.output.lower() and "(" not in one.output
        else:
            assert told in " ".join(one.output.split()), one.output


def test_unknown_keys_of_a_mosaic_name_the_nearest_of_its_own() -> None:
    message = error_of(mosaic={**MOSAIC, "min_lands": 0.1})
    assert message == "unknown key 'mosaic.min_lands' (did you mean 'min_land'?)"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ngf", "many"),
        ("ngf", 2.5),
        ("ngf", None),
        ("ngf", [1]),
        ("flip", 3),
        ("name", 5),
        ("lr", "fast"),
        ("direction", "CtoD"),
        ("norm", "batch"),
        ("gan_mode", "wgan"),
        ("disc_norm", "layer"),
        ("precision", "fp64"),
        ("mosaic", "map.png"),
        ("palette", [1, 2]),
    ],
)
def test_wrong_kinds_of_value(key: str, value: object) -> None:
    message = error_of(**{key: value})
    assert message.startswith(f"{key}: input should ")
    if not isinstance(value, list):
        assert f", not {value!r}" in message


@pytest.mark.parametrize(
    ("key", "value", "bound"),
    [
        ("size", 31, "32"),
        ("size", 4097, "4096"),
        ("load_size", 31, "32"),
        ("downs", 4, "5"),
        ("downs", 11, "10"),
        ("ngf", 0, "1"),
        ("ndf", 1025, "1024"),
        ("in_channels", 65, "64"),
        ("lambda_gan", -1, "0"),
        ("lambda_l1", -0.1, "0"),
        ("val_fraction", 1, "1"),
        ("epochs", 0, "0"),
        ("batch_size", 0, "1"),
        ("accumulate", 0, "1"),
        ("lr", 0, "0"),
        ("lr", 1.1, "1"),
        ("lr_d", -1, "0"),
        ("beta1", 1, "1"),
        ("beta2", -0.1, "0"),
        ("ema", 1, "1"),
        ("seed", -1, "0"),
        ("seed", 2**63, str(2**63)),
        ("epochs", math.inf, "finite"),
        ("lambda_l1", math.inf, "finite"),
        ("lr", math.nan, "finite"),
    ],
)
def test_values_out_of_range(key: str, value: float, bound: str) -> None:
    message = error_of(**{key: value})
    assert message.startswith(f"{key}: ") and bound in message and f"not {value!r}" in message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch": 71}, "patch: must be one of 1, 16, 34, 70, 142, 286, not 71"),
        ({"lambda_gan": 0, "lambda_l1": 0}, "lambda_gan and lambda_l1: one of them"),
        ({"gan_mode": "wgangp"}, "disc_norm: .*set disc_norm to instance or none"),
        ({"load_size": 200}, "load_size: 200 is below size, 256"),
        ({"decay_epochs": 201}, "decay_epochs: 201.0 is above epochs, 200"),
        ({"train_blocks": 2}, "train_blocks: needs init, the model whose other blocks stay"),
        ({"freeze_blocks": 2}, "freeze_blocks: needs init, the model whose other blocks stay"),
        (
            {"freeze_blocks": 2, "train_blocks": 2, "init": "x"},
            "freeze_blocks: is the opposite of train_blocks; leave one out",
        ),
        (
            {"freeze_blocks": 5, "downs": 5, "init": "x"},
            "freeze_blocks: of 5 blocks 4 can stay, not 5",
        ),
        ({"l1_pixels": 48}, "l1_pixels: 48 does not divide size, 256"),
        ({"patch": 286, "size": 64}, "patch: a patch of 286 needs images of 96 pixels"),
        (
            {"input_range": {"type": "uint16"}},
            "input_range: low and high, or percentiles such as .* must be given",
        ),
        (
            {"output_range": {"type": "uint16", "low": 0, "high": 9, "bands": ["B4"]}},
            "output_range: bands: are 1, and the recipe takes 3",
        ),
        ({"mosaic": MOSAIC, "input_range": {"type": "uint8"}}, "input_range: mosaics have 8 bits"),
        (
            {"input_range": {"type": "float32", "low": 0, "high": 1, "scale": "log"}},
            "input_range: low: of a logarithmic band must be above 0",
        ),
        (
            {"input_range": {"type": "uint16", "low": 0, "high": 1e6}},
            "input_range: band 1: 0 to 1000000 is beyond uint16",
        ),
        (
            {"input_range": {"type": "int16", "percentiles": [98, 2]}},
            "input_range: percentiles: the lower comes first",
        ),
        (
            {"input_range": {"type": "int16", "percentils": [2, 98]}},
            "unknown key 'input_range.percentils' .did you mean 'percentiles'",
        ),
        (
            {"input_range": {"type": "uint8", "bands": [{"number": 4}, 1, 2]}},
            "unknown key 'input_range.bands.0.number'",
        ),
        (
            {"input_range": {"type": "uint8", "show": ["B8", 1, 2]}},
            "input_range: there is no band 'B8'",
        ),
        ({"mosaic": MOSAIC, "in_channels": 1}, "mosaic: mosaics have 3 channels"),
        ({"size": 96, "downs": 6}, r"size: 96 is no multiple of 64, which 6 halvings"),
        ({"size": 256, "downs": 9}, "size: 256 is no multiple of 512"),
        ({"palette": {"sky": [0, 0, 256]}}, r"palette\.sky\.2: .*255, not 256"),
        ({"palette": {"sky": [0, 0, 9], "sea": [0, 0, 9]}}, "palette: sky and sea have the same"),
        ({"palette": {"sky": [0, 0]}}, r"palette\.sky\.2: is missing"),
        ({"mosaic": {**MOSAIC, "train_bands": [[12, -44]]}}, r"its west, then its east, not \[12"),
        ({"mosaic": {**MOSAIC, "val_bands": [[0, 20]]}}, r"val_bands: \[0, 20\] overlaps"),
        ({"mosaic": {**MOSAIC, "scales": [0, 1]}}, "scales: must be above 0"),
        ({"mosaic": {**MOSAIC, "scales": [2, 1]}}, "scales: .*the smaller first"),
        ({"mosaic": {**MOSAIC, "val_bands": []}}, "val_bands: .*at least 1"),
        ({"mosaic": {**MOSAIC, "val_bands": None}}, "val_bands: is missing; or give folds, and"),
        ({"mosaic": {**MOSAIC, "sea": []}}, "sea: .*at least 1"),
        ({"mosaic": {**MOSAIC, "sea": [[1, 2, 3], [1, 2, 256]]}}, r"sea\.1\.2: .*255, not 256"),
        ({"mosaic": {**MOSAIC, "fold": "x"}}, "fold: there are no folds to hold 'x' out of"),
        ({"mosaic": {**FOLDS, "fold": None}}, "fold: is missing; name .* of west, east"),
        ({"mosaic": {**FOLDS, "fold": "wset"}}, "fold: 'wset' is none of the folds west, east"),
        ({"mosaic": {**FOLDS, "fold": ["west", "es"]}}, "fold: 'es' is none of the folds west"),
        ({"mosaic": {**FOLDS, "fold": []}}, "fold"),
        ({"mosaic": {**FOLDS, "val_bands": [[0, 5]]}}, "val_bands: the fold is what is held out"),
        ({"mosaic": {**FOLDS, "folds": {"west": [0, 20]}}}, r"folds.west: \[12, 20\] lies outside"),
        ({"mosaic": {**FOLDS, "folds": {"west": [5, 2]}}}, r"folds.west: .*not \[5, 2\]"),
        ({"mosaic": {**FOLDS, "folds": {"a/b": [0, 9]}}}, "folds.a/b.*: string should match"),
        ({"mosaic": {**FOLDS, "train_bands": [[0, 9]], "folds": {"west": [0, 9]}}},
         "fold: without 'west' nothing is left"),
        ({"mosaic": {**MOSAIC, "turn": "half"}}, "turn.*'quarter'"),
        ({"mosaic": {**MOSAIC, "latitudes": [0, 91]}}, r"latitudes\.1: .*90, not 91"),
        ({"mosaic": {"source": "a"}}, r"mosaic\.target: is missing; mosaic\.sea: is missing"),
    ],
    ids=str,
)  # fmt: skip
def test_values_that_do_not_go_together(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(**values)


def test_wgangp_bears_other_norms_and_no_gan() -> None:
    for values in ({"disc_norm": "instance"}, {"disc_norm": "none"}, {"lambda_gan": 0}):
        assert parse(gan_mode="wgangp", **values).gan_mode == "wgangp"


def test_bands_may_touch() -> None:
    assert parse(mosaic=MOSAIC).mosaic is not None


def test_all_problems_are_told_at_once() -> None:
    message = error_of(ngf=0, ndf=0, lamda_l1=1)
    assert "ngf: " in message and "ndf: " in message and "'lamda_l1'" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is no valid YAML"),
        ("- 1", "is no recipe; a recipe is a list of 'key: value' lines"),
        ("", "is no recipe"),
        ("name: x\nngf: many", "ngf: "),
        ("!!python/object/apply:os.system ['true']", "is no valid YAML"),
    ],
)
def test_files_that_are_no_recipe(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"my\.yaml: {message}"):
        recipes.read_recipe(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"my\.yaml: is no valid YAML"):
        recipes.read_recipe(path)


def test_unknown_recipes_name_the_nearest_shipped_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"facade: no such recipe \(did you mean 'facades'\?\)"):
        recipes.find_recipe("facade")
    with pytest.raises(InputError, match=r"Shipped recipes: .*map2aerial.*or give the path"):
        recipes.find_recipe(str(tmp_path / "absent.yaml"))
    with pytest.raises(InputError, match="cannot be read"):
        recipes.read_recipe(tmp_path)


# --set


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("ngf=32", "ngf", 32),
        ("lr=2e-4", "lr", 2e-4),  # text in YAML 1.1
        ("lr=1E-3", "lr", 1e-3),
        ("lr=.0005", "lr", 0.0005),
        ("ema=0", "ema", 0),
        ("flip=false", "flip", False),
        ("flip=no", "flip", False),
        ("load_size=null", "load_size", None),
        ("name=my model", "name", "my model"),
        ("name=a=b", "name", "a=b"),
        ("name=a#1", "name", "a#1"),
        ('name="a #1"', "name", "a #1"),
        (" ngf = 8 ", "ngf", 8),
        ("palette={sky: [1, 2, 3]}", "palette", {"sky": (1, 2, 3)}),
        ("palette={0: [1, 2, 3]}", "palette", {"0": (1, 2, 3)}),
        ("palette.sky=[1, 2, 3]", "palette", {"sky": (1, 2, 3)}),
        ("source_domain=", "source_domain", None),
    ],
)
def test_overrides(tmp_path: Path, override: str, key: str, value: object) -> None:
    path = write(tmp_path / "r.yaml", name="x", ngf=4, lr=0.5, load_size=300)
    if value is None and key == "source_domain":
        with pytest.raises(InputError, match="source_domain: input should be a valid string"):
            recipes.read_recipe(path, [override])
        return
    assert getattr(recipes.read_recipe(path, [override]), key) == value


def test_of_several_folds_one_is_held_out() -> None:
    west = parse(mosaic=FOLDS).mosaic
    assert west is not None
    assert west.held_out_bands == [(-125, -100)]
    assert west.trained_bands == [(-180, -125), (-100, 12), (42, 180)]
    both = parse(mosaic={**FOLDS, "fold": ["west", "east"]}).mosaic
    assert both is not None and both.held_out_bands == [(-125, -100), (95, 120), (-10, 0)]
    assert both.trained_bands == [(-180, -125), (-100, -10), (0, 12), (42, 95), (120, 180)]
    east = recipes.override_recipe(parse(mosaic=FOLDS), ["mosaic.fold=east"]).mosaic
    assert east is not None
    assert east.held_out_bands == [(95, 120), (-10, 0)]
    assert east.trained_bands == [(-180, -10), (0, 12), (42, 95), (120, 180)]


def test_bands_are_held_out_as_they_are_given() -> None:
    mosaic = parse(mosaic=MOSAIC).mosaic
    assert mosaic is not None
    assert mosaic.held_out_bands == [(-72, -44)]
    assert mosaic.trained_bands == [(-180, -72), (-44, 12)]


def test_one_sea_stands_as_earlier_versions_wrote_it() -> None:
    """Else runs that they began would not be gone on with."""
    for sea in (MOSAIC["sea"], [MOSAIC["sea"]]):
        read = parse(mosaic={**MOSAIC, "sea": sea})
        assert read.mosaic is not None and read.mosaic.sea == [(160, 200, 225)]
        assert read.as_dict()["mosaic"]["sea"] == [160, 200, 225]
    assert parse(mosaic=FOLDS).as_dict()["mosaic"]["sea"] == [[1, 2, 3], [4, 5, 6]]


def test_overrides_of_a_mosaics_keys(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", name="x", mosaic=MOSAIC)
    changes = ["mosaic.min_land=0.5", "mosaic.val_bands=[[20, 30], [40, 50]]", "mosaic.turn=true"]
    mosaic = recipes.read_recipe(path, changes).mosaic
    assert mosaic is not None
    assert (mosaic.min_land, mosaic.turn, mosaic.source) == (0.5, True, "map.png")
    assert mosaic.val_bands == [(20, 30), (40, 50)]


def test_the_last_override_of_a_key_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "r.yaml", name="x")
    assert recipes.read_recipe(path, ["ngf=8", "ngf=16"]).ngf == 16


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ngf", "--set ngf: must be key=value, such as --set ngf=32"),
        ("=5", "must be key=value"),
        ("ngf=[", "the value is no valid YAML"),
        ("name=run #2", "what follows # would be left out as a comment"),
        ("name=#2", "what follows # would be left out as a comment"),
        ("ngf.deep=5", "'ngf' has no keys of its own"),
        ("generator=resnet_9blocks", "generator: .* .say resnet."),
        ("generator=unet_128", "generator: .* .say unet, and downs=7."),
        ("ngff=5", "unknown key 'ngff' .did you mean 'ngf'"),
        ("mosaic.min_lnd=1", "mosaic.source: is missing.*unknown key 'mosaic.min_lnd'"),
        ("size=64,", "size: input should be a valid integer"),
    ],
)
def test_overrides_that_cannot_be(tmp_path: Path, override: str, message: str) -> None:
    path = write(tmp_path / "r.yaml", name="x", ngf=4)
    with pytest.raises(InputError, match=message) as caught:
        recipes.read_recipe(path, [override])
    assert str(path) not in str(caught.value), "the file is not to blame"


# extends


def test_extends_takes_the_others_keys(tmp_path: Path) -> None:
    """A file beside it, or a shipped recipe; own keys win, over any number of files."""
    write(tmp_path / "base.yaml", name="base", ngf=4, ndf=4, size=64)
    write(tmp_path / "middle.yaml", extends="base.yaml", name="middle", ndf=8)
    path = write(tmp_path / "top.yaml", extends="middle.yaml", name="top", size=128)
    recipe = recipes.read_recipe(path, ["lr=0.1"])
    assert (recipe.name, recipe.ngf, recipe.ndf, recipe.size, recipe.lr) == ("top", 4, 8, 128, 0.1)
    facades = recipes.read_recipe(write(tmp_path / "mine.yaml", extends="facades", name="mine"))
    assert facades.direction == "BtoA" and facades.name == "mine"
    namesake = recipes.read_recipe(write(tmp_path / "facades.yaml", extends="facades", ngf=2))
    assert (namesake.name, namesake.ngf) == ("facades", 2)


@pytest.mark.parametrize("base", [5, ["a.yaml"], True])
def test_extends_must_be_a_name(tmp_path: Path, base: object) -> None:
    with pytest.raises(InputError, match=r"r\.yaml: extends: must name another recipe"):
        recipes.read_recipe(write(tmp_path / "r.yaml", extends=base, name="x"))


def test_extends_of_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="absent: no such recipe"):
        recipes.read_recipe(write(tmp_path / "r.yaml", extends="absent", name="x"))


@pytest.mark.parametrize(
    "ring",
    [
        {"a.yaml": "a.yaml"},
        {"a.yaml": "b.yaml", "b.yaml": "a.yaml"},
        {"a.yaml": "b.yaml", "b.yaml": "c.yaml", "c.yaml": "b.yaml"},
        {"a.yaml": "../{here}/b.yaml", "b.yaml": "../{here}/a.yaml"},
    ],
    ids=str,
)
def test_rings_of_extends_are_refused(tmp_path: Path, ring: dict[str, str]) -> None:
    for name, base in ring.items():
        write(tmp_path / name, extends=base.format(here=tmp_path.name), name="x")
    with pytest.raises(InputError, match=r"extends: .* is, or extends, this very recipe"):
        recipes.read_recipe(tmp_path / "a.yaml")


# The commands


def test_recipe_list_and_show() -> None:
    listed = CliRunner().invoke(main, ["recipe", "list"])
    assert listed.exit_code == 0
    lines = listed.output.splitlines()
    assert [line.split()[0] for line in lines] == recipes.shipped_names()
    assert all(len(line.split()) > 3 for line in lines)
    shown = CliRunner().invoke(main, ["recipe", "show", "facades"])
    assert shown.output == recipes.find_recipe("facades").read_text()
    absent = CliRunner().invoke(main, ["recipe", "show", "absent"])
    assert absent.exit_code == 2 and "error: absent: no such recipe" in absent.output


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("crop_size=128", "size"), ("fineSize=128", "size"), ("input_nc=1", "in_channels"),
        ("output_nc=1", "out_channels"), ("netG=unet_256", "downs=8"), ("netD=pixel", "patch=1"),
        ("n_layers_D=3", "patch"), ("n_epochs=100", "epochs"), ("n_epochs_decay=9", "decay_epochs"),
        ("niter=100", "epochs"), ("lambda_L1=10", "lambda_l1"), ("no_flip=true", "flip=false"),
        ("no_dropout=true", "dropout=false"), ("preprocess=crop", "fit"), ("norm=batch",
        "batch-statistics"), ("batchSize=4", "batch_size"), ("loadSize=286", "load_size"),
        ("which_direction=BtoA", "direction"), ("direction=B2A", "BtoA"),
        ("gan_mode=bce", "vanilla"),
        ("no_lsgan=true", "gan_mode=vanilla"), ("pool_size=0", "leave it out"), ("label_nc=3",
        "in_channels"), ("lr_policy=linear", "decay_epochs"), ("save_epoch_freq=5", "--every"),
        ("num_threads=4", "--workers"), ("gpu_ids=0", "--device"), ("dataroot=x", "DATA"),
    ],
)  # fmt: skip
def test_other_trainers_options_are_answered_with_ours(given: str, ours: str) -> None:
    with pytest.raises(InputError) as caught:
        recipes.read_recipe(recipes.find_recipe("default"), ["name=x", given])
    key, _, rest = str(caught.value).partition(given.partition("=")[0])
    assert key and ours in rest


def test_other_trainers_options_on_the_command_line(tmp_path: Path) -> None:
    for option, ours in (("--crop_size", "size"), ("--batch_size", "--set batch_size=VALUE")):
        ran = CliRunner().invoke(main, ["train", str(tmp_path), "run", option, "4"])
        assert ran.exit_code == 2 and ours in ran.stderr, ran.output


@given(size=st.integers(32, 1200), downs=st.none() | st.integers(5, 10))
@settings(deadline=None)
def test_sizes_that_are_named_are_accepted(size: int, downs: int | None) -> None:
    values = {"name": "x", "size": size, "downs": downs}
    try:
        made = recipes.parse_recipe(values, "x")
    except InputError as error:
        named = re.findall(r"(size|downs)=(\d+)", str(error))
        assert named
        for key, value in named:
            assert recipes.parse_recipe({**values, key: int(value)}, "x")
        return
    assert made.size % (1 << made.architecture.downs) == 0
    if downs is None and made.architecture.downs < 10:
        assert (
            made.size % (2 << made.architecture.downs) or made.size < 2 << made.architecture.downs
        )


def test_switches_are_no_numbers_in_sections_either(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: a\n")
    given = ["mosaic.source=a", "mosaic.sea_tolerance=yes"]
    with pytest.raises(InputError, match=r"mosaic\.sea_tolerance: is yes"):
        recipes.read_recipe(path, given)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name: a\nsize: 0400\n", "'0400' would be read to the base of 8; write 400"),
        ("name: a\nepochs: 1:30\n", "'1:30' would be read to the base of 60"),
        ("name: a\nngf: 8\nngf: 16\n", "the key 'ngf' is given twice"),
        ("name: a\nbatch_size: yes\n", "batch_size: is yes"),
    ],
)
def test_surprises_of_yaml_are_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(why)):
        recipes.read_recipe(path)
    *_, last = text.splitlines()
    if "twice" not in why:
        path.write_text("name: a\n")
        with pytest.raises(InputError, match=re.escape(why)):
            recipes.read_recipe(path, [last.replace(": ", "=")])


@pytest.mark.parametrize(
    ("fit", "outcome"), [("resize", "are enlarged"), ("tile", "too small for crops")]
)
def test_small_images_are_told_with_a_size_that_suits_them(fit: str, outcome: str) -> None:
    advice = recipes.advise_size(parse(size=256, fit=fit), {(96, 96): 3, (80, 120): 1})
    begin, _, remedy = advice.partition("; ")
    assert begin == f"all images are smaller than 256 pixels (at most 96) and {outcome}"
    assert remedy.startswith("--set size=96") and remedy.endswith(" at about their own size")
