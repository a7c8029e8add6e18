"""What needs a GPU is run on machines that have little else: it must be collected there."""

from __future__ import annotations

import subprocess
import sys

from tests.end_to_end.command import ROOT, environment

CODE = """
import sys
import pytest

MISSING = {
    "accelerate", "aiohttp", "dask", "datasets", "distributed", "fsspec", "imagecodecs",
    "imagehash", "matplotlib", "moto", "onnx", "onnxruntime", "onnxscript", "playwright", "pyarrow",
    "pydantic", "pytest_timeout", "rasterio", "scipy", "tensorrt", "tensorrt_bindings",
    "tensorrt_rtx", "torchmetrics", "torchvision", "webdataset", "xdist",
}

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
words = "tests/gpu -m gpu -q -rs -p no:cacheprovider -o addopts= --import-mode=importlib"
sys.exit(pytest.main(words.split()))
"""


def test_they_are_collected_with_little_and_skip_without_a_gpu() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE],
        env=environment(
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", CUDA_VISIBLE_DEVICES="", PYTEST_ADDOPTS=""
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "needs an NVIDIA GPU that PyTorch can use" in ran.stdout
    assert " skipped" in ran.stdout.splitlines()[-1] and "error" not in ran.stdout
