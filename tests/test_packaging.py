"""What the project's own files promise about the packages that it takes."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.end_to_end.command import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = ("dev", "test", "docs", "train", "evaluate", "onnx", "synthesize", "tensorrt-rtx", "bench")
FREE = {"torch", "torchvision"}
"""Whose build is the user's choice."""


def constraints() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(requirement.name, []).append(requirement)
    return found


def direct() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    words = [*PROJECT["dependencies"], *(word for extra in EXTRAS for word in extras[extra])]
    found = [Requirement(word) for word in words]
    return [one for one in found if one.name not in {*FREE, "pix2pix-batch"}]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("wanted", direct(), ids=lambda one: one.name)
def test_each_dependency_is_constrained_to_a_version_that_is_allowed(wanted: Requirement) -> None:
    pinned = constraints()[normalised(wanted.name)]
    for one in pinned:
        (exact,) = one.specifier
        assert exact.operator == "==" and wanted.specifier.contains(exact.version)


def test_the_build_of_pytorch_is_left_to_the_user() -> None:
    free = re.compile(r"torch$|torchvision$|triton|nvidia-|cuda-")
    assert not [name for name in constraints() if free.match(name)]
