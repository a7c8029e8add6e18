"""The scan: which files are inputs, and where their outputs go."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import ScanOptions
from pix2pix_batch.item import Item
from pix2pix_batch.storage import local
from tests.end_to_end.command import mount


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """``in`` under the working directory's ``tmp_path``, with images two directories deep."""
    touch(tmp_path / "in", "b.jpg", "a.png", "x/c.JPEG", "x/y/d.webp", "z/e.gif")
    return tmp_path / "in"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def scanned(
    source: object, out: Path | None = None, form: str = "png", **options: bool
) -> list[Item]:
    return list(
        open_inputs(str(source), ScanOptions(form, out or Path("/nonexistent-out"), **options))
    )


def outputs(items: list[Item]) -> dict[str, str]:
    assert len({item.name for item in items}) == len(items)
    return {item.name: item.output for item in items}


def assert_apart(items: list[Item]) -> None:
    """No two outputs meet, and none leaves OUT."""
    found = [item.output for item in items]
    assert len(set(found)) == len(found)
    for output in found:
        assert not os.path.isabs(output)
        assert ".." not in Path(output).parts
        assert os.path.normpath(output) == output


# Directories


def test_the_tree_is_mirrored(tree: Path) -> None:
    items = scanned(tree)
    assert outputs(items) == {
        "a.png": "a.png",
        "b.jpg": "b.png",
        "x/c.JPEG": "x/c.png",
        "x/y/d.webp": "x/y/d.png",
        "z/e.gif": "z/e.png",
    }
    assert [item.name for item in items] == ["a.png", "b.jpg", "x/c.JPEG", "x/y/d.webp", "z/e.gif"]
    for item in items:
        assert os.path.samefile(item.path, tree / item.name)
        assert item.form == "png"


def test_order_is_the_same_every_time(tree: Path) -> None:
    assert scanned(tree) == scanned(tree)


@pytest.mark.parametrize(("form", "suffix"), [("jpg", ".jpg"), ("webp", ".webp"), ("tiff", ".tif")])
def test_formats(tree: Path, form: str, suffix: str) -> None:
    items = scanned(tree, form=form)
    assert {item.form for item in items} == {form}
    assert {os.path.splitext(item.output)[1] for item in items} == {suffix}


def test_same_format_keeps_names_that_it_can(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.JPEG", "c.tiff", "d.TIF", "e.webp", "f.PNG", "g.gif", "h.bmp")
    items = scanned(tmp_path, form="same")
    assert outputs(items) == {
        **{name: name for name in ("a.jpg", "b.JPEG", "c.tiff", "d.TIF", "e.webp", "f.PNG")},
        "g.gif": "g.png",
        "h.bmp": "h.png",
    }
    forms = {item.name: item.form for item in items}
    assert [forms[name] for name in sorted(forms)] == ["jpg", "jpg", "tiff", "tiff", "webp"] + [
        "png"
    ] * 3


@pytest.mark.parametrize("inside", ["", "**/*"])
def test_what_is_no_image_is_counted_and_the_first_named(tree: Path, inside: str) -> None:
    touch(tree, "notes.txt", "x/a.xyz", "x/none", "z/hidden/jpg", "paper.pdf")
    scan = open_inputs(str(tree / inside), ScanOptions("png", Path("/nonexistent-out")))
    assert len(list(scan)) == 5
    assert (scan.left.other.count, scan.links) == (5, 0)
    assert scan.left.other.first == ["notes.txt", "paper.pdf", "x/a.xyz"]
    assert scan.left.litter.count == scan.left.excluded.count == 0


@pytest.mark.parametrize("inside", ["", "**/*"])
def test_renamed_outputs_are_counted_and_the_first_named(tree: Path, inside: str) -> None:
    touch(tree, "a.jpg", "x/c.png", "z/e.png")
    scan = open_inputs(str(tree / inside), ScanOptions("png", Path("/nonexistent-out")))
    assert len(list(scan)) == 8
    assert scan.renamed == 6
    assert scan.renames[:3] == [
        ("a.jpg", "a.jpg.png"),
        ("a.png", "a.png.png"),
        ("x/c.JPEG", "x/c.JPEG.png"),
    ]
    for name in ("a.png", "a.png", "b.png"):
        scan.drop_rename(name)
    assert (scan.renamed, scan.renames[1][0]) == (5, "x/c.JPEG"), "once, and what was one"


def test_an_output_renamed_for_a_directory_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png/b.jpg")
    scan = open_inputs(str(tmp_path), ScanOptions("png", Path("/nonexistent-out")))
    assert len(list(scan)) == 2
    assert scan.renames == [("a.jpg", "a.jpg.png")]


def test_nothing_is_kept_of_names_that_stay(tree: Path) -> None:
    scan = open_inputs(str(tree), ScanOptions("png", Path("/nonexistent-out")))
    list(scan)
    assert (scan.renamed, scan.renames, scan.left.other.count, scan.left.other.first) == (
        0,
        [],
        0,
        [],
    )


def test_empty_directory(tmp_path: Path) -> None:
    assert scanned(tmp_path) == []


def test_relative_and_untidy_paths(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.parent)
    expected = outputs(scanned(tree))
    for source in ("in", "./in", "in/", "in/x/..", "in//"):
        items = scanned(source)
        assert outputs(items) == expected, source
        assert all(os.path.isfile(item.path) for item in items)
    monkeypatch.chdir(tree)
    assert outputs(scanned(".")) == expected


def test_clashing_names_keep_their_suffixes(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.png", "a.jpg.gif", "b.jpg", "c/a.jpg")
    items = scanned(tmp_path)
    whole = {name: f"{name}.png" for name in ("a.jpg", "a.png", "a.jpg.gif")}
    assert outputs(items) == {**whole, "b.jpg": "b.png", "c/a.jpg": "c/a.png"}


def test_clash_with_same_format(tmp_path: Path) -> None:
    touch(tmp_path, "a.gif", "a.png", "a.jpg")
    assert outputs(scanned(tmp_path, form="same")) == {
        "a.gif": "a.gif.png",
        "a.png": "a.png.png",
        "a.jpg": "a.jpg",
    }


def test_output_named_like_a_directory(tmp_path: Path) -> None:
    """``a.png`` cannot be a file and the directory that holds ``a.png/b.png``."""
    touch(tmp_path, "a.jpg", "a.png/b.jpg")
    found = outputs(scanned(tmp_path))
    assert found["a.png/b.jpg"] == "a.png/b.png"
    assert found["a.jpg"] == "a.jpg.png"


STEMS = st.sampled_from(["a", "b", ".", "..a", "a b", "ä", "'", '"', "$x", "-r", "a\n", "[1]", "*"])
SUFFIXES = st.sampled_from(
    [".jpg", ".png", ".PNG", ".gif", ".tif", ".tiff", ".webp", ".txt", ".", ""]
)
NAMES = st.builds(lambda stem, parts: stem + "".join(parts), STEMS, st.lists(SUFFIXES, max_size=3))


@given(
    names=st.sets(st.tuples(st.sampled_from(["", "d", "a.png", "e e"]), NAMES), max_size=12),
    form=st.sampled_from(["png", "jpg", "webp", "tiff", "same"]),
    way=st.sampled_from(["directory", "glob", "list"]),
)
@settings(max_examples=150)
def test_any_names_have_outputs_of_their_own(
    names: set[tuple[str, str]], form: str, way: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "in")
        root.mkdir()
        made = []
        for inside, name in sorted(names):
            path = root / inside / name
            if (
                name in (".", "..")
                or path.is_dir()
                or (path.parent.exists() and not path.parent.is_dir())
            ):
                continue
            touch(root, os.path.join(inside, name))
            made.append(os.path.join(inside, name))
        if way == "list":
            made = [name for name in made if "\n" not in name]
            listing = Path(folder, "list")
            listing.write_text("".join(f"{name}\n" for name in made))
            items = scanned(f"@{listing}", form=form)
            assert len(items) == len(made)
        else:
            source = root if way == "directory" else root / "**" / "*"
            items = scanned(source, Path(folder, "out"), form=form)
            assert all(os.path.isfile(item.path) for item in items)
        assert {item.name for item in items} <= set(made)
        assert_apart(items)


@pytest.mark.parametrize(
    "name",
    [
        "with space.jpg",
        " lead.jpg",
        "quo'te\".jpg",
        "new\nline.jpg",
        "tab\t.jpg",
        "-rf.jpg",
        "~.jpg",
        "[1].jpg",
        "*?.jpg",
        "日本.jpg",
        "e\u0301.jpg",
        os.fsdecode(b"latin-\xe9\xff.jpg"),
        "a" * 251 + ".jpg",
    ],
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "in", name, f"{name}.d/inner.jpg" if len(name) < 200 else "d/inner.jpg")
    for source in (tmp_path / "in", tmp_path / "in" / name):
        items = {item.name: item for item in scanned(source, tmp_path / "out")}
        assert items[name].output == name[:-4] + ".png"
        assert os.path.samefile(items[name].path, tmp_path / "in" / name)
    items = scanned(tmp_path / "in", tmp_path / "out")
    assert len(items) == 2
    assert_apart(items)


# Links


def test_links_to_files_are_inputs(tree: Path) -> None:
    os.symlink(tree / "b.jpg", tree / "link.jpg")
    os.symlink("nowhere.jpg", tree / "broken.jpg")
    found = outputs(scanned(tree))
    assert found["link.jpg"] == "link.png"
    assert found["broken.jpg"] == "broken.png"  # fails as an item, by name
    assert len(found) == 7


def test_a_link_to_itself_does_not_end_the_scan(tree: Path) -> None:
    os.symlink("self.jpg", tree / "self.jpg")
    assert len([name for name in outputs(scanned(tree)) if name != "self.jpg"]) == 5


def test_links_to_directories_are_counted_or_followed(tree: Path) -> None:
    other = touch(tree.parent / "other", "f.jpg", "deep/g.jpg")
    os.symlink(other, tree / "linked")
    scan = open_inputs(str(tree), ScanOptions("png", tree.parent / "out"))
    assert len(list(scan)) == 5
    assert scan.links == 1
    scan = open_inputs(str(tree), ScanOptions("png", tree.parent / "out", follow_links=True))
    found = outputs(list(scan))
    assert found["linked/deep/g.jpg"] == "linked/deep/g.png"
    assert len(found) == 7
    assert scan.links == 0


def test_loops_of_links_end(tree: Path) -> None:
    os.symlink(tree, tree / "x" / "y" / "up")
    os.symlink("..", tree / "z" / "parent")
    os.symlink(".", tree / "here")
    scan = open_inputs(str(tree), ScanOptions("png", tree.parent / "out", follow_links=True))
    assert set(outputs(list(scan))) == {"a.png", "b.jpg", "x/c.JPEG", "x/y/d.webp", "z/e.gif"}
    assert scan.links == 3


def test_two_links_to_one_directory_are_no_loop(tree: Path) -> None:
    other = touch(tree.parent / "other", "f.jpg")
    os.symlink(other, tree / "one")
    os.symlink(other, tree / "two")
    found = outputs(scanned(tree, follow_links=True))
    assert {"one/f.jpg", "two/f.jpg"} <= found.keys()


def test_deep_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    depth = 1100  # more than Python's calls may nest
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    Path("a.jpg").touch()
    try:
        items = scanned(tmp_path / "in")
    finally:
        os.remove("a.jpg")
        for _ in range(depth):  # here, since shutil.rmtree has the same limit
            os.chdir("..")
            os.rmdir("d")
    assert [item.name for item in items] == ["d/" * depth + "a.jpg"]


# Globs and single files


def test_glob(tree: Path) -> None:
    touch(tree, "x/notes.txt")
    assert set(outputs(scanned(tree / "*.jpg"))) == {"b.jpg"}
    assert outputs(scanned(tree / "**" / "*.*")) == outputs(scanned(tree))
    assert outputs(scanned(tree / "x" / "**" / "*.[wJ]*")) == {
        "c.JPEG": "c.png",
        "y/d.webp": "y/d.png",
    }
    assert outputs(scanned(tree / "?" / "*.gif")) == {"z/e.gif": "z/e.png"}
    assert scanned(tree / "*.bmp") == []
    scan = open_inputs(str(tree / "x" / "*.*"), ScanOptions("png", Path("/nonexistent-out")))
    assert len(list(scan)) == 1
    assert scan.left.other.count == 1


def test_glob_names_each_file_once(tree: Path) -> None:
    assert outputs(scanned(tree / "**" / "**" / "*.webp")) == {"x/y/d.webp": "x/y/d.png"}


def test_glob_without_a_directory(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    (item,) = scanned("*.jpg")
    assert (item.name, item.output) == ("b.jpg", "b.png")
    assert os.path.samefile(item.path, tree / "b.jpg")


def test_glob_clashes(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.gif", "d/a.jpg")
    assert outputs(scanned(tmp_path / "**" / "a.*")) == {
        "a.jpg": "a.jpg.png",
        "a.gif": "a.gif.png",
        "d/a.jpg": "d/a.png",
    }


def test_a_directory_with_glob_characters_is_itself(tmp_path: Path) -> None:
    touch(tmp_path, "in[1]/a.jpg", "in1/b.jpg")
    assert set(outputs(scanned(tmp_path / "in[1]"))) == {"a.jpg"}


def test_single_file(tree: Path) -> None:
    (item,) = scanned(tree / "x" / "c.JPEG")
    assert (item.name, item.output, item.form) == ("c.JPEG", "c.png", "png")
    assert os.path.samefile(item.path, tree / "x" / "c.JPEG")


def test_single_file_into_a_directory_beside_it(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``convert b.jpg out``: nothing in ``out`` can become an input."""
    monkeypatch.chdir(tree)
    (item,) = scanned("b.jpg", Path("out"))
    assert item.output == "b.png"
    with pytest.raises(InputError, match="is the input directory too"):
        open_inputs("b.jpg", ScanOptions("png", Path(".")))


# Lists


def listed(tmp_path: Path, lines: bytes, **values: str) -> list[Item]:
    path = tmp_path / "list of files"
    path.write_bytes(lines)
    return scanned(f"@{path}", tmp_path / "out", **values)


def test_list(tmp_path: Path) -> None:
    items = listed(tmp_path, b"a.jpg\nsub/b.png\r\n\n/abs/c.gif\n./d.jpg\ne//f/../g.jpg\nlast.webp")
    assert [(item.path, item.name, item.output) for item in items] == [
        ("a.jpg", "a.jpg", "a.png"),
        ("sub/b.png", "sub/b.png", "sub/b.png"),
        ("/abs/c.gif", "abs/c.gif", "abs/c.png"),
        ("./d.jpg", "d.jpg", "d.png"),
        ("e//f/../g.jpg", "e/g.jpg", "e/g.png"),
        ("last.webp", "last.webp", "last.png"),
    ]


def test_list_takes_any_suffix_and_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(touch(tmp_path, " spaced .jpg"))
    items = listed(tmp_path, b"photo\n spaced .jpg\nlatin-\xe9.jpg\n#x.jpg\n")
    assert [item.output for item in items] == [
        "photo.png",
        " spaced .png",
        os.fsdecode(b"latin-\xe9.png"),
        "#x.png",
    ]
    assert os.fsencode(items[2].path) == b"latin-\xe9.jpg"


def test_list_with_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a.jpg\nb.jpg\n./a.jpg\nx/../b.jpg\na.jpg\n")
    scan = open_inputs(f"@{path}", ScanOptions("png", tmp_path / "out"))
    assert [item.name for item in scan] == ["a.jpg", "b.jpg"]
    assert (scan.left.other.count, scan.left.other.first) == (3, ["a.jpg", "b.jpg", "a.jpg"])


def test_list_with_clashes(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("a.jpg\na.png\na.gif\nd/a.png\n")
    scan = open_inputs(f"@{path}", ScanOptions("png", tmp_path / "out"))
    assert [item.output for item in scan] == ["a.png", "a.png.png", "a.gif.png", "d/a.png"]
    assert scan.renamed == 2
    assert scan.renames == [("a.png", "a.png.png"), ("a.gif", "a.gif.png")]


def test_urls_of_a_list_are_named_whole_but_for_what_is_secret(tmp_path: Path) -> None:
    items = listed(
        tmp_path,
        b"s3://bucket/x/a.jpg\ngs://bucket/x/a.jpg\ns3://bucket/x/a.jpg\n"
        b"https://me:password@host/b.jpg?id=1&token=t\n",
    )
    assert [(item.name, item.output) for item in items] == [
        ("s3://bucket/x/a.jpg", "bucket/x/a.png"),
        ("gs://bucket/x/a.jpg", "bucket/x/a.jpg.png"),
        ("https://host/b.jpg?id=1", "host/b.png"),
    ]
    assert items[2].path == "https://me:password@host/b.jpg?id=1&token=t"


def test_list_with_clashes_that_meet_other_whole_names(tmp_path: Path) -> None:
    assert_apart(listed(tmp_path, b"a.png.jpg\na.jpg\na.png\na.png.png.gif\na.png.png\n"))


def test_list_paths_out_of_the_input_stay_recognisable(tmp_path: Path) -> None:
    """The job refuses them one by one; here they must not turn into harmless names."""
    items = listed(tmp_path, b"../a.jpg\nx/../../b.jpg\n/../c.jpg\n")
    assert [item.name for item in items] == ["../a.jpg", "../b.jpg", "c.jpg"]
    assert [item.output for item in items] == ["../a.png", "../b.png", "c.png"]


def test_list_with_same_format(tmp_path: Path) -> None:
    items = listed(tmp_path, b"a.JPEG\nb\nc.gif\n", form="same")
    assert [(item.output, item.form) for item in items] == [
        ("a.JPEG", "jpg"),
        ("b.png", "png"),
        ("c.png", "png"),
    ]


def test_list_with_nul_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"NUL.*a path a line"):
        listed(tmp_path, b"a.jpg\nb.jpg\0c.jpg\n")


def test_list_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"b.jpg\na/c.png\nb.jpg\n"))
    )
    scan = open_inputs("-", ScanOptions("webp", Path("/nonexistent-out")))
    items = list(scan)
    assert [(item.path, item.output, item.form) for item in items] == [
        ("b.jpg", "b.webp", "webp"),
        ("a/c.png", "a/c.webp", "webp"),
    ]
    assert scan.left.other.count == 1


def test_lists_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    with open(read, "rb", buffering=0) as pipe, open(write, "wb", buffering=0) as feed:
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
        items = iter(open_inputs("-", ScanOptions("png", Path("/nonexistent-out"))))
        for name in ("a", "b"):
            feed.write(f"{name}.jpg\n".encode())
            assert next(items).name == f"{name}.jpg"


def test_links_out_of_the_input_are_refused(tree: Path) -> None:
    other = touch(tree.parent / "other", "f.jpg")
    os.symlink(other / "f.jpg", tree / "x" / "out.jpg")
    os.symlink(other, tree / "linked")
    os.symlink("../b.jpg", tree / "x" / "in.jpg")
    for source in (tree, tree / "**" / "*.*"):
        found = {item.name: bool(item.refusal) for item in scanned(source)}
        assert found.pop("linked/f.jpg", True)
        assert [name for name in found if found[name]] == ["x/out.jpg"]
        assert not any(item.refusal for item in scanned(source, follow_links=True))


def test_tars(tmp_path: Path) -> None:
    touch(tmp_path, "b.tar", "a.TAR.GZ", "a.tgz", "notes.txt", "x/c.tar")
    items = scanned(tmp_path)
    assert all(item.tar for item in items)
    assert outputs(items) == {
        "a.TAR.GZ": "a.TAR.GZ.tar",
        "a.tgz": "a.tgz.tar",
        "b.tar": "b.tar",
        "x/c.tar": "x/c.tar",
    }
    assert outputs(scanned(tmp_path, unpack=True)) == {
        "a.TAR.GZ": "a.TAR.GZ.d",
        "a.tgz": "a.tgz.d",
        "b.tar": "b",
        "x/c.tar": "x/c",
    }
    assert set(outputs(scanned(tmp_path / "b.tar"))) == {"b.tar"}
    assert set(outputs(scanned(tmp_path / "?.tar"))) == {"b.tar"}
    listing = touch(tmp_path / "lists", "list") / "list"
    listing.write_text("x/c.tar\nd.png\n")
    assert [item.tar for item in scanned(f"@{listing}")] == [True, False]
    touch(tmp_path, "d.png")  # beside images tars are left alone
    assert set(outputs(scanned(tmp_path))) == {"d.png"}


def test_a_tar_is_unpacked_into_a_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another's output lay in it, members could replace that."""
    touch(tmp_path / "in", "x.tar", "x/b.tar", "X/c.tar", "y/d.tar", "Y.tar")
    for folds, refused in ((False, {"x/b.tar"}), (True, {"x/b.tar", "X/c.tar", "y/d.tar"})):
        monkeypatch.setattr(local, "_folds_case", lambda directory, told=folds: told)
        found = scanned(tmp_path / "in/**/*.tar", unpack=True)
        assert {item.name for item in found if item.refusal} == refused
        assert not any(item.refusal for item in scanned(tmp_path / "in/**/*.tar"))
        found = scanned(tmp_path / "in", unpack=True)  # which sees the directories, and renames
        assert not any(item.refusal for item in found)
        assert len({item.output.casefold() for item in found}) == 5
    (tmp_path / "list").write_text("x/1.png\nx.tar\ny.tar\ny/1.png\nz.png\n")
    found = scanned(f"@{tmp_path / 'list'}", unpack=True)
    assert {item.name for item in found if item.refusal} == {"x.tar", "y/1.png"}


def test_braces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "x/s-07.tar", "x/s-09.tar", "{a,b}.png")
    items = scanned(tmp_path / "x" / "s-{07..09}.tar")
    assert [item.name for item in items] == ["s-07.tar", "s-08.tar", "s-09.tar"]
    assert [os.path.exists(item.path) for item in items] == [True, False, True]
    assert set(outputs(scanned(tmp_path / "{a,b}.png"))) == {"{a,b}.png"}  # a file of that name
    monkeypatch.chdir(tmp_path)
    assert [item.path for item in scanned("{x,y}/s-07.tar")] == ["x/s-07.tar", "y/s-07.tar"]
    assert [item.name for item in scanned("{x,y}/s-07.tar")] == ["x/s-07.tar", "y/s-07.tar"]


def test_a_list_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"x" * 10_000_000)
    with pytest.raises(InputError, match=r"line 1 has 65,536 bytes or more"):
        scanned(f"@{tmp_path / 'list'}")


# What is refused


@pytest.mark.parametrize(
    "source", ["absent", "absent/*.jpg", "in/a.txt", "@absent", "@in", "@", "a\0b"]
)
def test_what_is_not_there(tree: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(tree.parent)
    with pytest.raises(InputError, match="no such"):
        open_inputs(source, ScanOptions("png", Path("out")))


def test_messages_escape_what_terminals_would_obey(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\\x1bc\\n: no such file") as caught:
        open_inputs(f"{tmp_path}/absent\x1bc\n", ScanOptions("png", tmp_path / "out"))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("out", ["in", "in/", "./in/x/..", "link", "in/x/../../in"])
def test_output_is_the_input(tree: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(tree.parent)
    os.symlink("in", "link")
    with pytest.raises(InputError, match="is the input directory too"):
        open_inputs("in", ScanOptions("png", Path(out)))


@pytest.mark.parametrize("out", ["in/out", "in/x", "in/x/new", "link/out", "/../{tmp}/in/out"])
@pytest.mark.parametrize("source", ["in", "link", "in/**/*.jpg"])
def test_output_inside_the_input(
    tree: Path, monkeypatch: pytest.MonkeyPatch, source: str, out: str
) -> None:
    monkeypatch.chdir(tree.parent)
    os.symlink("in", "link")
    with pytest.raises(InputError, match="lies inside the input directory"):
        open_inputs(source, ScanOptions("png", Path(out.format(tmp=tree.parent))))


@pytest.mark.parametrize("source", ["in", "in/**/*.jpg"])
def test_output_inside_the_input_by_another_name(
    tree: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """Of another mount, and of another case where that makes no difference."""
    monkeypatch.chdir(tree.parent)
    Path("IN").mkdir()
    open_inputs(source, ScanOptions("png", "IN/out"))
    with mount("in", "IN", "--bind"):
        for out, told in (("IN", "is the input directory too"), ("IN/x/out", "lies inside")):
            with pytest.raises(InputError, match=told):
                open_inputs(source, ScanOptions("png", out))
        assert [item.name for item in scanned("IN/*/*.*", Path("in/z"))] == ["x/c.JPEG"]
    # as exFAT by FUSE, which gives each spelling an inode of its own, and lists one
    monkeypatch.setattr(os, "listdir", lambda path: ["in"])
    with pytest.raises(InputError, match="lies inside"):
        open_inputs(source, ScanOptions("png", "IN/out"))


@pytest.mark.parametrize("out", ["out", "in2", "inn/x", "."])
def test_output_beside_or_above_the_input(
    tree: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tree.parent)
    assert len(scanned("in", Path(out))) == 5


def test_braces_beside_wildcards(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.png", "val/b.png", "test/c.png", "x{1,2}.png")
    found = scanned(tmp_path / "{train,val}/*.png")
    assert outputs(found) == {"train/a.png": "train/a.png", "val/b.png": "val/b.png"}
    assert [item.name for item in scanned(tmp_path / "x{1,2}.png")] == ["x{1,2}.png"]
