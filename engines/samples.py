"""The images that engines are checked on: the user's, or the few that are shipped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging import images
from pix2pix_batch.inputs.folder import image_files
from pix2pix_batch.text import escape
from pix2pix_batch.value_ranges import ValueRange

SHIPPED = Path(__file__).parent / "images"
"""Four of ``examples/maps``; their source and licence stand there."""

COUNT = 16
"""Images that a check takes at most: enough for a mean, seconds on a CPU."""


def read_samples(folder: Path | None, size: int, side: ValueRange) -> np.ndarray:
    """Read real images to compare engines on.

    Args:
        folder: A directory of images; ``None`` for the shipped ones.
        size: The side that they are scaled to, in pixels.
        side: What the bundle's inputs mean. Levels of 255 are spread over the range of each band.

    Returns:
        ``(N, size, size, channels)`` of the inputs' type, with at most :data:`COUNT` images.

    Raises:
        InputError: There is no directory, or no image that can be read.
    """
    if folder is not None and not folder.is_dir():
        raise InputError(f"{escape(folder)}: is no directory of images")
    read_images = list(islice(_read(folder or SHIPPED, size, side.channels), COUNT))
    if not read_images:
        raise InputError(f"{escape(folder)}: holds no image that can be read; give another")
    bytes_ = np.stack(read_images)
    return bytes_ if side.is_eight_bit else side.to_values(bytes_ / 127.5 - 1)


def _read(folder: Path, size: int, channels: int) -> Iterator[np.ndarray]:
    known = channels if channels in images.MODES else 3  # no image file has such a number
    for path in image_files(folder):
        try:
            pixels = images.read(path.read_bytes(), known).pixels
        except (ImageError, OSError):
            continue
        flat = pixels[:, :, 0] if known == 1 else pixels
        scaled = Image.fromarray(flat).resize((size, size), Image.Resampling.BICUBIC)
        planes = np.atleast_3d(np.asarray(scaled))
        yield np.ascontiguousarray(planes[:, :, np.arange(channels) % known])
