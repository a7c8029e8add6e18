"""The files beside an image: which are its own, what they are called beside its output."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import images, output_formats, sidecars
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import InputSource, ScanOptions

SUFFIXES = sorted(images.suffixes())
OUTPUTS = (*output_formats.SUFFIXES.values(), ".jpeg", ".tiff", ".JPG", ".PNG")


@pytest.mark.parametrize(
    "names",  # of an image, its sidecar, its output, and the sidecar of that
    [
        # https://gdal.org/en/stable/drivers/raster/wld.html: first and last letter and w
        "a.jpg a.jgw a.png a.pgw",
        "a.jpeg a.jgw a.webp a.wpw",
        "a.png a.pgw a.tif a.tfw",
        "a.gif a.gfw a.png a.pgw",
        "a.bmp a.bpw a.jpg a.jgw",
        "a.webp a.wpw a.tif a.tfw",
        "a.tiff a.tfw a.png a.pgw",
        "a.jpg a.jpgw a.png a.pngw",
        "a.tif a.tifw a.jpg a.jpgw",
        "a.jpg a.wld a.png a.wld",
        "a.JPG a.JGW a.png a.PGW",
        "a.JPG a.jgw a.png a.pgw",
        "a.jpg a.WLD a.png a.WLD",
        "a.jpg a.prj a.png a.prj",
        "a.jpg a.jpg.aux.xml a.png a.png.aux.xml",
        "a.jpg a.jgw deep/a.jpg.png deep/a.jpg.pgw",
        "a.b.jpg a.b.jgw a.b.png a.b.pgw",
        "jgw.jpg jgw.jgw jgw.png jgw.pgw",
    ],
)
def test_names(names: str) -> None:
    image, sidecar, output, expected = names.split()
    assert sidecar in sidecars.names(image)
    assert sidecars.output_name(sidecar, image, output) == expected


@given(
    stem=st.text("ab.~ é", min_size=1, max_size=5).filter(lambda stem: stem.strip(".")),
    suffix=st.sampled_from(SUFFIXES),
    other=st.sampled_from(OUTPUTS),
)
def test_a_renamed_sidecar_is_the_outputs_own(stem: str, suffix: str, other: str) -> None:
    image, output = stem + suffix, stem + other
    found = sidecars.names(image)
    assert all(sidecars.may_be_sidecar(name) for name in found)
    theirs = sidecars.names(output)
    made = [sidecars.output_name(name, image, output) for name in found]
    assert set(made) <= set(theirs)
    for name, new in zip(found, made, strict=True):
        assert sidecars.is_world(name) == sidecars.is_world(new)
        assert sidecars.output_name(new, output, image) in found
    same = [sidecars.output_name(name, image, image) for name in found]
    assert same == list(found)
    assert sidecars.world_name(output) in theirs


def test_no_image_has_a_sidecars_suffix() -> None:
    for suffix in SUFFIXES:
        assert not sidecars.may_be_sidecar(f"a{suffix}")


def tree(root: Path) -> Path:
    source = root / "in"
    (source / "deep").mkdir(parents=True)
    for name in ("a.jpg", "a.gif", "b.PNG", "deep/c.png", "alone.png"):
        (source / name).touch()
    for name in ("a.jgw", "a.gfw", "a.wld", "b.PGW", "b.PNG.aux.xml", "deep/c.prj"):
        (source / name).touch()
    for name in ("roads.prj", "b.jgw", "deep/a.pgw", "a.txt"):  # of no image there
        (source / name).touch()
    return source


EXPECTED = {
    "a.gif": {"a.gfw", "a.wld"},
    "a.jpg": {"a.jgw", "a.wld"},
    "alone.png": set(),
    "b.PNG": {"b.PGW", "b.PNG.aux.xml"},
    "deep/c.png": {"c.prj"},
}


def found(scan: InputSource) -> dict[str, set[str]]:
    return {item.name: set(item.sidecars) for item in scan}


def test_each_image_gets_its_own(tmp_path: Path) -> None:
    source = tree(tmp_path)
    scan = open_inputs(str(source), ScanOptions("png", tmp_path / "out", georeference=True))
    assert found(scan) == EXPECTED
    assert scan.left.other.count == 4
    without = open_inputs(str(source), ScanOptions("png", tmp_path / "out"))
    assert set().union(*found(without).values()) == set()
    assert without.left.other.count == 10


def test_globs_and_lists_look_beside_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tree(tmp_path)
    pattern = open_inputs(
        str(source / "**" / "*.[gjpP]*"), ScanOptions("png", tmp_path / "out", georeference=True)
    )
    pattern_found = {name: beside for name, beside in found(pattern).items() if name in EXPECTED}
    assert pattern_found == EXPECTED
    (tmp_path / "list.txt").write_text("".join(f"in/{name}\n" for name in EXPECTED))
    monkeypatch.chdir(tmp_path)
    listed = open_inputs("@list.txt", ScanOptions("png", tmp_path / "out", georeference=True))
    assert found(listed) == {f"in/{name}": beside for name, beside in EXPECTED.items()}


def test_only_small_regular_files_within_the_input_are_taken(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in "abcdefg":
        (source / f"{name}.png").touch()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (source / "kept.wld").write_text("kept")
    (source / "a.pgw").symlink_to(secret)
    (source / "b.pgw").symlink_to("../secret")
    (source / "c.pgw").symlink_to("kept.wld")
    os.mkfifo(source / "d.pgw")
    (source / "e.pgw").mkdir()
    (source / "f.pgw").symlink_to("f.pgw")
    with open(source / "g.pgw", "wb") as file:
        file.truncate(sidecars.LARGEST + 1)
    expected = {"c.png": {"c.pgw"}}
    scan = open_inputs(str(source), ScanOptions("png", tmp_path / "out", georeference=True))
    assert {name: beside for name, beside in found(scan).items() if beside} == expected
    assert scan.left.other.count == 6, "all but c.pgw, and e.pgw, a directory"
    scan = open_inputs(
        str(source / "*.png"), ScanOptions("png", tmp_path / "out", georeference=True)
    )
    assert {name: beside for name, beside in found(scan).items() if beside} == expected


def test_what_changed_since_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(sidecars.LARGEST + 1)
    for name, reason in (("pipe", "no regular file"), ("large", "larger"), ("none", "No such")):
        with pytest.raises(ImageError, match=reason):
            sidecars.read(str(tmp_path / name), "it")
