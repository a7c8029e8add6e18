"""Winograd's minimal filtering for the trainer's convolutions, forward and backward.

Lavin and Gray 2016, arXiv 1509.09308: a tile's outputs are few products of transformed inputs and
transformed weights. :class:`Tiles` goes to where these products are, and by the transposed maps,
which the other direction takes, back from there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

KERNEL, PADDING = 4, 1
TILE = 3
"""Pixels of the small image along a tile's side."""

POINTS: dict[int, tuple[float, ...]] = {2: (0, 1, -1), 4: (0, 0.75, -0.75, 1.5, -1.5)}
"""Where the polynomials are evaluated, beside infinity, by the taps of a phase's kernel. Opposite
points share half of their sums. For four taps 3/4 and 3/2 round half as much as 1 and 2 do."""


class Transforms(NamedTuple):
    """Matrices for one dimension: ``small = A (G weights * B big)``; float64."""

    big: np.ndarray  # B, (points, points)
    weights: np.ndarray  # G, (points, taps)
    small: np.ndarray  # A, (TILE, points)


@lru_cache(maxsize=4)
def transforms(taps: int) -> Transforms:
    """Toom-Cook's matrices for ``TILE`` outputs of a filter of ``taps`` (Lavin and Gray)."""
    points = np.array(POINTS[taps])
    count = len(points)
    assert count == TILE + taps - 2
    big, weights, small = (np.zeros((count + 1, n)) for n in (count + 1, taps, TILE))
    for i, point in enumerate(points):
        others = np.delete(points, i)
        big[i, :count] = np.poly(others)[::-1]
        weights[i] = point ** np.arange(taps) / np.prod(point - others)
        small[i] = point ** np.arange(TILE)
    big[count] = np.poly(points)[::-1]
    weights[count, -1] = small[count, -1] = 1
    return Transforms(big, weights, small.T)


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
    def points(self) -> int:
        return TILE + self.taps - 1

    @property
    def tiles(self) -> tuple[int, int]:
        return -(-self.height // TILE), -(-self.width // TILE)

    @property
    def sides(self) -> tuple[int, int]:
        """The height and width of the big image."""
        taps = KERNEL - 2 * PADDING - self.stride
        return self.height * self.stride + taps, self.width * self.stride + taps

    @property
    def channels(self) -> int:
        """The channels of all phases of the big image together."""
        return self.stride**2 * self.big


# Sums of slices, with as few passes over memory as there are


Term = tuple[float, Tensor]


def add_up(terms: list[Term], out: Tensor, onto: bool = False) -> Tensor:
    """Add up factors times tensors.

    Args:
        terms: The factors and tensors.
        out: Is written.
        onto: Whether the sum is added to what ``out`` holds.

    Returns:
        ``out``.
    """
    terms = [term for term in terms if term[0]]
    if not onto:
        plain = next((i for i, (factor, _) in enumerate(terms) if factor == 1), None)
        if plain is None:
            factor, tensor = terms.pop()
            torch.mul(tensor, factor, out=out)
        else:
            _, tensor = terms.pop(plain)
            if terms:
                factor, other = terms.pop()
                torch.add(tensor, other, alpha=factor, out=out)
            else:
                out.copy_(tensor)
    for factor, tensor in terms:
        out.add_(tensor, alpha=factor)
    return out


def to_points(matrix: np.ndarray, given: list[Tensor], out: list[Tensor]) -> None:
    """Compute ``out[i]`` as the sum of ``matrix[i, j] * given[j]``; opposite points share their
    sums.

    Args:
        matrix: ``(points, taps)``.
        given: A tensor for each column.
        out: A tensor for each row, which is written.
    """
    last = len(out) - 1
    for i in (0, last):
        add_up(list(zip(matrix[i].tolist(), given, strict=True)), out[i])
    for i in range(1, last, 2):
        even, odd = (matrix[i] + matrix[i + 1]) / 2, (matrix[i] - matrix[i + 1]) / 2
        scale = odd[np.flatnonzero(odd)[-1]]
        parts = []
        for row in (even, odd / scale):
            terms = [(f, t) for f, t in zip(row.tolist(), given, strict=True) if f]
            if len(terms) == 1 and terms[0][0] == 1:
                parts.append(terms[0][1])
            else:
                parts.append(add_up(terms, torch.empty(terms[0][1].shape, dtype=given[0].dtype)))
        torch.add(parts[0], parts[1], alpha=scale, out=out[i])
        torch.add(parts[0], parts[1], alpha=-scale, out=out[i + 1])


def pair_opposites(given: list[Tensor]) -> list[Tensor]:
    """Sums and differences of what stands at opposite points."""
    last = len(given) - 1
    paired = [given[0]]
    for i in range(1, last, 2):
        paired += [given[i] + given[i + 1], given[i] - given[i + 1]]
    return [*paired, given[last]]


def from_points(matrix: np.ndarray) -> np.ndarray:
    """Change ``matrix`` so that it takes inputs of :func:`pair_opposites`."""
    paired = matrix.copy()
    for i in range(1, matrix.shape[1] - 1, 2):
        paired[:, i] = (matrix[:, i] + matrix[:, i + 1]) / 2
        paired[:, i + 1] = (matrix[:, i] - matrix[:, i + 1]) / 2
    return paired


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


def _padded_sides(shape: Shape) -> tuple[int, int]:
    return tuple(shape.stride * (TILE * n + shape.taps - 1) for n in shape.tiles)  # type: ignore[return-value]


def _overlap(matrix: np.ndarray, given: list[Tensor], out: Tensor, dim: int) -> None:
    count = given[0].shape[dim]
    out.narrow(dim, TILE * count, out.shape[dim] - TILE * count).zero_()
    for i, row in enumerate(matrix.tolist()):
        index = [slice(None)] * out.ndim
        index[dim] = slice(i, i + TILE * (count - 1) + 1, TILE)
        add_up(list(zip(row, given, strict=True)), out[tuple(index)], onto=i >= TILE)


class Tiles:
    """The arrays of a convolution at points of tiles, where products are cheaper.

    One image is taken after the other, so that intermediate results stay in the cache.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def big(self, x: Tensor) -> Tensor:
        """Transform the big image: ``(N, B, H, W)`` to ``(points**2, N * tiles, channels)``."""
        shape = self.shape
        s, p, n = shape.stride, shape.points, shape.images
        height, width = _padded_sides(shape)
        rows, columns = shape.tiles
        matrix = transforms(shape.taps).big
        between = x.new_empty(p, rows, s, width // s, s * shape.big)
        points = x.new_empty(p, p, n, rows, columns, s, s * shape.big)
        for i in range(n):
            image = pad(x[i : i + 1], PADDING, height, width)
            image = image.view(height // s, s, width // s, s * shape.big)
            to_points(matrix, [image[k::TILE][:rows] for k in range(p)], list(between.unbind(0)))
            to_points(
                matrix,
                [between[:, :, :, k::TILE][:, :, :, :columns] for k in range(p)],
                [points[:, k, i].transpose(2, 3) for k in range(p)],
            )
        return points.view(p * p, n * rows * columns, shape.channels)

    def big_of(self, small: Tensor, weights: Tensor) -> Tensor:
        """The big image, ``(N, B, H, W)``, by the transposed map of :meth:`big`."""
        shape = self.shape
        s, p, n = shape.stride, shape.points, shape.images
        height, width = _padded_sides(shape)
        rows, columns = shape.tiles
        matrix = from_points(transforms(shape.taps).big.T)
        v = torch.bmm(small, weights).view(p, p, n, rows, columns, s, s * shape.big)
        between = v.new_empty(p, rows, s, width // s, s * shape.big)
        image = v.new_empty(height // s, s, width // s, s * shape.big)
        big = v.new_empty(n, *shape.sides, shape.big)
        for i in range(n):
            _overlap(
                matrix, pair_opposites([v[:, k, i].transpose(2, 3) for k in range(p)]), between, 3
            )
            _overlap(matrix, pair_opposites(list(between.unbind(0))), image, 0)
            big[i].copy_(crop(image.view(height, width, shape.big), shape))
        return big.permute(0, 3, 1, 2)

    def small(self, x: Tensor) -> Tensor:
        """Transform the small image: ``(N, S, h, w)`` to ``(points**2, N * tiles, S)``."""
        shape = self.shape
        p, n = shape.points, shape.images
        rows, columns = shape.tiles
        matrix = transforms(shape.taps).small.T
        between = x.new_empty(p, rows, columns * TILE, shape.small)
        points = x.new_empty(p, p, n, rows, columns, shape.small)
        for i in range(n):
            image = pad(x[i : i + 1], 0, rows * TILE, columns * TILE)[0]
            to_points(matrix, [image[k::TILE] for k in range(TILE)], list(between.unbind(0)))
            to_points(
                matrix,
                [between[:, :, k::TILE] for k in range(TILE)],
                [points[:, k, i] for k in range(p)],
            )
        return points.view(p * p, n * rows * columns, shape.small)

    def small_of(self, big: Tensor, weights: Tensor) -> Tensor:
        """The small image, ``(N, S, h, w)``, by the transposed map of :meth:`small`."""
        shape = self.shape
        p, n = shape.points, shape.images
        rows, columns = shape.tiles
        matrix = from_points(transforms(shape.taps).small).tolist()
        m = torch.bmm(big, weights.transpose(1, 2)).view(p, p, n, rows, columns, shape.small)
        between = m.new_empty(p, rows, shape.width, shape.small)
        small = m.new_empty(n, shape.height, shape.width, shape.small)
        for i in range(n):
            opposites = pair_opposites([m[:, k, i] for k in range(p)])
            for k, row in enumerate(matrix):
                out = between[:, :, k::TILE]
                add_up(
                    [(f, x[:, :, : out.shape[2]]) for f, x in zip(row, opposites, strict=True)], out
                )
            opposites = pair_opposites(list(between.unbind(0)))
            for k, row in enumerate(matrix):
                out = small[i, k::TILE]
                add_up([(f, x[: out.shape[0]]) for f, x in zip(row, opposites, strict=True)], out)
        return small.permute(0, 3, 1, 2)

    def weights(self, weight: Tensor) -> Tensor:
        """Transform the weights: ``(S, B, 4, 4)`` to ``(points**2, S, channels)``."""
        shape = self.shape
        s, p, r = shape.stride, shape.points, shape.taps
        w = weight.permute(0, 2, 3, 1).contiguous().view(shape.small, r, s, r, s * shape.big)
        matrix = transforms(r).weights
        between = w.new_empty(p, shape.small, s, r, s * shape.big)
        to_points(matrix, [w[:, k] for k in range(r)], list(between.unbind(0)))
        points = w.new_empty(p, p, shape.small, s, s * shape.big)
        to_points(matrix, [between[:, :, :, k] for k in range(r)], [points[:, j] for j in range(p)])
        return points.view(p * p, shape.small, shape.channels)

    def weights_of(self, small: Tensor, big: Tensor) -> Tensor:
        """The weights, ``(S, B, 4, 4)``, by the transposed map of :meth:`weights`."""
        shape = self.shape
        s, p, r = shape.stride, shape.points, shape.taps
        matrix = from_points(transforms(r).weights.T)
        u = torch.bmm(small.transpose(1, 2), big).view(p, p, shape.small, s, s * shape.big)
        between = u.new_empty(p, shape.small, s, r, s * shape.big)
        opposites = pair_opposites([u[:, j] for j in range(p)])
        for k, row in enumerate(matrix.tolist()):
            add_up(list(zip(row, opposites, strict=True)), between[:, :, :, k])
        weights = u.new_empty(shape.small, r, s, r, s * shape.big)
        opposites = pair_opposites(list(between.unbind(0)))
        for k, row in enumerate(matrix.tolist()):
            add_up(list(zip(row, opposites, strict=True)), weights[:, k])
        return weights.view(shape.small, KERNEL, KERNEL, shape.big).permute(0, 3, 1, 2)
