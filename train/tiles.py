"""Winograd's minimal filtering for the trainer's convolutions, forward and backward.

Lavin and Gray 2016, arXiv 1509.09308: a tile's outputs are few products of transformed inputs and
transformed weights. :class:`Tiles` goes to where these products are, and by the transposed maps,
which the other direction takes, back from there. A transform is one small matrix times many
columns: a matrix product of BLAS takes both axes in one pass over memory, where sums of slices
take many.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

KERNEL, PADDING = 4, 1

POINTS: dict[int, tuple[float, ...]] = {
    3: (1, -1),
    5: (0.5, -0.5, 1.25, -1.25),
    7: (0.25, -0.25, 0.875, -0.875, 2, -2),
}
"""Where the polynomials are evaluated, beside infinity, by how many points there are. Of the
multiples of 1/8 up to 3, these round least (2 and 5 times as much as three points do)."""
BLOCK = 1 << 20
"""Numbers that are transformed at a time, if they are of several images: so few that they stay in
the cache."""


class Transforms(NamedTuple):
    """Matrices for one dimension: ``small = A (G weights * B big)``; float64."""

    big: np.ndarray  # B, (points, points)
    weights: np.ndarray  # G, (points, taps)
    small: np.ndarray  # A, (side, points)


def transforms(side: int, taps: int) -> Transforms:
    """Toom-Cook's matrices for ``side`` outputs of a filter of ``taps`` (Lavin and Gray)."""
    points = np.array(POINTS[side + taps - 1])
    count = len(points)
    big, weights, small = (np.zeros((count + 1, n)) for n in (count + 1, taps, side))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        big[i, :count] = np.poly(others)[::-1]
        weights[i] = point ** np.arange(taps) / np.prod(point - others)
        small[i] = point ** np.arange(side)
    big[count] = np.poly(points)[::-1]
    weights[count, -1] = small[count, -1] = 1
    return Transforms(big, weights, small.T)


class Maps(NamedTuple):
    """Matrices that bring both dimensions at once to the points; their transposes lead back."""

    big: Tensor  # (points**2, points**2)
    weights: Tensor  # (points**2, taps**2)
    small: Tensor  # (points**2, side**2)


@lru_cache(maxsize=16)
def maps(side: int, taps: int, dtype: torch.dtype) -> Maps:
    """The :func:`transforms` along height and width together."""
    big, weights, small = transforms(side, taps)
    return Maps(*(torch.tensor(np.kron(m, m)).to(dtype) for m in (big, weights, small.T)))


class Shape(NamedTuple):
    """The sizes of one convolution: the number of images, the sides of the small image, the
    channels of both, and the stride."""

    images: int
    height: int
    width: int
    big: int
    small: int
    stride: int

    @property
    def taps(self) -> int:
        """The taps of the kernel of a phase, along a side."""
        return KERNEL // self.stride

    @property
    def sides(self) -> tuple[int, int]:
        """The height and width of the big image."""
        taps = KERNEL - 2 * PADDING - self.stride
        return self.height * self.stride + taps, self.width * self.stride + taps

    @property
    def channels(self) -> int:
        """The channels of all phases of the big image together."""
        return self.stride**2 * self.big


def pad(x: Tensor, top: int, height: int, width: int) -> Tensor:
    """Lay zeros around images and put channels last.

    Args:
        x: ``(N, C, H, W)``.
        top: Zeros before the first row and column.
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        ``(N, height, width, C)``.
    """
    n, channels, h, w = x.shape
    padded = x.new_empty(n, height, width, channels)
    # Only the border, since filling all with zeros would be one more pass over memory.
    padded[:, :top].zero_()
    padded[:, top + h :].zero_()
    padded[:, top : top + h, :top].zero_()
    padded[:, top : top + h, top + w :].zero_()
    padded[:, top : top + h, top : top + w].copy_(x.permute(0, 2, 3, 1))
    return padded


def crop(x: Tensor, shape: Shape) -> Tensor:
    """Remove from ``(..., H', W', B)`` what :func:`pad` put around it."""
    h, w = shape.sides
    return x[..., PADDING : PADDING + h, PADDING : PADDING + w, :]


def _multiply(one: Tensor, other: Tensor) -> Tensor:
    """Multiply the matrices of each point.

    The last point by itself: their number is odd, and BLAS gives each thread whole products of a
    batch.
    """
    products = one.new_empty(*one.shape[:2], other.shape[2])
    torch.bmm(one[:-1], other[:-1], out=products[:-1])
    torch.mm(one[-1], other[-1], out=products[-1])
    return products


class Tiles:
    """The arrays of a convolution at points of tiles, where products are cheaper."""

    def __init__(self, shape: Shape, side: int) -> None:
        """``side``: pixels of the small image along a tile's side."""
        self.shape, self.side = shape, side
        self.points = side + shape.taps - 1
        self.rows, self.columns = -(-shape.height // side), -(-shape.width // side)
        self.count = shape.images * self.rows * self.columns

    def big(self, x: Tensor) -> Tensor:
        """Transform the big image: ``(N, B, H, W)`` to ``(points**2, N * tiles, channels)``."""
        shape, p = self.shape, self.points
        height, width = self._padded_sides()
        points = x.new_empty(p * p, self.count * shape.channels)
        for images, part in self._blocks(points, shape.channels):
            image = self._by_phase(pad(x[images], PADDING, height, width))
            torch.mm(self._maps(x).big, self._windows(image, p).reshape(p * p, -1), out=part)
        return points.view(p * p, self.count, shape.channels)

    def big_of(self, small: Tensor, weights: Tensor) -> Tensor:
        """The big image, ``(N, B, H, W)``, by the transposed map of :meth:`big`."""
        shape, p, side = self.shape, self.points, self.side
        height, width = self._padded_sides()
        products = _multiply(small, weights).view(p * p, -1)
        big = products.new_empty(shape.images, *shape.sides, shape.big)
        for images, part in self._blocks(products, shape.channels):
            padded = big.new_empty(len(big[images]), height, width, shape.big)
            padded[:, self.rows * side * shape.stride :].zero_()
            padded[:, :, self.columns * side * shape.stride :].zero_()
            windows = self._windows(self._by_phase(padded), p)
            # Neighbours overlap: first the parts that together cover the image, then what reaches
            # into tiles below and on the right. No part is larger than a tile, so that no two
            # numbers of one are added to the same place at once.
            made = torch.mm(self._maps(big).big.T, part).view(windows.shape)
            for i, j in product(range(0, p, side), repeat=2):
                window, found = (one[i : i + side, j : j + side] for one in (windows, made))
                window.add_(found) if i or j else window.copy_(found)
            big[images].copy_(crop(padded, shape))
        return big.permute(0, 3, 1, 2)

    def small(self, x: Tensor) -> Tensor:
        """Transform the small image: ``(N, S, h, w)`` to ``(points**2, N * tiles, S)``."""
        shape, p, side = self.shape, self.points, self.side
        height, width = self.rows * side, self.columns * side
        points = x.new_empty(p * p, self.count * shape.small)
        whole = x.shape[2:] == (height, width)
        for images, part in self._blocks(points, shape.small):
            image = x[images].permute(0, 2, 3, 1) if whole else pad(x[images], 0, height, width)
            windows = self._windows(image.unsqueeze(2), side)
            torch.mm(self._maps(x).small, windows.reshape(side * side, -1), out=part)
        return points.view(p * p, self.count, shape.small)

    def small_of(self, big: Tensor, weights: Tensor) -> Tensor:
        """The small image, ``(N, S, h, w)``, by the transposed map of :meth:`small`."""
        shape, p, side = self.shape, self.points, self.side
        products = _multiply(big, weights.transpose(1, 2)).view(p * p, -1)
        height, width = self.rows * side, self.columns * side
        small = products.new_empty(shape.images, height, width, shape.small)
        for images, part in self._blocks(products, shape.small):
            windows = self._windows(small[images].unsqueeze(2), side)
            windows.copy_(torch.mm(self._maps(small).small.T, part).view(windows.shape))
        return small[:, : shape.height, : shape.width].contiguous().permute(0, 3, 1, 2)

    def weights(self, weight: Tensor) -> Tensor:
        """Transform the weights: ``(S, B, 4, 4)`` to ``(points**2, S, channels)``."""
        shape = self.shape
        s, r = shape.stride, shape.taps
        taps = weight.permute(0, 2, 3, 1).reshape(shape.small, r, s, r, s * shape.big)
        taps = taps.permute(1, 3, 0, 2, 4).reshape(r * r, -1)
        return torch.mm(self._maps(taps).weights, taps).view(-1, shape.small, shape.channels)

    def weights_of(self, small: Tensor, big: Tensor) -> Tensor:
        """The weights, ``(S, B, 4, 4)``, by the transposed map of :meth:`weights`."""
        shape = self.shape
        s, r = shape.stride, shape.taps
        products = _multiply(small.transpose(1, 2), big).view(self.points**2, -1)
        taps = torch.mm(self._maps(products).weights.T, products)
        weights = taps.view(r, r, shape.small, s, s * shape.big).permute(2, 0, 3, 1, 4)
        return weights.reshape(shape.small, KERNEL, KERNEL, shape.big).permute(0, 3, 1, 2)

    def _maps(self, like: Tensor) -> Maps:
        return maps(self.side, self.shape.taps, like.dtype)

    def _padded_sides(self) -> tuple[int, int]:
        """The height and width of the big image with all that its tiles reach."""
        s, around = self.shape.stride, self.shape.taps - 1
        return s * (self.rows * self.side + around), s * (self.columns * self.side + around)

    def _by_phase(self, image: Tensor) -> Tensor:
        """View ``(n, H', W', B)`` so that each pixel is one of all column phases, and rows' phases
        are apart: ``(n, H' / stride, stride, W' / stride, stride * B)``."""
        n, height, width, channels = image.shape
        s = self.shape.stride
        return image.view(n, height // s, s, width // s, s * channels)

    def _windows(self, image: Tensor, size: int) -> Tensor:
        """View ``(n, height, phases, width, channels)`` as each tile's ``size`` rows and columns:
        ``(size, size, n, tiles' rows, tiles' columns, phases, channels)``."""
        n, _, phases, _, channels = image.shape
        of, row, phase, column, channel = image.stride()
        sizes = (size, size, n, self.rows, self.columns, phases, channels)
        down, right = row * self.side, column * self.side
        return image.as_strided(sizes, (row, column, of, down, right, phase, channel))

    def _blocks(self, points: Tensor, channels: int) -> Iterator[tuple[slice, Tensor]]:
        """Some images at a time, and their columns of ``points (points**2, N * tiles *
        channels)``."""
        images, columns = self.shape.images, self.rows * self.columns * channels
        step = max(1, BLOCK // (len(points) * columns))
        for first in range(0, images, step):
            last = min(first + step, images)
            yield slice(first, last), points[:, first * columns : last * columns]
