"""The chaos run, short; CONTRIBUTING.md has the command of the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import Plan, play


@pytest.mark.timeout(1200)
def test_a_short_chaos_run(tmp_path: Path) -> None:
    assert play(tmp_path, Plan(images=60, bad=0.1, deadly=1, every=6)) == []
