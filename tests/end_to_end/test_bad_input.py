"""Bad images fail alone; what else goes wrong with files is said in one line."""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import (
    Ran,
    convert,
    digests,
    encoded,
    error_of,
    everything,
    journal,
    put,
    records,
    resize_disk,
    small_disk,
    visible,
)

pytestmark = pytest.mark.usefixtures("workers")


def bomb(side: int) -> bytes:
    """A PNG of a few kilobytes that says it has ``side`` x ``side`` grey pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = zlib.compress(bytes(100 * (side + 1)))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


BAD = {
    "empty.png": (b"", "empty"),
    "truncated.jpg": (encoded("JPEG", width=200, height=200)[:1500], "truncated"),
    "truncated.png": (encoded("PNG", width=200, height=200)[:1500], "truncated"),
    "text.png": (b"These are words, not pixels.\n" * 20, "not an image"),
    "page.jpg": (b"<!DOCTYPE html><title>404</title>", "not an image"),
    "bomb.png": (bomb(30000), "decompression bomb"),
    "small-bomb.png": (bomb(10000), "decompression bomb"),
    "noise.webp": (b"RIFF\x20\0\0\0WEBPVP8 " + bytes(range(200)), ""),
}


def test_bad_images_fail_alone(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    good = [put(source / f"good-{number}.png", seed=number).name for number in range(5)]
    for name, (data, _) in BAD.items():
        (source / name).write_bytes(data)
    os.mkfifo(source / "pipe.png")
    (source / "dangling.png").symlink_to(tmp_path / "absent.png")
    (source / "directory.png").mkdir()
    reasons = {name: reason for name, (_, reason) in BAD.items()}
    reasons |= {"pipe.png": "not a regular file", "dangling.png": "is a link to"}

    ran = convert(source, out, tiny, "--workers", 1)
    assert (ran.code, *ran.counts()) == (3, 5, 0, len(reasons)), ran.err
    assert sorted(visible(out)) == good
    found = records(out)
    for name, reason in reasons.items():
        assert found[name]["status"] == "failed"
        assert reason in found[name]["reason"]
        assert "worker failed" not in found[name]["reason"]
        assert f"failed: {name}: {found[name]['reason']}" in ran.err
    assert [found[name]["status"] for name in good] == ["done"] * 5


def test_all_bad(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(25):
        (source / f"{number:02}.png").touch()
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (3, 0, 0, 25), ran.err
    assert "and 15 more" in ran.err
    assert visible(out) == {}


# Permissions, which do not bind root


PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITIES = 0x20080522
"""The version of ``struct __user_cap_header_struct``."""


def obey_permissions() -> None:
    """Give up root's leave to read and write everything, for this process and all that it
    starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES, 0)  # of this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then those beyond 31
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # for what is executed
        for number in range(3):
            sets[number] &= ~(1 << capability)
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """How to run a command so that permissions bind it, even as root."""
    before = obey_permissions if os.geteuid() == 0 else None
    closed = tmp_path / "closed"
    closed.touch(mode=0)
    read = subprocess.run(["cat", closed], preexec_fn=before, capture_output=True, check=False)
    if read.returncode == 0:
        pytest.skip("permissions do not bind this user")
    yield {"before": before}
    for path in tmp_path.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def test_files_without_permission(tmp_path: Path, tiny: Path, bound: dict[str, Any]) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "closed.png", "closed/b.png", "open/c.png", "z.png"):
        put(source / name)
    (source / "closed.png").chmod(0)
    (source / "closed").chmod(0)
    ran = convert(source, out, tiny, **bound)
    assert ran.code == 3, ran.err
    assert set(visible(out)) == {"a.png", "open/c.png", "z.png"}
    assert "closed.png: cannot be read (Permission denied)" in ran.err
    assert "closed: the directory cannot be listed (Permission denied)" in ran.err


def test_out_and_in_without_permission(tmp_path: Path, tiny: Path, bound: dict[str, Any]) -> None:
    source, out = put(tmp_path / "in" / "a.png").parent, tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    for place in (out, out / "inside"):
        ran = convert(source, place, tiny, **bound)
        message = error_of(ran)
        assert ran.code == 2, ran.err
        assert f"{place}: " in message
        assert "Permission denied" in message
        assert "another" in message
    source.chmod(0)
    ran = convert(source, tmp_path / "new", tiny, **bound)
    assert ran.code == 2
    assert f"{source}: cannot be read" in error_of(ran)


# A full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    with small_disk(tmp_path, "2m") as place:
        yield place


def full(ran: Ran, place: Path) -> bool:
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert ran.code == 3, ran.err
    assert len(lines) == 1, ran.err
    assert str(place) in lines[0]
    assert "No space left on device" in lines[0]
    assert "room" in lines[0]
    return True


def test_disk_runs_full(tmp_path: Path, tiny: Path, disk: Path) -> None:
    source, out = tmp_path / "in", disk / "out"
    resize_disk(disk, "500k")
    for number in range(20):  # of which each takes some 40 KiB
        put(source / f"{number:02}.png", seed=number, size=(120, 120))
    ran = convert(source, out, tiny, "--workers", 2)
    assert full(ran, disk)
    some = digests(out)
    assert 0 < len(some) < 20
    found = records(out)
    assert {record["output"] for record in found.values() if record["status"] == "done"} == set(
        some
    )
    assert ran.figures["converted"] == len(some)
    assert ran.figures["outcome"] == "stopped" and "No space left" in ran.figures["fatal"]

    resize_disk(disk, "80m")
    ran = convert(source, out, tiny)
    assert ran.code == 0, ran.err
    assert ran.counts() == (20 - len(some), len(some), 0)
    assert len(digests(out)) == 20
    assert some.items() <= digests(out).items()


def test_disk_is_full_from_the_start(tmp_path: Path, tiny: Path, disk: Path) -> None:
    """So full that nothing, or no more than the journal's first line, can be written."""
    source = put(tmp_path / "in" / "a.png").parent
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))
    page = os.sysconf("SC_PAGE_SIZE")
    whole = filler.stat().st_size
    for free in range(3):
        os.truncate(filler, whole // page * page - free * page)
        out = disk / f"out{free}"
        ran = convert(source, out, tiny, "--workers", 1)
        if ran.code == 0:
            assert free == 2
        else:
            assert full(ran, disk)
            assert not out.exists() or visible(out) == {}
        if out.exists():
            shutil.rmtree(out)
        if free == 1:  # on a cluster, its worker tells
            ran = convert(source, out, tiny)
            assert ran.code in (2, 3) and "make room there" in ran.err
    filler.unlink()
    ran = convert(source, disk / "out0", tiny)
    assert (ran.code, *ran.counts()) == (0, 1, 0, 0), ran.err


def test_a_disk_that_may_not_be_written_is_wrong_use(
    tmp_path: Path, tiny: Path, disk: Path
) -> None:
    source, out = put(tmp_path / "in" / "a.png").parent, disk / "out"
    out.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    for place in (out, disk / "new"):
        ran = convert(source, place, tiny)
        message = error_of(ran)
        assert ran.code == 2, message
        assert f"{place}: " in message
        assert "Read-only file system" in message
        assert "another directory as OUT" in message


def test_two_runs_into_one_out(tmp_path: Path, tiny: Path) -> None:
    from filelock import FileLock

    source, out = put(tmp_path / "in" / "a.png").parent, tmp_path / "out"
    (out / ".pix2pix-batch").mkdir(parents=True)
    with FileLock(out / ".pix2pix-batch" / "lock"):
        before = everything(out)
        ran = convert(source, out, tiny)
        assert everything(out) == before
    assert ran.code == 2
    assert f"{out}: another run is writing there" in error_of(ran)


def test_a_list_that_goes_wrong_on_the_way(tmp_path: Path, tiny: Path) -> None:
    """What is in flight is finished, and the journal does not say that the job is."""
    for seed in range(12):
        put(tmp_path / f"{seed}.png", seed=seed)
    lines = "".join(f"{seed}.png\n" for seed in range(12))
    ran = convert("-", "out", tiny, stdin=f"{lines}x\0.png\n".encode(), cwd=tmp_path)
    assert ran.code == 3, ran.err
    assert "error: standard input: line 13 holds a NUL byte; give a path a line" in ran.err
    assert 8 <= ran.figures["converted"] == len(visible(tmp_path / "out"))
    assert journal(tmp_path / "out")[-1]["outcome"] == "stopped"
    ran = convert("-", "out", tiny, stdin=lines.encode(), cwd=tmp_path)
    assert (ran.code, ran.figures["total"]) == (0, 12), ran.err
