"""``status``: while a run is going, afterwards, and with every output checked."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from pix2pix_batch.inference.autotune import PROBE_IMAGES
from tests.end_to_end.command import (
    convert,
    digests,
    error_of,
    everything,
    finish,
    fork,
    here,
    journal,
    put,
    visible,
    wait_for,
    wait_until_told,
    words,
)
from tests.end_to_end.harmful import harmful, preloaded, shut

pytestmark = pytest.mark.usefixtures("workers")


def test_while_a_run_is_going_and_after_its_end(tmp_path: Path, tiny: Path) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    count = 100  # far more than are in flight when it is interrupted
    for number in range(count):
        harmful(source / f"{number:03d}.png", "held" if number >= PROBE_IMAGES else "none")
    (source / "broken.png").write_bytes(b"no image")
    process = fork(*words(source, out, tiny), **preloaded(gate))
    path = out / ".pix2pix-batch" / "journal.jsonl"
    wait_for(lambda: path.exists() and b'"total"' in path.read_bytes(), process)
    ran = here("status", out, "--json")
    figures = ran.figures
    assert (ran.code, figures["running"], figures["total"]) == (0, ["all"], count + 1)
    assert figures["done"] + figures["failed"] + figures["left"] == count + 1
    assert figures["job"]["model_name"] == "tiny"
    assert "A run is writing now" in here("status", out).out
    refused = convert(source, out, tiny)
    assert refused.code == 2 and "another run is writing there" in error_of(refused)
    process.send_signal(signal.SIGINT)
    wait_until_told(b"stopping: finishing what is in flight", process)
    gate.unlink()
    finish(process)

    before = everything(out)
    lines = here("status", out).out.splitlines()
    assert lines[0].startswith(f"{out}: tiny (SHA-256 ")
    assert lines[1].startswith("No run is writing. The last one was interrupted")
    assert "left" in lines[2] and f"of {count + 1} done" in lines[2]
    assert lines[-1].startswith("The same command again would convert the ")
    assert everything(out) == before

    assert convert(source, out, tiny, **preloaded()).code == 3
    figures = here("status", out, "--json").figures
    assert (figures["done"], figures["failed"], figures["left"]) == (count, 1, 0)
    assert figures["outcome"] == "finished"
    assert figures["failures"][0]["example"] == "broken.png"
    assert [line["outcome"] for line in journal(out) if "end" in line] == [
        "interrupted",
        "finished",
    ]


def test_what_is_wrong_with_the_outputs_is_found_and_made_again(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(6):
        put(source / f"{number}.png", seed=number)
    assert convert(source, out, tiny).code == 0
    expected = digests(out)
    ran = here("status", out, "--verify")
    assert ran.code == 0 and ran.out.endswith("6 outputs checked, 0 wrong\n"), ran

    (out / "0.png").unlink()
    (out / "1.png").write_bytes((out / "1.png").read_bytes()[:100])
    expected_2 = (out / "2.png").read_bytes()
    (out / "2.png").write_bytes((out / "3.png").read_bytes())
    ran = here("status", out, "--verify")
    assert ran.code == 3
    assert ran.out.splitlines()[-8:] == [
        "6 outputs checked, 3 wrong",
        "missing: 1",
        "  0.png: no such file",
        "damaged: 1",
        ran.out.splitlines()[-4],
        "changed: 1",
        "  2.png: is not the image that the job made",
        "The next run of the same command makes those again whose inputs are there, and only "
        "these (no --overwrite needed).",
    ]
    (out / "2.png").write_bytes(expected_2)
    ran = here("status", out, "--verify", "--json")
    assert ran.code == 3 and json.loads(ran.out)["verified"]["wrong"] == 2, "one is mended by hand"
    assert convert(source, out, tiny).counts() == (2, 4, 0)
    assert digests(out) == expected
    assert here("status", out, "--verify").code == 0


def test_wrong_use(tmp_path: Path) -> None:
    for arguments in (["status", tmp_path], ["status", tmp_path, "--verify"]):
        ran = here(*arguments)
        assert ran.code == 2
        assert error_of(ran) == (
            f"error: {tmp_path}: holds no journal; give a directory that 'pix2pix-batch convert' "
            "or 'synthesize' has written to"
        )
    assert list(tmp_path.iterdir()) == []


def test_shards_on_one_out_at_the_same_time(tmp_path: Path, tiny: Path) -> None:
    source, out, whole = tmp_path / "in", tmp_path / "out", tmp_path / "whole"
    for number in range(40):
        put(source / f"{number:03d}.png", seed=number)
    (source / "broken.png").write_bytes(b"no image")
    assert convert(source, whole, tiny).code == 3

    shards = [fork(*words(source, out, tiny, "--shard", f"{number}/2")) for number in (1, 2)]
    ends = [finish(process) for process in shards]
    assert sorted(ran.code for ran in ends) == [0, 3], "one of them has the broken one"
    assert sum(ran.figures["total"] for ran in ends) == 41
    assert all(0 < ran.figures["converted"] < 40 for ran in ends)
    figures = here("status", out, "--json").figures
    assert (figures["done"], figures["failed"], figures["total"]) == (40, 1, 41)

    refused = convert(source, out, tiny, "--shard", "1/3")
    assert refused.code == 2 and "journals of 2 shards" in error_of(refused)
    put(source / "late.png")
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts(), ran.figures["failed_before"]) == (3, 1, 40, 0, 1)
    (whole / "late.png").write_bytes((out / "late.png").read_bytes())
    assert digests(out) == digests(whole)
    assert set(visible(out)) == {*(f"{number:03d}.png" for number in range(40)), "late.png"}

    def count() -> list[int | None]:
        figures = here("status", out, "--json").figures
        return [figures[name] for name in ("total", "done", "failed")]

    # runs with nothing to convert count what has gone and come back
    (source / "late.png").rename(tmp_path / "late.png")
    convert(source, out, tiny)
    assert count() == [41, 40, 1]
    (tmp_path / "late.png").rename(source / "late.png")
    convert(source, out, tiny, "--shard", "1/2")
    assert count()[0] is None
    convert(source, out, tiny, "--shard", "2/2")
    assert count() == [42, 41, 1]
