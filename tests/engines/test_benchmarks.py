"""The benchmarks of engines, really run with the smallest settings: what they print and write."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.end_to_end.command import ROOT, environment

BENCHMARKS = ROOT / "benchmarks"


def run(*words: object, **values: str) -> list[str]:
    ran = subprocess.run(
        [str(word) for word in words],
        env=environment(CUDA_VISIBLE_DEVICES="", **values),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


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
    words = "--batches 1 2 --ngf 1 --seconds 0.1 --threads 1 --starts 1 --only TorchEngine tensorrt"
    script = BENCHMARKS / "engines.py"
    printed = run(sys.executable, script, *words.split(), "--out", tmp_path / "new")
    lines = (tmp_path / "new" / "engines.md").read_text().splitlines()

    figures = dict(rows(lines, "figure"))
    (begun,) = (value for name, value in figures.items() if name.startswith("CPU worker"))
    assert re.match(r"[\d.]+ s: Dask and PyTorch [\d.]+, model [\d.]+, batch [\d.]+; best", begun)
    assert "GFLOP/s; the roof is " in figures["peak, fp32"]

    columns, _, loop, *engines = rows(lines, "engine")
    assert columns[3:] == ["batch", "images/s", "ms a batch", "x loop", "of roof"]
    assert loop[:4] == ["plain loop", "fp32", "256", "1"] and loop[6] == "1.0"
    assert [row[0] for row in engines] == ["TorchEngine"] * len(engines)
    assert {row[3] for row in engines if row[1] == "fp32"} == {"1", "2"}
    for row in [loop, *engines]:
        assert float(row[4].replace(",", "")) > 0 and float(row[5]) > 0
    assert any(line.startswith("left out: PyTorch on CUDA, tensorrt") for line in printed)

    with Image.open(tmp_path / "new" / "engines.png") as picture:
        assert picture.width > 500 and np.asarray(picture.convert("L")).std() > 5


def test_codecs(tmp_path: Path) -> None:
    lines = run(sys.executable, BENCHMARKS / "codecs.py", "--seconds", 0.01)
    columns, _, pillow, *_ = rows(lines, "codec")
    assert columns[1:] == ["decode jpg", "decode png", "encode jpg", "encode png"]
    assert pillow[0] == "as convert" and all(float(cell) > 0 for cell in pillow[1:])
    assert any(line.startswith("- left out: torchvision, CUDA: ") for line in lines)


def test_the_gpu_report_goes_on_without_a_gpu(tmp_path: Path) -> None:
    """A step that fails is told, and those after it run."""
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "torchvision.py").write_text("raise SystemExit(7)")
    values = {"TINY": "1", "STEPS": "machine doctor codecs verify", "PYTHON": sys.executable}
    values["PYTHONPATH"] = str(blocked)
    script = BENCHMARKS / "gpu_report.sh"
    *steps, total = run("bash", script, tmp_path / "out", **values)
    told = [re.sub(r" +\d+ s  ", ": ", line) for line in steps]
    skipped = "skipped: no GPU"
    assert told == [f"machine: {skipped}", "doctor: ok", "codecs: failed (7)", f"verify: {skipped}"]
    assert (tmp_path / "out" / "summary.txt").read_text().splitlines() == steps
    assert "convert runs: PyTorch on the CPU" in (tmp_path / "out" / "doctor.txt").read_text()
    assert re.fullmatch(rf"in {tmp_path}/out: \d+ s of 1500", total)
    assert not os.path.exists(tmp_path / "out" / "images")


def test_the_gpu_report_keeps_to_its_budget(tmp_path: Path) -> None:
    values = {"BUDGET": "9", "STEPS": "doctor", "PYTHON": "true"}  # which would do well
    step, _ = run("bash", BENCHMARKS / "gpu_report.sh", tmp_path / "out", **values)
    assert step.startswith("doctor") and step.endswith("skipped: out of time")
