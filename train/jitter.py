"""The shared jitter: resize, crop and mirror, a pair the same way (section 6.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pix2pix_batch.errors import ImageError
from pix2pix_batch.train.recipe import Recipe

Pixels = np.ndarray
"""``uint8 (H, W, C)``."""


@dataclass(frozen=True)
class Jitter:
    """Makes training crops of ``size`` pixels a side of pairs, and plain ones for validation.

    ``resized``: both images are first resized to this side, bicubic; ``None``: crops are cut at
    the images' own scale. ``flip``: half of the crops are mirrored.
    """

    size: int
    resized: int | None
    flip: bool

    @classmethod
    def of(cls, recipe: Recipe) -> Jitter:
        return cls(recipe.size, recipe.resized if recipe.fit == "resize" else None, recipe.flip)

    def random(
        self, source: Pixels, target: Pixels, random: np.random.Generator
    ) -> tuple[Pixels, Pixels]:
        """A training crop. Raises :class:`ImageError` where the images are too small for one."""
        if self.resized is not None:
            source, target = (resize(image, self.resized) for image in (source, target))
        self._require_size(source)
        top, left = (int(random.integers(0, side - self.size + 1)) for side in source.shape[:2])
        source, target = (self._crop(image, top, left) for image in (source, target))
        if self.flip and random.random() < 0.5:
            source, target = source[:, ::-1], target[:, ::-1]
        return np.ascontiguousarray(source), np.ascontiguousarray(target)

    def without_jitter(self, source: Pixels, target: Pixels) -> tuple[Pixels, Pixels]:
        """The whole image at ``size``, or the middle at its own scale."""
        if self.resized is not None:
            return resize(source, self.size), resize(target, self.size)
        self._require_size(source)
        top, left = ((side - self.size) // 2 for side in source.shape[:2])
        return self._crop(source, top, left), self._crop(target, top, left)

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
    """To ``side`` x ``side`` pixels, bicubic."""
    if image.shape[:2] == (side, side):
        return image
    flat = image[:, :, 0] if image.shape[2] == 1 else image
    resized = np.asarray(Image.fromarray(flat).resize((side, side), Image.Resampling.BICUBIC))
    return resized.reshape(side, side, image.shape[2])
