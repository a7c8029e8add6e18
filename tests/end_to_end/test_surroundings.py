"""What people have around their images: other mounts, modules of their own, closed streams, litter,
servers that say no."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from pix2pix_batch.storage import files, placement
from tests.end_to_end.command import (
    COMMAND,
    SHARED,
    convert,
    encoded,
    environment,
    finish,
    fork,
    journal,
    put,
    records,
    run,
    small_disk,
    start,
    visible,
    words,
)
from tests.end_to_end.forked import Forked, run_script

pytestmark = pytest.mark.usefixtures("workers")


def test_folders_as_people_have_them(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "sub/b.JPG", "@eaDir/a.png/T.jpg", "#recycle/c.png", ".Trash-0/d.png"):
        put(source / name)
    for name in ("._a.png", "__MACOSX/sub/._b.JPG", "sub/Thumbs.db", "scan.pcd", "x.h5", "y.mpg"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0\5\x16\7 no image")
    with Image.open(source / "a.png") as image:
        image.save(source / "c.mpo", "MPO", save_all=True, append_images=[image])
    ran = convert(source, out, tiny)
    assert ran.code == 0, ran.err
    assert set(visible(out)) == {"a.png", "sub/b.png", "c.png"}
    assert (ran.figures["litter"], ran.figures["ignored"], ran.figures["excluded"]) == (6, 3, 0)
    assert "6 files and directories left alone, hidden or left there by systems" in ran.err
    ran = convert(source, out, tiny, "--include", "@eaDir/", "--exclude", "sub/")
    assert (ran.code, ran.counts()) == (0, (1, 2, 0)), "patterns choose inputs, and no other job"
    assert "@eaDir/a.png/T.png" in visible(out)


def test_litter_in_tars(tmp_path: Path, tiny: Path) -> None:
    tar, out = tmp_path / "in" / "0.tar", tmp_path / "out"
    tar.parent.mkdir()
    members = {
        "1.png": encoded(),
        "1.json": b"{}",
        "._1.png": b"\0\5\x16\7",
        "__MACOSX/._1.json": b"\0\5\x16\7",
        ".DS_Store": b"x",
        "2/@eaDir/t.jpg": encoded("JPEG"),
        ".meta": b"kept",
        "raw.rgb": bytes(3000),
        "skip_mask.png": encoded(),
    }
    with tarfile.open(tar, "w") as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    ran = convert(tar.parent, out, tiny, "--exclude", "*_mask.png")
    assert (ran.code, ran.counts()) == (0, (1, 0, 0)), ran.err
    assert (ran.figures["litter"], ran.figures["excluded"]) == (4, 1)
    with tarfile.open(out / "0.tar") as archive:
        assert archive.getnames() == ["1.png", "1.json", ".meta", "raw.rgb"]
        assert archive.extractfile(".meta").read() == b"kept"  # type: ignore[union-attr]
    record = records(out)["0.tar"]
    assert (record["litter"], record["excluded"]) == (4, 1)
    ran = convert(tar.parent, out, tiny)
    assert ran.code == 2
    assert "exclude was ['*_mask.png'], now not given" in ran.err


def test_a_list_of_urls_of_this_machine(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a b.png")
    (tmp_path / "list").write_text(f"file://{tmp_path}/in/a%20b.png\n", encoding="utf-16")
    ran = convert(f"@{tmp_path}/list", tmp_path / "out", tiny)
    assert (ran.code, ran.counts()) == (0, (1, 0, 0)), ran.err
    assert list(visible(tmp_path / "out")) == [f"{tmp_path}/in/a b.png".lstrip("/")]
    ran = convert(f"file://{tmp_path}/in/a%20b.png", f"file://{tmp_path}/o%20ut", tiny)
    assert (ran.code, ran.counts()) == (0, (1, 0, 0)), ran.err
    assert list(visible(tmp_path / "o ut")) == ["a b.png"]


class Refusing(BaseHTTPRequestHandler):
    """Answers with the number that a path begins with."""

    def do_GET(self) -> None:
        self.send_response(int(self.path[1:4]))
        if self.path.startswith("/3"):
            self.send_header("Location", self.path)
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_webs_answers_are_told_by_their_number(
    tmp_path: Path, tiny: Path, refusing: str
) -> None:
    pytest.importorskip("aiohttp")
    put(tmp_path / "a.png")
    answers = {404: "Not Found", 403: "Forbidden", 410: "Gone", 401: "Unauthorized"}
    codes = (*answers, 302)
    lines = [str(tmp_path / "a.png"), *(f"{refusing}/{code}.png?token=x" for code in codes)]
    (tmp_path / "list").write_text("\n".join(lines))
    ran = convert(f"@{tmp_path}/list", tmp_path / "out", tiny)
    assert (ran.code, ran.counts()) == (3, (1, 0, 5))
    reasons = {one["name"]: one["reason"] for one in ran.figures["failures"]}
    for code, phrase in answers.items():
        assert reasons[f"{refusing}/{code}.png"] == f"cannot be read (HTTP {code} {phrase})"
    assert "leads round in a circle" in reasons[f"{refusing}/302.png"]


@pytest.mark.parametrize(("form", "width"), [("jpg", 65_501), ("webp", 16_384)])
def test_outputs_that_their_format_cannot_hold(
    tmp_path: Path, tiny: Path, form: str, width: int
) -> None:
    put(tmp_path / "in" / "wide.png", size=(width, 8))
    put(tmp_path / "in" / "a.png")
    ran = convert(tmp_path / "in", tmp_path / "out", tiny, "--format", form)
    assert (ran.code, ran.counts()) == (3, (1, 0, 1))
    assert f"{width:,}x8 pixels cannot be written as {form}" in ran.err
    assert "choose --format png or tiff" in ran.err


# Other mounts


def test_a_directory_of_out_is_another_mount(tmp_path: Path, tiny: Path) -> None:
    for name in ("a.png", "disk/b.png", "disk/x/c.png"):
        put(tmp_path / "in" / name)
    out = tmp_path / "out"
    out.mkdir()
    with small_disk(out, "8m") as disk:
        ran = convert(tmp_path / "in", out, tiny)
        assert (ran.code, ran.counts()) == (0, (3, 0, 0)), ran.err
        assert set(visible(out)) == {"a.png", "disk/b.png", "disk/x/c.png"}
        assert not [path for path in disk.rglob("*") if path.name.startswith(".")]
        assert convert(tmp_path / "in", out, tiny).counts() == (0, 3, 0)
        ran = run("status", out, "--verify")
        assert (ran.code, "3 outputs checked, 0 wrong" in ran.out + ran.err) == (0, True)


def test_what_a_killed_worker_leaves_on_another_mount_is_removed(
    tmp_path: Path, tiny: Path
) -> None:
    put(tmp_path / "in" / "disk" / "b.png")
    out = tmp_path / "out"
    out.mkdir()
    with small_disk(out, "8m") as disk:
        assert convert(tmp_path / "in", out, tiny).code == 0
        (out / ".pix2pix-batch" / "tmp").mkdir(exist_ok=True)
        code = (
            "import os, sys\n"
            "from pix2pix_batch.storage import destination\n"
            "for _ in range(2):\n"
            "    with destination.open_output(sys.argv[1], 'disk/c.png') as file:\n"
            "        file.write(b'x')\n"
            "with destination.open_output(sys.argv[1], 'disk/b.png') as file:\n"
            "    file.write(b'half')\n"
            "    file.flush()\n"
            "    os._exit(1)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(out)], env=environment(), check=False)
        left = [path for path in disk.iterdir() if path.name.startswith(placement.BEGINNING)]
        assert len(left) == 1
        assert (disk / "c.png").read_bytes() == b"x"
        (disk / "c.png").unlink()
        assert convert(tmp_path / "in", out, tiny).counts() == (0, 1, 0)
        assert [path.name for path in disk.iterdir()] == ["b.png"]
        assert not list((out / ".pix2pix-batch").rglob(f"*{placement.NOTE}"))


def test_a_note_removes_nothing_else(tmp_path: Path) -> None:
    for name in ("a.png", f"{placement.BEGINNING}x", f"sub/{placement.BEGINNING}y"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"x")
    (tmp_path / f"{placement.BEGINNING}z").write_bytes(b"x")
    note = tmp_path / "note"
    for text in ("a.png", f"../{placement.BEGINNING}z", "", "/", f"none/{placement.BEGINNING}q"):
        note.write_text(text)
        placement.remove(tmp_path / "out", note)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 5
    note.write_text(f"sub/{placement.BEGINNING}y")
    placement.remove(tmp_path / "out", note)
    assert not (tmp_path / "out" / "sub" / f"{placement.BEGINNING}y").exists()
    assert files.digest_beginning(str(tmp_path / "out" / "a.png"))


# The process


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (COMMAND, []),
        ([sys.executable, "-m", "pix2pix_batch"], ["--dry-run"]),
        (["pix2pix-batch"], ["--dry-run"]),
    ],
    ids=["-m", "-m package", "script"],
)
def test_users_modules_called_as_pythons(
    tmp_path: Path, tiny: Path, command: list[str], more: list[str]
) -> None:
    """Workers, which the first run starts, are started alike by all."""
    put(tmp_path / "in" / "a.png")
    for name in ("signal", "queue", "random", "selectors", "socket", "email"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('not this one')\n")
    command = [str(Path(sys.executable).with_name(word)) if word == "pix2pix-batch" else word
               for word in command]  # fmt: skip
    if not Path(command[0]).exists():
        pytest.skip("the package is not installed")
    given = words("in", "out", tiny, "--workers", 1, *more)
    ran = subprocess.run(
        [*command, *map(str, given)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "not this one" not in ran.stderr


def test_a_script_that_converts_without_a_guard_is_run_once(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    script = tmp_path / "script.py"
    script.write_text(
        "import pix2pix_batch\n"
        "print('begun')\n"
        f"made = pix2pix_batch.convert('in', 'out', model={str(tiny)!r}, workers=1)\n"
        "print(made.converted)\n"
    )
    process = Forked([str(script)], environment(), str(tmp_path), program=run_script)
    ran = finish(process)
    assert (ran.code, ran.out) == (0, "begun\n1\n"), ran


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", "2>/dev/full"])
def test_standard_streams_that_are_closed(tmp_path: Path, tiny: Path, closed: str) -> None:
    put(tmp_path / "in" / "a.png")
    given = words(tmp_path / "in", tmp_path / "out", tiny, "--scheduler", SHARED[0])
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *COMMAND, *map(str, given)],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Traceback" not in ran.stderr
    assert set(visible(tmp_path / "out")) == {"a.png"}
    assert journal(tmp_path / "out")[0]["schema"] == 2, "no library has printed into it"


def test_standard_output_that_is_full(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    convert(tmp_path / "in", tmp_path / "out", tiny)
    given = ["status", str(tmp_path / "out"), "--json"]
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [*COMMAND, *given], env=environment(), stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert ran.returncode == 3 and "error: standard output cannot be written" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_reader_that_has_seen_enough() -> None:
    """As ``| head`` leaves it."""
    reader, writer = os.pipe()
    os.close(reader)
    given = [*COMMAND, "model", "list"]
    ran = subprocess.run(
        given, env=environment(), stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_a_broken_configuration_of_dask_is_named(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    (tmp_path / "dask.yaml").write_text("a: [")
    given = words(tmp_path / "in", tmp_path / "out", tiny, "--workers", 1)
    ran = subprocess.run(
        [*COMMAND, *map(str, given)], env={**environment(), "DASK_CONFIG": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2 and "error: a configuration file of Dask" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_reader_that_goes_away(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    given = words(tmp_path / "in", tmp_path / "out", tiny, "--scheduler", SHARED[0])
    process = fork(*given)
    assert process.stderr is not None
    process.stderr.close()
    assert process.wait() == 0
    assert set(visible(tmp_path / "out")) == {"a.png"}


def test_a_current_directory_that_is_gone(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    place = tmp_path / "gone"
    place.mkdir()
    given = words(tmp_path / "in", tmp_path / "out", tiny)
    process = start(*given, cwd=place, preexec_fn=lambda: place.rmdir())
    ran = finish(process)
    assert ran.code == 2
    assert ran.err.startswith("error: the current directory cannot be used")
