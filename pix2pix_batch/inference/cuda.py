"""Batches on an NVIDIA GPU: page-locked buffers, a stream and a CUDA graph each, two under way."""

from __future__ import annotations

import contextlib
import copy
import gc
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pix2pix_batch.errors import EngineError, MemoryShortage, engine_errors
from pix2pix_batch.generators.generator import Generator, NormStatistics
from pix2pix_batch.generators.network import LayeredGenerator
from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.inference.engine import (
    DTYPES,
    Masks,
    SampleMappings,
    Translated,
    map_samples,
)
from pix2pix_batch.inference.onednn import KEEP_SCALE
from pix2pix_batch.text import describe_error
from pix2pix_batch.value_ranges import ValueRanges

SLOTS = 2
"""Batches under way: one is copied while the other is computed."""

CAPTURE_MODE = "thread_local"
"""Of CUDA's stream captures: by the default, ``global``, one fails when another thread of the
process, such as one that decodes, allocates memory on the GPU or page-locks some meanwhile."""

_capturing = threading.Lock()
"""PyTorch allows one capture at a time in a process (its ``torch.cuda.graph``)."""

Run = Callable[[], tuple[Tensor, Tensor]]
"""Computes a slot's batch, on the current stream, from its inputs: images and embeddings, on the
GPU, always in the same place where it is captured."""


class Shape(NamedTuple):
    """Of one of an engine's inputs, with the batch."""

    shape: tuple[int, ...]
    dtype: torch.dtype


class Slot:
    """One batch's way to the GPU, through it and back, queued on a stream of its own.

    The buffers here are page-locked, so that copies run beside the computation; the computation
    is a CUDA graph where it could be captured, launched at once instead of layer by layer.
    ``remark``: why it could not; empty where it could, or where that was not wanted.
    """

    def __init__(
        self,
        inputs: Sequence[Shape],
        prepare: Callable[[list[Tensor]], Run],
        device: torch.device,
        *,
        captures: bool = True,
    ) -> None:
        """Allocate the buffers on both sides and capture the computation.

        Args:
            inputs: The shapes and types of the inputs of a batch.
            prepare: Is given the inputs' buffers on the GPU, and returns the computation. Before
                the first batch these buffers hold zeros.
            device: The GPU.
            captures: Whether the computation is captured as a CUDA graph; false if it is one launch
                already.
        """
        self.stream = torch.cuda.Stream(device)
        self.stream.wait_stream(torch.cuda.current_stream())  # on which weights come there
        with torch.cuda.stream(self.stream):
            self.inputs = [torch.zeros(one.shape, dtype=one.dtype, device=device) for one in inputs]
            self.run = prepare(self.inputs)
            self.outputs = self.run()  # what is allocated or compiled late, is now
        self.stream.synchronize()
        self.graph, self.remark = self._capture(device) if captures else (None, "")
        # Last: a batch that does not fit into the GPU's memory is to take none of the machine's.
        self.host_inputs = [torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in inputs]
        self.host_outputs = [
            torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in self.outputs
        ]
        self.count = 0
        # Blocking: else the thread that waits spins, on a core that codecs could have.
        self.done = torch.cuda.Event(blocking=True)

    def _capture(self, device: torch.device) -> tuple[torch.cuda.CUDAGraph | None, str]:
        graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
        before = torch.cuda.current_stream()
        with _capturing:
            try:
                with torch.cuda.graph(
                    graph, pool=pool, stream=self.stream, capture_error_mode=CAPTURE_MODE
                ):
                    self.outputs = self.run()
            except (RuntimeError, EngineError) as error:  # what cannot be captured still runs
                torch.cuda.set_stream(before)  # which a capture that fails leaves as its own
                abandon_capture(device, pool)
                return None, f"no CUDA graph could be captured ({describe_error(error)})"
        return graph, ""

    def start(self, arrays: Sequence[np.ndarray]) -> None:
        """Queue the copies there, the computation and the copies back; returns at once.

        ``arrays``: of the inputs, each of as many images, at most the batch; zeros fill the rest.
        """
        self.count = len(arrays[0])
        for host, array in zip(self.host_inputs, arrays, strict=True):
            if array.shape[1:] != tuple(host.shape[1:]) or not 0 < self.count <= len(host):
                raise ValueError(f"expected up to {tuple(host.shape)}, got {array.shape}")
            host.numpy()[: self.count] = array
            host.numpy()[self.count :] = 0  # not what the slot's last batch left
        with torch.cuda.stream(self.stream):
            for there, host in zip(self.inputs, self.host_inputs, strict=True):
                there.copy_(host, non_blocking=True)
            if self.graph is not None:
                self.graph.replay()
            else:
                self.outputs = self.run()
            for host, there in zip(self.host_outputs, self.outputs, strict=True):
                host.copy_(there, non_blocking=True)
            self.done.record()

    def finish(self) -> Translated:
        """What :meth:`start` began; copies, since the buffers are used again."""
        self.done.synchronize()
        images, embeddings = (host.numpy()[: self.count].copy() for host in self.host_outputs)
        return Translated(images, embeddings)


def abandon_capture(device: torch.device, pool: tuple[int, int]) -> None:
    """Let PyTorch's allocator know that a capture which failed is over.

    Before 2.12 (its pull request 180395) it goes on as if that were under way: it frees nothing any
    more, and ends the process when it is asked to. Later ones say that they know of none.
    """
    torch.cuda.synchronize()
    end = getattr(torch._C, "_cuda_endAllocateToPool", None)
    if end is not None:
        index = torch.cuda.current_device() if device.index is None else device.index
        with contextlib.suppress(RuntimeError):
            end(index, pool)


def release_memory(error: BaseException | None = None) -> None:
    """Give the GPU what is not used any more, for a smaller batch or for other processes.

    PyTorch's allocator keeps it otherwise, after a batch that did not fit nearly all of the GPU.
    ``error``: with which it failed. Its traceback holds the layers' features till it is handled.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    torch.cuda.empty_cache()


class SlotEngine:
    """An :class:`pix2pix_batch.inference.engine.Engine` whose batches go through slots, two at a
    time.

    Also :class:`pix2pix_batch.inference.engine.Overlapping`. Batches that are not full are padded
    in the buffers. Not for use from several threads at once. ``remark``: in what it is slower than
    it could be, and why; empty where it is not.
    """

    takes_fewer = True
    batch_size: int
    size: int
    device: str
    backend: str
    precision: str

    def __init__(self) -> None:
        self.in_flight: deque[Slot] = deque()

    def __call__(self, images: np.ndarray, masks: Masks | None = None) -> Translated:
        if self.in_flight:
            raise ValueError("batches are under way; finish them first")
        self.start(images, masks)
        return self.finish()

    def start(self, images: np.ndarray, masks: Masks | None = None) -> None:
        """Begin a batch; at most :data:`SLOTS` may be under way. Raises :class:`EngineError`."""
        if len(self.in_flight) == SLOTS:
            raise ValueError(f"{SLOTS} batches are under way; finish one first")
        slots, arrays = self._choose(images, masks)
        slot = next(one for one in slots if one not in self.in_flight)
        with self.engine_errors("cannot run"):
            slot.start(arrays)
        self.in_flight.append(slot)

    def finish(self) -> Translated:
        """The result of the batch begun first. Raises :class:`EngineError`."""
        slot = self.in_flight.popleft()
        with self.engine_errors("cannot run"):
            return slot.finish()

    def _choose(
        self, images: np.ndarray, masks: Masks | None
    ) -> tuple[Sequence[Slot], list[np.ndarray]]:
        """The slots that take such a batch, and the batch in the order of their inputs."""
        raise NotImplementedError

    def engine_errors(self, what: str) -> contextlib.AbstractContextManager[None]:
        """Within it, what goes wrong is raised as :class:`EngineError`: it cannot do ``what``."""
        return engine_errors(f"{self.backend} {what} on the GPU")

    @property
    def remark(self) -> str:
        return next((slot.remark for slot in self._all() if slot.remark), "")

    def _all(self) -> list[Slot]:
        raise NotImplementedError


class CudaEngine(SlotEngine):
    """A bundle's generator in PyTorch on an NVIDIA GPU, in channels-last.

    Takes what :class:`pix2pix_batch.inference.engine.TorchEngine` takes. In fp32 nothing is rounded
    to TF32, and the same batch gives the same bytes in every run: cuDNN is held to algorithms that
    do.
    """

    backend = TORCH

    def __init__(
        self,
        net: Generator,
        *,
        size: int,
        batch_size: int,
        precision: str,
        device: str = "cuda",
        ranges: ValueRanges | None = None,
    ) -> None:
        """Copy a generator to the GPU and open its slots.

        Args:
            net: The generator in float32 on the CPU, in eval mode.
            size: Side of the images in pixels.
            batch_size: Images in a batch.
            precision: ``fp32``, ``bf16`` or ``fp16``.
            device: The GPU, as PyTorch calls it.
            ranges: The bundle's; ``None`` for images of 8 bits.

        Raises:
            EngineError: The GPU cannot run it.
            MemoryShortage: It does not fit into the GPU's memory.
        """
        super().__init__()
        self.size, self.batch_size = size, batch_size
        self.device, self.precision = device, precision
        self.place = torch.device(device)
        self.slots: dict[tuple[object, ...], list[Slot]] = {}
        self.samples = map_samples(net.architecture, ranges)
        first = np.zeros((1, size, size, net.architecture.in_channels), self._input_type)
        try:
            with self.engine_errors("cannot be opened"):
                self.model = copy.deepcopy(net).to(self.place, DTYPES[precision])
                self.model = self.model.to(memory_format=torch.channels_last)
                self._choose(first, None)  # opens its slots
        except MemoryShortage as error:
            self.__dict__.pop("model", None)
            self.slots.clear()
            release_memory(error)
            raise

    @property
    def _input_type(self) -> str:
        return self.samples.input.side.dtype

    def _choose(
        self, images: np.ndarray, masks: Masks | None
    ) -> tuple[Sequence[Slot], list[np.ndarray]]:
        blocks = tuple(masks) if isinstance(masks, Mapping) else None
        others = list(masks.values() if isinstance(masks, Mapping) else masks or ())
        arrays = [images, *others]
        shapes = [
            Shape((self.batch_size, *one.shape[1:]), torch.from_numpy(np.empty(0, one.dtype)).dtype)
            for one in arrays
        ]
        kind = (blocks, *shapes)
        if kind not in self.slots:
            prepare = translation(self.model, DTYPES[self.precision], blocks, self.samples)
            with self.engine_errors("cannot be opened"):
                self.slots[kind] = [Slot(shapes, prepare, self.place) for _ in range(SLOTS)]
        return self.slots[kind], arrays

    def _all(self) -> list[Slot]:
        return [slot for slots in self.slots.values() for slot in slots]

    def __call__(self, images: np.ndarray, masks: Masks | None = None) -> Translated:
        """Images of another size than the engine's are computed at once, without a slot."""
        if images.shape[1:3] == (self.size, self.size):
            return super().__call__(images, masks)
        return self.translate_with(images, masks, None)

    @torch.inference_mode()
    def translate_with(
        self, images: np.ndarray, masks: Masks | None, norms: NormStatistics | None
    ) -> Translated:
        """Translate images of any size at once, without a slot, as
        :meth:`pix2pix_batch.inference.engine.AnySize.translate_with` says.

        ``norms`` may be ``None`` for each image's own. Raises :class:`EngineError`.
        """
        assert masks is None or isinstance(masks, Mapping)
        with self.engine_errors("cannot run"), exact_convolutions():
            there = {k: torch.from_numpy(one).to(self.place) for k, one in (masks or {}).items()}
            extra = [] if norms is None else [norms]
            y, embedding = self.model.translate(self._levels(images), there or None, *extra)
            made = self.samples.output.to_values(y)
            return Translated(made.cpu().numpy(), embedding.float().cpu().numpy())

    @torch.inference_mode()
    def measure_norms(self, images: np.ndarray) -> NormStatistics:
        """See :meth:`pix2pix_batch.inference.engine.AnySize.measure_norms`."""
        if not isinstance(self.model, LayeredGenerator):
            raise TypeError("the network takes images of one size")
        with self.engine_errors("cannot run"), exact_convolutions():
            return self.model.measure_norms(self._levels(images))

    def _levels(self, images: np.ndarray) -> Tensor:
        """``(N, C, H, W)`` in [-1, 1], on the GPU."""
        x = torch.from_numpy(images).to(self.place)
        return self.samples.input.to_levels(x).to(DTYPES[self.precision])


def translation(
    model: Generator,
    dtype: torch.dtype,
    blocks: Sequence[int] | None,
    samples: SampleMappings,
) -> Callable[[list[Tensor]], Run]:
    """Make the function that makes a slot's computation from its input buffers: the images,
    ``(N, H, W, C)``, and the masks.

    Args:
        model: The generator, on the GPU.
        dtype: The type that it computes in.
        blocks: The decoder blocks of which the masks are multipliers; ``None`` if they are masks of
            the dropout blocks, true where a value is kept.
        samples: What the samples of the images mean, and what those of the outputs shall.

    Returns:
        The function, for a slot's ``prepare``.
    """

    def prepare(inputs: list[Tensor]) -> Run:
        images, *masks = inputs

        @torch.no_grad()
        def run() -> tuple[Tensor, Tensor]:
            with exact_convolutions():
                x = samples.input.to_levels(images).to(dtype)
                if blocks is not None:
                    y, embedding = model.translate(x, dict(zip(blocks, masks, strict=True)))
                else:
                    kept = [mask.to(torch.float32).mul_(KEEP_SCALE) for mask in masks]
                    y, embedding = model.translate(x, kept or None)
                return samples.output.to_values(y), embedding.float()

        return run

    return prepare


@contextlib.contextmanager
def exact_convolutions() -> Iterator[None]:
    """cuDNN without TF32, which it uses by default, and with algorithms that add up in one order:
    those of transposed convolutions (backward data) may else add atomically, in any."""
    cudnn: Any = torch.backends.cudnn
    # From PyTorch 2.9 on; to read the older setting is an error there where a user has set this.
    precision = (cudnn.conv, "fp32_precision", "ieee") if hasattr(cudnn, "conv") else None
    changes = [
        (cudnn, "deterministic", True),
        (cudnn, "benchmark", False),
        precision or (cudnn, "allow_tf32", False),
    ]
    before = [getattr(place, name) for place, name, _ in changes]
    try:
        for place, name, value in changes:
            setattr(place, name, value)
        yield
    finally:
        for (place, name, _), value in zip(changes, before, strict=True):
            setattr(place, name, value)
