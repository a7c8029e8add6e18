"""Looking at a job's first inputs, on a worker that they may harm."""

from __future__ import annotations

import socket
from pathlib import Path

from pix2pix_batch.bundle import fingerprint
from pix2pix_batch.execution.watchdog import STATUS
from tests.end_to_end.command import run_python

PROGRAM = """
import sys
from pix2pix_batch.item import Item
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.execution.worker import ChunkOptions, autotune_job
model, sha, marker, url = sys.argv[1:]
settings = Settings(model, sha, "", "tile", 64, None, 1, "cpu", "fp32", False, 0)
item = Item(url, "x.tar", "x.tar", "png", tar=True)
print(autotune_job(settings, [item], ChunkOptions(marker=marker, limit=1)).precision)
"""


def test_a_tar_that_cannot_be_read_in_time_is_left_out(tmp_path: Path, tiny: Path) -> None:
    """As with an image, the worker ends, and the next one does without it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.tar"
        words = [tiny, fingerprint(tiny), tmp_path / "trial", url]
        ran = [run_python(PROGRAM, *words) for _ in range(2)]
    assert [(one.code, one.out) for one in ran] == [(STATUS, ""), (0, "fp32\n")], ran
