"""The chunks that a real job is cut into, as its journal has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import save_bundle
from tests.end_to_end.command import JOURNAL, convert, put

COUNT = 28
SLOW = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}
"""Makes any x86 CPU one of 2008: read when the first convolution is asked for."""


def claims(out: Path) -> list[int]:
    """The sizes of a job's chunks, in the order in which they were sent."""
    lines = map(json.loads, (out / JOURNAL).read_text().splitlines())
    return [len(line["claim"]) for line in lines if "claim" in line]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("chunks") / "in"
    for number in range(COUNT):
        put(source / f"{number:02}.png", seed=number)
    return source


def test_chunks_of_a_slow_engine_stay_whole_batches(
    tmp_path: Path, pictures: Path, bundles: Path
) -> None:
    """A batch of 8 takes longer here than a chunk should; one is a chunk all the same, until the
    end is near. What a batch takes does not matter on a CPU that is not slowed down by this."""
    model = save_bundle(bundles / "slow.safetensors", ngf=80)
    out = tmp_path / "out"
    ran = convert(pictures, out, model, "--batch-size", 8, **SLOW)
    assert (ran.code, *ran.counts()) == (0, COUNT, 0, 0), ran.err
    *usual, last = claims(out)
    whole = sum(size for size in usual if size % 8 == 0)
    assert whole >= COUNT - 2 * 8, (usual, last)
    assert sum(usual) + last == COUNT


def test_a_small_job_is_for_all_workers(tmp_path: Path, pictures: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    ran = convert(pictures, out, tiny, "--limit", 8, "--workers", 2)
    assert (ran.code, *ran.counts()) == (0, 8, 0, 0), ran.err
    assert claims(out) == [4, 4]
