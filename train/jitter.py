"""The shared jitter: resize, crop and mirror, a pair the same way (section 6.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import tiling
from pix2pix_batch.train.recipe import Recipe

Pixels = np.ndarray
"""``(H, W, C)``: ``uint8``, or of rasters the type that their range says."""

PART = 1e-3
"""What a pixel without data may have in a resized one that counts as one with data."""


class Crop(NamedTuple):
    """A square of images, and whether they are ``mirrored`` once they are cut."""

    top: int
    left: int
    size: int
    mirrored: bool = False

    @property
    def rows(self) -> slice:
        return slice(self.top, self.top + self.size)

    @property
    def columns(self) -> slice:
        return slice(self.left, self.left + self.size)

    def mirror(self, images: Iterable[Pixels]) -> tuple[Pixels, ...]:
        """What was cut, as it is to be."""
        turned = (image[:, ::-1] for image in images) if self.mirrored else images
        return tuple(np.ascontiguousarray(image) for image in turned)


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
        """Draw a training crop of both images.

        Args:
            source: ``(H, W, C)``.
            target: The same size.
            random: Decides scale, place and mirroring.
            valid: ``bool (H, W)``, where there is data; cut in the same way.

        Raises:
            ImageError: The images are too small for a crop.
        """
        images: Sequence[Pixels] = (source, target, *valid)
        if self.resize_side is not None:
            images = [resize(image, self.resize_side) for image in images]
        height, width = images[0].shape[:2]
        crop = self.choose_crop(height, width, random)
        return crop.mirror(image[crop.rows, crop.columns] for image in images)

    def choose_crop(self, height: int, width: int, random: np.random.Generator) -> Crop:
        """Draw where a training crop of images that are not resized lies.

        Args:
            height: Of the images, in pixels.
            width: Of the images, in pixels.
            random: Decides place and mirroring.

        Raises:
            ImageError: The images are too small for a crop.
        """
        self._require_size(height, width)
        top, left = (int(random.integers(0, side - self.size + 1)) for side in (height, width))
        return Crop(top, left, self.size, self.flip and random.random() < 0.5)

    def choose_middle(self, height: int, width: int) -> Crop:
        """The plain crop of images of that size. Raises as :meth:`choose_crop`."""
        self._require_size(height, width)
        return Crop((height - self.size) // 2, (width - self.size) // 2, self.size)

    def without_jitter(self, *images: Pixels) -> tuple[Pixels, ...]:
        """The whole images at ``size``, or the middle at its own scale."""
        if self.resize_side is not None:
            return tuple(resize(image, self.size) for image in images)
        crop = self.choose_middle(*images[0].shape[:2])
        return tuple(image[crop.rows, crop.columns] for image in images)

    def _require_size(self, height: int, width: int) -> None:
        if min(height, width) < self.size:
            raise ImageError(
                f"{width}x{height} pixels are too few for crops of {self.size}; set fit=resize, "
                "or a smaller size"
            )


def resize(image: Pixels, side: int) -> Pixels:
    """Scale an image to ``side`` x ``side`` pixels with a bicubic filter. In a mask, ``bool (H,
    W)``, a pixel is true if no false one had a part in it."""
    if image.dtype != bool:
        return tiling.resize(image, (side, side))
    if image.all():
        return np.ones((side, side), bool)
    shares = tiling.resize(image[:, :, None].astype(np.float32), (side, side))[:, :, 0]
    return np.asarray(np.abs(shares - 1) < PART)
