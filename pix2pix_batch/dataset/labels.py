"""What inputs have in common: the groups that splits keep together, the strata they hold alike."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.text import shown

FOLDER = "folder"

Labeller = Callable[[str], str]
"""An input's label, by its name."""


def labeller(text: str, option: str) -> Labeller:
    """What ``text`` stands for: ``folder``, the column ``FILE.csv:COLUMN``, or a pattern.

    Of a pattern, the label is its first group, or all that it matches where it has none; an input
    without a match stands for itself. ``option`` is named in errors. Raises :class:`InputError`.
    """
    if text == FOLDER:
        return os.path.dirname
    file, _, column = text.rpartition(":")
    if file.lower().endswith(".csv"):
        return _from_table(Path(file), column, option)
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(
            f"--{option} {text!r}: is no pattern ({error}); give 'folder', FILE.csv:COLUMN, or a "
            "regular expression"
        ) from error

    def label(name: str) -> str:
        match = pattern.search(name)
        if match is None:
            return name
        return (match[1] or "") if pattern.groups else match[0]

    return label


def _from_table(path: Path, column: str, option: str) -> Labeller:
    """The table's column ``name`` holds the inputs' paths within IN."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a BOM
            reader = csv.DictReader(file)
            missing = [one for one in ("name", column) if one not in (reader.fieldnames or ())]
            rows = {} if missing else {row["name"]: row[column] or "" for row in reader}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"--{option}: {shown(path)}: cannot be read ({error})") from error
    if missing:
        raise InputError(
            f"--{option}: {shown(path)}: has no column {missing[0]!r}; it needs 'name', the "
            f"inputs' paths within IN, and {column!r}"
        )

    def label(name: str) -> str:
        try:
            return rows[name]
        except KeyError:
            raise InputError(
                f"--{option}: {shown(path)}: has no row for {shown(name)}; add it"
            ) from None

    return label
