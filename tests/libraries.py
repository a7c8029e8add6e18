"""Shared libraries that are not here, made of a few lines of C for a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_library(folder: Path, name: str, source: str) -> Path:
    """The library ``name``, such as ``libcuda.so.1``; skips the test where there is no compiler."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to make a stand-in for a library of NVIDIA's")
    words = ["gcc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{name}"]
    subprocess.run([*words, "-o", str(folder / name)], input=source, text=True, check=True)
    return folder / name
