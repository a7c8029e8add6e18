"""What the tests of engines share: a cache of their own, and a machine without a GPU."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.engines.cache import VARIABLE
from pix2pix_batch.engines.spec import EngineSpec
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.generators.unet_network import UNet


@pytest.fixture(autouse=True)
def _engines_run_on_one_thread(one_thread: None) -> None:
    """As on workers."""


_graphs: dict[tuple[Any, ...], bytes] = {}
_make_graph = EngineSpec.graph.func  # type: ignore[attr-defined]


def _graph_once(order: EngineSpec, folder: Path) -> bytes:
    """As the real one, each ONNX file made once for all processes that test: equal orders have
    equal bytes, says ``test_export.py``, and PyTorch's exporter takes seconds for the smallest
    network."""
    key = (order.fingerprint, order.precision, order.batch_size, order.size, order.noise)
    if key not in _graphs:
        path = folder / hashlib.sha256(repr(key).encode()).hexdigest()
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                made = path.with_suffix(".new")
                made.write_bytes(_make_graph(order))
                made.rename(path)
        _graphs[key] = path.read_bytes()
    return _graphs[key]


@pytest.fixture(autouse=True, scope="session")
def keep_graphs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Has each file exported once, and is where they are kept."""
    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent  # of all workers of this run
    folder = place / "graphs"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        export_once(folder, patch)
        yield folder


def export_once(folder: Path, patch: pytest.MonkeyPatch | None = None) -> None:
    """Have this process take its ONNX files from ``folder``, and keep there those that it makes."""
    once = property(lambda order: _graph_once(order, folder))
    (patch or pytest.MonkeyPatch()).setattr(EngineSpec, "graph", once)


@pytest.fixture(autouse=True, scope="session")
def _operators_are_read_once() -> Iterator[None]:
    """PyTorch's exporter reads the source of all that it could export anew each time, which takes
    half of the time of a small network, and only looks things up in what it has made of it."""
    with pytest.MonkeyPatch.context() as patch:
        with contextlib.suppress(ImportError, AttributeError):  # another version of PyTorch's
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            once = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
            patch.setattr(ONNXRegistry, "from_torchlib", once)
        yield


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the engine cache, empty."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder / "engines"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without one, for this process and those it starts."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    if torch.cuda.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


@pytest.fixture(scope="session")
def overflowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that fit into float16, and features of its third block that do not."""
    architecture = Architecture(downs=5, ngf=4, norm="none", dropout=False)
    net = UNet(architecture)
    random = torch.Generator().manual_seed(0)
    for weight in net.parameters():
        if weight.ndim == 4:
            weight.data.normal_(0.0, 1.5 / weight[0].numel() ** 0.5, generator=random)
        else:
            weight.data.zero_()
    net.down[1].conv.weight.data *= 300
    net.down[2].conv.weight.data *= 2000
    net.down[3].conv.weight.data *= 1e-6
    net.up[2].conv.weight.data *= 1e-6
    net.up[1].conv.weight.data[-8:] *= 1e-3
    path = tmp_path_factory.mktemp("overflowing") / "loud.safetensors"
    info = BundleInfo("loud", architecture, image_size=32)
    bundle.save(path, info, net.eval().requires_grad_(False), half=False)
    return path
