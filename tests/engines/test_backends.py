"""Which engine convert runs, and what it says where it cannot run the best."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pix2pix_batch import bundle
from pix2pix_batch.engines import backends, library, parity_check, samples
from pix2pix_batch.engines.cache import Cache, Entry
from pix2pix_batch.engines.export_graph import make_graph
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import EngineError, InputError, MemoryShortage
from pix2pix_batch.execution import worker
from pix2pix_batch.inference import autotune
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.engine import Engine, Overlapping, TorchEngine, Translated
from pix2pix_batch.inference.engine_cache import engine_of
from pix2pix_batch.inference.settings import Decision, Settings, apply_decision
from pix2pix_batch.item import Item
from pix2pix_batch.value_ranges import eight_bits
from tests.end_to_end.command import (
    convert,
    digests,
    environment,
    error_of,
    here,
    journal,
    one_worker,
    put,
    run_python,
    small_disk,
    words,
)

CARD = Gpu("NVIDIA Test", "sm89", "550.54", "12.4", 24 << 30)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(5):
        put(tmp_path / "in" / f"{number}.png", seed=number, size=(100, 70))
    return tmp_path / "in"


@pytest.fixture
def settings(tiny: Path, tmp_path: Path) -> Settings:
    (tmp_path / "out" / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    return Settings(
        str(tiny), bundle.fingerprint(tiny), str(tmp_path / "out"), "tile", 64, None, 2, "cpu",
        "fp32", False, 0, opener=backends.open_best,
    )  # fmt: skip


def test_on_a_cpu_pytorch_runs(settings: Settings) -> None:
    assert backends.open_best(settings, np.zeros((1, 64, 64, 3), np.uint8)) == (None, "")
    decision = autotune.autotune(settings, [])
    assert decision.backend.startswith("torch") and decision.note == ""


@pytest.mark.usefixtures("no_gpu")
def test_a_backend_asked_for_needs_a_gpu(tiny: Path, source: Path) -> None:
    out = source.parent / "out"
    ran = convert(source, out, tiny, "--backend", "tensorrt")
    assert ran.code == 2
    assert "--backend tensorrt: needs an NVIDIA GPU" in error_of(ran)
    assert "--backend torch" in ran.err
    assert not (out / ".pix2pix-batch" / "journal.jsonl").exists(), "OUT is still free"


@pytest.mark.usefixtures("no_gpu")
def test_a_resumed_job_keeps_its_backend(tiny: Path, source: Path) -> None:
    out = source.parent / "out"
    with one_worker():
        assert convert(source, out, tiny, "--backend", "torch", "--limit", 2).code == 0
        assert journal(out)[0]["backend"] == "torch"
        ran = convert(source, out, tiny, "--backend", "tensorrt")
        assert ran.code == 2
        assert f"{out}: was begun with --backend torch; go on with it" in error_of(ran)

        begun_with(out, "tensorrt")
        ran = convert(source, out, tiny)
    assert ran.code == 2 and "--backend tensorrt: needs an NVIDIA GPU" in error_of(ran)


def begun_with(out: Path, backend: str) -> None:
    """Have the journal of ``out`` say so."""
    path = out / ".pix2pix-batch" / "journal.jsonl"
    first, rest = path.read_text().split("\n", 1)
    values = {**json.loads(first), "backend": backend}
    path.write_text(json.dumps(values) + "\n" + rest)


def test_an_unknown_backend(tiny: Path, source: Path) -> None:
    ran = here(*words(source, source.parent / "out", tiny, "--backend", "onnx"))
    assert ran.code == 2 and "'onnx' is not one of 'auto', 'tensorrt'" in ran.err


def test_it_travels_by_its_name(settings: Settings) -> None:
    data = pickle.dumps(settings)
    assert b"pix2pix_batch.engines.backends" in data and pickle.loads(data) == settings


@pytest.mark.parametrize("module", ["pix2pix_batch.engines.backends", "pix2pix_batch.engines"])
def test_naming_it_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "heavy = {'torch', 'tensorrt', 'tensorrt_rtx', 'onnx', 'onnxscript', 'filelock'}\n"
        "sys.exit(str(heavy & set(sys.modules) - {'filelock'}) if heavy & set(sys.modules) - "
        "{'filelock'} else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], env=environment()).returncode == 0


def test_converting_on_a_cpu_loads_no_tensorrt(settings: Settings, source: Path) -> None:
    code = f"""
import pickle, sys
from pix2pix_batch.execution import worker
from pix2pix_batch.inference import autotune, settings as s
from pix2pix_batch.item import Item
from dataclasses import replace
settings = pickle.loads({pickle.dumps(settings)!r})
items = [Item({str(source / "0.png")!r}, "0.png", "0.png", "png")]
decision = autotune.autotune(settings, items)
assert worker.convert_chunk(s.apply_decision(settings, decision), items).records[0].status == "done"
loaded = {{"tensorrt", "tensorrt_rtx", "onnx", "pix2pix_batch.engines.cache"}} & set(sys.modules)
sys.exit(str(loaded) if loaded else 0)
"""
    ran = run_python(code)
    assert ran.code == 0, ran.err


# A GPU that is not there: what is decided before one is needed


def on_a_card(monkeypatch: pytest.MonkeyPatch, card: Gpu = CARD) -> None:
    monkeypatch.setattr("pix2pix_batch.engines.gpu.current_gpu", lambda: card)


def on_a_card_without_tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX alone is installed."""
    on_a_card(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", None)


TILES = np.zeros((1, 64, 64, 3), np.uint8)


def test_a_missing_library_asked_for_is_wrong_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card_without_tensorrt(monkeypatch)
    with pytest.raises(InputError, match=r"^tensorrt: not installed; .*pix2pix-batch\[tensorrt\]"):
        backends.open_best(replace(settings, device="cuda", backend="tensorrt"), TILES)


def test_with_no_library_pytorch_runs_and_it_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card(monkeypatch)
    for name in library.PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    engine, note = backends.open_best(replace(settings, device="cuda"), TILES)
    assert engine is None and note.endswith("so PyTorch runs")
    assert "pip install 'pix2pix-batch[tensorrt]'" in note


@pytest.mark.usefixtures("place")
def test_a_gpu_that_the_library_does_not_run_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card(monkeypatch, replace(CARD, name="NVIDIA H100", capability="sm90"))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    engine, note = backends.open_best(replace(settings, device="cuda"), TILES)
    assert engine is None
    assert note.startswith("tensorrt_rtx does not run: tensorrt_rtx 1.")
    assert "the NVIDIA H100 here is sm90" in note


def test_a_cache_that_others_write_to_is_told(
    settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card_without_tensorrt(monkeypatch)
    place.mkdir(parents=True)
    place.chmod(0o777)
    engine, note = backends.open_best(replace(settings, device="cuda"), TILES)
    assert engine is None and "others can write to it" in note


@pytest.mark.skipif(torch.cuda.is_available(), reason="engines load where there is a GPU")
def test_an_engine_that_does_not_load_is_told(
    settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in the cache, built for this kind of GPU, but TensorRT refuses it (no driver)."""
    on_a_card_without_tensorrt(monkeypatch)
    order = EngineSpec(Path(settings.model), "fp32", 2, 64)
    Cache().obtain(order.key(library.load("tensorrt_rtx"), "", CARD), lambda: (b"plan", {}))
    engine, note = backends.open_best(replace(settings, device="cuda"), TILES)
    assert engine is None and "cannot load the engine: " in note


@pytest.mark.skipif(torch.cuda.is_available(), reason="engines load where there is a GPU")
def test_what_is_not_in_the_cache_is_built_and_told(
    settings: Settings,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_a_card_without_tensorrt(monkeypatch)
    monkeypatch.setattr(logging.root, "handlers", [])  # pytest's, which commands do not have
    engine, note = backends.open_best(replace(settings, device="cuda", precision="auto"), TILES)
    told = "building a tensorrt_rtx fp16 engine of tiny for the NVIDIA Test, once\n"
    assert capsys.readouterr().err == told
    (entry,) = Cache().entries()
    assert isinstance(entry, Entry) and entry.key.batch_size == 2
    assert (entry.key.gpu, entry.key.driver, entry.key.cuda) == (CARD.name, "550.54", "12.4")
    assert engine is None and "cannot load the engine" in note
    backends.open_best(replace(settings, device="cuda", precision="auto"), TILES)
    assert capsys.readouterr().err == "", "it is not built again"


def test_an_engine_that_was_set_aside_is_neither_used_nor_built_again(
    settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card_without_tensorrt(monkeypatch)
    cache, spec = Cache(), EngineSpec(Path(settings.model), "fp32", 2, 64)
    key = spec.key(library.load("tensorrt_rtx"), "sm89")
    entry = cache.obtain(key, lambda: (b"plan", {})).entry
    cache.update_facts(entry, refused="is 12.0 dB from fp32 PyTorch on 4 images (bar 40)")
    engine, note = backends.open_best(replace(settings, device="cuda"), TILES)
    assert engine is None and "is 12.0 dB from fp32" in note and "set aside" in note
    with pytest.raises(InputError, match=r"^--backend tensorrt_rtx: the fp32 engine .* set aside"):
        backends.open_best(replace(settings, device="cuda", backend="tensorrt_rtx"), TILES)


class Half:
    """The network as TensorRT compiles it, in float16, by PyTorch on the CPU."""

    def __init__(self, model: Path, batch_size: int, size: int) -> None:
        self.graph = make_graph(bundle.load(model)[1], torch.float16)
        self.batch_size, self.size, self.precision = batch_size, size, "fp16"
        self.device, self.backend, self.takes_fewer = "cpu", "half", False

    def __call__(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> Translated:
        with torch.inference_mode():
            made, embeddings = self.graph(torch.from_numpy(images))
        return Translated(made.numpy(), embeddings.numpy())


def test_an_engine_whose_fp16_overflows_is_set_aside_and_pytorch_runs(
    overflowing: Path, settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Really built; run by PyTorch in float16, since the GPU is not there."""
    on_a_card_without_tensorrt(monkeypatch)
    monkeypatch.setattr(parity_check, "load_engine", lambda *_: Half(overflowing, 2, 32))
    asked = replace(
        settings,
        model=str(overflowing),
        fingerprint=bundle.fingerprint(overflowing),
        size=32,
        device="cuda",
        precision="auto",
    )
    tiles = samples.read_samples(None, 32, eight_bits(3))
    engine, note = backends.open_best(asked, tiles)
    assert engine is None and note.endswith("so PyTorch runs")
    assert "is set aside" in note and "dB from fp32 PyTorch on 4 images" in note
    (entry,) = Cache().entries()
    assert (
        isinstance(entry, Entry)
        and entry.refusal
        and entry.facts["parity"]["psnr"] < parity_check.BAR
    )

    def no_load(*_: object) -> None:
        raise AssertionError("what was set aside is loaded")

    monkeypatch.setattr(parity_check, "load_engine", no_load)
    assert "is set aside" in backends.open_best(asked, tiles)[1]


def test_a_sound_engine_passes_the_same_way(
    settings: Settings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card_without_tensorrt(monkeypatch)
    half = Half(Path(settings.model), 2, 64)
    monkeypatch.setattr(parity_check, "load_engine", lambda *_: half)
    asked = replace(settings, device="cuda", precision="auto")
    assert backends.open_best(asked, samples.read_samples(None, 64, eight_bits(3))) == (half, "")
    (entry,) = Cache().entries()
    assert isinstance(entry, Entry) and entry.facts["parity"]["psnr"] > parity_check.BAR


def test_a_full_disk_is_told_and_pytorch_runs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_card_without_tensorrt(monkeypatch)
    with small_disk(tmp_path, "64k") as disk:
        monkeypatch.setenv("PIX2PIX_BATCH_CACHE", str(disk))
        engine, note = backends.open_best(replace(settings, device="cuda"), TILES)
    assert engine is None and "No space left on device" in note and "PyTorch runs" in note


@pytest.mark.parametrize(("given", "fits", "left"), [(None, 8, 8), (None, 1, 1), (16, 8, None)])
def test_an_open_batch_size_is_halved_until_it_fits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, given: int, fits: int, left: int
) -> None:
    """Memory runs out on GPUs only, so that is said here for engines larger than ``fits``."""

    def ready(library: object, order: EngineSpec, *_: object) -> EngineSpec:
        if order.batch_size > fits:
            raise MemoryShortage("the GPU's memory is too small")
        return order

    monkeypatch.setattr(backends, "load_checked", ready)
    asked = replace(settings, batch_size=given)
    if left is None:
        with pytest.raises(EngineError, match="memory is too small"):
            backends.open_library(library.load("tensorrt_rtx"), asked, TILES, CARD)
    else:
        made = backends.open_library(library.load("tensorrt_rtx"), asked, TILES, CARD)
        assert made.batch_size == left


# Overlapping


class Late:
    """The engine of the CPU, which hands out its results one batch later, as a GPU's does."""

    def __init__(self, engine: TorchEngine) -> None:
        self.engine, self.in_flight = engine, deque[Translated]()
        self.batch_size, self.size, self.precision = engine.batch_size, engine.size, "fp32"
        self.device, self.backend, self.most = "cpu", "late", 0
        self.takes_fewer = False

    def __call__(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> Translated:
        raise AssertionError("is started and finished")

    def start(self, images: np.ndarray, masks: Sequence[np.ndarray] | None = None) -> None:
        self.in_flight.append(self.engine(images, masks))
        self.most = max(self.most, len(self.in_flight))

    def finish(self) -> Translated:
        return self.in_flight.popleft()


def opener(settings: Settings, tiles: np.ndarray | None) -> tuple[Engine, str]:
    _, unet = bundle.load(Path(settings.model))
    return Late(TorchEngine(unet, size=64, batch_size=settings.batch_size or 2)), "late"


def test_overlapping_engines_make_the_same_bytes(settings: Settings, source: Path) -> None:
    items = [Item(str(p), p.name, p.name, "png") for p in sorted(source.iterdir())]
    out = Path(settings.out)
    found = []
    for one in (settings, replace(settings, opener=opener, backend="late")):
        records = worker.convert_chunk(one, items).records
        assert [record.status for record in records] == ["done"] * 5
        found.append(digests(out))
    assert found[0] == found[1]
    late = engine_of(replace(settings, opener=opener, backend="late", out="elsewhere"))
    assert isinstance(late, Late) and isinstance(late, Overlapping)
    assert late.most == 2 and not late.in_flight
    assert not isinstance(engine_of(settings), Overlapping)


def test_a_chunk_that_fails_leaves_nothing_under_way(
    settings: Settings, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = replace(settings, opener=opener, backend="late", batch_size=1)
    items = [Item(str(p), p.name, p.name, "png") for p in sorted(source.iterdir())]

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="a bug"):
        patch.setattr(Converter, "_hand_on", fail)
        worker.convert_chunk(late, items)
    engine = engine_of(late)
    assert isinstance(engine, Late) and not engine.in_flight
    assert {r.status for r in worker.convert_chunk(late, items).records} == {"done"}


def test_the_probe_keeps_what_it_opened(settings: Settings) -> None:
    asked = replace(settings, opener=opener, backend="late")
    decision = autotune.autotune(asked, [])
    assert decision == Decision("cpu", "fp32", 2, "late", "late")
    settled = apply_decision(asked, decision)
    assert engine_of(settled) is engine_of(settled)
