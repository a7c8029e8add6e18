"""The commands on a machine with a real GPU."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.engines import doctor, gpu, library

ROOT = Path(__file__).parents[2]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "pix2pix_batch.cli", *map(str, words)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def digests(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("*.png")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 256, (90, 100, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize("precision", ["fp32", "fp16", "auto"])
def test_convert_twice(precision: str, tiny: Path, source: Path) -> None:
    """With other batches' worth of workers: the bytes are the same."""
    pytest.importorskip("distributed", reason="needs Dask, on which convert runs")
    words = ["--model", tiny, "--json", "--precision", precision]
    found = []
    for number, workers in enumerate((1, 2)):
        out = source.parent / f"out{number}"
        ran = run("convert", source, out, *words, "--workers", workers)
        assert ran.returncode == 0, ran.stderr
        figures = json.loads(ran.stdout)
        assert figures["device"] == "cuda" and figures["converted"] == 40
        assert not number or "building" not in ran.stderr, "an engine is built once"
        found.append(digests(out))
    assert len(found[0]) == 40 and found[0] == found[1]


def test_the_doctor_sees_it() -> None:
    here = gpu.current_gpu()
    assert here is not None and here.capability.startswith("sm") and here.memory > 1 << 30
    assert here.driver and here.cuda and here in gpu.list_gpus()
    ran = run("doctor", "--json")
    assert ran.returncode == 0, ran.stderr
    values = json.loads(ran.stdout)
    assert values["device"] == "cuda" and values["gpus"][0]["capability"].startswith("sm")


def test_as_many_gpus_as_pytorch_sees() -> None:
    import torch

    from pix2pix_batch.execution import capacity

    assert len(capacity.visible_gpus()) == torch.cuda.device_count()


def test_bench(tiny: Path) -> None:
    usable = doctor.usable_libraries(gpu.current_gpu(), library.find_libraries()[0])
    if not usable:
        pytest.skip(f"no TensorRT here that runs on this GPU: {library.find_libraries()[1]}")
    ran = run("engine", "build", tiny)
    assert ran.returncode == 0 and " dB from fp32 PyTorch on 4 images" in ran.stdout, ran.stderr
    ran = run("engine", "bench", tiny)
    assert ran.returncode == 0 and " images/s, " in ran.stdout, ran.stderr
