"""The engine cache: private, whole, and shared by processes that know nothing of each other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pix2pix_batch.engines.cache import Cache, Entry, default_folder
from pix2pix_batch.engines.key import Key
from pix2pix_batch.errors import InputError, OutputError
from tests.end_to_end.command import PATIENCE, small_disk

ROOT = Path(__file__).parents[2]
KEY = Key("ab" * 32, 1, "0.1", "tensorrt_rtx", "1.7", "sm89")
PLAN = bytes(range(256)) * 40


def build() -> tuple[bytes, dict[str, Any]]:
    return PLAN, {"model": "m"}


def no_build() -> tuple[bytes, dict[str, Any]]:
    raise AssertionError("built")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def files(cache: Cache) -> set[str]:
    return {path.suffix for path in cache.folder.iterdir()}


def test_built_once_and_found(cache: Cache) -> None:
    assert cache.find(KEY) == (None, "")
    entry, built, notice = cache.obtain(KEY, build)
    assert built and notice == "" and entry.read() == PLAN and entry.key == KEY
    again, built, notice = cache.obtain(KEY, no_build)
    assert (again, built, notice) == (entry, False, "")
    assert cache.find(KEY) == (entry, "")
    assert entry.facts["bytes"] == len(PLAN) and entry.facts["parity"] is None
    assert list(cache.entries()) == [entry]


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "cd" * 32},
        {"package": "0.2"},
        {"graph": 2},
        {"library": "tensorrt"},
        {"version": "1.8"},
        {"capability": "sm86"},
        {"gpu": "NVIDIA L4"},
        {"driver": "550.54"},
        {"cuda": "12.4"},
        {"precision": "fp32"},
        {"batch_size": 2},
        {"size": 512},
        {"noise": True},
        {"schema": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_key_is_another_engine(cache: Cache, change: dict[str, Any]) -> None:
    cache.obtain(KEY, build)
    assert cache.find(replace(KEY, **change)) == (None, "")


def test_only_the_user_gets_at_it(cache: Cache) -> None:
    entry = cache.obtain(KEY, build).entry
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    for path in cache.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert entry.path.parent == cache.folder


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_a_directory_that_others_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    place = tmp_path / "engines"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(InputError, match=r"engines: others can write to it, .* PIX2PIX_BATCH_CAC"):
        Cache(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "engines").mkdir(mode=0o700)
    os.chown(tmp_path / "engines", 12345, 12345)
    with pytest.raises(InputError, match="engines: belongs to another user"):
        Cache(tmp_path)


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "engines").touch()
    with pytest.raises(InputError, match="engines: is no directory"):
        Cache(tmp_path)
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\)"):
        Cache(tmp_path / "engines" / "below")


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PIX2PIX_BATCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "pix2pix-batch"
    monkeypatch.setenv("PIX2PIX_BATCH_CACHE", str(tmp_path / "mine"))
    assert Cache().folder == tmp_path / "mine" / "engines"


# What is damaged


def truncate(entry: Entry) -> None:
    os.truncate(entry.path, 100)


def turn_a_bit(entry: Entry) -> None:
    entry.path.write_bytes(b"\x80" + PLAN[1:])


def lose_the_sidecar(entry: Entry) -> None:
    entry.path.with_suffix(".json").unlink()


def tear_the_sidecar(entry: Entry) -> None:
    entry.path.with_suffix(".json").write_text('{"key": {')


def empty_the_sidecar(entry: Entry) -> None:
    entry.path.with_suffix(".json").write_text("[]")


def give_it_a_foreign_key(entry: Entry) -> None:
    facts = {**entry.facts, "key": replace(KEY, capability="sm75").as_dict()}
    entry.path.with_suffix(".json").write_text(json.dumps(facts))


def give_it_unknown_fields(entry: Entry) -> None:
    facts = {**entry.facts, "key": {**KEY.as_dict(), "flavour": "new"}}
    entry.path.with_suffix(".json").write_text(json.dumps(facts))


def make_it_of_another_schema(entry: Entry) -> None:
    facts = {**entry.facts, "key": replace(KEY, schema=99).as_dict()}
    entry.path.with_suffix(".json").write_text(json.dumps(facts))


DAMAGES = [
    truncate, turn_a_bit, lose_the_sidecar, tear_the_sidecar, empty_the_sidecar,
    give_it_a_foreign_key, give_it_unknown_fields, make_it_of_another_schema,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_damaged_is_built_again_with_a_notice(cache: Cache, damage: Any) -> None:
    damage(cache.obtain(KEY, build).entry)
    found, reason = cache.find(KEY)
    assert found is None and f"{KEY.digest}.engine: " in reason
    list(cache.entries())
    entry, built, notice = cache.obtain(KEY, build)
    assert built and entry.read() == PLAN
    assert notice == f"{reason}; built again"
    assert cache.obtain(KEY, no_build).notice == ""


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_what_is_damaged_is_pruned(cache: Cache, damage: Any) -> None:
    damage(cache.obtain(KEY, build).entry)
    assert cache.prune()[0] == 1 and not files(cache)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"version": "1.8"}, "version was 1.7, is 1.8"), ({"package": "0.2"}, "package was 0.1, is")],
)
def test_another_version_is_built_anew_and_told(
    cache: Cache, change: dict[str, Any], told: str
) -> None:
    cache.obtain(KEY, build)
    _, built, notice = cache.obtain(replace(KEY, **change), build)
    assert built and notice.startswith("built again: ") and told in notice


def test_one_that_does_not_fit_is_replaced(cache: Cache) -> None:
    cache.obtain(KEY, build)
    entry, built, _ = cache.obtain(KEY, lambda: (b"new", {}), fits=lambda _: False)
    assert built and entry.read() == b"new" and len(list(cache.entries())) == 1


def test_a_failing_build_leaves_nothing(cache: Cache) -> None:
    def fail() -> tuple[bytes, dict[str, Any]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.obtain(KEY, fail)
    assert files(cache) <= {".lock"}
    assert cache.obtain(KEY, build).built


@pytest.mark.parametrize("kinds", [[".engine"], [".engine", ".json"]], ids=["plan", "both"])
def test_an_engine_in_anothers_place_is_not_taken_for_it(cache: Cache, kinds: list[str]) -> None:
    """As large as the right one, and of another bundle."""
    cache.obtain(KEY, build)
    foreign = replace(KEY, bundle="cd" * 32)
    cache.obtain(foreign, lambda: (PLAN[::-1], {}))
    for kind in kinds:
        shutil.copy(cache.path(foreign).with_suffix(kind), cache.path(KEY).with_suffix(kind))
    found, reason = cache.find(KEY)
    assert found is None and "is damaged" in reason
    assert cache.obtain(KEY, build).entry.read() == PLAN


# Other processes

PROGRAM = """
import os, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from pix2pix_batch.engines import cache
from pix2pix_batch.engines.cache import Cache, Key
KEY = Key("ab" * 32, 1, "0.1", "tensorrt_rtx", "1.7", "sm89")

def build():
    print("building", flush=True)
    {during}
    return bytes(range(256)) * 40, {{"model": "m"}}

if {stuck!r}:
    os.replace = lambda *_: (print("replacing", flush=True), time.sleep(100))
print(Cache(Path(sys.argv[1])).obtain(KEY, build).built, flush=True)
"""


def process(cache: Cache, during: str = "pass", stuck: bool = False) -> subprocess.Popen[str]:
    code = PROGRAM.format(tests=str(ROOT), during=during, stuck=stuck)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(cache.folder.parent)], stdout=subprocess.PIPE, text=True
    )


def test_of_two_processes_one_builds(cache: Cache) -> None:
    both = [process(cache, "time.sleep(1)") for _ in range(2)]
    told = sorted(one.communicate(timeout=PATIENCE)[0].split() for one in both)
    assert told == [["False"], ["building", "True"]]


@pytest.mark.parametrize("moment", ["building", "replacing"])
def test_a_builder_killed_half_way_is_forgotten(cache: Cache, moment: str) -> None:
    """With kill -9: while it builds, and with the engine written but not in its place."""
    waits = {"during": "time.sleep(100)"} if moment == "building" else {"stuck": True}
    one = process(cache, **waits)
    assert one.stdout is not None
    while one.stdout.readline().strip() != moment:
        assert one.poll() is None
    assert cache.prune() == (0, 0), "what is being built stays"
    one.send_signal(signal.SIGKILL)
    one.communicate()
    assert not list(cache.entries())
    left = [path for path in cache.folder.iterdir() if path.name.startswith(".part.")]
    assert len(left) == (moment == "replacing")
    assert cache.obtain(KEY, build).built, "nor is it waited for"
    cache.prune()
    assert files(cache) <= {".engine", ".json", ".lock"}
    assert cache.obtain(KEY, no_build).entry.read() == PLAN


def test_nobody_else_can_write_or_read_what_is_kept(cache: Cache) -> None:
    """Whatever the user's mask allows: the directory may be opened to others later."""
    before = os.umask(0)
    try:
        cache.obtain(KEY, build)
        cache.write_timings("sm89", b"timings")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.folder.iterdir()}
    assert len(modes) >= 4 and set(modes.values()) == {0o600}, modes


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    with small_disk(tmp_path, "1m") as place:
        yield place


def test_a_full_disk(disk: Path) -> None:
    cache = Cache(disk)
    with pytest.raises(OutputError, match=r"No space left on device\); make room .*engine prune"):
        cache.obtain(KEY, lambda: (bytes(2 << 20), {}))
    assert files(cache) == {".lock"}
    assert cache.obtain(KEY, build).entry.read() == PLAN


def test_a_disk_that_may_not_be_written(disk: Path) -> None:
    cache = Cache(disk)
    entry = cache.obtain(KEY, build).entry
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(InputError, match=r"Read-only file system\); set PIX2PIX_BATCH_CACHE"):
        cache.obtain(replace(KEY, size=512), build)
    with pytest.raises(InputError, match="Read-only file system"):
        Cache(disk / "new")
    assert cache.find(KEY) == (entry, "")
    cache.touch(entry)


# Looking and pruning


def test_named_by_the_beginning_of_its_id(cache: Cache) -> None:
    entry = cache.obtain(KEY, build).entry
    assert cache.find_by_id(entry.id[:6]) == cache.find_by_id(entry.id) == entry
    for name in ("", entry.id[:3], "ffff0000", "../engines"):
        with pytest.raises(InputError, match="no engine here has that id"):
            cache.find_by_id(name)


def test_notes_stay(cache: Cache) -> None:
    entry = cache.update_facts(
        cache.obtain(KEY, build).entry, parity={"psnr": 12.0}, refused="is bad"
    )
    (found,) = cache.entries()
    assert found == entry and isinstance(found, Entry) and found.refusal == "is bad"


def test_prune_removes_what_is_unwanted(cache: Cache) -> None:
    other = replace(KEY, size=512)
    cache.obtain(KEY, build), cache.obtain(other, build)
    cache.write_timings("ef" * 16, b"measured")
    engines, freed = cache.prune(lambda entry: entry.key.size == 512)
    assert engines == 1 and freed > len(PLAN)
    assert cache.find(KEY)[0] is not None and cache.find(other)[0] is None
    assert cache.read_timings("ef" * 16) == b"measured"
    assert cache.prune(lambda _: True, timings=True)[0] == 1
    assert not list(cache.folder.iterdir())


def test_timings_that_are_not_there_are_empty(cache: Cache) -> None:
    assert cache.read_timings("ef" * 16) == b""
    cache.write_timings("ef" * 16, b"")
    assert not list(cache.folder.iterdir())
