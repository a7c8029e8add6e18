"""Small pictures inside a page, within a budget of bytes and of time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pix2pix_batch.cores import cores
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.decoding.opening import open_quietly
from pix2pix_batch.imaging.decoding.tolerance import Tolerance
from pix2pix_batch.imaging.pages import locate, read_file
from pix2pix_batch.reporting.raster_sides import RasterSide
from pix2pix_batch.reporting.template import data_uri
from pix2pix_batch.storage.store import store_of

STEPS = ((320, 80), (320, 50), (224, 40), (96, 20))
"""Longest side in pixels and WebP quality, tried in turn until a picture fits."""

LARGEST = 48_000
"""Bytes of text that a thumbnail takes at most, however few there are."""

PIXELS = 800_000_000
"""Decoded for one page at most: some ten seconds."""

ANY = Tolerance(lenient=True, max_pixels=PIXELS)
"""The page shows what a job took, however tolerant that was, and what it refused."""

IN_TAR = "lies in a tar; not unpacked for this page"


@dataclass(frozen=True)
class Thumbnail:
    """``uri``: ``data:image/webp;...``; ``width`` and ``height``: of the whole picture."""

    uri: str
    width: int
    height: int


def thumbnails(
    paths: Iterable[str], budget: int, rasters: Mapping[str, RasterSide] | None = None
) -> dict[str, Thumbnail | str]:
    """The thumbnail of each file, or why there is none.

    ``budget``: bytes of text for all together; each gets an equal share, so that none depends on
    what the others show. Where the files have too many pixels, the last of them have none.
    ``rasters``: those that are no pictures, and how each is read.
    """
    listed, sides = list(paths), rasters or {}
    share = min(LARGEST, budget // max(len(listed), 1))
    left = PIXELS
    refused, wanted = {}, []
    for path in dict.fromkeys(listed):
        left -= sides[path].count_pixels(path) if path in sides else _pixels(path)
        if left < 0:
            refused[path] = "too large to be shown here; open the file"
        else:
            wanted.append(path)
    with ThreadPoolExecutor(cores()) as pool:
        made = pool.map(lambda path: _make(path, share, sides.get(path)), wanted)
        return refused | dict(zip(wanted, made, strict=True))


def _pixels(path: str) -> int:
    """By the file's header; none where it has no such."""
    try:
        with open_quietly(locate(path)[0]) as image:
            return image.width * image.height
    except Exception:  # decoders raise what they please; reading it says what is wrong
        return 0


def _make(path: str, share: int, side: RasterSide | None) -> Thumbnail | str:
    try:
        if not store_of(path).is_local:
            return "lies behind a URL; not fetched for this page"
        if not path:
            return IN_TAR
        os.stat(locate(path)[0])
        if side is None:
            pixels = images.read(read_file(path), 3, ANY).pixels
            height, width = pixels.shape[:2]
        else:
            pixels, width, height = side.read(path)
    except NotADirectoryError:
        return IN_TAR
    except (ImageError, InputError, OSError, ValueError) as error:  # ValueError: a path with a NUL
        return "gone since" if isinstance(error, FileNotFoundError) else str(error)
    uri = _encode(pixels, share)
    return Thumbnail(uri, width, height) if uri else "takes too many bytes to be shown here"


def _encode(pixels: np.ndarray, share: int) -> str:
    """As large as ``share`` bytes allow; empty where they are too few."""
    for side, quality in STEPS:
        small = Image.fromarray(pixels)
        small.thumbnail((side, side), reducing_gap=3)
        buffer = io.BytesIO()
        small.save(buffer, "WEBP", quality=quality, method=2)
        uri = data_uri("webp", buffer.getvalue())
        if len(uri) <= share:
            return uri
    return ""
