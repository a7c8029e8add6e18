"""What is asked of TensorRT is there: held against the bindings' own classes and signatures.

``tensorrt`` itself, of gigabytes, is not needed, and no GPU: its bindings alone, over stubs of its
libraries, say what there is to call. Of each call it is shown that a misspelt one is found.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.end_to_end.command import environment, run_python
from tests.engines.bindings import Interface, Stand, make_libraries, parameters, signatures

ASKED = {
    "Builder.build_serialized_network",
    "BuilderFlag.TF32",
    "IBuilderConfig.clear_flag",
    "IBuilderConfig.progress_monitor",
    "IBuilderConfig.set_memory_pool_limit",
    "ICudaEngine.create_execution_context",
    "ICudaEngine.get_tensor_dtype",
    "IExecutionContext.execute_async_v3",
    "IExecutionContext.set_tensor_address",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
    "OnnxParser.parse",
    "ParserError.desc",
    "Runtime.deserialize_cuda_engine",
    "TensorIOMode.INPUT",
}
OF_ONE = {
    "tensorrt": {"IBuilderConfig.set_timing_cache", "ITimingCache.serialize"},
    "tensorrt_rtx": {
        "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
        "ComputeCapability.SM89",
        "IBuilderConfig.set_compute_capability",
        "IRuntimeCache.deserialize",
        "IRuntimeConfig.set_runtime_cache",
    },
}


CONTRACT = """
import runpy
runpy.run_module("tests.engines.contract", run_name="__main__", alter_sys=True)
"""


def hold(module: str, model: Path, **values: str) -> dict[str, list[str]]:
    if not torch.backends.cuda.is_built():
        pytest.skip("needs a build of PyTorch for CUDA, if no GPU")
    if not values:
        ran = run_python(CONTRACT, module, model)
        assert ran.code == 0, ran.err
        return dict(json.loads(ran.out))
    started = subprocess.run(  # with an environment that is read when a process starts
        [sys.executable, "-m", "tests.engines.contract", module, model],
        env=environment(OMP_NUM_THREADS="1", **values),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode == 0, started.stderr
    return dict(json.loads(started.stdout))


def test_tensorrt(noisy: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorrt_bindings") is None:
        pytest.skip("needs TensorRT's bindings: pip install tensorrt-cu13-bindings")
    version = next(
        importlib.metadata.version(name)
        for name in importlib.metadata.packages_distributions()["tensorrt_bindings"]
    )
    make_libraries(tmp_path, int(version.partition(".")[0]))
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("LD_LIBRARY_PATH")]))
    found = hold("tensorrt_bindings", noisy, LD_LIBRARY_PATH=path)
    assert set(found["used"]) >= ASKED | OF_ONE["tensorrt"]
    assert not set(found["used"]) & OF_ONE["tensorrt_rtx"]
    assert found["unnoticed"] == []


def test_tensorrt_rtx(noisy: Path) -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("needs TensorRT-RTX: pip install 'pix2pix-batch[tensorrt-rtx]'")
    found = hold("tensorrt_rtx", noisy)
    assert set(found["used"]) >= ASKED | OF_ONE["tensorrt_rtx"]
    assert found["unnoticed"] == []


# What holds it to the bindings


class Config:
    """A class as pybind11 documents one."""

    def set(self, name: str, size: Any = 1) -> None:
        """set(self: m.Config, name: str, size: typing.SupportsInt = 1) -> None"""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        """open(*args, **kwargs)
        Overloaded function.

        1. open(self: m.Config, at: m.Kind = <Kind.A: 0>) -> m.Config

        2. open(self: m.Config, of: m.Config = None) -> bool
        """

    open.__doc__ = "\n".join(line.strip() for line in (open.__doc__ or "").splitlines())


class Kind:
    pass


@pytest.fixture
def config() -> Stand:
    module = ModuleType("m")
    module.Config, module.Kind = Config, Kind  # type: ignore[attr-defined]
    return Stand(Interface(module, {}), Config)


def test_signatures_are_read() -> None:
    assert parameters("self: m.A, b: list[tuple[int, str]], c: int = 3") == [
        ("b", "list[tuple[int, str]]", True),
        ("c", "int", False),
    ]
    assert [one.returns for one in signatures(Config.open)] == ["m.Config", "bool"]


def test_what_fits_is_taken(config: Stand) -> None:
    assert config.set("a") is None and config.set("a", size=3) is None
    assert isinstance(config.open(Kind()), Stand) and config.open(config) is True
    assert config._interface.used == {"Config.set", "Config.open"}


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((1,), {}), (("a", "b"), {}), (("a", 1, 2), {}), (("a",), {"sise": 1})],
    ids=["missing", "kind", "number", "too many", "keyword"],
)
def test_what_does_not_fit_is_refused(config: Stand, args: Any, kwargs: Any) -> None:
    with pytest.raises(TypeError, match="incompatible function arguments"):
        config.set(*args, **kwargs)


def test_what_is_not_there_is_refused(config: Stand) -> None:
    with pytest.raises(AttributeError):
        config.sett("a")
    with pytest.raises(AttributeError):
        config.size = 1
    with pytest.raises(AttributeError, match="cannot be set"):
        config.set = 1
