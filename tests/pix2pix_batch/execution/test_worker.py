"""A chunk that turns out to be more work than it was to be is not carried on for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pix2pix_batch import bundle
from pix2pix_batch.errors import InputError
from pix2pix_batch.execution.worker import (
    ChunkOptions,
    TimedItems,
    autotune_job,
    convert_chunk,
    open_ahead,
)
from pix2pix_batch.inference import engine_cache
from pix2pix_batch.inference.settings import Settings, apply_decision
from pix2pix_batch.item import Item
from tests.end_to_end.command import put


def test_items_end_once_enough_time_has_passed_but_not_before_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setattr("pix2pix_batch.execution.worker.time.perf_counter", lambda: now)
    items = [Item(str(number), str(number), "", "png") for number in range(5)]
    taken = TimedItems(items, 0.05)
    found = []
    for item in taken:
        found.append(item)
        if len(found) == 2:
            now += 0.1
    assert found == items[:2]
    assert taken.left == tuple(items[2:])
    first, names = TimedItems(items, 1e-9), []
    for item in first:
        names.append(item.name)
        now += 2e-9
    assert names == ["0"]
    assert first.left == tuple(items[1:])
    for time_budget in (0.0, 60.0):
        whole = TimedItems(items, time_budget)
        assert list(whole) == items
        assert whole.left == ()


def test_what_a_chunk_did_not_come_to_is_told_and_has_no_record(tmp_path: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    settings = Settings(
        str(tiny), bundle.fingerprint(tiny), str(out), "tile", 64, None, 4, "cpu", "fp32",
        noise=False, seed=0, backend="torch",
    )  # fmt: skip
    items = []
    for number in range(9):
        path = put(tmp_path / f"{number}.png", seed=number, size=(64 + 48 * (number % 2), 64))
        items.append(Item(str(path), path.name, path.name, "png"))
    result = convert_chunk(settings, items, ChunkOptions(time_budget=1e-9))
    done = [record.name for record in result.records]
    assert 1 <= len(done) < 9
    assert done + [item.name for item in result.left] == [item.name for item in items]
    assert sorted(path.name for path in out.glob("*.png")) == sorted(done)
    assert result.tiles == len(done) + len(done) // 2
    rest = convert_chunk(settings, result.left, replace(ChunkOptions(), time_budget=60.0))
    assert rest.left == ()
    assert sorted(path.name for path in out.glob("*.png")) == [item.name for item in items]
    assert result.tiles + rest.tiles == 9 + 4


def test_what_was_opened_ahead_serves_the_job_or_makes_room(tmp_path: Path, tiny: Path) -> None:
    asked = Settings(
        str(tiny), bundle.fingerprint(tiny), str(tmp_path), "tile", 64, None, None, "auto", "fp32",
        noise=False, seed=0,
    )  # fmt: skip
    engine_cache.open_engine.cache_clear()
    open_ahead(asked)
    assert engine_cache.open_engine.cache_info().currsize == 1
    decided = autotune_job(asked, [])
    engine = engine_cache.engine_of(apply_decision(asked, decided))
    assert (
        engine_cache.open_engine.cache_info().currsize
        == engine_cache.open_engine.cache_info().misses
        == 1
    )
    open_ahead(replace(asked, batch_size=3))
    assert engine_cache.open_engine.cache_info().currsize == 2
    assert (
        engine_cache.engine_of(apply_decision(asked, decided)) is not engine
    )  # opened anew, alone
    assert engine_cache.open_engine.cache_info().currsize == 1


def test_a_model_that_cannot_be_opened_ahead_is_told_where_it_is_needed(tmp_path: Path) -> None:
    gone = Settings(
        str(tmp_path / "gone"), "1", str(tmp_path), "tile", 64, None, None, "cpu", "auto",
        noise=False, seed=0,
    )  # fmt: skip
    open_ahead(gone)
    with pytest.raises(InputError, match="gone: not found"):
        engine_cache.engine_of(replace(gone, precision="fp32", batch_size=1))
