"""Memory that the layers of a network use in turn."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Named float32 buffers, each as large as the largest wish for it.

    Every use of a name begins at the same address, so that what a library makes of an address
    (alignment) is the same in each call.
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}
        self._used = False

    def reserve(self, name: str, count: int) -> None:
        """Room for ``count`` numbers; to be called before the first :meth:`view`."""
        if self._used:
            raise RuntimeError("memory was asked for after it had been handed out")
        if name not in self._buffers or self._buffers[name].numel() < count:
            self._buffers[name] = torch.zeros(count)

    def view(self, name: str, *shape: int) -> Tensor:
        """The buffer as a contiguous tensor, with whatever was left in it."""
        self._used = True
        return self._buffers[name][: math.prod(shape)].view(shape)
