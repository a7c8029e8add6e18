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

The products over the channels are 16 matrix products, one batched call. All is done block by
block, so that what a block makes stays in the cache, and a block has the same number of rows
whatever the number of images is: an image's bits do not depend on its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from pix2pix_batch.workspace import Workspace

OUTPUTS = 3
"""Outputs of a tile along each axis."""
POINTS = OUTPUTS + 1
INPUTS = ((0, 2, torch.sub), (1, 2, torch.add), (3, 1, torch.sub), (2, 1, torch.sub))
"""Of each point, what it makes of which two of a tile's inputs."""
KERNEL = ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (0.5, -0.5))
TAPS_OF_PHASE = ((2, 0), (3, 1))
"""Which rows of a transposed kernel meet a tile's inputs j and j + 1 in the output's row
2 j - 1, and in the row after it."""
ENOUGH_CHANNELS = 48
"""Inputs times outputs over their sum: the products' work over the transforms'."""
ENOUGH_OUTPUTS = 16
"""Along each axis, of each phase. Fewer are too few tiles for a matrix product of full speed."""
LARGEST_KERNEL = 2**26
"""Bytes."""
BLOCK = 64
"""Tiles of a block, at least, if there are so many: enough for a matrix product of full speed
(``benchmarks/convolutions.py``)."""


class Part(NamedTuple):
    """Rows of tiles whose transform along the height is one operation.

    ``point``, ``phase``: what is made; ``begin``, ``end``: the block's rows of tiles;
    ``first``, ``second``: the input's row of the first of them, or ``None`` for zeros.
    """

    point: int
    phase: int
    begin: int
    end: int
    first: int | None
    second: int | None


def tiles(size: int, transposed: bool) -> int:
    """Tiles along an axis of ``size`` outputs (of each phase). A transposed convolution's first
    phase begins one place before the image."""
    return -(-(size + transposed) // OUTPUTS)


def is_faster(inputs: int, outputs: int, size: tuple[int, int], transposed: bool) -> bool:
    """Whether a layer takes less time this way than by oneDNN's direct convolution, and its
    kernel, four times as large, not too much memory. ``size``: the input's height and width."""
    return (
        inputs * outputs / (inputs + outputs) >= ENOUGH_CHANNELS
        and min(size) >= (ENOUGH_OUTPUTS if transposed else 2 * ENOUGH_OUTPUTS)
        and 4 * POINTS**2 * inputs * outputs * 4 <= LARGEST_KERNEL
    )


def transform_kernel(weight: Tensor, transposed: bool) -> Tensor:
    """``(16, inputs, outputs)``, float32, from a 4x4 convolution's weight.

    Inputs are (row's phase, column's phase, channel), or of a transposed convolution outputs are.
    Worked out in float64, point by point: the kernel of a wide layer takes 64 MB.
    """
    if transposed:  # (in, out, 4, 4)
        taps = torch.tensor(TAPS_OF_PHASE)
        g = weight[:, :, taps][..., taps]  # in, out, row's phase and tap, column's phase and tap
        g = g.permute(3, 5, 0, 2, 4, 1)  # taps, in, phases, out
        inputs = weight.shape[0]
    else:  # (out, in, 4, 4), row 2 * tap + phase
        g = weight.unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(2, 4, 3, 5, 1, 0)
        inputs = 4 * weight.shape[1]
    kernel = torch.empty(POINTS**2, inputs, weight.numel() // 4 // inputs)
    for p, above in enumerate(KERNEL):
        for q, beside in enumerate(KERNEL):
            u = sum(
                a * b * g[i, j].double()
                for i, a in enumerate(above)
                for j, b in enumerate(beside)
                if a * b
            )
            kernel[POINTS * p + q] = u.reshape(kernel.shape[1:])
    return kernel


class WinogradConvolution:
    """One 4x4 convolution of stride 2 and padding 1, or a transposed one, bias and activation.

    float32, channels last.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        *,
        shape: tuple[int, int, int],
        transposed: bool,
        activate: Callable[..., Tensor] | None,
        workspace: Workspace,
        block: int = BLOCK,
    ) -> None:
        """``shape``: batch size, height and width of the input. ``activate``: called with a
        tensor and ``out``."""
        self.transposed, self.activate, self.workspace = transposed, activate, workspace
        self.kernel = transform_kernel(weight, transposed)
        self.inputs, self.outputs = weight.shape[:2] if transposed else weight.shape[1::-1]
        self.bias = None if bias is None else bias.repeat(4 if transposed else 1)
        batch, self.height, self.width = shape
        self.scale_in, self.scale_out = (1, 2) if transposed else (2, 1)
        self.rows, self.columns = (tiles(n // self.scale_in, transposed) for n in shape[1:])
        self.images = max(1, min(batch, block // (self.rows * self.columns)))
        count = self.rows if self.images > 1 else min(self.rows, -(-block // self.columns))
        parts = -(-self.rows // count)
        self.count = -(-self.rows // parts)
        self.plans = [
            (begin, min(begin + self.count, self.rows)) for begin in range(0, self.rows, self.count)
        ]
        self.parts = [self._plan(begin, end) for begin, end in self.plans]
        self._reserve()

    def _plan(self, begin: int, end: int) -> list[Part]:
        """The transform along the height of the rows of tiles from ``begin`` to ``end``."""
        s, parts = self.scale_in, []
        for point, (i, j, _) in enumerate(INPUTS):
            for phase in range(s):
                rows = [
                    tuple(
                        r if 0 <= r < self.height else None
                        for r in (s * (OUTPUTS * t + k) + phase - 1 for k in (i, j))
                    )
                    for t in range(begin, end)
                ]
                start = 0
                for t in range(1, len(rows) + 1):
                    kind = [r is None for r in rows[start]]
                    if t == len(rows) or [r is None for r in rows[t]] != kind:
                        parts.append(Part(point, phase, start, t, *rows[start]))
                        start = t
        return parts

    def _shapes(self, rows: int) -> dict[str, tuple[int, ...]]:
        s, o, n = self.scale_in, self.scale_out, self.images
        across = s * (OUTPUTS * self.columns + 1)
        return {
            "lines": (POINTS, n, rows, s, across, self.inputs),
            "v": (POINTS, POINTS, n, rows, self.columns, s, s * self.inputs),
            "m": (POINTS, POINTS, n, rows, self.columns, o, o * self.outputs),
            "sum": (POINTS, n, rows, self.columns, o, o * self.outputs),
            "y": (n, rows, OUTPUTS, o, self.columns, OUTPUTS, o * self.outputs),
        }

    def _reserve(self) -> None:
        for name, shape in self._shapes(self.count).items():
            self.workspace.reserve(name, math.prod(shape))

    def tiles_a_batch(self, batch: int) -> int:
        """Rows that the matrix products of so many images have, with those that are left empty."""
        return -(-batch // self.images) * self.images * self.rows * self.columns

    def __call__(self, x: Tensor, out: Tensor) -> Tensor:
        """``x (n, inputs, H, W)``; the result is written into ``out`` and returned."""
        source, target = x.permute(0, 2, 3, 1), out.permute(0, 2, 3, 1)
        for first in range(0, len(x), self.images):
            images = slice(first, min(first + self.images, len(x)))
            for (begin, end), parts in zip(self.plans, self.parts, strict=True):
                buffers = {
                    name: self.workspace.view(name, *shape)
                    for name, shape in self._shapes(end - begin).items()
                }
                self.transform_input(source[images], parts, buffers)
                self.multiply(buffers)
                self.transform_output(begin, end, target[images], buffers)
        return out

    def multiply(self, buffers: Mapping[str, Tensor]) -> None:
        v, m = (
            buffers[name].view(POINTS**2, -1, n)
            for name, n in (("v", self.kernel.shape[1]), ("m", self.kernel.shape[2]))
        )
        torch.bmm(v, self.kernel, out=m)

    def transform_input(self, x: Tensor, parts: list[Part], buffers: Mapping[str, Tensor]) -> None:
        lines, v, n = buffers["lines"], buffers["v"], len(x)
        s = self.scale_in
        lines[..., 0, :].zero_()
        lines[..., self.width + 1 :, :].zero_()
        inside = lines[:, :n, :, :, 1 : self.width + 1]
        step = OUTPUTS * s
        for point, phase, begin, end, first, second in parts:
            to = inside[point, :, begin:end, phase]
            reach = step * (end - begin - 1) + 1
            one = None if first is None else x[:, first : first + reach : step]
            two = None if second is None else x[:, second : second + reach : step]
            combine = INPUTS[point][2]
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
        flat = lines.flatten(-2)
        run = s * self.inputs
        taken = [
            flat[..., j * run :].unfold(-1, run, OUTPUTS * run)[..., : self.columns, :]
            for j in range(POINTS)
        ]
        for point, (i, j, combine) in enumerate(INPUTS):
            to = v[:, point].transpose(-2, -3)
            combine(taken[i], taken[j], out=to)

    def transform_output(
        self, begin: int, end: int, target: Tensor, buffers: Mapping[str, Tensor]
    ) -> None:
        m, s, y, o = buffers["m"], buffers["sum"], buffers["y"], self.scale_out
        if self.bias is not None:
            m[1, 1].flatten(-2).add_(self.bias)  # it reaches each of the tile's outputs once
        torch.add(m[1], m[3], out=s)
        m[1].sub_(m[3])
        m[0].add_(s)
        m[2].add_(s)
        # now along the width: (output row, n, rows, columns, phase, run)
        z = [m[:OUTPUTS, j] for j in range(POINTS)]
        s = s[:OUTPUTS]
        to = [y[:, :, :, :, :, j].permute(2, 0, 1, 4, 3, 5) for j in range(OUTPUTS)]
        torch.add(z[1], z[3], out=s)
        torch.sub(z[1], z[3], out=to[1])
        torch.add(z[0], s, out=to[0])
        torch.add(z[2], s, out=to[2])
        offset = o - 1
        top = o * OUTPUTS * begin - offset
        image = y.view(self.images, (end - begin) * OUTPUTS * o, -1, self.outputs)
        low, high = max(top, 0), min(top + image.shape[1], target.shape[1])
        kept = image[: len(target), low - top : high - top, offset : offset + target.shape[2]]
        to_rows = target[:, low:high]
        if self.activate is None:
            to_rows.copy_(kept)
        else:
            self.activate(kept, out=to_rows)
