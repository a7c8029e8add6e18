"""Images that codec threads take a few at a time come out as if each had been alone."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from pix2pix_batch import bundle
from pix2pix_batch.errors import OutputError
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.decode_ahead import CODEC_THREADS_VARIABLE, TOGETHER
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from tests.end_to_end.command import put

COUNT = 70


@pytest.fixture
def settings(tmp_path: Path, tiny: Path) -> Settings:
    (tmp_path / "out" / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    return Settings(
        str(tiny), bundle.fingerprint(tiny), str(tmp_path / "out"), "tile", 64, None, 32, "cpu",
        "fp32", noise=False, seed=0, backend="torch",
    )  # fmt: skip


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Small ones, every ninth of several tiles, every eleventh damaged, in several directories."""
    found = []
    for number in range(COUNT):
        path = tmp_path / f"{number:02d}.jpg"
        put(path, seed=number, size=(64 + 70 * (number % 9 == 0), 64))
        if number % 11 == 0:
            path.write_bytes(path.read_bytes()[:200])
        found.append(Item(str(path), path.name, f"d{number // 30}/{path.name}", "jpg"))
    return found


def outputs(out: str) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in Path(out).glob("d*/*")
    }


@pytest.mark.parametrize("threads", ["1", "3"])
def test_records_and_bytes_are_those_of_images_alone(
    settings: Settings, items: list[Item], threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, alone = [], {}
    for item in items:
        one = Converter(settings)
        one.run([item])
        records += one.records
    alone = outputs(settings.out)
    assert len(alone) == COUNT - 7
    for path in Path(settings.out).glob("d*/*"):
        path.unlink()
    monkeypatch.setenv(CODEC_THREADS_VARIABLE, threads)
    together = Converter(settings)
    together.run(items)
    assert sorted(together.records, key=lambda one: one.name) == records
    assert outputs(settings.out) == alone
    assert list(Path(settings.out, ".pix2pix-batch", "tmp").iterdir()) == []


def test_what_was_written_before_the_disk_was_full_has_its_record(
    settings: Settings, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the midst of images that one thread takes together."""
    monkeypatch.setenv(CODEC_THREADS_VARIABLE, "1")
    room, placed, lock = TOGETHER + 3, list[str](), threading.Lock()

    def place(name: str, data: bytes) -> None:
        with lock:
            if len(placed) == room:
                raise OutputError("the disk is full")
            placed.append(name)

    full = Converter(settings, place)
    full.run(items)
    assert full.fatal == "the disk is full"
    done = [record.output for record in full.records if record.status == "done"]
    assert sorted(done) == sorted(placed) and len(done) == room
