"""Directories that are the two sides of pairs, told by their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pix2pix_batch.inputs import litter
from pix2pix_batch.inputs.folder import image_files

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {
    "train": "train", "training": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
"""What people call the splits."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BESIDE_SPLIT = _words(
    """
    set sets data dataset image images img imgs picture pictures photo photos pair pairs ab split
    """
)
"""Words that the name of a split's directory may have besides, and numbers: ``train2017``,
``test_set``, ``val-images``, ``trainAB``."""

LETTERS = ("a", "b")


BEFORE_LETTERS = ("real", "img", "image", "images", "domain", "side")
INPUTS = _words(
    """
    input in source src x condition cond conditioning control sketch edge contour lineart lq
    lr low lowres noisy noise rain rainy haze hazy fog foggy blur blurry blurred degraded
    damaged shadow before day map gray grey grayscale greyscale bw underexposed
    """
)
"""Usual names of what is given, without an ``s`` at the end."""

TARGETS = _words(
    """
    target tgt trg dst destination output out y gt groundtruth hq hr high highres clean clear
    norain sharp restored reference ref after night satellite aerial color colour normal
    expert
    """
)
"""Usual names of what is wanted."""

PICTURES = _words(
    """
    image img photo picture rgb jpegimage frame real
    """
)
"""Names of pictures, given or wanted by what stands beside them."""

MAPS = _words(
    """
    mask label annotation annot ann seg segmentation segmentationclass semantic depth labelmap
    segmap lbl msk
    """
)
"""Names of maps made of pictures; beside pictures, what is wanted."""

JOINED = re.compile(
    f"({'|'.join(sorted(SPLIT_WORDS, key=len, reverse=True))})"
    f"({'|'.join(sorted(BESIDE_SPLIT | MAPS, key=len, reverse=True))}s?)"
)
"""A split's word and another without anything between: ``trainset``, ``trainannot``."""


class Kind(Enum):
    """What a directory's name says it holds."""

    A, B, INPUT, TARGET, PICTURE, MAP = range(6)


KINDS = (
    (INPUTS, Kind.INPUT),
    (TARGETS, Kind.TARGET),
    (PICTURES, Kind.PICTURE),
    (MAPS, Kind.MAP),
)

ORDERS = [
    (Kind.A, Kind.B),
    (Kind.INPUT, Kind.TARGET),
    (Kind.INPUT, Kind.PICTURE),
    (Kind.INPUT, Kind.MAP),
    (Kind.PICTURE, Kind.TARGET),
    (Kind.PICTURE, Kind.MAP),
    (Kind.MAP, Kind.TARGET),
]
"""Which two kinds are sides, A first."""

BESIDE_PLAIN = (Kind.INPUT, Kind.TARGET, Kind.MAP)
"""What pictures in a directory that is called like a split and nothing else may be a side with."""


@dataclass(frozen=True)
class NamedDirectory:
    """A directory by its name: its split, if it says one, and its kind, if it is a side."""

    path: Path
    split: str | None
    kind: Kind | None


def find_order(a: Kind | None, b: Kind | None) -> tuple[int, bool] | None:
    """The place in :data:`ORDERS` of two kinds that are sides, and whether ``b`` is A; ``None``
    where they are none."""
    for place, kinds in enumerate(ORDERS):
        if (a, b) == kinds:
            return place, False
        if (b, a) == kinds:
            return place, True
    return None


@dataclass(frozen=True)
class Sides:
    """The directories of a split that are A and B."""

    split: str
    a: Path
    b: Path


def read_name(path: Path) -> NamedDirectory:
    """Read what a directory's name says of its split and side, such as ``trainA``, ``train_A``,
    ``A``, ``train``, ``val-images`` or ``conditioning_images``."""
    split, words = _read_split(path.name)
    return NamedDirectory(path, split, _kind(words))


def _read_split(name: str) -> tuple[str | None, list[str]]:
    """The split that a directory's name says, and its other words."""
    words = re.findall(r"[a-z]+|[0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name).lower())
    if len(words) == 1 and words[0][:-1] in SPLIT_WORDS and words[0][-1] in LETTERS:
        words = [words[0][:-1], words[0][-1]]
    if words and words[0] not in SPLIT_WORDS and (joined := JOINED.fullmatch(words[0])):
        words[:1] = joined.groups()
    split = None
    for place in (0, -1):
        if words and words[place] in SPLIT_WORDS and split is None:
            split = SPLIT_WORDS[words.pop(place)]
    return split, words


def _kind(words: list[str]) -> Kind | None:
    if len(words) == 2 and words[0] in BEFORE_LETTERS and words[1] in LETTERS:
        words = words[1:]
    if len(words) == 1 and words[0] in LETTERS:
        return (Kind.A, Kind.B)[LETTERS.index(words[0])]
    for form in _forms("".join(words)):
        for known, kind in KINDS:
            if form in known:
                return kind
    # 'input_images', 'mask_images': what is not only a picture decides
    others = [word for word in words if not any(form in PICTURES for form in _forms(word))]
    if len(words) == 2 and len(others) == 1:
        return _kind(others)
    return None


def _forms(word: str) -> Iterator[str]:
    """A word, and what it may be the plural of: ``images``, ``sketches``."""
    yield word
    for end in ("s", "es"):
        if len(word) > 2 + len(end) and word.endswith(end):
            yield word.removesuffix(end)


def list_directories(folder: Path) -> list[Path]:
    """The directories in ``folder`` that may hold data, sorted."""
    try:
        directories = [Path(entry.path) for entry in os.scandir(folder) if entry.is_dir()]
    except OSError:
        return []
    return sorted(path for path in directories if is_data(path.name))


def is_data(name: str) -> bool:
    """Whether a file or directory is the user's, and not left there by a system."""
    return not litter.is_directory(name) and not litter.is_file(name)


def find_sides(data: Path, rasters: bool = False) -> tuple[list[Sides], str]:
    """The sides in ``data``, whatever their files are called; and why they cannot be told.
    ``rasters``: whether files that are rasters and no pictures are images too.

    Splits may lie around the sides, within them, or be part of their names.
    """
    by_split: dict[str, list[NamedDirectory]] = {}
    plain: list[NamedDirectory] = []
    for named in map(read_name, list_directories(data)):
        inner = [read_name(child) for child in list_directories(named.path)]
        if named.kind is None and named.split is not None:
            for child in inner:
                if child.kind is not None and child.split in (None, named.split):
                    by_split.setdefault(named.split, []).append(child)
            plain.append(NamedDirectory(named.path, split_of_name(named.path.name), Kind.PICTURE))
        elif named.kind is not None:
            splits = [child for child in inner if child.split and child.kind is None]
            for child in splits if named.split is None else []:
                assert child.split is not None
                by_split.setdefault(child.split, []).append(
                    NamedDirectory(child.path, child.split, named.kind)
                )
            if named.split or not splits:
                by_split.setdefault(named.split or "train", []).append(named)
    for named in plain:  # 'train' beside 'train_labels'
        beside = by_split.get(named.split or "", [])
        if beside and all(
            folder.path.parent == data and folder.kind in BESIDE_PLAIN for folder in beside
        ):
            beside.append(named)
    every_split: list[Sides] = []
    doubts = []
    for split in SPLITS:
        sides, why = _choose(split, by_split.get(split, []), rasters)
        every_split += sides
        doubts += [why] if why else []
    return every_split, "; ".join(doubts)


def _choose(split: str, listed: list[NamedDirectory], rasters: bool) -> tuple[list[Sides], str]:
    by_kind: dict[Kind, list[Path]] = {}
    for named in listed:
        assert named.kind is not None
        by_kind.setdefault(named.kind, []).append(named.path)
    letters = [by_kind.get(kind, []) for kind in (Kind.A, Kind.B)]
    if any(letters):
        return _choose_by_letters(split, letters)
    possible = [
        (folder, other)
        for first, second in ORDERS
        for folder in by_kind.get(first, [])
        for other in by_kind.get(second, [])
        if _holds_images(folder, rasters) and _holds_images(other, rasters)
    ]
    if not possible:
        return [], ""
    if len(possible) == 1:
        folder, other = possible[0]
        if _is_label_first(folder, other):
            folder, other = other, folder
        return [Sides(split, folder, other)], ""
    names = ", ".join(sorted({path.name for pair in possible for path in pair}))
    parent = possible[0][0].parent
    return [], f"{parent} has several directories that may be A or B: {names}"


def _holds_images(folder: Path, rasters: bool) -> bool:
    """Whether the directory has images, and not text alone as the ``labels`` of detectors."""
    return next(image_files(folder, rasters=rasters), None) is not None


def _choose_by_letters(split: str, letters: list[list[Path]]) -> tuple[list[Sides], str]:
    for paths in letters:
        if len(paths) > 1:
            return [], f"{paths[0]} and {paths[1]} may both be a side of {split!r}"
    (a, *_), (b, *_) = ([*paths, None] for paths in letters)
    if a is None or b is None:
        there = a or b
        assert there is not None
        lacking = there.with_name(_other_letter(there.name))
        if there.name in SPLIT_WORDS:  # B/train, and no A
            lacking = there.parent.with_name(_other_letter(there.parent.name)) / there.name
        a, b = a or lacking, b or lacking
    return [Sides(split, a, b)], ""


def _other_letter(name: str) -> str:
    """``trainB`` of ``trainA``: the last letter of its kind is the side's."""
    swapped = {"a": "b", "b": "a", "A": "B", "B": "A"}
    for place in (-1, 0):
        if name[place] in swapped:
            letters = list(name)
            letters[place] = swapped[letters[place]]
            return "".join(letters)
    return name


def _is_label_first(picture: Path, labels: Path) -> bool:
    """pix2pixHD's ``train_label`` is the input of its ``train_img``."""
    return read_name(picture).split is not None and (
        (picture.name.lower(), labels.name.lower())
        in {(f"{word}_img", f"{word}_label") for word in SPLIT_WORDS}
    )


def splits_of(data: Path) -> dict[str, list[Path]]:
    """The directories in ``data`` that are splits by their names, by split."""
    splits: dict[str, list[Path]] = {}
    for path in list_directories(data):
        if split := split_of_name(path.name):
            splits.setdefault(split, []).append(path)
    return {split: splits[split] for split in SPLITS if split in splits}


def split_of_name(name: str) -> str | None:
    """The split that a directory called ``name`` is, and nothing else: not ``test_flight``."""
    split, others = _read_split(name)
    is_only = all(word in BESIDE_SPLIT or word.isdecimal() for word in others)
    return split if is_only else None


def find_doubtful_splits(data: Path) -> list[Path]:
    """Directories beside each other in ``data`` whose names say several splits, and which are not
    taken for them, as their names say more."""
    named = [(path, _read_split(path.name)[0]) for path in list_directories(data)]
    doubtful = [path for path, split in named if split and not split_of_name(path.name)]
    return doubtful if len({split for _, split in named if split}) > 1 else []


def stem_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
