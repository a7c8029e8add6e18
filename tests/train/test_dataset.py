"""``dataset check``, ``combine`` and ``split``, as commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pix2pix_batch.cli import main
from pix2pix_batch.train import arrange

RED, BLUE = (255, 0, 0), (0, 0, 255)
SMALL = ("--set", "size=32", "--set", "load_size=36", "--set", "val_fraction=0")


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["dataset", *map(str, arguments)])


def found(data: Path, *arguments: object, code: int = 0) -> dict[str, Any]:
    """What ``check --json`` prints."""
    result = command("check", data, "--json", *(arguments or SMALL))
    assert result.exit_code == code, result.output
    values = json.loads(result.stdout)
    assert isinstance(values, dict)
    return values


def picture(seed: int, mode: str = "RGB", size: tuple[int, int] = (40, 36)) -> Image.Image:
    """Noise of its own for each ``seed``; transparent here and there where ``mode`` has alpha."""
    random = np.random.default_rng(seed)
    bands = {"L": 1, "RGB": 3, "RGBA": 4, "LA": 2}.get(mode)
    if mode == "I;16":
        return Image.fromarray(random.integers(0, 1 << 16, size[::-1], np.uint16))
    shape = size[::-1] if bands == 1 else (*size[::-1], bands)
    return Image.fromarray(random.integers(0, 256, shape, np.uint8), mode)


def save(image: Image.Image, *parts: object, **options: Any) -> Path:
    path = Path(*map(str, parts))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def joined(a: Image.Image, b: Image.Image) -> Image.Image:
    both = Image.new(a.mode, (a.width + b.width, a.height))
    both.paste(a, (0, 0))
    both.paste(b, (a.width, 0))
    return both


def folders(data: Path, count: int = 4, split: str = "train") -> Path:
    for i in range(count):
        save(picture(2 * i), data, "A", split, f"{i}.png")
        save(picture(2 * i + 1), data, "B", split, f"{i}.png")
    return data


def pixels(path: Path, mode: str | None = None) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


# --- check ----------------------------------------------------------------------------------------


def lay_side_by_side(data: Path, split: str, i: int) -> None:
    save(joined(picture(2 * i), picture(2 * i + 1)), data, split, f"{i}.png")


def lay_a_train(data: Path, split: str, i: int) -> None:
    save(picture(2 * i), data, "A", split, f"{i}.png")
    save(picture(2 * i + 1), data, "B", split, f"{i}.bmp")


def lay_train_a(data: Path, split: str, i: int) -> None:
    save(picture(2 * i), data, split, "A", f"{i}.png")
    save(picture(2 * i + 1), data, split, "B", f"{i}.png")


def lay_traina(data: Path, split: str, i: int) -> None:
    save(picture(2 * i), data, f"{split}A", f"{i}.png")
    save(picture(2 * i + 1), data, f"{split}B", f"{i}.png")


def lay_manifest(data: Path, split: str, i: int) -> None:
    save(picture(2 * i), data, "maps", f"{i}.png")
    save(picture(2 * i + 1), data, "photos", f"number {i}.png")
    row = {"a": f"maps/{i}.png", "b": f"photos/number {i}.png", "split": split}
    with (data / "pairs.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


@pytest.mark.parametrize(
    ("lay", "layout", "modes"),
    [
        (lay_side_by_side, "side-by-side", {"AB": {"RGB": 6}}),
        (lay_a_train, "folders", {"A": {"RGB": 6}, "B": {"RGB": 6}}),
        (lay_train_a, "folders", {"A": {"RGB": 6}, "B": {"RGB": 6}}),
        (lay_traina, "folders", {"A": {"RGB": 6}, "B": {"RGB": 6}}),
        (lay_manifest, "manifest", {"A": {"RGB": 6}, "B": {"RGB": 6}}),
    ],
)
def test_each_layout_is_found(
    tmp_path: Path, lay: Callable[[Path, str, int], None], layout: str, modes: dict[str, Any]
) -> None:
    for i, split in enumerate(["train"] * 3 + ["val"] * 2 + ["test"]):
        lay(tmp_path, split, i)
    values = found(tmp_path)
    assert values["layout"] == layout
    assert values["splits"] == {"train": 3, "val": 2, "test": 1}
    assert not values["held_out"]
    assert values["sizes"] == {"40x36": 6}
    assert values["modes"] == modes
    assert values["problems"] == []


def test_what_will_be_trained_on_is_told(tmp_path: Path) -> None:
    folders(tmp_path, 12)
    result = command(
        "check", tmp_path, "--recipe", "facades", "--set", "size=32", "--set", "val_fraction=0.3"
    )
    assert result.exit_code == 0
    assert "held out: those whose names hash below val_fraction 0.3, here" in result.stdout
    assert "B -> A (facade labels -> facade photos)" in result.stdout
    assert "resized to 36x36, cropped to 32x32" in result.stdout
    assert "hint: --sheet" in result.stderr
    values = found(tmp_path, "--set", "val_fraction=0.3", "--set", "size=32")
    assert values["held_out"] and values["splits"]["val"] > 0
    assert sum(values["splits"].values()) == 12
    assert values["training"]["direction"] == "AtoB"


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    folders(tmp_path)
    save(picture(90), tmp_path, "A", "train", "alone.png")
    damaged = save(picture(91), tmp_path, "A", "train", "damaged.png")
    save(picture(92), tmp_path, "B", "train", "damaged.png")
    damaged.write_bytes(damaged.read_bytes()[:-2000])  # the header is whole
    (tmp_path / "B" / "train" / "text.png").write_text("no image")
    save(picture(93), tmp_path, "A", "train", "text.png")
    save(picture(94), tmp_path, "A", "train", "sizes.png")
    save(picture(95, size=(41, 36)), tmp_path, "B", "train", "sizes.png")
    save(picture(96, "RGBA"), tmp_path, "A", "train", "clear.png")
    save(picture(97), tmp_path, "B", "train", "clear.png")
    save(picture(98, size=(32, 31)), tmp_path, "A", "train", "little.png")
    save(picture(99, size=(32, 31)), tmp_path, "B", "train", "little.png")
    values = found(tmp_path, *SMALL, "--set", "fit=tile", code=3)
    problems = {
        Path(row["file"]).relative_to(tmp_path).as_posix(): row["problem"]
        for row in values["problems"]
    }
    assert set(problems) == {
        "A/train/alone.png", "A/train/damaged.png", "B/train/text.png", "B/train/sizes.png",
        "A/train/clear.png", "A/train/little.png",
    }  # fmt: skip
    assert "no partner" in problems["A/train/alone.png"]
    assert "damaged" in problems["A/train/damaged.png"]
    assert "cannot be read as an image" in problems["B/train/text.png"]
    assert "41x36" in problems["B/train/sizes.png"] and "40x36" in problems["B/train/sizes.png"]
    assert "transparency" in problems["A/train/clear.png"]
    assert "32x31" in problems["A/train/little.png"]


def test_every_problem_is_a_line_of_the_text(tmp_path: Path) -> None:
    folders(tmp_path)
    for name in ("x\x1b[31m.png", "y.png"):
        save(picture(90), tmp_path, "A", "train", name)
    result = command("check", tmp_path, *SMALL)
    assert result.exit_code == 3
    assert result.stdout.count("\nproblem: ") == 2 and result.stdout.endswith("2 problems\n")
    assert "\x1b" not in result.stdout


def test_an_odd_width_cannot_be_halved(tmp_path: Path) -> None:
    save(picture(0, size=(81, 40)), tmp_path, "train", "odd.png")
    save(picture(1, size=(80, 40)), tmp_path, "train", "even.png")
    (problem,) = found(tmp_path, code=3)["problems"]
    assert problem["file"].endswith("odd.png") and "81 pixels wide" in problem["problem"]


@pytest.mark.parametrize("side", ["A", "B"])
def test_an_image_in_two_splits_is_a_problem(tmp_path: Path, side: str) -> None:
    """Also when it is stored as another format, and though its partner differs."""
    folders(tmp_path)
    folders(tmp_path, 0, "val")
    save(picture(50), tmp_path, "A", "val", "new.png")
    save(picture(51), tmp_path, "B", "val", "new.png")
    with Image.open(tmp_path / side / "train" / "2.png") as image:
        (tmp_path / side / "val" / "new.png").unlink()
        save(image, tmp_path, side, "val", "new.bmp")
    (problem,) = found(tmp_path, code=3)["problems"]
    assert problem["file"].endswith(f"{side}/val/new.bmp")
    assert f"the same {side} image is in 'train'" in problem["problem"]
    assert f"{side}/train/2.png" in problem["problem"]


def test_a_pair_in_two_splits_is_one_problem(tmp_path: Path) -> None:
    for split in ("train", "test"):
        save(joined(picture(1), picture(2)), tmp_path, split, f"{split}.png")
    (problem,) = found(tmp_path, code=3)["problems"]
    assert "the same pair is in 'train'" in problem["problem"]


def test_repeats_within_a_split_and_plain_colours_are_no_problem(tmp_path: Path) -> None:
    for name in ("1", "2"):
        save(joined(picture(1), picture(2)), tmp_path, "train", f"{name}.png")
    sea = Image.new("RGB", (40, 36), BLUE)
    save(joined(picture(3), sea), tmp_path, "train", "3.png")
    save(joined(picture(4), sea), tmp_path, "val", "4.png")
    assert found(tmp_path)["problems"] == []


def test_a_partner_turned_by_exif_has_the_right_size(tmp_path: Path) -> None:
    """Orientation 6 turns by a quarter: 36x40 stored is 40x36 seen."""
    exif = Image.Exif()
    exif[0x0112] = 6
    save(picture(0, size=(36, 40)), tmp_path, "A", "x.jpg", exif=exif)
    save(picture(1), tmp_path, "B", "x.png")
    values = found(tmp_path)
    assert values["problems"] == [] and values["sizes"] == {"40x36": 1}


def test_images_that_no_pair_has_are_told(tmp_path: Path) -> None:
    folders(tmp_path)
    save(picture(60), tmp_path, "A", "extra", "x.png")
    (note,) = [note for note in found(tmp_path)["notes"] if "no pair" in note]
    assert note.startswith("1 image in") and "extra/x.png" in note


def test_what_is_left_alone_is_counted_as_convert_does(tmp_path: Path) -> None:
    folders(tmp_path)
    for name in ("A/IMG_1.HEIC", "B/IMG_1.heic", "readme.txt", ".DS_Store"):
        (tmp_path / name).touch()
    values = found(tmp_path)
    assert [values[key] for key in ("ignored", "unread", "litter")] == [1, 2, 1]
    told = command("check", tmp_path, *SMALL).stdout
    assert "2 images left alone, of kinds that are not read here:\n  HEIC or HEIF: 2" in told
    (tmp_path / "pairs.csv").write_text("a,b\nA/train/0.png,B/train/0.png\n")
    assert found(tmp_path)["ignored"] == 1, "the manifest is no file left alone"

    only = tmp_path / "only"
    for name in ("A/1.heic", "B/1.heic"):
        (only / name).parent.mkdir(parents=True)
        (only / name).touch()
    refused = command("check", only)
    assert refused.exit_code == 2
    assert "images that are not read here: HEIC or HEIF: 2, such as A/1.heic" in refused.stderr


def test_data_for_testing_alone_has_nothing_to_train_on(tmp_path: Path) -> None:
    folders(tmp_path, split="test")
    (problem,) = found(tmp_path, "--set", "size=32", code=3)["problems"]
    assert "no training pairs" in problem["problem"]


def test_no_data_is_wrong_use(tmp_path: Path) -> None:
    for data in (tmp_path, tmp_path / "nowhere"):
        result = command("check", data)
        assert result.exit_code == 2 and result.output.startswith(f"error: {data}: ")


@pytest.mark.parametrize(("direction", "first"), [("AtoB", RED), ("BtoA", BLUE)])
def test_the_sheet_shows_input_then_target(
    tmp_path: Path, direction: str, first: Sequence[int]
) -> None:
    data, drawn = tmp_path / "data", tmp_path / "sheet.png"
    for side, colour in (("A", RED), ("B", BLUE)):
        save(Image.new("RGB", (40, 40), colour), data, side, "x.png")
    result = command(
        "check", data, *SMALL, "--set", f"direction={direction}", "--sheet", drawn, "--json"
    )
    assert result.exit_code == 0 and json.loads(result.stdout)
    sheet = pixels(drawn)
    colours = [tuple(map(int, sheet[60, x])) for x in (60, 260)]
    assert colours == [first, BLUE if first == RED else RED]


def test_a_sheet_that_cannot_be_written_is_refused_before_all_else(tmp_path: Path) -> None:
    folders(tmp_path / "data")
    for place, reason in (("x.jpg", r"must end in .png"), ("no/x.png", "is no directory")):
        result = command("check", tmp_path / "data", "--sheet", tmp_path / place)
        assert result.exit_code == 2 and reason in result.output


# --- check: mosaics -------------------------------------------------------------------------------


@pytest.fixture
def mosaics(tmp_path: Path) -> Path:
    """A map and a satellite picture of 720x360, land everywhere; and a recipe, ``r.yaml``."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 100, (30, 60, 3), dtype=np.uint8))
    for name in ("map.png", "satellite.png"):
        save(noise.resize((720, 360), Image.Resampling.BICUBIC), tmp_path, "data", name)
    values = {
        "name": "small", "size": 64, "fit": "tile", "downs": 5,
        "mosaic": {
            "source": "map.png", "target": "satellite.png", "sea": [255, 255, 255],
            "train_bands": [[-180, -72], [42, 180]], "val_bands": [[-72, 0]], "min_land": 0.1,
            "crops_per_epoch": 8,
        },
    }  # fmt: skip
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "data"


def test_mosaics_are_checked_too(mosaics: Path, tmp_path: Path) -> None:
    recipe = ("--recipe", mosaics.parent / "r.yaml")
    values = found(mosaics, *recipe, "--sheet", tmp_path / "sheet.png")
    # 72 degrees are 144 pixels: 3 windows of 64 each 32; 360 rows: 10; bands of 216 and 276: 5, 7
    assert values["splits"] == {"train": 10 * (5 + 7), "val": 10 * 3}
    assert values["sizes"] == {"720x360": 1} and values["problems"] == []
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("mosaic.target=none.png", "none.png: there is no such file"),
        ("size=256", "no crop of 256 pixels"),
    ],
)
def test_faults_of_mosaics_are_problems(mosaics: Path, change: str, reason: str) -> None:
    recipe = ("--recipe", mosaics.parent / "r.yaml", "--set", change)
    problems = found(mosaics, *recipe, code=3)["problems"]
    assert any(reason in row["problem"] for row in problems)


# --- combine and split ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "both"),
    [
        (("RGB", "RGB"), "RGB"),
        (("L", "L"), "L"),
        (("L", "RGB"), "RGB"),
        (("RGB", "RGBA"), "RGBA"),
        (("L", "LA"), "RGBA"),
    ],
)
def test_there_and_back_gives_the_same_pixels(
    tmp_path: Path, modes: tuple[str, str], both: str
) -> None:
    data, out, back = (tmp_path / name for name in ("data", "out", "back"))
    for split in ("train", "val", "test"):
        for i, (side, mode) in enumerate(zip("AB", modes, strict=True)):
            save(picture(i, mode), data, side, split, "deep", "x.y.png")
    assert command("combine", data, out).exit_code == 0
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.*") if p.is_file()} == {
        f"{split}/deep/x.y.png" for split in ("train", "val", "test")
    }
    with Image.open(out / "val" / "deep" / "x.y.png") as image:
        assert (image.mode, image.size) == (both, (80, 36))
    assert command("split", out, back).exit_code == 0
    for path in data.rglob("*.png"):
        again = back / path.relative_to(data)
        assert np.array_equal(pixels(again), pixels(path, both))


def test_deep_grey_and_turned_images_are_read_as_for_training(tmp_path: Path) -> None:
    """16 bits by the high byte; EXIF orientation 3 is a half turn."""
    exif = Image.Exif()
    exif[0x0112] = 3
    deep, turned = picture(0, "I;16"), picture(1, "L")
    save(deep, tmp_path, "data", "A", "x.png")
    save(turned, tmp_path, "data", "B", "x.png", exif=exif)
    assert command("combine", tmp_path / "data", tmp_path / "out").exit_code == 0
    a, b = np.split(pixels(tmp_path / "out" / "train" / "x.png"), 2, axis=1)
    assert np.array_equal(a, np.asarray(deep) >> 8)
    assert np.array_equal(b, np.asarray(turned)[::-1, ::-1])


# Before a backslash, what is called like a side is taken for a directory.
name = st.text(st.characters(codec="utf-8", exclude_characters="/\0\\"), min_size=1, max_size=40)
usable = name.filter(lambda text: text[0] != "." and len(text.encode()) < 200)


@settings(max_examples=20, deadline=None)
@given(names=st.sets(usable, min_size=1, max_size=3))
@example(names={"9\\q"})
def test_any_names_come_through(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = tmp_path_factory.mktemp("names")
    for side in "AB":
        for text in names:
            save(Image.new("L", (2, 2), 9), root, "data", side, f"{text}.png")
    assert arrange.combine(root / "data", root / "out").failures == []
    assert arrange.split(root / "out", root / "back").failures == []
    for side in "AB":
        found = {path.name for path in (root / "back" / side / "train").iterdir()}
        assert found == {f"{text}.png" for text in names}


def test_a_bad_file_fails_alone(tmp_path: Path) -> None:
    data, out = folders(tmp_path / "data"), tmp_path / "out"
    (data / "B" / "train" / "1.png").write_bytes(b"no image")
    save(picture(9), data, "A", "train", "alone.png")
    save(picture(9, size=(50, 50)), data, "B", "train", "2.png")
    result = command("combine", data, out)
    assert result.exit_code == 3
    assert "2 pairs written" in result.stdout and "3 failed" in result.stdout
    for text in ("1.png: not an image", "alone.png: has no partner", "2.png: is 50x50 pixels"):
        assert text in result.stderr
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == ["0.png", "3.png"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    data, out = folders(tmp_path / "data"), tmp_path / "out"
    mine = save(picture(0), out, "train", "0.png")
    before = mine.read_bytes()
    assert command("combine", data, out).exit_code == 2
    assert command("combine", data, data / "inside").exit_code == 2
    assert mine.read_bytes() == before and [*out.rglob("*.png")] == [mine]
    (tmp_path / "empty").mkdir()
    assert command("combine", data, tmp_path / "empty").exit_code == 0


def test_a_place_that_cannot_be_made_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no directory")
    result = command("combine", folders(tmp_path / "data"), file / "out")
    assert result.exit_code == 2
    told = "cannot be made (Not a directory); give another place"
    assert result.output == f"error: {file / 'out'}: {told}\n"


def test_the_other_way_is_named(tmp_path: Path) -> None:
    folders(tmp_path / "two")
    lay_side_by_side(tmp_path / "one", "train", 0)
    result = command("combine", tmp_path / "one", tmp_path / "out")
    assert result.exit_code == 2 and "dataset split" in result.output
    result = command("split", tmp_path / "two", tmp_path / "out")
    assert result.exit_code == 2 and "dataset combine" in result.output
    assert not (tmp_path / "out").exists()


def test_a_manifest_cannot_lead_out(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "deep" / "out"
    for i in range(3):
        save(picture(i), tmp_path, f"{i}.png")
    data.mkdir()
    rows = ["a,b", "../0.png,../1.png", *[f"{tmp_path}/1.png,../2.png"] * 2]
    (data / "pairs.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    result = command("combine", data, out)
    assert result.exit_code == 3 and "may lead out of OUT" in result.stderr
    assert "1.png: is the A of several pairs" in result.stderr
    inside = str(tmp_path / "1.png").lstrip("/")
    assert [p for p in tmp_path.rglob("*") if p.is_file() and out in p.parents] == [
        out / "train" / inside
    ]


def test_equal_names_are_not_written_over_each_other(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    save(picture(0), data, "x.bmp")
    save(picture(1), data, "x.png")
    result = command("split", data, out)
    assert result.exit_code == 3
    assert "x.png: has the same name as" in result.stderr and "x.bmp" in result.stderr
    assert np.array_equal(pixels(out / "A" / "train" / "x.png"), np.asarray(picture(0))[:, :20])


def test_jpeg_on_request(tmp_path: Path) -> None:
    data = folders(tmp_path / "data")
    save(picture(0, "RGBA"), data, "A", "train", "clear.png")
    save(picture(1), data, "B", "train", "clear.png")
    result = command("combine", data, tmp_path / "out", "--format", "jpg", "--quality", 70)
    assert result.exit_code == 3 and "clear.png: JPEG holds no transparency" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out" / "train").iterdir()) == [
        f"{i}.jpg" for i in range(4)
    ]
    result = command("combine", data, tmp_path / "other", "--quality", 70)
    assert result.exit_code == 2 and "--format jpg" in result.output
