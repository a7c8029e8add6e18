"""Winograd's convolution for the U-Net's 4x4 kernels of stride 2, in plain PyTorch.

An image's even and odd rows and columns are four images of half the size. On these, a 4x4
convolution of stride 2 is a 2x2 convolution of stride 1, of four times the channels; a transposed
one is four such, one for each phase of its output, on the same input. F(3x3, 2x2) (Lavin and Gray,
2015, arXiv 1509.09308, section 4; points 0, 1, -1 and infinity) makes 3x3 of their outputs from 16
products instead of 36, with transforms of the input and the output that only add and subtract:

====================  ============================  ===================================
input (each axis)     kernel (each axis)            output (each axis)
====================  ============================  ===================================
v0 = d0 - d2          u0 = g0                       y0 = m0 + (m1 + m3)
v1 = d1 + d2          u1 = (g0 + g1) / 2            y1 = m1 - m3
v2 = d3 - d1          u2 = g1                       y2 = m2 + (m1 + m3)
v3 = d2 - d1          u3 = (g0 - g1) / 2
====================  ============================  ===================================

The products over the channels are 16 matrix products. All is done block by block, so that what a
block makes stays in the cache, and a block has the same number of rows whatever the number of
images is: a matrix product may round a row otherwise by how many rows there are, and an image's
bits must not depend on its neighbours (:func:`multiplies_alike` sees to their places).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, product
from typing import NamedTuple

import torch
from torch import Tensor

from pix2pix_batch.inference.strided_layer import StridedLayer
from pix2pix_batch.inference.winograd_tiling import BLOCKS, OUTPUTS, POINTS, Blocks, tile

INPUTS = ((0, 2, torch.sub), (1, 2, torch.add), (3, 1, torch.sub), (2, 1, torch.sub))
"""Of each point, what it makes of which two of a tile's inputs."""
TAPS_OF_PHASE = ((2, 0), (3, 1))
"""Which rows of a transposed kernel meet a tile's inputs j and j + 1 in the output's row
2 j - 1, and in the row after it."""

Operation = tuple[Callable[..., Tensor], Tensor, Tensor, Tensor]


class TileRows(NamedTuple):
    """Rows of tiles whose rows of the input are transformed in one operation.

    ``first``, ``second``: the image's rows for the first of them, or ``None`` for zeros around the
    image; ``to``: where to.
    """

    first: int | None
    second: int | None
    to: Tensor


class Point(NamedTuple):
    """What is done at one of the points along the height.

    ``lines``: the input's transform along it; ``width_in``, ``width_out``: operations along the
    width, each a function, its two arguments and its result; ``v``, ``m``: the products' factor
    and result.
    """

    lines: list[TileRows]
    width_in: list[Operation]
    v: Tensor
    m: Tensor
    width_out: list[Operation]


class OutputRows(NamedTuple):
    """A block's rows of the output that are ``steps`` steps from ``row``, and where they lie."""

    row: int
    steps: int
    made: Tensor


class Block(NamedTuple):
    """A number of rows of tiles of a number of images: all that is done, on views of the workspace.

    Making a view takes as long as adding up a thousand numbers.
    """

    points: list[Point]
    height_out: list[Operation]
    made: list[OutputRows]


def transform_kernel(weight: Tensor, transposed: bool, *, outputs_first: bool = False) -> Tensor:
    """Transform the weight of a 4x4 convolution of stride 2.

    Args:
        weight: The weight, as PyTorch's module has it.
        transposed: Whether it is a transposed convolution's.
        outputs_first: Whether the kernel is a view of one that lies the other way in memory.

    Returns:
        The kernel, ``float32 (16, inputs, outputs)``, of :func:`transform_taps`' inputs and
        outputs.
    """
    first, second = weight.shape[:2]
    shape = (first, 4 * second) if transposed else (4 * second, first)
    kernel = torch.empty(POINTS**2, *(shape[::-1] if outputs_first else shape))
    for to, made in zip(kernel, transform_taps(weight, transposed, _points), strict=True):
        to.copy_(made.T if outputs_first else made)
    return kernel.transpose(1, 2) if outputs_first else kernel


def transform_taps(
    weight: Tensor, transposed: bool, points: Callable[[Tensor, Tensor], Iterator[Tensor]]
) -> Iterator[Tensor]:
    """Transform the weight of a 4x4 convolution of stride 2, as 2x2 taps between phases.

    Worked out along the height, then along the width, each sum rounded once: float64 would make
    no difference that one sees behind the products' own rounding, and takes five times as long.

    Args:
        weight: The weight, as PyTorch's module has it.
        transposed: Whether it is a transposed convolution's.
        points: Makes of two taps along an axis what they are at each point.

    Yields:
        Of each point along the height, of each along the width: ``float32 (inputs, outputs)``.
        Inputs are (row's phase, column's phase, channel), or of a transposed convolution outputs
        are.
    """
    if transposed:  # (in, out, 4, 4)
        taps = torch.tensor(TAPS_OF_PHASE)
        g = weight[:, :, taps][..., taps]  # in, out, row's phase and tap, column's phase and tap
        g = g.permute(3, 5, 0, 2, 4, 1)  # taps, in, phases, out
        inputs = weight.shape[0]
    else:  # (out, in, 4, 4), row 2 * tap + phase
        g = weight.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(2, 4, 3, 5, 1, 0)
        inputs = 4 * weight.shape[1]
    g = g.reshape(2, 2, inputs, weight.numel() // 4 // inputs)
    for above in points(*g):
        yield from points(*above)


def _points(first: Tensor, second: Tensor) -> Iterator[Tensor]:
    """What a kernel's two taps along an axis are at the four points."""
    yield first
    yield first.add(second).div_(2)
    yield second
    yield first.sub(second).div_(2)


def multiplies_alike(kernel: Tensor, rows: int, images: int) -> bool:
    """Say whether images come out of a product the same, bit for bit, at any place in it, and as
    they do alone.

    A library may do the last rows of a matrix by other instructions than the rows before. This is
    tried on numbers from a fixed seed, so that the answer is the same whenever the CPU is.

    Args:
        kernel: The kernel, ``(products, inputs, outputs)``.
        rows: Rows of an image in the product.
        images: How many images share the product.

    Returns:
        Whether they do.
    """
    if images == 1:
        return True
    random = torch.Generator().manual_seed(0)
    image = torch.randn((len(kernel), rows, kernel.shape[1]), generator=random)
    made = torch.bmm(image.repeat(1, images, 1), kernel).unflatten(1, (images, rows))
    return bool((made == torch.bmm(image, kernel)[:, None]).all())


# Everything that a call needs is worked out once, before it.
class WinogradConvolution:
    """A :class:`StridedLayer` in Winograd's way; float32, channels last.

    Of a block of tiles, the four points along the height are done one
    after the other, so that what is between their transforms and products is small.
    """

    def __init__(self, layer: StridedLayer, blocks: Blocks = BLOCKS["AVX512"]) -> None:
        _, self.height, self.width = layer.shape
        self.activate, self.workspace = layer.activate, layer.workspace
        kernel = transform_kernel(
            layer.weight, layer.transposed, outputs_first=blocks.outputs_first
        )
        self.kernel = kernel.unflatten(0, (POINTS, POINTS))
        self.inputs, self.outputs = layer.channels
        self.bias = None if layer.bias is None else layer.bias.repeat(4 if layer.transposed else 1)
        self.tiling = tile(layer.shape, layer.transposed, blocks)
        product_size = self.tiling.rows * self.tiling.columns, self.tiling.images
        # Then each product has one image only: slower, but its bits depend on no neighbour.
        if not multiplies_alike(self.kernel[0], *product_size):
            self.tiling = tile(layer.shape, layer.transposed, blocks._replace(group=0))
        self.phases_in, self.phases_out = self.tiling.phases
        _, self.rows, self.columns, self.images, self.count = self.tiling
        self.views: dict[int, list[Block]] = {}
        for name, shape in self._shapes(self.count).items():
            # Only reserved: views are made at the first call, when all layers have said how much
            # they need.
            self.workspace.reserve(name, math.prod(shape))

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """``x (n, inputs, H, W)``; the result is written into ``out`` and returned."""
        # At each call: the workspace is shared, and another layer's buffers lie in the same memory.
        self._clear_borders()
        for first in range(0, len(x), self.images):
            source = x[first : first + self.images].permute(0, 2, 3, 1)
            target = out[first : first + self.images].permute(0, 2, 3, 1)
            for block in self._blocks(len(source)):
                # Point after point, not stage after stage: what is between the stages then stays in
                # the cache.
                for number, point in enumerate(block.points):
                    self.transform_input(source, INPUTS[number][2], point)
                    self.multiply(number, point)
                    self.transform_width(point)
                self.transform_height(target, block)
        return out

    # What is done

    def _clear_borders(self) -> None:
        """Zeros beside the image. Only another layer writes there."""
        lines = self.workspace.view("lines", *self._shapes(self.count)["lines"])
        lines[..., 0, :].zero_()
        lines[..., self.width + 1 :, :].zero_()

    def transform_input(self, x: Tensor, combine: Callable[..., Tensor], point: Point) -> None:
        """Transform the input of a block for one of the four points along the height.

        Args:
            x: The input, channels last.
            combine: Adds or subtracts two rows.
            point: The buffers of this point, and what is done in them.
        """
        for first, second, to in point.lines:
            one, two = (
                None if row is None else self._rows_of(x, row, to.shape[1], self.phases_in)
                for row in (first, second)
            )
            if one is not None and two is not None:
                combine(one, two, out=to)
            elif one is not None:
                to.copy_(one)
            elif two is None:
                to.zero_()
            elif combine is torch.sub:
                torch.neg(two, out=to)
            else:
                to.copy_(two)
        for function, one, two, to in point.width_in:
            function(one, two, out=to)

    def multiply(self, number: int, point: Point) -> None:
        torch.bmm(point.v, self.kernel[number], out=point.m)
        if self.bias is not None and number == 1:
            point.m[1].add_(self.bias)  # from here it reaches each of a tile's outputs once

    def transform_width(self, point: Point) -> None:
        for function, one, two, to in point.width_out:
            function(one, two, out=to)

    def transform_height(self, target: Tensor, block: Block) -> None:
        """The outputs along the height, activated, to where they belong in ``target``."""
        for function, one, two, to in block.height_out:
            function(one, two, out=to)
        for row, steps, made in block.made:
            to = self._rows_of(target, row, steps, self.phases_out)
            if self.activate is None:
                to.copy_(made)
            else:
                self.activate(made, out=to)

    @staticmethod
    def _rows_of(x: Tensor, row: int, count: int, phases: int) -> Tensor:
        """Of images ``(n, H, W, C)`` every ``OUTPUTS * phases``-th row from ``row`` on."""
        n, high, wide, deep = x.stride()
        return x.as_strided(
            (len(x), count, *x.shape[2:]),
            (n, OUTPUTS * phases * high, wide, deep),
            x.storage_offset() + row * high,
        )

    # On which views

    def _shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Of each buffer of a block of so many rows of tiles."""
        return self.tiling.buffers(rows, self.inputs, self.outputs)

    def _blocks(self, n: int) -> list[Block]:
        """All blocks of ``n`` images' rows of tiles. The workspace must not grow any more."""
        if n not in self.views:
            self.views[n] = [
                self._block(begin, min(begin + self.count, self.rows), n)
                for begin in range(0, self.rows, self.count)
            ]
        return self.views[n]

    def _block(self, begin: int, end: int, n: int) -> Block:
        view = {
            name: self.workspace.view(name, *shape)
            for name, shape in self._shapes(end - begin).items()
        }
        v, m, z, total = view["v"], view["m"], view["z"], view["sum"]
        flat, run = view["lines"].flatten(-2), self.phases_in * self.inputs
        windows = [
            flat[..., j * run :].unfold(-1, run, OUTPUTS * run)[..., : self.columns, :]
            for j in range(POINTS)
        ]
        width_in = [
            (combine, windows[i], windows[j], v[q].transpose(-2, -3))
            for q, (i, j, combine) in enumerate(INPUTS)
        ]
        points = [
            Point(
                self._lines(begin, end, view["lines"][:n], *INPUTS[p][:2]),
                width_in,
                v.view(POINTS, -1, self.kernel.shape[-2]),
                m.view(POINTS, -1, self.kernel.shape[-1]),
                outputs(m, total, [z[p, ..., j, :].transpose(-2, -3) for j in range(OUTPUTS)]),
            )
            for p in range(POINTS)
        ]
        return Block(
            points,
            outputs(z, view["sums"], list(z[:OUTPUTS])),
            self._assemble(begin, end, z[:, :n]),
        )

    def _lines(self, begin: int, end: int, lines: Tensor, i: int, j: int) -> list[TileRows]:
        """Of inputs ``i`` and ``j`` of tiles; those that take zeros around the image apart."""
        found, s = [], self.phases_in
        for phase in range(s):
            rows = [
                tuple(s * (OUTPUTS * t + k) + phase - 1 for k in (i, j)) for t in range(begin, end)
            ]
            inside = [tuple(0 <= row < self.height for row in both) for both in rows]
            for kind, same in groupby(range(end - begin), inside.__getitem__):
                places = list(same)
                first, second = (
                    row if known else None for row, known in zip(rows[places[0]], kind, strict=True)
                )
                to = lines[:, places[0] : places[-1] + 1, phase, 1 : self.width + 1]
                found.append(TileRows(first, second, to))
        return found

    def _assemble(self, begin: int, end: int, z: Tensor) -> list[OutputRows]:
        """Rows of the output in ``z``, without those outside the image."""
        found, o = [], self.phases_out
        height, width = (n * o // self.phases_in for n in (self.height, self.width))
        for i, phase in product(range(OUTPUTS), range(o)):
            row = o * i + phase - (o - 1)  # of the first row of tiles
            # Tiles reach beyond the image where its size is no multiple of theirs; what they make
            # there is dropped.
            low = max(begin, -(row // (OUTPUTS * o)))
            high = min(end, -((row - height) // (OUTPUTS * o)))
            if low < high:
                line = z[i, :, low - begin : high - begin, phase].unflatten(-1, (o, -1))
                made = line.flatten(2, 4)[:, :, o - 1 : o - 1 + width]
                found.append(OutputRows(row + OUTPUTS * o * low, high - low, made))
        return found


def outputs(m: Tensor, total: Tensor, y: Sequence[Tensor]) -> list[Operation]:
    """List the operations that make a tile's outputs along an axis from its points.

    Args:
        m: The four points, of which the outputs may be the first.
        total: Room for a sum.
        y: The three outputs.

    Returns:
        The operations, in order.
    """
    return [
        # The common sum first, since an output may lie where the point of its number does.
        (torch.add, m[1], m[3], total),
        (torch.sub, m[1], m[3], y[1]),
        (torch.add, m[0], total, y[0]),
        (torch.add, m[2], total, y[2]),
    ]
