"""Adam in one pass over weights that are channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class ChannelsLastAdam(torch.optim.Adam):
    """PyTorch's fused Adam, to which channels-last weights look contiguous.

    On the CPU the fused form copies what is not contiguous, number by number out of order, which
    takes several times as long as the update itself; and where a weight and its gradient lie
    differently in memory it pairs the wrong numbers. Here the dimensions of both, and of the
    averages, are those of their memory while the update runs. Outside of :meth:`step`, so in
    checkpoints too, all is as with PyTorch's own.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, fused=True)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is not None:
            raise ValueError("the weights are not to be looked at during the update")
        with self._in_order_of_memory():
            return super().step()

    @contextmanager
    def _in_order_of_memory(self) -> Iterator[None]:
        turned = [
            weight
            for group in self.param_groups
            for weight in group["params"]
            if weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
        ]
        self._permute(turned, 0, 2, 3, 1)
        for weight in turned:
            if weight.grad is not None:
                weight.grad = weight.grad.contiguous()
        try:
            yield
        finally:
            self._permute(turned, 0, 3, 1, 2)

    def _permute(self, weights: list[Tensor], *order: int) -> None:
        for weight in weights:
            gradient, weight.grad = weight.grad, None
            weight.data = weight.data.permute(order)
            weight.grad = None if gradient is None else gradient.permute(order)
            state = self.state.get(weight, {})
            for name, value in state.items():
                if isinstance(value, Tensor) and value.dim() == len(order):
                    state[name] = value.permute(order)
