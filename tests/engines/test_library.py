"""The two TensorRT packages: found, refused, or missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pix2pix_batch.engines import library
from pix2pix_batch.errors import InputError

ROOT = Path(__file__).parents[2]


def test_tensorrt_rtx_is_found_and_knows_its_targets() -> None:
    found = library.load("tensorrt_rtx")
    assert found.name == "tensorrt_rtx" and found.version[0].isdigit()
    targets = found.list_targets()
    assert {"sm75", "sm86", "sm89", "sm120"} <= set(targets)
    assert targets == sorted(targets, key=lambda name: int(name[2:]))
    assert "tensorrt_rtx" in [one.name for one in library.find_libraries()[0]]


@pytest.mark.parametrize("target", ["sm90", "SM89", "", "none", "name", "__class__"])
def test_an_unknown_target_is_told_the_known_ones(target: str) -> None:
    found = library.load("tensorrt_rtx")
    with pytest.raises(InputError) as caught:
        found.require_target(target)
    assert f"target {target!r}" in str(caught.value)
    assert "sm75, sm80, sm86, sm89" in str(caught.value)


def test_a_library_that_builds_for_its_own_gpu_only_says_so() -> None:
    """As ``tensorrt``, which has no list of compute capabilities."""
    one = library.Library("tensorrt", "10.13", ModuleType("tensorrt"))
    assert one.list_targets() == []
    with pytest.raises(InputError, match="GPU that is here only; use --library tensorrt_rtx"):
        one.require_target("sm89")


BLOCKER = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.startswith("tensorrt"):
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Missing())
from pix2pix_batch.engines import library
found, reasons = library.find_libraries()
print(len(found), *reasons, sep="\\n")
"""


def run(code: str) -> list[str]:
    values = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=values, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_without_tensorrt() -> None:
    assert run(BLOCKER) == [
        "0",
        "tensorrt: not installed; pip install 'pix2pix-batch[tensorrt]'",
        "tensorrt_rtx: not installed; pip install 'pix2pix-batch[tensorrt-rtx]'",
    ]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise OSError('libnvinfer.so.10: cannot open shared object file')", "libnvinfer.so.10"),
        ("raise RuntimeError('two\\nlines')", "two lines"),
        ("__version__ = '10.13'", "no attribute 'Builder'"),
        ("__version__ = '8.6.1'\nclass Builder: pass", "8.6.1 is too old"),
        ("__version__ = '10.9.0.34'\nclass Builder: pass", "too old, 10.12 or later is needed"),
    ],
    ids=["no library", "broken", "half there", "ancient", "old"],
)
def test_what_cannot_be_loaded_says_why(
    source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(InputError, match=rf"^tensorrt: .*{reason}") as caught:
        library.load("tensorrt")
    assert "pip install 'pix2pix-batch[tensorrt]'" in str(caught.value)
    assert "\n" not in str(caught.value)
    sys.modules.pop("tensorrt", None)
