"""Paired image files: which layouts there are, and how a directory's pairs are found.

``docs/data.md`` shows each layout. Nothing is dropped silently: :func:`find` raises, or, for
``dataset check``, :func:`survey` reports, whatever has no partner or cannot be used.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pix2pix_batch.dataset.layout import PAIRED
from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import pages
from pix2pix_batch.inputs.choice import LeftAlone
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import escape, format_count
from pix2pix_batch.train import manifest, partners, plausible, sides
from pix2pix_batch.train.pair_doubts import find_doubts
from pix2pix_batch.train.pair_files import Pair, check_headers
from pix2pix_batch.train.partners import Rule
from pix2pix_batch.train.sampling import spread_indices
from pix2pix_batch.train.sides import Sides
from pix2pix_batch.train.survey import Survey, hold_out
from pix2pix_batch.train.unnamed_sides import find_unnamed

SHOWN = 5
FEW = 10
"""Files without partner that are named one by one."""

HEADER = 1 << 20
"""Bytes of a dataset manifest's first line at most."""

HELD_OUT = re.compile(r"(?i)eval|hold.?out|unseen|test|val")
"""In the names of directories whose pairs are not for training, it seems."""

EXPECTED = (
    "images with A and B side by side (in train/, val/, test/ or directly in a directory), "
    "directories A/ and B/ with files of equal names, or a manifest (.csv or .jsonl)"
)
"""What the data may be."""


def survey(data: Path, *, val_fraction: float = 0.1, rasters: bool = False) -> Survey:
    """Find every pair in the data by the names of the files alone.

    Args:
        data: A directory of pairs, or a manifest.
        val_fraction: If there is no ``val`` split, this share of the training pairs becomes one.
            They are chosen by their names, so that adding pairs moves none from one split to the
            other.
        rasters: Whether files that are no pictures count, as in :class:`Survey`.

    Raises:
        InputError: No layout can be seen.
    """
    if data.is_file():
        if not manifest.is_manifest(data):
            raise InputError(
                f"{data}: is a file, and by its name no manifest. Expected {EXPECTED}; unpack "
                "archives first"
            )
        surveyed = _manifest(data)
    elif not data.is_dir():
        raise InputError(f"{data}: there is no such directory or manifest")
    elif listed := [path for path in sorted(data.glob("pairs.*")) if manifest.is_manifest(path)]:
        if len(listed) > 1:
            names = " and ".join(path.name for path in listed)
            raise InputError(
                f"{data}: holds {names}; give the one that counts, or remove the other"
            )
        surveyed = _manifest(listed[0])
    else:
        # a dataset says what it is: its inputs' own folders may be called a and b, too
        is_beside = _require_paired(data) == "side-by-side"
        folders = None if is_beside else _folders(data, rasters)
        surveyed = folders or _side_by_side(data, rasters)
    if not surveyed.pairs and not surveyed.problems:
        if unread := unread_in(surveyed.data):
            raise InputError(f"{data}: no pairs found, but images that are not read here: {unread}")
        raise InputError(
            f"{data}: no pairs found. Expected {EXPECTED}; see 'pix2pix-batch dataset check --help'"
        )
    if val_fraction and not surveyed.problems:
        hold_out(surveyed, val_fraction)
    return surveyed


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
    """Find every pair as :func:`survey` does, and refuse data with problems.

    Args:
        data: As in :func:`survey`.
        val_fraction: As in :func:`survey`.
        rasters: As in :func:`survey`.

    Raises:
        InputError: There is no layout, or there are problems; names the first.
    """
    surveyed = survey(data, val_fraction=val_fraction, rasters=rasters)
    require_sound(data, surveyed.problems, surveyed.hint)
    return surveyed


def require_sound(data: Path, problems: Sequence[tuple[str, str]], hint: str = "") -> None:
    """Refuse data that has problems.

    Args:
        data: The data, for the message.
        problems: Files, and what is wrong with them.
        hint: What the user can do; empty if there is nothing to say.

    Raises:
        InputError: There are problems; names the first.
    """
    if not problems:
        return
    alike: dict[str, list[str]] = {}
    for file, what in problems:
        alike.setdefault(what, []).append(file)
    shown = list(alike.items())[:SHOWN]
    listed = "; ".join(f"{_name_first(files)}: {what}" for what, files in shown)
    left = len(problems) - sum(len(files) for _, files in shown)
    more = f"; and {left} more" if left else ""
    raise InputError(
        f"{listed}{more}. 'pix2pix-batch dataset check {data}' lists them all; mend or remove "
        f"these files{hint and '. '}{hint}"
    )


def _name_first(files: Sequence[str]) -> str:
    """The first of them, and how many others."""
    return files[0] + (f" and {format_count(len(files) - 1, 'other')}" if len(files) > 1 else "")


def _side_by_side(data: Path, rasters: bool) -> Survey:
    """Find pairs that lie side by side in one image. Raises :class:`InputError` if the names of the
    files show two sides."""
    _require_no_data_within(data, rasters)
    surveyed = Survey(data, "side-by-side", rasters=rasters)
    splits = sides.splits_of(data)
    _require_no_directories_in_names(data)
    for split, folders in splits.items():
        if len(folders) > 1:
            names = " and ".join(folder.name for folder in folders)
            raise InputError(f"{data}: {names} are both {split!r}; keep one, or rename the other")
    for split, (folder,) in splits.items() if splits else [("train", [data])]:
        surveyed.pair_directories.append(folder)
        for path in surveyed.list_files(folder):
            surveyed.pairs.append(Pair(sides.stem_of(path, folder), split, path))
    if doubtful := sides.find_doubtful_splits(data):
        names = ", ".join(escape(path.name) for path in doubtful[:SHOWN])
        surveyed.doubts.append(
            f"{names}: called like splits, but not taken for them; call directories train, val and "
            "test if they are"
        )
    for seeming in find_unnamed(surveyed.pair_directories, rasters):
        if not _are_side_by_side(surveyed.pairs):
            first, second = seeming.first, seeming.second
            is_open = not first
            if is_open:
                first, second = f"{data}/INPUTS", f"{data}/TARGETS"
            elif len(splits) > 1:  # those of all splits
                first, second = (_in_any_split(data, place) for place in (first, second))
            raise InputError(
                f"{data}: {seeming.what}: two sides of pairs, it seems, not images with A and B "
                f"side by side; which {'are' if is_open else 'of them is'} A"
                f"{' and which B' if is_open else ''}? {remedy(data, first, second)}"
            )
    return surveyed


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
        every = _pair_all(data, inner, rasters)
        raise InputError(
            f"{data}: holds several directories of pairs ({names}); give one of them"
            f"{every and ', or all: '}{every}"
        )


def _pair_all(data: Path, folders: Sequence[Path], rasters: bool) -> str:
    """The command that lists the pairs of all these directories of ``data``, where their sides
    are called alike, and none is called like data that is not trained on."""
    within = set()
    if any(HELD_OUT.search(folder.name) for folder in folders):
        return ""
    for folder in folders:
        found, _ = sides.find_sides(folder, rasters)
        if len(found) != 1 or not (found[0].a.is_dir() and found[0].b.is_dir()):
            return ""
        within.add((found[0].a.relative_to(folder), found[0].b.relative_to(folder)))
    if len(within) != 1:
        return ""
    a, b = within.pop()
    return remedy(data, str(data / "*" / a), str(data / "*" / b))


def _in_any_split(data: Path, place: str) -> str:
    parts = Path(place).relative_to(data).parts
    return str(data.joinpath("*", *parts[1:]))


def remedy(data: Path, a: str, b: str) -> str:
    """The command that lists the pairs of two directories or patterns, for messages.

    Args:
        data: The directory that they lie in.
        a: As in :func:`pix2pix_batch.train.pairing.list_pairs`.
        b: The same of the other side.
    """
    words = " ".join(shlex.quote(word) for word in (a, b, str(data / "pairs.csv")))
    return f"'pix2pix-batch dataset pair {words}' (A first) lists the pairs; then give {data} again"


def _are_side_by_side(listed: Sequence[Pair]) -> bool:
    """Whether what they show leaves no doubt of it."""
    some = [listed[i] for i in spread_indices(len(listed), plausible.COMPARED)]
    return not check_headers(some) and not find_doubts("side-by-side", some)


def _folders(data: Path, rasters: bool) -> Survey | None:
    """Two directories, by their names, with splits inside, around or in their names."""
    surveyed = Survey(data, "folders", rasters=rasters)
    surveyed.sides, why = sides.find_sides(data, rasters)
    if why:
        raise InputError(f"{data}: {why}. {remedy(data, f'{data}/INPUTS', f'{data}/TARGETS')}")
    for sides_of_split in surveyed.sides:
        _match(surveyed, sides_of_split)
    return surveyed if surveyed.sides else None


def _match(surveyed: Survey, sides_of_split: Sides) -> None:
    """Pair the files of two directories by their paths without suffix."""
    for folder in (sides_of_split.a, sides_of_split.b):
        if not folder.is_dir():
            surveyed.problems.append((str(folder), "there is no such directory"))
            places = [
                str(side) if side.is_dir() else "OTHER"
                for side in (sides_of_split.a, sides_of_split.b)
            ]
            surveyed.hint = f"Where the partners lie elsewhere, {remedy(surveyed.data, *places)}"
            return
    stems: list[dict[str, Path]] = [{}, {}]
    for side, folder in zip(stems, (sides_of_split.a, sides_of_split.b), strict=True):
        for path in surveyed.list_files(folder):
            stem = sides.stem_of(path, folder)
            if stem in side:
                surveyed.problems.append((str(path), f"has the same name as {side[stem].name}"))
            side[stem] = path
    a, b = stems
    for here, there in partners.match(a.keys() - b.keys(), b.keys() - a.keys(), Rule()).pairs:
        b[here] = b.pop(there)  # the same text, its accents composed otherwise
    for stem in sorted(a.keys() & b.keys()):
        surveyed.pairs.append(Pair(stem, sides_of_split.split, a[stem], b[stem]))
    lonely = list(_partnerless(surveyed.data, sides_of_split, a, b))
    surveyed.problems += lonely
    if lonely and len(lonely) == len(a.keys() ^ b.keys()):  # each by itself, without a remedy
        command = remedy(surveyed.data, str(sides_of_split.a), str(sides_of_split.b))
        offset = partners.find_offset(a, b, partners.match(a, b, Rule()))
        surveyed.hint = (
            f"Look at the pairs: {offset}."
            if offset
            else (
                "Partners have equal names. Where they are pairs by other names, give patterns, or "
                f"list them yourself in a manifest: {command}"
            )
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
    if better is None and (narrower := partners.narrow(a, b)):
        side, within, better = narrower
        folders = [one.a, one.b]
        folders[side] /= within
        yield (
            str(one.a),
            f"{len(alone):,} of {len(a) + len(b):,} files here and in {one.b} have no partner by "
            f"their names, but {len(better.pairs):,} in {folders[side]} have. "
            f"{remedy(data, *map(str, folders))}",
        )
        return
    if better is not None and len(better.pairs) > paired:
        first, second = better.pairs[0]
        offset = partners.find_offset(a, b, better)
        what_to_do = (
            f"But {offset}: rename one side, or list the pairs in a manifest ({partners.AS_A_LIST})"
            if offset
            else remedy(data, str(one.a), str(one.b))
        )
        yield (
            str(one.a),
            f"{len(alone):,} of {len(a) + len(b):,} files here and in {one.b} have no partner of "
            f"the same name; {better.rule}, such as {a[first].name} and {b[second].name}, "
            f"{len(better.pairs):,} pair. {what_to_do}",
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
    surveyed = Survey(path.parent, "manifest")
    for row in manifest.read_rows(path):
        a, b = path.parent / row.a, path.parent / row.b
        missing = [file for file in (a, b) if not _is_file(file)]
        for file in missing:
            what = "no file" if os.path.isdir(file) else row.refusal or "not there"
            surveyed.problems.append((str(file), f"named in {row.place}, but {what}"))
        if not missing:
            mark = str(a).removeprefix(pages.locate(str(a))[0])
            name = Path(str(row.a).removesuffix(mark)).with_suffix("").as_posix() + mark
            surveyed.pairs.append(Pair(name, row.split, a, b))
    return surveyed


def _is_file(path: Path) -> bool:
    """Whether it is a file, of a name of any length, or a page of one."""
    return os.path.isfile(pages.locate(str(path))[0])
