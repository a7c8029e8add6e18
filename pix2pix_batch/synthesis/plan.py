"""How many variants each input gets, and which split it belongs to.

All inputs are held in memory, some hundreds of bytes each: exact counts need to know them all.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pix2pix_batch.errors import InputError
from pix2pix_batch.item import Item
from pix2pix_batch.text import format_count

NAME = re.compile(r"[A-Za-z0-9_-]+")
ROUNDING = 1e-6
"""By how much fractions may miss 1."""


@dataclass(frozen=True)
class Input:
    """One input: its item, as a scan finds it, what it has in common with others, and its stamp,
    which changes when the file does; empty where there is none."""

    item: Item
    group: str
    stratum: str
    stamp: str = ""

    @property
    def name(self) -> str:
        return self.item.name


def parse_fractions(text: str) -> dict[str, float]:
    """``train=0.8,val=0.2`` as shares by split. Raises :class:`InputError`."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not NAME.fullmatch(name) or name.lower() in map(str.lower, found) or not 0 < share <= 1:
            raise InputError(
                f"--split {text!r}: {part!r} is no share of a split; give each once, as in "
                "train=0.8,val=0.1,test=0.1"
            )
        found[name] = share
    if abs(sum(found.values()) - 1) > ROUNDING:
        raise InputError(f"--split {text!r}: the shares add up to {sum(found.values()):g}, not 1")
    return found


def rank(seed: int, name: str) -> bytes:
    """What orders inputs at random, but for each name and seed the same."""
    # By name, not by position: new inputs leave the order of the others as it was.
    text = f"{seed}:".encode() + name.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def apportion(total: int, shares: Sequence[float]) -> list[int]:
    """``total`` in whole parts as near to ``shares`` (which add up to 1) as can be: the largest
    remainders are rounded up, the first of equal ones."""
    quotas = [total * share for share in shares]
    # Rounded a little up: 0.29 * 100 comes out as 28.999999999999996.
    parts = [math.floor(quota + ROUNDING) for quota in quotas]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - quotas[i], i))
    for i in order[: total - sum(parts)]:
        parts[i] += 1
    return parts


def spread_variants(
    inputs: Sequence[Input], count: int, seed: int, most: int | None
) -> dict[str, int]:
    """How many variants each input gets so that there are ``count`` in all, as evenly as can be.

    Some get one more than others; with fewer than inputs, some get none, each stratum giving its
    share. ``most``: an input's at most. Raises :class:`InputError` where that is too few.
    """
    if most is not None and count > most * len(inputs):
        raise InputError(
            f"--target-count {count:,} cannot be met: {format_count(len(inputs), 'input')} with "
            f"{format_count(most, 'variant')} each make {most * len(inputs):,}; raise --variants, "
            "or give more inputs"
        )
    each, more = divmod(count, len(inputs)) if inputs else (0, 0)
    strata = _strata(inputs)
    parts = apportion(more, [len(part) / len(inputs) for part in strata.values()])
    wanted: dict[str, int] = {}
    for part, extra in zip(strata.values(), parts, strict=True):
        ranked = sorted(part, key=lambda one: rank(seed, one.name))
        wanted |= {one.name: each + (place < extra) for place, one in enumerate(ranked)}
    return wanted


def _strata(inputs: Sequence[Input]) -> dict[str, list[Input]]:
    found: dict[str, list[Input]] = defaultdict(list)
    for one in inputs:
        found[one.stratum].append(one)
    return dict(sorted(found.items()))


def assign_splits(
    inputs: Sequence[Input], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Each input's split, by its name.

    Groups stay together; one that spans strata counts to the stratum of most of its inputs. Of
    groups of one input, each split gets exactly its share of all inputs, to the nearest whole
    number, and of each stratum to within one. Larger groups are placed first, each where most is
    missing. Raises :class:`InputError` where a split would be empty.
    """
    groups = _groups(inputs)
    sizes: dict[str, int] = defaultdict(int)
    by_stratum: dict[str, list[tuple[str, list[Input]]]] = defaultdict(list)
    for name, members in groups.items():
        stratum = _stratum_of(members)
        by_stratum[stratum].append((name, members))
        sizes[stratum] += len(members)
    targets = _targets(dict(sorted(sizes.items())), list(shares.values()))
    splits: dict[str, str] = {}
    names = list(shares)
    for stratum, target in targets.items():
        left = list(target)
        ranked = sorted(
            by_stratum[stratum], key=lambda group: (-len(group[1]), rank(seed, group[0]))
        )
        for _, members in ranked:
            place = max(range(len(left)), key=lambda i: (left[i], -i))
            left[place] -= len(members)
            splits |= {one.name: names[place] for one in members}
    _require_none_empty(splits, names, len(groups))
    return splits


def _groups(inputs: Sequence[Input]) -> dict[str, list[Input]]:
    groups: dict[str, list[Input]] = defaultdict(list)
    for one in inputs:
        groups[one.group].append(one)
    return groups


def _stratum_of(members: list[Input]) -> str:
    count = Counter(one.stratum for one in members)
    return min(count, key=lambda stratum: (-count[stratum], stratum))


def _targets(sizes: Mapping[str, int], shares: Sequence[float]) -> dict[str, list[int]]:
    """How many inputs of each stratum go to each split: whole numbers near their shares, which
    over all strata add up to :func:`apportion` of all inputs."""
    missing = apportion(sum(sizes.values()), shares)
    targets = {}
    for stratum, size in sizes.items():
        targets[stratum] = [math.floor(size * share + ROUNDING) for share in shares]
        missing = [m - t for m, t in zip(missing, targets[stratum], strict=True)]
    for stratum, size in sizes.items():
        target = targets[stratum]
        # one more for each of the splits that lack most: Gale and Ryser's way to a table of zeros
        # and ones with given sums
        lacking = sorted(
            range(len(shares)), key=lambda i: (-missing[i], target[i] - size * shares[i], i)
        )
        for place in lacking[: size - sum(target)]:
            target[place] += 1
            missing[place] -= 1
    return targets


def _require_none_empty(splits: Mapping[str, str], names: Sequence[str], groups: int) -> None:
    found = set(splits.values())
    if empty := [name for name in names if name not in found]:
        of, remedy = format_count(len(splits), "input"), "give more inputs, or larger shares"
        if groups < len(splits):
            of, remedy = f"{of} in {format_count(groups, 'group')}", f"{remedy}, or smaller groups"
        raise InputError(
            f"--split: {empty[0]!r} would be empty: {of} do not fill {len(names)} splits with "
            f"these shares; {remedy}"
        )
