"""Opening and loading with Pillow: within the bound on pixels, and with a reason where it fails."""

from __future__ import annotations

import io
import re
import threading
import warnings
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from pix2pix_batch.errors import ImageError, NotToleratedError
from pix2pix_batch.imaging.decoding.formats import formats
from pix2pix_batch.imaging.decoding.process import hush_warnings
from pix2pix_batch.imaging.decoding.tolerance import LARGE, Tolerance

_opening = threading.Lock()
"""``catch_warnings`` and Pillow's bound change the process, not the thread."""

UNKNOWN = re.compile(r"(unsupported|unknown|unimplemented|unrecognized|.*\bnot supported)\b", re.I)
"""How Pillow begins to speak of files that it does not read though they may be whole."""

HINT = "; --lenient takes what is there"


def open_with_pillow(data: bytes | Path, tolerance: Tolerance, only: str = "") -> Image.Image:
    """Open a file with Pillow, which reads its header and not yet the samples.

    Args:
        data: The file's bytes, or its path.
        tolerance: Says how many pixels the picture may have.
        only: The one format that it may have; empty for every format that is read here.

    Raises:
        ImageError: It is too large, damaged, or no image that Pillow can read.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with _opening, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            bound, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, pixel_limit(tolerance)
            try:
                image = Image.open(file, formats=(only,) if only else formats())
            finally:
                Image.MAX_IMAGE_PIXELS = bound
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise too_large(tolerance) from error
    except UnidentifiedImageError as error:
        raise ImageError("not an image, or of a kind that Pillow cannot read") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise what they please on damaged files
        raise ImageError(_describe_refusal(error)) from error
    return image


def open_quietly(file: IO[bytes] | Path | str) -> Image.Image:
    """Open a file to look at its header, or one of our own making. What Pillow would print, such as
    that the picture is large, names no file, and reading the picture tells it by name. Raises what
    Pillow's readers please."""
    hush_warnings()
    return Image.open(file)


def _describe_refusal(error: Exception) -> str:
    """What Pillow says of a file that it does not open: that it is damaged, or of a kind that it
    does not know."""
    said = str(error) or type(error).__name__
    if UNKNOWN.match(said):
        return f"of a kind that is not read ({said}); store it as PNG"
    return f"damaged: {said}"


def pixel_limit(tolerance: Tolerance) -> int:
    if tolerance.max_pixels is not None:
        return tolerance.max_pixels
    return LARGE if Image.MAX_IMAGE_PIXELS is None else Image.MAX_IMAGE_PIXELS


def too_large(tolerance: Tolerance) -> ImageError:
    return NotToleratedError(
        f"more than {pixel_limit(tolerance)} pixels: refused as a decompression bomb; "
        "--max-pixels takes larger ones"
    )


def require_readable(width: int, height: int, refusal: str, tolerance: Tolerance) -> None:
    """Refuse a picture that is too large, or of a kind that is not read.

    Args:
        width: In pixels.
        height: In pixels.
        refusal: Why its kind is not read; empty if it is.
        tolerance: Says how many pixels the picture may have.

    Raises:
        ImageError: It is refused; says why.
    """
    if width * height > pixel_limit(tolerance):
        raise too_large(tolerance)
    if refusal:
        raise ImageError(refusal)


def load_samples(image: Image.Image) -> None:
    """Decode the samples of an opened image. Raises :class:`ImageError`."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise what they please on damaged files
        said = str(error) or type(error).__name__
        if "truncated" in said:
            said = f"cut short ({said}){HINT}"
        raise ImageError(f"damaged: {said}") from error


def describe_lacking_colour(largest: int, count: int) -> str:
    """The warning of pixels that have a colour which the palette of ``count`` lacks."""
    return f"damaged: it uses colour {largest} of a palette of {count}, which is taken for black"
