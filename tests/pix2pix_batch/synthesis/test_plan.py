"""Who gets how many variants, and which split: exact, reproducible, groups together."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.item import Item
from pix2pix_batch.synthesis.plan import (
    Input,
    apportion,
    assign_splits,
    parse_fractions,
    spread_variants,
)


def one(name: str, group: str = "", stratum: str = "") -> Input:
    return Input(Item(name, name, f"{name}.png", "png"), group or name, stratum)


def many(count: int, strata: int = 1) -> list[Input]:
    return [one(f"{i:04}", stratum=f"s{i % strata}") for i in range(count)]


SHARES = st.sampled_from(
    ["train=0.8,val=0.1,test=0.1", "train=0.5,val=0.5", "a=0.7,b=0.2,c=0.05,d=0.05", "train=1"]
).map(parse_fractions)


@pytest.mark.parametrize("names", ["train train", "Train train"])
def test_a_split_is_given_once_on_every_file_system(names: str) -> None:
    with pytest.raises(InputError, match="give each once"):
        parse_fractions(",".join(f"{name}=0.5" for name in names.split()))


@given(st.integers(0, 5000), SHARES)
def test_whole_parts_are_nearest_to_the_shares(total: int, shares: dict[str, float]) -> None:
    parts = apportion(total, list(shares.values()))
    assert sum(parts) == total
    for part, share in zip(parts, shares.values(), strict=True):
        assert abs(part - total * share) < 1
    # no other whole parts are nearer in sum
    distance = sum(abs(p - total * s) for p, s in zip(parts, shares.values(), strict=True))
    for i in range(len(parts)):
        for j in range(len(parts)):
            other = [p + (k == i) - (k == j) for k, p in enumerate(parts)]
            moved = sum(abs(p - total * s) for p, s in zip(other, shares.values(), strict=True))
            assert distance <= moved + 1e-6


@given(st.integers(40, 300), st.integers(1, 7), SHARES, st.integers(0, 99))
def test_splits_are_exact_over_all_and_near_in_each_stratum(
    count: int, strata: int, shares: dict[str, float], seed: int
) -> None:
    inputs = many(count, strata)
    splits = assign_splits(inputs, shares, seed)
    assert splits.keys() == {each.name for each in inputs}
    found = Counter(splits.values())
    assert [found[name] for name in shares] == apportion(count, list(shares.values()))
    for stratum in {each.stratum for each in inputs}:
        members = [each for each in inputs if each.stratum == stratum]
        here = Counter(splits[each.name] for each in members)
        assert all(
            abs(here[name] - len(members) * share) <= 1 + 1e-9 for name, share in shares.items()
        )


@given(st.lists(st.integers(1, 9), min_size=40, max_size=80), SHARES, st.integers(0, 9))
def test_groups_stay_together(sizes: list[int], shares: dict[str, float], seed: int) -> None:
    inputs = [one(f"{g}-{i}", f"g{g}", f"s{i % 2}") for g, n in enumerate(sizes) for i in range(n)]
    splits = assign_splits(inputs, shares, seed)
    of_group: dict[str, set[str]] = defaultdict(set)
    for each in inputs:
        of_group[each.group].add(splits[each.name])
    assert all(len(found) == 1 for found in of_group.values())
    found = Counter(splits.values())
    for name, share in shares.items():
        assert abs(found[name] - len(inputs) * share) <= max(sizes)


@given(st.permutations(many(50, 3)), st.integers(0, 5))
def test_order_does_not_matter_and_seeds_do(inputs: list[Input], seed: int) -> None:
    shares = parse_fractions("train=0.6,val=0.4")
    plain = sorted(inputs, key=lambda each: each.name)
    assert assign_splits(inputs, shares, seed) == assign_splits(plain, shares, seed)
    assert assign_splits(plain, shares, seed) != assign_splits(plain, shares, seed + 1)
    assert spread_variants(inputs, 77, seed, None) == spread_variants(plain, 77, seed, None)


def test_a_split_that_would_be_empty_is_told() -> None:
    shares = parse_fractions("train=0.8,val=0.1,test=0.1")
    with pytest.raises(InputError, match=r"'val' would be empty: 3 inputs do not fill 3 splits"):
        assign_splits(many(3), shares, 0)
    grouped = [one(str(i), "all") for i in range(100)]
    with pytest.raises(InputError, match=r"'val' would be empty: 100 inputs in 1 group "):
        assign_splits(grouped, shares, 0)


@given(st.integers(1, 60), st.integers(1, 400), st.integers(1, 4), st.integers(0, 9))
def test_a_count_is_spread_evenly(inputs: int, count: int, strata: int, seed: int) -> None:
    wanted = spread_variants(many(inputs, strata), count, seed, None)
    assert sum(wanted.values()) == count
    assert max(wanted.values()) - min(wanted.values()) <= 1
    per_stratum: Counter[str] = Counter()
    for each in many(inputs, strata):
        per_stratum[each.stratum] += wanted[each.name]
    sizes = Counter(each.stratum for each in many(inputs, strata))
    assert all(abs(per_stratum[s] - count * n / inputs) < 1 for s, n in sizes.items())


def test_a_count_that_cannot_be_met_is_told() -> None:
    assert sum(spread_variants(many(10), 40, 0, 4).values()) == 40
    message = r"--target-count 41 cannot be met: 10 inputs with 4 variants each make 40"
    with pytest.raises(InputError, match=message):
        spread_variants(many(10), 41, 0, 4)


@pytest.mark.parametrize(
    "text",
    ["", "train", "train=", "train=x", "train=0.5", "train=0.6,val=0.6", "train=0.5,train=0.5",
     "train=1,val=0", "a/b=1", "train=nan", "=1", "train=2"],
)  # fmt: skip
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match=r"--split '.*': "):
        parse_fractions(text)


def test_shares() -> None:
    assert parse_fractions(" train=0.7, val=0.3") == {"train": 0.7, "val": 0.3}
    assert parse_fractions("a=0.1,b=0.2,c=0.7") == {"a": 0.1, "b": 0.2, "c": 0.7}
