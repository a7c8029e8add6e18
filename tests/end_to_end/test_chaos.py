"""The chaos run, short; CONTRIBUTING.md has the command of the long one.

Each death of a worker costs seconds, so one kind of deadly image must do; test_faults has all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import Plan, play


@pytest.mark.timeout(1200)
def test_a_short_chaos_run(tmp_path: Path) -> None:
    assert play(tmp_path, Plan(images=48, bad=0.1, deadly=1, kill_by=("kill",), every=9)) == []
