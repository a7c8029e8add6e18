"""Running a TensorRT engine: bytes to the GPU, one CUDA graph, bytes back, with two in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.engine import Translated
from pix2pix_batch.engines.export import EMBEDDING, IMAGE, NOISE, TRANSLATED
from pix2pix_batch.engines.library import Library
from pix2pix_batch.errors import EngineError

SLOTS = 2
"""Batches in flight: one is copied while the other is computed."""


class MemoryShortage(EngineError):
    """The GPU's memory is too small for the engine's batches."""


class Slot:
    """One stream with buffers, an execution context and, where it can be had, a CUDA graph.

    PyTorch owns the stream and all memory; host buffers are pinned, so that copies run beside
    the computation.
    """

    def __init__(self, library: Library, engine: Any, device: torch.device) -> None:
        self.context = engine.create_execution_context()
        if self.context is None:
            raise MemoryShortage("the GPU's memory is too small for the engine")
        self.stream = torch.cuda.Stream(device)
        self.host: dict[str, Tensor] = {}
        self.on_gpu: dict[str, Tensor] = {}
        self.inputs: list[str] = []
        self.outputs: list[str] = []
        for i in range(engine.num_io_tensors):
            name = engine.get_tensor_name(i)
            shape = tuple(engine.get_tensor_shape(name))
            dtype = DTYPES[engine.get_tensor_dtype(name).name]
            self.on_gpu[name] = torch.empty(shape, dtype=dtype, device=device)
            self.host[name] = torch.empty(shape, dtype=dtype, pin_memory=True)
            is_input = engine.get_tensor_mode(name) == library.trt.TensorIOMode.INPUT
            (self.inputs if is_input else self.outputs).append(name)
            self.context.set_tensor_address(name, self.on_gpu[name].data_ptr())
        self.done = torch.cuda.Event()
        self.graph = self._captured()

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        """The computation as a CUDA graph: launched at once instead of layer by layer."""
        with torch.cuda.stream(self.stream):
            self._execute()  # what is allocated or compiled late, is now
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self._execute()
        except (RuntimeError, EngineError):  # an engine that cannot be captured still runs
            torch.cuda.synchronize()
            return None
        return graph

    def _execute(self) -> None:
        if not self.context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise EngineError("TensorRT could not run the engine")

    def start(self, arrays: dict[str, np.ndarray]) -> None:
        """Copy in, compute and copy out, all queued; returns at once."""
        for name in self.inputs:
            self.host[name].numpy()[...] = arrays[name]
        with torch.cuda.stream(self.stream):
            for name in self.inputs:
                self.on_gpu[name].copy_(self.host[name], non_blocking=True)
            if self.graph is not None:
                self.graph.replay()
            else:
                self._execute()
            for name in self.outputs:
                self.host[name].copy_(self.on_gpu[name], non_blocking=True)
            self.done.record()

    def finish(self) -> Translated:
        """What :meth:`start` began; copies, since the buffers are used again."""
        self.done.synchronize()
        return Translated(self.host[TRANSLATED].numpy().copy(), self.host[EMBEDDING].numpy().copy())


class TensorRTEngine:
    """A built engine on one GPU; an :class:`pix2pix_batch.engine.Engine`.

    ``plan`` must come from :class:`pix2pix_batch.engines.cache.Cache`: loading one runs it. Not
    for use from several threads at once. Raises :class:`EngineError` where it does not fit this
    GPU or its memory.
    """

    takes_fewer = False

    def __init__(
        self,
        library: Library,
        plan: bytes,
        *,
        size: int,
        batch_size: int,
        precision: str,
        device: str = "cuda",
    ) -> None:
        self.size, self.batch_size, self.precision = size, batch_size, precision
        self.device, self.backend = device, library.name
        self.errors = library.listen()
        self.runtime = library.trt.Runtime(self.errors.logger)
        self.engine = self.runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            raise EngineError(
                f"{library.name} {library.version} cannot load the engine: {self.errors}"
            )
        self.masked = [
            name
            for i in range(self.engine.num_io_tensors)
            if (name := self.engine.get_tensor_name(i)).startswith(NOISE)
        ]
        try:
            place = torch.device(device)
            self.slots = [Slot(library, self.engine, place) for _ in range(SLOTS)]
        except torch.cuda.OutOfMemoryError as error:
            raise MemoryShortage(
                f"the GPU's memory is too small for batches of {batch_size}"
            ) from error
        self.flying: deque[Slot] = deque()

    def __call__(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> Translated:
        self.start(images, masks)
        return self.finish()

    def start(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> None:
        """Begin a batch; at most :data:`SLOTS` may be under way."""
        if len(self.flying) == SLOTS:
            raise ValueError(f"{SLOTS} batches are under way; finish one first")
        slot = (
            self.slots[0] if not self.flying or self.flying[-1] is self.slots[1] else self.slots[1]
        )
        if len(masks or ()) != len(self.masked):
            raise ValueError(f"the engine takes {len(self.masked)} masks, not {len(masks or ())}")
        slot.start({IMAGE: images, **dict(zip(self.masked, masks or (), strict=True))})
        self.flying.append(slot)

    def finish(self) -> Translated:
        """The result of the batch begun first."""
        return self.flying.popleft().finish()

    def close(self) -> None:
        """Give the GPU's memory back."""
        while self.flying:
            self.finish()
        self.slots.clear()
        self.engine = self.runtime = None
        torch.cuda.empty_cache()


DTYPES = {
    "UINT8": torch.uint8,
    "BOOL": torch.bool,
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
}
"""PyTorch's types by TensorRT's names."""
