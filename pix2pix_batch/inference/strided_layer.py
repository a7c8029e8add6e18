"""What a U-Net's convolution is made from, whichever of the fast ways computes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from pix2pix_batch.inference.workspace import Workspace


class StridedLayer(NamedTuple):
    """A 4x4 convolution of stride 2 and padding 1, or a transposed one, and what follows it.

    ``weight``: float32, ``(outputs, inputs, 4, 4)``, of a transposed one
    ``(inputs, outputs, 4, 4)``. ``bias``: float32, ``(outputs,)``. ``shape``: the batch size and
    the height and width of the input. ``activate``: is called with a tensor and ``out``.
    ``workspace``: lends the buffers that the layers of a network use in turn.
    """

    weight: Tensor
    bias: Tensor | None
    shape: tuple[int, int, int]
    transposed: bool
    activate: Callable[..., Tensor] | None
    workspace: Workspace

    @property
    def channels(self) -> tuple[int, int]:
        """The numbers of input and of output channels."""
        first, second = self.weight.shape[:2]
        return (first, second) if self.transposed else (second, first)
