"""Validation while training: the same pairs each time, each for itself, nothing disturbed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.train.accelerator import make_accelerator
from pix2pix_batch.train.validation import LIMIT, SHOWN, Validation
from tests.train.running import small


class Pairs:
    """As many pairs as wanted: pair i has sources of the level i and targets of 3."""

    def __init__(self, count: int, channels: tuple[int, int] = (3, 3)) -> None:
        self.count, self.channels = count, channels
        self.seen: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[str, np.ndarray, np.ndarray]:
        self.seen.append(index)
        source, target = (
            np.full((32, 32, channels), level % 256, np.uint8)
            for channels, level in zip(self.channels, (index, 3), strict=True)
        )
        return str(index), source, target


def validate(pairs: Pairs, **changes: Any) -> tuple[dict[str, float], np.ndarray]:
    """By a generator that paints everything in the level 128."""
    recipe = small(in_channels=pairs.channels[0], out_channels=pairs.channels[1], **changes)
    generator = UNet(recipe.architecture).init_weights()
    torch.nn.init.zeros_(generator.up[0].conv.weight)
    return Validation(pairs, recipe)(generator.train(), make_accelerator(recipe, "cpu"))


def test_error_is_the_mean_difference() -> None:
    figures, _ = validate(Pairs(5))
    assert figures["error"] == pytest.approx(128 - 3)
    assert figures["sharpness"] == 1, "nothing to be sharp about, and nothing sharp"


def test_edges_where_the_targets_are_flat_have_no_sharpness() -> None:
    pairs, recipe = Pairs(2), small()
    generator = UNet(recipe.architecture).init_weights()
    figures, _ = Validation(pairs, recipe)(generator.train(), make_accelerator(recipe, "cpu"))
    assert figures["sharpness"] == math.inf


@pytest.mark.parametrize("count", [1, 2, SHOWN, SHOWN + 1, LIMIT, LIMIT + 1, 12345])
def test_it_looks_at_an_even_choice(count: int) -> None:
    pairs = Pairs(count)
    chosen = Validation(pairs, small()).chosen
    assert len(set(chosen)) == len(chosen) == min(LIMIT, count)
    assert chosen == sorted(chosen) and chosen[0] == 0 and chosen[-1] == count - 1
    gaps = np.diff(chosen)
    assert count == 1 or gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("count", [1, 3, 20])
def test_the_sheet_shows_input_output_and_target(count: int) -> None:
    _, sheet = validate(Pairs(count))
    rows = min(count, SHOWN)
    assert sheet.shape == (32 * rows, 3 * 32, 3) and sheet.dtype == np.uint8
    shown = [int(sheet[32 * row, 0, 0]) for row in range(rows)]
    assert shown == sorted(shown) and shown[0] == 0 and shown[-1] == count - 1
    assert (sheet[:, 32:64] == 128).all() and (sheet[:, 64:] == 3).all()


@pytest.mark.parametrize("channels", [(1, 3), (3, 1), (4, 4)])
def test_sheets_are_rgb_whatever_the_channels(channels: tuple[int, int]) -> None:
    _, sheet = validate(Pairs(2, channels))
    assert sheet.shape == (64, 96, 3)
    assert (sheet[32:, :32] == 1).all() and (sheet[:, 64:] == 3).all()


def test_training_goes_on_undisturbed() -> None:
    """Its mode, statistics and random numbers are left as they were."""
    recipe = small(norm="running-statistics")
    generator = UNet(recipe.architecture).init_weights().train()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    state = torch.get_rng_state()
    Validation(Pairs(3), recipe)(generator, make_accelerator(recipe, "cpu"))
    assert generator.training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[k], v) for k, v in generator.state_dict().items())


def test_the_same_pairs_are_seen_each_time() -> None:
    pairs, recipe = Pairs(250), small()
    validation = Validation(pairs, recipe)
    generator = UNet(recipe.architecture).init_weights()
    accelerator = make_accelerator(recipe, "cpu")
    first, again = (validation(generator, accelerator) for _ in range(2))
    assert first[0] == again[0] and np.array_equal(first[1], again[1])
    assert pairs.seen[:LIMIT] == pairs.seen[LIMIT:] == validation.chosen
