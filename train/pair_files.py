"""One pair of image files: its headers, and its pixels."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images, pages
from pix2pix_batch.imaging.decoding import decode
from pix2pix_batch.imaging.decoding.tolerance import USUAL, Tolerance
from pix2pix_batch.imaging.images import Picture
from pix2pix_batch.imaging.metadata.tiff_pages import PAGES_OPTION
from pix2pix_batch.text import format_count


@dataclass(frozen=True)
class Pair:
    """One pair of image files. ``b`` is ``None`` where ``a`` holds both, side by side."""

    name: str
    split: str
    a: Path
    b: Path | None = None

    def files(self) -> list[Path]:
        return [self.a] if self.b is None else [self.a, self.b]


class Reader:
    """Reads image files as ``convert`` does.

    ``tolerance``: what is made of files that are not as they should be; ``warnings``: what was
    wrong with those that this process read for all that, by file.
    """

    refusal_of_one_file = ""
    """Why A and B may not be side by side in one file, where they may not."""

    def __init__(self, tolerance: Tolerance = USUAL) -> None:
        self.tolerance = tolerance
        self.warnings: dict[str, str] = {}

    def without_bound(self) -> Reader:
        """A reader that takes pictures of any size, unless the user has set a bound."""
        bound = sys.maxsize if self.tolerance.max_pixels is None else self.tolerance.max_pixels
        other = Reader(replace(self.tolerance, max_pixels=bound))
        other.warnings = self.warnings
        return other

    def pair(self, pair: Pair, channels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Read both images of a pair, ``uint8 (H, W, channels)`` each, A first.

        A side-by-side image is cut in the middle before anything else touches it. Raises
        :class:`ImageError` naming the file.
        """
        if pair.b is None:
            return cut_in_half(self.image(pair.a, max(channels)), channels, pair.a)
        a, b = self.image(pair.a, channels[0]), self.image(pair.b, channels[1])
        if a.shape[:2] != b.shape[:2]:
            raise ImageError(f"{pair.b}: its size differs from that of {pair.a}")
        return a, b

    def image(self, path: Path, channels: int) -> np.ndarray:
        """Read an image, ``uint8 (H, W, channels)``. Raises :class:`ImageError`."""
        picture = self.picture(path, channels)
        if picture.alpha is not None:
            raise _transparent(path, channels)
        return picture.pixels

    def picture(self, path: Path, channels: int | None) -> Picture:
        """Read a file by :func:`images.read`. Raises :class:`ImageError` naming the file."""
        try:
            picture = images.read(pages.read_file(str(path)), channels, self.tolerance)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        if picture.warnings:
            self.warnings[str(path)] = reword_pages("; ".join(picture.warnings), path)
        return picture

    def explain_unread(self, reason: str, path: Path) -> str:
        """What to say of a file whose header cannot be read."""
        return f"cannot be read as an image ({reason})"

    def size(self, path: Path, place: int = 0) -> tuple[int, int]:
        """Width and height once it is upright, by the header where Pillow knows the kind.
        ``place``: 0 for a file of A's, 1 for one of B's. Raises :class:`ImageError`."""
        try:
            if pages.locate(str(path))[1]:
                raise ImageError("is a page, which Pillow does not open")
            with decode.open_header(path, self.tolerance) as image:
                return upright_size(image)
        except ImageError:  # what others read shows, or tells the reason
            height, width = self.picture(path, 3).pixels.shape[:2]
            return width, height

    def describe_mismatch(self, pair: Pair) -> str:
        """How the places that a pair's files show differ, by their headers; empty where they do
        not, or do not tell."""
        return ""


def check_headers(
    listed: Iterable[Pair],
    sizes: Counter[tuple[int, int]] | None = None,
    reader: Reader | None = None,
) -> list[tuple[str, str]]:
    """Find what the headers of the files alone show to be wrong.

    Args:
        listed: The pairs.
        sizes: Gets the width and height of each image of the sound pairs.
        reader: Reads the files.

    Returns:
        Files, and what is wrong with them.
    """
    reader = reader or Reader()
    problems = []
    for pair in listed:
        own_sizes = []
        if pair.b is None and reader.refusal_of_one_file:
            problems.append((str(pair.a), reader.refusal_of_one_file))
            continue
        for place, path in enumerate(pair.files()):
            try:
                own_sizes.append(reader.size(path, place))
            except ImageError as error:
                reason = str(error).removeprefix(f"{path}: ")
                problems.append((str(path), reader.explain_unread(reason, path)))
        if len(own_sizes) < len(pair.files()):
            continue
        if mismatch := reader.describe_mismatch(pair):
            problems.append((str(pair.b), mismatch))
        width, height = own_sizes[0]
        if pair.b is None and width % 2:
            what = f"is {format_count(width, 'pixel')} wide, which cannot be halved into A and B"
            problems.append((str(pair.a), what))
        elif len(own_sizes) == 2 and own_sizes[0] != own_sizes[1]:
            one, other = ("{}x{}".format(*size) for size in own_sizes)
            problems.append((str(pair.b), f"is {other} pixels, its partner {pair.a} is {one}"))
        elif sizes is not None and not mismatch:
            sizes[width if pair.b else width // 2, height] += 1
    return problems


def reword_pages(text: str, path: Path) -> str:
    """What is said of a file's pages and of options of ``convert``, as of a manifest."""
    return text.replace(PAGES_OPTION, f"(a manifest names others: {path.name}{pages.MARK}2)")


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height once the image is turned upright (5 to 8: by a quarter), by its header."""
    if "exif" not in image.info:  # Pillow turns TIFF files itself
        return image.size
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation) in range(5, 9)
    except Exception:  # broken EXIF is ignored, as images.read does
        turned = False
    return image.size[::-1] if turned else image.size


def cut_in_half(
    both: np.ndarray, channels: Sequence[int], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a side-by-side image into A and B.

    Args:
        both: ``(H, 2 * W, C)``.
        channels: How many channels A and B are to have.
        path: The image's path, for messages.

    Raises:
        ImageError: It cannot be cut so, or transparency would be lost.
    """
    if both.shape[1] % 2:
        raise ImageError(f"{path}: an odd width cannot be halved into A and B")
    a, b = np.split(both, 2, axis=1)
    return as_channels(a, channels[0], path), as_channels(b, channels[1], path)


def _transparent(path: Path, channels: int) -> ImageError:
    return ImageError(
        f"{path}: has 4 channels, one of them transparency, and the recipe takes {channels}; "
        "set in_channels or out_channels to 4, or flatten the image"
    )


def as_channels(pixels: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """Reduce the channels of an image as reading it with fewer would.

    Args:
        pixels: ``(H, W, C)``.
        channels: How many it is to have.
        path: The image's path, for messages.

    Raises:
        ImageError: Transparency would be lost.
    """
    if pixels.shape[2] == 4 and channels < 4:
        if (pixels[:, :, 3] < 255).any():
            raise _transparent(path, channels)
        pixels = pixels[:, :, :3]
    if pixels.shape[2] == channels:
        return pixels
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    return grey[:, :, None]
