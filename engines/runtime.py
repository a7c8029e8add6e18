"""Running a TensorRT engine: in the slots that PyTorch's batches on a GPU have too."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.engines.cache import RuntimeFile
from pix2pix_batch.engines.export import EMBEDDING, IMAGE, NOISE, TRANSLATED
from pix2pix_batch.engines.library import ErrorLog, Library, RuntimeCache
from pix2pix_batch.errors import EngineError
from pix2pix_batch.inference.cuda import SLOTS, Run, Shape, Slot, SlotEngine
from pix2pix_batch.inference.engine import Masks, Translated


# The handles that TensorRT's API gives out live as long as the engine does.
class TensorRTEngine(SlotEngine):
    """A built engine on one GPU; an :class:`pix2pix_batch.inference.engine.Engine`.

    ``plan`` must come from :class:`pix2pix_batch.engines.cache.Cache`: loading one runs it.
    ``runtime_file``: for what the library compiles at load. ``output_type``: of the bundle's
    outputs, by NumPy's name: samples of 16 bits go in and out as 32-bit integers. Not for use from
    several threads at once.
    Raises :class:`EngineError` where it does not fit this GPU, :class:`MemoryShortage` where it
    does not fit its memory.
    """

    def __init__(
        self,
        library: Library,
        plan: bytes,
        *,
        size: int,
        batch_size: int,
        precision: str,
        device: str = "cuda",
        runtime_file: RuntimeFile | None = None,
        output_type: str = "uint8",
    ) -> None:
        super().__init__()
        self.size, self.batch_size, self.precision = size, batch_size, precision
        self.device, self.backend, self.library = device, library.name, library
        self.output_type = output_type
        self.errors = library.make_logger()
        place = torch.device(device)
        with self.engine_errors("cannot load the engine"):
            # TensorRT works in the context that PyTorch has made, and PyTorch makes it late.
            torch.cuda.init()
            torch.cuda.empty_cache()  # TensorRT has an allocator of its own
            self.runtime = library.trt.Runtime(self.errors.logger)
            self.engine = self.runtime.deserialize_cuda_engine(plan)
            if self.engine is None:
                raise self.errors.error(self._cannot("cannot load the engine"))
        with self.engine_errors("cannot open the engine"):
            inputs, outputs = read_tensors(library, self.engine)
            noise = (name for name in inputs if name.startswith(NOISE))
            self.masked = sorted(noise, key=lambda name: int(name.removeprefix(NOISE)))
            names = [IMAGE, *self.masked]
            shapes = [inputs[name] for name in names]
            self.cache = RuntimeCache(
                library, self.engine, b"" if runtime_file is None else runtime_file.read()
            )
            self.slots = [
                Slot(
                    shapes,
                    Execution(self.engine, self.cache, self.errors, names, outputs, place).bind,
                    place,
                    captures=not library.captures_itself,
                )
                for _ in range(SLOTS)
            ]
            changes = self.cache.serialize_changes()
        if runtime_file is not None and changes:
            runtime_file.write(changes)

    def _choose(
        self, images: np.ndarray, masks: Masks | None
    ) -> tuple[Sequence[Slot], list[np.ndarray]]:
        inputs = list(masks or ())
        if len(inputs) != len(self.masked):
            raise ValueError(f"the engine takes {len(self.masked)} masks, not {len(inputs)}")
        return self.slots, [images, *inputs]  # type: ignore[list-item]

    def finish(self) -> Translated:
        batch = super().finish()
        return batch._replace(images=batch.images.astype(self.output_type, copy=False))

    def _all(self) -> list[Slot]:
        return self.slots

    def _cannot(self, what: str) -> str:
        return f"{self.library.name} {self.library.version} {what}"

    def engine_errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        return self.errors.engine_errors(self._cannot(what))

    def close(self) -> None:
        """Give the GPU's memory back."""
        while self.in_flight:
            self.finish()
        self.slots.clear()
        # Before the engine, of which it and the contexts are parts.
        del self.cache
        self.engine = self.runtime = None
        torch.cuda.empty_cache()


def read_tensors(library: Library, engine: Any) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """The inputs and the outputs of an engine, by their names. Raises :class:`EngineError`."""
    inputs: dict[str, Shape] = {}
    outputs: dict[str, Shape] = {}
    for i in range(engine.num_io_tensors):
        name = engine.get_tensor_name(i)
        kind = engine.get_tensor_dtype(name).name
        if kind not in DTYPES:
            raise EngineError(f"the engine's tensor {name!r} is {kind}, which is none of ours")
        shape = Shape(tuple(engine.get_tensor_shape(name)), DTYPES[kind])
        is_input = engine.get_tensor_mode(name) == library.trt.TensorIOMode.INPUT
        (inputs if is_input else outputs)[name] = shape
    return inputs, outputs


class Execution:
    """An execution context, which computes in the buffers that it is bound to."""

    def __init__(
        self,
        engine: Any,
        cache: RuntimeCache,
        errors: ErrorLog,
        names: Sequence[str],
        outputs: dict[str, Shape],
        device: torch.device,
    ) -> None:
        """``names``: of the inputs, in the order of their buffers."""
        self.errors, self.names = errors, names
        self.outputs, self.device = outputs, device
        self.context = cache.create_context(engine)
        if self.context is None:
            raise errors.error("no execution context can be made")

    def bind(self, inputs: list[Tensor]) -> Run:
        """See :class:`pix2pix_batch.inference.cuda.Slot`."""
        made = {
            name: torch.empty(array.shape, dtype=array.dtype, device=self.device)
            for name, array in self.outputs.items()
        }
        for name, tensor in [*zip(self.names, inputs, strict=True), *made.items()]:
            if not self.context.set_tensor_address(name, tensor.data_ptr()):
                raise self.errors.error(f"the tensor {name!r} cannot be bound")

        def run() -> tuple[Tensor, Tensor]:
            if not self.context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
                raise self.errors.error("TensorRT cannot run it")
            return made[TRANSLATED], made[EMBEDDING]

        return run


DTYPES = {
    "UINT8": torch.uint8,
    "INT32": torch.int32,
    "BOOL": torch.bool,
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
}
"""PyTorch's types by TensorRT's names."""
