"""``dataset combine`` and ``dataset split``: from two folders to side-by-side images, and back.

Images are read as for training and ``convert`` (``docs/images.md``): upright, in sRGB, 8 bits.
Grey stays grey and alpha stays. Splits stay as they are. There and back gives the same pixels.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from tqdm import tqdm

from pix2pix_batch import images
from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.files.storage import FATAL
from pix2pix_batch.files.whole import whole
from pix2pix_batch.images import SUFFIXES, Picture
from pix2pix_batch.text import counted
from pix2pix_batch.train import pairs, threads
from pix2pix_batch.train.jitter import Pixels
from pix2pix_batch.train.pair_files import Pair

FORMATS = ("png", "jpg")

Made = list[tuple[str, Pixels]]
"""Images to write, each with its path within OUT, without suffix."""


@dataclass
class Arranged:
    """How many pairs were written, and for each that failed its file and the reason."""

    written: int = 0
    failures: list[str] = field(default_factory=list)


def combine(data: Path, out: Path, form: str = "png", quality: int | None = None) -> Arranged:
    """Write the pairs of ``A/`` and ``B/``, or of a manifest, side by side into ``out/<split>``.

    ``form``: one of :data:`FORMATS`. A pair that cannot be read or written fails alone. Raises
    :class:`InputError`, and :class:`OutputError` where nothing more can be written.
    """
    found = pairs.survey(data, val_fraction=0)
    if found.layout == "side-by-side":
        raise InputError(
            f"{data}: has no A/ and B/ and no manifest: its images count as A and B side by side "
            "already; 'dataset split' is the way back"
        )
    return _arrange(found, out, _side_by_side, form, quality)


def split(data: Path, out: Path, form: str = "png", quality: int | None = None) -> Arranged:
    """Cut side-by-side images into ``out/A/<split>`` and ``out/B/<split>``; else as combine."""
    found = pairs.survey(data, val_fraction=0)
    if found.layout != "side-by-side":
        raise InputError(
            f"{data}: holds two images a pair already ({found.layout}); 'dataset combine' puts "
            "them side by side"
        )
    return _arrange(found, out, _halves, form, quality)


def _side_by_side(pair: Pair, inside: str) -> Made:
    a, b = (_read(path) for path in pair.files())
    if a.shape[:2] != b.shape[:2]:
        sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (a, b)]
        raise ImageError(f"{pair.b}: is {sizes[1]} pixels, its partner {pair.a} is {sizes[0]}")
    channels = max(a.shape[2], b.shape[2])
    both = np.concatenate([_widened(a, channels), _widened(b, channels)], axis=1)
    return [(f"{pair.split}/{inside}", both)]


def _halves(pair: Pair, inside: str) -> Made:
    both = _read(pair.a)
    if both.shape[1] % 2:
        width = counted(both.shape[1], "pixel")
        raise ImageError(f"{pair.a}: is {width} wide, which cannot be halved into A and B")
    a, b = np.split(both, 2, axis=1)
    return [(f"A/{pair.split}/{inside}", a), (f"B/{pair.split}/{inside}", b)]


def _arrange(
    found: pairs.Survey,
    out: Path,
    make: Callable[[Pair, str], Made],
    form: str,
    quality: int | None,
) -> Arranged:
    _require_new(found.data, out)
    result = Arranged(failures=[f"{file}: {what}" for file, what in found.problems])

    def work(named: tuple[Pair, str]) -> str:
        pair, inside = named
        try:
            _write(out, pair, make(pair, inside), form, quality)
        except ImageError as error:
            return str(error)
        return ""

    todo = list(_named(found.pairs, result.failures))
    for failure in tqdm(threads.in_order(work, todo), total=len(todo), unit="pair", disable=None):
        if failure:
            result.failures.append(failure)
        else:
            result.written += 1
    return result


def _require_new(data: Path, out: Path) -> None:
    if out.resolve().is_relative_to(data.resolve()):
        raise InputError(f"{out}: lies inside {data}; give a directory outside it")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: exists and is no empty directory; give a new one")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror}); give another place") from error


def _named(listed: list[Pair], failures: list[str]) -> Iterator[tuple[Pair, str]]:
    """Each pair with its path within a split of OUT; those that have none fail.

    An absolute path in a manifest loses its leading ``/``, as with ``tar`` and ``convert``.
    """
    taken: dict[tuple[str, str], Pair] = {}
    for pair in listed:
        inside = str(PurePosixPath(pair.name.lstrip("/")))
        other = taken.setdefault((pair.split, inside), pair)
        if ".." in PurePosixPath(inside).parts:
            failures.append(f"{pair.a}: its path leads out of OUT with '..'; name it otherwise")
        elif other is not pair:
            failures.append(f"{pair.a}: has the same name as {other.a}; rename one of them")
        else:
            yield pair, inside


def _read(path: Path) -> Pixels:
    """``uint8 (H, W, C)`` with the image's own channels. Raises :class:`ImageError`."""
    try:
        content = path.read_bytes()
        return images.read(content, _channels(content)).pixels
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error


def _channels(content: bytes) -> int:
    """4 with transparency, 1 for grey, else 3."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, transparent = image.mode, "transparency" in image.info
    except Exception:  # images.read says what is wrong
        return 3
    if transparent or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return 4
    return 1 if mode.split(";")[0] in ("1", "L", "I") else 3


def _widened(pixels: Pixels, channels: int) -> Pixels:
    """Grey in three channels, opaque alpha as the fourth, where ``channels`` asks for them."""
    if channels > 1 and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if channels > pixels.shape[2]:
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels


def _write(out: Path, pair: Pair, made: Made, form: str, quality: int | None) -> None:
    """Write all of a pair's images or none. Raises :class:`ImageError`, :class:`OutputError`."""
    encoded = []
    for inside, pixels in made:
        if form == "jpg" and pixels.shape[2] == 4:
            raise ImageError(f"{pair.a}: JPEG holds no transparency; use --format png")
        content = images.write(Picture(np.ascontiguousarray(pixels)), form, quality)
        encoded.append((out / (inside + SUFFIXES[form]), content))
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
