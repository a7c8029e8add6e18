"""``pix2pix-batch preview``: a model tried on a handful of images."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.command import PATIENCE, convert, encoded, error_of, here, put

GAP, LINE = 8, 18
"""Of a sheet, as ``pix2pix_batch/reporting/contact_sheet.py`` lays it out."""


def cells(path: Path, rows: int, side: int) -> list[list[np.ndarray]]:
    """Inputs and outputs of a picture in one column, in cells of ``side``."""
    sheet = np.asarray(Image.open(path))
    height = side + LINE + GAP
    assert sheet.shape == (LINE + rows * height, 2 * (side + GAP) + GAP, 3)
    return [
        [
            sheet[top + LINE : top + LINE + side, left : left + side]
            for left in (GAP, 2 * GAP + side)
        ]
        for top in (LINE + row * height for row in range(rows))
    ]


def test_it_shows_what_convert_makes(tmp_path: Path, tiny: Path) -> None:
    """Pixel for pixel, for an image of the model's size times three and one of another size."""
    one = put(tmp_path / "in/one.png", size=(200, 200))
    two = put(tmp_path / "in/two.png", seed=1, size=(200, 120))
    ran = here("preview", tiny, one, two, "--out", tmp_path / "p.png", "--precision", "fp32")
    assert (ran.code, ran.out, ran.err) == (0, f"{tmp_path / 'p.png'}\n", "")
    assert convert(tmp_path / "in", tmp_path / "out", tiny).code == 0
    for (before, after), path in zip(cells(tmp_path / "p.png", 2, 200), (one, two), strict=True):
        for shown, file in ((before, path), (after, tmp_path / "out" / path.name)):
            expected = np.asarray(Image.open(file))
            height, width = expected.shape[:2]
            assert (shown[:height, :width] == expected).all()
            assert (shown[height:] == 255).all()


def test_large_images_are_shown_small(tmp_path: Path, tiny: Path) -> None:
    path = put(tmp_path / "large.png", size=(1000, 500))
    ran = here("preview", tiny, path, "--out", tmp_path / "p.png", "--fit", "resize")
    assert ran.code == 0
    ((before, _),) = cells(tmp_path / "p.png", 1, 768)
    expected = Image.open(path).resize((768, 384), Image.Resampling.LANCZOS)
    assert np.abs(before[:384].astype(int) - np.asarray(expected)).mean() < 1


def test_the_picture_is_named_after_the_model(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run twice, it replaces its own; a file of somebody else it leaves alone."""
    put(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        ran = here("preview", tiny, "a.png")
        assert (ran.code, ran.out) == (0, "preview-tiny.png\n")
    mine = put(tmp_path / "preview-tiny.png").read_bytes()
    ran = here("preview", tiny, "a.png")
    assert ran.code == 2
    assert "preview-tiny.png: is there and no preview" in error_of(ran)
    assert (tmp_path / "preview-tiny.png").read_bytes() == mine


def test_bad_images_fail_alone(tmp_path: Path, tiny: Path) -> None:
    good = put(tmp_path / "good.png", size=(192, 192))
    torn = tmp_path / "torn.png"
    torn.write_bytes(encoded()[:200])
    ran = here("preview", tiny, torn, good, "none.png", "--out", tmp_path / "p.png")
    assert ran.code == 3
    assert ran.out == f"{tmp_path / 'p.png'}\n"
    said = ran.err.splitlines()
    assert said[0].startswith(f"{torn}: damaged: ")
    assert said[1:] == ["none.png: cannot be read (No such file or directory)"]
    ((before, _),) = cells(tmp_path / "p.png", 1, 192)
    assert (before == np.asarray(Image.open(good))).all()


def test_what_is_there_of_a_damaged_image_is_shown_if_asked_for(tmp_path: Path, tiny: Path) -> None:
    path = put(tmp_path / "cut.jpg", size=(200, 200))
    path.write_bytes(path.read_bytes()[:-400])
    words = ("preview", tiny, path, "--out", tmp_path / "p.png")
    ran = here(*words)
    assert ran.code == 3 and "--lenient takes what is there" in ran.err
    assert here(*words, "--lenient").code == 0
    assert (tmp_path / "p.png").exists()


def test_where_all_fail_there_is_no_picture(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = here("preview", tiny, "none.png")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "none.png: cannot be read (No such file or directory)\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{tiny}", "."], ".: is a directory; give images, or use pix2pix-batch convert"),
        (["{tiny}", "*.no"], "*.no: no such file; leave the pattern out of quotes"),
        (
            ["{tiny}", *["a.png"] * 65],
            "65 images; preview takes 1 to 64: use pix2pix-batch convert",
        ),
        (["no-such-model", "a.png"], "no such model"),
        (["a.png", "a.png"], "a.png: is damaged or no safetensors file"),
        (["{two}", "a.png"], "the model has 2 input channels"),
        (["{tiny}", "a.png", "--out", "p.jpg"], "p.jpg: its name must end in .png"),
        (["{tiny}", "a.png", "--out", "none/p.png"], "none: is no directory"),
        (["{tiny}", "a.png", "--out", "a.png"], "a.png: is one of the images"),
        (["{tiny}", "a.png", "--precision", "fp16", "--device", "cpu"], "fp16 runs on GPUs only"),
    ],
)
def test_wrong_use(
    tmp_path: Path,
    tiny: Path,
    two_channels: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str,
) -> None:
    before = put(tmp_path / "a.png").read_bytes()
    words = [word.format(tiny=tiny, two=two_channels) for word in arguments]
    monkeypatch.chdir(tmp_path)
    ran = here("preview", *words)
    assert ran.code == 2
    assert said in error_of(ran)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_without_an_image_the_usage_is_shown(tiny: Path) -> None:
    ran = here("preview", tiny)
    assert ran.code == 2 and "Missing argument 'IMAGE...'" in ran.err


def test_it_opens_the_picture(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the desktop opens files with: here a program that writes down its arguments."""
    opener = tmp_path / "bin/xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\nprintf %s "$*" > "{tmp_path}/opened"\n')
    opener.chmod(opener.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{opener.parent}{os.pathsep}{os.environ['PATH']}")
    picture = put(tmp_path / "a.png")
    out = tmp_path / "p.png"
    ran = here("preview", tiny, picture, "--out", out, "--open")
    assert ran.code == 0
    opened, end = tmp_path / "opened", time.monotonic() + PATIENCE
    while not (opened.exists() and opened.read_text()) and time.monotonic() < end:
        time.sleep(0.05)  # nobody waits for what the desktop opens
    assert opened.read_text() == str(out)


def test_names_of_any_bytes(tmp_path: Path, tiny: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9\n.png"
    with open(path, "wb") as file:
        file.write(encoded())
    ran = here("preview", tiny, path, "--out", tmp_path / "p.png")
    assert (ran.code, ran.err) == (0, "")
    assert (
        json.dumps(sorted(p.name for p in tmp_path.iterdir())) == '["caf\\udce9\\n.png", "p.png"]'
    )
