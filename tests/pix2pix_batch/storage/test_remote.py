"""Stores behind URLs: what is read, listed, written, tried again and kept secret."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.storage import common, destination, files, remote
from tests.end_to_end.command import small_disk

# What is shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a b.png", "s3://bucket/a b.png"),
        ("https://me:pass@host/x.png", "https://host/x.png"),
        ("sftp://me@host/x", "sftp://host/x"),
        ("https://h/a?id=1&X-Amz-Signature=abc&X-Amz-Credential=k%2F1", "https://h/a?id=1"),
        ("https://h/a?X-Goog-Signature=abc&id=1#part", "https://h/a?id=1#part"),
        ("https://h/a?AWSAccessKeyId=k&Signature=s%3D&Expires=17", "https://h/a"),
        ("https://h/a?sv=2024&sp=r&sig=xyz", "https://h/a?sv=2024&sp=r"),
        ("https://h/a?access_token=t", "https://h/a"),
        ("cannot get https://u:p@h/a?token=t, sorry", "cannot get https://h/a sorry"),
        ("/home/me/a@b?sig=1.png", "/home/me/a@b?sig=1.png"),
    ],
)
def test_secrets_are_not_shown(url: str, shown: str) -> None:
    assert remote.redact(url) == shown


NAMES = ["sig", "Signature", "X-Amz-Security-Token", "X-Goog-Signature", "token", "api_key", "JWT"]
TEXT = st.text("abcXYZ0189-._~%+", min_size=8)


@given(user=TEXT, word=TEXT, name=st.sampled_from(NAMES), before=st.booleans(), after=st.booleans())
def test_no_secret_survives(user: str, word: str, name: str, before: bool, after: bool) -> None:
    secret = f"SECRET{word}"
    query = "&".join(["id=1"] * before + [f"{name}={secret}"] + ["page=2"] * after)
    safe = remote.redact(f"https://{user}:{secret}@host/path/x.png?{query}")
    assert "SECRET" not in safe
    assert safe.startswith("https://host/path/x.png")
    assert ("id=1" in safe, "page=2" in safe) == (before, after)


@pytest.mark.parametrize(
    ("text", "is_url"),
    [
        ("s3://b/x", True),
        ("file:///x", True),
        ("memory://x", True),
        ("a/b", False),
        ("C:\\x", False),
        ("://x", False),
        ("zip::s3://b/x", False),
        ("dir/s3://b", False),
    ],
)
def test_what_is_a_url(text: str, is_url: bool) -> None:
    assert remote.is_url(text) is is_url


def test_files_as_urls_are_files() -> None:
    assert remote.normalise("file:///a/b/") == "/a/b/"
    assert remote.normalise("s3://b/x/") == "s3://b/x"


def test_a_store_whose_package_is_missing_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(
        InputError, match=r"not installed .*pip install 'pix2pix-batch\[remote"
    ) as e:
        remote.open_store("gs://me:password@bucket/x")
    assert "password" not in str(e.value)


def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be opened as a store"):
        remote.open_store("nosuch://x/y")


# Trying again


class Flaky:
    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_what_may_pass_is_tried_again() -> None:
    flaky = Flaky(ConnectionResetError(), TimeoutError(), OSError(5, "Input/output error"))
    assert remote.retry(flaky, (0, 0, 0)) == "done"
    assert flaky.calls == 4


def test_trying_ends() -> None:
    flaky = Flaky(*(ConnectionResetError() for _ in range(9)))
    with pytest.raises(ConnectionResetError):
        remote.retry(flaky, (0, 0))
    assert flaky.calls == 3


@pytest.mark.parametrize("error", [FileNotFoundError(), PermissionError(), ValueError()])
def test_what_cannot_pass_is_not_tried_again(error: Exception) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        remote.retry(flaky, (0, 0))
    assert flaky.calls == 1


# In the memory of this process


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()


def test_reading_and_stamps(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/in/a.png", b"12345")
    data, before = files.read_file("memory://in/a.png")
    assert data == b"12345"
    assert before.startswith("5:")
    assert files.read_file("memory://in/a.png")[1] == before
    memory.pipe_file("/in/a.png", b"54321")
    assert files.stamp_of("memory://in/a.png") != before
    assert files.read_file("memory://in/a.png", "known")[1] == "known"
    with pytest.raises(ImageError, match="cannot be read"):
        files.read_file("memory://in/absent.png")


def test_an_empty_file_is_empty(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/in/a.png", b"")
    assert files.read_file("memory://in/a.png")[0] == b""


def test_what_is_too_large_is_not_read(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "LARGEST", 4)
    memory.pipe_file("/in/a.png", b"12345")
    with pytest.raises(ImageError, match="larger than 4 bytes"):
        files.read_file("memory://in/a.png")


def test_placing(memory: fsspec.AbstractFileSystem) -> None:
    destination.place("memory://out", "a/b.png", b"small")
    assert memory.cat_file("/out/a/b.png") == b"small"
    with destination.open_output("memory://out", "a/c.tar") as file:
        file.write(b"large")
        assert not memory.exists("/out/a/c.tar")
    assert memory.cat_file("/out/a/c.tar") == b"large"
    with pytest.raises(KeyError), destination.open_output("memory://out", "d") as file:
        raise KeyError
    assert not memory.exists("/out/d")


def test_what_could_not_be_written_leaves_no_part_behind(tmp_path: Path) -> None:
    with small_disk(tmp_path, "1m") as disk:
        with pytest.raises(ImageError, match="its output cannot be written"):
            destination.place(f"local://{disk}/out", "a.png", bytes(2 << 20))
        assert [path for path in disk.rglob("*") if path.is_file()] == []
        destination.place(f"local://{disk}/out", "a.png", b"small")
        assert (disk / "out" / "a.png").read_bytes() == b"small"


def test_a_full_temporary_directory_is_named(
    tmp_path: Path, memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path, "1m") as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with (
            pytest.raises(OutputError, match=f"^{disk}: No space left .*TMPDIR"),
            destination.open_output("memory://out", "a.tar") as file,
        ):
            file.write(bytes(2 << 20))


@pytest.mark.parametrize("output", ["../x", "/x", "a//b", "a/./b", "", "a\0b", ".pix2pix-batch/x"])
def test_outputs_stay_below_out(memory: fsspec.AbstractFileSystem, output: str) -> None:
    with pytest.raises(ImageError, match="outside OUT"):
        destination.place("memory://out/deep", output, b"x")
    assert memory.find("/") == []


def test_which_outputs_are_there(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/out/a/b.png", b"")
    outputs = destination.list_outputs("memory://out")
    assert outputs.has("a/b.png")
    assert outputs.has("a")
    assert not outputs.has("a/c.png")
    assert not outputs.has("none/c.png")


# On the web


class Handler(BaseHTTPRequestHandler):
    """Answers ``/busy`` with 503 twice, then with a file; ``/gone`` with 404."""

    calls: list[str]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.calls.append(path)
        status = 404 if path == "/gone" else 200
        if path == "/busy" and self.calls.count("/busy") < 3:
            status = 503
        self.send_response(status)
        if path == "/malformed":
            self.send_header("Content-Length", "7")
        if path == "/chunks":
            self.send_header("Transfer-Encoding", "chunked")
        else:
            length = "9" if path == "/cut" else "5"
            self.send_header("Content-Length", length if status == 200 else "0")
        self.end_headers()
        if status == 200:
            self.wfile.write(b"5\r\n12345\r\n" if path == "/chunks" else b"12345")

    def log_message(self, *values: object) -> None:
        pass


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "PAUSES", (0.0, 0.0, 0.0))
    Handler.calls = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_the_web_is_read(web: str) -> None:
    assert files.read_file(f"{web}/a.png", "listed") == (b"12345", "listed")


def test_a_busy_server_is_asked_again(web: str) -> None:
    assert files.read_file(f"{web}/busy", "listed")[0] == b"12345"
    assert Handler.calls == ["/busy"] * 3


def test_what_is_gone_is_asked_for_once(web: str) -> None:
    with pytest.raises(ImageError, match="cannot be read") as caught:
        files.read_file(f"{web}/gone?token=SECRET", "listed")
    assert "SECRET" not in str(caught.value)
    assert Handler.calls == ["/gone"]


def test_a_malformed_answer_is_told_as_one(web: str) -> None:
    with pytest.raises(ImageError, match="the server's answer is malformed"):
        files.read_file(f"{web}/malformed", "listed")


@pytest.mark.parametrize("path", ["cut", "chunks"])
def test_an_answer_that_ends_early_is_told_as_one(web: str, path: str) -> None:
    with pytest.raises(ImageError, match="the server's answer ended before all of it was there"):
        files.read_file(f"{web}/{path}", "listed")
    assert Handler.calls == [f"/{path}"] * 4  # it may be whole another time


def test_nothing_is_written_to_the_web(web: str) -> None:
    with pytest.raises(InputError, match="nothing can be written to the web"):
        destination.require_writable(web)
    with pytest.raises((ImageError, OutputError)):
        destination.place(web, "a.png", b"x")


# Where the journal is


def test_a_local_out_holds_its_journal(tmp_path: Path) -> None:
    assert files.journal_directory(tmp_path) == tmp_path
    assert files.journal_directory(f"file://{tmp_path}") == tmp_path
    with pytest.raises(InputError, match="--journal is for an OUT that is a URL"):
        files.journal_directory(tmp_path, "elsewhere")


def test_a_remote_out_has_its_journal_in_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    place = files.journal_directory("s3://bucket/out")
    assert place.parent == tmp_path / "pix2pix-batch"
    assert files.journal_directory("s3://bucket/out/") == place
    assert files.journal_directory("s3://user:password@bucket/out") == place
    assert files.journal_directory("s3://bucket/other") != place
    assert files.journal_directory("s3://bucket/out", "here") == Path("here")
