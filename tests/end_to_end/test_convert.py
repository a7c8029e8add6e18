"""``convert``: what goes in, what comes out, and what a second run does."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.command import (
    JOURNAL,
    PATIENCE,
    SHARED,
    convert,
    encoded,
    environment,
    error_of,
    everything,
    finish,
    fork,
    here,
    picture,
    put,
    records,
    visible,
    wait_for,
    words,
)
from tests.end_to_end.forked import Forked, run_script
from tests.end_to_end.harmful import preloaded, shut

pytestmark = pytest.mark.usefixtures("workers")

FIGURES = [
    "total",
    "planned",
    "converted",
    "skipped",
    "failed",
    "quarantined",
    "failed_before",
    "outdated",
    "doubtful",
    "unmeasured",
    "warned",
    "warned_before",
    "renamed",
    "ignored",
    "unread",
    "litter",
    "excluded",
    "links",
    "seconds",
    "images_per_second",
    "device",
    "backend",
    "precision",
    "model",
    "outcome",
    "fatal",
    "warnings",
    "failures",
]


def sizes(out: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for name, path in visible(out).items():
        with Image.open(path) as image:
            found[name] = image.size
    return found


def test_tree_and_second_runs(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "maps", tmp_path / "aerial"
    put(source / "a.png")
    put(source / "east" / "b.jpg", size=(100, 70))
    put(source / "east" / "deep down" / "c.webp", size=(63, 65))
    put(source / "east" / "twin.jpg")
    put(source / "east" / "twin.gif", seed=1)
    put(source / "dot.BMP", size=(1, 1))
    put(source / "line.tif", size=(20000, 3))
    (source / "notes.txt").write_text("no image")
    (source / "empty").mkdir()
    broken = source / "broken.png"
    broken.touch()
    before = everything(source)

    ran = convert(source, out, tiny)
    assert ran.code == 3, ran.err
    assert list(ran.figures) == FIGURES
    assert ran.counts() == (7, 0, 1)
    assert ran.figures["seconds"] > 0
    assert ran.figures["images_per_second"] > 0
    ran_on = [ran.figures[name] for name in ("device", "backend", "precision", "model")]
    assert ran_on == ["cpu", "torch", "fp32", "tiny"]
    assert "tiny on cpu (torch, fp32)" in ran.err
    journal = (out / ".pix2pix-batch" / "journal.jsonl").read_text().splitlines()
    assert json.loads(journal[0])["backend"] == "torch"
    assert [ran.figures[name] for name in ("planned", "renamed", "ignored")] == [0, 2, 1]
    assert ran.figures["failures"] == [{"name": "broken.png", "reason": "the file is empty"}]
    assert "broken.png: the file is empty" in ran.err
    assert "The next run leaves them alone while they do not change" in ran.err
    assert everything(source) == before
    assert sizes(out) == {
        "a.png": (64, 64),
        "east/b.png": (100, 70),
        "east/deep down/c.png": (63, 65),
        "east/twin.jpg.png": (64, 64),
        "east/twin.gif.png": (64, 64),
        "dot.png": (1, 1),
        "line.png": (20000, 3),
    }
    assert len({path.read_bytes() for path in visible(out).values()}) == 7

    # What is done and looks unchanged is not even opened; what changed or failed is done again.
    unchanged = source / "a.png"
    times = unchanged.stat().st_mtime_ns
    unchanged.write_bytes(b"x" * unchanged.stat().st_size)
    os.utime(unchanged, ns=(times, times))
    touched = source / "east" / "b.jpg"
    os.utime(touched, ns=(times, times + 1_000_000_007))
    put(broken, seed=2)
    made = everything(out)
    ran = convert(source, out, tiny)
    assert ran.code == 0, ran.err
    assert ran.counts() == (2, 6, 0)
    again = everything(out)
    assert {path.name for path in again if again[path] != made.get(path)} == {
        "b.png",
        "broken.png",
        "journal.jsonl",
        "report.html",
    }

    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (0, 0, 8, 0), ran.err
    assert list(ran.figures) == FIGURES
    assert ran.figures["failures"] == []
    assert [everything(out)[path] for path in visible(out).values()] == [
        again[path] for path in visible(out).values()
    ]

    ran = convert(source, out, tiny, "--overwrite")
    assert (ran.code, *ran.counts()) == (3, 7, 0, 1), ran.err
    assert records(out)["a.png"]["reason"].startswith("not an image")


def test_missing_outputs_are_made_again(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    put(source / "b.png")
    convert(source, out, tiny)
    (out / "a.png").unlink()
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (0, 1, 1, 0), ran.err
    assert set(visible(out)) == {"a.png", "b.png"}


def test_files_of_others_are_kept_until_overwrite(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    put(source / "b.png")
    out.mkdir()
    (out / "a.png").write_bytes(b"precious")
    for counts in ((1, 0, 1), (0, 1, 1)):
        ran = convert(source, out, tiny)
        assert (ran.code, *ran.counts()) == (3, *counts), ran.err
        assert (out / "a.png").read_bytes() == b"precious"
        assert "a.png: its output exists" in ran.err
        assert "--overwrite" in ran.err
        assert "--overwrite" in records(out)["a.png"]["reason"]
    ran = convert(source, out, tiny, "--overwrite")
    assert (ran.code, *ran.counts()) == (0, 2, 0, 0), ran.err
    assert set(visible(out)) == {"a.png", "b.png"}


def test_another_job_in_the_same_out_is_refused(tmp_path: Path, tiny: Path, noisy: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    assert convert(source, out, tiny, "--format", "jpg").code == 0
    before = everything(out)
    for model, options, named in (
        (noisy, ["--format", "jpg"], "model"),
        (tiny, ["--format", "webp"], "format"),
        (tiny, ["--format", "jpg", "--fit", "resize"], "fit"),
        (tiny, ["--format", "jpg", "--quality", "30"], "quality"),
    ):
        ran = convert(source, out, model, *options)
        assert ran.code == 2, ran.err
        message = error_of(ran)
        assert str(out) in message
        assert named in message.replace(str(out), "")
        assert "--overwrite" in message
    assert everything(out) == before
    ran = convert(source, out, tiny, "--format", "webp", "--overwrite")
    assert (ran.code, *ran.counts()) == (0, 1, 0, 0), ran.err
    assert (out / "a.webp").exists()


def test_overwriting_that_is_refused_costs_nothing(tmp_path: Path, tiny: Path) -> None:
    """The next run still knows what is done."""
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "b.png"):
        put(source / name)
    assert convert(source, out, tiny).counts() == (2, 0, 0)
    (source / "nowhere.png").symlink_to("absent.png")
    before = {path: data for path, (_, _, data) in everything(out).items()}
    refused = ["--overwrite", "--device", "cpu", "--precision", "fp16"]
    ran = convert(source, out, tiny, *refused)
    assert (ran.code, "fp16 runs on GPUs only" in error_of(ran)) == (2, True)
    assert {path: data for path, (_, _, data) in everything(out).items()} == before
    assert list((out / ".pix2pix-batch" / "tmp").iterdir()) == []
    ran = convert(source, out, tiny, "--workers", 1)
    assert (ran.code, *ran.counts()) == (3, 0, 2, 1), ran.err

    # where all is refused one by one, the run has been, and so its journal is the journal
    for name in ("a.png", "b.png"):
        (source / name).unlink()
    ran = convert(source, out, tiny, "--workers", 1, "--overwrite")
    assert (ran.code, *ran.counts()) == (3, 0, 0, 1), ran.err
    assert list(records(out)) == ["nowhere.png"]


def test_overwriting_that_is_stopped_before_it_begins_costs_nothing(
    tmp_path: Path, tiny: Path
) -> None:
    source, out, gate = tmp_path / "in", tmp_path / "out", shut(tmp_path / "gate")
    put(source / "a.png")
    assert convert(source, out, tiny).code == 0
    before = (out / JOURNAL).read_bytes()
    environs = preloaded(gate, [source / "a.png"])
    process = fork(*words(source, out, tiny, "--overwrite"), **environs)
    wait_for(lambda: any(out.glob(".pix2pix-batch/running/*/*/probe")), process)
    process.send_signal(signal.SIGINT)
    gate.unlink()
    assert finish(process).code == 130
    assert (out / JOURNAL).read_bytes() == before
    ran = convert(source, out, tiny)
    assert (ran.code, *ran.counts()) == (0, 0, 1, 0), ran.err


def test_another_precision_is_refused_also_where_all_is_done(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    put(source / "a.png")
    assert convert(source, out, tiny).code == 0
    before = everything(out)
    ran = convert(source, out, tiny, "--precision", "bf16")
    assert (ran.code, "was begun with --precision fp32; go on with it" in error_of(ran)) == (
        2,
        True,
    )
    assert everything(out) == before
    ran = convert(source, out, tiny, "--precision", "auto")
    assert (ran.code, *ran.counts()) == (0, 0, 1, 0), ran.err


def test_datasets_and_outputs_of_convert_keep_apart(
    tmp_path: Path, tiny: Path, noisy: Path
) -> None:
    source = tmp_path / "in"
    for seed in range(2):
        put(source / f"{seed}.png", seed=seed)
    made, dataset, begun = (tmp_path / name for name in ("made", "dataset", "begun"))
    assert convert(source, made, tiny).code == 0
    synthesize = ["synthesize", source, "--model", noisy, "--scheduler", SHARED[0]]
    synthesize += ["--precision", "fp32"]
    assert here(*synthesize, dataset, "--variants", 1).code == 0
    (begun / ".pix2pix-batch").mkdir(parents=True)
    first = (dataset / JOURNAL).read_text().splitlines(keepends=True)[0]
    (begun / JOURNAL).write_text(first)
    before = everything(tmp_path)
    for out in (dataset, begun):
        for more in ([], ["--overwrite"], ["--dry-run"]):
            ran = convert(source, out, noisy, *more)
            assert (ran.code, error_of(ran)) == (
                2,
                f"error: {out}: holds a dataset of 'pix2pix-batch synthesize', finished or not; "
                "choose another OUT, or go on with it by the command that began it",
            )
    for more in ([], ["--overwrite"]):
        ran = here(*synthesize, made, "--variants", 1, *more)
        assert (ran.code, error_of(ran)) == (
            2,
            f"error: {made}: holds images of 'pix2pix-batch convert'; choose another OUT for the "
            "dataset",
        )
    kept = {path: data for path, (_, _, data) in before.items()}
    now = {path: data for path, (_, _, data) in everything(tmp_path).items()}
    assert {path: now[path] for path in kept} == kept
    assert {path.name for path in now.keys() - kept.keys()} <= {"lock"}


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    source = tmp_path / "in"
    put(source / "plain.png")
    put(source / "wide.JPEG", size=(130, 40))
    put(source / "fine.WebP", size=(64, 64))
    put(source / "old.gif")
    put(source / "deep.tiff", size=(65, 64))
    see_through = picture()
    see_through.putalpha(Image.linear_gradient("L").resize((64, 64)))
    see_through.save(source / "alpha.png")
    turned = picture(64, 100)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(source / "turned.jpg", exif=exif)
    return source


def modes(out: Path) -> dict[str, tuple[str | None, str, tuple[int, int]]]:
    found = {}
    for name, path in visible(out).items():
        with Image.open(path) as image:
            found[name] = (image.format, image.mode, image.size)
    return found


def test_jpeg_of_a_quality_resized(tmp_path: Path, kinds: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    ran = convert(kinds, out, tiny, "--format", "jpg", "--quality", "30", "--fit", "resize")
    assert (ran.code, *ran.counts()) == (0, 7, 0, 0), ran.err
    assert modes(out) == {
        "plain.jpg": ("JPEG", "RGB", (64, 64)),
        "wide.jpg": ("JPEG", "RGB", (130, 40)),
        "fine.jpg": ("JPEG", "RGB", (64, 64)),
        "old.jpg": ("JPEG", "RGB", (64, 64)),
        "deep.jpg": ("JPEG", "RGB", (65, 64)),
        "alpha.jpg": ("JPEG", "RGB", (64, 64)),
        "turned.jpg": ("JPEG", "RGB", (100, 64)),
    }
    picture().save(tmp_path / "thirty.jpg", quality=30)
    with Image.open(tmp_path / "thirty.jpg") as thirty, Image.open(out / "plain.jpg") as made:
        assert made.quantization == thirty.quantization


def test_lossless_webp_in_tiles(tmp_path: Path, kinds: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    ran = convert(kinds, out, tiny, "--format", "webp", "--quality", "100", "--fit", "tile")
    assert (ran.code, *ran.counts()) == (0, 7, 0, 0), ran.err
    found = modes(out)
    assert found["alpha.webp"] == ("WEBP", "RGBA", (64, 64))
    assert found["turned.webp"] == ("WEBP", "RGB", (100, 64))
    assert found["wide.webp"] == ("WEBP", "RGB", (130, 40))
    assert b"VP8L" in (out / "plain.webp").read_bytes()[:32]


def test_tiff_of_exactly_the_models_size(tmp_path: Path, kinds: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    ran = convert(kinds, out, tiny, "--format", "tiff", "--fit", "exact")
    assert (ran.code, *ran.counts()) == (3, 4, 0, 3), ran.err
    assert modes(out) == {
        "plain.tif": ("TIFF", "RGB", (64, 64)),
        "fine.tif": ("TIFF", "RGB", (64, 64)),
        "old.tif": ("TIFF", "RGB", (64, 64)),
        "alpha.tif": ("TIFF", "RGBA", (64, 64)),
    }
    for name, size in (("wide.JPEG", "130x40"), ("deep.tiff", "65x64"), ("turned.jpg", "100x64")):
        reason = records(out)[name]["reason"]
        assert size in reason
        assert "64x64" in reason
        assert "--fit" in reason


def test_same_format_as_each_input(tmp_path: Path, kinds: Path, tiny: Path) -> None:
    out = tmp_path / "out"
    ran = convert(kinds, out, tiny, "--format", "same")
    assert (ran.code, *ran.counts()) == (0, 7, 0, 0), ran.err
    assert {name: kind for name, (kind, _, _) in modes(out).items()} == {
        "plain.png": "PNG",
        "wide.JPEG": "JPEG",
        "fine.WebP": "WEBP",
        "old.png": "PNG",
        "deep.tiff": "TIFF",
        "alpha.png": "PNG",
        "turned.jpg": "JPEG",
    }


def test_list_on_standard_input_and_limit(tmp_path: Path, tiny: Path) -> None:
    names = [put(tmp_path / "in" / f"{number}.png", seed=number).name for number in range(4)]
    listed = "".join(f"{name}\n" for name in [*reversed(names), names[0], "absent.png", ""])
    out = tmp_path / "out"

    def go(*more: str) -> tuple[int, ...]:
        ran = convert("-", out, tiny, *more, stdin=listed.encode(), cwd=tmp_path / "in")
        return ran.code, *ran.counts()

    assert go("--limit", "2") == (0, 2, 0, 0)
    assert set(visible(out)) == {"3.png", "2.png"}
    assert go("--workers", "1") == (3, 2, 2, 1)
    assert set(visible(out)) == set(names)
    assert "No such file" in records(out)["absent.png"]["reason"]


def test_one_image_into_a_directory_beside_it(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "a.png")
    put(tmp_path / "b.png")
    for source, count in (("a.png", 1), ("*.png", 2)):
        ran = here("convert", source, "out", "--model", tiny, "--dry-run", cwd=tmp_path)
        assert ran.code == 0, ran.err
        assert len(ran.out.splitlines()) == count


def test_renamed_outputs_and_files_left_alone_are_named(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for stem in ("a", "sub/b"):
        put(source / f"{stem}.png")
        put(source / f"{stem}.jpg")
    (source / "a.gif").touch()
    (source / "a.bmp").write_bytes(b"none")
    for number in range(5):
        (source / f"{number}\n.txt").touch()
    (source / "sub" / "c.tar.gz").touch()
    ran = convert(source, out, tiny)
    assert (ran.code, ran.figures["renamed"], ran.figures["ignored"]) == (3, 4, 6), ran.err
    assert ran.figures["failed"] == 2
    lines = ran.err.splitlines()
    at = lines.index("4 outputs renamed, for the names would clash or be too long:")
    assert lines[at + 1 : at + 4] == [
        "  a.jpg -> a.jpg.png",
        "  a.png -> a.png.png",
        "  sub/b.jpg -> sub/b.jpg.png",
    ]
    assert lines[at + 4].startswith("  ... and 1 more; the journal has each output: ")
    assert records(out)["sub/b.png"]["output"] == "sub/b.png.png"
    at = lines.index("5 files left alone, no image suffix:")
    assert lines[at + 1 : at + 5] == [*(f"  {n}\\n.txt" for n in range(3)), "  ... and 2 more"]
    assert lines[at + 5 : at + 7] == [
        "1 tar left alone; give tars as IN ('IN/*.tar') to have what they hold:",
        "  sub/c.tar.gz",
    ]


def test_a_pipe_is_told_where_the_job_ended(tmp_path: Path, tiny: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(30):
        put(source / f"{number:02}.png", seed=number)
    (source / "bad.png").touch()
    ran = convert(source, out, tiny)
    assert ran.counts() == (30, 0, 1)
    assert "31 of 31 (100 %) | 1 failed" in ran.err.splitlines()
    put(source / "bad.png")
    ran = convert("-", out, tiny, stdin=f"{source}/bad.png\n".encode())
    assert ran.code == 2, "another input: another job"
    ran = convert(source, out, tiny)
    assert "31 of 31 (100 %) | 30 done before" in ran.err.splitlines()
    ran = convert("-", tmp_path / "new", tiny, stdin=f"{source}/bad.png\n".encode())
    assert "1 of 1 (100 %)" in ran.err.splitlines()


def test_what_cannot_be_found_needs_no_workers(tmp_path: Path, tiny: Path) -> None:
    """It is told at once: with no cluster, which could not even start here."""
    out = tmp_path / "out"
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "distributed.py").write_text("raise ImportError('not here')\n")
    path = f"{tmp_path / 'fake'}{os.pathsep}{environment()['PYTHONPATH']}"
    listed = "".join(f"wrong/{number}.png\n" for number in range(120))
    without_dask = environment(PYTHONPATH=path)
    ran = convert("-", out, tiny, stdin=listed.encode(), cwd=tmp_path, env=without_dask)
    assert (ran.code, *ran.counts()) == (3, 0, 0, 120), ran.err
    assert f"none of the listed files can be found; relative paths are taken from {tmp_path}" in (
        ran.err
    )
    failures = ran.figures["failures"]
    assert [failure["name"] for failure in failures] == [f"wrong/{n}.png" for n in range(100)]
    assert {failure["reason"] for failure in failures} == {
        "cannot be read (No such file or directory)"
    }
    assert "and 110 more" in ran.err
    assert len(records(out)) == 120
    put(tmp_path / "right" / "a.png")
    listed = f"wrong/0.png\nright/a.png\n{listed}"
    ran = convert("-", out, tiny, "--workers", 1, stdin=listed.encode(), cwd=tmp_path)
    assert (ran.code, *ran.counts()) == (3, 1, 0, 120), ran.err
    assert "none of the listed" not in ran.err
    assert "1 file left alone, listed before" in ran.err


def test_links(tmp_path: Path, tiny: Path) -> None:
    """Links in IN that loop, lead elsewhere or nowhere; links in OUT that lead outside."""
    source, out, outside = tmp_path / "in", tmp_path / "out", tmp_path / "outside"
    put(source / "a.png")
    put(source / "linked" / "b.png")
    put(source / "linked" / "deep" / "c.png")
    put(tmp_path / "elsewhere" / "d.png")
    (source / "loop").symlink_to(source)
    (source / "other").symlink_to(tmp_path / "elsewhere")
    (source / "e.png").symlink_to(tmp_path / "elsewhere" / "d.png")
    (source / "f.png").symlink_to("a.png")
    (source / "nowhere.png").symlink_to(tmp_path / "absent.png")
    (source / "itself.png").symlink_to(source / "itself.png")
    outside.mkdir()
    out.mkdir()
    (out / "linked").symlink_to(outside)

    ran = convert(source, out, tiny, "--workers", 1)
    assert ran.code == 3, ran.err
    assert "2 links to directories" in ran.err and ran.figures["links"] == 2
    assert "not followed (see --follow-links)" in ran.err
    found = records(out)
    assert {name for name, record in found.items() if record["status"] == "done"} == {
        "a.png",
        "f.png",
    }
    assert "leads out of the input" in found["e.png"]["reason"]
    assert "outside OUT" in found["linked/b.png"]["reason"]
    assert "outside OUT" in found["linked/deep/c.png"]["reason"]
    assert "is a link to" in found["nowhere.png"]["reason"]
    assert "leads in a circle" in found["itself.png"]["reason"]
    assert list(outside.iterdir()) == []

    ran = here("convert", source, tmp_path / "x", "--model", tiny, "--dry-run", "--follow-links")
    assert ran.code == 0, ran.err
    assert sorted(line.split(" -> ")[1] for line in ran.out.splitlines()) == [
        str(tmp_path / "x" / name)
        for name in (
            "a.png",
            "e.png",
            "f.png",
            "linked/b.png",
            "linked/deep/c.png",
            "other/d.png",
        )
    ]


SCRIPT = """
import sys
import pix2pix_batch

if __name__ == "__main__":
    seen = []
    options = {"model": sys.argv[3], "workers": 1, "precision": "fp32"}
    first = pix2pix_batch.convert(sys.argv[1], sys.argv[2], watch=seen.append, **options)
    assert (first.total, first.converted, first.failed) == (2, 1, 1), first
    assert first.failures[0].name == "bad.png" and "empty" in first.failures[0].reason
    assert first.model == "tiny" and first.device == "cpu"
    assert seen and seen[-1].workers == 1
    try:
        pix2pix_batch.convert(sys.argv[1], sys.argv[2], fit="resize", **options)
    except ValueError as error:
        assert "fit" in str(error)
    else:
        raise AssertionError("another job was let in")
    print("done")
"""


def test_from_python(tmp_path: Path, tiny: Path) -> None:
    put(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "bad.png").write_bytes(b"")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    given = [str(place) for place in (script, tmp_path / "in", tmp_path / "out", tiny)]
    process = Forked(given, environment(), str(tmp_path), program=run_script)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, b"done\n"), err.decode()
    assert visible(tmp_path / "out").keys() == {"good.png"}


def test_names_that_terminals_and_encodings_trip_over(tmp_path: Path, tiny: Path) -> None:
    source, out = os.fsencode(tmp_path / "in"), tmp_path / "out"
    os.mkdir(source)
    names = [
        b"with space.png",
        b"'quoted' \"twice\".png",
        b"new\nline.png",
        b"\xff\xfe not utf-8.png",
        "Köln \N{BICYCLE}.png".encode(),
        b"-dash.png",
        b"\x1b[31mred.png",
        b"*.png",
        b"back\\slash.png",
    ]
    for name in names:
        with open(os.path.join(source, name), "wb") as file:
            file.write(encoded())
    with open(os.path.join(source, b"bad \xff\n\x1b[31m.png"), "wb"):
        pass
    for counts in ((len(names), 0, 1), (0, len(names), 1)):
        ran = convert(source, out, tiny, "--retry-failed")
        assert (ran.code, *ran.counts()) == (3, *counts), ran.err
        assert {os.fsencode(name) for name in visible(out)} == set(names)
        assert "bad \\udcff\\n\\x1b[31m.png: the file is empty" in ran.err
        assert "\x1b" not in ran.err
