"""Whatever the layout and the names, what is laid out is found again, byte for byte."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.dataset import manifest, reader, state
from pix2pix_batch.dataset.layout import LAYOUTS
from pix2pix_batch.dataset.sample import Sample
from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.integrity import CHANGED, DAMAGED, FINE, MISSING, UNREADABLE, digest_of

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
    copy = state.copy_of_manifest(out)
    manifest.write_manifest(copy, {"settings": about}, samples, {"left/out.v0": "flat"})
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
        found = list(reader.list_images(out))
        for batch in reader.group_by_container(found):
            assert reader.check_batch(str(out), batch) == [FINE] * len(batch)
        wanted = {
            f"{one.facts['input']}/{one.facts['variant']}": (one.facts["hash"], one.output)
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
        reader.restore_images(out, back)
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
        found = list(reader.list_images(tmp_path))
        (batch,) = reader.group_by_container(found)
        return {kind for kind, _ in reader.check_batch(str(tmp_path), batch)}

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
    found = {one.file: one for one in reader.list_images(tmp_path)}
    batch = [found["train/images/a.v0.png"], found["images/images/b.v1.png"]]
    assert [kind for kind, _ in reader.check_batch(str(tmp_path), batch)] == [CHANGED, ""]
    wanted = {
        f"{one.facts['input']}/{one.facts['variant']}": (
            one.facts["hash"],
            tmp_path / "back" / one.key,
        )
        for one in samples
    }
    reader.restore_images(tmp_path, wanted)
    back = {path.name for path in (tmp_path / "back").iterdir()}
    assert back == {"a.v1", "b.v0", "b.v1"}
    assert (tmp_path / "back" / "a.v1").samefile(tmp_path / "train" / "images" / "a.v1.png")


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "out"
    laid_out(out, "side-by-side", ["a"], False)
    (tmp_path / "secret.png").write_bytes(picture(1))
    copy = state.copy_of_manifest(out)
    copy.write_bytes(copy.read_bytes().replace(b"train/a.v0.png", b"../secret.png"))
    reader.restore_images(out, {"a.tif/0": (digest_of(picture(1)), out / "back")})
    assert not (out / "back").exists()


@pytest.mark.parametrize("file", ["../secret.png", "/etc/hostname", "train/\\u0000.png"])
def test_a_manifest_that_names_files_elsewhere_is_damaged(tmp_path: Path, file: str) -> None:
    laid_out(tmp_path, "side-by-side", ["a"], False)
    copy = state.copy_of_manifest(tmp_path)
    copy.write_bytes(copy.read_bytes().replace(b"train/a.v0.png", file.encode()))
    with pytest.raises(ValueError, match="leads out of the dataset"):
        list(reader.list_images(tmp_path))
    assert reader.list_files(tmp_path) is None


@given(data=st.binary(max_size=60), at=st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_any_damage_of_the_manifest_is_one_that_is_known(data: bytes, at: int) -> None:
    with TemporaryDirectory() as directory:
        out = Path(directory)
        laid_out(out, "imagefolder", ["a"], True)
        copy = state.copy_of_manifest(out)
        text = copy.read_bytes()
        copy.write_bytes(text[:at] + data + text[at + len(data) :])
        reader.list_files(out)
        reader.list_missing(out, state.Complete({}, {}, {}))
        reader.restore_images(out, {"a.tif/0": ("", out / "back")})


def test_a_pipe_in_the_place_of_a_shard_is_not_waited_for(tmp_path: Path) -> None:
    for layout, file in (("webdataset", "a.tar"), ("parquet", "a.parquet")):
        os.mkfifo(tmp_path / file)
        one = reader.StoredImage("a/0", file, f"{layout}, image", "00")
        assert reader.check_batch(str(tmp_path), [one]) == [
            (UNREADABLE, "cannot be read (is no file)")
        ]


def test_a_member_with_holes_is_not_read(tmp_path: Path) -> None:
    """GNU tar's old sparse form, of a gigabyte in a kilobyte."""
    header = bytearray(tarfile.TarInfo("a.png").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[386:410] = b"00000000000\0" * 2  # one piece of nothing, at the beginning
    header[483:495] = b"%011o\0" % (1 << 30)  # the real size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "train.tar").write_bytes(header + bytes(10240))
    with tarfile.open(tmp_path / "train.tar") as tar:
        (member,) = tar
        assert member.issparse() and member.size == 1 << 30
    one = reader.StoredImage("a/0", "train.tar", "a.png", "00")
    ((kind, why),) = reader.check_batch(str(tmp_path), [one])
    assert kind == DAMAGED and "sparse" in why


def test_a_table_whose_text_is_none_is_damaged(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    image = pyarrow.array([{"bytes": b"", "path": ""}])
    text = pyarrow.Array.from_buffers(
        pyarrow.string(),
        1,
        [None, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff")],
    )
    table = pyarrow.table({"image": image, "input": text})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    one = reader.StoredImage("a/0", "a.parquet", "row 0, image", "00")
    ((kind, why),) = reader.check_batch(str(tmp_path), [one])
    assert kind == DAMAGED and "the table is damaged" in why


def test_tables_need_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    laid_out(tmp_path, "parquet", ["a"], True)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    (batch,) = reader.group_by_container(reader.list_images(tmp_path))
    with pytest.raises(InputError, match=r"needs pyarrow.*: pip install 'pix2pix-batch\[synth"):
        reader.check_batch(str(tmp_path), batch)


@pytest.mark.parametrize(
    ("layout", "place"), [("webdataset", ("key",)), ("parquet", ("row",)), ("a-b", ("file",))]
)
def test_a_manifest_that_names_a_place_twice(
    tmp_path: Path, layout: str, place: tuple[str, ...]
) -> None:
    laid_out(tmp_path, layout, ["a"], True)
    copy = state.copy_of_manifest(tmp_path)
    header, first, second, *rest = map(json.loads, copy.read_bytes().splitlines())
    second |= {key: first[key] for key in place}
    copy.write_text("".join(f"{json.dumps(one)}\n" for one in (header, first, second, *rest)))
    found = list(reader.list_images(tmp_path))
    kinds = [
        kind
        for batch in reader.group_by_container(found)
        for kind, _ in reader.check_batch(str(tmp_path), batch)
    ]
    assert len(kinds) == len(found) and set(kinds) == {"", CHANGED}


def test_a_dataset_without_a_manifest_gives_nothing(tmp_path: Path) -> None:
    known = state.Complete({}, {}, {})
    reader.restore_images(tmp_path, {"a/0": ("", tmp_path / "back")})
    assert reader.list_missing(tmp_path, known) == ["manifest.jsonl"]
    assert not (tmp_path / "back").exists()
