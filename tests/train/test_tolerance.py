"""Damaged and large images in training data: told, refused, or taken in part, by every command."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from pix2pix_batch.cli import main
from pix2pix_batch.train.mosaic import MosaicPair
from pix2pix_batch.train.pair_files import Reader
from tests.conftest import save_bundle
from tests.train.running import make_pairs, side_by_side, train

HOLE, CUT = "01.jpg", "02.jpg"
SIZE = ("--set", "size=32", "--set", "load_size=32")


def encoded(seed: int) -> bytes:
    buffer = io.BytesIO()
    side_by_side(seed, 128).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture
def doubtful(tmp_path: Path) -> Path:
    """Four pairs; one has a hole, and lies in both splits' reach."""
    data = make_pairs(tmp_path / "data", side=128, train=3, val=1)
    whole = encoded(1)
    middle = len(whole) // 2
    (data / "train" / "01.png").unlink()
    (data / "train" / HOLE).write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    return data


def cut_short(data: Path) -> Path:
    whole = encoded(2)
    (data / "train" / "02.png").unlink()
    (data / "train" / CUT).write_bytes(whole[: 2 * len(whole) // 3])
    return data


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_check_tells_damage_and_takes_what_it_is_told_to(doubtful: Path) -> None:
    ran = command("dataset", "check", doubtful, "--json", *SIZE)
    assert ran.exit_code == 0, ran.output
    (warned,) = json.loads(ran.stdout)["warnings"]
    assert warned["file"].endswith(HOLE) and "damaged" in warned["warning"]
    told = command("dataset", "check", doubtful, *SIZE).stdout
    assert "1 image was read with a warning" in told and f"{HOLE}: damaged" in told

    strict = command("dataset", "check", doubtful, "--strict", *SIZE)
    assert strict.exit_code == 3 and "refused by --strict" in strict.stdout
    refused = command("dataset", "check", cut_short(doubtful), *SIZE)
    assert refused.exit_code == 3 and f"{CUT}: damaged: cut short" in refused.stdout
    assert "--lenient" in refused.stdout
    lenient = command("dataset", "check", doubtful, "--lenient", *SIZE)
    assert lenient.exit_code == 0 and "2 images were read with a warning" in lenient.stdout


def test_images_larger_than_the_bound(pairs: Path) -> None:
    refused = command("dataset", "check", pairs, "--max-pixels", 3199, *SIZE)
    assert refused.exit_code == 3, refused.output
    assert "more than 3199 pixels" in refused.stdout and "--max-pixels" in refused.stdout
    taken = command("dataset", "check", pairs, "--max-pixels", 3200, *SIZE)
    assert taken.exit_code == 0, taken.output


@pytest.mark.parametrize("workers", [0, 1])
def test_train_tells_damage_at_once_and_at_its_end(
    doubtful: Path, tmp_path: Path, workers: int
) -> None:
    ran = train(doubtful, tmp_path / "run", "--workers", workers, epochs=4)
    assert ran.code == 0, ran.err
    lines = ran.err.splitlines()
    (first,) = [i for i, line in enumerate(lines) if line.startswith("note: ") and HOLE in line]
    (last,) = [i for i, line in enumerate(lines) if "1 image was read with a warning" in line]
    assert "damaged" in lines[first] and first < last and HOLE in lines[last + 1]


def test_train_refuses_what_is_damaged_when_strict(doubtful: Path, tmp_path: Path) -> None:
    ran = train(doubtful, tmp_path / "strict", "--strict")
    assert ran.code == 2 and f"{HOLE}: damaged" in ran.err and "refused by --strict" in ran.err
    ran = train(cut_short(doubtful), tmp_path / "run", "--lenient", epochs=3)
    assert ran.code == 0 and "2 images were read with a warning" in ran.err, ran.err
    both = train(doubtful, tmp_path / "both", "--lenient", "--strict")
    assert both.code == 2 and "choose one of them" in both.err


def test_evaluate_tells_damage(doubtful: Path, tmp_path: Path) -> None:
    model = save_bundle(tmp_path / "model.safetensors")
    given = ("evaluate", model, doubtful, "--split", "train", "--device", "cpu")
    ran = command(*given, "--json")
    assert ran.exit_code == 0, ran.output
    (warned,) = json.loads(ran.stdout)["warnings"]
    assert warned["file"].endswith(HOLE)
    assert "1 image was read with a warning" in command(*given).stdout
    assert "refused by --strict" in command(*given, "--strict").output


def test_split_and_combine_tell_damage(doubtful: Path, tmp_path: Path) -> None:
    ran = command("dataset", "split", cut_short(doubtful), tmp_path / "out")
    assert ran.exit_code == 3 and f"{CUT}: damaged" in ran.stderr
    assert "1 image was read with a warning" in ran.stderr
    ran = command("dataset", "split", doubtful, tmp_path / "lenient", "--lenient")
    assert ran.exit_code == 0 and "2 images were read with a warning" in ran.stderr
    combined = command("dataset", "combine", tmp_path / "lenient", tmp_path / "again")
    assert combined.exit_code == 0 and "warning" not in combined.stderr


def test_kinds_that_pillow_does_not_open_are_pairs_too(tmp_path: Path) -> None:
    """32-bit grey with LZW, most significant byte first; 16-bit planes with alpha."""
    random = np.random.default_rng(0)
    for i in range(4):
        deep = random.integers(0, 256, (40, 40)).astype(">u4") * 257
        planes = random.integers(0, 256, (4, 40, 40)).astype(np.uint16) * 257
        for side, pixels, kind in (
            ("A", deep, {}),
            ("B", planes, {"extrasamples": ["unassalpha"]}),
        ):
            path = tmp_path / "data" / side / f"{i}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(
                path, pixels, byteorder=">", compression="lzw", **kind,
                photometric="minisblack" if side == "A" else "rgb",
                planarconfig=None if side == "A" else "separate",
            )  # fmt: skip
    channels = ("--set", "in_channels=1", "--set", "out_channels=4", "--set", "val_fraction=0")
    ran = command("dataset", "check", tmp_path / "data", *SIZE, *channels, "--json")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["sizes"] == {"40x40": 4}
    ran = command("dataset", "combine", tmp_path / "data", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    both = np.asarray(Image.open(tmp_path / "out" / "train" / "0.png"))
    b = tifffile.imread(tmp_path / "data" / "B" / "0.tif")
    assert both.shape == (40, 80, 4)
    assert np.array_equal(both[:, 40:], b.transpose(1, 2, 0) >> 8)
    assert np.array_equal(both[:, :40, 0], tifffile.imread(tmp_path / "data" / "A" / "0.tif") >> 8)


def test_sizes_are_those_of_the_picture_and_not_of_its_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    with tifffile.TiffWriter(path) as file:
        file.write(pixels[::4, ::4].copy(), photometric="rgb", subfiletype=1)
        file.write(pixels, photometric="rgb")
    assert Reader().size(path) == (60, 40)
    assert np.array_equal(Reader().image(path, 3), pixels)


def test_mosaics_are_read_as_convert_reads(tmp_path: Path) -> None:
    """16-bit grey: by its high byte, not cut off at 255."""
    deep = (np.arange(64 * 128).reshape(64, 128) * 8).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "map.png")
    Image.fromarray((deep >> 8).astype(np.uint8)).save(tmp_path / "aerial.png")
    found = MosaicPair.open(tmp_path / "map.png", tmp_path / "aerial.png", [(0, 0, 0)], 0)
    assert np.array_equal(found.a, found.b)
