"""How an image meets a model of another size: as tiles, scaled, or as a whole."""

from __future__ import annotations

import functools

import numpy as np

from pix2pix_batch.errors import ImageError
from pix2pix_batch.generators.description import Description
from pix2pix_batch.generators.layers import LayeredDescription
from pix2pix_batch.imaging.tiling import PARTS, Padded, Resized, SharingTiles, Tiles
from pix2pix_batch.inference.feature_plan import Size
from pix2pix_batch.inference.memory import WHOLE_MEMORY, image_memory

Fitted = Tiles | Resized | Padded

LARGE_TILE = 1024
"""Side of the tiles of images that are too large to run as a whole, where these fit: the larger,
the less of them overlaps."""


def fit_to_model(
    pixels: np.ndarray,
    fit: str,
    size: int,
    architecture: Description | None = None,
    *,
    by_band: bool = False,
) -> Fitted:
    """Make of an image what the network takes.

    Args:
        pixels: The image, ``(H, W, C)``.
        fit: One of the choices of ``--fit``.
        size: The side of the model's images in pixels.
        architecture: The generator's, for the fit ``whole``.
        by_band: Whether bands are scaled each by itself, as a raster's.

    Returns:
        The image as tiles, scaled, or as a whole with a margin.

    Raises:
        ImageError: The fit is ``exact`` and the image has another size.
    """
    if fit == "resize":
        return Resized(pixels, size, by_band=by_band)
    if fit == "whole":
        return _fit_whole(pixels, architecture)
    height, width = pixels.shape[:2]
    if fit == "exact" and (height, width) != (size, size):
        raise ImageError(
            f"is {width}x{height}, the model's size is {size}x{size}; use --fit tile or resize"
        )
    return Tiles(pixels, size)


def _fit_whole(pixels: np.ndarray, architecture: Description | None) -> Fitted:
    """The image at its own size if it fits into :data:`WHOLE_MEMORY`, else large tiles, which where
    an image is normed by its own statistics share them."""
    assert isinstance(architecture, LayeredDescription)
    padded = pad_size((pixels.shape[0], pixels.shape[1]), architecture)
    if image_memory(architecture, padded) <= WHOLE_MEMORY:
        return Padded(pixels, padded)
    side, part = plan_large_tiles(architecture)
    return Tiles(pixels, side) if part is None else SharingTiles(pixels, side, part)


def plan_large_tiles(architecture: LayeredDescription) -> tuple[int, int | None]:
    """The side of large tiles, and of the parts that their shared norms are measured on; ``None``
    where images are not normed by their own statistics."""
    side = large_tile(architecture)
    if not architecture.norms_each_image:
        return side, None
    return side, pad_size((side // PARTS, side // PARTS), architecture)[0]


def pad_size(size: Size, architecture: Description) -> Size:
    """The least height and width that the network takes and an image of ``size`` fits into."""
    multiple, least = architecture.multiple, architecture.least_side
    height, width = (max(least, -(-side // multiple) * multiple) for side in size)
    return height, width


@functools.lru_cache(maxsize=8)
def large_tile(architecture: LayeredDescription) -> int:
    """The side of large tiles: :data:`LARGE_TILE`, halved until they fit."""
    side = LARGE_TILE
    while True:
        found = pad_size((side, side), architecture)
        if side <= architecture.least_side or image_memory(architecture, found) <= WHOLE_MEMORY:
            return found[0]
        side //= 2


def reckoned_size(architecture: Description, sizes: list[Size]) -> Size:
    """Height and width of the largest that the engine gets of images of these sizes with the fit
    ``whole``; of unknown images a large tile's."""
    assert isinstance(architecture, LayeredDescription)
    side = large_tile(architecture)
    padded = [pad_size(size, architecture) for size in sizes] or [(side, side)]
    memory = {one: image_memory(architecture, one) for one in padded}
    largest = max(padded, key=memory.__getitem__)
    return largest if memory[largest] <= WHOLE_MEMORY else (side, side)
