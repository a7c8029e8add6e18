"""TensorRT engines, run: on a GPU of tests/fake_cuda.py, by the bindings' own interface."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.engines import backends, library, parity_check, samples
from pix2pix_batch.engines.cache import Cache, Entry
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.key import Key
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.runtime import TensorRTEngine
from pix2pix_batch.errors import EngineError, InputError, MemoryShortage
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet
from pix2pix_batch.inference.engine import Overlapping, Translated
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.value_ranges import eight_bits
from tests.engines.fake_tensorrt import RTX_ALONE, FakeTensorRT, expected
from tests.fake_cuda import FakeCuda, fake_cuda

trt = pytest.importorskip("tensorrt_rtx", reason="needs the bindings of TensorRT-RTX")

SIZE, BATCH = 64, 3
CARD = Gpu("NVIDIA Test", "sm89", "550.54", "12.4", 24 << 30)


@pytest.fixture(params=[None, 0, 1], ids=["late", "chance 0", "chance 1"])
def cuda(request: pytest.FixtureRequest) -> Iterator[FakeCuda]:
    with fake_cuda(seed=request.param) as made:
        yield made


@pytest.fixture
def late() -> Iterator[FakeCuda]:
    with fake_cuda() as made:
        yield made


def open_engine(
    fake: FakeTensorRT, hidden: Sequence[str] = RTX_ALONE, runtime_file: Any = None
) -> TensorRTEngine:
    """By default as ``tensorrt`` does it, whose contexts are captured from here."""
    return TensorRTEngine(
        fake.library(trt, hidden),
        b"plan",
        size=SIZE,
        batch_size=BATCH,
        precision="fp32",
        runtime_file=runtime_file,
    )


def batches(fake: FakeTensorRT, count: int) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Some full, some not; with masks where the engine takes some."""
    made = []
    for number in range(count):
        random = np.random.default_rng(number)
        length = BATCH if number % 3 else BATCH - 1
        images = random.integers(0, 256, (length, fake.size, fake.size, 3)).astype(np.uint8)
        shapes = sorted(one[:2] for one in fake.tensors if one[0].startswith("noise"))
        made.append((images, [random.random((length, *shape)) < 0.5 for _, shape in shapes]))
    return made


def assert_made(fake: FakeTensorRT, batch: tuple[np.ndarray, Any], made: Translated) -> None:
    images, embeddings = expected(fake, *batch)
    assert np.array_equal(made.images, images) and np.array_equal(made.embeddings, embeddings)


@pytest.mark.parametrize("hidden", [RTX_ALONE, ()], ids=["tensorrt", "tensorrt_rtx"])
@pytest.mark.parametrize("model", ["tiny", "noisy"])
def test_batches_overlap_and_come_back_in_order(
    model: str, hidden: tuple[str, ...], cuda: FakeCuda, request: pytest.FixtureRequest
) -> None:
    fake = FakeTensorRT(cuda, request.getfixturevalue(model), BATCH, SIZE)
    engine = open_engine(fake, hidden)
    assert isinstance(engine, Overlapping)
    assert engine.backend == ("tensorrt" if hidden else "tensorrt_rtx")
    work = batches(fake, 6)
    made = []
    for images, masks in work:
        engine.start(images, masks or None)
        images[...] = 0  # it is done with the arrays
        if len(engine.in_flight) == 2:
            made.append(engine.finish())
    made.append(engine.finish())
    assert len(engine.in_flight) == 0
    for batch, one in zip(batches(fake, 6), made, strict=True):
        assert_made(fake, batch, one)
    assert cuda.pageable_copies == 0 and engine.remark == ""
    # TensorRT-RTX makes its graphs itself: nothing is captured around it
    assert (cuda.made, cuda.replays) == ((2, 6) if hidden else (0, 0))


def test_a_batch_is_begun_before_the_one_before_it_is_done(late: FakeCuda, tiny: Path) -> None:
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    engine = open_engine(fake)
    before = fake.executed
    first, second = batches(fake, 2)
    engine.start(*first)
    engine.start(*second)
    assert fake.executed == before, "nothing has run, and nothing was waited for"
    with pytest.raises(ValueError, match="2 batches are under way; finish one first"):
        engine.start(*first)
    with pytest.raises(ValueError, match="under way"):
        engine(*first)
    assert_made(fake, first, engine.finish())
    assert fake.executed == before + 1, "the second still waits, on a stream of its own"
    assert_made(fake, second, engine.finish())


def test_each_mask_goes_to_its_input(late: FakeCuda, tmp_path: Path) -> None:
    """Whatever the order in which an engine names its inputs."""
    net = UNet(Architecture(downs=7, ngf=2)).init_weights(torch.Generator().manual_seed(0)).eval()
    path = tmp_path / "deep.safetensors"
    bundle.save(path, BundleInfo("deep", net.architecture, 128), net)
    fake = FakeTensorRT(late, path, BATCH, 128)
    engine = open_engine(fake)
    assert engine.masked == ["noise_0", "noise_1"]
    for batch in batches(fake, 2):
        assert_made(fake, batch, engine(*batch))


def test_masks_of_another_number_are_refused(late: FakeCuda, noisy: Path) -> None:
    fake = FakeTensorRT(late, noisy, BATCH, SIZE)
    engine = open_engine(fake)
    ((images, _),) = batches(fake, 1)
    with pytest.raises(ValueError, match="takes 1 masks, not 0"):
        engine(images)
    assert not engine.in_flight


# Captures


def test_an_engine_that_cannot_be_captured_runs_layer_by_layer(cuda: FakeCuda, tiny: Path) -> None:
    """And PyTorch's allocator is told that the capture is over: its assertions hold after it."""
    fake = FakeTensorRT(cuda, tiny, BATCH, SIZE)
    fake.captured = False
    engine = open_engine(fake)
    assert cuda.failed == 2 and not cuda.captures_underway
    assert engine.remark.startswith("no CUDA graph could be captured (")
    for batch in batches(fake, 3):
        assert_made(fake, batch, engine(*batch))
    assert cuda.replays == 0
    torch.cuda.empty_cache()
    engine.close()


def test_other_threads_page_lock_memory_meanwhile(late: FakeCuda, tiny: Path) -> None:
    """As those that decode may: a capture in CUDA's default mode would fail of it."""
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    execute = fake.execute

    def meddling(context: Any, handle: int) -> bool:
        def lock() -> None:
            with late:
                torch.empty(8, pin_memory=True)

        other = threading.Thread(target=lock)
        other.start()
        other.join()
        return execute(context, handle)

    fake.execute = meddling  # type: ignore[method-assign]
    engine = open_engine(fake)
    assert late.made == 2 and engine.remark == ""


# Failures


OUT_OF_MEMORY = "[E] Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)"


@pytest.mark.parametrize(
    ("reason", "kind", "told"),
    [
        ("", EngineError, "no execution context can be made: it gives no reason"),
        ("Error Code 1: Cuda Runtime (invalid device function)", EngineError, "invalid device"),
        (OUT_OF_MEMORY, MemoryShortage, "OutOfMemory"),
        ("Error Code 1: Cuda Runtime (out of memory)", MemoryShortage, "out of memory"),
    ],
)
def test_no_context_is_want_of_memory_only_where_that_is_said(
    reason: str, kind: type[Exception], told: str, late: FakeCuda, tiny: Path
) -> None:
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    fake.contexts, fake.reason = 1, reason
    with pytest.raises(EngineError, match=told) as caught:
        open_engine(fake)
    assert type(caught.value) is kind


def test_an_engine_that_does_not_load(late: FakeCuda, tiny: Path) -> None:
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    fake.loads, fake.reason = False, "Error Code 6: API Usage Error (incompatible device)"
    with pytest.raises(EngineError, match=r"^tensorrt 1\.\S+ cannot load the engine: Error Code 6"):
        open_engine(fake)


def test_an_engine_that_does_not_run(late: FakeCuda, tiny: Path) -> None:
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    engine = open_engine(fake, hidden=())
    fake.runs, fake.reason = False, "Error Code 1: Cuda Runtime (unspecified launch failure)"
    with pytest.raises(EngineError, match=r"cannot run it: Error Code 1: .*launch failure"):
        engine(*batches(fake, 1)[0])
    assert not engine.in_flight
    fake.runs = True
    for batch in batches(fake, 3):
        assert_made(fake, batch, engine(*batch))


@pytest.mark.parametrize("limits", [{"memory": 1000}, {"pinned": 1000}], ids=["GPU", "host"])
def test_no_memory_for_the_batches(limits: dict[str, int], tiny: Path) -> None:
    with fake_cuda(**limits) as cuda:
        fake = FakeTensorRT(cuda, tiny, BATCH, SIZE)
        with pytest.raises(MemoryShortage, match=r"cannot open the engine: CUDA .*out of memory"):
            open_engine(fake)


def test_an_interface_that_differs_is_an_error_of_the_engine(late: FakeCuda, tiny: Path) -> None:
    """Of a later version, say: the next rung runs."""
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    for hidden in ("ICudaEngine.get_tensor_mode", "IExecutionContext.set_tensor_address"):
        with pytest.raises(EngineError, match=r"cannot open the engine: .*has no attribute"):
            open_engine(fake, hidden=(*RTX_ALONE, hidden))
    fake.tensors[0] = ("embedding", (64,), "FP8", False)
    with pytest.raises(EngineError, match="'embedding' is FP8"):
        open_engine(fake)


# What TensorRT-RTX compiles at load


def test_what_is_compiled_at_load_is_kept_beside_the_engine(
    late: FakeCuda, tiny: Path, tmp_path: Path
) -> None:
    """One cache for both slots; what a process before has left is read, if it is whole."""
    cache = Cache(tmp_path)
    key = Key("ab" * 32, 1, "0.1", "tensorrt_rtx", "1.7", "sm89", batch_size=BATCH, size=SIZE)
    entry = cache.obtain(key, lambda: (b"plan", {"model": "tiny"})).entry
    path = entry.path.with_suffix(".runtime")

    def load() -> FakeTensorRT:
        fake = FakeTensorRT(late, tiny, BATCH, SIZE)
        engine = parity_check.load_engine(fake.library(trt), entry, cache)
        ((images, masks),) = batches(fake, 1)
        assert_made(fake, (images, masks), engine(images, masks))
        return fake

    assert load().read == b"" and path.read_bytes()[32:] == b"compiled"
    assert path.stat().st_mode & 0o077 == 0
    assert load().read == b"compiled"
    for damaged in (path.read_bytes()[:-1], b"short"):
        path.write_bytes(damaged)
        assert load().read == b"", "code that is damaged is not loaded"
        assert path.read_bytes()[32:] == b"compiled"
    assert cache.prune() == (0, 0) and path.exists()
    assert cache.prune(lambda _: True)[0] == 1 and not list(cache.folder.iterdir())
    path.write_bytes(b"left")
    assert cache.prune() == (0, 4) and not path.exists()


# On the ladder


@pytest.fixture
def settings(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Path) -> Settings:
    monkeypatch.setattr("pix2pix_batch.engines.gpu.current_gpu", lambda: CARD)
    return Settings(
        str(tiny), bundle.fingerprint(tiny), str(tmp_path), "tile", SIZE, None, None, "cuda",
        "fp32", False, 0, opener=backends.open_best,
    )  # fmt: skip


def offered(fake: FakeTensorRT, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The library is the only one there, and has built an engine for every batch size; those that
    are asked for."""
    chosen = fake.library(trt)
    asked: list[int] = []

    def find(cache: Cache, order: Any, one: Library, gpu: Gpu) -> tuple[Entry, str]:
        asked.append(order.batch_size)
        fake.batch_size = order.batch_size
        key = order.key(one, "", gpu)
        return cache.obtain(key, lambda: (b"plan", {"model": "tiny"})).entry, ""

    monkeypatch.setattr(library, "find_libraries", lambda: ([chosen], []))
    monkeypatch.setattr("pix2pix_batch.engines.spec.find_engine", find)
    monkeypatch.setattr("pix2pix_batch.engines.spec.require_buildable", lambda *_: None)
    return asked


TILES = samples.read_samples(None, SIZE, eight_bits(3))


def test_an_engine_passes_the_gate_and_runs(
    settings: Settings, late: FakeCuda, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered(FakeTensorRT(late, tiny, BATCH, SIZE), monkeypatch)
    engine, note = backends.open_best(replace(settings, batch_size=2), TILES)
    assert engine is not None and engine.backend == "tensorrt_rtx" and note == ""
    (entry,) = Cache().entries()
    assert isinstance(entry, Entry) and entry.facts["parity"]["psnr"] > 60


@pytest.mark.parametrize(
    "failure",
    [
        {"contexts": 1, "reason": "Error Code 1: Cuda Runtime (invalid device function)"},
        {"loads": False, "reason": "Error Code 6: incompatible device"},
        {"runs": False, "reason": "Error Code 1: Cuda Runtime (launch failure)"},
    ],
    ids=["context", "load", "run"],
)
def test_what_fails_is_tried_once_and_the_next_rung_runs(
    failure: dict[str, Any],
    settings: Settings,
    late: FakeCuda,
    tiny: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is not built again with halved batches: memory is not what it wants."""
    fake = FakeTensorRT(late, tiny, BATCH, SIZE)
    vars(fake).update(failure)
    asked = offered(fake, monkeypatch)
    engine, note = backends.open_best(settings, TILES)
    assert engine is None and note.endswith("so PyTorch runs")
    assert note.startswith("tensorrt_rtx does not run: ") and failure["reason"] in note
    assert len(asked) == 1
    with pytest.raises(InputError, match=r"^--backend tensorrt_rtx: "):
        monkeypatch.setattr(library, "load", lambda name: fake.library(trt))
        backends.open_best(replace(settings, backend="tensorrt_rtx"), TILES)


def test_batches_are_halved_where_page_locked_memory_is_wanting(
    settings: Settings, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = SIZE * SIZE * 3 * 2 + 4 * 32  # bytes there and back for an image, and its embedding
    with fake_cuda(pinned=2 * 20 * one) as cuda:
        asked = offered(FakeTensorRT(cuda, tiny, BATCH, SIZE), monkeypatch)
        monkeypatch.setattr("pix2pix_batch.inference.engine.default_batch_size", lambda *_: 64)
        engine, _ = backends.open_best(settings, TILES)
    assert engine is not None and engine.batch_size == 16 and asked == [64, 32, 16]
