"""Which files of two sides belong together by their names, equal or nearly so."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

LEAST_SHARE = 0.5
"""Of the smaller side's files, how many a rule must pair to be proposed."""

COMMON_SHARE = 0.5
"""Of a side's files, how many must begin or end with a word for it to be the side's mark."""

SEPARATED_END = re.compile(r"[_\-. ]+[^_\-. ]+$")
SEPARATED_START = re.compile(r"^[^_\-. ]+[_\-. ]+")
WORDS_END = re.compile(r"[^0-9]+$")
WORDS_START = re.compile(r"^[^0-9]+")
NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Rule:
    """How names are compared: without a side's own ``prefixes`` and ``suffixes`` (A's and B's);
    ``loosely``: letter case and leading zeros apart; ``numbers``: by their numbers alone;
    ``common``: the directories that count, where not all do."""

    prefixes: tuple[str, str] = ("", "")
    suffixes: tuple[str, str] = ("", "")
    loosely: bool = False
    numbers: bool = False
    common: frozenset[str] | None = None

    def key(self, name: str, side: int) -> str:
        """What a name and its partner's have in common; directories count."""
        folder, _, last = _compose(name).rpartition("/")
        if self.common is not None:
            folder = "/".join(part for part in folder.split("/") if part in self.common)
        last = last.removeprefix(self.prefixes[side]).removesuffix(self.suffixes[side])
        if self.numbers:
            last = " ".join(str(int(number)) for number in NUMBER.findall(last))
        elif self.loosely:
            folder, last = folder.casefold(), _strip_padding(last.casefold())
        return f"{folder}/{last}" if last else ""

    def __str__(self) -> str:
        parts = []
        for words, where in ((self.prefixes, "at their starts"), (self.suffixes, "at their ends")):
            if any(words):
                said = " and ".join(repr(word) for word in words if word)
                parts.append(f"without {said} {where}")
        if self.numbers:
            parts.append("by the numbers in them")
        elif self.loosely:
            parts.append("letter case and leading zeros apart")
        if not parts:
            parts.append("by equal names")
        if self.common is not None:
            parts.append("whatever their directories")
        return ", ".join(parts)


@dataclass(frozen=True)
class Match:
    """What a rule pairs: ``pairs`` has the names of A and B that it puts together."""

    rule: Rule
    pairs: list[tuple[str, str]]


def match(a: Collection[str], b: Collection[str], rule: Rule) -> Match:
    """Pair names by a rule.

    Args:
        a: Names of one side.
        b: Names of the other.
        rule: Makes a key of a name. Names are partners if they have the same key and no other name
            of their side has it.
    """
    keys = [_unique(names, rule, side) for side, names in enumerate((a, b))]
    common = sorted(keys[0].keys() & keys[1].keys())
    return Match(rule, [(keys[0][key], keys[1][key]) for key in common])


def propose(a: Collection[str], b: Collection[str]) -> Match | None:
    """The simplest rule that pairs the most names, at least :data:`LEAST_SHARE` of them.

    Partners lie in directories of the same names; where no rule finds such, in any, of which
    those count that both sides have."""
    return _propose(a, b, _rules(a, b)) or _propose(a, b, _rules_anywhere(a, b))


def find_offset(a: Collection[str], b: Collection[str], match: Match) -> str:
    """Why a match may be one of neighbours, empty where nothing says so.

    Where A is numbered from 0 and B from 1, equal numbers pair each file with its partner's
    neighbour. What is left alone tells: as many names have a partner with one of their numbers one
    higher or lower.

    Args:
        a: The names of A that ``match`` was made of.
        b: The same of B.
        match: Which of them are partners.
    """
    if not match.pairs:
        return ""
    known = [set(names) for names in zip(*match.pairs, strict=True)]
    alone = [[name for name in names if name not in known[i]] for i, names in enumerate((a, b))]
    if all(alone):
        others = [
            (_count_shifted(a, b, match.rule, place, step), step)
            for place in range(1, MOST_NUMBERS + 1)
            for step in (1, -1)
        ]
        count, step = max(others)
        if count >= len(match.pairs):
            where = "one higher" if step > 0 else "one lower"
            return (
                f"{count:,} have a partner whose number is {where} in B, "
                f"{len(match.pairs):,} one of equal number, so that the sides may be numbered from "
                "different starts"
            )
    elif any(alone):
        side = 0 if alone[0] else 1
        paired = [_numbers(pair[side]) for pair in match.pairs]
        if all(_numbers(name)[-1:] in ([0], []) for name in alone[side]) and all(
            numbers and numbers[-1] > 0 for numbers in paired
        ):
            return f"only {'AB'[side]} has files of number 0, so that the other may begin at 1"
    return ""


AS_A_LIST = "pairs.csv, with a first line 'a,b' and the two files of a pair on each further one"
"""How to say which files are partners where their names do not."""

MOST_NUMBERS = 3
"""Numbers at the end of a name of which one may count the files: frames of takes of scenes."""


def _count_shifted(
    a: Collection[str], b: Collection[str], rule: Rule, place: int, step: int
) -> int:
    """How many names have a partner if the number that is ``place`` from the end of each of A's is
    ``step`` higher."""
    shifted = []
    for name in a:
        numbers = list(NUMBER.finditer(name))
        if len(numbers) < place:
            continue
        here = numbers[-place]
        number = int(here[0]) + step
        if number >= 0:
            text = str(number).zfill(len(here[0]))
            shifted.append(name[: here.start()] + text + name[here.end() :])
    return len(match(shifted, b, rule).pairs)


def _numbers(name: str) -> list[int]:
    return [int(number) for number in NUMBER.findall(name)]


def _are_reordered(x: str, y: str) -> bool:
    """Whether two names have the same words before their numbers, in another order: the numbers of
    ``x0_y1`` and ``y0_x1`` are equal in order, and say something else."""
    words = [re.findall(r"([^\W\d_]*)\d+", name.rpartition("/")[2].casefold()) for name in (x, y)]
    return words[0] != words[1] and sorted(words[0]) == sorted(words[1])


def narrow(a: Collection[str], b: Collection[str]) -> tuple[int, str, Match] | None:
    """Where a side holds several of each name, such as two kinds of maps: the side (0: A), the
    directory of it that pairs the most with the other side, and these pairs."""
    best: tuple[int, str, Match] | None = None
    for side, names in enumerate((a, b)):
        within: dict[str, list[str]] = {}
        for name in names:
            parts = name.split("/")[:-1]
            for depth in range(1, len(parts) + 1):
                within.setdefault("/".join(parts[:depth]), []).append(name)
        for folder, some in sorted(within.items()):
            if len(some) == len(names):
                continue
            cut = [name.removeprefix(f"{folder}/") for name in some]
            found = propose(cut, b) if side == 0 else propose(a, cut)
            least = LEAST_SHARE * len(b if side == 0 else a)
            if found is not None and len(found.pairs) >= max(
                least, len(best[2].pairs) + 1 if best else 1
            ):
                best = side, folder, found
    return best


def _propose(a: Collection[str], b: Collection[str], rules: Iterator[Rule]) -> Match | None:
    best: Match | None = None
    least = max(1, LEAST_SHARE * min(len(a), len(b)))
    for rule in rules:
        candidate = match(a, b, rule)
        if rule.numbers and any(_are_reordered(x, y) for x, y in candidate.pairs):
            continue
        if len(candidate.pairs) >= least and (
            best is None or len(candidate.pairs) > len(best.pairs)
        ):
            best = candidate
        if best is not None and len(best.pairs) == min(len(a), len(b)):
            break
    return best


def _compose(name: str) -> str:
    """Compose the accents of a name in one way: macOS and other systems write them in two."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def _strip_padding(text: str) -> str:
    return NUMBER.sub(lambda number: str(int(number[0])), text)


def _unique(names: Collection[str], rule: Rule, side: int) -> dict[str, str]:
    name_of: dict[str, str] = {}
    several = set()
    for name in names:
        key = rule.key(name, side)
        if key in name_of:
            several.add(key)
        name_of[key] = name
    for key in (*several, ""):
        name_of.pop(key, None)
    return name_of


def _rules(a: Collection[str], b: Collection[str]) -> Iterator[Rule]:
    """The rules that may pair the names, the plainest first."""
    ends = [_marks(names, SEPARATED_END, WORDS_END, _common_end) for names in (a, b)]
    starts = [_marks(names, SEPARATED_START, WORDS_START, _common_start) for names in (a, b)]
    yield Rule()
    yield Rule(loosely=True)
    for loosely in (False, True):
        for suffixes in product(ends[0], ends[1]):
            yield Rule(suffixes=suffixes, loosely=loosely)
        for prefixes in product(starts[0], starts[1]):
            yield Rule(prefixes=prefixes, loosely=loosely)
    yield Rule(numbers=True)
    for suffixes in product(ends[0], ends[1]):
        for prefixes in product(starts[0], starts[1]):
            yield Rule(prefixes, suffixes, loosely=True)
        yield Rule(suffixes=suffixes, numbers=True)


def _rules_anywhere(a: Collection[str], b: Collection[str]) -> Iterator[Rule]:
    """The same without directories that only one side has; numbers alone would pair strangers."""
    folders = [
        {part for name in names for part in _compose(name).split("/")[:-1]} for names in (a, b)
    ]
    common = frozenset(folders[0] & folders[1])
    if any(folder - common for folder in folders):
        yield from (replace(rule, common=common) for rule in _rules(a, b) if not rule.numbers)


def _marks(
    names: Collection[str],
    separated: re.Pattern[str],
    words: re.Pattern[str],
    common: Callable[[Sequence[str]], str],
) -> list[str]:
    """What may be a side's own mark in its names, nothing first."""
    last = [_compose(name).rpartition("/")[2] for name in names]
    marks = [""]
    for pattern in (separated, words):
        counts = Counter(where[0] for where in map(pattern.search, last) if where)
        marks += [word for word, n in counts.most_common(1) if n >= COMMON_SHARE * len(last)]
    marks.append(common(last))
    return list(dict.fromkeys(marks))


def _common(names: Sequence[str]) -> str:
    """How all of them begin: as far as the first and the last in order do."""
    first, last = min(names), max(names)
    places = (i for i, (x, y) in enumerate(zip(first, last, strict=False)) if x != y)
    return first[: next(places, min(len(first), len(last)))]


def _common_start(names: Sequence[str]) -> str:
    return _common(names).rstrip("0123456789")


def _common_end(names: Sequence[str]) -> str:
    return _common([name[::-1] for name in names]).rstrip("0123456789")[::-1]


MOST_SIDES = 4
"""Files of one name but for its mark: more are a series, as frames are, and no sides."""


def within(names: Sequence[str]) -> tuple[str, str] | None:
    """Two patterns by which files of one directory are partners of each other.

    ``1_A.png`` and ``1_B.png`` give ``*_A.png`` and ``*_B.png``, ``1.jpg`` and ``1.png`` give
    ``*.jpg`` and ``*.png``: most files have a partner, and most partners the same two marks.
    ``None`` where they do not look so.
    """
    for cut in (_split_suffix, _split_last_word, _split_last_letters, _split_first_word):
        groups: dict[str, set[str]] = {}
        for name in names:
            rest, mark = cut(_compose(name))
            groups.setdefault(rest.casefold(), set()).add(mark)
        sets = [marks for marks in groups.values() if 2 <= len(marks) <= MOST_SIDES]
        together = Counter(tuple(sorted(marks)[:2]) for marks in sets)
        if not together or sum(map(len, sets)) < 0.6 * len(names):
            continue
        (first, second), count = together.most_common(1)[0]
        if count >= 0.8 * sum(together.values()):
            return first, second
    return None


def _split_suffix(name: str) -> tuple[str, str]:
    stem, suffix = os.path.splitext(name)
    return stem, f"*{suffix}"


def _split_last_word(name: str) -> tuple[str, str]:
    """``1_A.png`` as ``1`` and ``*_A.png``; a number at the end is a number, not a mark."""
    stem, suffix = os.path.splitext(name)
    match = SEPARATED_END.search(stem)
    mark = match[0] if match and not NUMBER.search(match[0]) else ""
    return stem.removesuffix(mark), f"*{mark}{suffix}"


def _split_last_letters(name: str) -> tuple[str, str]:
    stem, suffix = os.path.splitext(name)
    match = WORDS_END.search(stem) if NUMBER.search(stem) else None
    mark = match[0] if match else ""
    return stem.removesuffix(mark), f"*{mark}{suffix}"


def _split_first_word(name: str) -> tuple[str, str]:
    stem, suffix = os.path.splitext(name)
    match = SEPARATED_START.search(stem)
    mark = match[0] if match and not NUMBER.search(match[0]) else ""
    return stem.removeprefix(mark), f"{mark}*{suffix}"
