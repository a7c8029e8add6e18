"""The benchmarks of engines, really run with the smallest settings: what they print and write."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.command import ROOT, environment
from tests.end_to_end.forked import Forked, run_script

BENCHMARKS = ROOT / "benchmarks"


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.name)
def test_what_a_benchmark_imports_of_the_project_is_there(path: Path) -> None:
    """Not all of them are run here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pix2pix_batch"):
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                submodule = f"{node.module}.{name}"
                assert hasattr(module, name) or importlib.util.find_spec(submodule), submodule


def run(script: str, *words: object) -> list[str]:
    """What one of the benchmarks prints, in a process that need not import PyTorch first."""
    path = str(BENCHMARKS / script)
    variables = environment(CUDA_VISIBLE_DEVICES="")
    process = Forked([path, *map(str, words)], variables, os.getcwd(), program=run_script)
    out, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()


def rows(lines: list[str], first: str) -> list[list[str]]:
    """The cells of the Markdown table whose first column is ``first``."""
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_engines_by_batch_against_the_roof(tmp_path: Path) -> None:
    words = "--batches 1 --ngf 1 --seconds 0.01 --threads 1 --starts 1 --only tensorrt"
    printed = run("engines.py", *words.split(), "--out", tmp_path / "new")
    lines = (tmp_path / "new" / "engines.md").read_text().splitlines()

    figures = dict(rows(lines, "figure"))
    (begun,) = (value for name, value in figures.items() if name.startswith("CPU worker"))
    assert re.match(r"[\d.]+ s: Dask and PyTorch [\d.]+, model [\d.]+, batch [\d.]+; best", begun)
    assert "GFLOP/s; the roof is " in figures["peak, fp32"]

    columns, _, loop = rows(lines, "engine")  # other engines are rows by the same code
    assert columns[3:] == ["batch", "images/s", "ms a batch", "x loop", "of roof"]
    assert loop[:4] == ["plain loop", "fp32", "256", "1"] and loop[6] == "1.0"
    assert float(loop[4].replace(",", "")) > 0 and float(loop[5]) > 0
    assert any(line.startswith("left out: PyTorch on CUDA, tensorrt") for line in printed)

    with Image.open(tmp_path / "new" / "engines.png") as picture:
        assert picture.width > 500 and np.asarray(picture.convert("L")).std() > 5


def test_codecs(tmp_path: Path) -> None:
    lines = run("codecs.py", "--seconds", 0.01, "--images", 2)
    columns, _, pillow, *_ = rows(lines, "codec")
    assert columns[1:] == ["decode jpg", "decode png", "encode jpg", "encode png"]
    assert pillow[0] == "as convert" and all(float(cell) > 0 for cell in pillow[1:])
    assert any(line.startswith("- left out: torchvision, CUDA: ") for line in lines)


def test_the_pipeline_beside_what_the_codecs_take(tmp_path: Path) -> None:
    words = "--images 40 --workers 1 --seconds 0.01 --directory"
    run("pipeline.py", *words.split(), tmp_path, "--out", tmp_path / "table.md")
    columns, _, row = rows((tmp_path / "table.md").read_text().splitlines(), "processes")
    figures = dict(zip(columns, row, strict=True))
    assert figures["processes"] == "1" and figures["engine"] == "instant"
    for name in ("images/s", "codecs alone, images/s", "whole command, images/s"):
        assert float(figures[name].replace(",", "")) > 0


def test_exactness_and_speed_of_the_device(tiny: Path) -> None:
    columns, _, engine, *_ = rows(run("gpu.py", "exact", "--model", tiny), "on this device")
    assert engine[0] == "engine, fp32" and float(engine[1]) >= 50
    assert engine[columns.index("bytes")].startswith("equal (again, in another place")
    words = "speed --ngf 1 --batches 2 --seconds 0.01 --precisions fp32"
    _, _, *found = rows(run("gpu.py", *words.split()), "what")
    assert [row[0] for row in found] == [
        "on the device, eager",
        "engine of convert, bytes to bytes",
    ]
    assert all(float(row[3].replace(",", "")) > 0 for row in found)


def report(out: Path, *words: object, **values: str) -> tuple[int, list[str]]:
    """The report's exit code and what it prints, without the seconds of its steps."""
    ran = subprocess.run(
        ["bash", BENCHMARKS / "gpu_report.sh", out, *words],
        env=environment(CUDA_VISIBLE_DEVICES="", PYTHON=sys.executable, SLOW="99", **values),
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, [re.sub(r" +\d+ s  ", ": ", line) for line in ran.stdout.splitlines()]


FAILS = """
import os, sys
words = " ".join(sys.orig_argv)
if "codecs.py" in words:
    print("not today", flush=True)
    os._exit(7)
if "is_available" in words:
    sys.modules["torch"] = None
"""
"""Read by Python as it starts: one step fails, and the look for a GPU does without PyTorch,
whose import takes seconds."""


def test_the_gpu_report_goes_on_without_a_gpu(tmp_path: Path) -> None:
    """A step that fails is told, and those after it run; three files have it all."""
    blocked, out = tmp_path / "blocked", tmp_path / "out"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(FAILS)
    values = {"TINY": "1", "STEPS": "doctor codecs verify", "PYTHONPATH": str(blocked)}
    code, (*steps, total) = report(out, **values)
    assert steps == ["doctor: ok", "codecs: failed (7) not today", "verify: skipped: no GPU"]
    assert code == 1 and re.fullmatch(rf"in {out}: \d+ s of 460", total)
    assert sorted(os.listdir(out)) == ["report.tar", "summary.txt", "tables.md"]
    assert len((out / "summary.txt").read_text().splitlines()) == 3
    with tarfile.open(out / "report.tar") as kept:
        assert kept.getnames() == ["doctor.txt", "codecs.txt"]
        doctor = kept.extractfile("doctor.txt")
        assert doctor is not None and b"convert runs: PyTorch on the CPU" in doctor.read()


@pytest.fixture
def without_torch(tmp_path: Path) -> str:
    """What ``PYTHONPATH`` must say that the report's own look for a GPU finds no PyTorch, whose
    import takes seconds."""
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "torch.py").write_text("raise ImportError('not needed')")
    return str(tmp_path / "blocked")


def test_the_gpu_report_keeps_to_its_budget(tmp_path: Path, without_torch: str) -> None:
    values = {"BUDGET": "9", "STEPS": "doctor", "TINY": "1", "PYTHONPATH": without_torch}
    code, (step, _) = report(tmp_path / "out", **values)
    assert code == 0 and step == "doctor: skipped: out of time"


@pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="needs pip")
def test_the_gpu_report_adds_what_python_lacks(tmp_path: Path, without_torch: str) -> None:
    wheels, out = tmp_path / "wheels", tmp_path / "out"
    wheels.mkdir()
    for name in ("numpy", "surely_not_here"):
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(wheels / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
    code, (step, _) = report(out, wheels, STEPS="wheels", TINY="1", PYTHONPATH=without_torch)
    assert (code, step) == (0, "wheels: ok")
    with tarfile.open(out / "report.tar") as kept:
        told = kept.extractfile("wheels.txt")
        assert told is not None and told.read().splitlines()[0] == b"adds: surely-not-here"
