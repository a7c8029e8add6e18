"""TensorRT engines, really built, for GPUs that are not here."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from pix2pix_batch import bundle
from pix2pix_batch.engines import builder, library, spec
from pix2pix_batch.engines.builder import BuildOptions
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.library import Library
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.errors import EngineError, InputError
from tests.conftest import save_bundle


@pytest.fixture(scope="module")
def rtx() -> Library:
    return library.load("tensorrt_rtx")


@pytest.fixture(scope="module")
def graphs(bundles: Path) -> dict[str, bytes]:
    """By precision, of a model whose weights are most of its engine, and a tenth of a shipped
    one's."""
    model = save_bundle(bundles / "middle.safetensors", ngf=24)
    return {p: EngineSpec(model, p, 8, 64).graph for p in ("fp16", "fp32")}


def test_a_shipped_model_is_built(rtx: Library) -> None:
    graph = EngineSpec(bundle.resolve("map2aerial"), "fp16", 8, 256).graph
    assert len(builder.build(rtx, graph, BuildOptions("sm89"))[0]) > 10_000_000


@pytest.mark.parametrize("target", ["sm75", "sm80", "sm86", "sm89", "sm120", "sm121"])
def test_each_target_is_built(rtx: Library, graphs: dict[str, bytes], target: str) -> None:
    plan, timings = builder.build(rtx, graphs["fp16"], BuildOptions(target))
    assert len(plan) > len(graphs["fp16"]) // 2 and isinstance(timings, bytes)


def test_fp16_engines_are_about_half_as_large(rtx: Library, graphs: dict[str, bytes]) -> None:
    half, full = (
        len(builder.build(rtx, graphs[p], BuildOptions("sm89"))[0]) for p in ("fp16", "fp32")
    )
    assert 0.45 < half / full < 0.65


def test_the_network_is_strongly_typed(rtx: Library, graphs: dict[str, bytes]) -> None:
    """Bytes in and out, convolutions in float16, norms in float32, as the graph says."""
    trt, errors = rtx.trt, rtx.make_logger()
    made = trt.Builder(errors.logger)
    network = rtx.create_network(made)
    assert trt.OnnxParser(network, errors.logger).parse(graphs["fp16"])
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    assert flag is None or network.get_flag(flag)
    assert network.get_input(0).dtype == network.get_output(0).dtype == trt.DataType.UINT8
    assert network.get_output(1).dtype == trt.DataType.FLOAT
    seen = {}
    for i in range(network.num_layers):
        layer = network.get_layer(i)
        seen.setdefault(layer.type, set()).add(layer.get_output(0).dtype)
    assert seen[trt.LayerType.CONVOLUTION] == {trt.DataType.HALF}
    assert seen[trt.LayerType.DECONVOLUTION] == {trt.DataType.HALF}


def test_fp32_is_not_to_be_tf32(rtx: Library) -> None:
    """Which TensorRT takes for it by default."""
    made = rtx.trt.Builder(rtx.make_logger().logger)
    assert made.create_builder_config().get_flag(rtx.trt.BuilderFlag.TF32)
    config = builder.configure(rtx, made, BuildOptions("sm89", workspace_mib=64))
    assert not config.get_flag(rtx.trt.BuilderFlag.TF32)
    assert config.get_memory_pool_limit(rtx.trt.MemoryPoolType.WORKSPACE) == 64 << 20


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("tensorrt", "11.0.0.114", True),
        ("tensorrt", "11.4.0.106", True),
        ("tensorrt", "10.16.1.11", False),
        ("tensorrt_rtx", "1.7.1.116", True),
    ],
)
def test_bf16_is_refused_before_it_is_built(
    rtx: Library, name: str, version: str, told: bool, tmp_path: Path
) -> None:
    """By those that are known to have no transposed convolutions of it."""
    card = Gpu("NVIDIA Test", "sm89", "580.65", "13.0", 24 << 30)
    order = EngineSpec(bundle.resolve("map2aerial"), "bf16", 8, 256)
    trt = rtx.trt if name == "tensorrt_rtx" else ModuleType(name)
    chosen = Library(name, version, trt)
    if not told:
        spec.require_buildable(order, chosen, builder.CURRENT, card)
        return
    with pytest.raises(InputError, match=r"no bf16 transposed .*--backend torch"):
        spec.require_buildable(order, chosen, builder.CURRENT, card)


def test_what_goes_wrong_inside_a_build_is_its_error() -> None:
    """And not printed by the thread that it is built in."""

    def broken() -> None:
        raise RuntimeError("CUDA error: out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        builder._interruptible(broken, None)


def test_noise_is_an_input(rtx: Library, noisy: Path) -> None:
    graph = EngineSpec(noisy, "fp16", 2, 64, noise=True).graph
    assert len(onnx.load_from_string(graph).graph.input) == 2
    assert builder.build(rtx, graph, BuildOptions("sm86"))[0]


def test_progress_is_told(rtx: Library, graphs: dict[str, bytes]) -> None:
    steps: list[tuple[str, int, int]] = []

    def told(phase: str, step: int, count: int) -> bool:
        steps.append((phase, step, count))
        return True

    builder.build(rtx, graphs["fp16"], BuildOptions("sm89"), progress=told)
    assert len(steps) > 20 and all(0 <= step < count for _, step, count in steps)


def test_progress_can_ask_for_an_end(rtx: Library, graphs: dict[str, bytes]) -> None:
    steps = []

    def told(phase: str, step: int, count: int) -> bool:
        steps.append(phase)
        return len(steps) < 5

    with pytest.raises(KeyboardInterrupt):
        builder.build(rtx, graphs["fp16"], BuildOptions("sm89"), progress=told)
    assert len(steps) == 5, "nothing is told after the end was asked for"


def test_ctrl_c_ends_the_build(rtx: Library, graphs: dict[str, bytes]) -> None:
    pressed = threading.Event()

    def told(*_: object) -> bool:
        if not pressed.is_set():
            pressed.set()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Event().wait(0.02)
        return True

    with pytest.raises(KeyboardInterrupt):
        builder.build(rtx, graphs["fp16"], BuildOptions("sm89"), progress=told)
    assert not [thread for thread in threading.enumerate() if thread.name == "build"]


def test_tensorrt_rtx_keeps_no_timings(rtx: Library, graphs: dict[str, bytes]) -> None:
    _, timings = builder.build(rtx, graphs["fp16"], BuildOptions("sm89"), timing_cache=b"junk")
    assert timings == b""


@pytest.mark.parametrize("graph", [b"", b"nothing", b"half"], ids=["empty", "text", "half"])
def test_a_graph_that_cannot_be_read(
    rtx: Library, graphs: dict[str, bytes], graph: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    data = graphs["fp16"][: len(graphs["fp16"]) // 2] if graph == b"half" else graph
    with pytest.raises(EngineError, match=r"^tensorrt_rtx 1\.\S+ cannot (read|build) the "):
        builder.build(rtx, data, BuildOptions("sm89"))
    assert capfd.readouterr().err == "", "TensorRT prints nothing itself"


def test_an_unknown_target(rtx: Library, graphs: dict[str, bytes]) -> None:
    with pytest.raises(InputError, match=r"target 'sm90': tensorrt_rtx .* builds for sm75"):
        builder.build(rtx, graphs["fp16"], BuildOptions("sm90"))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"optimization_level": 6}, "must be from 0 to 5"),
        ({"optimization_level": -1}, "must be from 0 to 5"),
        ({"workspace_mib": 0}, "must be 1 or more"),
    ],
)
def test_options_out_of_range(options: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        BuildOptions("sm89", **options)


@pytest.mark.parametrize("level", [0, 5])
def test_options_are_taken(rtx: Library, graphs: dict[str, bytes], level: int) -> None:
    options = BuildOptions("sm89", optimization_level=level, workspace_mib=512)
    assert builder.build(rtx, graphs["fp16"], options)[0]
