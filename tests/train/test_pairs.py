"""Pairs of image files: each layout, what has no partner, who is held out, how they are read."""

from __future__ import annotations

import itertools
import json
import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.train import manifest, pair_files, pairing, pairs
from pix2pix_batch.train.pair_files import Pair, Reader
from pix2pix_batch.train.survey import Survey, hold_out
from tests.end_to_end.command import picture
from tests.train.running import side_by_side

SIDE = 12
WANTED = {"train": ["a", "b", "sub/c"], "val": ["a", "d"], "test": ["e"]}
"""Names in each split; the same one may be in several."""


def seed_of(split: str, name: str) -> int:
    return sorted((s, n) for s, names in WANTED.items() for n in names).index((split, name))


def put(path: Path, image: Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def put_pair(data: Path, a: str, b: str | None, seed: int) -> None:
    """Two files or one with both; B is the negative of A."""
    both = side_by_side(seed, SIDE)
    if b is None:
        put(data / a, both)
    else:
        put(data / a, both.crop((0, 0, SIDE, SIDE)))
        put(data / b, both.crop((SIDE, 0, 2 * SIDE, SIDE)))


# By split and name: the files. The last three know no splits.
LAYOUTS = {
    "side by side in splits": ("{split}/{name}.png", None),
    "A and B in splits": ("{split}/A/{name}.png", "{split}/B/{name}.png"),
    "splits in A and B": ("A/{split}/{name}.png", "B/{split}/{name}.png"),
    "trainA and trainB": ("{split}A/{name}.png", "{split}B/{name}.png"),
    "side by side": ("{name}.png", None),
    "A and B": ("A/{name}.png", "B/{name}.png"),
    "A and B of other kinds": ("A/{name}.bmp", "B/{name}.png"),
}


def lay_out(data: Path, layout: str) -> dict[str, list[str]]:
    """Write pairs; returns the names that each split should have."""
    a, b = LAYOUTS[layout]
    wanted = WANTED if "{split}" in a else {"train": WANTED["train"]}
    for split, names in wanted.items():
        for name in names:
            there = {"split": split, "name": name}
            put_pair(data, a.format(**there), b and b.format(**there), seed_of(split, name))
    return wanted


def names(found: Survey) -> dict[str, list[str]]:
    splits = dict.fromkeys(pair.split for pair in found.pairs)
    return {split: sorted(pair.name for pair in found.split(split)) for split in splits}


def assert_read_right(found: Survey) -> None:
    for pair in found.pairs:
        a, b = Reader().pair(pair, (3, 3))
        assert np.array_equal(b, 255 - a), pair
        expected = np.asarray(picture(SIDE, SIDE, seed_of(pair.split, pair.name)))
        assert np.array_equal(a, expected), pair


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_are_found(tmp_path: Path, layout: str) -> None:
    wanted = lay_out(tmp_path, layout)
    found = pairs.find(tmp_path, val_fraction=0)
    assert names(found) == {split: sorted(names) for split, names in wanted.items()}
    assert found.problems == []
    assert found.layout == ("side-by-side" if LAYOUTS[layout][1] is None else "folders")
    assert_read_right(found)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("place", ["directory", "file"])
def test_manifests_are_found(tmp_path: Path, form: str, place: str) -> None:
    """By their own path under any name, or as pairs.csv or pairs.jsonl in the directory."""
    lines = []
    for split, listed in WANTED.items():
        for name in listed:
            a, b = f"maps/{split}/{name}.png", f"photos/{split}-{name}.png"
            put_pair(tmp_path, a, b, seed_of(split, name))
            lines.append({"a": a, "b": b, "split": split})
    path = tmp_path / f"{'pairs' if place == 'directory' else 'some list'}.{form}"
    if form == "csv":
        text = "A, split ,b\n" + "".join(f'"{x["a"]}",{x["split"]},{x["b"]}\n' for x in lines)
    else:
        text = "\n\n".join(json.dumps(line) for line in lines)
    path.write_text(text)
    found = pairs.find(tmp_path if place == "directory" else path, val_fraction=0)
    assert found.layout == "manifest"
    assert found.counts() == Counter({split: len(listed) for split, listed in WANTED.items()})
    for pair in found.pairs:
        split, name = pair.a.relative_to(tmp_path / "maps").with_suffix("").as_posix().split("/", 1)
        assert pair.split == split
        a, b = Reader().pair(pair, (3, 3))
        assert np.array_equal(a, np.asarray(picture(SIDE, SIDE, seed_of(split, name))))
        assert np.array_equal(b, 255 - a)


def test_of_two_manifests_none_is_taken(tmp_path: Path) -> None:
    put_pair(tmp_path, "a.png", "b.png", 0)
    (tmp_path / "pairs.csv").write_text("a,b\na.png,b.png\n")
    (tmp_path / "pairs.jsonl").write_text('{"a": "b.png", "b": "a.png"}\n')
    with pytest.raises(InputError, match=r"holds pairs\.csv and pairs\.jsonl; give the one"):
        pairs.find(tmp_path)


def test_a_manifests_split_is_train_unless_given(tmp_path: Path) -> None:
    put_pair(tmp_path, "a.png", "b.png", 0)
    (tmp_path / "pairs.csv").write_text("a,b,split\na.png,b.png,\n")
    assert names(pairs.find(tmp_path, val_fraction=0)) == {"train": ["a"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "its first line must name the columns a and b.* it is 'x,y'"),
        ("a:b\na.png:b.png\n", "with commas between; it is 'a:b'"),
        ("a.png,b.png\na.png,b.png\n", "its first line must name .*; it is 'a.png,b.png'"),
        ("a,b\nonly.png\n", "line 2: needs the columns a and b"),
        ("a,b,split\na.png,b.png,holdout\n", "line 2: split must be train, val, test, not 'hold"),
        ("a,b\n.,b.png\n", "named in .*line 2, but no file"),
        ("a,b\nno\\a.png,b.png\n", r"/no/a\.png: named in .*line 2, but not there"),
        ("a,b\na.png,absent.png\n", r"absent\.png: named in .*pairs\.csv, line 2, but not there"),
        ("a,b\na.png,b.png,val\n", "line 2: has 3 cells, and the first line names 2 columns"),
        ("a,b\n", "no pairs found"),
        ("", "no pairs found"),
    ],
)
def test_manifests_with_faults(tmp_path: Path, text: str, message: str) -> None:
    put_pair(tmp_path, "a.png", "b.png", 0)
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        pairs.find(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfa,b,split\r\nm/a.png,m/b.png,val\r\n",
        b"a, b, split\nm/a.png, m/b.png, Val \n\n",
        b"a,b,split\nm\\a.png,m\\b.png,val\n",
        b'b,extra,split,a\n"m/b.png","x,y",val,"m/a.png"\n',
    ],
    ids=["from a spreadsheet", "with blanks", "from Windows", "other columns"],
)
def test_manifests_as_other_programs_write_them(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "m").mkdir()
    put_pair(tmp_path, "m/a.png", "m/b.png", 0)
    (tmp_path / "pairs.csv").write_bytes(text)
    found = pairs.find(tmp_path, val_fraction=0)
    assert names(found) == {"val": ["m/a"]}
    assert [path.name for path in found.pairs[0].files()] == ["a.png", "b.png"]


def test_a_backslash_that_is_a_name_s_own_stays(tmp_path: Path) -> None:
    put_pair(tmp_path, "m\\a.png", "b.png", 0)
    (tmp_path / "pairs.csv").write_text("a,b\nm\\a.png,b.png\n")
    assert names(pairs.find(tmp_path, val_fraction=0)) == {"train": ["m\\a"]}


ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@given(
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    between=st.sampled_from([",", ";", "\t", "|"]),
    quoted=st.booleans(),
    before=st.sampled_from(["", "sep=;\n", "\n"]),
    upper=st.booleans(),
    windows=st.booleans(),
)
@settings(deadline=None, max_examples=80)
def test_tables_as_spreadsheets_and_editors_write_them(
    tmp_path_factory: pytest.TempPathFactory,
    encoding: str,
    end: str,
    between: str,
    quoted: bool,
    before: str,
    upper: bool,
    windows: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "tables"
    for name in ("m/é 1.png", "m/b.png"):
        put(folder / name, picture(SIDE, SIDE))
    cells = [["id", "a", "split", "b"], ["7", "m/é 1.png", "Validation", "m/b.png"]]
    if upper:
        cells[0] = [name.upper() for name in cells[0]]
    if windows:
        cells[1] = [cell.replace("/", "\\") for cell in cells[1]]
    quote = '"' if quoted else ""
    lines = [between.join(f"{quote}{cell}{quote}" for cell in row) for row in cells]
    text = (before + "\n".join(lines) + "\n").replace("\n", end)
    path = folder / "pairs.csv"
    path.write_bytes(text.encode(encoding))
    found = pairs.find(path, val_fraction=0)
    assert names(found) == {"val": ["m/é 1"]} and found.problems == []
    assert [file.name for file in found.pairs[0].files()] == ["é 1.png", "b.png"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_as_another_system_writes_them(tmp_path: Path, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    put(tmp_path / unicodedata.normalize(form, "é.png"), picture(SIDE, SIDE))
    put(tmp_path / "b.png", picture(SIDE, SIDE))
    row = {"A": unicodedata.normalize(other, "é.png"), "b": f"file://{tmp_path}/b.png"}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    assert len(pairs.find(tmp_path, val_fraction=0).pairs) == 1


def test_text_in_no_encoding(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfea\0,\0\x00\xd8")
    with pytest.raises(InputError, match=r"not UTF-8 text \(nor utf-16-le\)"):
        pairs.find(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000, "line 1: is nested too deep"),
        ('{"a": x}', "line 1: is no JSON .*column 7"),
        ('{"a": "a.png", "b": "b.png", "split": 0}', "split must be train, val, test, not 0$"),
        ('{"a": "a.png", "b": "b.png", "split": false}', "split must be .*, not False$"),
        ('{"a": "a.png", "b": "b.png", "fold": 0}', "fold must be .* not 0; if it is no split, "),
        ('{"a": "a.png", "b": "b.png", "split": []}', r"split must be .*, not \[\]$"),
    ],
    ids=["deep", "broken", "0", "false", "a fold's number", "a list"],
)
def test_lines_of_json_with_faults(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "pairs.jsonl").write_text(line)
    with pytest.raises(InputError, match=message):
        pairs.find(tmp_path)


@given(
    lines=st.lists(
        st.text(max_size=30)
        | st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: st.dictionaries(st.sampled_from(["a", "b", "split", "c"]), inner),
            max_leaves=5,
        ).map(json.dumps),
        max_size=4,
    ),
    form=st.sampled_from(["csv", "jsonl"]),
)
@settings(max_examples=150)
def test_no_manifest_makes_it_stumble(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], form: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any.{form}"
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    try:
        assert pairs.survey(path).problems
    except InputError as error:
        assert str(path) in str(error)


# What has no partner


@pytest.mark.parametrize("layout", ["A and B in splits", "splits in A and B", "trainA and trainB"])
def test_files_without_partner_are_told(tmp_path: Path, layout: str) -> None:
    lay_out(tmp_path, layout)
    a, b = (part.format(split="train", name="lonely") for part in LAYOUTS[layout] if part)
    put(tmp_path / a, picture(SIDE, SIDE))
    put(tmp_path / b.replace("lonely", "alone"), picture(SIDE, SIDE))
    problems = dict(pairs.survey(tmp_path).problems)
    assert problems == {
        str(tmp_path / a): f"has no partner 'lonely' in {(tmp_path / b).parent}",
        str(tmp_path / b.replace("lonely", "alone")): f"has no partner 'alone' in "
        f"{(tmp_path / a).parent}",
    }
    said = (
        r"(?s)lonely\.png: has no partner.*dataset check.*Partners have equal names.*dataset pair"
    )
    with pytest.raises(InputError, match=said):
        pairs.find(tmp_path)


def test_a_side_that_lacks_is_told(tmp_path: Path) -> None:
    put(tmp_path / "trainA" / "a.png", picture(SIDE, SIDE))
    said = "trainB: there is no such directory.*dataset pair .*trainA OTHER .*pairs.csv"
    with pytest.raises(InputError, match=said):
        pairs.find(tmp_path)


def test_two_files_of_one_name_are_told(tmp_path: Path) -> None:
    lay_out(tmp_path, "A and B")
    put(tmp_path / "A" / "a.jpg", picture(SIDE, SIDE))
    with pytest.raises(InputError, match=r"a\.png: has the same name as a\.jpg"):
        pairs.find(tmp_path)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    lay_out(tmp_path, "A and B")
    for i in range(9):
        put(tmp_path / "A" / f"lonely{i}.png", picture(SIDE, SIDE))
    with pytest.raises(InputError) as caught:
        pairs.find(tmp_path)
    message = str(caught.value)
    assert message.count("has no partner") == 5 and "and 4 more" in message


def test_other_files_and_hidden_ones_are_left_out(tmp_path: Path) -> None:
    wanted = lay_out(tmp_path, "side by side")
    for name in ("notes.txt", ".hidden.png", ".thumbnails/t.png"):
        put_pair(tmp_path, name if name.endswith("png") else "x.png", None, 0)
        (tmp_path / "x.png").unlink(missing_ok=True)
        (tmp_path / name).touch()
    assert names(pairs.find(tmp_path, val_fraction=0)) == wanted


@pytest.mark.parametrize("place", ["empty", "absent", "notes"])
def test_where_no_pairs_are(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with pytest.raises(InputError, match=f"{place}: (there is no such|no pairs found)"):
        pairs.find(tmp_path / place)


@pytest.mark.parametrize("layout", ["imagefolder", "side-by-side"])
def test_a_dataset_for_other_readers_is_refused(tmp_path: Path, layout: str) -> None:
    """Its inputs and outputs would be cut in halves and taken for pairs."""
    wanted = lay_out(tmp_path, "side by side")
    header = json.dumps({"schema": 1, "settings": {"layout": layout}})
    (tmp_path / "manifest.jsonl").write_text(f"{header}\n")
    if layout == "side-by-side":
        assert names(pairs.find(tmp_path, val_fraction=0)) == wanted
        return
    with pytest.raises(InputError, match="--layout imagefolder; the trainer reads side-by-side"):
        pairs.find(tmp_path)


# Who is held out

NAMES = st.lists(st.text("abcdefgh0123456789", min_size=1, max_size=8), unique=True, max_size=40)


def held_out(names: list[str], fraction: float) -> set[str]:
    found = Survey(Path("data"), "side-by-side", [Pair(n, "train", Path(n)) for n in names])
    hold_out(found, fraction)
    assert sorted(pair.name for pair in found.pairs) == sorted(names)
    return {pair.name for pair in found.split("val")}


@given(some=NAMES, more=NAMES, fraction=st.floats(0.1, 0.8))
def test_adding_pairs_moves_none(some: list[str], more: list[str], fraction: float) -> None:
    """Where both splits have a pair without help, names alone decide."""
    fixed = {"bridge", "market"}  # SHA-256 of 17f2... and e4d6...: 0.094 and 0.894 of 1
    first = held_out(list({*fixed, *some}), fraction)
    assert first & fixed == {"bridge"}
    after = held_out(list({*fixed, *some, *more}), fraction)
    assert first == after & {*fixed, *some}


@given(names=NAMES.filter(lambda names: len(names) > 1), fraction=st.floats(0.001, 0.999))
def test_neither_split_is_left_empty(names: list[str], fraction: float) -> None:
    assert 0 < len(held_out(names, fraction)) < len(names)
    assert held_out(names, fraction) == held_out(names[::-1], fraction)


def test_the_share_held_out_is_about_the_fraction() -> None:
    names = [f"{i:06}" for i in range(1500)]
    for fraction in (0.02, 0.1, 0.4):
        share = len(held_out(names, fraction)) / len(names)
        assert share == pytest.approx(fraction, abs=3 * (fraction / len(names)) ** 0.5)


def test_a_split_that_is_given_is_left_alone(tmp_path: Path) -> None:
    lay_out(tmp_path, "side by side in splits")
    assert names(pairs.find(tmp_path, val_fraction=0.5)) == {
        split: sorted(listed) for split, listed in WANTED.items()
    }


def test_one_pair_cannot_be_split(tmp_path: Path) -> None:
    put_pair(tmp_path, "only.png", None, 0)
    with pytest.raises(InputError, match=r"one training pair only.*val_fraction=0"):
        pairs.find(tmp_path)
    assert names(pairs.find(tmp_path, val_fraction=0)) == {"train": ["only"]}


# How they are read


def problems(tmp_path: Path) -> list[tuple[str, str]]:
    return pair_files.check_headers(pairs.find(tmp_path, val_fraction=0).pairs)


def test_headers_tell_other_sizes(tmp_path: Path) -> None:
    lay_out(tmp_path, "A and B")
    path = put(tmp_path / "B" / "b.png", picture(SIDE, SIDE + 2))
    partner = tmp_path / "A" / "b.png"
    expected = f"is {SIDE}x{SIDE + 2} pixels, its partner {partner} is {SIDE}x{SIDE}"
    assert problems(tmp_path) == [(str(path), expected)]
    with pytest.raises(ImageError, match=r"b\.png: its size differs"):
        Reader().pair(Pair("b", "train", partner, path), (3, 3))


def test_headers_tell_odd_widths(tmp_path: Path) -> None:
    lay_out(tmp_path, "side by side")
    path = put(tmp_path / "odd.png", picture(2 * SIDE + 1, SIDE))
    expected = f"is {2 * SIDE + 1} pixels wide, which cannot be halved into A and B"
    assert problems(tmp_path) == [(str(path), expected)]
    with pytest.raises(ImageError, match=r"odd\.png: an odd width"):
        Reader().pair(Pair("odd", "train", path), (3, 3))


def test_headers_tell_what_is_no_image(tmp_path: Path) -> None:
    lay_out(tmp_path, "side by side")
    (tmp_path / "b.png").write_bytes(b"These are words.")
    assert [file for file, _ in problems(tmp_path)] == [str(tmp_path / "b.png")]


def test_grey_images_serve_colour_recipes_and_back(tmp_path: Path) -> None:
    path = put(tmp_path / "grey.png", side_by_side(0, SIDE).convert("L"))
    a, b = Reader().pair(Pair("grey", "train", path), (3, 3))
    assert a.shape == b.shape == (SIDE, SIDE, 3)
    assert (a == a[:, :, :1]).all()
    one, _ = Reader().pair(Pair("grey", "train", path), (1, 1))
    assert one.shape == (SIDE, SIDE, 1) and np.array_equal(one, a[:, :, :1])


def test_sixteen_bits_become_their_high_byte(tmp_path: Path) -> None:
    values = np.arange(SIDE * 2 * SIDE, dtype=np.uint16).reshape(SIDE, 2 * SIDE) * 200
    path = put(tmp_path / "deep.png", Image.fromarray(values))
    a, b = Reader().pair(Pair("deep", "train", path), (1, 3))
    assert np.array_equal(a[:, :, 0], values[:, :SIDE] >> 8)
    assert np.array_equal(b[:, :, 2], values[:, SIDE:] >> 8)


@pytest.mark.parametrize("channels", list(itertools.product([1, 3, 4], repeat=2)))
@pytest.mark.parametrize("layout", ["side by side", "A and B"])
def test_each_side_has_its_own_channels(
    tmp_path: Path, layout: str, channels: tuple[int, int]
) -> None:
    lay_out(tmp_path, layout)
    for pair in pairs.find(tmp_path, val_fraction=0).pairs:
        a, b = Reader().pair(pair, channels)
        assert a.shape == (SIDE, SIDE, channels[0]) and b.shape == (SIDE, SIDE, channels[1])
        colours = np.asarray(picture(SIDE, SIDE, seed_of("train", pair.name)))
        for side, expected in ((a, colours), (b, 255 - colours)):
            if side.shape[2] == 1:
                grey = expected @ [0.299, 0.587, 0.114]  # ITU-R BT.601
                assert np.abs(side[:, :, 0] - grey).max() <= 1
            else:
                assert np.array_equal(side[:, :, :3], expected)
                assert (side[:, :, 3:] == 255).all()


def test_transparency_is_refused_by_recipes_of_three_channels(tmp_path: Path) -> None:
    clear = side_by_side(0, SIDE).convert("RGBA")
    clear.putpixel((1, 1), (1, 2, 3, 100))
    pair = Pair("clear", "train", put(tmp_path / "clear.png", clear))
    with pytest.raises(ImageError, match=r"clear\.png: has 4 channels.*recipe takes 3"):
        Reader().pair(pair, (3, 3))
    a, _ = Reader().pair(pair, (4, 4))
    assert a[1, 1].tolist() == [1, 2, 3, 100]


def test_opaque_alpha_is_dropped(tmp_path: Path) -> None:
    path = put(tmp_path / "opaque.png", side_by_side(0, SIDE).convert("RGBA"))
    a, b = Reader().pair(Pair("opaque", "train", path), (3, 3))
    assert np.array_equal(b, 255 - a)


@pytest.mark.parametrize("cut", [0, 30, 100])
def test_damaged_files_are_named(tmp_path: Path, cut: int) -> None:
    path = put(tmp_path / "torn.png", side_by_side(0, SIDE))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ImageError, match=r"torn\.png: "):
        Reader().pair(Pair("torn", "train", path), (3, 3))
    path.unlink()
    with pytest.raises(ImageError, match=r"torn\.png: cannot be read \(No such file"):
        Reader().pair(Pair("torn", "train", path), (3, 3))


@pytest.mark.parametrize("layout", ["A and B", "side by side"])
def test_names_that_are_no_text(tmp_path: Path, layout: str) -> None:
    """Bytes of an older encoding, as servers and archives leave them."""
    a, b = LAYOUTS[layout]
    names = [os.fsdecode(b"K\xf6ln%d" % number) for number in range(6)]
    for seed, name in enumerate(names):
        put_pair(tmp_path, a.format(name=name), b and b.format(name=name), seed)
    found = pairs.find(tmp_path)
    assert sorted(pair.name for pair in found.pairs) == names
    assert found.split("val")
    with pytest.raises(InputError, match=r"no text \(UTF-8\).*K\\udcf6ln0[.]png; rename"):
        manifest.write(tmp_path / "x.csv", ((p.a, p.b or p.a, "train") for p in found.pairs))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_partners_whose_accents_are_composed_otherwise(tmp_path: Path, form: str) -> None:
    other = "NFD" if form == "NFC" else "NFC"
    cities = ["Zürich", "Köln", "Ærø", "Málaga", "Łódź"]
    for seed, name in enumerate(cities):
        here, there = (unicodedata.normalize(one, name) for one in (form, other))
        put_pair(tmp_path, f"A/{here}.png", f"B/{there}.png", seed)
    found = pairs.find(tmp_path, val_fraction=0)
    assert not found.problems
    here = sorted(unicodedata.normalize(form, name) for name in cities)
    assert [pair.name for pair in found.split("train")] == here
    assert all(np.array_equal(y, 255 - x) for x, y in
               (Reader().pair(pair, (3, 3)) for pair in found.pairs))  # fmt: skip
    paired = pairing.list_pairs(str(tmp_path / "A"), str(tmp_path / "B"), tmp_path / "p.csv")
    assert (paired.pairs, paired.alone) == (len(cities), [])


@pytest.mark.parametrize("form", ["A\\{}.png B\\{}.png", "maps\\train\\{}.png maps\\val\\{}.png"])
def test_directories_in_the_names_of_files_are_told(tmp_path: Path, form: str) -> None:
    """As some programs unpack an archive of Windows."""
    for number, name in itertools.product(range(3), form.split()):
        put_pair(tmp_path, name.format(number), None, number)
    with pytest.raises(InputError, match="names of files hold directories"):
        pairs.find(tmp_path)


def test_a_backslash_in_the_names_of_pictures_side_by_side(tmp_path: Path) -> None:
    for number in range(4):
        put_pair(tmp_path, f"it\\s{number}.png", None, number)
    assert len(pairs.find(tmp_path).pairs) == 4
