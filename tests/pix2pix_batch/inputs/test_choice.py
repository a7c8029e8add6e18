"""Which files are inputs: litter, and what the user excludes and includes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import kinds
from pix2pix_batch.inputs import unread
from pix2pix_batch.inputs.choice import EXCLUDED, LITTER, OTHER, TAKEN, UNREAD, InputFilter
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import InputSource, ScanOptions

NOWHERE = Path("/nonexistent-out")

LITTER_PATHS = (
    "._a.png", "x/._b.jpg", "__MACOSX/x/b.jpg", ".AppleDouble/a.png", ".DS_Store",
    ".Spotlight-V100/a.png", ".fseventsd/a.png", ".Trashes/501/a.png", ".TemporaryItems/a.png",
    "@eaDir/a.png/SYNOPHOTO_THUMB_XL.jpg", "x/@eaDir/b.jpg/SYNOFILE_THUMB_M.png", "#recycle/a.png",
    "#snapshot/1/a.png", ".snapshot/hourly.0/a.png", "@Recycle/a.png", ".@__thumb/a.png",
    "@Recently-Snapshot/a/a.png", ".Trash-1000/files/a.png", ".Trash/a.png", "lost+found/a.png",
    ".thumbnails/normal/a.png", ".thumb/a.jpg", ".picasaoriginals/a.jpg", ".dtrash/files/a.jpg",
    "$RECYCLE.BIN/S-1-5/$R0.png", "RECYCLER/a.png", "System Volume Information/a.png",
    "Thumbs.db", "x/THUMBS.DB", "desktop.ini", "LOST.DIR/a.jpg", ".trashed-1700000000-IMG.jpg",
    ".pending-1700000000-IMG.jpg", ".git/a.png", ".ipynb_checkpoints/a.png", ".cache/a.png",
    ".stversions/a~20240101.png", ".stfolder/a.png", ".syncthing.a.png.tmp", ".dropbox.cache/a.png",
    ".owncloudsync/a.png", ".a.png.Xy12Ab", ".goutputstream-AB12CD.png", ".nfs000000a.png",
    "files_trashbin/a.png", "Trip.photoslibrary/resources/derivatives/a.jpeg", ".hidden.png",
    "Old.photolibrary/Thumbnails/a.jpg", "Old.aplibrary/Previews/a.jpg", "_gsdata_/_saved_/a.png",
    "Catalog Previews.lrdata/a.jpg",
)  # fmt: skip


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return root


def names(scan: InputSource) -> list[str]:
    return [item.name for item in scan]


def test_litter_is_left_alone_and_counted(tmp_path: Path) -> None:
    good = ["a.png", "x/b.JPG", "Trip.photoslibrary/originals/1/c.jpg", "recycled photos/d.png"]
    good += ["Old.photolibrary/Masters/c.jpg", "Old.aplibrary/Masters/c.jpg"]
    root = tree(tmp_path / "in", *LITTER_PATHS, *good)
    scan = open_inputs(str(root), ScanOptions("png", NOWHERE))
    assert sorted(names(scan)) == sorted(good)
    assert scan.left.other.count == scan.left.excluded.count == 0
    libraries = {"Trip.photoslibrary", "Old.photolibrary", "Old.aplibrary"}
    below = len({path.split("/")[0] for path in LITTER_PATHS} - {"x"} - libraries)
    assert scan.left.litter.count == below + 6, "three in x, and one in each library"
    assert len(scan.left.litter.first) == 3


@pytest.mark.parametrize("path", LITTER_PATHS)
def test_litter_is_the_same_for_a_glob_and_by_its_path(tmp_path: Path, path: str) -> None:
    assert InputFilter().classify_path(path, lambda: None) == LITTER
    root = tree(tmp_path / "in", path, "ok/a.png")
    assert names(open_inputs(f"{root}/**/*", ScanOptions("png", NOWHERE))) == ["ok/a.png"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("@eaDir/*/*.jpg", ["a.png/T.jpg"]),
        ("**/@eaDir/*/*.jpg", ["@eaDir/a.png/T.jpg", "s/@eaDir/b.png/U.jpg"]),
        (".thumbs/*.png", ["t.png"]),
        (".*.png", [".h.png"]),
        ("._a.png", ["._a.png"]),
        ("*/*.png", ["s/c.png"]),
    ],
)
def test_what_a_pattern_spells_out_is_no_litter(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    files = ("@eaDir/a.png/T.jpg", "s/@eaDir/b.png/U.jpg", ".thumbs/t.png", ".h.png", "._a.png")
    root = tree(tmp_path / "in", *files, "s/c.png")
    assert names(open_inputs(f"{root}/{pattern}", ScanOptions("png", NOWHERE))) == expected


def test_a_list_is_taken_at_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree(tmp_path, ".h.png", "@eaDir/t.jpg", "a.png", "b_mask.png"))
    (tmp_path / "list").write_text(".h.png\n@eaDir/t.jpg\na.png\nb_mask.png\n")
    assert len(list(open_inputs("@list", ScanOptions("png", NOWHERE)))) == 4
    scan = open_inputs("@list", ScanOptions("png", NOWHERE, exclude=("*_mask.png", ".*")))
    assert names(scan) == ["@eaDir/t.jpg", "a.png"]
    assert scan.left.excluded.count == 2


EXCLUDED_OF = [
    (("*_mask.png",), (), ["a.png", "s/b.png", "s/deep/c.png", "t/d.png"]),
    (("s/",), (), ["a.png", "a_mask.png", "t/d.png"]),
    (("s/*",), (), ["a.png", "a_mask.png", "t/d.png"]),
    (("s/deep",), (), ["a.png", "a_mask.png", "s/b.png", "s/b_mask.png", "t/d.png"]),
    (("/*.png",), (), ["s/b.png", "s/b_mask.png", "s/deep/c.png", "t/d.png"]),
    (("**/deep/**",), (), ["a.png", "a_mask.png", "s/b.png", "s/b_mask.png", "t/d.png"]),
    (("*",), ("*_mask.png",), ["a_mask.png", "s/b_mask.png"]),
    (("*",), ("s/deep/",), ["s/deep/c.png"]),
    (("s/",), ("s/b.png",), ["a.png", "a_mask.png", "s/b.png", "t/d.png"]),
    (("[ab].png", "t"), (), ["a_mask.png", "s/b_mask.png", "s/deep/c.png"]),
]


@pytest.mark.parametrize(("exclude", "include", "expected"), EXCLUDED_OF)
@pytest.mark.parametrize("glob", ["", "/**/*"])
def test_patterns_have_the_rules_of_gitignore(
    tmp_path: Path,
    exclude: tuple[str, ...],
    include: tuple[str, ...],
    expected: list[str],
    glob: str,
) -> None:
    files = ("a.png", "a_mask.png", "s/b.png", "s/b_mask.png", "s/deep/c.png", "t/d.png")
    root = tree(tmp_path / "in", *files)
    scan = open_inputs(
        f"{root}{glob}", ScanOptions("png", NOWHERE, exclude=exclude, include=include)
    )
    assert sorted(names(scan)) == expected
    assert scan.left.excluded.count > 0


@pytest.mark.parametrize(
    ("include", "more"),
    [
        ("*.dat", ["x.dat"]),
        ("nosuffix", ["nosuffix"]),
        (".h.png", [".h.png"]),
        ("@eaDir/", ["@eaDir/t.jpg"]),
        ("@eaDir", ["@eaDir/t.jpg"]),
        ("#recycle", ["#recycle/r.png"]),
        ("@eaDir/*.jpg", ["@eaDir/t.jpg"]),
        ("**/@ea*/t.*", ["@eaDir/t.db", "@eaDir/t.jpg"]),
        (".thumbs/**", [".thumbs/t.png"]),
    ],
)
def test_include_takes_what_is_left_alone_else(
    tmp_path: Path, include: str, more: list[str]
) -> None:
    files = ("x.dat", "nosuffix", ".h.png", "@eaDir/t.jpg", "@eaDir/t.db", "#recycle/r.png")
    root = tree(tmp_path / "in", *files, ".thumbs/t.png", ".thumbs/u.txt", "a.png")
    scan = open_inputs(str(root), ScanOptions("png", NOWHERE, include=(include,)))
    assert sorted(names(scan)) == sorted(["a.png", *more])


def test_include_alone_leaves_out_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "a.png", "b.jpg")
    assert names(open_inputs(str(root), ScanOptions("png", NOWHERE, include=("*.jpg",)))) == [
        "a.png",
        "b.jpg",
    ]


@pytest.mark.parametrize("pattern", ["", "  ", "/", "!a.png"])
def test_what_is_no_pattern_is_refused(tmp_path: Path, pattern: str) -> None:
    root = tree(tmp_path / "in", "a.png")
    for option in ("exclude", "include"):
        with pytest.raises(InputError, match=f"--{option}"):
            open_inputs(str(root), ScanOptions("png", NOWHERE, **{option: (pattern,)}))


@pytest.mark.parametrize("name", ["a.zip", "b.tar.xz", "c.7z"])
def test_archives_are_to_be_unpacked(tmp_path: Path, name: str) -> None:
    scan = open_inputs(str(tree(tmp_path / "in", name)), ScanOptions("png", NOWHERE))
    assert not names(scan)
    assert "unpack archives" in scan.explain_no_images()


def test_a_folder_with_nothing_but_litter_says_so(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "._a.png", "@eaDir/t.jpg")
    scan = open_inputs(str(root), ScanOptions("png", NOWHERE))
    assert names(scan) == []
    assert "2 hidden or left by systems (see --include)" in scan.explain_no_images()


def test_the_inputs_own_place_may_be_hidden(tmp_path: Path) -> None:
    root = tree(tmp_path / ".cache" / "@eaDir", "a.png")
    assert names(open_inputs(str(root), ScanOptions("png", NOWHERE))) == ["a.png"]
    assert names(open_inputs(str(root / "a.png"), ScanOptions("png", NOWHERE))) == ["a.png"]


def test_a_directory_of_tars_with_litter_beside_them(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", "0.tar", "._0.tar", ".thumb.png", "._a.png")
    scan = open_inputs(str(root), ScanOptions("png", NOWHERE))
    assert scan.tars
    assert names(scan) == ["0.tar"]


def test_judging_needs_no_file() -> None:
    choice = InputFilter(exclude=("*_mask.png",))
    assert choice.classify_file("a.png", lambda: None) == TAKEN
    assert choice.classify_file("a_mask.png", lambda: None) == EXCLUDED
    assert choice.classify_file("a.txt", lambda: None) == OTHER
    assert choice.classify_directory(os.path.join("x", "@eaDir")) == LITTER


@pytest.mark.parametrize("inside", ["", "/**/*"])
def test_litter_in_a_store(inside: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    files = ("a.png", "._a.png", "@eaDir/t.jpg", "s/b.png", "s/b_mask.png", "s/.thumbs/t.png")
    for name in (*files, "raw.rgb", "x.h5"):
        store.pipe_file(f"/litter/{name}", b"no picture")
    try:
        scan = open_inputs(
            f"memory://litter{inside}", ScanOptions("png", NOWHERE, exclude=("*_mask.png",))
        )
        assert names(scan) == ["a.png", "s/b.png"]
        left = scan.left
        assert (left.other.count, left.excluded.count) == (2, 1)
        assert left.litter.count == (2 if inside else 3), "a glob does not find hidden files"
    finally:
        store.rm("/litter", recursive=True)


# Images of kinds that are not read

PHOTOS = ("IMG_1.HEIC", "x/IMG_2.heic", "x/DSC_1.NEF", "a.CR2", "a.dng", "a.jxl", "b.psb", "c.svg")


def test_images_that_are_not_read_are_told_by_kind(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", *PHOTOS, "a.png", "notes.txt")
    for source in (str(root), f"{root}/**/*"):
        scan = open_inputs(source, ScanOptions("png", NOWHERE))
        assert names(scan) == ["a.png"]
        assert (scan.left.unread.count, scan.left.other.count) == (len(PHOTOS), 1)
        lines = list(scan.left.unread.lines())
        assert lines[0].startswith("camera raw: 3, such as ")
        assert lines[1].startswith("HEIC or HEIF: 2, such as IMG_1.HEIC; make JPEG or PNG of them")


def test_nothing_but_images_that_are_not_read_is_refused(tmp_path: Path) -> None:
    scan = open_inputs(str(tree(tmp_path / "in", *PHOTOS[:2])), ScanOptions("png", NOWHERE))
    assert names(scan) == []
    assert "no image found that can be read here, but 2 images of other kinds: HEIC" in (
        scan.explain_no_images()
    )
    assert names(
        open_inputs(str(tmp_path / "in"), ScanOptions("png", NOWHERE, include=("*.heic",)))
    ) == ["x/IMG_2.heic"]


@pytest.mark.parametrize("kind", unread.KINDS, ids=lambda kind: kind.name)
def test_a_suffix_is_of_one_kind_and_none_that_is_read(kind: unread.Kind) -> None:
    for suffix in kind.suffixes:
        assert sum(suffix in one.suffixes for one in unread.KINDS) == 1, suffix
        assert suffix.startswith(".") and suffix == suffix.lower()
        is_read = suffix in kinds.suffixes()
        assert (unread.kind_of(f"x/A{suffix.upper()}") is None) == is_read
        assert (InputFilter().classify_file(f"a{suffix}", lambda: None) == UNREAD) != is_read


def test_what_icloud_keeps_elsewhere_is_told_as_pictures(tmp_path: Path) -> None:
    """They are hidden, and the only ones of what is hidden that stand for pictures."""
    hidden = (".b.jpg.icloud", "x/.c.HEIC.icloud", ".notes.txt.icloud", ".d.png")
    scan = open_inputs(str(tree(tmp_path / "in", "a.png", *hidden)), ScanOptions("png", NOWHERE))
    assert names(scan) == ["a.png"]
    left = scan.left
    assert (left.unread.count, left.litter.count, left.other.count) == (2, 2, 0)
    assert "pictures that iCloud keeps elsewhere: 2, such as " in "".join(left.unread.lines())
