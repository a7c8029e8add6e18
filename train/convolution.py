"""Convolutions that are trained on CPUs in full precision: fewer products, forward and backward.

pix2pix's convolutions are 4x4, of stride 2 (down, or up where transposed) or 1. All are one
bilinear map of three arrays: the big image ``(N, H, W, B)``, the small one ``(N, h, w, S)`` and
the weights ``(S, B, 4, 4)``. Two of them give the third:

===================  ==========  ==========  =======
                     big         small       weights
===================  ==========  ==========  =======
convolution          given       wanted      given
its input gradient   wanted      given       given
transposed           wanted      given       given
its input gradient   given       wanted      given
weight gradients     given       given       wanted
===================  ==========  ==========  =======

So three functions serve both kinds of layer and both directions, each in two forms:

*product*: one matrix product with the patches of the big image (im2col), for layers of few
pixels, whose time is that of reading their weights, and for those of few channels.

*tiles*: Winograd's minimal filtering (Lavin and Gray 2016, arXiv 1509.09308) on tiles of 3x3
pixels of the small image. A 4x4 kernel of stride 2 is four kernels of 2x2 on the four phases of
the big image, and F(3x3, 2x2) needs 16 products a channel where the definition has 36; one of
stride 1 needs 36 where it has 144, F(3x3, 4x4). The gradient of the weights is the same
algorithm transposed.

:func:`takes_tiles` decides between them by shapes alone, so that a run does the same each time.
All images are channels last. What is rounded otherwise than in a direct sum is some 1e-6 of the
result's size (measured by the tests), a thousandth of what TF32 rounds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from pix2pix_batch.generator import UNet

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
    """One convolution's: images, the small image's sides, channels of both, stride."""

    images: int
    height: int
    width: int
    big: int
    small: int
    stride: int

    @property
    def taps(self) -> int:
        """Of a phase's kernel, along a side."""
        return KERNEL // self.stride

    @property
    def points(self) -> int:
        return TILE + self.taps - 1

    @property
    def tiles(self) -> tuple[int, int]:
        return -(-self.height // TILE), -(-self.width // TILE)

    @property
    def sides(self) -> tuple[int, int]:
        """Of the big image."""
        taps = KERNEL - 2 * PADDING - self.stride
        return self.height * self.stride + taps, self.width * self.stride + taps

    @property
    def channels(self) -> int:
        """Of the big image's phases together."""
        return self.stride**2 * self.big


MOVED = 50
"""What it costs to bring one number to a form's points or patches, in multiplications.

Measured on one core of an Intel Xeon with AVX2 and with AVX-512: between 28, where tiles did not
pay at one image, and 110, where they did at four.
"""


def takes_tiles(shape: Shape) -> bool:
    """Whether tiles are the faster form: by the products they save and the numbers they move."""
    rows, columns = shape.tiles
    tiles, pixels = shape.images * rows * columns, shape.images * shape.height * shape.width
    weights, patch = shape.small * shape.channels, KERNEL**2 * shape.big
    moved = tiles * (shape.small + shape.channels) + weights
    in_tiles = shape.points**2 * (tiles * weights + MOVED * moved)
    return in_tiles < pixels * patch * (shape.small + MOVED)


# Sums of slices, with as few passes over memory as there are


Term = tuple[float, Tensor]


def add_up(terms: list[Term], out: Tensor, onto: bool = False) -> Tensor:
    """``out`` becomes, or ``onto``: gets added, the sum of factors times tensors."""
    terms = [term for term in terms if term[0]]
    if not onto:
        one = next((i for i, (factor, _) in enumerate(terms) if factor == 1), None)
        if one is None:
            factor, tensor = terms.pop()
            torch.mul(tensor, factor, out=out)
        else:
            _, tensor = terms.pop(one)
            if terms:
                factor, other = terms.pop()
                torch.add(tensor, other, alpha=factor, out=out)
            else:
                out.copy_(tensor)
    for factor, tensor in terms:
        out.add_(tensor, alpha=factor)
    return out


def to_points(matrix: np.ndarray, given: list[Tensor], out: list[Tensor]) -> None:
    """``out[i]`` is the sum of ``matrix[i, j] * given[j]``; opposite points share their sums."""
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


def paired(given: list[Tensor]) -> list[Tensor]:
    """Sums and differences of what stands at opposite points."""
    last = len(given) - 1
    found = [given[0]]
    for i in range(1, last, 2):
        found += [given[i] + given[i + 1], given[i] - given[i + 1]]
    return [*found, given[last]]


def from_points(matrix: np.ndarray) -> np.ndarray:
    """``matrix`` for :func:`paired` inputs."""
    found = matrix.copy()
    for i in range(1, matrix.shape[1] - 1, 2):
        found[:, i] = (matrix[:, i] + matrix[:, i + 1]) / 2
        found[:, i + 1] = (matrix[:, i] - matrix[:, i + 1]) / 2
    return found


# The big image


def pad(x: Tensor, top: int, height: int, width: int) -> Tensor:
    """``(N, C, H, W)`` to ``(N, height, width, C)``, zeros around it, ``top`` of them first."""
    n, channels, h, w = x.shape
    found = x.new_empty(n, height, width, channels)
    found[:, :top].zero_()
    found[:, top + h :].zero_()
    found[:, top : top + h, :top].zero_()
    found[:, top : top + h, top + w :].zero_()
    found[:, top : top + h, top : top + w].copy_(x.permute(0, 2, 3, 1))
    return found


def crop(x: Tensor, shape: Shape) -> Tensor:
    """The transposed map of :func:`pad`."""
    h, w = shape.sides
    x = x[:, PADDING : PADDING + h, PADDING : PADDING + w].permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _padded_sides(shape: Shape) -> tuple[int, int]:
    return tuple(shape.stride * (TILE * n + shape.taps - 1) for n in shape.tiles)  # type: ignore[return-value]


def big_to_points(x: Tensor, shape: Shape) -> Tensor:
    """``(N, B, H, W)`` to ``(points**2, N * tiles, channels)``."""
    s, p = shape.stride, shape.points
    height, width = _padded_sides(shape)
    rows, columns = shape.tiles
    n = shape.images
    x = pad(x, PADDING, height, width).view(n, height // s, s, width // s, s * shape.big)
    matrix = transforms(shape.taps).big
    between = x.new_empty(p, n, rows, s, width // s, s * shape.big)
    to_points(matrix, [x[:, i::TILE][:, :rows] for i in range(p)], list(between.unbind(0)))
    found = x.new_empty(p, p, n, rows, columns, s, s * shape.big)
    to_points(
        matrix,
        [between[:, :, :, :, j::TILE][:, :, :, :, :columns] for j in range(p)],
        [found[:, j].transpose(3, 4) for j in range(p)],
    )
    return found.view(p * p, n * rows * columns, shape.channels)


def big_from_points(v: Tensor, shape: Shape) -> Tensor:
    """The transposed map of :func:`big_to_points`, ``(N, B, H, W)``."""
    s, p = shape.stride, shape.points
    height, width = _padded_sides(shape)
    rows, columns = shape.tiles
    n = shape.images
    matrix = from_points(transforms(shape.taps).big.T)
    v = v.view(p, p, n, rows, columns, s, s * shape.big)
    between = v.new_empty(p, n, rows, s, width // s, s * shape.big)
    _overlap(matrix, paired([v[:, j].transpose(3, 4) for j in range(p)]), between, 4)
    x = v.new_empty(n, height // s, s, width // s, s * shape.big)
    _overlap(matrix, paired(list(between.unbind(0))), x, 1)
    return crop(x.view(n, height, width, shape.big), shape)


def _overlap(matrix: np.ndarray, given: list[Tensor], out: Tensor, dim: int) -> None:
    count = given[0].shape[dim]
    out.narrow(dim, TILE * count, out.shape[dim] - TILE * count).zero_()
    for i, row in enumerate(matrix.tolist()):
        index = [slice(None)] * out.ndim
        index[dim] = slice(i, i + TILE * (count - 1) + 1, TILE)
        add_up(list(zip(row, given, strict=True)), out[tuple(index)], onto=i >= TILE)


# The small image


def small_to_points(x: Tensor, shape: Shape) -> Tensor:
    """``(N, S, h, w)`` to ``(points**2, N * tiles, S)``."""
    p, n = shape.points, shape.images
    rows, columns = shape.tiles
    x = pad(x, 0, rows * TILE, columns * TILE)
    matrix = transforms(shape.taps).small.T
    between = x.new_empty(p, n, rows, columns * TILE, shape.small)
    to_points(matrix, [x[:, i::TILE] for i in range(TILE)], list(between.unbind(0)))
    found = x.new_empty(p, p, n, rows, columns, shape.small)
    to_points(
        matrix, [between[:, :, :, j::TILE] for j in range(TILE)], [found[:, j] for j in range(p)]
    )
    return found.view(p * p, n * rows * columns, shape.small)


def small_from_points(m: Tensor, shape: Shape) -> Tensor:
    """The transposed map of :func:`small_to_points`, ``(N, S, h, w)``."""
    p, n = shape.points, shape.images
    rows, columns = shape.tiles
    h, w = shape.height, shape.width
    matrix = from_points(transforms(shape.taps).small)
    m = m.view(p, p, n, rows, columns, shape.small)
    between = m.new_empty(p, n, rows, w, shape.small)
    given = paired([m[:, j] for j in range(p)])
    for j, row in enumerate(matrix.tolist()):
        out = between[:, :, :, j::TILE]
        few = [x[:, :, :, : out.shape[3]] for x in given]
        add_up(list(zip(row, few, strict=True)), out)
    found = m.new_empty(n, h, w, shape.small)
    given = paired(list(between.unbind(0)))
    for i, row in enumerate(matrix.tolist()):
        out = found[:, i::TILE]
        add_up(list(zip(row, [x[:, : out.shape[1]] for x in given], strict=True)), out)
    return found.permute(0, 3, 1, 2)


# The weights


def weights_to_points(weight: Tensor, shape: Shape) -> Tensor:
    """``(S, B, 4, 4)`` to ``(points**2, S, channels)``."""
    s, p, r = shape.stride, shape.points, shape.taps
    w = weight.permute(0, 2, 3, 1).contiguous().view(shape.small, r, s, r, s * shape.big)
    matrix = transforms(r).weights
    between = w.new_empty(p, shape.small, s, r, s * shape.big)
    to_points(matrix, [w[:, k] for k in range(r)], list(between.unbind(0)))
    found = w.new_empty(p, p, shape.small, s, s * shape.big)
    to_points(matrix, [between[:, :, :, k] for k in range(r)], [found[:, j] for j in range(p)])
    return found.view(p * p, shape.small, shape.channels)


def weights_from_points(u: Tensor, shape: Shape) -> Tensor:
    """The transposed map of :func:`weights_to_points`, ``(S, B, 4, 4)``."""
    s, p, r = shape.stride, shape.points, shape.taps
    matrix = from_points(transforms(r).weights.T)
    u = u.view(p, p, shape.small, s, s * shape.big)
    between = u.new_empty(p, shape.small, s, r, s * shape.big)
    given = paired([u[:, j] for j in range(p)])
    for k, row in enumerate(matrix.tolist()):
        add_up(list(zip(row, given, strict=True)), between[:, :, :, k])
    found = u.new_empty(shape.small, r, s, r, s * shape.big)
    given = paired(list(between.unbind(0)))
    for k, row in enumerate(matrix.tolist()):
        add_up(list(zip(row, given, strict=True)), found[:, k])
    return found.view(shape.small, KERNEL, KERNEL, shape.big).permute(0, 3, 1, 2)


# As one product


class Product:
    """Patches of the big image, pixels of the small one, and a matrix of weights."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def big(self, x: Tensor) -> Tensor:
        """``(N, B, H, W)`` to ``(N * h * w, 16 * B)``."""
        shape = self.shape
        s, b = shape.stride, shape.big
        x = pad(x, PADDING, *(side + 2 * PADDING for side in shape.sides))
        n, height, width, _ = x.shape
        size = (n, shape.height, shape.width, KERNEL, KERNEL * b)
        step = (height * width * b, s * width * b, s * b, width * b, 1)
        return x.as_strided(size, step).reshape(-1, KERNEL * KERNEL * b)

    def big_of(self, small: Tensor, weights: Tensor) -> Tensor:
        shape = self.shape
        s, r, n = shape.stride, shape.taps, shape.images
        given = (small @ weights).view(n, shape.height, shape.width, r, s, r, s * shape.big)
        height, width = (side + 2 * PADDING for side in shape.sides)
        x = given.new_zeros(n, height // s, s, width // s, s * shape.big)
        for i in range(r):
            for j in range(r):
                part = x[:, i : i + shape.height, :, j : j + shape.width]
                part.add_(given[:, :, :, i, :, j].transpose(2, 3))
        return crop(x.view(n, height, width, shape.big), shape)

    def small(self, x: Tensor) -> Tensor:
        """``(N, S, h, w)`` to ``(N * h * w, S)``."""
        return x.permute(0, 2, 3, 1).reshape(-1, self.shape.small)

    def small_of(self, big: Tensor, weights: Tensor) -> Tensor:
        shape = self.shape
        x = (big @ weights.T).view(shape.images, shape.height, shape.width, shape.small)
        return x.permute(0, 3, 1, 2)

    def weights(self, weight: Tensor) -> Tensor:
        """``(S, B, 4, 4)`` as ``(S, 16 * B)``; no copy where it is channels last."""
        return weight.permute(0, 2, 3, 1).reshape(self.shape.small, -1)

    def weights_of(self, small: Tensor, big: Tensor) -> Tensor:
        shape = self.shape
        found = (small.T @ big).view(shape.small, KERNEL, KERNEL, shape.big)
        return found.permute(0, 3, 1, 2)


class Tiles:
    """The same at points of tiles, where products are cheaper."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def big(self, x: Tensor) -> Tensor:
        return big_to_points(x, self.shape)

    def big_of(self, small: Tensor, weights: Tensor) -> Tensor:
        return big_from_points(torch.bmm(small, weights), self.shape)

    def small(self, x: Tensor) -> Tensor:
        return small_to_points(x, self.shape)

    def small_of(self, big: Tensor, weights: Tensor) -> Tensor:
        return small_from_points(torch.bmm(big, weights.transpose(1, 2)), self.shape)

    def weights(self, weight: Tensor) -> Tensor:
        return weights_to_points(weight, self.shape)

    def weights_of(self, small: Tensor, big: Tensor) -> Tensor:
        return weights_from_points(torch.bmm(small.transpose(1, 2), big), self.shape)


class Convolve(torch.autograd.Function):
    """A convolution or, ``transposed``, its transpose, whose ``x`` is the small image."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, shape: Shape, transposed: bool, tiles: bool
    ) -> Tensor:
        ctx.shape, ctx.transposed = shape, transposed
        ctx.form = form = (Tiles if tiles else Product)(shape)
        weights = form.weights(weight)
        points = form.small(x) if transposed else form.big(x)
        # x and weight are only for gradients of gradients
        ctx.save_for_backward(x, weight, points, weights)
        return form.big_of(points, weights) if transposed else form.small_of(points, weights)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:  # type: ignore[override]
        x, weight, points, weights = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():  # these are to be differentiated again
            stride, one, none = [ctx.shape.stride] * 2, [1, 1], [0, 0]
            dx, dw, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, stride, [PADDING] * 2, one, ctx.transposed, none, 1,
                [need_x, need_weight, False],
            )  # fmt: skip
            return dx, dw, None, None, None
        form, dx, dw = ctx.form, None, None
        if ctx.transposed:
            small, big = points, form.big(gradient)
            dx = form.small_of(big, weights) if need_x else None
        else:
            small, big = form.small(gradient), points
            dx = form.big_of(small, weights) if need_x else None
        dw = form.weights_of(small, big) if need_weight else None
        return dx, dw, None, None, None


class Down(nn.Conv2d):
    """As :class:`nn.Conv2d`; on the CPU in full precision by :class:`Convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight  # once: spectral norm goes on each time that it is asked for
        stride = self.stride[0]
        height, width = (side + 2 * PADDING - KERNEL + stride for side in x.shape[2:])
        fitting = fits(self, x, weight) and not (height % stride or width % stride)
        if not fitting or self.out_channels == 1:  # one channel: nothing for a product to share
            return self._conv_forward(x, weight, self.bias)
        sides = height // stride, width // stride
        shape = Shape(len(x), *sides, self.in_channels, self.out_channels, stride)
        return convolve(x, weight, self.bias, shape, transposed=False)


class Up(nn.ConvTranspose2d):
    """As :class:`nn.ConvTranspose2d`; on the CPU in full precision by :class:`Convolve`."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not fits(self, x, self.weight) or output_size is not None:
            return super().forward(x, output_size)
        channels = self.out_channels, self.in_channels
        shape = Shape(len(x), *x.shape[2:], *channels, self.stride[0])
        return convolve(x, self.weight, self.bias, shape, transposed=True)


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, shape: Shape, transposed: bool
) -> Tensor:
    y = cast(Tensor, Convolve.apply(x, weight, shape, transposed, takes_tiles(shape)))
    return y if bias is None else y + bias[:, None, None]


def fits(layer: nn.Conv2d | nn.ConvTranspose2d, x: Tensor, weight: Tensor) -> bool:
    """Whether :class:`Convolve` may stand for ``layer`` on ``x``.

    In bf16 oneDNN's convolutions and on GPUs cuDNN's are faster.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and layer.kernel_size == (KERNEL, KERNEL)
        and layer.padding == (PADDING, PADDING)
        and layer.stride in ((1, 1), (2, 2))
        and layer.dilation == (1, 1)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and set(layer.output_padding) == {0}
        and min(x.shape) > 0
    )


def use_own_convolutions(generator: UNet) -> None:
    """Give each block a convolution of this module with the very same parameters."""
    for block in [*generator.down, *generator.up]:
        kind = Up if isinstance(block.conv, nn.ConvTranspose2d) else Down
        block.conv.__class__ = kind
