"""What the images themselves say against being pairs, as ``dataset check`` tells it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageFilter

from pix2pix_batch.cli import main
from pix2pix_batch.train import pairs
from pix2pix_batch.train.data import open_data
from pix2pix_batch.train.deep_samples import describe_remedies
from pix2pix_batch.train.pair_doubts import find_doubts
from pix2pix_batch.train.recipe import find_recipe, read_recipe
from tests.train.scenes import PALETTE, labels, lay, lay_whole, photo, plan, save

Make = Callable[[int], np.ndarray]
A, B = "A/{i}.png", "B/{i}.png"


def doubts(data: Path) -> list[str]:
    """Both ways: of some pairs, as ``train`` has them, and of all, as ``dataset check`` does."""
    found = pairs.find(data, val_fraction=0)
    remedies = partial(describe_remedies, found.pairs, read_recipe(find_recipe("default")))
    told = find_doubts(found.layout, found.pairs, describe_remedies=remedies)
    ran = CliRunner().invoke(main, ["dataset", "check", str(data), "--set", "size=64"])
    repeats = "and the same B image is in" in ran.stdout  # in two splits, a problem of its own
    assert ran.exit_code == (3 if repeats else 0), ran.output
    lines = [line for line in ran.stdout.splitlines() if line.startswith("doubt: ")]
    assert [line.removeprefix("doubt: ") for line in lines][: len(told)] == told
    assert ("no problems" in ran.stdout) == (not lines and not repeats)
    return [line.removeprefix("doubt: ") for line in lines]


def grey(make: Make) -> Make:
    return lambda i: make(i)[:, :, 1].copy()


def blurred(i: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo(i)).filter(ImageFilter.GaussianBlur(2)))


def edges(i: int) -> np.ndarray:
    found = Image.fromarray(photo(i)).convert("L").filter(ImageFilter.FIND_EDGES)
    return 255 - np.asarray(found)


def product(i: int) -> np.ndarray:
    """What is the same upside down, on white, with a line across its middle."""
    random = np.random.default_rng(i)
    height, width = random.integers(14, 28, 2)
    y, x = np.mgrid[-32:32, -32:32] + 0.5
    image = np.full((64, 64, 3), 255, np.uint8)
    image[(y / height) ** 2 + (x / width) ** 2 < 1] = random.integers(0, 200, 3)
    image[32:34, 32 - width // 2 : 32 + width // 2] = 0
    return image


def outline(i: int) -> np.ndarray:
    """The horizontal edges of :func:`product`."""
    steps = np.abs(np.gradient(product(i).astype(float).mean(axis=2))[0])
    return np.where(steps > 5, 0, 255).astype(np.uint8)


SOUND: dict[str, tuple[Make, Make]] = {
    "labels and photos": (labels, photo),
    "photos and labels": (photo, labels),
    "a mask": (photo, lambda i: (plan(i) > 3).astype(np.uint8) * 255),
    "edges": (edges, photo),
    "grey and colour": (grey(photo), photo),
    "blurred": (blurred, photo),
    "edges of what is symmetric": (outline, product),
    "on two scales": (lambda i: grey(photo)(i) // (16 if i % 3 else 1), photo),
    "16 bits": (photo, lambda i: photo(i)[:, :, 0].astype(np.uint16) * 257),
    "noise": (lambda i: np.clip(photo(i) + np.random.default_rng(i).normal(0, 12, (64, 64, 3)),
                                0, 255).astype(np.uint8), photo),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND)
@pytest.mark.parametrize("layout", ["folders", "side by side"])
def test_pairs_are_not_doubted(tmp_path: Path, kind: str, layout: str) -> None:
    first, second = SOUND[kind]
    if layout == "folders":
        lay(tmp_path, A, B, 12, first, second)
    elif kind != "16 bits":
        lay_whole(tmp_path, lambda i: np.hstack([_rgb(first(i)), _rgb(second(i))]))
    else:
        return
    assert doubts(tmp_path) == []


def _rgb(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def with_255(i: int) -> np.ndarray:
    image = plan(i)
    image[:4] = 255
    return image


VALUES: dict[str, tuple[Make, str]] = {
    "0 and 1": (lambda i: (plan(i) > 3).astype(np.uint8), "B uses levels 0..1 of 255"),
    "classes by number": (plan, "B uses levels 0..7 of 255"),
    "with 255 to ignore": (with_255, "B uses levels 0..7 and 255 of 255"),
    "150 classes": (lambda i: plan(i) * 17 + (i * 5) % 16 + 1, "labels by number"),
    "16 bits hardly used": (lambda i: photo(i)[:, :, 0].astype(np.uint16) * 6, "levels 0..5 of"),
    "black": (lambda i: np.zeros((64, 64, 3), np.uint8), "every B is of one colour (0)"),
    "one colour each": (lambda i: np.full((64, 64), 9 * i, np.uint8), "every B is of one colour"),
    "always the same": (lambda i: photo(0), "every B is the same picture"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_are_looked_at(tmp_path: Path, kind: str) -> None:
    make, told = VALUES[kind]
    lay(tmp_path, A, B, 12, photo, make)
    found = doubts(tmp_path)
    assert any(told in line for line in found), found


def test_labels_of_16_bits_have_a_remedy_that_helps(tmp_path: Path) -> None:
    """Their high bytes are all 0; PNG files, of which no name says that they are rasters."""
    lay(tmp_path, A, B, 12, photo, lambda i: plan(i).astype(np.uint16))
    remedy = ["out_channels=1", "output_range={type: uint16, percentiles: [0, 100]}"]
    (found,) = doubts(tmp_path)
    assert found.startswith("every B is of one colour (0): its files have samples of uint16; ")
    assert f"--set {remedy[0]} --set '{remedy[1]}'" in found
    settings = [word for one in ("size=64", *remedy) for word in ("--set", one)]
    ran = CliRunner().invoke(main, ["dataset", "check", str(tmp_path), *settings])
    assert ran.exit_code == 0 and "rasters B: 12 files, uint16, 1 band" in ran.stdout
    assert "no problems" in ran.stdout


STRANGE: dict[str, tuple[Make, str]] = {
    "square pictures": (photo, "no image is wider than high"),
    "a panorama": (lambda i: np.asarray(Image.fromarray(photo(i)).resize((128, 64))), "run on"),
    "copies": (lambda i: np.hstack([photo(i)] * 2), "the same picture in 12 of 12 pairs"),
    "three": (lambda i: np.hstack([labels(i), photo(i), labels(i + 90)]), "three pictures"),
    "four": (lambda i: np.hstack([labels(i), photo(i), labels(i + 90), photo(i)]), "four pictures"),
    "a gap": (
        lambda i: np.hstack([labels(i), np.full((64, 10, 3), 255, np.uint8), photo(i)]),
        "a band of one colour, 10 pixels wide",
    ),
    "strangers": (lambda i: np.hstack([labels(i), photo(i + 40)]), "no more of each other than"),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_not_side_by_side_is_doubted(tmp_path: Path, kind: str) -> None:
    make, told = STRANGE[kind]
    lay_whole(tmp_path, make, 16 if kind == "strangers" else 12)
    found = doubts(tmp_path)
    assert any(told in line for line in found), found


TURNED: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "mirrored": (lambda x: x[:, ::-1], "mirrored"),
    "upside down": (lambda x: x[::-1], "upside down"),
    "by half": (lambda x: x[::-1, ::-1], "turned by half"),
    "by a quarter": (np.rot90, "turned by a quarter"),
    "transposed": (lambda x: x.transpose(1, 0, 2), "rows and columns exchanged"),
}


@pytest.mark.parametrize("kind", TURNED)
def test_turned_partners_are_doubted(tmp_path: Path, kind: str) -> None:
    turn, told = TURNED[kind]
    lay(tmp_path, A, B, 12, labels, lambda i: np.ascontiguousarray(turn(photo(i))))
    (found,) = doubts(tmp_path)
    assert told in found


def test_partners_of_others_are_doubted(tmp_path: Path) -> None:
    """Equal names alone do not make pairs."""
    lay(tmp_path, "trainA/{i}.png", "trainB/{i}.png", 16, labels, lambda i: photo((i + 5) % 16))
    (found,) = doubts(tmp_path)
    assert "no more of each other than of other pairs'" in found


@pytest.mark.parametrize(("wrong", "right"), [("train", "val"), ("val", "train")])
def test_a_split_that_is_wrong_as_a_whole_is_doubted(
    tmp_path: Path, wrong: str, right: str
) -> None:
    lay(tmp_path, f"A/{right}/{{i}}.png", f"B/{right}/{{i}}.png", 16)
    lay(
        tmp_path, f"A/{wrong}/{{i}}.png", f"B/{wrong}/{{i}}.png", 16,
        lambda i: labels(i + 20), lambda i: photo(20 + (i + 5) % 16),
    )  # fmt: skip
    (found,) = doubts(tmp_path)
    assert found.startswith(f"{wrong}: ") and "no more of each other" in found
    recipe = read_recipe(find_recipe("default"), ["size=64"])
    assert open_data(tmp_path, recipe).doubts == [found]


@pytest.mark.parametrize("same", [True, False])
def test_palettes_that_differ_are_doubted(tmp_path: Path, same: bool) -> None:
    for i in range(12):
        image = Image.fromarray(plan(i), "P")
        image.putpalette(np.roll(PALETTE, 0 if same else i, axis=0).tobytes())
        save(image, tmp_path / "labels" / f"{i}.png")
        save(photo(i), tmp_path / "images" / f"{i}.png")
    found = doubts(tmp_path)
    assert (found == []) if same else ("the palettes of B differ" in found[-1])


def test_sizes_that_suit_the_images_are_named_and_accepted(tmp_path: Path) -> None:
    data = lay(tmp_path, A, B, 3, lambda i: np.ones((80, 80, 3), np.uint8) * 9 * (i + 1))
    for path in data.rglob("B/*.png"):
        Image.open(path).resize((80, 80)).save(path)
    ran = CliRunner().invoke(main, ["dataset", "check", str(data)])
    assert "at most 80" in ran.stdout
    for text in ran.stdout.split("--set ")[1:]:
        again = ["dataset", "check", str(data), "--set", text.split()[0]]
        assert "error" not in CliRunner().invoke(main, again).output
    assert {"size=64"} <= {text.split()[0] for text in ran.stdout.split("--set ")[1:]}
    ran = CliRunner().invoke(main, ["dataset", "check", str(data), "--set", "size=80"])
    assert "set size=64 or size=96" in ran.output
    for size in (64, 96):
        ran = CliRunner().invoke(main, ["dataset", "check", str(data), "--set", f"size={size}"])
        assert "error" not in ran.output
