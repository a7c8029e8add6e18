"""``OUT/report.html`` in a browser: what moves, what can be chosen, and how it looks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pix2pix_batch.journal.record import SCHEMA, Record, to_line
from pix2pix_batch.reporting import html_page
from pix2pix_batch.storage.common import DIRECTORY, stamp
from pix2pix_batch.train.report import write_report
from tests.browser import Opened, launched
from tests.train.running import small
from tests.train.test_report import TRAINED, make_run

RED, BLUE = (200, 30, 30), (30, 30, 200)
SIDE = 128
NAMES = {
    "land/a.png": 10.0,
    "land/b.png": 99.5,
    "sea/c.png": 50.0,
    "sea/<script>document.title='x'.png": 99.9,
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a job whose inputs are red and whose outputs are blue."""
    folder = tmp_path_factory.mktemp("job")
    source, out = folder / "in", folder / "out"
    (out / DIRECTORY / "tmp").mkdir(parents=True)
    lines = [to_line({"schema": SCHEMA, "input": str(source), "model_name": "tiny"})]
    for name, distance in NAMES.items():
        for path, colour in ((source / name, RED), (out / name, BLUE)):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (SIDE, SIDE), colour).save(path)
        mark = stamp((source / name).stat())
        lines.append(Record(name, "done", mark, name, distance=distance).line())
    lines.append(Record("sea/torn.png", "failed", "1:1", reason="damaged").line())
    lines += [to_line({"at": 1e9 + n, "seconds": 1.0, "worker": f"w{n % 2}"}) for n in range(1, 30)]
    (out / DIRECTORY / "journal.jsonl").write_bytes(b"".join(lines))
    return html_page.write(out)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


Open = Callable[..., Any]


@pytest.fixture(scope="module")
def plain(browser: Any, report: Path) -> Iterator[Opened]:
    """The page that tests without options of their own open anew, one after the other."""
    page = Opened(browser, report)
    yield page
    page.close()


@pytest.fixture
def open_page(browser: Any, plain: Opened) -> Iterator[Open]:
    """Opens a page; at the test's end nothing must have gone wrong in it."""
    own: list[Opened] = []

    def show(path: Path, **options: Any) -> Any:
        if not options:
            return plain.show(path)
        own.append(Opened(browser, path, **options))
        return own[-1].page

    yield show
    plain.check()
    for one in own:
        one.close()


def colours(element: Any, *places: float) -> list[str]:
    """What is seen of an element at a quarter of its height: red or blue."""
    pixels = np.asarray(Image.open(io.BytesIO(element.screenshot())).convert("RGB"), int)
    height, width = pixels.shape[:2]
    row = pixels[height // 4]
    return ["red" if row[int(at * width)][0] > 100 else "blue" for at in places]


def shown(view: Any) -> list[str]:
    """What stands in the page now, by name, and all that failed."""
    found = view.locator("[data-kind]:visible").all()
    return sorted(one.get_attribute("data-text") for one in found)


def test_the_slider_moves_by_keyboard(report: Path, open_page: Open) -> None:
    view = open_page(report)
    card = view.locator(".compare").first
    slider = card.locator("input")
    assert colours(card, 0.1, 0.4, 0.6, 0.9) == ["red", "red", "blue", "blue"]
    slider.focus()
    view.keyboard.press("Home")
    assert colours(card, 0.1, 0.9) == ["blue", "blue"]
    view.keyboard.press("End")
    assert colours(card, 0.1, 0.9) == ["red", "red"]
    for _ in range(30):
        view.keyboard.press("ArrowLeft")
    assert colours(card, 0.6, 0.8) == ["red", "blue"]
    assert slider.input_value() == "70"


def test_the_slider_moves_by_mouse(report: Path, open_page: Open) -> None:
    view = open_page(report)
    card = view.locator(".compare").first
    box = card.bounding_box()
    middle = box["y"] + box["height"] / 2
    view.mouse.move(box["x"] + box["width"] * 0.5, middle)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] * 0.2, middle, steps=4)
    view.mouse.up()
    assert colours(card, 0.12, 0.28) == ["red", "blue"]


def test_one_slider_moves_all(report: Path, open_page: Open) -> None:
    view = open_page(report)
    view.get_by_label("All sliders").focus()
    view.keyboard.press("Home")
    for card in view.locator(".compare").all():
        assert colours(card, 0.05, 0.95) == ["blue", "blue"]


def test_everything_is_reached_by_tab_and_shows_it(report: Path, open_page: Open) -> None:
    view = open_page(report)
    wanted = view.locator("input, select, a, summary").count() - 2  # radios are one stop
    outlined = set()
    for _ in range(wanted):
        view.keyboard.press("Tab")
        place, style = view.evaluate(
            """() => {
                const at = document.activeElement, box = at.closest(".compare") || at;
                const all = [...document.querySelectorAll("*")];
                return [all.indexOf(at), getComputedStyle(box).outlineStyle];
            }"""
        )
        assert style != "none"
        outlined.add(place)
    assert len(outlined) == wanted


def test_filters(report: Path, open_page: Open) -> None:
    view = open_page(report)
    doubtful = sorted(name for name, distance in NAMES.items() if distance >= 99)
    everything = sorted([*NAMES, *doubtful, "sea/torn.png"])
    assert shown(view) == everything
    view.get_by_label("doubtful", exact=True).check()
    assert shown(view) == sorted(doubtful * 2)
    assert not view.get_by_role("heading", name="Not converted").is_visible()
    view.get_by_label("failed", exact=True).check()
    assert shown(view) == ["sea/torn.png"]
    assert not view.get_by_role("heading", name="Samples").is_visible()
    view.get_by_label("all", exact=True).check()
    view.get_by_label("Folder").select_option("land")
    assert shown(view) == ["land/a.png", "land/b.png", "land/b.png"]
    view.get_by_label("Name holds").fill("B.PNG ")
    assert shown(view) == ["land/b.png"] * 2
    # one image, which is a sample and among the doubtful; four and a failure in all
    assert view.locator("#shown").inner_text() == "1 of 5 shown here"
    view.get_by_label("Name holds").fill("none such")
    assert shown(view) == []
    view.get_by_label("Name holds").fill("")
    view.get_by_label("Folder").select_option("all")
    assert shown(view) == everything


# Colours do not depend on the width, nor the layout on the scheme.
@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 390)], ids=["light-desktop", "dark-phone"]
)
def test_it_fits_and_suits_the_scheme(
    report: Path, open_page: Open, scheme: str, width: int
) -> None:
    view = open_page(report, color_scheme=scheme, viewport={"width": width, "height": 800})
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    pixels = np.asarray(Image.open(io.BytesIO(view.screenshot(full_page=True))).convert("L"), int)
    ground = np.median(pixels)
    assert ground > 230 if scheme == "light" else ground < 40
    heading = view.get_by_role("heading", name="Samples")
    ink = np.asarray(Image.open(io.BytesIO(heading.screenshot())).convert("L"), int)
    assert np.abs(ink - ground).max() > 150
    for card in view.locator(".compare").all():
        box = card.bounding_box()
        assert box["width"] >= 200 and box["height"] == pytest.approx(box["width"], abs=1)


def test_without_scripts_both_are_seen(report: Path, open_page: Open) -> None:
    check_side_by_side(open_page(report, java_script_enabled=False))


def test_on_paper_both_are_seen(report: Path, open_page: Open) -> None:
    view = open_page(report)
    view.emulate_media(media="print")
    check_side_by_side(view)
    view.emulate_media(media="null")


def check_side_by_side(view: Any) -> None:
    assert not view.locator(".tools").is_visible()
    first = view.locator(".card").first
    before, after = (first.locator(kind).bounding_box() for kind in (".input", ".output"))
    assert before["x"] + before["width"] <= after["x"]
    assert before["y"] == after["y"]
    assert before["width"] == pytest.approx(after["width"], abs=1) and before["width"] > 50
    assert colours(first.locator(".compare"), 0.1, 0.4, 0.6, 0.9) == ["red", "red", "blue", "blue"]


def test_names_run_nothing(report: Path, open_page: Open) -> None:
    view = open_page(report)
    assert view.title() == "out: report"
    assert view.locator("script").count() == 1
    view.evaluate("document.body.insertAdjacentHTML('beforeend', '<p id=late>late')")
    assert view.locator("#late").count() == 1  # the page can be changed, but not by its names


def test_links_open_the_files(report: Path, open_page: Open) -> None:
    view = open_page(report)
    for link in view.locator("figcaption a").all():
        assert Path(
            view.evaluate(
                "a => decodeURIComponent(new URL(a.href).pathname)", link.element_handle()
            )
        ).is_file()


def test_the_training_report_is_of_the_same_kind(tmp_path: Path, open_page: Open) -> None:
    """Its script runs under the policy that names it, and its slider shows another sheet."""
    view = open_page(write_report(make_run(tmp_path / "run", 3), small(), TRAINED))
    assert view.locator(".sheet:visible").get_attribute("data-step") == "300"
    view.get_by_label("Which sample sheet is shown").focus()
    view.keyboard.press("Home")
    assert view.locator(".sheet:visible").get_attribute("data-step") == "100"
    assert view.locator("#step").inner_text() == "100"
