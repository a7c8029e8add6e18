"""Directories and files that are two sides of pairs, by their names; ``dataset pair``."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.cli import main
from pix2pix_batch.errors import InputError
from pix2pix_batch.train import pairs, partners, sides
from tests.train.scenes import labels, lay, lay_whole, photo, save

USUAL = [
    ("train_A", "train_B"), ("a", "b"), ("input", "target"), ("Inputs", "Targets"),
    ("input", "output"), ("source", "target"), ("src", "dst"), ("images", "masks"),
    ("image", "mask"), ("img", "label"), ("images", "annotations"), ("imgs", "seg"),
    ("JPEGImages", "SegmentationClass"), ("conditioning_images", "images"),
    ("conditioning", "image"), ("sketches", "photos"), ("edges", "photos"), ("lq", "gt"),
    ("LR", "HR"), ("low", "high"), ("noisy", "clean"), ("rain", "norain"), ("hazy", "clear"),
    ("blur", "sharp"), ("gray", "color"), ("x", "y"), ("real_A", "real_B"), ("imgA", "imgB"),
    ("Input Images", "Target Images"), ("train_label", "train_img"), ("day", "night"),
    ("map", "satellite"), ("images", "depth"), ("trainInput", "trainTarget"), ("labels", "gt"),
    ("train", "train_labels"), ("train", "trainannot"), ("training", "training_masks"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), USUAL)
def test_usual_names_are_sides(tmp_path: Path, a: str, b: str) -> None:
    """The first is A; each pair's files are its own."""
    lay(tmp_path, a + "/{i}.png", b + "/{i}.png", 3)
    found = pairs.find(tmp_path, val_fraction=0)
    assert found.layout == "folders" and len(found.pairs) == 3
    for pair in found.pairs:
        assert pair.b is not None
        assert (pair.a.parent.name, pair.b.parent.name) == (a, b)
        assert pair.a.name == pair.b.name


@pytest.mark.parametrize(
    ("place", "split"),
    [
        ("{split}/input", "validation"), ("input/{split}", "valid"), ("{split}_input", "val"),
        ("input_{split}", "val"), ("{split}-Input", "Val"),
    ],
)  # fmt: skip
def test_splits_lie_around_inside_or_in_the_names(tmp_path: Path, place: str, split: str) -> None:
    for word in ("train", split):
        a = place.format(split=word)
        target = "Target" if "Input" in a else "target"
        b = a.replace("input", target).replace("Input", target)
        lay(tmp_path, a + "/{i}.png", b + "/{i}.png", 3)
    counts = pairs.find(tmp_path).counts()
    assert counts == {"train": 3, "val": 3}


@pytest.mark.parametrize("word", ["training", "validation", "testing", "dev"])
def test_other_words_for_splits(tmp_path: Path, word: str) -> None:
    """Of images side by side too: what validates is not trained on."""
    for folder in ("train" if word != "training" else "val", word):
        lay_whole(tmp_path / folder, lambda i: np.hstack([labels(i), photo(i)]), 3)
    expected = {"training": "train", "validation": "val", "testing": "test", "dev": "val"}[word]
    assert pairs.survey(tmp_path, val_fraction=0).counts()[expected] == 3


UNUSUAL = {
    "two directories": ("foo/{i}.png", "bar/{i}.png"),
    "in a split": ("train/foo/{i}.png", "train/bar/{i}.png"),
    "of nearly equal names": ("foo/{i}_f.png", "bar/{i}_b.png"),
    "a word at the end": ("{i}_A.png", "{i}_B.png"),
    "a letter at the end": ("{i}a.png", "{i}b.png"),
    "one without": ("{i}.png", "{i}_mask.png"),
    "a word at the start": ("input_{i}.png", "target_{i}.png"),
    "another suffix": ("{i}.bmp", "{i}.png"),
    "a directory a pair": ("{i:03}/one.png", "{i:03}/two.png"),
}


@pytest.mark.parametrize("kind", UNUSUAL)
def test_what_is_called_alike_is_no_image_side_by_side(tmp_path: Path, kind: str) -> None:
    """It is refused, and the command that it names lists the pairs, after which it is read."""
    data = lay(tmp_path / "some data", *UNUSUAL[kind])
    for command in (["dataset", "check"], ["train"], ["dataset", "combine"]):
        more = [] if command[-1] == "check" else [str(tmp_path / "out")]
        ran = CliRunner().invoke(main, [*command, str(data), *more])
        assert ran.exit_code == 2 and "two sides of pairs" in ran.output, ran.output
    words = shlex.split(ran.output.split("'pix2pix-batch dataset pair ")[1].split("' (A first)")[0])
    assert CliRunner().invoke(main, ["dataset", "pair", *words]).exit_code == 0
    found = pairs.find(data, val_fraction=0)
    assert found.layout == "manifest" and len(found.pairs) == 12 and found.counts()["train"] == 12
    rest = {(kind, path.name): path for pair in found.pairs for path in pair.files()}
    assert len(found.pairs) == 12 and rest
    for pair in found.pairs:
        numbers = [partners.NUMBER.search(str(path.relative_to(data))) for path in pair.files()]
        assert numbers[0] and numbers[1] and numbers[0][0] == numbers[1][0]


@pytest.mark.parametrize(
    "names", [("town1/{i}.png", "town2/{i}.png"), ("cat_{i}.png", "dog_{i}.png")]
)
def test_pairs_side_by_side_may_be_called_alike(tmp_path: Path, names: tuple[str, str]) -> None:
    """Their halves leave no doubt."""
    for i in range(12):
        for k, name in enumerate(names):
            both = np.hstack([labels(20 * k + i), photo(20 * k + i)])
            save(both, tmp_path / name.format(i=i))
    assert len(pairs.find(tmp_path, val_fraction=0).pairs) == 24


HINTED = {
    "sides in each scene": ("train/GOPR{s}_07/blur/{i}.png", "train/GOPR{s}_07/sharp/{i}.png"),
    "scenes without a split": ("town{s}/blur/{i}.png", "town{s}/sharp/{i}.png"),
    "sides of other names": ("scene{s}/foo/{i}.png", "scene{s}/bar/{i}.png"),
    "scenes of several splits": ("{split}/s{s}/foo/{i}.png", "{split}/s{s}/bar/{i}.png"),
    "deeper": ("{split}/x/s{s}/in/foo/{i}.png", "{split}/x/s{s}/in/bar/{i}.png"),
    "files of two marks": ("s{s}/{i}_f.png", "s{s}/{i}_b.png"),
    "usual names in each scene": ("s{s}/A/{i}.png", "s{s}/B/{i}.png"),
    "frames by number in two sides": ("foo/{s}/{i}.png", "bar/{s}/{i}.png"),
    "equal names in other trees": (
        "images/10k/{split}/{s}-{i}.jpg", "labels/sem_seg/colormaps/{split}/{s}-{i}.png",
    ),
    "classes on one side": ("A/class{s}/{s}-{i}.png", "B/{s}-{i}.png"),
    "a word at the end": ("train/{s}-{i}.jpg", "train_masks/{s}-{i}_mask.gif"),
}  # fmt: skip
"""Two sides of pairs each, of which a command is named."""

EXTRA = {
    "sides in each scene": "train/GOPR{s}_07/blur_gamma/{i}.png",
    "equal names in other trees": "labels/sem_seg/masks/{split}/{s}-{i}.png",
}
"""What lies beside them."""


def run_hint(data: Path) -> str:
    """Run the command that ``dataset check`` names, and return what it said."""
    ran = CliRunner().invoke(main, ["dataset", "check", str(data)])
    assert ran.exit_code in (2, 3), ran.output
    words = shlex.split(ran.output.split("'pix2pix-batch dataset pair ")[1].split("' (A first)")[0])
    paired = CliRunner().invoke(main, ["dataset", "pair", *words])
    assert paired.exit_code == 0, paired.output
    return ran.output


@pytest.mark.parametrize("scenes", [2, 9])
@pytest.mark.parametrize("kind", HINTED)
@pytest.mark.parametrize("has_extra", [False, True])
def test_the_command_that_is_named_pairs_rightly(
    tmp_path: Path, kind: str, scenes: int, has_extra: bool
) -> None:
    if has_extra and kind not in EXTRA:
        return
    data, partner = tmp_path / "data", {}
    for s in range(scenes):
        for i in range(2):
            split = "train" if i else "val"
            places = [data / name.format(s=s, i=i, split=split) for name in HINTED[kind]]
            partner[places[0]] = places[1]
            more = [data / EXTRA[kind].format(s=s, i=i, split=split)] if has_extra else []
            for k, place in enumerate([*places, *more]):
                save((photo, labels, labels)[k](s * 10 + i), place)
    run_hint(data)
    found = pairs.survey(data, val_fraction=0)
    assert len(found.pairs) == 2 * scenes
    for pair in found.pairs:
        a, b = pair.files()
        assert partner.get(a) == b or partner.get(b) == a
    if "{split}" in HINTED[kind][0]:
        assert found.counts() == {"train": scenes, "val": scenes}


def test_no_command_is_named_where_nothing_tells_which_are_the_sides(tmp_path: Path) -> None:
    for i in range(12):
        for side in ("foo", "bar"):
            for group in ("cat", "dog"):
                save(labels(i), tmp_path / side / group / f"{i}.png")
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    assert ran.exit_code == 2 and "which are A and which B?" in ran.output
    assert "INPUTS" in ran.output and f"{tmp_path}/foo {tmp_path}/bar" not in ran.output


def test_marks_that_few_files_have_are_named_in_no_command(tmp_path: Path) -> None:
    """A mask's name that is a digest may end as if it had a mark."""
    for i in range(10):
        save(photo(i), tmp_path / f"{i:04x}" / "images" / f"{i:04x}0.png")
        for k in range(2):
            name = f"{i}77{'cd'[k]}" if i == 3 else f"{i}{k}58{k}1"
            save(labels(10 * i + k), tmp_path / f"{i:04x}" / "masks" / f"{name}.png")
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    assert "*c.png" not in ran.output.split("which are A")[-1]


def test_pairs_that_are_not_for_training_are_not_put_with_the_others(tmp_path: Path) -> None:
    for folder in ("our485", "eval15"):
        lay(tmp_path, folder + "/low/{i}.png", folder + "/high/{i}.png", 2)
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    assert ran.exit_code == 2 and "give one of them" in ran.output
    assert "dataset pair" not in ran.output


def test_pair_says_where_the_partners_are(tmp_path: Path) -> None:
    for i in range(4):
        for place in ("x/1", "y/masks/1", "y/colormaps/1"):
            save(labels(i), tmp_path / place / f"s{i}.png")
    words = [str(tmp_path / side) for side in ("x", "y", "pairs.csv")]
    ran = CliRunner().invoke(main, ["dataset", "pair", *words])
    assert ran.exit_code == 2 and f"give {tmp_path / 'y/colormaps'} instead" in ran.output


@pytest.mark.parametrize(("a", "b"), [("train", "train_masks"), ("train", "trainannot")])
def test_sides_are_told_by_their_own_names(tmp_path: Path, a: str, b: str) -> None:
    lay(tmp_path, a + "/{i}.png", b + "/{i}.png", 3)
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    assert f"(A: {a}/, B: {b}/)" in ran.output


@pytest.mark.parametrize("inner", ["mydata", "mydata/train"])
def test_data_within_a_directory_is_pointed_at(tmp_path: Path, inner: str) -> None:
    lay(tmp_path, inner + "/A/{i}.png", inner + "/B/{i}.png", 3)
    with pytest.raises(InputError, match=r"the pairs lie in .*/mydata; give that directory"):
        pairs.find(tmp_path)


def test_several_possible_sides_are_asked_about(tmp_path: Path) -> None:
    lay(tmp_path, "images/{i}.png", "masks/{i}.png", 3)
    lay(tmp_path, "images/{i}.png", "depth/{i}.png", 3)
    with pytest.raises(InputError, match=r"may be A or B: depth, images, masks.*dataset pair"):
        pairs.find(tmp_path)


# Partners


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("{i}_A", "{i}_B", "without '_A' and '_B' at their ends"),
        ("IMG_{i}", "img_{i}", "letter case and leading zeros apart"),
        ("{i}", "{i:05}", "letter case and leading zeros apart"),
        ("{i}", "{i}_mask", "without '_mask' at their ends"),
        ("rgb_{i}", "depth_{i}", "without 'rgb_' and 'depth_' at their starts"),
        ("x_{i:06}_9_leftImg8bit", "x_{i:06}_9_gtFine_labelIds", "without '_leftImg8bit' and"),
        ("IMG_{i:04} (1)", "scan-{i}-1", "by the numbers in them"),
    ],
)
def test_one_line_says_what_would_pair_them(tmp_path: Path, a: str, b: str, told: str) -> None:
    lay(tmp_path, f"A/{a}.png", f"B/{b}.png", 12)
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    (line,) = [line for line in ran.stdout.splitlines() if "no partner" in line]
    assert told in line and "12 pair" in line and "24 of 24 files" in line
    assert "dataset pair" in line and ran.exit_code == 3
    words = [str(tmp_path / "A"), str(tmp_path / "B"), str(tmp_path / "pairs.csv")]
    assert CliRunner().invoke(main, ["dataset", "pair", *words]).exit_code == 0
    assert len(pairs.find(tmp_path, val_fraction=0).pairs) == 12


@pytest.mark.parametrize(
    ("a", "b"),
    [("{i}", "{i}"), ("rgb_{i:04}", "depth_{i:04}"), ("f{i:04}", "{i}_depth"), ("x/{i}", "x/n{i}")],
)
def test_sides_numbered_from_different_starts_are_doubted(tmp_path: Path, a: str, b: str) -> None:
    for i in range(12):
        save(labels(i), tmp_path / f"A/{a.format(i=i)}.png")
        save(photo(i), tmp_path / f"B/{b.format(i=i + 1)}.png")
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    assert "numbered from different starts" in ran.output and ran.exit_code == 3
    words = [str(tmp_path / "A"), str(tmp_path / "B"), str(tmp_path / "pairs.csv")]
    ran = CliRunner().invoke(main, ["dataset", "pair", *words])
    assert ran.exit_code == 2 and "whose number is one higher in B" in ran.output
    assert not (tmp_path / "pairs.csv").exists()
    (tmp_path / f"A/{a.format(i=0)}.png").unlink()  # as the message says
    (tmp_path / f"B/{b.format(i=12)}.png").unlink()
    assert CliRunner().invoke(main, ["dataset", "pair", *words]).exit_code == 0


@pytest.mark.parametrize(
    ("form", "missing"),
    [
        ("{i:03}", {"A": {4}, "B": {9}}),
        ("{i}", {"B": {12}}),
        ("frame{i}of30", {}),
        ("s1_{i:04}_v2_take1", {"A": {5, 6}, "B": {3, 8}}),
    ],
)
def test_an_offset_is_doubted_also_where_files_are_missing(
    form: str, missing: dict[str, set[int]]
) -> None:
    a, b = (
        [form.format(i=i) for i in numbers if i not in missing.get(side, set())]
        for side, numbers in (("A", range(12)), ("B", range(1, 13)))
    )
    match = partners.propose(a, b)
    assert match is not None
    assert partners.find_offset(a, b, match)


@given(
    numbers=st.sets(st.integers(0, 60), min_size=8),
    missing=st.sets(st.integers(1, 60), max_size=2),
    form=st.sampled_from(["{i}", "{i:04}", "take2_{i:03}"]),
)
def test_what_is_numbered_alike_is_not_doubted_where_one_side_is_whole(
    numbers: set[int], missing: set[int], form: str
) -> None:
    """Also with files missing from the other side; of a file called 0 one cannot tell."""
    a = [form.format(i=i) for i in sorted(numbers)]
    b = [form.format(i=i) for i in sorted(numbers - missing)]
    match = partners.propose(a, b)
    assert match is not None and not partners.find_offset(a, b, match)


def test_numbers_of_reordered_words_pair_nothing() -> None:
    places = [(x, y) for x in range(4) for y in range(4)]
    assert (
        partners.propose([f"x{x}_y{y}" for x, y in places], [f"y{y}_x{x}" for x, y in places])
        is None
    )


def test_unpaired_data_are_refused_in_one_line(tmp_path: Path) -> None:
    for i in range(30):
        save(labels(i), tmp_path / "trainA" / f"n0{i * 77 + 5}.png")
        save(photo(i + 50), tmp_path / "trainB" / f"z{i * 31 + 9000}.png")
    with pytest.raises(InputError, match=r"60 of 60 files .* no partner.*CycleGAN") as caught:
        pairs.find(tmp_path)
    assert len(str(caught.value)) < 1000


CORES = st.lists(st.from_regex(r"[a-z]{1,4}[0-9]{1,3}", fullmatch=True), min_size=2, unique=True)


@given(
    cores=CORES,
    marks=st.tuples(*[st.sampled_from(["", "_A", "_B", "-mask", " gt", "_rgb"])] * 2),
    front=st.booleans(),
    shift=st.booleans(),
)
@settings(deadline=None)
def test_a_rule_never_pairs_strangers(
    cores: list[str], marks: tuple[str, str], front: bool, shift: bool
) -> None:
    """Names made of the same word but for a side's own mark are paired, all of them and rightly."""
    cores = [core for core in cores if str(int(core.lstrip("abcdefghijklmnopqrstuvwxyz"))) in core]
    sides = [
        [f"{mark[1:]}_{core}" if front and mark else core + mark for core in cores]
        for mark in marks
    ]
    if shift:
        sides[1] = [name.upper() for name in sides[1]]
    if len({core.lower() for core in cores}) < 2:
        return
    found = partners.propose(*sides)
    assert found is not None
    lookup = [dict(zip(names, range(len(names)), strict=True)) for names in sides]
    assert all(lookup[0][x] == lookup[1][y] for x, y in found.pairs)


def test_a_manifest_keeps_splits_and_tells_who_is_alone(tmp_path: Path) -> None:
    for split in ("train", "test"):
        lay(tmp_path, split + "_in1/{i}.png", split + "_in2/{i}.png", 4)
    save(labels(9), tmp_path / "train_in1" / "lonely.png")
    out = tmp_path / "lists" / "pairs.csv"
    words = [str(tmp_path / "*_in1"), str(tmp_path / "*_in2"), str(out)]
    ran = CliRunner().invoke(main, ["dataset", "pair", *words])
    assert ran.exit_code == 3 and "8 pairs" in ran.stdout and "lonely.png" in ran.stderr
    assert pairs.find(out, val_fraction=0).counts() == {"train": 4, "test": 4}
    ran = CliRunner().invoke(main, ["dataset", "pair", *words])
    assert ran.exit_code == 2 and "exists" in ran.stderr


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train2017", "train"), ("val2017", "val"), ("train_set", "train"), ("test_256", "test"),
        ("train-data", "train"), ("test_images", "test"), ("trainAB", "train"), ("testset", "test"),
        ("Validation", "val"), ("test_flight", None), ("crash_test", None), ("trainer", None),
        ("trains", None), ("A", None),
    ],
)  # fmt: skip
def test_names_of_splits(name: str, split: str | None) -> None:
    assert sides.split_of_name(name) == split


def test_directories_that_are_called_like_splits_and_more_are_doubtful(tmp_path: Path) -> None:
    for name in ("train_city", "test_city", "other"):
        (tmp_path / name).mkdir()
    assert [path.name for path in sides.find_doubtful_splits(tmp_path)] == [
        "test_city", "train_city"
    ]  # fmt: skip
    (tmp_path / "test_city").rmdir()
    assert not sides.find_doubtful_splits(tmp_path), "one of them says nothing"


def test_links_to_directories_are_counted(tmp_path: Path) -> None:
    data = lay(tmp_path / "data", "A/1/{i}.png", "B/1/{i}.png", 2)
    lay(tmp_path / "disk", "A/{i}.png", "B/{i}.png", 2)
    for side in "AB":
        (data / side / "2").symlink_to(tmp_path / "disk" / side)
    found = pairs.survey(data)
    assert len(found.pairs) == 2
    assert "2 links to directories are not followed" in found.describe_links()
    ran = CliRunner().invoke(main, ["dataset", "check", str(data)])
    assert "2 links to directories are not followed" in ran.output
    linked = tmp_path / "linked"
    linked.mkdir()
    for side in "AB":
        (linked / side).symlink_to(tmp_path / "disk" / side)
    assert not pairs.survey(linked).describe_links(), "a side itself may be one"


def test_labels_beside_directories_that_are_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        lay(tmp_path, split + "/{i}.png", f"{split}annot/{{i}}.png", 3)
    found = pairs.find(tmp_path)
    assert found.counts() == {"train": 3, "val": 3, "test": 3}
    assert all(pair.b and pair.b.parent.name.endswith("annot") for pair in found.pairs)


def test_splits_side_by_side_have_many_names(tmp_path: Path) -> None:
    for name in ("train2017", "val2017", "test_set"):
        lay_whole(tmp_path / name, lambda i: np.concatenate([labels(i), photo(i)], axis=1), 2)
    found = pairs.survey(tmp_path)
    assert found.counts() == {"train": 2, "val": 2, "test": 2}
    assert not found.doubts


def test_names_that_say_more_than_a_split_are_doubted(tmp_path: Path) -> None:
    for name in ("train_city", "test_city"):
        lay_whole(tmp_path / name, lambda i: np.concatenate([labels(i), photo(i)], axis=1), 2)
    found = pairs.survey(tmp_path, val_fraction=0)
    assert found.counts() == {"train": 4}
    assert "called like splits" in found.doubts[0]


def test_pair_tells_what_it_cannot_tell_apart_and_which_splits_there_are(tmp_path: Path) -> None:
    lay(tmp_path, "A/test_flight/{i}.png", "B/test_flight/{i}.png", 4)
    lay(tmp_path, "A/val/{i}.png", "B/val/{i}.png", 2)
    save(labels(9), tmp_path / "A/test_flight/3.jpg")
    words = [str(tmp_path / "A"), str(tmp_path / "B"), str(tmp_path / "pairs.csv")]
    ran = CliRunner().invoke(main, ["dataset", "pair", *words])
    assert ran.exit_code == 3
    assert "train 3, val 2" in ran.output
    for name in ("A/test_flight/3.jpg", "A/test_flight/3.png", "B/test_flight/3.png"):
        assert name in ran.output


@pytest.mark.parametrize("column", ["subset", "Set", "partition", "fold"])
def test_columns_that_say_splits_by_another_name(tmp_path: Path, column: str) -> None:
    lay(tmp_path, "x/{i}.png", "y/{i}.png", 2)
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(f"a,b,{column}\nx/0.png,y/0.png,train\nx/1.png,y/1.png,val\n")
    assert pairs.survey(tmp_path).counts() == {"train": 1, "val": 1}
    manifest.write_text(f"a,b,{column}\nx/0.png,y/0.png,3\n")
    with pytest.raises(InputError, match=f"line 2: {column.lower()} must be train, val, test"):
        pairs.survey(tmp_path)


def test_split_doubts_what_are_no_pairs(tmp_path: Path) -> None:
    lay_whole(tmp_path / "data", photo, 4)
    ran = CliRunner().invoke(
        main, ["dataset", "split", str(tmp_path / "data"), str(tmp_path / "out")]
    )
    assert "doubt: no image is wider than high" in ran.output


def test_an_image_one_pixel_high(tmp_path: Path) -> None:
    lay_whole(tmp_path, lambda i: np.concatenate([labels(i), photo(i)], axis=1), 3)
    save(photo(1)[:1], tmp_path / "low.png")
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path)])
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
