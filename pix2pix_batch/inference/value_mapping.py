"""Samples to a generator's levels and back, in PyTorch: within engines and their graphs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pix2pix_batch.value_ranges import BandRange, ValueRange

TYPES = {
    "uint8": torch.uint8,
    "uint16": torch.uint16,
    "int16": torch.int16,
    "float32": torch.float32,
}
"""PyTorch's types by the names that :data:`pix2pix_batch.value_ranges.LIMITS` has for them."""


class ValueMapping:
    """What one side's samples are to the generator (:meth:`ValueRange.to_levels`), in float32.

    Images of 8 bits go the way that they always went, bit for bit.
    """

    def __init__(self, side: ValueRange) -> None:
        self.side = side
        self.type = TYPES[side.dtype]
        self._is_log = [band.scale == "log" for band in side.bands]
        self._on_gpu: dict[tuple[object, ...], Tensor] = {}

    def to_levels(self, images: Tensor) -> Tensor:
        """``(N, H, W, C)`` to ``float32 (N, C, H, W)`` in [-1, 1]."""
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        if self.side.is_eight_bit:
            return x.div_(127.5).sub_(1)
        low = self._column([band.low for band in self.side.bands], x)
        high = self._column([band.high for band in self.side.bands], x)
        x = torch.minimum(torch.maximum(x, low), high)
        start, span = self._bounds(x)
        return (self._logarithm(x) - start) * (2 / span) - 1

    def to_values(self, levels: Tensor, kind: torch.dtype | None = None) -> Tensor:
        """``(N, C, H, W)`` in [-1, 1] to ``(N, H, W, C)`` of the side's type, or of ``kind`` that
        holds its values: whole numbers rounded to nearest. May change ``levels``."""
        y = levels.float()
        if self.side.is_eight_bit:
            y = y.add_(1).mul_(127.5).round_().clamp_(0, 255)
            return y.to(kind or self.type).permute(0, 2, 3, 1).contiguous()
        start, span = self._bounds(y)
        y = self._exponential((y + 1) * (span / 2) + start)
        if self.side.is_whole:
            y = y.round()
        limits = [self.side.limits_of(band) for band in self.side.bands]
        least, most = (self._column(list(side), y) for side in zip(*limits, strict=True))
        y = torch.minimum(torch.maximum(y, least), most)
        return y.permute(0, 2, 3, 1).to(kind or self.type).contiguous()

    def _bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """What level -1 is, of logarithmic bands its logarithm, and how far level 1 is from it."""
        bounds = [_bounds_of(band) for band in self.side.bands]
        starts, _ = zip(*bounds, strict=True)
        spans = [end - start for start, end in bounds]
        return self._column(list(starts), like), self._column(spans, like)

    def _logarithm(self, x: Tensor) -> Tensor:
        if not any(self._is_log):
            return x
        if all(self._is_log):
            return x.log()
        is_log = self._flags(x)
        return torch.where(is_log, torch.where(is_log, x, 1.0).log(), x)

    def _exponential(self, x: Tensor) -> Tensor:
        if not any(self._is_log):
            return x
        if all(self._is_log):
            return x.exp()
        is_log = self._flags(x)
        return torch.where(is_log, torch.where(is_log, x, 0.0).exp(), x)

    def _column(self, numbers: list[float], like: Tensor) -> Tensor:
        """One number a channel; a single one where all are the same."""
        distinct = numbers[:1] if len(set(numbers)) == 1 else numbers
        return self._constant(distinct, torch.float32, like.device)

    def _flags(self, like: Tensor) -> Tensor:
        return self._constant(self._is_log, torch.bool, like.device)

    def _constant(
        self, values: list[float] | list[bool], kind: torch.dtype, place: torch.device
    ) -> Tensor:
        """On a GPU the same one each time: nothing can be copied there within a CUDA graph."""
        if place.type == "cpu":
            return torch.tensor(values, dtype=kind).view(1, -1, 1, 1)
        key = (*values, kind, place)
        if key not in self._on_gpu:
            made = torch.tensor(values, dtype=kind).view(1, -1, 1, 1)
            self._on_gpu[key] = made.to(place)
        return self._on_gpu[key]


def _bounds_of(band: BandRange) -> tuple[float, float]:
    if band.scale == "log":
        return math.log(band.low), math.log(band.high)
    return band.low, band.high
