"""Cutting an image of any size into tiles of the model's size, and blending them back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

OVERLAP = 4
"""Neighbouring tiles share the model's size divided by this, where alignment allows.

With a fully convolutional generator whose 2**downs divides the stride, neighbours see the same
sampling grid and agree but for the reach of their borders, which the feathering hides.
"""


PARTS = 4
"""Along each axis, of which an image's statistics are measured where it does not fit as a whole."""


@dataclass(frozen=True)
class Axis:
    """How one side of an image is covered: ``count`` tiles each ``stride``, after padding."""

    length: int
    size: int
    stride: int
    count: int

    @classmethod
    def plan(cls, length: int, size: int) -> Axis:
        """Cover ``length`` pixels with tiles of ``size``."""
        stride = size - size // OVERLAP
        count = 1 if length <= size else 1 + -(-(length - size) // stride)
        return cls(length, size, stride, count)

    @property
    def padded(self) -> int:
        return self.size + (self.count - 1) * self.stride

    @property
    def before(self) -> int:
        """Padding ahead of the image; the rest of the padding comes after it."""
        return (self.padded - self.length) // 2

    def inside(self) -> list[float]:
        """The share of each tile's side that is image."""
        first, last = self.before, self.before + self.length
        starts = range(0, self.count * self.stride, self.stride)
        return [(min(last, at + self.size) - max(first, at)) / self.size for at in starts]

    def spread(self, part: int) -> list[int]:
        """Where :data:`PARTS` parts begin, after padding: over the image itself, unless that is
        smaller than one."""
        first, last = self.before, self.before + self.length - part
        if last < first:
            first, last = 0, self.padded - part
        return [round(place) for place in np.linspace(first, last, PARTS)]

    def weights(self, index: int) -> np.ndarray:
        """The share that tile ``index`` has in each of its pixels, ``float32 (size,)``. The shares
        of all tiles add up to one."""
        shared = self.size - self.stride
        share = np.ones(self.size, np.float32)
        if shared:
            # At the pixels' centres, so that a ramp and its mirror image add up to one.
            phase = (np.arange(shared, dtype=np.float32) + 0.5) / shared
            ramp = (0.5 - 0.5 * np.cos(np.pi * phase)).astype(np.float32)
            if index > 0:
                share[:shared] = ramp
            if index < self.count - 1:
                share[-shared:] = 1 - ramp
        return share


class Tiles:
    """The tiles of one image, row by row, and the picture that their translations make.

    Memory beyond the image itself is one row of tiles, whatever the image's height.
    """

    def __init__(self, pixels: np.ndarray, size: int) -> None:
        """``pixels``: ``(H, W, C)`` of any type; ``size``: side of the tiles."""
        self.rows, self.columns = (Axis.plan(length, size) for length in pixels.shape[:2])
        self.size = size
        padding = [
            (axis.before, axis.padded - axis.length - axis.before)
            for axis in (self.rows, self.columns)
        ]
        if any(side for pair in padding for side in pair):
            pixels = np.pad(pixels, [*padding, (0, 0)], mode="reflect")
        self.pixels = pixels
        self.strip: np.ndarray | None = None
        self.result: np.ndarray | None = None

    def restart(self) -> Tiles:
        """The same tiles, for another translation."""
        fresh = copy.copy(self)
        fresh.strip = fresh.result = None
        return fresh

    def __len__(self) -> int:
        return self.rows.count * self.columns.count

    def __iter__(self) -> Iterator[np.ndarray]:
        for row in range(self.rows.count):
            for column in range(self.columns.count):
                y, x = row * self.rows.stride, column * self.columns.stride
                yield self.pixels[y : y + self.size, x : x + self.size]

    def list_numbered(self) -> Iterator[tuple[int, np.ndarray]]:
        """The tiles, each with its number."""
        return enumerate(self)

    @property
    def shares(self) -> list[float]:
        """The share of each tile that is image; the rest is padding."""
        rows, columns = self.rows.inside(), self.columns.inside()
        return [row * column for row in rows for column in columns]

    def add_tile(self, index: int, tile: np.ndarray) -> None:
        """Take the translation of tile ``index``: ``(size, size, C)``, in order."""
        # Nothing to blend: the tile's own values go through no float32.
        if len(self) == 1:
            self.result = self._inside(tile)
            return
        row, column = divmod(index, self.columns.count)
        channels = tile.shape[2]
        if self.result is None:
            shape = (self.rows.padded, self.columns.padded, channels)
            self.result = np.empty(shape, tile.dtype)
            self.strip = np.zeros((self.size, shape[1], channels), np.float32)
        share = self.rows.weights(row)[:, None] * self.columns.weights(column)
        x = column * self.columns.stride
        assert self.strip is not None
        self.strip[:, x : x + self.size] += tile * share[:, :, None]
        if column == self.columns.count - 1:
            self._finish_row(row)

    def _finish_row(self, row: int) -> None:
        """Rows that no later tile touches go from the strip into the result."""
        assert self.strip is not None and self.result is not None
        last = row == self.rows.count - 1
        done = self.size if last else self.rows.stride
        y = row * self.rows.stride
        # May be rounded in place, as these rows are overwritten next.
        self.result[y : y + done] = round_to(self.strip[:done], self.result.dtype)
        # A copy first, since source and target overlap.
        self.strip[: self.size - done] = self.strip[done:].copy()
        self.strip[self.size - done :] = 0
        if last:
            self.strip = None
            self.result = self._inside(self.result)

    def _inside(self, padded: np.ndarray) -> np.ndarray:
        y, x = self.rows.before, self.columns.before
        return padded[y : y + self.rows.length, x : x + self.columns.length]


class SharingTiles(Tiles):
    """Tiles of an image that is normed by statistics of its own, which all of them then have."""

    def __init__(self, pixels: np.ndarray, size: int, part: int) -> None:
        """``part``: the side of the parts that the statistics are measured on."""
        super().__init__(pixels, size)
        self.part = part

    @property
    def parts(self) -> np.ndarray:
        """Parts from all over the image, ``(N, part, part, C)``, :data:`PARTS` along each axis."""
        parts = [
            self.pixels[y : y + self.part, x : x + self.part]
            for y in self.rows.spread(self.part)
            for x in self.columns.spread(self.part)
        ]
        return np.stack(parts)


class Single:
    """An image that the network takes in one piece, ``pixels``; the same interface as
    :class:`Tiles`."""

    pixels: np.ndarray

    def __init__(self) -> None:
        self.result: np.ndarray | None = None
        self.shares = [1.0]

    def restart(self) -> Self:
        """See :meth:`Tiles.restart`."""
        fresh = copy.copy(self)
        fresh.result = None
        return fresh

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[np.ndarray]:
        yield self.pixels

    def list_numbered(self) -> Iterator[tuple[int, np.ndarray]]:
        """See :meth:`Tiles.list_numbered`."""
        return enumerate(self)


class Padded(Single):
    """An image at its own size, but for a mirrored border."""

    def __init__(self, pixels: np.ndarray, size: tuple[int, int]) -> None:
        """``size``: the height and width with the border."""
        super().__init__()
        self.shape = pixels.shape[:2]
        self.before = [(whole - own) // 2 for whole, own in zip(size, self.shape, strict=True)]
        if size != self.shape:
            pairs = zip(size, self.shape, self.before, strict=True)
            padding = [(before, whole - own - before) for whole, own, before in pairs]
            pixels = np.pad(pixels, [*padding, (0, 0)], mode="reflect")
        self.pixels = pixels

    def add_tile(self, index: int, tile: np.ndarray) -> None:
        (y, x), (height, width) = self.before, self.shape
        self.result = tile[y : y + height, x : x + width]


class Resized(Single):
    """An image scaled to the model's size and back."""

    def __init__(self, pixels: np.ndarray, size: int, *, by_band: bool = False) -> None:
        """``by_band``: the fourth band is no transparency of the others."""
        super().__init__()
        self.shape, self.by_band = pixels.shape[:2], by_band
        self.pixels = resize(pixels, (size, size), by_band=by_band)

    def add_tile(self, index: int, tile: np.ndarray) -> None:
        self.result = resize(tile, self.shape, by_band=self.by_band)


def round_to(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Round ``float32`` values to the nearest ones of a type. ``values`` itself may be changed."""
    if dtype.kind == "f":
        return values
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values, out=values), limits.min, limits.max).astype(dtype)


def resize(pixels: np.ndarray, shape: tuple[int, int], *, by_band: bool = False) -> np.ndarray:
    """Scale an image with a bicubic filter, as the reference scales its inputs.

    Args:
        pixels: ``(H, W, C)`` of any type.
        shape: The new height and width.
        by_band: Scale each band by itself. Without it, the last of four channels of 8 bits is
            transparency, by which colours are weighted.

    Returns:
        ``(*shape, C)`` of the same type.
    """
    if pixels.shape[:2] == shape:
        return pixels
    # Pillow scales pictures of several channels in 8 bits only.
    if by_band or pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3, 4):
        return _resize_bands(pixels, shape)
    flat = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    image = Image.fromarray(flat).resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(*shape, pixels.shape[2])


def _resize_bands(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Scale as :func:`resize` does, each band by itself in float32."""
    resized = np.empty((*shape, pixels.shape[2]), pixels.dtype)
    for band in range(pixels.shape[2]):
        image = Image.fromarray(pixels[:, :, band].astype(np.float32))
        scaled = image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
        resized[:, :, band] = round_to(np.array(scaled), pixels.dtype)
    return resized
