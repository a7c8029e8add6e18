"""Tables (CSV, TSV) as editors, spreadsheets and scripts leave them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs import listing
from pix2pix_batch.text import escape

SUFFIXES = (".csv", ".tsv")
DELIMITERS = ",;\t|"

LINE = 80
"""Characters of a first line that are told."""


def read_text(path: Path) -> str:
    """The file's text, whatever its encoding mark, with plain line ends.

    Without a mark: UTF-8, else UTF-16 where every other byte is nought, else Windows' own, whose
    letters then have to be those of files that are there. Raises :class:`InputError`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{escape(path)}: cannot be read ({error.strerror})") from error
    encoding, length = listing.marked_encoding(data)
    if not encoding:
        encoding = listing.unmarked_encoding(data[: listing.LONGEST])
    for guess in [encoding] if encoding else ["utf-8", "cp1252"]:
        try:
            text = data[length:].decode(guess)
        except UnicodeDecodeError:
            continue
        return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\x1a")  # of DOS
    tried = encoding or "cp1252"
    raise InputError(
        f"{escape(path)}: is not UTF-8 text (nor {tried}), as manifests "
        "and tables are; save it as UTF-8"
    )


def read_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows under a first line that names the columns, each with the number of its last line;
    commas, semicolons, tabs or bars between. The names of columns are in lower case, and rows
    without a word left out.

    ``needed``: columns that must be there. Raises :class:`InputError`.
    """
    needed = [name.lower() for name in needed]
    lines = read_text(path).split("\n")
    skipped = 0
    while lines and (not lines[0].strip() or lines[0].lower().startswith("sep=")):  # Excel's
        lines.pop(0)
        skipped += 1
    if not lines:
        return
    names, delimiter = _columns(path, lines[0], needed)
    text = io.StringIO("\n".join(lines[1:]))
    try:
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
        for row in reader:
            number = reader.line_num + skipped + 1
            if any(cell.strip() for cell in row[len(names) :]):
                raise InputError(
                    f"{escape(path)}, line {number}: has {len(row)} cells, and the first line "
                    f"names {len(names)} columns; name them all, or quote a cell that holds a "
                    f"{delimiter!r}"
                )
            if any(cell.strip() for cell in row):
                yield number, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise InputError(f"{escape(path)}: cannot be read as a table ({error})") from error


def _columns(path: Path, first: str, needed: Sequence[str]) -> tuple[list[str], str]:
    """The names in a first line, and what stands between them. Raises :class:`InputError`."""
    for delimiter in DELIMITERS:
        names = _cells(first, delimiter)
        if set(needed) <= set(names):
            break
    else:
        raise InputError(
            f"{escape(path)}: its first line must name the columns {' and '.join(needed)}, with "
            f"commas between; it is {first.strip()[:LINE]!r}"
        )
    if twice := next((name for name in needed if names.count(name) > 1), None):
        raise InputError(f"{escape(path)}: has the column {twice} twice; rename one of them")
    return names, delimiter


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [name.strip().strip('"').lower() for name in row]
