"""``OUT/report.html``: what is on it, whatever the names are and whatever is gone since."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image, ImageOps

from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.record import SCHEMA, Record, to_line
from pix2pix_batch.reporting import html_page
from pix2pix_batch.storage.common import DIRECTORY, stamp
from tests.end_to_end.command import picture

HOSTILE = [
    "<script>alert(1).png",
    "<img src=x onerror=alert(1)>.png",
    "\" onload='x' .png",
    "a&amp;b #1?x=%41.png",
    "caf\udce9.png",
    "new\nline.png",
    "\u202egnp.exe.png",
    "{{ 7 * 7 }}{% raw %}.png",
    "javascript:alert(1).png",
]


class Job:
    """A made-up job of pictures that exist, and its journal."""

    def __init__(self, folder: Path, root: str | None = None) -> None:
        self.source, self.out = folder / "in", folder / "out"
        (self.out / DIRECTORY / "tmp").mkdir(parents=True)
        self.source.mkdir()
        given = str(self.source.resolve()) if root is None else root
        self.lines = [to_line({"schema": SCHEMA, "input": given, "model_name": "tiny"})]

    def done(self, name: str, distance: float | None = None, **options: Any) -> None:
        image = picture(**{"seed": len(self.lines), **options})
        for path, shown in ((self.source / name, image), (self.out / name, ImageOps.invert(image))):
            path.parent.mkdir(parents=True, exist_ok=True)
            shown.save(path, "PNG")
        mark = stamp(os.stat(self.source / name))
        self.add(Record(name, "done", mark, name, distance=distance))

    def add(self, record: Record) -> None:
        self.lines.append(record.line())

    def tell(self, **values: Any) -> None:
        self.lines.append(to_line(values))

    def write(self) -> str:
        (self.out / DIRECTORY / "journal.jsonl").write_bytes(b"".join(self.lines))
        path = html_page.write(self.out)
        assert path == self.out / "report.html"
        return path.read_text(encoding="utf-8")


class Parsed(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.attributes |= set(values)
        if tag == "a":
            self.links.append(values["href"] or "")
        if "src" in values:
            self.loads.append(values["src"] or "")

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["script"], ["style"]):
            self.words += data

    def pictures(self) -> list[Image.Image]:
        prefix = "data:image/webp;base64,"
        assert all(load.startswith(prefix) for load in self.loads)
        return [
            Image.open(io.BytesIO(base64.b64decode(load.removeprefix(prefix))))
            for load in self.loads
        ]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_it_shows_inputs_and_outputs(job: Job) -> None:
    job.done("a/one.png")
    job.done("b/two.png", width=640, height=320)
    parsed = Parsed(job.write())
    after, before, _, large = parsed.pictures()
    assert before.size == (64, 64) and large.size == (320, 160)
    expected = np.asarray(Image.open(job.source / "a/one.png"), int)
    assert np.abs(np.asarray(before.convert("RGB"), int) - expected).mean() < 8
    assert np.abs(np.asarray(after.convert("RGB"), int) - (255 - expected)).mean() < 8
    assert "a/one.png" in parsed.words and "2converted" in parsed.words
    assert "Made by tiny" in parsed.words


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_only_names(job: Job, name: str) -> None:
    plain = Job(job.out.parent / "plain")
    for one, called in ((job, name), (plain, "plain.png")):
        one.done(called, 99.5)
        one.add(Record(f"x/{called}", "failed", reason=f"damaged <b>{called}</b>"))
    parsed, usual = Parsed(job.write()), Parsed(plain.write())
    assert parsed.tags == usual.tags
    assert parsed.attributes == usual.attributes
    assert "49" not in parsed.words.replace(name, "")


@pytest.mark.parametrize("name", HOSTILE)
def test_links_lead_to_the_files(job: Job, name: str) -> None:
    job.done(name)
    (job.source / f"bad{name}").write_bytes(b"none")
    job.add(Record(f"bad{name}", "failed", reason="damaged"))
    links = Parsed(job.write()).links
    assert len(links) == 4  # the last is the journal's
    found = []
    for link in links:
        assert link.startswith("./") and not set("?#: \"'<>") & set(link)
        found.append(os.path.normpath(os.path.join(os.fsencode(job.out), unquote_to_bytes(link))))
    expected = [job.source / name, job.out / name, job.source / f"bad{name}", job.out / DIRECTORY]
    assert found == [os.fsencode(path) for path in expected]


def test_it_needs_nothing_else(job: Job) -> None:
    job.done("a.png", 5.0)
    text = job.write()
    assert "://" not in text and "@import" not in text and "url(" not in text
    assert text.count("<script") == 1 and " onclick" not in text
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; img-src data:;")
    assert "script-src 'sha256-" in policy[1]


def test_what_is_gone_is_said(job: Job) -> None:
    for name in ("a.png", "b.png", "c.png", "d.png"):
        job.done(name)
    (job.source / "a.png").unlink()
    (job.out / "b.png").unlink()
    (job.out / "c.png").write_bytes(b"no image")
    (job.source / "d.png").unlink()
    (job.source / "d.png").mkdir()
    parsed = Parsed(job.write())
    assert len(parsed.loads) == 4
    for words in ("input: gone since", "output: gone since", "output: not an image"):
        assert parsed.words.count(words) == 1
    assert parsed.words.count("input: ") == 2  # whatever the system says of a directory


def test_what_lies_in_a_tar_is_said(job: Job) -> None:
    (job.source / "a.tar").write_bytes(b"")
    job.add(Record("a.tar/1.png", "done", "1:1"))
    job.add(Record("a.tar", "done", "1:1", "a.tar", members=1))
    parsed = Parsed(job.write())
    assert parsed.loads == [] and "1converted" in parsed.words
    assert parsed.words.count("lies in a tar; not unpacked for this page") == 1


def test_what_lies_behind_a_url_is_not_fetched(tmp_path: Path) -> None:
    job = Job(tmp_path, root="https://user:secret@example.org/maps?sig=secret")
    job.done("a.png")
    (job.out / DIRECTORY / "journal.jsonl").write_bytes(b"".join(job.lines))
    text = html_page.write(job.out, "s3://key:secret@bucket/aerial").read_text()
    parsed = Parsed(text)
    assert parsed.loads == [] and "lies behind a URL; not fetched for this page" in parsed.words
    assert "s3://bucket/aerial" in parsed.words
    assert "secret" not in text


def test_an_input_that_is_gone_entirely(job: Job) -> None:
    job.done("a.png")
    shutil.rmtree(job.source)
    assert "gone since" in job.write()


def test_inputs_of_a_list_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal has their names without what they are relative to; the stamp tells which."""
    monkeypatch.chdir(tmp_path)
    job = Job(tmp_path, root="list")
    absolute = str(tmp_path / "in" / "abs.png")
    job.done("abs.png")
    job.done("rel.png")
    job.lines = job.lines[:1]
    for name in (absolute.lstrip("/"), "in/rel.png"):
        mark = stamp(os.stat(f"/{name}" if name != "in/rel.png" else name))
        job.add(Record(name, "done", mark, os.path.basename(name)))
    parsed = Parsed(job.write())
    assert len(parsed.loads) == 4 and "gone since" not in parsed.words


def test_failures_stand_by_reason(job: Job) -> None:
    for n in range(30):
        job.add(Record(f"torn{n}.png", "failed", "1:1", reason=f"damaged: {n} bytes missing"))
    job.add(Record("killer.png", "quarantined", "1:1", reason="its worker died 3 times"))
    words = " ".join(Parsed(job.write()).words.split())
    assert "30 failed: damaged: N bytes missing" in words
    assert "... and 10 more; the journal has all" in words
    assert "1 quarantined: its worker died 3 times killer.png" in words
    assert "30failed" in words and "1quarantined" in words
    assert "Nothing was converted." in words


def test_inputs_that_are_gone_do_not_count(job: Job) -> None:
    job.done("a.png")
    job.done("left.png")
    job.add(Record("bad.png", "failed", reason="cannot be read"))
    job.tell(total=1, gone=["left.png", "bad.png"])
    text = job.write()
    words = Parsed(text).words
    assert "1converted" in words and "0failed" in words
    assert "left.png" not in text and "cannot be read" not in text


def test_a_failure_that_was_mended_is_gone(job: Job) -> None:
    job.add(Record("a.png", "failed", reason="cannot be read"))
    job.done("a.png")
    words = Parsed(job.write()).words
    assert "cannot be read" not in words and "0failed" in words


def test_the_furthest_come_first_among_the_doubtful(job: Job) -> None:
    for name, distance in (("near", 3.0), ("far", 99.2), ("further", 99.9), ("edge", 98.99)):
        job.done(f"{name}.png", distance)
    text = job.write()
    doubtful = text[text.index("Most doubtful") :]
    words = Parsed(doubtful).words
    assert "50.0 % (2 of 4)" in " ".join(words.split())
    assert 0 < words.index("further.png") < words.index("far.png")
    assert "near.png" not in words and "edge.png" not in words


def test_a_dataset_shows_its_variants(job: Job) -> None:
    """Until it is laid out; then its images have moved."""
    job.lines = [to_line({"schema": SCHEMA, "kind": "synthesize", "input": str(job.source)})]
    image = picture()
    image.save(job.source / "a.png")
    for variant in ("source", "0", "1"):
        image.save(job.out / f"{variant}.png")
        flags = {"flags": "flat"} if variant == "1" else {}
        job.add(Record(f"a.png/{variant}", "done", "1:1", f"{variant}.png", **flags))
    parsed = Parsed(job.write())
    assert len(parsed.loads) == 6 and "2made" in parsed.words and "1flagged" in parsed.words
    assert parsed.words.count("a.png, variant 0") == 1
    assert parsed.words.count("a.png, variant 1") == 2
    assert [link for link in parsed.links if "in/a.png" not in link] == ["./.pix2pix-batch/"]
    for variant in ("0", "1"):
        (job.out / f"{variant}.png").unlink()
    before = (job.out / "report.html").read_bytes()
    with pytest.raises(InputError, match="holds a finished dataset"):
        job.write()
    assert (job.out / "report.html").read_bytes() == before


def test_without_distances_nothing_is_said_of_them(job: Job) -> None:
    job.done("a.png")
    assert "doubtful" not in Parsed(job.write()).words


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"begin": 100.0}, {"end": 200.0, "outcome": "finished"}], ""),
        (
            [{"begin": 100.0}, {"end": 200.0, "outcome": "interrupted"}],
            "was interrupted or stopped",
        ),
        ([{"begin": 100.0}], "is still running, or was killed"),
        ([{"begin": 1.0}, {"begin": 2.0}, {"end": 3.0, "outcome": "finished"}], ""),
    ],
)
def test_a_job_that_has_not_ended_says_so(job: Job, lines: list[dict], said: str) -> None:
    job.done("a.png")
    for values in lines:
        job.tell(**values)
    words = Parsed(job.write()).words
    assert ("Not finished" in words) == bool(said)
    assert said in words


def test_settings_are_told_in_words(job: Job) -> None:
    more = {"batch_size": 4, "keep_exif": False, "split": {"train": 0.5, "val": 0.5}}
    job.lines = [to_line({**json.loads(job.lines[0]), **more})]
    words = Parsed(job.write()).words
    for told in ("modeltiny", "batch size4", "keep EXIFno", "splittrain 0.5, val 0.5"):
        assert told in words
    assert not any(key in words for key in ("model_name", "batch_size", "keep_exif"))


def test_the_same_job_gives_the_same_page(job: Job) -> None:
    for n in range(70):
        job.done(f"{n % 3}/{n}.png", 30.0 + n)
    job.tell(at=1e9, seconds=2.0, worker="w")
    assert job.write() == job.write()


def test_it_stays_small_whatever_the_job_is(job: Job) -> None:
    """Noise, which does not compress, and names and reasons as long as can be."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (321, 240, 3), np.uint8))
    noise.save(job.source / "noise.png")
    noise.save(job.out / "noise.png")
    long = "/".join(["<&>" * 80] * 16)
    for n in range(120):
        for folder in (job.source, job.out):
            os.link(folder / "noise.png", folder / f"{n}.png")
        job.add(Record(f"{n}.png", "done", "1:1", f"{n}.png", distance=99 + n / 200))
    for n in range(2000):
        kind = f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}"
        reason = f"{kind} {'&' * 3000}"
        job.add(Record(f"{n}{long}", "failed", reason=reason))
    text = job.write()
    assert len(text.encode()) <= html_page.LIMIT
    pictures = Parsed(text).pictures()
    assert len(pictures) == 2 * (48 + 24) and min(max(one.size) for one in pictures) >= 96


def test_very_large_images_cost_little(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pix2pix_batch.reporting.thumbnail.PIXELS", 3 * 64 * 64)
    for name in ("a.png", "b.png"):
        job.done(name)
    parsed = Parsed(job.write())
    assert len(parsed.loads) == 3
    assert parsed.words.count("too large to be shown here") == 1


def test_a_page_of_ours_is_replaced_and_no_other(job: Job) -> None:
    job.done("a.png")
    job.write()
    job.done("b.png")
    assert "b.png" in job.write()
    (job.out / "report.html").write_text("<title>my own</title>")
    with pytest.raises(InputError, match=r"report.html: is there and not of this program"):
        job.write()
    assert html_page.attempt(job.out)[1].startswith("no report: ")
    assert (job.out / "report.html").read_text() == "<title>my own</title>"


def test_there_is_no_page_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no journal"):
        html_page.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
