"""oneDNN's own convolution, for which its weight is laid out beforehand."""

from __future__ import annotations

import torch
from torch import Tensor

Activation = tuple[str, list[float], str]
"""By oneDNN's name, with its numbers and its kind."""

NONE: Activation = ("none", [], "")


class PackedConvolution:
    """A convolution, or a transposed one, and the activation that is fused to it."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        size: list[int],
        *,
        transposed: bool = False,
        padding: int,
        stride: int,
        output_padding: int = 0,
        fused: Activation = NONE,
    ) -> None:
        """``size``: images, channels, height and width of the usual input, for which the weight is
        laid out. ``output_padding``: of a transposed one."""
        self.bias, self.fused = bias, fused
        operators = torch.ops.mkldnn
        padded, steps, dilation, groups = [padding] * 2, [stride] * 2, [1, 1], 1
        self.geometry: tuple[list[int] | int, ...]
        if transposed:
            self.geometry = (padded, [output_padding] * 2, steps, dilation, groups)
            self.operator = operators._convolution_transpose_pointwise
            lay_out = operators._reorder_convolution_transpose_weight
        else:
            self.geometry = (padded, steps, dilation, groups)
            self.operator = operators._convolution_pointwise
            lay_out = operators._reorder_convolution_weight
        self.weight = lay_out(weight, *self.geometry, size)

    def __call__(self, x: Tensor) -> Tensor:
        made: Tensor = self.operator(x, self.weight, self.bias, *self.geometry, *self.fused)
        return made
