"""Whatever the layout and the names, what is laid out is found again, byte for byte."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.dataset import complete, manifest, stored
from pix2pix_batch.dataset.layout import LAYOUTS
from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.records.examination import CHANGED, DAMAGED, FINE, MISSING, digest_of

PIECES = st.sampled_from(["a", "images", "/", ".v0", ".png", "ü", " "])
NAMES = st.lists(PIECES, min_size=1, max_size=6).map("".join)


def tidy(name: str) -> bool:
    parts = name.split("/")
    return all(part.strip(" .") == part and part for part in parts)


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def laid_out(out: Path, layout: str, names: list[str], sources: bool) -> list[Sample]:
    """A dataset of two variants of each input in two splits, with its manifest."""
    samples = []
    for number, name in enumerate(names):
        copy = out / "apart" / f"{number}.source"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(picture(3 * number))
        for variant in range(2):
            made = copy.with_name(f"{number}.v{variant}")
            made.write_bytes(data := picture(3 * number + 1 + variant))
            facts: dict[str, Any] = {
                "input": f"{name}.tif", "input_hash": "00", "variant": variant,
                "hash": digest_of(data), "group": None, "distance": number / 3, "flags": ["flat"],
            }  # fmt: skip
            split = ("train", "images")[number % 2]
            source = copy if sources else None
            key = f"{name}.v{variant}"
            samples.append(Sample(key, name, "png", made, source, split=split, facts=facts))
    for split in ("train", "images"):
        LAYOUTS[layout](out, split, [one for one in samples if one.split == split])
    about = {"layout": layout, "format": "png", "sources": sources}
    copy = complete.copy_of_manifest(out)
    manifest.write(copy, {"settings": about}, samples, {"left/out.v0": "flat"})
    return samples


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=15, deadline=None)
@given(names=st.lists(NAMES.filter(tidy), min_size=1, max_size=4, unique=True), bare=st.booleans())
def test_all_is_found_and_taken_back(layout: str, names: list[str], bare: bool) -> None:
    places = [f"{name}{end}/" for name in names for end in ("", ".png", ".v0.png", ".v1.png")]
    assume(not any(other.startswith(place) for other in names for place in places))
    sources = layout == "a-b" or (layout != "side-by-side" and not bare)
    with TemporaryDirectory() as directory:
        out = Path(directory)
        samples = laid_out(out, layout, names, sources)
        found = list(stored.found(out))
        for batch in stored.batches(found):
            assert stored.check(str(out), batch) == [FINE] * len(batch)
        wanted = {
            f"{one.facts['input']}/{one.facts['variant']}": (one.facts["hash"], one.made)
            for one in samples
        }
        if sources:
            wanted |= {
                f"{one.facts['input']}/source": (digest_of(one.source.read_bytes()), one.source)
                for one in samples
                if one.source is not None
            }
        assert {one.name for one in found if one.name} == wanted.keys()
        back = {
            name: (digest, out / "back" / str(number))
            for number, (name, (digest, _)) in enumerate(wanted.items())
        }
        stored.restore(out, back)
        for name, (_, file) in wanted.items():
            assert back[name][1].read_bytes() == file.read_bytes()


@pytest.mark.parametrize(
    ("layout", "file"),
    [
        ("webdataset", "train-000000.tar"),
        ("parquet", "data/train-00000-of-00001.parquet"),
    ],
)
def test_shards_that_are_cut_off_gone_or_none(tmp_path: Path, layout: str, file: str) -> None:
    laid_out(tmp_path, layout, ["a"], True)
    whole = (tmp_path / file).read_bytes()

    def kinds() -> set[str]:
        found = list(stored.found(tmp_path))
        (batch,) = stored.batches(found)
        return {kind for kind, _ in stored.check(str(tmp_path), batch)}

    assert kinds() == {""}
    (tmp_path / file).write_bytes(b"no shard at all" * 100)
    assert kinds() == {DAMAGED}
    (tmp_path / file).write_bytes(whole[: len(whole) // 2])
    assert kinds() <= {"", DAMAGED, MISSING} and kinds() != {""}
    (tmp_path / file).unlink()
    assert kinds() == {MISSING}
    (tmp_path / file).mkdir()
    assert kinds() == {"unreadable"}


def test_what_is_not_as_it_was_is_not_taken_back(tmp_path: Path) -> None:
    samples = laid_out(tmp_path, "imagefolder", ["a", "b"], True)
    changed = tmp_path / "train" / "images" / "a.v0.png"
    changed.unlink()
    changed.write_bytes(picture(77))
    found = {one.file: one for one in stored.found(tmp_path)}
    batch = [found["train/images/a.v0.png"], found["images/images/b.v1.png"]]
    assert [kind for kind, _ in stored.check(str(tmp_path), batch)] == [CHANGED, ""]
    wanted = {
        f"{one.facts['input']}/{one.facts['variant']}": (
            one.facts["hash"],
            tmp_path / "back" / one.key,
        )
        for one in samples
    }
    stored.restore(tmp_path, wanted)
    back = {path.name for path in (tmp_path / "back").iterdir()}
    assert back == {"a.v1", "b.v0", "b.v1"}
    assert (tmp_path / "back" / "a.v1").samefile(tmp_path / "train" / "images" / "a.v1.png")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    laid_out(out, "side-by-side", ["a"], False)
    (tmp_path / "secret.png").write_bytes(picture(1))
    copy = complete.copy_of_manifest(out)
    copy.write_bytes(copy.read_bytes().replace(b"train/a.v0.png", b"../secret.png"))
    stored.restore(out, {"a.tif/0": (digest_of(picture(1)), out / "back")})
    assert not (out / "back").exists()


def test_a_dataset_without_a_manifest_gives_nothing(tmp_path: Path) -> None:
    known = complete.Complete({}, {}, {})
    stored.restore(tmp_path, {"a/0": ("", tmp_path / "back")})
    assert stored.gone(tmp_path, known) == ["manifest.jsonl"]
    assert not (tmp_path / "back").exists()
