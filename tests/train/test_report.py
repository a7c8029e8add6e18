"""``RUN/report.html``: all of a run on one page that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.errors import InputError
from pix2pix_batch.train.recipe import Recipe
from pix2pix_batch.train.report import SHEETS, Trained, write_report
from tests.train.running import small

TRAINED = Trained(Path("/data/maps <1>"), 1234, 56, step_images=4)


class Page(HTMLParser):
    """What a browser would load, and the table's rows."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.styles: list[str] = []
        self.rows: list[tuple[list[str], bool]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            if values.get(name):
                self.loads.append(str(values[name]))
        if tag == "tr":
            self.rows.append(([], values.get("class") == "own"))
        self.open.append(tag)

    def handle_data(self, data: str) -> None:
        tag = self.open[-1] if self.open else ""
        if tag == "td" and self.rows and data.strip():
            self.rows[-1][0].append(data)
        if tag == "style":
            self.styles.append(data)
        self.words += data


def make_run(run: Path, count: int, sheet: np.ndarray | None = None) -> Path:
    """A run's records and sheets, a hundred steps apart; the best is the last but one.

    Sheets tell their number by their level, unless all are to be ``sheet``.
    """
    given = io.BytesIO()
    if sheet is not None:
        Image.fromarray(sheet).save(given, "PNG", compress_level=1)
    (run / "samples").mkdir(parents=True)
    lines = []
    for i in range(1, count + 1):
        error = 20.5 if i == count - 1 else 50 - i / count
        record = {
            "step": 100 * i, "epoch": i / 2, "losses": {"d": 0.5 + i, "gan": 1.25, "l1": 1 / i},
            "lr": 2e-4, "images_per_second": 12.5 if i < count else 25.0, "data_share": 0.1,
            "device": "cpu" if i == 1 else "cuda", "precision": "bf16",
            "validation": {"error": error, "sharpness": 0.25},
        }  # fmt: skip
        lines.append(json.dumps(record) + "\n")
        path = run / "samples" / f"{100 * i:08}.png"
        if sheet is None:
            Image.fromarray(np.full((8, 24, 3), i, np.uint8)).save(path)
        else:
            path.write_bytes(given.getvalue())
    (run / "metrics.jsonl").write_text("".join(lines))
    return run


def report(run: Path, recipe: Recipe | None = None) -> tuple[str, Page]:
    path = write_report(run, recipe or small(), TRAINED)
    assert path == run / "report.html"
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def test_it_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    text, page = report(make_run(tmp_path / "run", 4))
    assert page.loads
    for load in page.loads:
        assert load.startswith(("data:image/", "#")), load[:80]
    assert not any("url(" in style or "@import" in style for style in page.styles)
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", text)
    assert "fetch(" not in text and "import(" not in text and "<link" not in text


def test_every_key_is_there_and_own_ones_stand_out(tmp_path: Path) -> None:
    recipe = small(lr=0.001, flip=False, lambda_gan=0, source_domain="maps & <plans>")
    _, page = report(make_run(tmp_path / "run", 2), recipe)
    shown = {cells[0]: (cells[1], own) for cells, own in page.rows}
    expected = {key: value for key, value in recipe.as_dict().items() if value or value == 0}
    assert {key: value for key, (value, _) in shown.items()} == {
        key: str(value) for key, value in expected.items()
    }
    own = {key for key, (_, own) in shown.items() if own}
    assert own == {
        "name", "size", "ngf", "ndf", "precision", "epochs", "lr", "flip", "lambda_gan",
        "source_domain",
    }  # fmt: skip


def test_figures_are_the_last_and_the_least(tmp_path: Path) -> None:
    _, page = report(make_run(tmp_path / "run", 50))
    words = " ".join(page.words.split())
    assert "5,000steps, 25.0 epochs" in words
    assert "49error (0 to 255)" in words and "0.25sharpness" in words
    assert "20.5least error, step 4,900" in words
    assert "12.6images/s" in words


def test_it_tells_of_what_was_trained_and_what_losses_mean(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 50)
    recipe = small(
        l1_pixels=8, lambda_l1=10, lambda_patches=100, gan_mode="lsgan", scales=2, patch=16
    )
    words = " ".join(report(run, recipe)[1].words.split())
    assert "data /data/maps <1> pairs 1,234 for training, 56 for validation" in words
    assert "training took 26 min 24 s, without" in words, "5,000 steps of 4 images, 12.6 a second"
    assert "trained on cpu (bf16), then cuda (bf16)" in words
    assert "levels from -1 to 1, of averages of squares of 8 pixels a side; weight 10" in words
    assert "(lsgan); near 0.5 it cannot" in words and "small patches; weight 100" in words
    assert "texture" not in words.partition("Recipe")[0]
    lines = (run / "metrics.jsonl").read_text().splitlines()
    older = [{k: v for k, v in json.loads(line).items() if k != "device"} for line in lines]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, older)))
    assert "trained on" not in report(run)[1].words, "an earlier version did not say where"


@pytest.mark.usefixtures("own_charts")
def test_there_is_a_curve_for_every_figure(tmp_path: Path) -> None:
    """Each with a point for every record."""
    count = 7
    text, _ = report(make_run(tmp_path / "run", count))
    for name in ("error", "sharpness", "d", "gan", "l1"):
        assert re.search(rf">\s*{name}\s*</text>", text), name
    assert text.count("<svg") == 2
    assert len(re.findall(r"<use [^>]*#m", text)) >= 5 * count
    assert "nan" not in text.lower().replace("nanosecond", "")


@pytest.mark.usefixtures("own_charts")
def test_curves_are_of_the_losses_that_the_recipe_has(tmp_path: Path) -> None:
    """Earlier versions logged d and gan always, and no other than these and L1."""
    run = make_run(tmp_path / "run", 3)
    first, *others, last = (run / "metrics.jsonl").read_text().splitlines()
    record = json.loads(last)
    record["losses"] = {"l1": 0.5, "grid": 0.25}
    record["validation"]["sharpness"] = None
    (run / "metrics.jsonl").write_text("\n".join([first, *others, json.dumps(record)]))
    text, page = report(run, small(lambda_gan=0, lambda_grid=1, lambda_texture=1))
    assert "infsharpness" in " ".join(page.words.split())
    titles = re.findall(r">\s*(d|gan|l1|grid|texture)\s*</text>", text)
    assert titles == ["l1", "grid"]


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (3, 3), (SHEETS, SHEETS), (37, SHEETS)])
def test_sheets_are_spread_and_the_last_is_among_them(
    tmp_path: Path, count: int, shown: int
) -> None:
    text, page = report(make_run(tmp_path / "run", count))
    levels = []
    for load in page.loads:
        if load.startswith("data:image/"):
            image = Image.open(io.BytesIO(base64.b64decode(load.partition("base64,")[2])))
            levels.append(round(np.asarray(image).mean()))
    assert len(levels) == shown and levels[-1] == count
    assert levels == sorted(set(levels))
    gaps = np.diff([0, *levels])
    assert gaps.max() - gaps.min() <= 1
    assert text.count(" hidden>") == shown - 1


@pytest.mark.usefixtures("own_charts")
def test_it_stays_small(tmp_path: Path) -> None:
    """Eight rows of noise at 256 pixels, and a long run."""
    sheet = np.random.default_rng(0).integers(0, 256, (8 * 256, 3 * 256, 3), np.uint8)
    coarse = np.asarray(Image.fromarray(sheet[::16, ::16]).resize((768, 2048)))
    run = make_run(tmp_path / "run", 60, coarse)
    write_report(run, small(), TRAINED)
    assert (run / "report.html").stat().st_size < 5_000_000


def test_large_sheets_are_made_smaller(tmp_path: Path) -> None:
    _, page = report(make_run(tmp_path / "run", 1, np.zeros((512, 3072, 3), np.uint8)))
    (load,) = (load for load in page.loads if load.startswith("data:"))
    image = Image.open(io.BytesIO(base64.b64decode(load.partition("base64,")[2])))
    assert image.size == (1200, 200)


def test_torn_lines_are_passed_over(tmp_path: Path) -> None:
    """As where the power went, and the run went on."""
    whole, _ = report(make_run(tmp_path / "run", 3))
    metrics = tmp_path / "run" / "metrics.jsonl"
    first, *others = metrics.read_bytes().splitlines(keepends=True)
    for torn in (first[: len(first) // 2], b"\0\xff", b"5"):
        metrics.write_bytes(first + torn + b"\n" + b"".join(others) + torn)
        assert report(tmp_path / "run")[0] == whole


@pytest.mark.parametrize("content", [None, b"", b'{"step": 1', b"\0\0\n[1]\n"])
def test_without_a_whole_line_there_is_no_page(tmp_path: Path, content: bytes | None) -> None:
    metrics = make_run(tmp_path / "run", 1) / "metrics.jsonl"
    metrics.unlink() if content is None else metrics.write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.jsonl: .*the report is made of it"):
        write_report(tmp_path / "run", small(), TRAINED)


@pytest.mark.usefixtures("own_charts")
def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", 3)
    assert report(run)[0] == report(run)[0]
