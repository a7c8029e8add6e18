"""PyTorch's engine on a GPU, run on tests/fake_cuda.py; tests/gpu has the same for real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch import bundle
from pix2pix_batch.errors import EngineError, InputError, MemoryShortage, engine_errors
from pix2pix_batch.execution import worker
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference import autotune, onednn
from pix2pix_batch.inference.cuda import CudaEngine, Shape, Slot, exact_convolutions
from pix2pix_batch.inference.engine import Engine, Masks, Overlapping, TorchEngine, Translated
from pix2pix_batch.inference.engine_cache import engine_of, open_engine
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.noise import dropout_masks, multipliers
from tests.end_to_end.command import digests, put
from tests.fake_cuda import FakeCuda, fake_cuda

SIZE, BATCH = 64, 3
NORMS = ("batch-statistics", "running-statistics", "instance", "none")


@pytest.fixture(autouse=True)
def plain_cpu(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[None]:
    """The CPU's engine is the module itself, on one thread, as the GPU's is: equal to the bit."""
    monkeypatch.setattr(onednn, "available", lambda dtype: False)
    open_engine.cache_clear()
    yield
    open_engine.cache_clear()


def make(norm: str = "batch-statistics", downs: int = 6) -> UNet:
    net = UNet(Architecture(downs=downs, ngf=4, norm=norm))
    random = torch.Generator().manual_seed(0)
    for value in net.parameters():
        if value.ndim == 4:
            value.data.normal_(0.0, 1.5 / value[0].numel() ** 0.5, generator=random)
    return net.eval().requires_grad_(False)


NOISY = make()


def on_gpu(net: UNet, precision: str = "fp32", batch_size: int = BATCH) -> CudaEngine:
    return CudaEngine(net, size=SIZE, batch_size=batch_size, precision=precision)


def images(seed: int, count: int = BATCH) -> np.ndarray:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, SIZE, SIZE, 3)).astype(np.uint8)


def equal(one: Translated, other: Translated) -> bool:
    return np.array_equal(one.images, other.images) and np.array_equal(
        one.embeddings, other.embeddings
    )


def through(engine: Overlapping, batches: Sequence[tuple[np.ndarray, Masks | None]]) -> Any:
    """As a worker runs them: one is begun before the one before it is finished."""
    made, under_way = [], 0
    for batch, masks in batches:
        engine.start(batch.copy(), masks)
        under_way += 1
        if under_way == 2:
            made.append(engine.finish())
            under_way = 1
    return [*made, *(engine.finish() for _ in range(under_way))]


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("norm", NORMS)
def test_overlapped_batches_are_those_of_the_cpu_in_order(norm: str, seed: int | None) -> None:
    net = make(norm)
    batches = [(images(number, BATCH - number % 2), None) for number in range(6)]
    plain = TorchEngine(net, size=SIZE, batch_size=BATCH)
    wanted = [plain(batch) for batch, _ in batches]
    with fake_cuda(seed=seed) as cuda:
        engine = on_gpu(net)
        made = through(engine, batches)
    assert all(equal(one, other) for one, other in zip(made, wanted, strict=True))
    assert isinstance(engine, Overlapping) and engine.backend == "torch"
    assert (cuda.made, cuda.replays, cuda.failed) == (2, 6, 0) and engine.remark == ""
    assert cuda.pageable_copies == 0


@pytest.mark.parametrize("seed", [None, 0])
def test_noise_and_multipliers_come_and_go(seed: int | None) -> None:
    """Each kind of batch has slots of its own; kinds take turns, also while one is under way."""
    net = make()
    shapes = net.architecture.mask_shapes(SIZE, SIZE)
    kept = [np.stack([mask] * BATCH) for mask in dropout_masks(bytes(16), shapes)]
    blocks = net.architecture.noise_blocks(4)
    drawn = multipliers(bytes(16), net.architecture.mask_shapes(SIZE, SIZE, 4), 0.3)
    mapping = {block: np.stack([mask] * BATCH) for block, mask in zip(blocks, drawn, strict=True)}
    batches: list[tuple[np.ndarray, Masks | None]] = []
    for number in range(9):
        batches.append((images(number), (None, kept, mapping)[number % 3]))
    plain = TorchEngine(net, size=SIZE, batch_size=BATCH)
    wanted = [plain(*batch) for batch in batches]
    with fake_cuda(seed=seed) as cuda:
        made = through(on_gpu(net), batches)
    assert all(equal(one, other) for one, other in zip(made, wanted, strict=True))
    assert not equal(made[1], plain(batches[1][0])) and not equal(made[2], plain(batches[2][0]))
    assert (cuda.made, cuda.replays) == (6, 9)


@given(
    work=st.lists(st.tuples(st.integers(1, BATCH), st.booleans()), min_size=1, max_size=8),
    ahead=st.lists(st.booleans(), min_size=8, max_size=8),
    seed=st.none() | st.integers(0, 2**32),
)
@hypothesis.settings(max_examples=12)
def test_any_order_of_beginning_and_finishing(
    work: list[tuple[int, bool]], ahead: list[bool], seed: int | None
) -> None:
    """``ahead``: whether the next batch is begun before this one is finished."""
    net = NOISY
    shapes = net.architecture.mask_shapes(SIZE, SIZE)
    with fake_cuda(seed=seed):
        engine = on_gpu(net)
        wanted, made = [], []
        for number, (count, noise) in enumerate(work):
            each = dropout_masks(bytes([number] * 16), shapes)
            masks = [np.stack([mask] * count) for mask in each] if noise else None
            engine.start(images(number, count), masks)
            wanted.append((images(number, count), masks))
            while engine.in_flight and (len(engine.in_flight) == 2 or not ahead[number]):
                made.append(engine.finish())
        while engine.in_flight:
            made.append(engine.finish())
    plain = TorchEngine(net, size=SIZE, batch_size=BATCH)
    for batch, one in zip(wanted, made, strict=True):
        assert equal(one, plain(*batch))


def test_a_batch_that_does_not_fit_leaves_no_features_on_the_gpu() -> None:
    """Also while its error, with all that its traceback refers to, is still held."""
    net = make()
    weights = sum(value.nbytes for value in net.state_dict().values())
    with fake_cuda() as cuda:
        engine = on_gpu(net)
        needed = cuda.used
        del engine
    with fake_cuda(memory=needed * 3 // 4) as cuda:
        with pytest.raises(MemoryShortage) as caught:
            on_gpu(net)
        assert cuda.used < weights and not cuda.kept, caught


def test_start_waits_for_nothing_and_finish_for_its_own_batch() -> None:
    net = make()
    with fake_cuda() as cuda:
        engine = on_gpu(net)
        waiting = [stream for stream in cuda.streams if stream.queue]
        assert not waiting
        engine.start(images(0))
        engine.start(images(1))
        first, second = (stream for stream in cuda.streams if stream.queue)
        with pytest.raises(ValueError, match="2 batches are under way"):
            engine.start(images(2))
        engine.finish()
        assert not first.queue and second.queue
        with pytest.raises(ValueError, match="under way"):
            engine(images(2))
        engine.finish()


def test_weights_are_there_before_the_first_batch() -> None:
    """They come on another stream, which a slot's own does not wait for by itself."""
    with fake_cuda() as cuda:
        weight = torch.full((4,), 2.0).to("cuda").mul_(3.0)
        assert cuda.default.queue

        def prepare(inputs: list[torch.Tensor]) -> Any:
            return lambda: (inputs[0] * weight, weight.sum())

        slot = Slot([Shape((1, 4), torch.float32)], prepare, torch.device("cuda"), captures=False)
        slot.start([np.ones((1, 4), np.float32)])
        slot.done.synchronize()
        assert slot.host_outputs[0].tolist() == [[6.0] * 4]


@pytest.mark.parametrize("wrong", [(0, SIZE, 3), (4, SIZE, 3), (1, 32, 3), (1, SIZE, 1)])
def test_batches_of_another_shape_are_refused(wrong: tuple[int, int, int]) -> None:
    count, side, channels = wrong
    with fake_cuda():
        engine = on_gpu(make())
        with pytest.raises((ValueError, EngineError)):
            engine(np.zeros((count, side, side, channels), np.uint8))
        assert not engine.in_flight


# Captures


def test_what_cannot_be_captured_runs_layer_by_layer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that looks at a value: PyTorch waits for the GPU, which no capture allows."""
    net = make()
    translate = UNet.translate

    def looking(self: UNet, x: torch.Tensor, masks: Any = None) -> Any:
        if x.is_cuda:
            assert float(x.sum().item()) == float(x.sum().item())
        return translate(self, x, masks)

    plain = TorchEngine(net, size=SIZE, batch_size=BATCH)(images(0))
    monkeypatch.setattr(UNet, "translate", looking)
    with fake_cuda(seed=0) as cuda:
        engine = on_gpu(net)
        assert cuda.failed == 2 and cuda.replays == 0
        assert engine.remark.startswith("no CUDA graph could be captured (")
        assert not cuda.captures_underway, "PyTorch's allocator knows that it is over"
        assert torch.cuda.current_stream() is cuda.default
        torch.cuda.empty_cache()
        assert all(equal(engine(images(0)), plain) for _ in range(3))
        decision = autotune.autotune(settings, items(settings))
        assert decision.note.startswith("no CUDA graph could be captured")


def test_a_capture_leaves_other_threads_be() -> None:
    with fake_cuda() as cuda:

        def prepare(inputs: list[torch.Tensor]) -> Any:
            def run() -> Any:
                def lock() -> None:
                    with cuda:
                        torch.empty(8, pin_memory=True)

                with ThreadPoolExecutor(1) as pool:
                    pool.submit(lock).result()
                return inputs[0] + 1, inputs[0]

            return run

        slot = Slot([Shape((1, 4), torch.float32)], prepare, torch.device("cuda"))
        assert slot.graph is not None and cuda.made == 1


def test_the_precision_of_convolutions_is_put_back() -> None:
    cudnn = torch.backends.cudnn

    def state() -> tuple[object, ...]:
        conv = getattr(cudnn, "conv", None)
        precision = cudnn.allow_tf32 if conv is None else conv.fp32_precision
        return cudnn.deterministic, cudnn.benchmark, precision

    before = state()
    with pytest.raises(ZeroDivisionError), exact_convolutions():
        assert state()[:2] == (True, False) and state()[2] in ("ieee", False)
        raise ZeroDivisionError
    assert state() == before
    seen = []
    translate = UNet.translate

    def watched(self: UNet, *args: Any) -> Any:
        seen.append(state())
        return translate(self, *args)

    with pytest.MonkeyPatch.context() as patch, fake_cuda():
        patch.setattr(UNet, "translate", watched)
        on_gpu(make())
    assert len(seen) == 4 and {one[0] for one in seen} == {True}
    assert {one[2] for one in seen} <= {"ieee", False}


# Failures


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."), MemoryShortage),
        (RuntimeError("CUDA error: out of memory"), MemoryShortage),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), MemoryShortage),
        (MemoryError(), MemoryShortage),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), EngineError),
        (
            RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable"),
            EngineError,
        ),
        (TypeError("pybind11::init(): factory function returned nullptr"), EngineError),
        (AttributeError("'IRuntime' object has no attribute 'x'"), EngineError),
        (KeyError("FP8"), EngineError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_of_libraries_become_those_of_engines(
    error: Exception, kind: type[EngineError]
) -> None:
    with pytest.raises(EngineError, match=r"^it cannot: .") as caught, engine_errors("it cannot"):
        raise error
    assert type(caught.value) is kind and caught.value.__cause__ is error
    logged = engine_errors("it cannot", lambda: "as logged")
    with pytest.raises(EngineError, match=r"^it cannot: as logged$"), logged:
        raise error


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt(), AssertionError()])
def test_other_errors_stay_themselves(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, engine_errors("it cannot"):
        raise error
    assert caught.value is error


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> Settings:
    for number in range(7):
        put(tmp_path / "in" / f"{number}.png", seed=number, size=(100, 70))
    return Settings(
        str(tiny), bundle.fingerprint(tiny), str(tmp_path / "out"), "tile", SIZE, None, BATCH,
        "cuda", "fp32", False, 0,
    )  # fmt: skip


def items(settings: Settings) -> list[Item]:
    source = Path(settings.out).parent / "in"
    return [Item(str(path), path.name, path.name, "png") for path in sorted(source.iterdir())]


def convert(settings: Settings, out: str) -> dict[str, str]:
    place = Path(settings.out).parent / out
    (place / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    result = worker.convert_chunk(replace(settings, out=str(place)), items(settings))
    assert {record.status for record in result.records} == {"done"}
    return digests(place)


def test_a_chunk_has_the_bytes_of_the_cpu(settings: Settings) -> None:
    expected = convert(replace(settings, device="cpu"), "cpu")
    with fake_cuda(seed=3) as cuda:
        assert convert(settings, "gpu") == expected
        assert cuda.replays == 10 and cuda.pageable_copies == 0  # of 28 tiles


def test_precision_is_chosen_on_the_gpu_as_well(settings: Settings) -> None:
    with fake_cuda(seed=4):
        decision = autotune.autotune(replace(settings, precision="auto"), items(settings))
        assert (decision.device, decision.precision, decision.batch_size) == ("cuda", "fp16", BATCH)
        assert decision.note == ""


def test_batches_are_halved_until_they_fit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the size is open; a size that was asked for is refused in words."""
    monkeypatch.setattr("pix2pix_batch.inference.engine.CUDA_BATCH", 4)  # 64 of 64x64
    with fake_cuda(memory=32 << 20):
        decision = autotune.autotune(replace(settings, batch_size=None), items(settings))
        assert decision.batch_size in (8, 16, 32)
        open_engine.cache_clear()
        with pytest.raises(InputError, match=r"^--batch-size 500: .*out of memory.*use a smaller"):
            autotune.autotune(replace(settings, batch_size=500), items(settings))
    with fake_cuda(memory=1 << 10), pytest.raises(InputError, match="use --device cpu, or free"):
        autotune.autotune(replace(settings, batch_size=None), items(settings))


def test_batches_with_noise_are_tried_as_well(noisy: Path, settings: Settings) -> None:
    asked = replace(settings, model=str(noisy), fingerprint=bundle.fingerprint(noisy), noise=True)
    with fake_cuda() as cuda:
        autotune.autotune(asked, items(settings))
        assert cuda.made == 4


def test_a_slot_of_another_gpu_worker_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Started for a GPU, and PyTorch finds none: the CPU runs, but not in silence."""
    if torch.cuda.is_available():
        pytest.skip("PyTorch finds a GPU here")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    asked = replace(settings, device="auto")
    assert autotune.autotune(asked, items(settings)).note == "", "hidden or not, nobody gave it one"
    monkeypatch.setenv("PIX2PIX_BATCH_CODEC_THREADS", "4")
    decision = autotune.autotune(asked, items(settings))
    assert decision.device == "cpu"
    assert decision.note.startswith("PyTorch cannot use the NVIDIA GPU that is here")
    assert "--device cpu has one a core" in decision.note


class Failing:
    """An engine whose results cannot be had."""

    batch_size, size, device, backend, precision = 1, SIZE, "cpu", "failing", "fp32"
    takes_fewer = True

    def __init__(self) -> None:
        self.under_way = 0

    def __call__(self, images: np.ndarray, masks: Any = None) -> Translated:
        raise AssertionError("is started and finished")

    def start(self, images: np.ndarray, masks: Any = None) -> None:
        self.under_way += 1

    def finish(self) -> Translated:
        self.under_way -= 1
        raise EngineError("CUDA error: unspecified launch failure")


def open_failing(settings: Settings, tiles: np.ndarray | None) -> tuple[Engine, str]:
    return Failing(), ""


def test_batches_that_fail_leave_nothing_for_the_next_chunk(settings: Settings) -> None:
    """Else the next chunk's images would be given those of this one."""
    asked = replace(settings, opener=open_failing, backend="failing", device="cpu", batch_size=1)
    with pytest.raises(EngineError, match="unspecified launch failure"):
        convert(asked, "out")
    engine = engine_of(asked)
    assert isinstance(engine, Failing) and engine.under_way == 0


def test_threads_of_a_worker_open_one_engine(settings: Settings) -> None:
    opened: list[Engine] = []
    barrier = threading.Barrier(4)
    asked = replace(settings, opener=open_slowly, backend="slow", device="cpu")

    def get() -> None:
        barrier.wait()
        opened.append(engine_of(asked))

    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 4 and len({id(one) for one in opened}) == 1


def open_slowly(settings: Settings, tiles: np.ndarray | None) -> tuple[Engine, str]:
    threading.Event().wait(0.05)
    return Failing(), ""


# The fake holds code to CUDA's rules


def test_a_result_read_too_early_is_not_there(late: FakeCuda) -> None:
    host = torch.ones(4, dtype=torch.uint8)
    there = host.to("cuda")
    made, back = there + 1, torch.empty(4, dtype=torch.uint8, pin_memory=True)
    back.copy_(made, non_blocking=True)
    assert back.tolist() != [2] * 4
    torch.cuda.synchronize()
    assert back.tolist() == [2] * 4
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        made.numpy()


@pytest.fixture
def late() -> Iterator[FakeCuda]:
    with fake_cuda() as cuda:
        yield cuda


def test_streams_wait_only_where_they_are_told(late: FakeCuda) -> None:
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    there = torch.zeros(4, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(first):
        there.add_(1)
    with torch.cuda.stream(second):
        early = there * 1
    second.synchronize()
    with torch.cuda.stream(second):
        second.wait_stream(first)
        right = there * 1
    second.synchronize()
    assert float(early.sum().item()) == 0 and float(right.sum().item()) == 4


def test_copies_of_ordinary_memory_are_waited_for(late: FakeCuda) -> None:
    there = torch.zeros(4, device="cuda")
    there.copy_(torch.ones(4), non_blocking=True)
    assert late.pageable_copies == 1


@pytest.mark.parametrize("mode", ["global", "thread_local"])
def test_what_a_capture_does_not_allow(mode: str, late: FakeCuda) -> None:
    there, pool = torch.zeros(4, device="cuda"), torch.cuda.graph_pool_handle()
    for wrong in (
        lambda: torch.empty(4, pin_memory=True),
        lambda: there.sum().item(),
        torch.cuda.synchronize,
    ):
        capture = torch.cuda.graph(torch.cuda.CUDAGraph(), pool=pool, capture_error_mode=mode)
        with pytest.raises(RuntimeError, match="failed due to a previous error"), capture:
            wrong()
        with pytest.raises(AssertionError, match="captures_underway"):
            torch.cuda.empty_cache()
        torch._C._cuda_endAllocateToPool(0, pool)
        torch.cuda.empty_cache()
