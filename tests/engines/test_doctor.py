"""``pix2pix-batch doctor``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from pix2pix_batch import bundle
from pix2pix_batch.cli import main
from pix2pix_batch.engines import doctor, gpu, library
from pix2pix_batch.engines.cache import Cache
from pix2pix_batch.engines.gpu import Gpu
from pix2pix_batch.engines.spec import EngineSpec
from tests.libraries import make_library

CARD = Gpu("NVIDIA Test", "sm89", "550.54", "12.4", 24 << 30)
MODEL = bundle.resolve("map2aerial")


def printed(*words: str) -> str:
    result = CliRunner().invoke(main, ["doctor", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu(place: Path) -> None:
    values = json.loads(printed("--json"))
    assert values["cpu"] and values["cores"] == len(os.sched_getaffinity(0))
    assert values["gpus"] == [] and values["device"] == "cpu"
    assert values["torch"] == torch.__version__
    assert values["libraries"]["tensorrt_rtx"] == library.load("tensorrt_rtx").version
    assert values["cache"] == str(place) and values["engines"] == 0
    assert values["runs"].startswith("PyTorch on the CPU (backend torch, ")
    lines = printed().splitlines()
    assert "gpu: none that PyTorch can use" in lines
    assert not place.exists(), "looking makes nothing"


@pytest.mark.usefixtures("no_gpu", "place")
def test_a_model_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("hello")
    result = CliRunner().invoke(main, ["doctor", "--model", str(path)])
    assert result.exit_code == 2 and f"{path}: is damaged or no safetensors file" in result.stderr


@pytest.mark.usefixtures("no_gpu", "place")
def test_tensorrt_is_not_advised_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "driver_version", lambda: "")
    for name in library.PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
    text = printed()
    assert "pip install" not in text and "tensorrt: not installed" in text
    assert text.splitlines()[-1] == (
        "faster with: nothing; there is no NVIDIA GPU, and on this CPU convert runs the best "
        "that there is"
    )


@pytest.mark.usefixtures("no_gpu")
def test_engines_are_counted_and_a_bad_cache_is_told(place: Path) -> None:
    key = EngineSpec(MODEL, "fp16", 32, 256).key(library.load("tensorrt_rtx"), "sm89")
    Cache().obtain(key, lambda: (b"plan", {}))
    values = json.loads(printed("--json"))
    assert (values["engines"], values["engine_bytes"]) == (1, 4)
    place.chmod(0o777)
    assert "others can write to it" in printed()


def test_a_broken_library_is_told(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    told = json.loads(printed("--json"))["libraries"]["tensorrt"]
    assert told == "not installed"


def advise(card: Gpu | None, monkeypatch: pytest.MonkeyPatch) -> str:
    found, _ = library.find_libraries()
    cache, problem = doctor.open_cache()
    return doctor.advise(MODEL, card, found, cache, problem)[0]


def test_the_one_command(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """From the first that is missing to nothing."""
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "driver_version", lambda: "550.54")
        patch.setattr(torch.version, "cuda", None)
        assert "torch" in advise(None, patch)
        patch.setattr(torch.version, "cuda", "12.4")
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert advise(None, patch) == "unset CUDA_VISIBLE_DEVICES"
        patch.delenv("CUDA_VISIBLE_DEVICES")
        assert advise(None, patch) == ""
    with monkeypatch.context() as patch:
        for name in library.PACKAGES:
            patch.setitem(sys.modules, name, None)
        assert advise(CARD, patch) == "pip install 'pix2pix-batch[tensorrt]'"
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    assert advise(CARD, monkeypatch) == "pix2pix-batch engine build map2aerial"
    key = EngineSpec(MODEL, "fp16", 32, 256).key(library.load("tensorrt_rtx"), "sm89")
    Cache().obtain(key, lambda: (b"plan", {}))
    assert advise(CARD, monkeypatch) == ""
    place.chmod(0o777)
    assert advise(CARD, monkeypatch) == f"chmod 700 {place}"


def test_the_driver_says_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024"
    (tmp_path / "version").write_text(text + "\nGCC version: gcc version 11.4.0 (Ubuntu)\n")
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "version")
    assert gpu.driver_version() == "550.54.15"
    (tmp_path / "version").write_text("NVRM version: another word")
    assert gpu.driver_version() == "unknown"
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "none")
    monkeypatch.setattr(gpu, "NVML", str(tmp_path / "none.so"))
    assert gpu.driver_version() == ""


NVML = """
#include <string.h>
int nvmlInit_v2(void) { return %d; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
  if (length < 80) return 7;  /* NVML_ERROR_INSUFFICIENT_SIZE */
  strcpy(text, "580.65.06");
  return %d;
}
"""


@pytest.mark.parametrize(
    ("begins", "answers", "told"), [(0, 0, "580.65.06"), (9, 0, ""), (0, 999, "")]
)
def test_where_its_file_is_not_seen_the_management_library_says_it(
    begins: int, answers: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library(tmp_path, f"libnvml-{begins}-{answers}.so", NVML % (begins, answers))
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "none")
    monkeypatch.setattr(gpu, "NVML", str(library))
    assert gpu.driver_version() == told
    monkeypatch.setattr(gpu, "NVML", "libc.so.6")
    assert gpu.driver_version() == "", "a library that has none of it"
