"""The names of outputs: they never meet, and are never too long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.inputs.naming import Naming
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import ScanOptions
from pix2pix_batch.storage.name_set import Names

LONG = "a" * 251
SUFFIXES = st.sampled_from([".png", ".jpg", ".gif", ".j2c", ".bmp", ".JPG", ".png.jpg", ".im"])
STEMS = st.one_of(
    st.text("aé日", min_size=1, max_size=4),
    st.integers(60, 90).map(lambda n: "日" * n),
    st.integers(245, 255).map(lambda n: "a" * n),
)


def outputs(names: list[str], naming: Naming, directories: tuple[str, ...] = ()) -> dict[str, str]:
    whole = naming.find_whole_named(Names(names), directories)
    return {name: whole.output(name) if name in whole else naming.output(name)[0] for name in names}


@given(
    st.lists(st.tuples(STEMS, SUFFIXES).map("".join), max_size=8, unique=True),
    st.sampled_from(["png", "tiff", "webp", "same"]),
    st.sampled_from([255, 143]),
    st.booleans(),
    st.lists(STEMS.map(lambda stem: f"{stem}.png"), max_size=2),
)
@settings(deadline=None)
def test_outputs_are_apart_and_no_longer_than_names_can_be(
    names: list[str], form: str, longest: int, fold: bool, directories: list[str]
) -> None:
    names = [name for name in names if len(os.fsencode(name)) <= 255]
    naming = Naming(form, longest=longest, fold=fold)
    directories = list({naming.key(name): name for name in directories}.values())
    found = outputs(names, naming, tuple(directories))
    keys = [naming.key(output) for output in (*found.values(), *directories)]
    assert len(set(keys)) == len(keys)
    for name, output in found.items():
        assert len(os.fsencode(output)) <= longest, output
        plain = os.path.splitext(name)[0] + os.path.splitext(output)[1]
        has_twin = sum(naming.key(other) == naming.key(name) for other in names) > 1
        if len(os.fsencode(name)) <= longest - 5 and "~" not in name and not has_twin:
            assert output in (plain, f"{name}{os.path.splitext(output)[1]}", name)


def test_of_two_that_clash_at_the_limit_one_keeps_the_short_name() -> None:
    found = outputs([f"{LONG}.gif", f"{LONG}.jpg", "b.gif", "b.jpg"], Naming("png"))
    assert found[f"{LONG}.gif"] == f"{LONG}.png"
    assert found[f"{LONG}.jpg"].startswith("a" * 240)
    assert found[f"{LONG}.jpg"] != found[f"{LONG}.gif"]
    assert len(found[f"{LONG}.jpg"]) <= 255
    assert (found["b.gif"], found["b.jpg"]) == ("b.gif.png", "b.jpg.png")


def test_a_name_does_not_depend_on_what_lies_beside_it() -> None:
    """Which is shortened for the limit alone."""
    name = "é" * 126 + ".im"
    assert outputs([name], Naming("png"))[name] == outputs([name, "x.png"], Naming("png"))[name]


def test_a_directory_keeps_its_name() -> None:
    short = f"{LONG}.png"
    found = outputs([f"{LONG}.gif", f"{LONG}.jpg"], Naming("png"), (short,))
    assert len({short, *found.values()}) == 3


def test_names_that_differ_in_case_are_apart_where_a_file_system_sees_them_alike() -> None:
    names = ["A.png", "a.jpg", "b.png", "É.png", "e\u0301.jpg"]
    assert outputs(names, Naming("png"))["A.png"] == "A.png"
    found = outputs(names, Naming("png", fold=True))
    assert found == {
        "A.png": "A.png.png",
        "a.jpg": "a.jpg.png",
        "b.png": "b.png",
        "É.png": "É.png.png",
        "e\u0301.jpg": "e\u0301.jpg.png",
    }


def test_whole_names_that_differ_in_case_alone_get_a_hash() -> None:
    names = ["a.jpg", "A.JPG", "a.gif", "b.gif"]
    found = outputs(names, Naming("png", fold=True))
    assert len({output.casefold() for output in found.values()}) == 4
    assert found["a.gif"] == "a.gif.png" and found["b.gif"] == "b.png"
    assert found["a.jpg"].startswith("a.jpg~") and found["A.JPG"].startswith("A.JPG~")
    assert outputs(names, Naming("png"))["A.JPG"] == "A.png"


def test_this_file_system_says_how_long_names_are(tmp_path: Path) -> None:
    naming = Naming.within(tmp_path / "not" / "yet" / "there", "png", unpack=False)
    assert naming.longest == os.pathconf(tmp_path, "PC_NAME_MAX")
    (tmp_path / "X").mkdir()
    assert Naming.within(tmp_path, "png", unpack=False).fold is (tmp_path / "x").exists()
    assert Naming.within("s3://bucket/out", "png", unpack=False).longest is None


@pytest.mark.parametrize("order", [1, -1])
def test_in_a_list_the_first_keeps_the_short_name(tmp_path: Path, order: int) -> None:
    names = [f"d/{LONG}.gif", f"d/{LONG}.jpg", f"d/{LONG}.bmp"][::order]
    (tmp_path / "list").write_text("\n".join(names))
    items = list(open_inputs(f"@{tmp_path}/list", ScanOptions("png", tmp_path / "out")))
    assert items[0].output == f"d/{LONG}.png"
    found = {item.output for item in items}
    assert len(found) == 3
    assert max(len(output.partition("/")[2]) for output in found) == 255
