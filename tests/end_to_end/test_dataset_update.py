"""A dataset after its first run: brought up to date with its inputs, checked, mended, and told of
in figures that add up."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pix2pix_batch.inference.autotune import PROBE_IMAGES
from tests.end_to_end.command import (
    ROOT,
    Ran,
    convert,
    error_of,
    finish,
    fork,
    here,
    picture,
    wait_for,
    wait_until_told,
)
from tests.end_to_end.harmful import preloaded, shut
from tests.end_to_end.synthesizing import (
    manifest,
    soft,
    synthesize,
    tree,
    words,
)

LAYOUTS = ["imagefolder", "webdataset", "parquet", "side-by-side", "a-b"]
MADE = ".pix2pix-batch-made"
NEW = 30
"""Inputs, more than are in flight at once."""


pytestmark = pytest.mark.usefixtures("workers")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six soft inputs in two folders."""
    for number in range(6):
        put(tmp_path / "in" / "ab"[number % 2] / f"{number}.png", number)
    return tmp_path / "in"


def put(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soft(seed).save(path)


def images(ran: Ran) -> dict[str, int]:
    """What became of a run's images, which must add up; without what is nothing."""
    kinds = ("made", "made_before", "failed", "failed_before")
    found = {kind: ran.figures[f"images_{kind}"] for kind in kinds}
    assert sum(found.values()) == ran.figures["images_wanted"], ran.figures
    return {kind: count for kind, count in found.items() if count}


def same_as_anew(source: Path, out: Path, model: Path, *more: Any) -> bool:
    anew = out.with_name("anew")
    ran = synthesize(source, anew, model, *more)
    assert ran.code in (0, 3), ran.err
    found = tree(out) == tree(anew)
    shutil.rmtree(anew)
    return found


# Bringing it up to date


@pytest.mark.parametrize("layout", LAYOUTS)
def test_changed_inputs_make_only_what_is_missing(
    tmp_path: Path, source: Path, model: Path, layout: str
) -> None:
    out = tmp_path / "out"
    more = ("--layout", layout, "--variants", 2, "--split", "train=0.6,val=0.4")
    assert synthesize(source, out, model, *more).code == 0
    assert not (out / MADE).exists()
    put(source / "a" / "0.png", 100)
    put(source / "a" / "new.png", 101)
    put(source / "c.png", 102)
    (source / "b" / "1.png").unlink()
    ran = synthesize(source, out, model, *more)
    assert ran.code == 0, ran.err
    assert "inputs since the last time: 1 changed, 2 new, 1 gone" in ran.err
    assert ran.figures["inputs_since"] == {"changed": 1, "new": 2, "gone": 1, "relabelled": 0}
    assert images(ran) == {"made": 6, "made_before": 8}
    assert not (out / MADE).exists()
    assert same_as_anew(source, out, model, *more)
    ran = here("status", out, "--json")
    assert (ran.figures["done"], ran.figures["total"], ran.figures["left"]) == (14, 14, 0)
    ran = synthesize(source, out, model, *more)
    assert ran.figures["nothing_to_do"] and images(ran) == {"made_before": 14}
    assert ran.figures["inputs_since"] is None


def test_groups_that_change_lay_it_out_anew(tmp_path: Path, source: Path, model: Path) -> None:
    table, out = tmp_path / "groups.csv", tmp_path / "out"
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*.png"))
    more = ("--group-by", f"{table}:scene", "--split", "train=0.5,val=0.5", "--variants", 1)
    table.write_text("name,scene\n" + "".join(f"{name},{name[0]}\n" for name in names))
    assert synthesize(source, out, model, *more).code == 0
    table.write_text("name,scene\n" + "".join(f"{name},{name[2] < '3'}\n" for name in names))
    ran = synthesize(source, out, model, *more)
    assert images(ran) == {"made_before": 6}, ran.err
    assert "0 changed, 0 new, 0 gone, 6 in another group or stratum" in ran.err
    assert same_as_anew(source, out, model, *more)


def test_what_was_rejected_is_judged_anew(tmp_path: Path, source: Path, model: Path) -> None:
    """A near-duplicate is one no more when the other goes; a count is met with the new inputs."""
    out = tmp_path / "out"
    shutil.copy(source / "b" / "1.png", source / "b" / "copy.png")
    picture(64, 64, 3).save(source / "far.png")
    more = ("--target-count", 12, "--max-distance", 100, "--reject-flagged")
    ran = synthesize(source, out, model, *more)
    assert ran.code == 0, ran.err
    rejected = manifest(out)[2]
    assert {"b/copy.v0", "far.v0"} <= rejected.keys()
    assert images(ran) == {"made": len(manifest(out)[1]) + len(rejected)}
    (source / "b" / "1.png").unlink()
    put(source / "z.png", 50)
    ran = synthesize(source, out, model, *more)
    assert ran.code == 0, ran.err
    _, rows, rejected = manifest(out)
    assert len(rows) == 12 and "b/copy.v0" not in rejected and "far.v0" in rejected
    assert images(ran)["made_before"] > 0
    assert same_as_anew(source, out, model, *more)


def test_names_that_clash_are_not_mixed_up(tmp_path: Path, source: Path, model: Path) -> None:
    """``a/0.bmp`` takes the name in the dataset that ``a/0.png`` had."""
    out, more = tmp_path / "out", ("--variants", 1)
    (source / "broken.png").write_bytes(b"no image")  # so that what was made stays apart
    assert synthesize(source, out, model, *more).code == 3
    soft(60).save(source / "a" / "0.bmp")
    ran = synthesize(source, out, model, *more)
    assert ran.code == 3 and "0 changed, 1 new, 0 gone" in ran.err
    assert same_as_anew(source, out, model, *more)
    (source / "broken.png").unlink()
    ran = synthesize(source, out, model, *more)
    assert (ran.code, images(ran)) == (0, {"made_before": 7}), ran.err
    assert same_as_anew(source, out, model, *more)
    status = here("status", out, "--json").figures
    assert (status["done"], status["failed"], status["failures"]) == (7, 0, [])


@pytest.mark.parametrize("layout", ["imagefolder", "parquet"])
def test_an_update_that_is_stopped_goes_on(
    tmp_path: Path, source: Path, model: Path, layout: str
) -> None:
    out, gate = tmp_path / "out", shut(tmp_path / "gate")
    more = ("--layout", layout, "--variants", 2)
    assert synthesize(source, out, model, *more).code == 0
    before = tree(out)
    for number in range(20, 20 + NEW):
        put(source / "c" / f"{number}.png", number)
    (source / "b" / "1.png").unlink()
    # the first look takes that many images to be made, two of each input
    late = sorted((source / "c").iterdir())[PROBE_IMAGES // 2 :]
    held = preloaded(gate, late)
    one = ("--batch-size", 1, "--workers", 1)
    process = fork(*words(source, out, model, *more, *one), **held)
    wait_for(lambda: any((out / MADE).rglob("c/*.v1.png")), process)
    ran = here(*words(source, out, model, *more, *one))  # a second run meanwhile
    assert ran.code == 2 and "dataset.lock" in error_of(ran), ran.err
    assert "another run is writing there" in error_of(ran)
    os.killpg(process.pid, signal.SIGINT)
    wait_until_told(b"stopping", process)
    gate.unlink()
    ran = finish(process)
    assert ran.code == 130, ran.err
    figures = ran.figures
    assert figures["images"] == 0 and figures["splits"] is None
    assert figures["inputs_failed"] is None and figures["inputs"] == 5 + NEW
    known = figures["images_made"] + figures["images_made_before"]
    assert 10 < known < figures["images_wanted"] and figures["images_made_before"] == 10
    laid = {name: data for name, data in tree(out).items() if not name.startswith(MADE)}
    assert laid == before, "the dataset stays until the new one is whole"
    told = here("status", out).out
    assert "an unfinished dataset" in told and "left; then it lays the dataset out." in told
    ran = synthesize(source, out, model, "--layout", "a-b", "--variants", 2)
    assert ran.code == 2 and f"layout was {layout!r}, now 'a-b'" in error_of(ran)

    ran = synthesize(source, out, model, *more)
    assert ran.code == 0, ran.err
    assert f"0 changed, {NEW} new, 1 gone" in ran.err
    made = figures["images_made"]
    assert images(ran)["made_before"] == 10 + made
    assert same_as_anew(source, out, model, *more)


def test_other_settings_are_refused_and_named(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "out"
    assert synthesize(source, out, model, "--variants", 1).code == 0
    before = tree(out)
    ran = synthesize(source, out, model, "--variants", 1, "--precision", "bf16")
    assert ran.code == 2 and "was begun with --precision fp32" in error_of(ran), "nothing to make"
    ran = synthesize(source, out, model, "--variants", 1, "--precision", "auto")
    assert ran.code == 0
    put(source / "new.png", 9)
    for more, named in (
        (("--variants", 2), "variants was 1, now 2"),
        (("--variants", 1, "--reject-flagged"), "reject_flagged was False, now True"),
        (("--variants", 1, "--license", "mit"), "license was 'other', now 'mit'"),
        (("--variants", 1, "--format", "webp"), "format was 'png', now 'webp'"),
    ):
        ran = synthesize(source, out, model, *more)
        assert ran.code == 2 and "holds another dataset" in error_of(ran)
        assert named in error_of(ran)
    ran = synthesize(source, out, model, "--variants", 1, "--precision", "bf16")
    assert ran.code == 2 and "was begun with --precision fp32" in error_of(ran)
    assert tree(out) == before and not (out / MADE).exists()
    ran = synthesize(source, out, model, "--variants", 2, "--overwrite", "--precision", "fp16")
    assert ran.code == 2 and "fp16" in error_of(ran)
    assert tree(out) == before and "a finished dataset" in here("status", out).out
    assert synthesize(source, out, model, "--variants", 1).figures["images"] == 7


# Figures


def test_figures_of_runs_with_failures(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "out"
    (source / "broken.png").write_bytes(b"no image")
    (source / "gone.png").symlink_to("late")

    def told(ran: Ran) -> tuple[dict[str, int], int, int, int, int]:
        names = ("images", "inputs", "inputs_failed")
        return images(ran), *(ran.figures[name] for name in names), ran.code

    ran = synthesize(source, out, model)
    assert told(ran) == ({"made": 18, "failed": 6}, 18, 8, 2, 3)
    assert sorted(one["name"] for one in ran.figures["failures"]) == ["broken.png", "gone.png"]
    assert "18 made, 6 failed in" in ran.err and "2 inputs failed" in ran.err
    before = tree(out)
    ran = synthesize(source, out, model)  # what cannot be found may be there again
    assert told(ran) == ({"made_before": 18, "failed": 3, "failed_before": 3}, 18, 8, 2, 3)
    assert [one["name"] for one in ran.figures["failures"]] == ["gone.png"]
    assert tree(out) == before

    (source / "late").write_bytes(encoded(70))
    ran = synthesize(source, out, model)
    assert told(ran) == ({"made": 3, "made_before": 18, "failed_before": 3}, 21, 8, 1, 3)
    ran = synthesize(source, out, model)
    assert told(ran) == ({"made_before": 21, "failed_before": 3}, 21, 8, 1, 3)
    assert ran.figures["nothing_to_do"] and "nothing to do" in ran.err
    ran = synthesize(source, out, model, "--retry-failed")
    assert told(ran) == ({"made_before": 21, "failed": 3}, 21, 8, 1, 3)

    put(source / "broken.png", 71)
    ran = synthesize(source, out, model)
    assert told(ran) == ({"made": 3, "made_before": 21}, 24, 8, 0, 0)
    assert "inputs since the last time: 1 changed, 0 new, 0 gone" in ran.err
    assert not (out / MADE).exists() and same_as_anew(source, out, model)
    for page, figures in (
        ("synthesize", ran.figures),
        ("status", here("status", out, "--json").figures),
    ):
        told_of = (ROOT / "docs" / f"{page}.md").read_text()
        assert [name for name in figures if f"`{name}`" not in told_of] == []


def test_figures_of_a_count_that_takes_several_rounds(
    tmp_path: Path, source: Path, model: Path
) -> None:
    out = tmp_path / "out"
    for number in range(3):
        picture(64, 64, number).save(source / f"far{number}.png")
    (source / "broken.png").write_bytes(b"no image")
    more = ("--target-count", 20, "--max-distance", 100)
    ran = synthesize(source, out, model, *more)
    assert ran.code == 3, ran.err
    rejected = manifest(out)[2]
    assert set(Counter(rejected.values())) == {"distance"}
    assert ran.figures["rejected"] == {"distance": len(rejected)}
    assert images(ran) == {"made": 20 + len(rejected), "failed": 2}
    assert (ran.figures["inputs"], ran.figures["inputs_failed"]) == (10, 1)
    (failure,) = ran.figures["failures"]
    assert (failure["name"], failure["variants"]) == ("broken.png", 2)
    status = here("status", out, "--json").figures
    assert (status["done"], status["failed"]) == (20 + len(rejected), 2)
    ran = synthesize(source, out, model, *more)
    assert images(ran) == {"made_before": 20 + len(rejected), "failed_before": 2}


# Checking it


def rewrite_tar(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """The same tar, with members that ``change`` gives; those it gives none for are left out."""
    with tarfile.open(path) as tar:
        members = [(one, tar.extractfile(one).read()) for one in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for member, data in members:
            if (now := change(member.name, data)) is not None:
                member.size = len(now)
                tar.addfile(member, io.BytesIO(now))


def harm_tar(out: Path) -> None:
    other = encoded(80)

    def change(name: str, data: bytes) -> bytes | None:
        return {"000000000.png": None, "000000001.png": other, "000000002.source.png": data[:60],
                "000000003.json": data.replace(b"0", b"1")}.get(name, data)  # fmt: skip

    rewrite_tar(out / "train-000000.tar", change)


def harm_table(out: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    path = out / "data" / "train-00000-of-00001.parquet"
    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()[:-1]
    rows[1]["image"]["bytes"] = encoded(80)
    rows[2]["source"]["bytes"] = rows[2]["source"]["bytes"][:60]
    rows[3]["variant"] = 77
    changed = pyarrow.Table.from_pylist(rows, schema=table.schema)
    pyarrow.parquet.write_table(changed, path)


def harm_files(out: Path) -> None:
    """Replaced, not written in: files of a dataset may share their bytes with others."""
    rows = manifest(out)[1]
    (out / rows[0]["file"]).unlink()
    replace(out / rows[1]["file"], encoded(80))
    replace(out / rows[2]["file"], b"no image")


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    soft(seed).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("layout", "harm", "wrong", "example"),
    [
        ("imagefolder", harm_files, (1, 1, 1), "train/images/a/0.v0.png"),
        ("side-by-side", harm_files, (1, 1, 1), "train/a/0.v0.png"),
        ("a-b", harm_files, (1, 1, 1), "B/train/a/0.v0.png"),
        ("webdataset", harm_tar, (1, 1, 2), "train-000000.tar, 000000000.png"),
        ("parquet", harm_table, (3, 1, 2), "data/train-00000-of-00001.parquet, row 11, image"),
    ],
)
def test_what_is_wrong_with_it_is_found_and_mended(
    tmp_path: Path,
    source: Path,
    model: Path,
    layout: str,
    harm: Callable[[Path], None],
    wrong: tuple[int, int, int],
    example: str,
) -> None:
    out, more = tmp_path / "out", ("--layout", layout, "--variants", 2)
    assert synthesize(source, out, model, *more).code == 0
    before = tree(out)
    ran = here("status", out, "--verify", "--json")
    assert ran.code == 0 and ran.figures["verified"]["wrong"] == 0, ran
    copies = {"imagefolder": 6, "side-by-side": 0}.get(layout, 12)
    told = 12 if layout in ("webdataset", "parquet") else 0  # what shards say of each image
    tables = 3 if layout == "imagefolder" else 2
    assert ran.figures["verified"]["checked"] == 12 + copies + told + tables

    harm(out)
    ran = here("status", out, "--verify", "--json")
    found = ran.figures["verified"]
    assert ran.code == 3
    assert (found["missing"], found["damaged"], found["changed"]) == wrong, found
    assert example in {one["output"] for one in found["examples"]["missing"]}
    assert ran.figures["dataset"]["wrong"] == sum(wrong)
    images_wrong = ran.figures["failed"]

    ran = synthesize(source, out, model, *more)
    assert ran.code == 0, ran.err
    assert images(ran) == {"made": images_wrong, "made_before": 12 - images_wrong}
    assert tree(out) == before


def test_tables_that_changed_and_a_card_that_may(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "out"
    assert synthesize(source, out, model, "--variants", 1).code == 0
    before = tree(out)
    card = out / "README.md"
    card.write_text(mine := card.read_text() + "My own words.\n")
    assert here("status", out, "--verify").code == 0
    with (out / "train" / "metadata.jsonl").open("a") as table:
        table.write("{}\n")
    ran = here("status", out, "--verify")
    assert ran.code == 3 and "  train/metadata.jsonl: is not what was written" in ran.out
    assert "files of the dataset checked, 1 wrong" in ran.out
    assert "would make anew what is wrong, and lay the dataset out anew." in ran.out
    ran = synthesize(source, out, model, "--variants", 1)
    assert images(ran) == {"made_before": 6} and card.read_text() == mine
    told = f"card: {card} (stays as it was changed by hand: its figures may be old)"
    assert told in ran.err.splitlines()
    put(source / "new.png", 7)
    assert synthesize(source, out, model, "--variants", 1).code == 0
    assert card.read_text() == mine, "also the next time"
    (source / "new.png").unlink()
    card.unlink()
    assert "stays" not in synthesize(source, out, model, "--variants", 1).err
    assert tree(out) == before


@pytest.mark.parametrize(
    ("layout", "lost", "made"),
    [
        ("imagefolder", "train/images/a/0.v0.png", 1),
        ("imagefolder", "train/inputs/a/0.png", 0),
        ("imagefolder", "train/metadata.jsonl", 0),
        ("webdataset", "train-000000.tar", 6),
        ("a-b", "README.md", 0),
    ],
)
def test_files_that_are_gone_are_made_again_unasked(
    tmp_path: Path, source: Path, model: Path, layout: str, lost: str, made: int
) -> None:
    out, more = tmp_path / "out", ("--layout", layout, "--variants", 1)
    assert synthesize(source, out, model, *more).code == 0
    before = tree(out)
    (out / lost).unlink()
    ran = synthesize(source, out, model, *more)
    assert ran.code == 0, ran.err
    assert f"1 file of the dataset had gone ({lost}); it was laid out anew" in ran.err
    assert ran.figures["images_made"] == made
    assert tree(out) == before


def test_an_unfinished_dataset_is_checked_where_its_images_are(
    tmp_path: Path, source: Path, model: Path
) -> None:
    out = tmp_path / "out"
    more = ("--target-count", 12, "--max-distance", 0.001)  # nothing passes
    assert synthesize(source, out, model, *more).code == 2
    ran = here("status", out, "--verify", "--json")
    assert ran.code == 0 and ran.figures["dataset"] == {}
    replace(out / MADE / "images" / "a" / "0.v0.png", b"no image")
    assert here("status", out, "--verify", "--json").figures["verified"]["damaged"] == 1


# What status and report say


def test_status_of_a_finished_dataset(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "out"
    picture(64, 64, 3).save(source / "far.png")
    (source / "broken.png").write_bytes(b"no image")
    shutil.copy(source / "b" / "1.png", source / "b" / "copy.png")
    more = ("--max-distance", 100, "--split", "train=0.5,val=0.5")
    assert synthesize(source, out, model, *more).code == 3
    ran = here("status", out)
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"{out}: a finished dataset (imagefolder) made by soft (SHA-256 ")
    assert "21 images of 9 inputs in the dataset: train 12, val 9" in lines, ran.out
    for line in ("rejected: distance 3", "flagged: near-duplicate 3", "1 input could not be used"):
        assert line in lines
    assert lines[-1] == (
        "The same command again would leave 3 alone while unchanged (see --retry-failed); where "
        "its inputs have changed, it brings the dataset up to date."
    )
    figures = here("status", out, "--json").figures
    assert figures["dataset"] == {
        "layout": "imagefolder",
        "images": 21,
        "inputs": 9,
        "inputs_failed": 1,
        "splits": {"train": 12, "val": 9},
        "rejected": {"distance": 3},
        "flagged": {"near-duplicate": 3},
        "wrong": 0,
    }
    page = (out / "report.html").read_text()
    for said in (
        "<b>21</b>in the dataset",
        "<b>24</b>made",
        "<b>3</b>rejected",
        "<td>train 12, val 9</td>",
        '<th scope="row">max distance</th><td>100.0</td>',
        '<th scope="row">layout</th><td>imagefolder</td>',
        '<th scope="row">variants</th><td>3</td>',
        '<th scope="row">split</th><td>train=0.5,val=0.5</td>',
        "<li>far.v0</li>",
    ):
        assert said in page, said


def test_status_of_one_shard_of_two(tmp_path: Path, source: Path, model: Path) -> None:
    out = tmp_path / "out"
    assert convert(source, out, model, "--shard", "1/2").code == 0
    told = here("status", out).out
    assert "Shard 1/2 of 2 shards; 2/2 has not begun." in told
    assert "--shard 2/2" in told.splitlines()[-1]
    figures = json.loads(here("status", out, "--json").out)
    assert (figures["shards"], figures["missing"]) == (["1/2"], ["2/2"])
    assert figures["dataset"] is None
