"""Pages as items: found when inputs are listed, with outputs that meet no other's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.imaging import pages
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.item import Item
from tests.pix2pix_batch.imaging.test_pages import draw_pages, write_pages


def scan(source: object, form: str = "png", **options: Any) -> InputSource:
    return open_inputs(str(source), ScanOptions(form, "/nonexistent-out", **options))


def found(items: list[Item]) -> dict[str, tuple[str, int]]:
    assert len({item.output for item in items}) == len({item.name for item in items}) == len(items)
    return {item.name: (item.output, item.page) for item in items}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "x").mkdir(parents=True)
    write_pages(tmp_path / "in" / "stack.tif", *draw_pages((5, 5), (6, 6), (7, 7)))
    write_pages(tmp_path / "in" / "x" / "one.tiff", *draw_pages((5, 5)))
    return tmp_path / "in"


def test_each_page_is_an_item_where_that_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"stack.tif": ("stack.png", 0), "x/one.tiff": ("x/one.png", 0)}
    with monkeypatch.context() as patch:  # by default no file is opened
        patch.setattr(pages, "count_pages", None)
        assert found(list(scan(folder))) == wanted
    del wanted["stack.tif"]
    wanted |= {f"stack.tif#{number}": (f"stack#{number}.png", number) for number in (1, 2, 3)}
    assert found(list(scan(folder, pages="all"))) == wanted
    assert found(list(scan(folder / "*.tif", pages="all"))).keys() == wanted.keys() - {"x/one.tiff"}
    stamped = scan(folder, pages="all")
    assert all(item.path.endswith(item.file_name) and item.form == "png" for item in stamped)


NAMES = st.sampled_from(
    ["a.tif", "a.tiff", "a.png", "a#1.tif", "a#1.png", "a#2.jpg", "a.tif#1.png", "a#1.tif.png",
     "a.tif.png", "b#22.gif", "A#1.png", "a##1.png"]
)  # fmt: skip


@settings(max_examples=60)
@given(names=st.sets(NAMES), form=st.sampled_from(["png", "same", "tiff"]), listed=st.booleans())
def test_outputs_never_meet(
    tmp_path_factory: pytest.TempPathFactory, names: set[str], form: str, listed: bool
) -> None:
    root = tmp_path_factory.mktemp("in")
    two = write_pages(root / "two", *draw_pages((5, 5), (6, 6))).read_bytes()
    (root / "two").unlink()
    for name in names:
        (root / name).write_bytes(two)
    source: object = root
    if listed:
        (root / "list").write_text("".join(f"{root / name}\n" for name in sorted(names)))
        source = f"@{root / 'list'}"
    items = list(scan(source, form, pages="all"))
    count = sum(pages.may_have_pages(name) for name in names)
    assert len(found(items)) == len(names) + count


def test_a_list_names_single_pages(folder: Path, tmp_path: Path) -> None:
    """And files that are really called so; what names a page twice, or its file too, once."""
    lines = [f"{folder}/stack.tif#3", f"'{folder}/stack.tif#1'", f"{folder}/stack.tif#3"]
    (tmp_path / "list").write_text("\n".join(lines))
    where = str(folder).lstrip("/")
    wanted = {
        f"{where}/stack.tif#3": (f"{where}/stack#3.png", 3),
        f"{where}/stack.tif#1": (f"{where}/stack#1.png", 1),
    }
    assert found(list(scan(f"@{tmp_path / 'list'}"))) == wanted
    (tmp_path / "list").write_text("\n".join([f"{folder}/stack.tif", *lines]))
    source = scan(f"@{tmp_path / 'list'}", pages="all")
    assert len(found(list(source))) == 3 and source.left.other.count == 3
    write_pages(folder / "stack.tif#3", np.zeros((9, 9), np.uint8))
    items = found(list(scan(f"@{tmp_path / 'list'}", pages="all")))
    assert items[f"{where}/stack.tif#3"][1] == 0 and items[f"{where}/stack.tif##3"][1] == 3


def test_a_single_page_may_be_the_input(folder: Path) -> None:
    (item,) = scan(folder / "stack.tif#2")
    assert (item.path, item.page, item.output) == (str(folder / "stack.tif"), 2, "stack#2.png")


def test_pages_of_a_store_are_found_too(folder: Path) -> None:
    store = fsspec.filesystem("memory")
    store.makedirs("/pages/in", exist_ok=True)
    for name in ("stack.tif", "x/one.tiff"):
        store.pipe(f"/pages/in/{name}", (folder / name).read_bytes())
    try:
        items = list(scan("memory://pages/in", pages="all"))
        assert [item.name for item in items] == [
            "stack.tif#1", "stack.tif#2", "stack.tif#3", "x/one.tiff",
        ]  # fmt: skip
        assert all(item.stamp for item in items)
        (one,) = scan("memory://pages/in/stack.tif#2")
        assert (one.page, one.output) == (2, "stack#2.png")
        store.pipe("/pages/in/stack.tif#2", b"really")
        (one,) = scan("memory://pages/in/stack.tif#2")
        assert one.page == 0
    finally:
        store.rm("/pages", recursive=True)
