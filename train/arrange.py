"""``dataset combine`` and ``dataset split``: from two folders to side-by-side images, and back.

Images are read as for training and ``convert`` (``docs/images.md``): upright, in sRGB, 8 bits.
Grey stays grey and alpha stays. Splits stay as they are. There and back gives the same pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.output_formats import SUFFIXES
from pix2pix_batch.storage.common import FATAL
from pix2pix_batch.storage.local import find_within
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import format_count
from pix2pix_batch.train import pairs, threads
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.pair_doubts import find_doubts
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.survey import Survey

Made = list[tuple[str, Pixels]]
"""Images to write, each with its path within OUT, without suffix."""


class Style(NamedTuple):
    """How images are read and written. ``form``: ``png`` or ``jpg``; ``quality``: of JPEG."""

    form: str = "png"
    quality: int | None = None
    tolerance: Tolerance = USUAL


STYLE = Style()


@dataclass
class Arranged:
    """What came of arranging pairs.

    Attributes:
        written: How many pairs were written.
        failures: For each pair that failed, its file and the reason.
        warnings: What was wrong with files that were read all the same.
        doubts: Why the images may be no pairs.
    """

    written: int = 0
    failures: list[str] = field(default_factory=list)
    warnings: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)


def combine(data: Path, out: Path, style: Style = STYLE) -> Arranged:
    """Write pairs side by side into ``out/<split>``.

    A pair that cannot be read or written fails alone.

    Args:
        data: Directories ``A/`` and ``B/``, or a manifest.
        out: The directory to write to.
        style: How images are read and written.

    Raises:
        InputError: There are no pairs, or they lie side by side already.
        OutputError: Nothing more can be written.
    """
    surveyed = pairs.survey(data, val_fraction=0)
    if surveyed.layout == "side-by-side":
        raise InputError(
            f"{data}: has no A/ and B/ and no manifest: its images count as A and B side by side "
            "already; 'dataset split' is the way back"
        )
    return _arrange(surveyed, out, _side_by_side, style, Reader(style.tolerance))


def split(data: Path, out: Path, style: Style = STYLE) -> Arranged:
    """Cut side-by-side images into ``out/A/<split>`` and ``out/B/<split>``.

    An image that cannot be read or written fails alone.

    Args:
        data: A directory of side-by-side images.
        out: The directory to write to.
        style: How images are read and written.

    Raises:
        InputError: There are no images, or the pairs have two images each already.
        OutputError: Nothing more can be written.
    """
    surveyed = pairs.survey(data, val_fraction=0)
    if surveyed.layout != "side-by-side":
        raise InputError(
            f"{data}: holds two images a pair already ({surveyed.layout}); 'dataset combine' puts "
            "them side by side"
        )
    reader = Reader(style.tolerance)
    result = _arrange(surveyed, out, _halves, style, reader)
    result.doubts = [*surveyed.doubts, *find_doubts("side-by-side", surveyed.pairs, reader=reader)]
    return result


def _side_by_side(pair: Pair, inside: str, reader: Reader) -> Made:
    a, b = (_read(path, reader) for path in pair.files())
    if a.shape[:2] != b.shape[:2]:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (a, b)]
        raise ImageError(f"{pair.b}: is {sizes[1]} pixels, its partner {pair.a} is {sizes[0]}")
    return [(f"{pair.split}/{inside}", images.side_by_side(a, b))]


def _halves(pair: Pair, inside: str, reader: Reader) -> Made:
    both = _read(pair.a, reader)
    if both.shape[1] % 2:
        width = format_count(both.shape[1], "pixel")
        raise ImageError(f"{pair.a}: is {width} wide, which cannot be halved into A and B")
    a, b = np.split(both, 2, axis=1)
    return [(f"A/{pair.split}/{inside}", a), (f"B/{pair.split}/{inside}", b)]


def _arrange(
    surveyed: Survey,
    out: Path,
    make: Callable[[Pair, str, Reader], Made],
    style: Style,
    reader: Reader,
) -> Arranged:
    _require_new(surveyed.data, out)
    result = Arranged(failures=[f"{file}: {what}" for file, what in surveyed.problems])

    def work(named: tuple[Pair, str]) -> str:
        pair, inside = named
        try:
            _write(out, pair, make(pair, inside, reader), style)
        except ImageError as error:
            return str(error)
        return ""

    todo = list(_name_pairs(surveyed.pairs, result.failures))
    for failure in tqdm(threads.map_ahead(work, todo), total=len(todo), unit="pair", disable=None):
        if failure:
            result.failures.append(failure)
        else:
            result.written += 1
    result.warnings = reader.warnings
    return result


def _require_new(data: Path, out: Path) -> None:
    if find_within(out, data) is not None:
        raise InputError(f"{out}: lies inside {data}; give a directory outside it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is no empty directory; give a new one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror}); give another place") from error


def _name_pairs(listed: list[Pair], failures: list[str]) -> Iterator[tuple[Pair, str]]:
    """Each pair with its path within a split of OUT; those that have none fail.

    An absolute path in a manifest loses its leading ``/``, as with ``tar`` and ``convert``.
    """
    pair_of: dict[tuple[str, str], Pair] = {}
    for pair in listed:
        inside = str(PurePosixPath(pair.name.lstrip("/")))
        other = pair_of.setdefault((pair.split, inside), pair)
        if ".." in PurePosixPath(inside).parts:
            failures.append(
                f"{pair.a}: its path holds '..', which may lead out of OUT; name it without"
            )
        elif other is not pair and other.a == pair.a:
            failures.append(
                f"{pair.a}: is the A of several pairs; keep one of them in the manifest"
            )
        elif other is not pair:
            failures.append(f"{pair.a}: has the same name as {other.a}; rename one of them")
        else:
            yield pair, inside


def _read(path: Path, reader: Reader) -> Pixels:
    """``uint8 (H, W, C)`` with the image's own channels. Raises :class:`ImageError`."""
    return reader.picture(path, None).pixels


def _write(out: Path, pair: Pair, made: Made, style: Style) -> None:
    """Write all of a pair's images or none. Raises :class:`ImageError`, :class:`OutputError`."""
    encoded = []
    for inside, pixels in made:
        if style.form == "jpg" and pixels.shape[2] == 4:
            raise ImageError(f"{pair.a}: JPEG holds no transparency; use --format png")
        content = images.write(Picture(np.ascontiguousarray(pixels)), style.form, style.quality)
        encoded.append((out / (inside + SUFFIXES[style.form]), content))
    try:
        for path, content in encoded:
            with whole(path) as file:
                file.write(content)
    except OSError as error:
        for path, _ in encoded:
            path.unlink(missing_ok=True)
        reason = error.strerror or os.strerror(error.errno or 0)
        if error.errno in FATAL:
            raise OutputError(
                f"{out}: {reason}; make room, remove what is there, and start again"
            ) from error
        raise ImageError(f"{path}: cannot be written ({reason})") from error
