"""Lists of files as other systems write them."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
import shlex
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs import listing
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import ScanOptions

NOWHERE = Path("/nonexistent-out")
FILES = (
    "a.png", "a b.png", "a,b.png", "été.png", "日本.png", "sub/c.png", "it's.png", 'say "hi".png',
    "100%.png", "#1.png", "x#y.png", "q?.png", "[1].png", "semi;colon.png", "tab\tname.png",
    " leading.png", "~.png", "back\\slash.png", "plus+.png", "a&b.png",
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with :data:`FILES`."""
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(raw: bytes) -> list[str]:
    Path("list").write_bytes(raw)
    return [
        os.path.relpath(item.path) for item in open_inputs("@list", ScanOptions("png", NOWHERE))
    ]


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
@pytest.mark.parametrize("is_ended", [True, False])
def test_encodings_and_ends_of_lines(place: Path, encoding: str, end: str, is_ended: bool) -> None:
    text = end.join(FILES) + (end if is_ended else "")
    assert paths(text.encode(encoding)) == list(FILES)


def test_marks_of_byte_order_are_told_apart(place: Path) -> None:
    for mark, encoding in (
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ):
        assert paths(mark + "a.png\r\nété.png".encode(encoding)) == ["a.png", "été.png"]


@pytest.mark.parametrize("raw", [b"", b"\n\n", b" \r\n\t\r\n", codecs.BOM_UTF8, b"\x1a"])
def test_a_list_of_nothing(place: Path, raw: bytes) -> None:
    assert paths(raw) == []


def _csv(name: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="").writerow([name])
    return buffer.getvalue()


WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "a spreadsheet's": _csv,
    "with more columns that are empty": lambda name: f"{_csv(name)},,",
    "with a semicolon": lambda name: f"{_csv(name)};",
    "with blanks": lambda name: f"  {_csv(name)} \t",
    "a shell's": shlex.quote,
    "a word processor's": lambda name: f"\u201c{name}\u201d",
    "from a properties dialog": lambda name: f"\u202a{_csv(name)}",
    "from the root": lambda name: os.path.abspath(name),
    "a URL": lambda name: f"file://{quote(os.path.abspath(name))}",
    "a URL of this host": lambda name: f"file://localhost{quote(os.path.abspath(name))}",
    "a URL of one slash": lambda name: f"FILE:{quote(os.path.abspath(name))}",
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "quoted for a URL": quote,
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_writing_a_path_finds_its_file(place: Path, way: str) -> None:
    for name in FILES:
        assert paths((WAYS[way](name) + "\r\n").encode()) == [name], name


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("a.png,", "a.png"),
        ("a.png;", "a.png"),
        ("a.png\t", "a.png"),
        ("  a.png  ", "a.png"),
        ("sub\\c.png", "sub/c.png"),
        (".\\a.png", "a.png"),
        ("a\\ b.png", "a b.png"),
        ("\ufeffa.png", "a.png"),
        ("a%20b.png", "a b.png"),
    ],
)
def test_what_else_is_left_around_a_path(place: Path, line: str, name: str) -> None:
    assert paths(f"x.png\n{line}\n".encode()) == ["x.png", name]


def test_a_name_that_is_there_is_meant_as_it_stands(place: Path) -> None:
    odd = ['"a.png"', "a%20b.png", "trail.png ", "a.png,", "~x.png", "#a.png", "sub\\c.png"]
    for name in odd:
        (place / name).write_bytes(b"x")
    assert paths("\n".join(odd).encode()) == odd
    assert paths(b"file://" + os.fsencode(place) + b"/a%2520b.png") == ["a%20b.png"]


def test_home_and_other_machines(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(place))
    Path("list").write_text("~/a.png\nC:\\d\\a.png\n\\\\nas\\d\\a.png\nfile://nas/d/a.png\n"
                            "file:///C:/d/a.png\n")  # fmt: skip
    first, *others = open_inputs("@list", ScanOptions("png", NOWHERE))
    assert first.path == str(place / "a.png")
    refusals = [item.refusal for item in others]
    assert [("Windows" in why, "another machine" in why) for why in refusals] == [
        (True, False), (True, False), (False, True), (True, False),
    ]  # fmt: skip


def test_names_that_are_no_utf8(place: Path) -> None:
    (place / os.fsdecode(b"latin-\xe9.png")).write_bytes(b"x")
    assert paths(b"latin-\xe9.png\n\xe9t\xe9.png\n") == [os.fsdecode(b"latin-\xe9.png"), "été.png"]


def test_comments_and_a_tables_heading(place: Path) -> None:
    Path("list").write_text(
        '"File Name"\r\n# done last week\r\n#\r\n// x\r\n#1.png\r\n#2.png\r\na.png\r\n'
    )
    scan = open_inputs("@list", ScanOptions("png", NOWHERE))
    assert [item.path for item in scan] == ["#1.png", "#2.png", "a.png"]
    assert scan.left.other.first == ["# done last week", "#", "// x"], (
        "told, for one could be a file"
    )


def test_a_file_called_as_a_heading_is_a_file(place: Path) -> None:
    (place / "path").write_bytes(b"x")
    assert paths(b"path\na.png\n") == ["path", "a.png"]


@pytest.mark.parametrize("end", [b"\0", b""])
def test_null_separated(place: Path, end: bytes) -> None:
    names = [os.fsencode(name) for name in FILES]
    (place / "new\nline.png").write_bytes(b"x")
    assert paths(b"\0".join([*names, b"new\nline.png"]) + end) == [*FILES, "new\nline.png"]


@pytest.mark.parametrize(
    "raw", [b"a.png\nb\0c.png\n", b"x" * 70_000, codecs.BOM_UTF16_LE + b"a\0.\0\n\0\0\xd8x\0\n\0"]
)
def test_what_is_no_list_is_refused(place: Path, raw: bytes) -> None:
    with pytest.raises(InputError, match=r"list: line \d.*a path a line"):
        paths(raw)


def _is_header(name: str) -> bool:
    """Whether it may be the first line of a table, with a column that files would be in."""
    cells = re.split(r"[,;\t|]", name)
    letters = {re.sub(r"[^a-z]", "", cell.lower()) for cell in cells}
    return len(cells) > 1 and not letters.isdisjoint(listing.HEADINGS)


NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0\n\r\x85\u2028\u2029\x1a"),
    min_size=1,
    max_size=20,
).filter(
    lambda name: (
        name.strip().strip(listing.INVISIBLE)
        and name not in (".", "..")
        and name.strip()[:1] not in ("[", "{")  # which may be JSON
        and not _is_header(name)
    )
)


@given(
    st.lists(NAMES, min_size=1, max_size=5, unique=True),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([str, _csv]),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_names_come_back(
    names: list[str], encoding: str, end: str, way: Callable[[str], str]
) -> None:
    raw = "".join(way(name) + end for name in names).encode(encoding)
    lines = list(listing.Lines(io.BytesIO(raw), "list"))
    assert lines == [way(name) for name in names]
    if way is _csv:
        assert [listing.locate(line, anywhere=True).path.strip() for line in lines] == [
            name.strip() for name in names
        ] or any(set(name) & set('"\\~#%:') or name != name.strip() for name in names)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        for line in listing.Lines(io.BytesIO(raw), "list"):
            assert isinstance(listing.locate(line, anywhere=True).path, str)
            assert line
    except InputError:
        pass


def test_cells_of_tables_are_relative_to_it(place: Path) -> None:
    for cell in ("sub/c.png", "sub\\c.png", " sub/c.png ", f"file://{place}/sub/c.png"):
        assert place / listing.locate_in_table(cell, place).path == place / "sub/c.png"
    assert listing.locate_in_table("c.png", place / "sub").path == "c.png"
    assert listing.locate_in_table(" none.png", place).path == "none.png"
    assert listing.locate_in_table("# x.png", place) == ("# x.png", "", False)
    assert "Windows" in listing.locate_in_table("C:\\d\\a.png", place).refusal


def test_names_copied_byte_by_byte_from_windows(place: Path) -> None:
    raw = os.fsdecode("é.png".encode("cp1252"))
    (place / raw).write_bytes(b"x")
    assert listing.locate_in_table("é.png", place).path == raw


def test_a_list_through_a_pipe(place: Path) -> None:
    """As ``@<(find ...)`` of a shell."""
    os.mkfifo("pipe")
    descriptor = os.open("pipe", os.O_RDWR)
    os.write(descriptor, b"a.png\n")
    scan = open_inputs("@pipe", ScanOptions("png", NOWHERE))
    assert scan.is_read_once
    assert next(iter(scan)).path == "a.png"
    os.close(descriptor)
    Path("list").write_text("a.png\n")
    assert not open_inputs("@list", ScanOptions("png", NOWHERE)).is_read_once


def test_nul_lists_may_begin_with_a_line_break_in_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a\nb.png").touch()
    lines = list(listing.Lines(io.BytesIO(b"a\nb.png\0c.png\0"), "list"))
    assert lines == ["a\nb.png", "c.png"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"PK\x03\x04\x14\0\x06\0\n\0", "a spreadsheet or an archive"),
        (b"\x93NUMPY\x01\0v\0{'descr'}\n", "NumPy"),
        (b"\x80\x04\x95\n\0", "pickle"),
        (b"\x89PNG\r\n\x1a\n\0\0", "an image"),
        (b"<!DOCTYPE html>\n<a href=a.png>\n", "HTML"),
        (b'["a.png", "b.png"]', "JSON"),
        (b'[\n  "a.png",\n  "b.png"\n]\n', "JSON"),
        (b'{"file": "a.png"}\n{"file": "b.png"}\n', "JSON"),
        (b"path,label\na.png,3\n", "column 'path' alone"),
        (b",image_path\r\n0,a.png\r\n", "column 'image_path' alone"),
        ("\ufefffile name;größe\na.png;3\n".encode("utf-16-le"), "column 'file name' alone"),
    ],
)
def test_what_people_have_in_place_of_a_list_is_told_by_what_it_is(
    place: Path, raw: bytes, said: str
) -> None:
    with pytest.raises(InputError, match=r"is no list of files but .*a path a line") as error:
        paths(raw)
    assert said in str(error.value)


@pytest.mark.parametrize("line", ["[x].png", "{a}.png", "name,x.png", "path;label", "files, 3.jpg"])
def test_files_that_are_called_as_such_are_files(place: Path, line: str) -> None:
    (place / line).touch()
    assert paths(line.encode()) == [line]
