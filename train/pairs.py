"""Paired image files: which layouts there are, and how a directory's pairs are found.

``docs/data.md`` shows each layout. Nothing is dropped silently: :func:`find` raises, or, for
``dataset check``, :func:`survey` reports, whatever has no partner or cannot be used.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image

from pix2pix_batch import images
from pix2pix_batch.dataset.layout import PAIRED
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.text import counted

Layout = Literal["side-by-side", "folders", "manifest"]
SPLITS = ("train", "val", "test")
SHOWN = 5
HEADER = 1 << 20
"""Bytes of a dataset manifest's first line at most."""

LINE = 80
"""Characters of a manifest's first line that are told."""

EXPECTED = (
    "images with A and B side by side (in train/, val/, test/ or directly in a directory), "
    "directories A/ and B/ with files of equal names, or a manifest (.csv or .jsonl)"
)
"""What the data may be."""


@dataclass(frozen=True)
class Pair:
    """One pair of image files. ``b`` is ``None`` where ``a`` holds both, side by side."""

    name: str
    split: str
    a: Path
    b: Path | None = None

    def files(self) -> list[Path]:
        return [self.a] if self.b is None else [self.a, self.b]


@dataclass
class Survey:
    """What lies in a directory: its pairs, and every problem as ``(file, what is wrong)``.

    ``walked``: the directories of which every image is taken for a pair.
    """

    data: Path
    layout: Layout
    pairs: list[Pair] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    walked: list[Path] = field(default_factory=list)

    def split(self, name: str) -> list[Pair]:
        return [pair for pair in self.pairs if pair.split == name]

    def counts(self) -> Counter[str]:
        return Counter(pair.split for pair in self.pairs)


def survey(data: Path, *, val_fraction: float = 0.1) -> Survey:
    """Find every pair in ``data`` by the names alone. Raises :class:`InputError` if there is no
    layout to be seen.

    Where no ``val`` split is given, ``val_fraction`` of the training pairs become one, chosen by
    their names, so that adding pairs moves none from one split to the other.
    """
    if data.is_file():
        if not is_manifest(data):
            raise InputError(
                f"{data}: is a file, and by its name no manifest. Expected {EXPECTED}; unpack "
                "archives first"
            )
        found = _manifest(data)
    elif not data.is_dir():
        raise InputError(f"{data}: there is no such directory or manifest")
    elif manifest := next((p for p in sorted(data.glob("pairs.*")) if is_manifest(p)), None):
        found = _manifest(manifest)
    else:
        _require_paired(data)
        found = _folders(data) or _side_by_side(data)
    if not found.pairs and not found.problems:
        raise InputError(
            f"{data}: no pairs found. Expected {EXPECTED}; see 'pix2pix-batch dataset check --help'"
        )
    if val_fraction and not found.problems:
        hold_out(found, val_fraction)
    return found


def _require_paired(data: Path) -> None:
    """Raises :class:`InputError` for a dataset of ``synthesize`` that is for other readers: its
    inputs and outputs would be taken for pairs side by side."""
    try:
        with (data / "manifest.jsonl").open("rb") as file:
            layout = json.loads(file.readline(HEADER))["settings"]["layout"]
    except (OSError, ValueError, KeyError, TypeError):  # another file of that name
        return
    if layout not in PAIRED:
        raise InputError(
            f"{data}: is a dataset of 'synthesize' with --layout {layout}; the trainer reads "
            f"{' and '.join(PAIRED)}: make it with one of these"
        )


def find(data: Path, *, val_fraction: float = 0.1) -> Survey:
    """As :func:`survey`, but raises :class:`InputError` for the first problems."""
    found = survey(data, val_fraction=val_fraction)
    require_sound(data, found.problems)
    return found


def require_sound(data: Path, problems: Sequence[tuple[str, str]]) -> None:
    """Raises :class:`InputError` with the first of ``problems``, if there are any."""
    if not problems:
        return
    listed = "; ".join(f"{file}: {what}" for file, what in problems[:SHOWN])
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise InputError(
        f"{listed}{more}. 'pix2pix-batch dataset check {data}' lists them all; mend or remove "
        "these files"
    )


def is_manifest(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".jsonl")


def image_files(folder: Path) -> Iterator[Path]:
    """Every image below ``folder``, hidden ones apart, sorted."""
    suffixes = images.suffixes()
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in suffixes:
                yield Path(root, name)


def _side_by_side(data: Path) -> Survey:
    found = Survey(data, "side-by-side")
    splits = [name for name in SPLITS if (data / name).is_dir()]
    for split in splits or ["train"]:
        folder = data / split if splits else data
        found.walked.append(folder)
        for path in image_files(folder):
            name = path.relative_to(folder).with_suffix("").as_posix()
            found.pairs.append(Pair(name, split, path))
    return found


def _folders(data: Path) -> Survey | None:
    """``A/`` and ``B/``, with splits inside or around them, or ``trainA/`` and ``trainB/``."""
    found = Survey(data, "folders")
    sides = []
    for split in SPLITS:
        for a, b in (
            (data / "A" / split, data / "B" / split),
            (data / split / "A", data / split / "B"),
            (data / f"{split}A", data / f"{split}B"),
        ):
            if a.is_dir() or b.is_dir():
                sides.append((split, a, b))
    if not sides and ((data / "A").is_dir() or (data / "B").is_dir()):
        sides.append(("train", data / "A", data / "B"))
    for split, a, b in sides:
        _match(found, split, a, b)
    return found if sides else None


def _match(found: Survey, split: str, a: Path, b: Path) -> None:
    """Pair the files of two directories by their paths without suffix."""
    for folder in (a, b):
        if not folder.is_dir():
            found.problems.append((str(folder), "there is no such directory"))
            return
    sides: list[dict[str, Path]] = []
    for folder in (a, b):
        stems: dict[str, Path] = {}
        for path in image_files(folder):
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in stems:
                found.problems.append((str(path), f"has the same name as {stems[stem].name}"))
            stems[stem] = path
        sides.append(stems)
    for stem in sorted(sides[0].keys() | sides[1].keys()):
        one, other = sides[0].get(stem), sides[1].get(stem)
        if one is None or other is None:
            lacking, has = (a, other) if one is None else (b, one)
            found.problems.append((str(has), f"has no partner {stem!r} in {lacking}"))
        else:
            found.pairs.append(Pair(stem, split, one, other))


def _manifest(path: Path) -> Survey:
    """A CSV or JSONL file with ``a``, ``b`` and perhaps ``split``; paths relative to the file."""
    found = Survey(path.parent, "manifest")
    for line, row in _rows(path):
        place = f"{path}, line {line}"
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) and row[key] for key in ("a", "b")
        ):
            raise InputError(f"{place}: needs the columns a and b, and perhaps split, as text")
        split = str(row.get("split") or "train").strip().lower()
        if split not in SPLITS:
            raise InputError(f"{place}: split must be {', '.join(SPLITS)}, not {row['split']!r}")
        inside, other = (_inside(path.parent, row[key]) for key in ("a", "b"))
        a, b = path.parent / inside, path.parent / other
        missing = [file for file in (a, b) if not file.is_file()]
        for file in missing:
            what = "no file" if file.is_dir() else "not there"
            found.problems.append((str(file), f"named in {place}, but {what}"))
        if not missing:
            found.pairs.append(Pair(inside.with_suffix("").as_posix(), split, a, b))
    return found


def _inside(folder: Path, text: str) -> Path:
    """The path in a manifest's cell, which Windows writes with backslashes."""
    if "\\" in text and not (folder / text).is_file():
        text = text.replace("\\", "/")
    return Path(text)


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a BOM
            if path.suffix.lower() == ".csv":
                reader = csv.DictReader(file, skipinitialspace=True)
                names = [name.strip().lower() for name in reader.fieldnames or ()]
                if names and not {"a", "b"} <= set(names):
                    raise InputError(
                        f"{path}: its first line must name the columns a and b, and perhaps split, "
                        f"with commas between; it is {','.join(names)[:LINE]!r}"
                    )
                reader.fieldnames = names
                for row in reader:
                    yield reader.line_num, row
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except json.JSONDecodeError as error:
                        why = f"{error.msg}, column {error.colno}"
                        raise InputError(f"{path}, line {number}: is no JSON ({why})") from error
                    except RecursionError as error:
                        raise InputError(f"{path}, line {number}: is nested too deep") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no manifest in UTF-8 text; save it as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error})") from error


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
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def check_headers(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    """What the files' headers alone show to be wrong, as ``(file, what)``."""
    problems = []
    for pair in pairs:
        sizes = []
        for path in pair.files():
            try:
                with Image.open(path) as image:
                    sizes.append(_upright_size(image))
            except Exception as error:
                reason = str(error) or type(error).__name__
                problems.append((str(path), f"cannot be read as an image ({reason})"))
        if len(sizes) < len(pair.files()):
            continue
        if pair.b is None and sizes[0][0] % 2:
            problems.append(
                (
                    str(pair.a),
                    f"is {counted(sizes[0][0], 'pixel')} wide, which cannot be halved into A and B",
                )
            )
        elif len(sizes) == 2 and sizes[0] != sizes[1]:
            one, other = (f"{width}x{height}" for width, height in sizes)
            problems.append((str(pair.b), f"is {other} pixels, its partner {pair.a} is {one}"))
    return problems


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height once the image is turned upright (5 to 8: by a quarter), by its header."""
    if "exif" not in image.info:
        return image.size
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
    except Exception:  # broken EXIF is ignored, as images.read does
        turned = False
    return image.size[::-1] if turned else image.size


def doubt(layout: Layout, listed: Iterable[Pair]) -> str:
    """Why the images may not be A and B side by side, in a sentence, or nothing.

    The usual shapes side by side are wider than high. For pairs whose headers are sound.
    """
    if layout != "side-by-side":
        return ""
    for pair in listed:
        with Image.open(pair.a) as image:
            width, height = _upright_size(image)
        if width > height:
            return ""
    return (
        "no image is wider than high; are these really A and B side by side? If not, give the "
        "directory that holds A/ and B/"
    )


def read(pair: Pair, channels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Both images of a pair, ``uint8 (H, W, channels)`` each, A first.

    A side-by-side image is cut in the middle before anything else touches it. Raises
    :class:`ImageError` naming the file.
    """
    if pair.b is None:
        return halves(read_image(pair.a, max(channels)), channels, pair.a)
    a, b = read_image(pair.a, channels[0]), read_image(pair.b, channels[1])
    if a.shape[:2] != b.shape[:2]:
        raise ImageError(f"{pair.b}: its size differs from that of {pair.a}")
    return a, b


def halves(both: np.ndarray, channels: Sequence[int], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A and B of a side-by-side image, with their channels. Raises :class:`ImageError`."""
    if both.shape[1] % 2:
        raise ImageError(f"{path}: an odd width cannot be halved into A and B")
    a, b = np.split(both, 2, axis=1)
    return as_channels(a, channels[0], path), as_channels(b, channels[1], path)


def read_image(path: Path, channels: int) -> np.ndarray:
    """``uint8 (H, W, channels)``, read as ``convert`` reads. Raises :class:`ImageError`."""
    try:
        picture = images.read(path.read_bytes(), channels)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    if picture.alpha is not None:
        raise _transparent(path, channels)
    return picture.pixels


def _transparent(path: Path, channels: int) -> ImageError:
    return ImageError(
        f"{path}: has 4 channels, one of them transparency, and the recipe takes {channels}; "
        "set in_channels or out_channels to 4, or flatten the image"
    )


def as_channels(pixels: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """Fewer channels of the image at ``path``, as reading it so would give. Raises
    :class:`ImageError` where transparency would be lost."""
    if pixels.shape[2] == 4 and channels < 4:
        if (pixels[:, :, 3] < 255).any():
            raise _transparent(path, channels)
        pixels = pixels[:, :, :3]
    if pixels.shape[2] == channels:
        return pixels
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    return grey[:, :, None]
