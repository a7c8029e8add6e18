"""Paired image files: which layouts there are, and how a directory's pairs are found.

``docs/data.md`` shows each layout. Nothing is dropped silently: :func:`find` raises, or, for
``dataset check``, :func:`survey` reports, whatever has no partner or cannot be used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from pix2pix_batch.dataset.layout import PAIRED
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import manifest, partners, plausible, sides, threads
from pix2pix_batch.train.pair_files import Pair, Reader, check_headers
from pix2pix_batch.train.partners import Rule
from pix2pix_batch.train.sides import Sides

Layout = Literal["side-by-side", "folders", "manifest"]
SHOWN = 5
FEW = 10
"""Files without partner that are named one by one."""

HEADER = 1 << 20
"""Bytes of a dataset manifest's first line at most."""

EXPECTED = (
    "images with A and B side by side (in train/, val/, test/ or directly in a directory), "
    "directories A/ and B/ with files of equal names, or a manifest (.csv or .jsonl)"
)
"""What the data may be."""


@dataclass
class Survey:
    """What lies in a directory: its pairs, and every problem as ``(file, what is wrong)``.

    ``walked``: the directories of which every image is taken for a pair; ``sides``: those of two
    sides; ``hint``: what to do about files without partner, where that is not told with them;
    ``links``: those to directories within, which are not followed; ``doubts``: by the directories'
    names; ``rasters``: whether files that are rasters and no pictures are images too.
    """

    data: Path
    layout: Layout
    pairs: list[Pair] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    walked: list[Path] = field(default_factory=list)
    sides: list[Sides] = field(default_factory=list)
    hint: str = ""
    links: int = 0
    doubts: list[str] = field(default_factory=list)
    rasters: bool = False

    def split(self, name: str) -> list[Pair]:
        return [pair for pair in self.pairs if pair.split == name]

    def list_files(self, folder: Path) -> Iterator[Path]:
        """The images below ``folder``; links to directories are counted."""
        left = LeftAlone()
        yield from image_files(folder, left, self.rasters)
        self.links += left.links

    def describe_links(self) -> str:
        """What to say of links to directories; empty where there are none."""
        if not self.links:
            return ""
        links, are = format_count(self.links, "link"), "is" if self.links == 1 else "are"
        return (
            f"{links} to directories {are} not followed, and what lies there is not used; put the "
            "files themselves there, or list them in a manifest"
        )

    def counts(self) -> Counter[str]:
        return Counter(pair.split for pair in self.pairs)

    def name_sides(self) -> str:
        """Which directories are A and which B, where their names do not say so themselves."""
        kinds = [sides.read_name(side).kind for part in self._directories() for side in part]
        if set(kinds) <= {sides.Kind.A, sides.Kind.B}:
            return ""
        names = [dict.fromkeys(side.name for side in part) for part in self._directories()]
        return ", ".join(f"{'AB'[i]}: {'/, '.join(listed)}/" for i, listed in enumerate(names)
                         if listed)  # fmt: skip

    def _directories(self) -> tuple[list[Path], list[Path]]:
        """A's and B's directories, not those of splits in them."""
        found: tuple[list[Path], list[Path]] = ([], [])
        for one in self.sides:
            for listed, side in zip(found, (one.a, one.b), strict=True):
                listed.append(side.parent if sides.read_name(side).kind is None else side)
        return found


def survey(data: Path, *, val_fraction: float = 0.1, rasters: bool = False) -> Survey:
    """Find every pair in ``data`` by the names alone; ``rasters``: as of :class:`Survey`. Raises
    :class:`InputError` if there is no layout to be seen.

    Where no ``val`` split is given, ``val_fraction`` of the training pairs become one, chosen by
    their names, so that adding pairs moves none from one split to the other.
    """
    if data.is_file():
        if not manifest.is_manifest(data):
            raise InputError(
                f"{data}: is a file, and by its name no manifest. Expected {EXPECTED}; unpack "
                "archives first"
            )
        found = _manifest(data)
    elif not data.is_dir():
        raise InputError(f"{data}: there is no such directory or manifest")
    elif listed := next(
        (path for path in sorted(data.glob("pairs.*")) if manifest.is_manifest(path)), None
    ):
        found = _manifest(listed)
    else:
        # a dataset says what it is: its inputs' own folders may be called a and b, too
        is_beside = _require_paired(data) == "side-by-side"
        folders = None if is_beside else _folders(data, rasters)
        found = folders or _side_by_side(data, rasters)
    if not found.pairs and not found.problems:
        if unread := unread_in(found.data):
            raise InputError(f"{data}: no pairs found, but images that are not read here: {unread}")
        raise InputError(
            f"{data}: no pairs found. Expected {EXPECTED}; see 'pix2pix-batch dataset check --help'"
        )
    if val_fraction and not found.problems:
        hold_out(found, val_fraction)
    return found


def unread_in(folder: Path) -> str:
    """The images below a directory that are of kinds that are not read, and what to do."""
    left = LeftAlone()
    for _ in image_files(folder, left):
        pass
    return "; ".join(left.unread.lines())


def _require_paired(data: Path) -> str:
    """The layout of a dataset of ``synthesize``, empty for others.

    Raises :class:`InputError` for a dataset of ``synthesize`` that is for other readers: its
    inputs and outputs would be taken for pairs side by side."""
    try:
        with (data / "manifest.jsonl").open("rb") as file:
            layout = json.loads(file.readline(HEADER))["settings"]["layout"]
    except (OSError, ValueError, KeyError, TypeError):  # another file of that name
        return ""
    if layout not in PAIRED:
        raise InputError(
            f"{data}: is a dataset of 'synthesize' with --layout {layout}; the trainer reads "
            f"{' and '.join(PAIRED)}: make it with one of these"
        )
    return str(layout)


def find(data: Path, *, val_fraction: float = 0.1, rasters: bool = False) -> Survey:
    """As :func:`survey`, but raises :class:`InputError` for the first problems."""
    found = survey(data, val_fraction=val_fraction, rasters=rasters)
    require_sound(data, found.problems, found.hint)
    return found


def require_sound(data: Path, problems: Sequence[tuple[str, str]], hint: str = "") -> None:
    """Raises :class:`InputError` with the first of ``problems``, if there are any, and ``hint``."""
    if not problems:
        return
    listed = "; ".join(f"{file}: {what}" for file, what in problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise InputError(
        f"{listed}{more}. 'pix2pix-batch dataset check {data}' lists them all; mend or remove "
        f"these files{hint and '. '}{hint}"
    )


def _side_by_side(data: Path, rasters: bool) -> Survey:
    """Raises :class:`InputError` where the files' names show two sides."""
    _require_no_data_within(data, rasters)
    found = Survey(data, "side-by-side", rasters=rasters)
    splits = sides.splits_of(data)
    _require_no_directories_in_names(data)
    for split, folders in splits.items():
        if len(folders) > 1:
            names = " and ".join(folder.name for folder in folders)
            raise InputError(f"{data}: {names} are both {split!r}; keep one, or rename the other")
    for split, (folder,) in splits.items() if splits else [("train", [data])]:
        found.walked.append(folder)
        for path in found.list_files(folder):
            found.pairs.append(Pair(sides.stem_of(path, folder), split, path))
    if doubtful := sides.find_doubtful_splits(data):
        names = ", ".join(escape(path.name) for path in doubtful[:SHOWN])
        found.doubts.append(
            f"{names}: called like splits, but not taken for them; call directories train, val and "
            "test if they are"
        )
    for seeming in sides.find_unnamed(found.walked, rasters):
        if not _are_side_by_side(found.pairs):
            first, second = seeming.first, seeming.second
            if len(splits) > 1:  # those of all splits
                first, second = (_in_any_split(data, place) for place in (first, second))
            raise InputError(
                f"{data}: {seeming.what}: two sides of pairs, it seems, not images with A and B "
                f"side by side; which of them is A? {remedy(data, first, second)}"
            )
    return found


def _require_no_directories_in_names(data: Path) -> None:
    """Raises :class:`InputError` where files' names hold the directories of sides or splits, as
    programs leave them that unpack an archive of Windows elsewhere (``A\\1.png``)."""
    for path in image_files(data):
        for part in path.name.split("\\")[:-1]:
            named = sides.read_name(Path(part))
            if named.split or named.kind:
                raise InputError(
                    f"{data}: the names of files hold directories, such as {escape(path.name)}, as "
                    "an archive made on Windows may leave them; unpack it with a program that "
                    "makes directories of them, as 7z does"
                )


def _require_no_data_within(data: Path, rasters: bool) -> None:
    """Raises :class:`InputError` where a directory of ``data`` holds sides: of those, and only
    those, all names are told."""
    splits = [folder for listed in sides.splits_of(data).values() for folder in listed]
    plain = [path for path in sides.list_directories(data) if path not in splits]
    inner = [path for path in plain if any(sides.find_sides(path, rasters))]
    if len(inner) == 1 and len(plain) == 1:
        raise InputError(f"{data}: the pairs lie in {inner[0]}; give that directory")
    if len(inner) > 1:
        names = ", ".join(map(str, inner[:SHOWN]))
        raise InputError(f"{data}: holds several directories of pairs ({names}); give one of them")


def _in_any_split(data: Path, place: str) -> str:
    parts = Path(place).relative_to(data).parts
    return str(data.joinpath("*", *parts[1:]))


def remedy(data: Path, a: str, b: str) -> str:
    """The command that lists the pairs of two directories or patterns."""
    words = " ".join(shlex.quote(word) for word in (a, b, str(data / "pairs.csv")))
    return f"'pix2pix-batch dataset pair {words}' (A first) lists the pairs; then give {data} again"


def _are_side_by_side(listed: Sequence[Pair]) -> bool:
    """Whether what they show leaves no doubt of it."""
    some = [listed[round(i)] for i in np.linspace(0, len(listed) - 1, plausible.COMPARED)]
    some = list(dict.fromkeys(some))
    return not check_headers(some) and not doubts("side-by-side", some)


def _folders(data: Path, rasters: bool) -> Survey | None:
    """Two directories, by their names, with splits inside, around or in their names."""
    found = Survey(data, "folders", rasters=rasters)
    found.sides, why = sides.find_sides(data, rasters)
    if why:
        raise InputError(f"{data}: {why}. {remedy(data, f'{data}/INPUTS', f'{data}/TARGETS')}")
    for one in found.sides:
        _match(found, one)
    return found if found.sides else None


def _match(found: Survey, one: Sides) -> None:
    """Pair the files of two directories by their paths without suffix."""
    for folder in (one.a, one.b):
        if not folder.is_dir():
            found.problems.append((str(folder), "there is no such directory"))
            places = [str(side) if side.is_dir() else "OTHER" for side in (one.a, one.b)]
            found.hint = f"Where the partners lie elsewhere, {remedy(found.data, *places)}"
            return
    stems: list[dict[str, Path]] = [{}, {}]
    for side, folder in zip(stems, (one.a, one.b), strict=True):
        for path in found.list_files(folder):
            stem = sides.stem_of(path, folder)
            if stem in side:
                found.problems.append((str(path), f"has the same name as {side[stem].name}"))
            side[stem] = path
    a, b = stems
    for here, there in partners.match(a.keys() - b.keys(), b.keys() - a.keys(), Rule()).pairs:
        b[here] = b.pop(there)  # the same text, its accents composed otherwise
    for stem in sorted(a.keys() & b.keys()):
        found.pairs.append(Pair(stem, one.split, a[stem], b[stem]))
    lonely = list(_partnerless(found.data, one, a, b))
    found.problems += lonely
    if lonely and len(lonely) == len(a.keys() ^ b.keys()):  # each by itself, without a remedy
        found.hint = (
            "Partners have equal names. Where they are pairs by other names, give patterns, or "
            f"list them yourself in a manifest: {remedy(found.data, str(one.a), str(one.b))}"
        )


def _partnerless(
    data: Path, one: Sides, a: dict[str, Path], b: dict[str, Path]
) -> Iterator[tuple[str, str]]:
    """Each file without partner where they are few, else all of them in one with what to do."""
    paired = len(a.keys() & b.keys())
    alone = sorted(a.keys() ^ b.keys())
    if not alone:
        return
    better = partners.propose(a, b) if a and b else None
    if better is not None and len(better.pairs) > paired:
        first, second = better.pairs[0]
        yield (
            str(one.a),
            f"{len(alone):,} of {len(a) + len(b):,} files here and in {one.b} have no partner of "
            f"the same name; {better.rule}, such as {a[first].name} and {b[second].name}, "
            f"{len(better.pairs):,} pair. {remedy(data, str(one.a), str(one.b))}",
        )
        return
    if len(alone) <= FEW:
        for stem in alone:
            lacking, has = (one.a, b[stem]) if stem in b else (one.b, a[stem])
            yield str(has), f"has no partner {stem!r} in {lacking}"
        return
    yield (
        str(one.a),
        f"{len(alone):,} of {len(a) + len(b):,} files here and in {one.b} have no partner by "
        f"their names, such as {', '.join((a.get(stem) or b[stem]).name for stem in alone[:3])}. "
        "If they are pairs, give partners equal names, or list them in a manifest (pairs.csv); "
        "unpaired images, as CycleGAN takes, cannot be trained on here",
    )


def _manifest(path: Path) -> Survey:
    """A CSV or JSONL file with ``a``, ``b`` and perhaps ``split``; paths relative to the file."""
    found = Survey(path.parent, "manifest")
    for row in manifest.read_rows(path):
        a, b = path.parent / row.a, path.parent / row.b
        missing = [file for file in (a, b) if not os.path.isfile(file)]  # of any length
        for file in missing:
            what = "no file" if os.path.isdir(file) else row.refusal or "not there"
            found.problems.append((str(file), f"named in {row.place}, but {what}"))
        if not missing:
            found.pairs.append(Pair(row.a.with_suffix("").as_posix(), row.split, a, b))
    return found


def hold_out(found: Survey, fraction: float) -> None:
    """Make a ``val`` split of about ``fraction`` of the training pairs, where there is none.

    Raises :class:`InputError` where there is one training pair only.
    """
    train = found.split("train")
    if found.split("val") or not train:
        return
    if len(train) == 1:
        raise InputError(
            f"{found.data}: holds one training pair only, and none for validation; give more "
            "pairs, or set val_fraction=0 to train on it without validation"
        )
    ranked = sorted(train, key=lambda pair: _unit_hash(pair.name))
    chosen = {id(pair) for pair in ranked if _unit_hash(pair.name) < fraction}
    chosen = chosen or {id(ranked[0])}
    if len(chosen) == len(train):
        chosen.discard(id(ranked[-1]))
    found.pairs = [Pair(p.name, "val", p.a, p.b) if id(p) in chosen else p for p in found.pairs]


def _unit_hash(name: str) -> float:
    """A number in [0, 1) that depends on the name alone."""
    return (
        int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        / 2**64
    )


def doubts(
    layout: Layout,
    listed: Sequence[Pair],
    channels: tuple[int, int] = (3, 3),
    reader: Reader | None = None,
) -> list[str]:
    """Why the images may be no pairs, or not as meant, by what some of them show.

    For pairs whose headers are sound. ``channels``: those that A and B are read with.
    """
    reader, found = reader or Reader(), []
    if layout == "side-by-side" and not any(is_wide(pair, reader) for pair in listed):
        found.append(NOT_WIDE)
    evidence = plausible.Evidence(layout == "side-by-side")
    places = np.linspace(0, len(listed) - 1, min(len(listed), plausible.COMPARED))
    chosen = [listed[round(place)] for place in places]
    for one in threads.map_ahead(lambda pair: _compare_pair(pair, channels, reader), chosen):
        if one is not None:
            evidence.add(one)
    return found + evidence.doubts()


NOT_WIDE = (
    "no image is wider than high; are these really A and B side by side? If not, give the "
    "directory that holds A/ and B/"
)


def is_wide(pair: Pair, reader: Reader) -> bool:
    """The usual shapes side by side are wider than high."""
    try:
        width, height = reader.size(pair.a)
    except ImageError:
        return False
    return width > height


def _compare_pair(
    pair: Pair, channels: tuple[int, int], reader: Reader
) -> plausible.PairComparison | None:
    try:
        return plausible.compare_sides(*reader.pair(pair, channels), pair.b is None)
    except ImageError:  # training, or dataset check, names it
        return None
