"""Putting outputs in their place, and only there."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.errors import ImageError, OutputError
from pix2pix_batch.storage import destination


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out" / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    return tmp_path / "out"


def left(out: Path) -> list[str]:
    """What is there but for the journal's directory; of that, what should not be."""
    assert list((out / ".pix2pix-batch" / "tmp").iterdir()) == []
    return sorted(
        str(path.relative_to(out))
        for path in out.rglob("*")
        if path.is_file() and ".pix2pix-batch" not in path.parts
    )


def test_placing(out: Path) -> None:
    destination.place(out, "a.png", b"1")
    destination.place(out, "deep/er/b.png", b"2")
    destination.place(out, "a.png", b"3")
    assert left(out) == ["a.png", "deep/er/b.png"]
    assert (out / "a.png").read_bytes() == b"3"


def test_what_ends_badly_is_not_there(out: Path) -> None:
    destination.place(out, "a.png", b"before")
    with pytest.raises(KeyError), destination.open_output(out, "a.png") as file:
        file.write(b"half")
        raise KeyError
    assert (out / "a.png").read_bytes() == b"before"
    assert left(out) == ["a.png"]


def test_permissions_are_the_users(out: Path) -> None:
    before = os.umask(0o027)
    try:
        destination.place(out, "d/a.png", b"1")
    finally:
        os.umask(before)
    assert (out / "d" / "a.png").stat().st_mode & 0o777 == 0o640
    assert (out / "d").stat().st_mode & 0o777 == 0o750


@pytest.mark.parametrize(
    "output",
    ["../x", "a/../../x", "/etc/x", "a//b", "./a", "a/.", "..", "", "a\0b", ".pix2pix-batch/lock"],
)
def test_outputs_that_lead_elsewhere_are_refused(out: Path, output: str) -> None:
    with pytest.raises(ImageError, match="outside OUT"):
        destination.place(out, output, b"x")
    assert left(out) == []
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]


@given(st.text(st.sampled_from("ab./\0\n~ "), max_size=12))
def test_no_name_leads_out(tmp_path_factory: pytest.TempPathFactory, output: str) -> None:
    base = tmp_path_factory.mktemp("base")
    out = base / "out"
    (out / ".pix2pix-batch" / "tmp").mkdir(parents=True)
    try:
        destination.place(out, output, b"x")
    except ImageError:
        assert left(out) == []
    else:
        assert left(out) == [output]
    assert [path.name for path in base.iterdir()] == ["out"]


def test_links_out_of_out_are_not_followed(out: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"theirs")
    (out / "linked").symlink_to(outside)
    (out / "up").symlink_to("..")
    (out / "file.png").symlink_to(outside / "a.png")
    for output in ("linked/a.png", "linked/new/a.png", "up/outside/a.png"):
        with pytest.raises(ImageError, match="outside OUT, through a link"):
            destination.place(out, output, b"x")
    destination.place(out, "file.png", b"mine")  # takes the link's place
    assert not (out / "file.png").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["a.png"]
    assert (outside / "a.png").read_bytes() == b"theirs"


def test_links_within_out_are_followed(out: Path) -> None:
    (out / "real").mkdir()
    (out / "linked").symlink_to("real")
    destination.place(out, "linked/deep/a.png", b"1")
    assert left(out) == ["real/deep/a.png"]


def test_out_may_itself_be_a_link(out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(out)
    destination.place(tmp_path / "link", "d/a.png", b"1")
    assert left(out) == ["d/a.png"]


def test_a_directory_that_becomes_a_link_meanwhile(out: Path, tmp_path: Path) -> None:
    """Somebody who may write in OUT swaps a directory for a link, over and over: whatever the
    moment, nothing lands where the link leads."""
    outside, swapped = tmp_path / "outside", out / "d"
    outside.mkdir()
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            with suppress(OSError):  # who places makes the directory where it lacks
                swapped.rename(tmp_path / f"old-{os.urandom(4).hex()}")
            with suppress(OSError):
                swapped.symlink_to(outside)
                swapped.unlink()

    thread = threading.Thread(target=swap)
    thread.start()
    placed = 0
    for _ in range(1500):
        try:
            destination.place(out, "d/a.png", b"x")
            placed += 1
        except ImageError:
            pass
        except OSError as error:
            pytest.fail(repr(error))
    done.set()
    thread.join()
    assert placed
    assert list(outside.iterdir()) == []


def test_an_out_that_has_gone_is_not_made_again(tmp_path: Path) -> None:
    """A mount point without its file system is an empty directory."""
    (tmp_path / "out").mkdir()
    with pytest.raises(ImageError, match="No such file"):
        destination.place(tmp_path / "out", "d/a.png", b"x")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_stands_in_the_way(out: Path) -> None:
    destination.place(out, "a", b"1")
    (out / "d").mkdir()
    for output, told in (
        ("a/b.png", "a file has the name of a directory of its output; remove what is there"),
        ("d", "a directory has the name of its output; remove what is there"),
    ):
        with pytest.raises(ImageError, match=told):
            destination.place(out, output, b"x")
    assert left(out) == ["a"]


def test_what_is_removed_is_an_output(out: Path, tmp_path: Path) -> None:
    """What is not there is no error; nothing outside OUT can be named, nor reached by a link."""
    for name in ("a.png", "deep/b.pgw"):
        destination.place(out, name, b"1")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "c.pgw").write_bytes(b"1")
    (out / "link").symlink_to(tmp_path / "outside")
    with destination.open_destination(out) as opened:
        opened.remove("deep/b.pgw")
        opened.remove("deep/b.pgw")
        for output in ("../outside/c.pgw", "link/c.pgw"):
            with pytest.raises(ImageError, match="outside OUT"):
                opened.remove(output)
    assert left(out) == ["a.png"]
    assert (tmp_path / "outside" / "c.pgw").exists()


def test_a_full_disk_ends_the_job(out: Path) -> None:
    with pytest.raises(OutputError, match="make room"), destination.open_output(out, "a.png"):
        raise OSError(28, "No space left on device")
    assert left(out) == []
