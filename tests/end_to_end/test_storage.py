"""Inputs and outputs that are no plain directories: S3 (moto's server), lists of URLs, tars."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import pix2pix_batch
from pix2pix_batch.errors import InputError
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.storage import destination, remote
from tests.end_to_end.command import convert, digests, encoded, error_of, here, put, records, words


@pytest.fixture(scope="module")
def in_process() -> Iterator[str]:
    """The address of a Dask cluster in this process, which knows this process's memory://."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A store of its own, with buckets ``maps`` and ``aerial``."""
    pytest.importorskip("s3fs")
    server_of = pytest.importorskip("moto.server")
    import fsspec

    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret-example",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        remote._store.cache_clear()
        store = fsspec.filesystem("s3", skip_instance_cache=True)
        for bucket in ("maps", "aerial"):
            store.mkdir(bucket)
        yield store
        remote._store.cache_clear()
    server.stop()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def converted(source: object, out: object, tiny: Path, cluster: str, **options: Any) -> Summary:
    return pix2pix_batch.convert(
        str(source), str(out), model=str(tiny), precision="fp32", scheduler=cluster, **options
    )


def counts(summary: Summary) -> tuple[int, int, int]:
    assert summary.fatal == "", summary
    return summary.converted, summary.skipped, summary.failed


def fill(store: Any, prefix: str, *names: str) -> None:
    for seed, name in enumerate(names):
        store.pipe_file(f"{prefix}/{name}", encoded("JPEG", seed=seed))


# S3


def test_from_disk_to_s3_by_the_command(
    tmp_path: Path, tiny: Path, s3: Any, state: Path, in_process: str
) -> None:
    for seed, name in enumerate(("a.jpg", "deep/b.jpg", "deep/c d.jpg")):
        put(tmp_path / "in" / name, seed=seed)
    ran = convert(tmp_path / "in", "s3://aerial/command", tiny)
    assert (ran.code, *ran.counts()) == (0, 3, 0, 0), ran.err
    assert f"the journal is in {state}" in ran.err
    assert counts(converted(tmp_path / "in", tmp_path / "out", tiny, in_process)) == (3, 0, 0)
    assert {name: s3.cat_file(f"aerial/command/{name}") for name in digests(tmp_path / "out")} == {
        name: (tmp_path / "out" / name).read_bytes() for name in digests(tmp_path / "out")
    }
    assert sorted(s3.find("aerial/command")) == [
        f"aerial/command/{name}" for name in sorted([*digests(tmp_path / "out"), "report.html"])
    ]
    assert "report: s3://aerial/command/report.html" in ran.err.splitlines()
    told = here("status", "s3://aerial/command")
    assert told.code == 0, told.err
    assert "3 of 3 done" in told.out
    ran = convert(tmp_path / "in", "s3://aerial/command", tiny)
    assert (ran.code, *ran.counts()) == (0, 0, 3, 0), ran.err
    for path in state.rglob("*"):
        assert path.is_dir() or b"secret-example" not in path.read_bytes()


def test_from_s3_to_s3(tiny: Path, s3: Any, in_process: str) -> None:
    fill(s3, "maps/tree", "a.jpg", "x/b.jpg", "x/y/c.jpg")
    s3.pipe_file("maps/tree/notes.txt", b"no image")
    s3.pipe_file("maps/tree/x/broken.png", b"no image")
    s3.pipe_file("maps/tree/empty.png", b"")
    first = converted("s3://maps/tree", "s3://aerial/tree", tiny, in_process)
    assert counts(first) == (3, 0, 2)
    assert first.ignored == 1
    assert sorted(s3.find("aerial/tree")) == [
        f"aerial/tree/{name}" for name in ("a.png", "report.html", "x/b.png", "x/y/c.png")
    ]
    with Image.open(io.BytesIO(s3.cat_file("aerial/tree/a.png"))) as image:
        assert image.size == (64, 64)

    again = converted("s3://maps/tree/", "s3://aerial/tree/", tiny, in_process)
    assert counts(again) == (0, 3, 0)
    assert again.failed_before == 2

    s3.pipe_file("maps/tree/a.jpg", encoded("JPEG", seed=9))  # of another ETag
    s3.rm_file("aerial/tree/x/b.png")
    before = s3.info("aerial/tree/x/y/c.png")["LastModified"]
    third = converted("s3://maps/tree", "s3://aerial/tree", tiny, in_process)
    assert counts(third) == (2, 1, 0)
    assert s3.exists("aerial/tree/x/b.png")
    assert s3.info("aerial/tree/x/y/c.png")["LastModified"] == before


def test_a_glob_on_s3(tiny: Path, s3: Any, in_process: str, tmp_path: Path) -> None:
    fill(s3, "maps/glob", "a.jpg", "b.jpeg", "x/c.jpg", "x/d.gif")
    summary = converted("s3://maps/glob/**/*.jpg", tmp_path / "out", tiny, in_process)
    assert counts(summary) == (2, 0, 0)
    assert set(digests_of_images(tmp_path / "out")) == {"a.png", "x/c.png"}


def digests_of_images(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*.png")
        if ".pix2pix-batch" not in path.parts
    }


def test_what_is_not_the_jobs_is_not_replaced_on_s3(tiny: Path, s3: Any, in_process: str) -> None:
    fill(s3, "maps/theirs", "a.jpg", "b.jpg")
    s3.pipe_file("aerial/theirs/a.png", b"somebody's")
    summary = converted("s3://maps/theirs", "s3://aerial/theirs", tiny, in_process)
    assert counts(summary) == (1, 0, 1)
    assert "exists and is not this job's" in summary.failures[0].reason
    assert s3.cat_file("aerial/theirs/a.png") == b"somebody's"


def test_the_report_lies_beside_the_outputs_on_s3(
    tmp_path: Path, tiny: Path, s3: Any, in_process: str
) -> None:
    put(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    summary = converted(tmp_path / "in", "s3://aerial/told", tiny, in_process)
    assert summary.page == "s3://aerial/told/report.html"
    text = s3.cat_file("aerial/told/report.html").decode()
    assert "broken.png" in text and 'content="pix2pix-batch"' in text
    assert 'href="./' not in text, "a link to this machine"

    s3.pipe_file("aerial/told/report.html", b"somebody's")
    put(tmp_path / "in" / "b.png", seed=1)
    summary = converted(tmp_path / "in", "s3://aerial/told", tiny, in_process)
    assert (summary.converted, summary.page) == (1, "")
    assert "s3://aerial/told/report.html: is there and not of this program" in summary.note
    assert s3.cat_file("aerial/told/report.html") == b"somebody's"


def test_keys_that_no_directory_can_hold(
    tiny: Path, s3: Any, in_process: str, tmp_path: Path
) -> None:
    fill(s3, "maps/keys", "a.jpg", "../up.jpg", "/etc/x.jpg", ".pix2pix-batch/y.jpg")
    summary = converted("s3://maps/keys", tmp_path / "deep" / "out", tiny, in_process)
    assert (summary.converted, summary.failed, summary.litter) == (1, 2, 1), summary.failures
    assert not (tmp_path / "deep" / "up.png").exists()
    assert not Path("/etc/x.png").exists()


def test_a_bucket_that_is_not_there(tiny: Path, s3: Any, tmp_path: Path, in_process: str) -> None:
    put(tmp_path / "in" / "a.png")
    with pytest.raises(InputError, match=r"s3://nosuchbucket/x: no such"):
        converted("s3://nosuchbucket/x", tmp_path / "out", tiny, in_process)
    with pytest.raises(InputError, match=r"s3://nosuchbucket/x: no such bucket; make it first"):
        converted(tmp_path / "in", "s3://nosuchbucket/x", tiny, in_process)
    with pytest.raises(InputError, match=r"s3://maps/nothing-here: no such"):
        converted("s3://maps/nothing-here", tmp_path / "out", tiny, in_process)


def test_a_bucket_that_goes_ends_the_job(
    tiny: Path, s3: Any, tmp_path: Path, in_process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where nothing may be written: not one failure for each of a million images."""
    for seed in range(3):
        put(tmp_path / "in" / f"{seed}.png", seed=seed)
    s3.mkdir("shortlived")
    real = destination.require_writable
    monkeypatch.setattr(
        destination, "require_writable", lambda out: (real(out), s3.rmdir("shortlived"))
    )
    summary = converted(tmp_path / "in", "s3://shortlived/x", tiny, in_process)
    assert "s3://shortlived/x" in summary.fatal
    assert "cannot be written" in summary.fatal
    assert summary.exit_code == 3


# Lists of URLs


def test_lists_of_urls(tiny: Path, s3: Any, in_process: str, tmp_path: Path) -> None:
    """Local and remote; relative lines of a remote list are meant where it lies."""
    fill(s3, "maps/listed", "a.jpg", "x/b.jpg")
    listing = tmp_path / "list"
    listing.write_text("s3://maps/listed/a.jpg\ns3://maps/listed/x/b.jpg\ns3://maps/listed/no\n")
    out = tmp_path / "out"
    summary = converted(f"@{listing}", out, tiny, in_process)
    assert counts(summary) == (2, 0, 1)
    assert [record.name for record in summary.failures] == ["s3://maps/listed/no"]
    assert set(digests_of_images(out)) == {"maps/listed/a.png", "maps/listed/x/b.png"}
    summary = converted(f"@{listing}", out, tiny, in_process)
    assert counts(summary) == (0, 2, 1)

    put(tmp_path / "private.png")
    s3.pipe_file("maps/listed/list.txt", f"x/b.jpg\n{tmp_path}/private.png\n../../u.jpg\n".encode())
    summary = converted("@s3://maps/listed/list.txt", tmp_path / "other", tiny, in_process)
    assert counts(summary) == (1, 0, 2)
    assert set(digests_of_images(tmp_path / "other")) == {"x/b.png"}
    assert "a list from elsewhere cannot name files of this machine" in {
        record.reason for record in summary.failures
    }


# In memory


def test_memory_in_one_process(tiny: Path, in_process: str, tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    fill(store, "/in", "a.jpg", "x/b.jpg")
    summary = converted("memory://in", "memory://out", tiny, in_process)
    assert counts(summary) == (2, 0, 0)
    assert store.find("/out") == ["/out/a.png", "/out/report.html", "/out/x/b.png"]
    with pytest.raises(InputError, match="memory:// lives in one process"):
        pix2pix_batch.convert("memory://in", tmp_path / "out", model=str(tiny))
    store.store.clear()


# Tars


def pack(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size, header.mtime = len(content), 1_700_000_000
            archive.addfile(header, io.BytesIO(content))
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {
            member.name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive
        }


def samples(shard: int, count: int = 5) -> dict[str, bytes]:
    found = {}
    for number in range(count):
        key = f"{shard}/{number:04}"
        found[f"{key}.cls"] = b"%d" % number
        found[f"{key}.jpg"] = encoded("JPEG", seed=10 * shard + number)
        found[f"{key}.json"] = json.dumps({"n": number}).encode()
    return found


def shards(folder: Path) -> Path:
    pack(folder / "shards-0000.tar", samples(0))
    pack(folder / "shards-0001.tar", {**samples(1), "1/0002.jpg": b"broken"})
    pack(folder / "shards-0002.tar.gz", samples(2, 3), "w:gz")
    return folder


def test_tars_by_the_command(tmp_path: Path, tiny: Path, in_process: str) -> None:
    source, out = shards(tmp_path / "in"), tmp_path / "out"
    shared = ("--scheduler", in_process)
    ran = here(*words(source, out, tiny, *shared))
    assert ran.code == 3, ran.err
    assert ran.figures["total"] == 13
    assert ran.counts() == (12, 0, 1)
    assert sorted(path.name for path in out.glob("*.tar")) == [
        "shards-0000.tar", "shards-0001.tar", "shards-0002.tar",
    ]  # fmt: skip

    # the images are those that plain files become, the rest is the same, the order too
    plain = tmp_path / "plain"
    for name, content in samples(0).items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(content)
    assert counts(converted(plain, tmp_path / "flat", tiny, in_process)) == (5, 0, 0)
    found = unpacked(out / "shards-0000.tar")
    assert list(found) == [name.replace(".jpg", ".png") for name in samples(0)]
    for name, content in found.items():
        kept = samples(0).get(name)
        assert content == (kept or (tmp_path / "flat" / name).read_bytes())

    # the sample whose image is broken is left out as a whole
    assert not [name for name in unpacked(out / "shards-0001.tar") if "0002" in name]
    told = records(out)
    assert told["shards-0001.tar/1/0002.jpg"]["status"] == "failed"
    assert told["shards-0001.tar"]["members"] == 5
    assert len(told) == 13 + 3
    names = ("done", "failed", "tars", "total", "left", "unfinished")
    assert [here("status", out, "--json").figures[name] for name in names] == [12, 1, 3, 13, 0, 0]
    assert here("status", out).out.splitlines()[2] == "12 images of 3 tars done, 1 failed"

    # the image that failed counts as a file that failed before does
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts(), ran.figures["failed_before"]) == (3, 0, 3, 0, 1), ran.err
    assert "1 input failed before and did not change since" in ran.err
    assert told == records(out)

    # what is done is skipped, what has changed is made anew, to bytes that depend on nothing else
    before = {path.name: path.read_bytes() for path in out.glob("*.tar")}
    (out / "shards-0000.tar").unlink()
    pack(source / "shards-0001.tar", samples(1))
    ran = convert(source, out, tiny, "--workers", 2, "--batch-size", 2)
    assert (ran.code, *ran.counts()) == (0, 10, 1, 0), ran.err
    assert (out / "shards-0000.tar").read_bytes() == before["shards-0000.tar"]
    assert (out / "shards-0002.tar").read_bytes() == before["shards-0002.tar"]
    assert len(unpacked(out / "shards-0001.tar")) == 15

    assert here("status", out, "--verify").code == 0
    with (out / "shards-0000.tar").open("r+b") as file:
        file.seek(600)
        file.write(b"?")
    assert here("status", out, "--verify").code == 3
    assert "8 images of 2 tars done, 1 failed" in here("status", out).out


def test_failed_members_are_tried_again_when_asked_for(
    tmp_path: Path, tiny: Path, in_process: str
) -> None:
    """With the whole tar, which is made anew; those without failures stay."""
    source, out = shards(tmp_path / "in"), tmp_path / "out"
    assert counts(converted(source, out, tiny, in_process)) == (12, 0, 1)
    made = {path: path.read_bytes() for path in out.glob("*.tar")}
    before = {path: path.stat().st_mtime_ns for path in made}
    for more, wanted, failed_before in (
        (["--dry-run"], (0, 3, 0), 1),
        (["--dry-run", "--retry-failed"], (0, 2, 0), 0),
        (["--retry-failed"], (4, 2, 1), 0),
    ):
        ran = here(*words(source, out, tiny, "--scheduler", in_process, *more))
        figures = ran.figures
        found = tuple(figures[name] for name in ("converted", "skipped", "failed"))
        assert (found, figures["failed_before"]) == (wanted, failed_before), ran.err
        parts = ("planned", "converted", "skipped", "failed", "failed_before")
        assert figures["total"] == sum(figures[part] for part in parts)
        assert ran.code == (0 if "--dry-run" in more else 3)
    assert {path: path.read_bytes() for path in made} == made
    assert [path.name for path in made if path.stat().st_mtime_ns != before[path]] == [
        "shards-0001.tar"
    ]


def test_members_that_failed_for_no_reason_of_their_own_are_tried_again(
    tmp_path: Path, tiny: Path, in_process: str
) -> None:
    """Without being asked to, as files are: here one could not be written."""
    source, out = tmp_path / "in", tmp_path / "out"
    pack(source / "a.tar", samples(0, 2))
    (out / "a" / "0" / "0001.png").mkdir(parents=True)  # a directory where a file should be
    options = {"unpack": True, "overwrite": True}
    summary = converted(source, out, tiny, in_process, **options)
    assert counts(summary) == (1, 0, 1)
    assert summary.retriable == 1
    (out / "a" / "0" / "0001.png").rmdir()
    summary = converted(source, out, tiny, in_process, unpack=True)
    assert counts(summary) == (2, 0, 0)
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (0, 1, 0)


def test_tars_in_each_images_own_format(tmp_path: Path, tiny: Path, in_process: str) -> None:
    members = {
        "a.jpg": encoded("JPEG"),
        "b.png": encoded("PNG"),
        "c.gif": encoded("GIF"),
        "d.cls": b"1",
    }
    pack(tmp_path / "in" / "a.tar", members)
    summary = converted(tmp_path / "in", tmp_path / "out", tiny, in_process, format="same")
    assert counts(summary) == (3, 0, 0)
    found = unpacked(tmp_path / "out" / "a.tar")
    assert list(found) == ["a.jpg", "b.png", "c.png", "d.cls"]
    kinds = [Image.open(io.BytesIO(found[name])).format for name in list(found)[:3]]
    assert kinds == ["JPEG", "PNG", "PNG"]


def test_tars_unpacked(tmp_path: Path, tiny: Path, in_process: str) -> None:
    source, out = shards(tmp_path / "in"), tmp_path / "out"
    pattern = source / "shards-{0000..0001}.tar"
    summary = converted(pattern, out, tiny, in_process, unpack=True, format="jpg")
    assert counts(summary) == (9, 0, 1)
    assert sorted(os.listdir(out / "shards-0001" / "1")) == sorted(
        name[2:] for name in samples(1) if "0002" not in name
    )
    assert (out / "shards-0000" / "0" / "0003.json").read_bytes() == b'{"n": 3}'
    assert counts(converted(pattern, out, tiny, in_process, unpack=True, format="jpg")) == (0, 2, 0)
    pack(tmp_path / "none" / "a.tar", {})
    pack(tmp_path / "none" / "b.tar", {"a.jpg": b"broken"})
    for expected in ((0, 0, 1), (0, 2, 0)):  # there is no directory that could be missed
        summary = converted(tmp_path / "none", tmp_path / "o", tiny, in_process, unpack=True)
        assert counts(summary) == expected
        assert '"wrong": 0' in here("status", tmp_path / "o", "--verify", "--json").out
    pack(source / "shards-0000.tar", {**samples(0), "0/0001.jpg": b"broken"})
    summary = converted(pattern, out, tiny, in_process, unpack=True, format="jpg")
    assert (summary.converted, summary.failed) == (4, 1)
    assert summary.outdated_such == ["shards-0000/0/0001.jpg"], "made of the tar as it was"
    assert (out / "shards-0000" / "0" / "0001.jpg").exists()
    pack(source / "shards-0001.tar", {**samples(1), "IMG.HEIC": b"x"})
    summary = converted(pattern, out, tiny, in_process, unpack=True, format="jpg")
    assert (summary.converted, summary.unread) == (5, 1)
    assert summary.unread_kinds == ["in tars: 1, which go along as they are"]


def test_a_file_that_became_a_directory_and_back(
    tmp_path: Path, tiny: Path, in_process: str
) -> None:
    """What is in the way in OUT is told, and nothing of it is replaced, not even on request."""
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    assert counts(converted(source, out, tiny, in_process)) == (1, 0, 0)
    (source / "a.png").unlink()
    put(source / "a.png" / "x.png")
    summary = converted(source, out, tiny, in_process)
    assert "in OUT, a file has the name of a directory of its output" in summary.failures[0].reason
    (out / "a.png").unlink()
    assert counts(converted(source, out, tiny, in_process)) == (1, 0, 0)
    put(source / "b.png" / "x.png")
    assert counts(converted(source, out, tiny, in_process)) == (1, 1, 0)
    (source / "b.png" / "x.png").unlink()
    (source / "b.png").rmdir()
    put(source / "b.png")
    for overwrite in (False, True):
        summary = converted(source, out, tiny, in_process, overwrite=overwrite)
        told = "in OUT, a directory has the name of its output; remove what is there"
        assert told in summary.failures[0].reason
        assert (out / "b.png" / "x.png").exists()


def test_what_is_lost_of_an_unpacked_tar_is_made_again(
    tmp_path: Path, tiny: Path, in_process: str
) -> None:
    """Where an output is gone, and where a check has found one changed."""
    source, out = shards(tmp_path / "in") / "shards-0000.tar", tmp_path / "out"
    converted(source, out, tiny, in_process, unpack=True)
    made = out / "shards-0000" / "0"
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    lost, changed = made / "0001.png", made / "0002.png"
    lost.unlink()
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (5, 0, 0)
    changed.write_bytes(lost.read_bytes())
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (0, 1, 0)
    assert here("status", out, "--verify").code == 3
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (5, 0, 0)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before
    assert here("status", out, "--verify").code == 0
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (0, 1, 0)
    # the output of a member that fails now stays, and stands for no other
    pack(source, {**samples(0), "0/0002.jpg": b"broken now"})
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (4, 0, 1)
    lost.unlink()
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (4, 0, 1)
    assert lost.read_bytes() == before[lost.name]
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (0, 1, 0)
    # so does that of a member that the tar has no more, which nobody asks for any more
    pack(source, {name: data for name, data in samples(0).items() if name != "0/0003.jpg"})
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (4, 0, 0)
    past = made / "0003.png"
    assert past.exists()
    lost.unlink()
    assert counts(converted(source, out, tiny, in_process, unpack=True)) == (4, 0, 0)
    past.unlink()
    assert here("status", out, "--verify").code == 0


def test_tars_on_s3(tmp_path: Path, tiny: Path, s3: Any, in_process: str) -> None:
    for path in shards(tmp_path / "in").iterdir():
        s3.put_file(str(path), f"maps/tars/{path.name}")
    here = converted(tmp_path / "in", tmp_path / "out", tiny, in_process)
    assert counts(here) == (12, 0, 1)
    there = converted("s3://maps/tars", "s3://aerial/tars", tiny, in_process)
    assert counts(there) == (12, 0, 1)
    for path in (tmp_path / "out").glob("*.tar"):
        assert s3.cat_file(f"aerial/tars/{path.name}") == path.read_bytes()
    again = converted("s3://maps/tars/shards-{0000..0002}.tar", tmp_path / "two", tiny, in_process)
    assert (again.converted, again.failed) == (9, 2)  # the third ends in .tar.gz


def test_files_beside_an_output_go_with_it_on_s3(
    tmp_path: Path, tiny: Path, s3: Any, in_process: str
) -> None:
    source = tmp_path / "in"
    put(source / "a.png")
    world = source / "a.pgw"
    world.write_text("1\n0\n0\n-1\n0\n0\n")
    assert counts(converted(source, "s3://aerial/places", tiny, in_process)) == (1, 0, 0)
    assert s3.exists("aerial/places/a.pgw")
    world.unlink()
    put(source / "a.png", seed=5)
    assert counts(converted(source, "s3://aerial/places", tiny, in_process)) == (1, 0, 0)
    s3.invalidate_cache()
    assert s3.exists("aerial/places/a.png") and not s3.exists("aerial/places/a.pgw")


def test_tars_beside_images_are_left_alone(tmp_path: Path, tiny: Path, in_process: str) -> None:
    source = shards(tmp_path / "in")
    put(source / "a.png")
    summary = converted(source, tmp_path / "out", tiny, in_process)
    assert (counts(summary), summary.ignored) == ((1, 0, 0), 3)
    (source / "sub").mkdir()
    (source / "a.png").rename(source / "sub" / "a.png")
    told = here(*words(source, tmp_path / "tars", tiny, "--dry-run"))
    assert "1 file left alone, not tars; IN is one of tars" in told.err + told.out


def test_a_tar_that_is_cut_off_fails_alone(tmp_path: Path, tiny: Path, in_process: str) -> None:
    source = shards(tmp_path / "in")
    whole = (source / "shards-0000.tar").read_bytes()
    (source / "shards-0000.tar").write_bytes(whole[: len(whole) // 2])
    summary = converted(source, tmp_path / "out", tiny, in_process)
    assert (summary.converted, summary.failed) == (7, 2)
    assert not (tmp_path / "out" / "shards-0000.tar").exists()
    assert (
        "cut off" in {record.name: record.reason for record in summary.failures}["shards-0000.tar"]
    )


def test_links_out_of_in_are_read_only_when_told(
    tmp_path: Path, tiny: Path, in_process: str
) -> None:
    """A data set from elsewhere could have any picture of this machine copied to OUT."""
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    put(tmp_path / "private" / "me.png", seed=1)
    (source / "inside.png").symlink_to("a.png")
    (source / "out.png").symlink_to(tmp_path / "private" / "me.png")
    (source / "chain.png").symlink_to("out.png")
    (source / "folder").symlink_to(tmp_path / "private")
    for pattern in (source, source / "**" / "*.png"):
        summary = converted(pattern, out, tiny, in_process, overwrite=True)
        assert summary.converted == 2
        assert {"out.png", "chain.png"} <= {record.name for record in summary.failures}
        assert set(digests_of_images(out)) == {"a.png", "inside.png"}
    summary = converted(source, tmp_path / "all", tiny, in_process, follow_links=True)
    assert counts(summary) == (5, 0, 0)


def test_a_journal_that_is_a_link_is_refused(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / ".pix2pix-batch").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        pix2pix_batch.convert(tmp_path / "in", tmp_path / "out", model=str(tiny))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_does_not_go_with_urls_is_refused(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "a.png")
    for out, more, what in (
        (tmp_path / "out", ["--journal", "x"], "--journal is for an OUT that is a URL"),
        ("https://host/out", [], "nothing can be written to the web"),
        ("nosuch://host/out", [], "cannot be opened as a store"),
    ):
        assert what in error_of(convert(tmp_path / "in", out, tiny, *more))
