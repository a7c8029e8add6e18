"""The shared jitter: resize, crop and mirror, a pair the same way (section 6.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import tiling
from pix2pix_batch.train.recipe import Recipe

Pixels = np.ndarray
"""``(H, W, C)``: ``uint8``, or of rasters the type that their range says."""

PART = 1e-3
"""What a pixel without data may have in a resized one that counts as one with data."""


@dataclass(frozen=True)
class Jitter:
    """Makes training crops of ``size`` pixels a side of pairs, and plain ones for validation.

    ``resize_side``: both images are first resized to this side, bicubic; ``None``: crops are cut at
    the images' own scale. ``flip``: half of the crops are mirrored.
    """

    size: int
    resize_side: int | None
    flip: bool

    @classmethod
    def of(cls, recipe: Recipe) -> Jitter:
        return cls(recipe.size, recipe.resize_side if recipe.fit == "resize" else None, recipe.flip)

    def random(
        self, source: Pixels, target: Pixels, random: np.random.Generator, *valid: Pixels
    ) -> tuple[Pixels, ...]:
        """A training crop; ``valid``: ``bool (H, W)``, where there is data, is cut alike. Raises
        :class:`ImageError` where the images are too small for one."""
        images: Sequence[Pixels] = (source, target, *valid)
        if self.resize_side is not None:
            images = [resize(image, self.resize_side) for image in images]
        self._require_size(images[0])
        top, left = (int(random.integers(0, side - self.size + 1)) for side in images[0].shape[:2])
        images = [self._crop(image, top, left) for image in images]
        if self.flip and random.random() < 0.5:
            images = [image[:, ::-1] for image in images]
        return tuple(np.ascontiguousarray(image) for image in images)

    def without_jitter(self, *images: Pixels) -> tuple[Pixels, ...]:
        """The whole images at ``size``, or the middle at its own scale."""
        if self.resize_side is not None:
            return tuple(resize(image, self.size) for image in images)
        self._require_size(images[0])
        top, left = ((side - self.size) // 2 for side in images[0].shape[:2])
        return tuple(self._crop(image, top, left) for image in images)

    def _crop(self, image: Pixels, top: int, left: int) -> Pixels:
        return image[top : top + self.size, left : left + self.size]

    def _require_size(self, image: Pixels) -> None:
        height, width = image.shape[:2]
        if min(height, width) < self.size:
            raise ImageError(
                f"{width}x{height} pixels are too few for crops of {self.size}; set fit=resize, "
                "or a smaller size"
            )


def resize(image: Pixels, side: int) -> Pixels:
    """To ``side`` x ``side`` pixels, bicubic; ``bool (H, W)`` is true where nothing false had a
    part in it."""
    if image.dtype != bool:
        return tiling.resize(image, (side, side))
    if image.all():
        return np.ones((side, side), bool)
    shares = tiling.resize(image[:, :, None].astype(np.float32), (side, side))[:, :, 0]
    return np.asarray(np.abs(shares - 1) < PART)
