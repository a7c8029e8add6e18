"""A decoded picture, with what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pix2pix_batch.imaging.decoding.opening import describe_lacking_colour
from pix2pix_batch.imaging.decoding.primaries import Cicp, Gamma


@dataclass
class Decoded:
    """A decoded file, before its colours are converted and it is turned upright.

    Attributes:
        image: The picture with 8 bits, and its colour profile in ``info``; ``None`` if the file
            says nothing that matters beside its ``pixels``.
        pixels: The samples, ``uint8 (H, W, C)``, if another library than Pillow decoded them.
        turned: The orientation by which it was turned upright already; ``None`` if it was not
            looked at.
        meaning: What the colours are, if the file says it without a profile.
        warnings: What was wrong with the file, which was read all the same.
        read_deep: Reads the colours as ``uint16 (H, W, C)``, from a file of more than 8 bits;
            ``None`` if that is not possible.
    """

    image: Image.Image | None
    pixels: np.ndarray | None = None
    turned: int | None = None
    meaning: Gamma | Cicp | None = None
    warnings: list[str] = field(default_factory=list)
    read_deep: Callable[[], np.ndarray | None] | None = None

    def whole(self) -> Image.Image:
        """The image with its samples."""
        if self.pixels is None:
            assert self.image is not None
            return self.image
        flat = self.pixels[:, :, 0] if self.pixels.shape[2] == 1 else self.pixels
        image = Image.fromarray(flat)
        return image if self.image is None else copy_info(self.image, image)


def copy_info(original: Image.Image, image: Image.Image) -> Image.Image:
    """What was made of an image keeps what that says of itself."""
    if image is not original:
        for name in ("icc_profile", "exif"):
            if name in original.info:
                image.info.setdefault(name, original.info[name])
    return image


def warn_beyond_palette(image: Image.Image) -> list[str]:
    """A warning of pixels that have a colour which the palette lacks: Pillow has them black."""
    if image.mode != "P" or image.palette is None:
        return []
    mode, entries = image.palette.getdata()
    count, largest = len(entries) // len(mode.partition(";")[0]), int(np.asarray(image).max())
    if largest < count:
        return []
    return [describe_lacking_colour(largest, count)]
