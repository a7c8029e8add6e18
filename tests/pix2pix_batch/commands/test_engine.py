"""``pix2pix-batch engine export``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pix2pix_batch.commands.engine import engine
from pix2pix_batch.engines import export as exports
from pix2pix_batch.engines.export import ExportInfo
from pix2pix_batch.errors import InputError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks the library for, which is not done."""
    seen: dict[str, Any] = {}

    def export(model: Path, out: Path, **options: Any) -> ExportInfo:
        seen.update(model=model, out=out, **options)
        return ExportInfo(out, "ab" * 32, 1_234_567, "cd" * 32, "fp16", None, 64, ((4, 2, 2),))

    monkeypatch.setattr(exports, "export", export)
    return seen


def invoke(*words: object) -> str:
    result = CliRunner().invoke(engine, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_by_default(asked: dict[str, Any], tiny: Path) -> None:
    printed = invoke("export", tiny, "m.onnx")
    assert asked == {
        "model": tiny,
        "out": Path("m.onnx"),
        "precision": "fp16",
        "batch_size": None,
        "size": None,
        "noise": False,
        "overwrite": False,
    }
    assert printed.splitlines() == [
        "file: m.onnx",
        "bytes: 1,234,567",
        f"sha256: {'ab' * 32}",
        "precision: fp16",
        "batch size: dynamic",
        "image size: 64x64",
        "noise inputs: 1",
    ]


def test_options(asked: dict[str, Any]) -> None:
    options = "--precision bf16 --batch-size 8 --size 512 --noise --overwrite"
    invoke("export", "map2aerial", "m.onnx", *options.split())
    assert asked.pop("model").name == "map2aerial.safetensors"
    assert asked == {
        "out": Path("m.onnx"),
        "precision": "bf16",
        "batch_size": 8,
        "size": 512,
        "noise": True,
        "overwrite": True,
    }


def test_a_batch_size_that_is_no_number(tiny: Path) -> None:
    with pytest.raises(InputError, match="--batch-size takes a number or 'dynamic', not 'many'"):
        invoke("export", tiny, "m.onnx", "--batch-size", "many")


def test_an_unknown_precision() -> None:
    result = CliRunner().invoke(engine, ["export", "map2aerial", "m.onnx", "--precision", "int8"])
    assert result.exit_code == 2
    assert "'int8' is not one of 'fp16', 'fp32', 'bf16'" in result.stderr
