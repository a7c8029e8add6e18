"""Lists of pairs: CSV, TSV and JSON lines, as editors, spreadsheets and scripts leave them."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pix2pix_batch.errors import InputError
from pix2pix_batch.files.whole import whole
from pix2pix_batch.text import shown
from pix2pix_batch.train.sides import SPLIT_WORDS, SPLITS

TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson")
COLUMNS = ("a", "b", "split")

MARKS = [
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16's, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
]
"""Byte order marks, and what they say that follows."""

LINE = 80
"""Characters of a first line that are told."""


class Row(NamedTuple):
    """A pair, and the place that says so, for messages."""

    a: Path
    b: Path
    split: str
    place: str


def is_manifest(path: Path) -> bool:
    return path.suffix.lower() in (*TABLES, *LINES)


def read(path: Path) -> Iterator[Row]:
    """The rows of the manifest at ``path``. Paths are as :func:`_located` finds them.

    Raises :class:`InputError` with the line that cannot be one.
    """
    rows = _table if path.suffix.lower() in TABLES else _json_lines
    for line, row in rows(path, text_of(path)):
        place = f"{path}, line {line}"
        if not isinstance(row, dict) or not all(
            isinstance(row.get(key), str) and row[key].strip() for key in ("a", "b")
        ):
            raise InputError(f"{place}: needs the columns a and b, and perhaps split, as text")
        said = str(row.get("split") or "train").strip().lower()
        if said not in SPLIT_WORDS:
            raise InputError(f"{place}: split must be {', '.join(SPLITS)}, not {row['split']!r}")
        a, b = (_located(path.parent, row[key]) for key in ("a", "b"))
        yield Row(a, b, SPLIT_WORDS[said], place)


def text_of(path: Path) -> str:
    """The file's text, whatever its encoding mark, with plain line ends.

    Without a mark: UTF-8, else UTF-16 where every other byte is nought, else Windows' own, whose
    letters then have to be those of files that are there. Raises :class:`InputError`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error})") from error
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "")
    if not encoding and b"\0" in data[:64]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    for guess in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            return data.decode(guess).replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            continue
    raise InputError(
        f"{path}: is no manifest in UTF-8 text (nor in {encoding or 'cp1252'}); save it as UTF-8"
    )


def _table(path: Path, text: str) -> Iterator[tuple[int, object]]:
    """Rows under a first line that names the columns; commas, semicolons, tabs or bars between."""
    lines = text.split("\n")
    skipped = 0
    while lines and (not lines[0].strip() or lines[0].lower().startswith("sep=")):  # Excel's
        lines.pop(0)
        skipped += 1
    first = lines[0] if lines else ""
    for delimiter in ",;\t|":
        names = _cells(first, delimiter)
        if {"a", "b"} <= set(names):
            break
    else:
        if not first:
            return
        raise InputError(
            f"{path}: its first line must name the columns a and b, and perhaps split, "
            f"with commas between; it is {first.strip()[:LINE]!r}"
        )
    try:
        reader = csv.reader(
            io.StringIO("\n".join(lines[1:])), delimiter=delimiter, skipinitialspace=True
        )
        for row in reader:
            if any(cell.strip() for cell in row):
                yield reader.line_num + skipped + 1, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error})") from error


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [name.strip().strip('"').lower() for name in row]


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            why = f"{error.msg}, column {error.colno}"
            raise InputError(f"{path}, line {number}: is no JSON ({why})") from error
        except RecursionError as error:
            raise InputError(f"{path}, line {number}: is nested too deep") from error
        if isinstance(row, dict):
            row = {str(key).strip().lower(): value for key, value in row.items()}
        yield number, row


def _located(folder: Path, text: str) -> Path:
    """The file that a cell means, relative to ``folder``.

    As it stands, where that is there; else without blanks around it, as a ``file:`` URL, with
    slashes for Windows' backslashes, and with accents as other systems write them.
    """
    for name in _readings(text):
        try:
            if (folder / name).exists():
                return Path(name)
        except (OSError, ValueError):  # too long a name, or a NUL in it
            continue
    plain = text.strip() or text
    return Path(plain.replace("\\", "/").replace("\0", "\N{REPLACEMENT CHARACTER}"))


def _readings(text: str) -> Iterator[str]:
    plain = text.strip()
    forms = [text, plain]
    if plain.lower().startswith("file:"):
        forms.append(unquote(urlsplit(plain).path))
    forms += [form.replace("\\", "/") for form in list(forms)]
    for form in dict.fromkeys(forms):
        for normal in dict.fromkeys(
            [form, unicodedata.normalize("NFC", form), unicodedata.normalize("NFD", form)]
        ):
            if normal:
                yield normal


def write(path: Path, rows: Iterable[tuple[Path, Path, str]]) -> None:
    """Write A, B and split of each pair as CSV: paths relative to the file's directory where they
    lie below it, else whole ones.

    Raises :class:`InputError` for a name that UTF-8 cannot hold, or where there can be no file.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    folder = Path(os.path.abspath(path.parent))
    for a, b, split in rows:
        writer.writerow([*(_below(folder, file) for file in (a, b)), split])
    try:
        data = text.getvalue().encode()
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as file:
            file.write(data)
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: a file's name is no text, which a manifest cannot hold: "
            f"{shown(error.object[error.start - LINE : error.end])}; rename it"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _below(folder: Path, file: Path) -> str:
    there = Path(os.path.abspath(file))
    return (there.relative_to(folder) if there.is_relative_to(folder) else there).as_posix()
