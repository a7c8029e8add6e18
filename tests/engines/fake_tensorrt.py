"""A TensorRT whose engines compute on :mod:`tests.fake_cuda`, through the bindings' interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pix2pix_batch import bundle
from pix2pix_batch.engines.export_graph import make_graph
from pix2pix_batch.engines.library import Library
from tests.engines.bindings import Answer, Interface, Stand
from tests.fake_cuda import FakeCuda

RTX_ALONE = ("CudaGraphStrategy", "ComputeCapability")
"""What the bindings of TensorRT-RTX have and those of TensorRT have not."""


class FakeTensorRT:
    """``model``: what its engine computes, in float32. ``contexts``: how many can be made;
    ``reason``: what it says where it fails. ``runs``: whether it can execute; ``captured``: whether
    it can while a stream is captured. ``compiled``: its runtime cache as it is when all has run."""

    def __init__(self, cuda: FakeCuda, model: Path, batch_size: int, size: int) -> None:
        info, unet = bundle.load(model)
        self.cuda, self.batch_size, self.size = cuda, batch_size, size
        self.graph = make_graph(unet, torch.float32)
        a = info.architecture
        shapes = a.mask_shapes(size, size) if a.dropout_blocks else []
        picture = (size, size)
        self.tensors: list[tuple[str, tuple[int, ...], str, bool]] = [
            ("embedding", (a.width(a.downs - 1),), "FLOAT", False),
            ("translated", (*picture, a.out_channels), "UINT8", False),
            # in no order: only their names say which they are
            *((f"noise_{k}", shapes[k], "BOOL", True) for k in reversed(range(len(shapes)))),
            ("image", (*picture, a.in_channels), "UINT8", True),
        ]
        self.contexts, self.reason = 99, ""
        self.loads = self.runs = self.captured = True
        self.compiled, self.read = b"compiled", b""
        self.logger: Any = None
        self.executed = 0

    def library(self, module: Any, hidden: Sequence[str] = ()) -> Library:
        name = "tensorrt_rtx" if hasattr(module, "CudaGraphStrategy") else "tensorrt"
        if hidden:
            name = "tensorrt"
        interface = Interface(module, self.answers(module), hidden)
        return Library(name, str(module.__version__), interface)

    def answers(self, module: Any) -> dict[str, Answer]:
        """By the bindings' names, whose arguments have been checked against these."""
        by_name = {one[0]: one for one in self.tensors}
        modes = module.TensorIOMode
        return {
            "Runtime.deserialize_cuda_engine": self.load,
            "ICudaEngine.num_io_tensors": lambda engine: len(self.tensors),
            "ICudaEngine.get_tensor_name": lambda engine, i: self.tensors[i][0],
            "ICudaEngine.get_tensor_shape": lambda engine, name: module.Dims(
                (self.batch_size, *by_name[name][1])
            ),
            "ICudaEngine.get_tensor_dtype": lambda engine, name: getattr(
                module.DataType, by_name[name][2]
            ),
            "ICudaEngine.get_tensor_mode": lambda engine, name: (
                modes.INPUT if by_name[name][3] else modes.OUTPUT
            ),
            "ICudaEngine.create_execution_context": self.context,
            "IExecutionContext.set_tensor_address": self.bind,
            "IExecutionContext.execute_async_v3": self.execute,
            "IRuntimeCache.deserialize": self.remember,
            "IRuntimeCache.serialize": self.serialize,
            "Builder.build_serialized_network": lambda *_: None,
        }

    def fail(self, message: str) -> None:
        self.logger.log(self.logger.Severity.ERROR, message)

    def load(self, runtime: Stand, plan: bytes) -> Stand | None:
        (self.logger,) = runtime._arguments
        if not self.loads:
            self.fail(self.reason)
            return None
        return Stand(runtime._interface, runtime._interface.module.ICudaEngine)

    def context(self, engine: Stand, config: Stand | None = None) -> Stand | None:
        if self.contexts == 0:
            if self.reason:
                self.fail(self.reason)
            return None
        self.contexts -= 1
        made = Stand(engine._interface, engine._interface.module.IExecutionContext)
        made.__dict__.update(addresses={}, captures_itself=config is not None)
        return made

    def bind(self, context: Stand, name: str, address: int) -> bool:
        context.addresses[name] = address
        return True

    def execute(self, context: Stand, handle: int) -> bool:
        """Queued on the stream, as all that runs on a GPU."""
        (stream,) = [one for one in self.cuda.streams if one.cuda_stream == handle]
        if stream.recorder is not None:
            assert not context.captures_itself, "a capture within a capture"
            if not self.captured:
                self.cuda.broken = "operation not permitted when stream is capturing"
                self.fail("Error Code 1: Cuda Runtime (operation not permitted when stream is ...)")
                return False
        if not self.runs:
            self.fail(self.reason)
            return False
        places = dict(context.addresses)

        def run() -> None:
            there = {name: self.cuda.addresses[address] for name, address in places.items()}
            noise = [there[name] for name in sorted(there) if name.startswith("noise_")]
            with torch.no_grad():
                images, embeddings = self.graph(there["image"], *noise)
            there["translated"].copy_(images)
            there["embedding"].copy_(embeddings)
            self.executed += 1

        stream.put(run)
        return True

    def remember(self, cache: Stand, data: bytes) -> bool:
        self.read = data
        return data == self.compiled

    def serialize(self, cache: Stand) -> Stand:
        made = Stand(cache._interface, cache._interface.module.IHostMemory)
        made.__dict__["_content"] = self.compiled
        return made


def expected(
    fake: FakeTensorRT, images: np.ndarray, masks: Sequence[np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What its engine makes of a batch, computed at once; zeros fill it."""
    whole = []
    for array in (images, *(masks or ())):
        full = np.zeros((fake.batch_size, *array.shape[1:]), array.dtype)
        full[: len(array)] = array
        whole.append(torch.from_numpy(full))
    with torch.no_grad():
        made = fake.graph(*whole)
    return made[0].numpy()[: len(images)], made[1].numpy()[: len(images)]
