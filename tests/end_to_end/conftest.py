"""What the tests of commands share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.command import one_worker
from tests.end_to_end.synthesizing import soft_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return soft_model(tmp_path_factory.mktemp("model") / "soft.safetensors")


@pytest.fixture(scope="module")
def workers() -> Iterator[None]:
    with one_worker():
        yield
