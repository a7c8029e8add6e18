"""``dataset pair``: a manifest of the files of two directories, or two patterns, that belong
together by their names."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.train import manifest, partners
from pix2pix_batch.train.sides import read_name, split_of_name

WILD = re.compile(r"[*?]")
MOST_LOOKED_AT = 1000
"""Pairs among which an example is chosen."""


@dataclass(frozen=True)
class Paired:
    """What was listed: how many pairs, by which rule, an example, the files that were not, and how
    many pairs are of each split."""

    pairs: int
    rule: str
    example: tuple[Path, Path]
    alone: list[Path] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)


def list_pairs(a: str, b: str, file: Path) -> Paired:
    """Find the partners among images of A and B, and write them as a manifest.

    Args:
        a: A directory, or a pattern of files or directories in which ``*`` stands for any part of a
            name and ``**`` for directories too.
        b: The same of the other side. Partners have the same in place of each ``*``.
        file: The manifest to write.

    Raises:
        InputError: Nothing matches, or less than half does, or perhaps neighbours do.
    """
    if not manifest.is_manifest(file) or file.suffix.lower() != ".csv":
        raise InputError(f"{file}: a manifest's name ends in .csv")
    if file.exists():
        raise InputError(f"{file}: exists; choose another name, or remove it")
    same: list[Path] = []
    sides = [_files(a, same), _files(b, same)]
    for pattern, files in zip((a, b), sides, strict=True):
        if not files:
            raise InputError(f"{pattern}: no image is there; give a directory or a quoted pattern")
    both = set(sides[0].values()) & set(sides[1].values())
    if both:  # '*.png' is all that '*_mask.png' is not
        wider = 0 if len(sides[0]) >= len(sides[1]) else 1
        sides[wider] = {key: path for key, path in sides[wider].items() if path not in both}
    if not all(sides):
        raise InputError(f"{a} and {b} match the same files; give patterns that tell A from B")
    match = partners.propose(*sides)
    if match is None:
        raise InputError(_describe_strangers(a, b, sides))
    if doubt := partners.find_offset(sides[0], sides[1], match):
        raise InputError(
            f"{a} and {b}: {doubt}. If equal numbers do belong together, remove the files without "
            f"a partner; else rename one side, or write a manifest yourself: {partners.AS_A_LIST}"
        )
    rows = [(sides[0][x], sides[1][y]) for x, y in match.pairs]
    # a name of several different numbers shows best which of them were compared
    example = max(
        rows[:MOST_LOOKED_AT], key=lambda row: len(set(partners.NUMBER.findall(row[0].stem)))
    )
    splits = [split_of(x, a) for x, _ in rows]
    manifest.write(file, ((x, y, split) for (x, y), split in zip(rows, splits, strict=True)))
    paired = {path for row in rows for path in row}
    alone = [path for side in sides for path in side.values() if path not in paired]
    return Paired(len(rows), str(match.rule), example, [*same, *alone], dict(Counter(splits)))


def _describe_strangers(a: str, b: str, sides: Sequence[Mapping[str, Path]]) -> str:
    """The message where the names show no pairs."""
    what = (
        f"{a} and {b}: their names show no pairs ({len(sides[0]):,} and {len(sides[1]):,} images, "
        f"such as {next(iter(sides[0].values()))} and {next(iter(sides[1].values()))}); "
    )
    narrower = None if WILD.search(a + b) else partners.narrow(*sides)
    if narrower is None:
        return f"{what}write the manifest by another program"
    side, within, found = narrower
    place = Path((a, b)[side]) / within
    return f"{what}give {place} instead, in which {len(found.pairs):,} have a partner"


def split_of(path: Path, wild_path: str) -> str:
    """The split that a directory on the way to ``path`` is called after, or what a star in the
    directory's pattern stands for; ``train`` where none."""
    base = _base(wild_path)
    inner = Path(wild_path).relative_to(base).parts
    if "**" in inner:
        inner = inner[: inner.index("**")]
    for part, pattern in zip_longest(path.parent.relative_to(base).parts, inner):
        named = read_name(Path(part or ""))
        if named.split and (named.kind or split_of_name(part)):
            return named.split
        if part and pattern and (matched := re.fullmatch(_expression(pattern), part)):
            for what in filter(None, matched.groups()):
                if split := split_of_name(what):
                    return split
    for part in reversed(base.parts[-2:]):
        named = read_name(Path(part))
        if named.split and (named.kind or split_of_name(part)):
            return named.split
    return "train"


def _base(pattern: str) -> Path:
    """The directory that ``pattern`` is, or that it begins with."""
    wild = WILD.search(pattern)
    if wild is None:
        return Path(pattern)
    return Path(pattern[: wild.start()].rpartition("/")[0] or ("/" if pattern[0] == "/" else "."))


def _files(pattern: str, same: list[Path]) -> dict[str, Path]:
    """The images that ``pattern`` matches, by what partners share of their paths. ``same`` gets
    those that share it with another of their side, so that no partner can be chosen."""
    files: dict[str, list[Path]] = {}
    for key, path in _match_files(pattern):
        files.setdefault(key, []).append(path)
    same += [path for paths in files.values() if len(paths) > 1 for path in paths]
    return {key: paths[0] for key, paths in files.items() if len(paths) == 1}


def _match_files(wild_path: str) -> Iterator[tuple[str, Path]]:
    if not WILD.search(wild_path):
        folder = Path(wild_path)
        if not folder.is_dir():
            raise InputError(f"{wild_path}: there is no such directory")
        for path in image_files(folder):
            yield path.relative_to(folder).with_suffix("").as_posix(), path
        return
    base = _base(wild_path)
    pattern = re.compile(_expression(os.path.normpath(wild_path)))
    for path in image_files(base):
        text = os.path.normpath(path)
        for form in (text, os.path.splitext(text)[0]):
            if matched := pattern.fullmatch(form):
                parts = [part for part in matched.groups() if part]
                if matched["below"] is not None:  # the pattern named a directory
                    parts[-1] = os.path.splitext(parts[-1])[0]
                yield "/".join(parts), path
                break


def _expression(pattern: str) -> str:
    """A regular expression with a group for each wildcard, and one for what lies below."""
    parts = []
    for word in re.split(r"(\*\*/?|\*|\?)", pattern):
        if word.startswith("**"):
            parts.append(r"(?:(.*)/)?" if word.endswith("/") else r"(.*)")
        elif word == "*":
            parts.append(r"([^/]*)")
        elif word == "?":
            parts.append(r"([^/])")
        else:
            parts.append(re.escape(word))
    return "".join(parts) + r"(?:/(?P<below>.*))?"
