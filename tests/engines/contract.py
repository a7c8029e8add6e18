"""Holds ``engines/`` to one library's bindings: ``python -m tests.engines.contract MODULE MODEL``.

In a process of its own, since the bindings of two libraries do not go into one. Prints as JSON what
was used of the bindings, and which of these names could be misspelt without being noticed.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pix2pix_batch.engines import builder, library, runtime
from pix2pix_batch.engines.builder import BuildOptions
from pix2pix_batch.errors import EngineError, MemoryShortage
from tests.engines.bindings import Answer, Interface, Stand
from tests.engines.fake_tensorrt import FakeTensorRT, expected
from tests.fake_cuda import fake_cuda

SIZE, BATCH = 64, 2
MODULES = (builder, library, runtime)


def make(module: Any, answers: dict[str, Answer]) -> tuple[Any, Interface]:
    """The library with bindings that do as ``answers`` say."""
    interface = Interface(module, answers)
    name = module.__name__.removesuffix("_bindings")
    return library.Library(name, module.__version__, interface), interface


def build(module: Any) -> set[str]:
    """An engine for the GPU that is here and for another, one that cannot be built, and a graph
    that cannot be read; what was used."""
    steps: list[str] = []

    def told(phase: str, step: int, count: int) -> bool:
        steps.append(phase)
        return True

    def built(stand: Stand, network: Stand, config: Stand) -> Stand:
        return Stand(stand._interface, module.IHostMemory)

    def typed(stand: Stand, flags: int = 0) -> Stand:
        kind = module.NetworkDefinitionCreationFlag
        assert flags == 1 << int(kind.STRONGLY_TYPED), "the only kind from 11 on, a choice before"
        return Stand(stand._interface, module.INetworkDefinition)

    rtx = module.__name__ == "tensorrt_rtx"
    answers = {"Builder.build_serialized_network": built, "Builder.create_network": typed}
    chosen, used = make(module, answers)
    options = [BuildOptions(workspace_mib=64), BuildOptions("sm89" if rtx else "current")]
    for one in options:
        plan, timings = builder.build(chosen, b"onnx", one, progress=told)
        assert plan == b"content" and timings == (b"" if rtx else b"content")
    assert chosen.list_targets() == [] if not rtx else "sm89" in chosen.list_targets()
    names = set(used.used)

    def failing(stand: Stand, network: Stand, config: Stand) -> None:
        (logger,) = stand._arguments
        logger.log(module.ILogger.Severity.ERROR, "Error Code 2: OutOfMemory (Requested size ...)")

    chosen, used = make(module, {"Builder.build_serialized_network": failing})
    with pytest.raises(MemoryShortage, match="cannot build the engine: Error Code 2"):
        builder.build(chosen, b"onnx", BuildOptions())
    chosen, used = make(module, {"OnnxParser.parse": lambda *_: False})
    with pytest.raises(EngineError, match=r"cannot read the graph: text$"):
        builder.build(chosen, b"onnx", BuildOptions())
    monitor = builder.make_monitor(module, told)  # of the bindings' own class
    monitor.phase_start("one", "", 2)
    assert monitor.step_complete("one", 0) and steps == ["one"]
    monitor.phase_finish("one")
    return names | used.used


def run(module: Any, model: Path) -> set[str]:
    """Six batches through an engine; what was used."""
    with fake_cuda(seed=0) as cuda:
        fake = FakeTensorRT(cuda, model, BATCH, SIZE)
        chosen, used = make(module, fake.answers(module))
        assert chosen.captures_itself == (chosen.name == "tensorrt_rtx")
        engine = runtime.TensorRTEngine(
            chosen, b"plan", size=SIZE, batch_size=BATCH, precision="fp32", runtime_file=Nowhere()
        )
        assert engine.remark == "" and engine.masked == ["noise_0"]
        random = np.random.default_rng(0)
        batches = [
            (
                random.integers(0, 256, (BATCH, SIZE, SIZE, 3)).astype(np.uint8),
                [random.random((BATCH, *fake.tensors[2][1])) < 0.5],
            )
            for _ in range(6)
        ]
        made = []
        for images, masks in batches:
            engine.start(images, masks)
            if len(engine.in_flight) > 1:
                made.append(engine.finish())
        made.append(engine.finish())
        for (images, masks), one in zip(batches, made, strict=True):
            wanted = expected(fake, images, masks)
            assert np.array_equal(one.images, wanted[0])
            assert np.array_equal(one.embeddings, wanted[1])
        engine.close()
    return used.used


class Nowhere:
    """Where nothing is kept."""

    def read(self) -> bytes:
        return b"of an earlier process"

    def write(self, data: bytes) -> None:
        assert data == b"compiled"


def load(module: Any) -> None:
    """Of real classes, where no GPU and, with stubs, no library is: refused in words."""
    real = library.Library("tensorrt", module.__version__, module)
    for attempt in (
        lambda: runtime.TensorRTEngine(
            real, b"plan", size=SIZE, batch_size=BATCH, precision="fp32"
        ),
        lambda: builder.build(real, b"no graph", BuildOptions()),
    ):
        with fake_cuda(), pytest.raises(EngineError, match=r"cannot (load|build|read) the "):
            attempt()


@contextlib.contextmanager
def misspelt(name: str) -> Iterator[int]:
    """The modules as if every use of ``name``, as an attribute or a text, were misspelt; how many
    there are."""
    count = 0
    try:
        for module in MODULES:
            source = Path(str(module.__file__)).read_text(encoding="utf-8")
            wrong, found = re.subn(rf"([.\"]){name}\b", rf"\g<1>{name}x", source)
            count += found
            exec(compile(wrong, str(module.__file__), "exec"), module.__dict__)
        yield count
    finally:
        for module in MODULES:
            source = Path(str(module.__file__)).read_text(encoding="utf-8")
            exec(compile(source, str(module.__file__), "exec"), module.__dict__)


def main(name: str, model: str) -> None:
    module: Any = importlib.import_module(name)
    torch.set_num_threads(1)
    load(module)
    built, ran = build(module), run(module, Path(model))
    used = built | ran
    unnoticed = []
    for member in sorted(used):
        with misspelt(member.rpartition(".")[2]) as count:
            try:
                if member in built:
                    build(module)
                if member in ran:
                    run(module, Path(model))
            except Exception:
                continue
        if count:  # else it comes from what the user typed, as ``sm89``
            unnoticed.append(member)
    print(json.dumps({"used": sorted(used), "unnoticed": unnoticed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
