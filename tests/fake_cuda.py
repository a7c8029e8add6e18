"""A GPU of PyTorch's without one: streams that are behind, page-locked memory, graphs, events.

PyTorch's own code runs, as on a GPU: what is asked for with ``device="cuda"`` is a tensor whose
operators are queued on the current stream instead of run. What a queue holds is run as late as it
may be, when something waits for it, or some of it earlier by chance: so what reads a result before
it is there reads what :data:`POISON` has left, and what writes a buffer too early spoils a result.
It holds code to CUDA's rules as its documentation states them: captures record and do not run;
nothing may wait or page-lock memory during one; copies are asynchronous with page-locked memory
only; streams wait for each other only where they are told to.
"""

from __future__ import annotations

import contextlib
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

POISON = 0x7B  # as float32 3.3e36, as float16 62,000, as uint8 123

Op = Callable[[], object]


def accelerator_error(text: str) -> RuntimeError:
    """As PyTorch raises CUDA's errors, from 2.8 on by a name of their own."""
    kind: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)
    return kind(f"CUDA error: {text}")


class CudaTensor(Tensor):
    """A tensor on the GPU; ``there``: its memory, which the host must not look at."""

    there: Tensor

    @staticmethod
    def __new__(cls, there: Tensor, cuda: FakeCuda) -> CudaTensor:
        made: CudaTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            there.size(),
            strides=there.stride(),
            storage_offset=there.storage_offset(),
            dtype=there.dtype,
            device=torch.device("cuda:0"),
        )
        made.there, made.cuda = there, cuda
        return made

    cuda: Any

    def numpy(self, *_: object, **__: object) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def data_ptr(self) -> int:
        return self.there.data_ptr()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        cuda = next(one.cuda for one in flat((args, kwargs)) if isinstance(one, CudaTensor))
        return cuda.dispatch(func, args, kwargs or {})


def flat(values: object) -> list[object]:
    return torch.utils._pytree.tree_leaves(values)


class Stream:
    """Operators that wait to be run, in order."""

    handles = iter(range(1000, 10**9, 8))

    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.cuda_stream = cuda, next(self.handles)
        self.queue: deque[Op] = deque()
        self.recorder: list[Op] | None = None

    def put(self, op: Op) -> None:
        (self.queue if self.recorder is None else self.recorder).append(op)

    def step(self) -> None:
        self.queue.popleft()()

    def synchronize(self) -> None:
        self.cuda.wait("cudaStreamSynchronize")
        while self.queue:
            self.step()

    def wait_stream(self, other: Stream) -> None:
        event = Event(self.cuda)
        event.record(other)
        self.put(event.reach)


class Event:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.stream, self.reached = cuda, None, [True]

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or self.cuda.current
        self.reached = reached = [False]

        def reach() -> None:
            reached[0] = True

        self.stream.put(reach)

    def reach(self) -> None:
        """Run what it was recorded after."""
        while not self.reached[0]:
            assert self.stream is not None
            self.stream.step()

    def synchronize(self) -> None:
        self.cuda.wait("cudaEventSynchronize")
        self.reach()


class Graph:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda = cuda
        self.ops: list[Op] | None = None

    def replay(self) -> None:
        assert self.ops is not None, "replayed before it was captured"
        for op in self.ops:
            self.cuda.current.put(op)
        self.cuda.chance()
        self.cuda.replays += 1


class FakeCuda(TorchDispatchMode):
    """``memory``, ``pinned``: bytes that the GPU has and that may be page-locked, ``None`` for
    enough; ``seed``: of what is run early, ``None`` for nothing."""

    def __init__(
        self, seed: int | None = None, memory: int | None = None, pinned: int | None = None
    ) -> None:
        super().__init__()
        self.random = None if seed is None else random.Random(seed)
        self.memory, self.pinned = memory, pinned
        self.used = self.locked = self.replays = self.pageable_copies = 0
        self.kept = 0  # bytes that the allocator does not give back by itself
        self.here = threading.local()
        self.streams: list[Stream] = []
        self.default = self.new_stream()
        self.capturing: tuple[Stream, str, int] | None = None  # mode; thread
        self.broken = ""  # why the capture that is under way has failed
        self.captures_underway: set[object] = set()
        self.made = self.failed = 0  # captures
        self.addresses: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()
        self.pools = iter(range(1, 10**9))

    # Streams

    def new_stream(self, device: object = None) -> Stream:
        stream = Stream(self)
        self.streams.append(stream)
        return stream

    @property
    def current(self) -> Stream:
        return getattr(self.here, "stream", self.default)

    @contextlib.contextmanager
    def on(self, stream: Stream) -> Iterator[None]:
        before, self.here.stream = self.current, stream
        try:
            yield
        finally:
            self.here.stream = before

    def set_stream(self, stream: Stream) -> None:
        self.here.stream = stream

    def chance(self) -> None:
        """Run some of what waits, as a GPU may."""
        while self.random is not None and self.random.random() < 0.5:
            waiting = [stream for stream in self.streams if stream.queue]
            if not waiting:
                return
            self.random.choice(waiting).step()

    def wait(self, call: str) -> None:
        """Of a call that waits, which a capture does not allow."""
        if self.capturing is not None:
            self.refuse(f"operation not permitted when stream is capturing ({call})")

    def refuse(self, why: str) -> None:
        self.broken = self.broken or why
        raise accelerator_error(why)

    def synchronize(self, device: object = None) -> None:
        self.wait("cudaDeviceSynchronize")
        for stream in self.streams:
            while stream.queue:
                stream.step()

    # Captures

    @contextlib.contextmanager
    def capture(
        self,
        graph: Graph,
        pool: object = None,
        stream: Stream | None = None,
        capture_error_mode: str = "global",
    ) -> Iterator[None]:
        assert self.capturing is None, "two captures at once"
        self.synchronize()
        self.empty_cache()
        stream = stream or self.new_stream()
        assert not stream.queue
        stream.recorder, self.broken = [], ""
        self.capturing = stream, capture_error_mode, threading.get_ident()
        self.captures_underway.add(pool)
        failed: Exception | None = None
        before, self.here.stream = self.current, stream
        try:
            yield
        except Exception as error:
            failed = error
        recorded, stream.recorder, self.capturing = stream.recorder, None, None
        if self.broken:  # PyTorch before 2.12 leaves the pool as it is
            self.failed += 1
            raise accelerator_error("operation failed due to a previous error during capture")
        self.captures_underway.remove(pool)
        self.here.stream = before  # only here: where it fails, PyTorch leaves the stream
        if failed is not None:
            self.failed += 1
            raise failed
        graph.ops, self.made = recorded, self.made + 1

    def end_allocate_to_pool(self, device: int, pool: object) -> None:
        if pool not in self.captures_underway:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.captures_underway.remove(pool)

    def empty_cache(self) -> None:
        assert not self.captures_underway, "captures_underway.empty() INTERNAL ASSERT FAILED"
        self.synchronize()  # as cudaFree does
        self.kept = 0

    # Memory

    def allocate(self, there: Tensor) -> CudaTensor:
        size = there.untyped_storage().nbytes()
        if self.memory is not None and self.used + size > self.memory:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes.")
        self.used += size
        weakref.finalize(there, self.free, size)
        self.addresses[there.data_ptr()] = there
        return CudaTensor(there, self)

    def free(self, size: int) -> None:
        self.used -= size
        self.kept += size

    def unlock(self, size: int) -> None:
        self.locked -= size

    def lock(self, host: Tensor) -> Tensor:
        """Page-lock it."""
        if self.capturing is not None and (
            self.capturing[1] == "global" or self.capturing[2] == threading.get_ident()
        ):
            self.refuse("operation not permitted when stream is capturing (cudaHostAlloc)")
        size = host.untyped_storage().nbytes()
        if self.pinned is not None and self.locked + size > self.pinned:
            raise accelerator_error("out of memory")
        self.locked += size
        weakref.finalize(host, self.unlock, size)
        host.page_locked = True  # type: ignore[attr-defined]
        poison(host)
        return host

    # Operators

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = dict(kwargs or {})
        on_gpu = any(isinstance(one, CudaTensor) for one in flat((args, kwargs)))
        device = kwargs.get("device")
        if device is not None and torch.device(device).type == "cuda":
            kwargs["device"] = torch.device("cpu")
            return self.create(func, args, kwargs)
        if on_gpu:
            return self.dispatch(func, args, kwargs)
        if kwargs.pop("pin_memory", False):
            return self.lock(func(*args, **kwargs))
        return func(*args, **kwargs)

    def create(self, func: Any, args: Any, kwargs: Any) -> object:
        """A tensor on the GPU: of nothing, or of one that is here, whose copy is waited for."""
        if any(isinstance(one, CudaTensor) for one in flat((args, kwargs))):
            return self.dispatch(func, args, kwargs)
        kwargs.pop("pin_memory", None)
        made = func(*args, **kwargs)
        if not any(isinstance(one, Tensor) for one in flat(args)):
            content = made.clone()
            poison(made)
            there = self.allocate(made)
            if func is not torch.ops.aten.empty.memory_format:
                self.current.put(lambda: made.copy_(content))
            return there
        self.wait("cudaMemcpy")
        return self.allocate(made.clone() if made.data_ptr() == args[0].data_ptr() else made)

    def dispatch(self, func: Any, args: Any, kwargs: Any) -> object:
        self.chance()
        func = STAND_INS.get(func, func)
        plain_args, plain = tree_map(self.unwrapped, args), tree_map(self.unwrapped, kwargs)
        if func is torch.ops.aten.copy_.default:
            return self.copy(args[0], args[1], len(args) > 2 and args[2])
        if func is torch.ops.aten._local_scalar_dense.default:
            self.wait("cudaMemcpy")
            self.current.synchronize()
            return func(*plain_args)
        schema = getattr(func, "_schema", None)
        if schema is None:
            return self.compute(func, plain_args, plain)
        if schema.is_mutable:
            self.current.put(lambda: func(*plain_args, **plain))
            return args[0]
        if any(one.alias_info is not None for one in schema.returns):  # a view
            return tree_map(self.wrapped, func(*plain_args, **plain))
        return self.compute(func, plain_args, plain)

    def compute(self, func: Any, args: Any, kwargs: Any) -> object:
        """Room for what comes of it, at once; what comes of it, later."""
        expected = func(*args, **kwargs)  # of what is there now, which may be nothing yet
        rooms = [one for one in flat(expected) if isinstance(one, Tensor)]
        for room in rooms:
            poison(room)

        def run() -> None:
            made = [one for one in flat(func(*args, **kwargs)) if isinstance(one, Tensor)]
            for room, one in zip(rooms, made, strict=True):
                room.copy_(one)

        made = iter([self.allocate(room) for room in rooms])
        self.current.put(run)
        return tree_map(lambda one: next(made) if isinstance(one, Tensor) else one, expected)

    def copy(self, target: Tensor, source: Tensor, later: bool) -> Tensor:
        to, of = self.unwrapped(target), self.unwrapped(source)
        hosts = [one for one in (target, source) if not isinstance(one, CudaTensor)]
        self.current.put(lambda: to.copy_(of))
        if hosts and not (later and all(getattr(one, "page_locked", False) for one in hosts)):
            self.pageable_copies += 1
            self.current.synchronize()
        return target

    def unwrapped(self, value: Any) -> Any:
        return value.there if isinstance(value, CudaTensor) else value

    def wrapped(self, value: Any) -> Any:
        return CudaTensor(value, self) if isinstance(value, Tensor) else value


def batch_norm(
    x: Tensor,
    weight: Any,
    bias: Any,
    mean: Any,
    var: Any,
    training: bool,
    factor: float,
    eps: float,
) -> tuple[Tensor, ...]:
    made = torch.ops.aten.native_batch_norm(x, weight, bias, mean, var, training, factor, eps)
    return *made, torch.empty(0, dtype=torch.uint8, device=x.device)


STAND_INS = {torch.ops.aten.cudnn_batch_norm.default: batch_norm}
"""Of cuDNN's own operators."""


def poison(tensor: Tensor) -> None:
    if tensor.numel():
        flat_bytes = torch.empty(0, dtype=torch.uint8).set_(tensor.untyped_storage())
        flat_bytes.fill_(1 if tensor.dtype == torch.bool else POISON)


@contextlib.contextmanager
def fake_cuda(**values: Any) -> Iterator[FakeCuda]:
    """PyTorch has a GPU as :class:`FakeCuda` says, in this thread. Skips where its build knows
    nothing of CUDA; of a GPU or a driver it needs nothing."""
    if not torch.backends.cuda.is_built():
        pytest.skip("needs a build of PyTorch for CUDA, if no GPU")
    if torch.cuda.is_available():
        torch.cuda.init()  # the fake must not be what initialises it
    else:  # as PyTorch's FakeTensorMode does: no driver is asked which GPU is the current one
        torch._C._ensureCUDADeviceGuardSet()
    cuda = FakeCuda(**values)
    fakes = {
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "Stream": cuda.new_stream,
        "Event": lambda blocking=False: Event(cuda),
        "stream": cuda.on,
        "set_stream": cuda.set_stream,
        "current_stream": lambda device=None: cuda.current,
        "synchronize": cuda.synchronize,
        "empty_cache": cuda.empty_cache,
        "CUDAGraph": lambda: Graph(cuda),
        "graph": cuda.capture,
        "graph_pool_handle": lambda: (0, next(cuda.pools)),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, fake in fakes.items():
            patch.setattr(torch.cuda, name, fake)
        patch.setattr(torch._C, "_cuda_endAllocateToPool", cuda.end_allocate_to_pool, raising=False)
        # A module's weights are replaced by those on the GPU, for they are of another class here.
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            with cuda:
                yield cuda
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)
