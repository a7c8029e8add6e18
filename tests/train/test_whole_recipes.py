"""What a recipe is: the same through YAML and back, and what follows from its keys."""

from __future__ import annotations

import itertools
from dataclasses import fields
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.train import recipe as recipes
from pix2pix_batch.train.mosaic_recipe import Mosaic
from pix2pix_batch.train.recipe import Recipe
from tests.train.running import parse

LEAST = {1: 1, 16: 6, 34: 12, 70: 24, 142: 48, 286: 96}
"""The side that an image must have for a patch of each size: 3 pixels after its halvings."""

FRACTION = st.floats(0, 1, exclude_max=True)
TEXT = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=20)
COLOUR = st.tuples(*[st.integers(0, 255)] * 3)
Bands = list[tuple[float, float]]


def by_bands(bands: Bands, count: int) -> dict[str, Any]:
    return {
        "train_bands": bands[:count], "val_bands": bands[count:], "folds": {}, "fold": None,
    }  # fmt: skip


def by_folds(bands: Bands, count: int) -> dict[str, Any]:
    return {
        "train_bands": bands, "val_bands": None, "fold": "some",
        "folds": {"some": bands[:count], "one": bands[-1]},
    }  # fmt: skip


@st.composite
def mosaics(draw: st.DrawFn) -> dict[str, Any]:
    edges = draw(st.lists(st.floats(-180, 180), min_size=4, max_size=9, unique=True).map(sorted))
    bands = list(itertools.pairwise(edges))
    count = draw(st.integers(1, len(bands) - 1))
    bands = draw(st.permutations(bands))
    return {
        "source": draw(TEXT),
        "target": draw(TEXT),
        "sea": draw(COLOUR | st.lists(COLOUR, min_size=1, max_size=3)),
        "sea_tolerance": draw(st.integers(0, 255)),
        "sea_in": draw(st.sampled_from(["source", "target"])),
        **draw(st.sampled_from([by_bands, by_folds]))(bands, count),
        "latitudes": draw(st.tuples(*[st.floats(-90, 90)] * 2)),
        "min_land": draw(FRACTION),
        "val_min_land": draw(FRACTION),
        "scales": sorted(draw(st.tuples(*[st.floats(1e-3, 1e3)] * 2))),
        "turn": draw(st.sampled_from([True, False, "quarter"])),
        "crops_per_epoch": draw(st.integers(1, 10**9)),
    }


@st.composite
def families(draw: st.DrawFn) -> dict[str, Any]:
    """Which generator, and the keys that depend on it."""
    generator = draw(st.sampled_from(["unet", "resnet", "pix2pixhd-global"]))
    values = {"generator": generator, "blocks": draw(st.integers(1, 64))}
    if generator == "unet":
        return values
    downs = st.just(2) if generator == "resnet" else st.integers(1, 4)
    return values | {
        "downs": draw(st.none() | downs), "skips": True,
        "train_blocks": None, "freeze_blocks": None,
        "upsample": "transposed", "ngf": draw(st.integers(1, 512)),
    }  # fmt: skip


@st.composite
def value_ranges(draw: st.DrawFn, channels: int) -> dict[str, Any]:
    bounds = st.sampled_from(
        [{"low": 1, "high": 255}, {"percentiles": [2, 98]}, {"low": 2, "high": 9, "scale": "log"}]
    )
    band = st.integers(1, 99) | st.just("") | bounds
    return {
        "type": draw(st.sampled_from(["uint8", "uint16", "int16", "float32"])),
        "nodata": draw(st.none() | st.just(0)),
        "bands": draw(st.none() | st.lists(band, min_size=channels, max_size=channels)),
        "show": draw(st.none() | st.just([1])),
        **draw(bounds),
    }


@st.composite
def whole_recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Values for every key, all valid."""
    downs = draw(st.integers(5, 8))
    size = 2**downs * draw(st.integers(1, 4))
    mosaic = draw(st.none() | mosaics())
    channels = st.sampled_from([1, 3, 4]) if mosaic is None else st.just(3)
    epochs = draw(st.floats(1e-3, 1e4))
    words = {
        key: draw(st.sampled_from(choices))
        for key, choices in {
            "direction": ["AtoB", "BtoA"],
            "fit": ["resize", "tile"],
            "norm": ["batch-statistics", "running-statistics", "instance", "none"],
            "patch": [patch for patch, least in LEAST.items() if least <= size],
            "upsample": ["transposed", "resize", "smooth", "even"],
            "disc_norm": ["instance", "none"],
            "gan_mode": ["vanilla", "lsgan", "hinge", "wgangp"],
            "precision": ["auto", "fp32", "bf16", "fp16"],
        }.items()
    }
    flags = ("flip", "skips", "dropout", "spectral_norm", "conditional")
    values = words | {flag: draw(st.booleans()) for flag in flags}
    values |= {
        key: draw(TEXT) for key in ("source_domain", "target_domain", "data_source", "license")
    }
    init = draw(TEXT)
    values |= {"init": init, "train_blocks": draw(st.none() | st.integers(1, 10)) if init else None}
    freezes = init and values["train_blocks"] is None
    values["freeze_blocks"] = draw(st.none() | st.integers(1, 4)) if freezes else None
    values |= {key: draw(FRACTION) for key in ("val_fraction", "beta1", "beta2", "ema")}
    values |= {key: draw(channels) for key in ("in_channels", "out_channels")}
    values |= {key: draw(st.integers(1, 1024)) for key in ("ngf", "ndf")}
    values |= {key: draw(st.integers(1, 10**6)) for key in ("batch_size", "accumulate")}
    rate = st.floats(1e-12, 1)
    values |= draw(families())
    least, lambda_gan = LEAST[values["patch"]], draw(st.floats(0, 1e6))
    most = 1 if values["gan_mode"] == "wgangp" else 4
    scales = [k for k in range(1, most + 1) if size >> (k - 1) >= least]
    ranges = {
        f"{side}_range": draw(st.none() | value_ranges(values[f"{side}_channels"]))
        if mosaic is None else None
        for side in ("in", "out")
    }  # fmt: skip
    values["input_range"], values["output_range"] = ranges.values()
    is_picture = values["output_range"] is None
    return values | {
        "name": draw(TEXT.filter(lambda text: text and "/" not in text and "\\" not in text)),
        "size": size,
        "load_size": draw(st.none() | st.integers(size, 8192)),
        "mosaic": mosaic,
        "palette": draw(st.none() | st.dictionaries(TEXT, COLOUR)) if is_picture else None,
        "downs": downs if values["generator"] == "unet" else values["downs"],
        "scales": draw(st.sampled_from(scales)),
        "lambda_gan": lambda_gan,
        "lambda_features": draw(st.floats(0, 1e6)) if lambda_gan else 0,
        "lambda_perceptual": draw(st.floats(0, 1e6)) if values["out_channels"] in (1, 3) else 0,
        "lambda_texture": draw(st.floats(0, 1e6)),
        "lambda_grid": draw(st.floats(0, 1e6)),
        "lambda_patches": draw(st.floats(0, 1e6)),
        "l1_pixels": draw(st.sampled_from([n for n in (1, 2, 4, 8, 16, 32) if size % n == 0])),
        "lambda_l1": draw(st.floats(1e-6, 1e6)),
        "epochs": epochs,
        "decay_epochs": draw(st.none() | st.floats(0, epochs)),
        "lr": draw(rate),
        "lr_d": draw(st.none() | rate),
        "seed": draw(st.integers(0, 2**63 - 1)),
    }


@given(values=whole_recipes())
@settings(max_examples=60)
def test_recipes_survive_yaml(values: dict[str, Any]) -> None:
    assert values.keys() == Recipe.model_fields.keys(), "every key is tried"
    assert values["mosaic"] is None or values["mosaic"].keys() == Mosaic.model_fields.keys()
    recipe = parse(**values)
    text = yaml.safe_dump(recipe.as_dict(), allow_unicode=True)
    again = recipes.parse_recipe(yaml.safe_load(text), "again")
    assert again == recipe
    assert again.as_dict() == recipe.as_dict()


@given(size=st.integers(32, 512))
def test_halvings_follow_the_size(size: int) -> None:
    """As many as the size has, up to the paper's 8 for 256 and no fewer than 5."""
    downs = max((n for n in range(5, 11) if size % 2**n == 0), default=None)
    if downs is None:
        with pytest.raises(InputError, match=f"size: {size} is no multiple of 32"):
            parse(size=size)
    else:
        assert parse(size=size).architecture.downs == downs


def test_the_architecture_is_the_recipes() -> None:
    values = {
        "in_channels": 1, "out_channels": 4, "downs": 6, "ngf": 5, "norm": "none",
        "dropout": False, "skips": False,
    }  # fmt: skip
    assert parse(size=128, **values).architecture.as_dict() == values
    assert {field.name for field in fields(Architecture)} == values.keys() | {"bias"}


def test_resizing_and_decay_keep_the_papers_shares() -> None:
    """286 to 256, and the second half of the epochs."""
    assert parse(size=512).resize_side == 572
    assert parse(size=64).resize_side == 72  # 71.5, rounded to even
    assert parse(size=64, load_size=64).resize_side == 64
    assert parse(epochs=30).decay == 15
    assert parse(epochs=30, decay_epochs=0).decay == 0
