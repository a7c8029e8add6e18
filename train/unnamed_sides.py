"""The two sides of pairs that no directory is called after, told by the names of their files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.train import partners
from pix2pix_batch.train.sides import find_order, read_name, stem_of

MOST_COMPARED = 8
"""Sibling directories whose files' names are compared: more are classes or scenes."""

LEAST_COVERED = 0.5
"""Of all files, how many must lie where files have two marks for these to be sides'."""

Below = Mapping[Path, Mapping[Path, list[Path]]]
"""The directories in a directory that hold images, each with all that lie below it."""


@dataclass(frozen=True)
class Partners:
    """What files' names show to be two sides, though no directory is called so: two directories
    of equal or nearly equal names, or two patterns of files or directories. Both are empty where
    the names leave it open which they are."""

    first: str
    second: str
    what: str


def find_unnamed(pair_directories: list[Path], rasters: bool = False) -> Iterator[Partners]:
    """Sides among the files of ``pair_directories``, whose images are side by side, as it seems."""
    for folder in pair_directories:
        by_parent: dict[Path, list[Path]] = {}
        for path in image_files(folder, rasters=rasters):
            by_parent.setdefault(path.parent, []).append(path)
        yield from _find_siblings(folder, by_parent)
        yield from _find_in_directories(folder, by_parent)
        yield from _find_beside(folder, by_parent)


def _find_siblings(folder: Path, by_parent: Mapping[Path, list[Path]]) -> Iterator[Partners]:
    """Directories beside each other whose files are called alike, here or in each of several
    directories such as scenes."""
    below: dict[Path, dict[Path, list[Path]]] = {}
    for parent, paths in by_parent.items():
        place = parent
        while place != folder:
            below.setdefault(place.parent, {}).setdefault(place, []).extend(paths)
            place = place.parent
    for here in sorted(below):
        if len(below[here]) > MOST_COMPARED:
            continue
        found = _find_alike(below[here])
        if found is None:
            continue
        first, other, rule = found
        if inner := _find_inner(below, first, other):
            level = _choose_level([place.name for place in below[here]], inner)
            if level == "inner":
                continue
            if not level:
                what = (
                    f"the files in {first} and {other} are called alike, and so are those in "
                    f"{' and '.join(inner)} within each"
                )
                yield Partners("", "", what)
                return
        base = _join(folder, _list_alike(below, here, first.name, other.name))
        what = f"the files in {base / first.name} and {base / other.name} are called alike ({rule})"
        yield Partners(str(base / first.name), str(base / other.name), what)


def _find_inner(below: Below, first: Path, other: Path) -> list[str]:
    """The names of directories, or marks of files, somewhere in two that are called alike which
    may be sides as well as those."""
    for paths in (below[first.parent][first], below[other.parent][other]):
        here = [path.name for path in paths if path.parent == paths[0].parent]
        if patterns := partners.within(here):
            return [os.path.splitext(pattern.replace("*", ""))[0] for pattern in patterns]
    for place in sorted(below):
        if not place.is_relative_to(first) or len(below[place]) > MOST_COMPARED:
            continue
        counterpart = below.get(other / place.relative_to(first), {})
        shared = {one.name for one in below[place]} & {one.name for one in counterpart}
        if len(shared) > 1 and _find_alike(below[place]) is not None:
            return sorted(shared)
    return []


def _find_alike(beside: Mapping[Path, list[Path]]) -> tuple[Path, Path, partners.Rule] | None:
    """Two directories whose files are called alike, those first that are called like sides."""
    names = {
        place: [stem_of(path, place) for path in paths] for place, paths in sorted(beside.items())
    }
    kinds = {place: read_name(place).kind for place in names}
    known, unknown = [], []
    for first, other in combinations(names, 2):
        order = find_order(kinds[first], kinds[other])
        if order is None:
            unknown.append((first, other))
        else:
            place, is_reverse = order
            known.append((place, (other, first) if is_reverse else (first, other)))
    for first, other in [*(pair for _, pair in sorted(known)), *unknown]:
        match = partners.propose(names[first], names[other])
        share = len(match.pairs) / max(len(names[first]), len(names[other])) if match else 0
        if match and share >= partners.LEAST_SHARE:
            return first, other, match.rule
    return None


def _choose_level(outer: Sequence[str], inner: Sequence[str]) -> str:
    """Which names are sides' where those of directories and of directories in them may be:
    ``outer``, ``inner``, or empty where nothing tells."""
    for tells in (_has_sides, lambda names: not _is_series(names)):
        outer_may, inner_may = tells(outer), tells(inner)
        if outer_may != inner_may:
            return "outer" if outer_may else "inner"
    return ""


def _has_sides(names: Sequence[str]) -> bool:
    """Whether two of the names are usual ones of two sides."""
    kinds = [read_name(Path(name)).kind for name in names]
    return any(find_order(*pair) is not None for pair in combinations(kinds, 2))


def _is_series(names: Sequence[str]) -> bool:
    """Whether the names differ in numbers alone, as those of scenes."""
    return len({partners.NUMBER.sub("0", name) for name in names}) == 1


def _list_alike(below: Below, here: Path, first: str, other: str) -> list[Path]:
    """The directories as deep as ``here`` that hold two of these names, too."""
    return [
        place
        for place, beside in below.items()
        if len(place.parts) == len(here.parts)
        and {first, other} <= {directory.name for directory in beside}
    ]


def _join(folder: Path, places: Collection[Path]) -> Path:
    """A pattern of all these directories in ``folder``."""
    parts = [place.relative_to(folder).parts for place in places]
    if len(set(map(len, parts))) > 1:
        return folder / "**"
    alike = zip(*parts, strict=True)
    return folder.joinpath(*(one[0] if len(set(one)) == 1 else "*" for one in alike))


def _find_in_directories(folder: Path, by_parent: Mapping[Path, list[Path]]) -> Iterator[Partners]:
    """A directory a pair, each with files of the same few names."""
    sets: Counter[tuple[str, ...]] = Counter()
    places: dict[tuple[str, ...], Path] = {}
    for parent, paths in by_parent.items():
        names = tuple(sorted(path.name for path in paths))
        if parent != folder and 2 <= len(names) <= partners.MOST_SIDES:
            sets[names] += 1
            places.setdefault(names, parent)
    if not sets:
        return
    names, count = sets.most_common(1)[0]
    is_numbered = all(partners.NUMBER.fullmatch(Path(name).stem) for name in names)
    if count < 2 or 2 * count < len(by_parent) or is_numbered:
        return
    if len(names) > 2 and partners.within(names):  # several pairs in each
        return
    within = places[names].relative_to(folder)
    base = folder.joinpath(*("*" for _ in within.parts))
    what = f"{count:,} directories in {folder} hold {' and '.join(names)} each"
    yield Partners(str(base / names[0]), str(base / names[1]), what)


def _find_beside(folder: Path, by_parent: Mapping[Path, list[Path]]) -> Iterator[Partners]:
    """Files beside each other that are called alike but for a mark of each side."""
    places: dict[tuple[str, str], list[Path]] = {}
    for parent, paths in by_parent.items():
        if patterns := partners.within([path.name for path in paths]):
            places.setdefault(patterns, []).append(parent)
    for (first, second), parents in places.items():
        base = _join(folder, parents)
        what = f"the files {first} and {second} in {base} are called alike"
        covered = sum(len(by_parent[parent]) for parent in parents)
        if covered < LEAST_COVERED * sum(map(len, by_parent.values())):  # perhaps by chance
            yield Partners("", "", what)
        else:
            yield Partners(str(base / first), str(base / second), what)
