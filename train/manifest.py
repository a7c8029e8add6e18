"""Lists of pairs: CSV, TSV and JSON lines, as editors, spreadsheets and scripts leave them."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs import listing, table
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import escape
from pix2pix_batch.train.sides import SPLIT_WORDS, SPLITS

LINES = (".jsonl", ".ndjson")
COLUMNS = ("a", "b", "split")

SPLIT_COLUMNS = ("split", "subset", "set", "partition", "phase", "fold")
"""What a column of splits may be called; the first that is there counts."""

LINE = 80
"""Characters of a name that are told."""


class Row(NamedTuple):
    """A pair, the place that says so, for messages, and why it may not be read."""

    a: Path
    b: Path
    split: str
    place: str
    refusal: str = ""


def is_manifest(path: Path) -> bool:
    return path.suffix.lower() in (*table.SUFFIXES, *LINES)


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of the manifest at ``path``. Paths: :func:`listing.locate_in_table`.

    Raises :class:`InputError` with the line that cannot be one.
    """
    is_table = path.suffix.lower() in table.SUFFIXES
    for line, row in table.read_rows(path, ("a", "b")) if is_table else _json_lines(path):
        place = f"{path}, line {line}"
        cells = [row.get(key) for key in ("a", "b")] if isinstance(row, dict) else []
        names = [cell for cell in cells if isinstance(cell, str) and cell.strip()]
        if not isinstance(row, dict) or len(names) < 2:
            raise InputError(f"{place}: needs the columns a and b, and perhaps split, as text")
        column = next((name for name in SPLIT_COLUMNS if name in row), "split")
        value = row.get(column)
        said = str("" if value is None else value).strip().lower() or "train"
        if said not in SPLIT_WORDS:
            other = "" if column == "split" else "; if it is no split, call the column otherwise"
            raise InputError(
                f"{place}: {column} must be {', '.join(SPLITS)}, not {row[column]!r}{other}"
            )
        a, b = (listing.locate_in_table(name, path.parent) for name in names)
        yield Row(Path(a.path), Path(b.path), SPLIT_WORDS[said], place, a.refusal or b.refusal)


def _json_lines(path: Path) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(table.read_text(path).split("\n"), 1):
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
        start = max(error.object.rfind("\n", 0, error.start) + 1, error.start - LINE)
        name = re.split(r"[,\n]", error.object[start : error.end + LINE])[0]
        raise InputError(
            f"{path}: a file's name is no text (UTF-8), which a manifest cannot hold: "
            f"{escape(name)}; rename it"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _below(folder: Path, file: Path) -> str:
    there = Path(os.path.abspath(file))
    return (there.relative_to(folder) if there.is_relative_to(folder) else there).as_posix()
