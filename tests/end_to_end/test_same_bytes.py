"""Workers, order, chunks, interruptions, crashes and clusters leave no trace in the bytes."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from pix2pix_batch.execution.planner import FIRST_CHUNK
from pix2pix_batch.inference.autotune import PROBE_IMAGES
from tests.end_to_end.command import (
    SHARED,
    Argument,
    convert,
    digests,
    finish,
    fork,
    interrupt,
    put,
    records,
    visible,
    wait_for,
    words,
)
from tests.end_to_end.harmful import preloaded, shut

pytestmark = pytest.mark.usefixtures("workers")

COUNT = 72
"""Of several tiles each: more than are in flight when the first of them are done."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("same-bytes") / "in"
    for number in range(COUNT):
        put(source / f"{number % 3}" / f"{number:02}.png", seed=number, size=(110, 70 + number))
    return source


@pytest.fixture(scope="module")
def expected(pictures: Path, tiny: Path) -> dict[str, str]:
    """The digests of what one run with two workers makes."""
    out = pictures.parent / "expected"
    ran = convert(pictures, out, tiny, "--workers", 2)
    assert (ran.code, *ran.counts()) == (0, COUNT, 0, 0), ran.err
    made = digests(out)
    assert len(set(made.values())) == COUNT
    return made


def started(out: Path) -> bool:
    return any(out.glob("[0-9]/*.png"))


def test_interrupted_then_killed_then_finished(
    tmp_path: Path, pictures: Path, tiny: Path, expected: dict[str, str]
) -> None:
    out, gate = tmp_path / "out", shut(tmp_path / "gate")
    late = sorted(pictures.rglob("*.png"))[max(PROBE_IMAGES, FIRST_CHUNK - 1) :]
    held = preloaded(gate, late)  # one of the first chunk, and all behind
    process = fork(*words(pictures, out, tiny, "--batch-size", 4), **held)
    wait_for(lambda: started(out), process)
    ran = interrupt(process, gate)
    done, skipped, failed = ran.counts()
    assert 0 < done < COUNT
    assert (skipped, failed) == (0, 0)
    assert len(visible(out)) == done
    assert not any((out / ".pix2pix-batch" / "tmp").iterdir())
    assert digests(out).items() <= expected.items()
    assert [record["status"] for record in records(out).values()] == ["done"] * done

    process = fork(*words(pictures, out, tiny, "--workers", 2))
    wait_for(lambda: len(list(out.glob("[0-9]/*.png"))) > done, process)
    process.kill()
    process.communicate()
    half = {path: path.read_bytes() for path in out.glob("[0-9]/*.png")}
    assert done < len(half) <= COUNT
    for path in half:
        with Image.open(path) as image:
            image.load()

    ran = convert(pictures, out, tiny)
    assert ran.code == 0, ran.err
    converted, skipped, failed = ran.counts()
    assert converted + skipped == COUNT
    assert skipped >= done
    assert failed == 0
    assert digests(out) == expected
    assert not any((out / ".pix2pix-batch" / "tmp").iterdir())
    assert {record["status"] for record in records(out).values()} == {"done"}
    assert len(records(out)) == COUNT


def test_terminated_before_the_first_image(tmp_path: Path, pictures: Path, tiny: Path) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        out = tmp_path / number.name
        process = fork(*words(pictures, out, tiny))
        wait_for((out / ".pix2pix-batch" / "journal.jsonl").exists, process)
        os.killpg(process.pid, number)
        ran = finish(process)
        assert ran.code == 128 + number, ran
        assert "Run the same command again" in ran.err


def test_other_order(tmp_path: Path, pictures: Path, tiny: Path, expected: dict[str, str]) -> None:
    listed = tmp_path / "reversed.txt"
    listed.write_text("".join(f"{name}\n" for name in reversed(expected)))
    out = tmp_path / "out"
    ran = convert(f"@{listed}", out, tiny, cwd=pictures)
    assert (ran.code, *ran.counts()) == (0, COUNT, 0, 0), ran.err
    assert digests(out) == expected


def test_existing_cluster(
    tmp_path: Path, pictures: Path, tiny: Path, expected: dict[str, str]
) -> None:
    out = Path("out")  # relative: the workers stand in another directory
    some = ["--scheduler", SHARED[0], "--limit", "12"]
    source = os.path.relpath(pictures, tmp_path)
    ran = convert(source, out, tiny, *some, cwd=tmp_path)
    assert (ran.code, *ran.counts()) == (0, 12, 0, 0), ran.err
    made = digests(tmp_path / out)
    assert made.items() <= expected.items()
    assert len(made) == 12
    ran = convert(source, out, tiny, *some, "--overwrite", cwd=tmp_path)  # it is still there
    assert (ran.code, *ran.counts()) == (0, 12, 0, 0), ran.err
    assert digests(tmp_path / out) == made


def test_noise(tmp_path: Path, noisy: Path) -> None:
    source = tmp_path / "in"
    for number in range(6):
        put(source / f"{number}.png", seed=number, size=(64 + 20 * number, 64))
    put(source / "sub" / "5 again.png", seed=5, size=(164, 64))

    def made(*options: Argument) -> dict[str, str]:
        out = tmp_path / "-".join(map(str, ("out", *options)))
        ran = convert(source, out, noisy, *options)
        assert (ran.code, *ran.counts()) == (0, 7, 0, 0), ran.err
        return digests(out)

    seven = made("--noise", "--seed", 7)
    assert made("--noise", "--seed", 7, "--workers", 2) == seven
    eight, none = made("--noise", "--seed", 8), made()
    for name in seven:
        assert len({seven[name], eight[name], none[name]}) == 3, name
    assert seven["5.png"] == seven["sub/5 again.png"]
