"""TensorRT's engines, built, checked and run on a real GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pix2pix_batch import bundle
from pix2pix_batch.engines import doctor, gpu, library, parity_check, samples, spec
from pix2pix_batch.engines.builder import BuildOptions
from pix2pix_batch.engines.cache import Cache
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.runtime import TensorRTEngine
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.value_ranges import eight_bits

SIZE, BATCH = 64, 4


@pytest.fixture(params=list(library.PACKAGES))
def chosen(request: pytest.FixtureRequest) -> Library:
    """A library that is here and runs on this GPU."""
    try:
        found = library.load(request.param)
    except library.MissingLibrary as error:
        pytest.skip(str(error))
    here = gpu.current_gpu()
    if not doctor.usable_libraries(here, [found]):
        pytest.skip(f"{found.name} {found.version} does not run on this {here}")
    pytest.importorskip("onnxscript", reason="needs the extra onnx, to export the model")
    return found


def made(
    chosen: Library, model: Path, precision: str, noise: bool = False
) -> tuple[TensorRTEngine, dict[str, float], dict[str, float]]:
    """Built and checked; how far it is from fp32, and how far its precision is by itself."""
    order = EngineSpec(model, precision, BATCH, SIZE, noise)
    cache = Cache()
    entry = spec.find_or_build(cache, order, chosen, BuildOptions(), gpu.current_gpu()).entry
    engine = parity_check.load_engine(chosen, entry, cache)
    entry, _ = parity_check.check_entry(
        cache, entry, engine, order, samples.read_samples(None, SIZE, eight_bits(3))
    )
    return engine, entry.facts["parity"], entry.facts["predicted"]


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_a_real_engine_is_as_close_as_its_precision(
    chosen: Library, precision: str, noise: bool, noisy: Path
) -> None:
    engine, parity, predicted = made(chosen, noisy, precision, noise)
    assert parity["psnr"] > min(predicted["psnr"], 80) - 6
    engine.close()


def test_batches_overlap(chosen: Library, tiny: Path) -> None:
    engine, *_ = made(chosen, tiny, "fp16")
    assert engine.remark == "", "its graph is captured, by TensorRT-RTX itself or from here"
    random = np.random.default_rng(0)
    batches = [random.integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype(np.uint8) for _ in range(6)]
    wanted = [engine(batch) for batch in batches]
    got = []
    for batch in batches:
        engine.start(batch)
        if len(engine.in_flight) == 2:
            got.append(engine.finish())
    got.append(engine.finish())
    for one, other in zip(got, wanted, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.embeddings, other.embeddings)
    engine.close()


def test_what_is_compiled_at_load_is_kept(chosen: Library, tiny: Path, place: Path) -> None:
    engine, *_ = made(chosen, tiny, "fp16")
    kept = list(place.glob("*.runtime"))
    assert len(kept) == (1 if chosen.captures_itself else 0)
    before = [path.read_bytes() for path in kept]
    engine.close()
    again, *_ = made(chosen, tiny, "fp16")
    assert [path.read_bytes() for path in kept] == before
    again.close()


def test_a_shipped_model(chosen: Library) -> None:
    order = EngineSpec(bundle.resolve("map2aerial"), "fp16", BATCH, 256)
    cache = Cache()
    entry = spec.find_or_build(cache, order, chosen, BuildOptions(), gpu.current_gpu()).entry
    engine = parity_check.load_engine(chosen, entry, cache)
    _, parity = parity_check.check_entry(
        cache, entry, engine, order, samples.read_samples(None, 256, eight_bits(3))
    )
    assert parity.passes
    engine.close()
