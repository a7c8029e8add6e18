"""The command ``evaluate`` in this process, and what it prints."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from pix2pix_batch.cli import main


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def read_figures(*arguments: object) -> dict[str, Any]:
    """What it prints with ``--json``."""
    result = evaluate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert isinstance(values, dict)
    return values


def read_refusal(*arguments: object) -> str:
    """The one line that it prints where it is used wrongly."""
    result = evaluate(*arguments)
    assert result.exit_code == 2 and result.output.startswith("error: "), result.output
    return result.output
