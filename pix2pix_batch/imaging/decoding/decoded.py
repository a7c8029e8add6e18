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
    """``image``: of 8 bits, with its profile in ``info``; ``None`` where the file says nothing of
    its ``pixels``. These are its samples, ``uint8 (H, W, C)``, where they were not decoded by
    Pillow; ``turned``: the orientation by which it was turned upright already, ``None`` where
    nobody has looked; ``meaning``: what its colours are, where the file says so without a profile;
    ``read_deep``: reads the colours of ``image`` as
    ``uint16 (H, W, C)``, ``None`` where nobody can, of a file of more than 8 bits."""

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
