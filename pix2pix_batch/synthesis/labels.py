"""What inputs have in common: the groups that splits keep together, the strata they hold alike."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.inputs import table
from pix2pix_batch.text import escape

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
    if file.lower().endswith(table.SUFFIXES):
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
    labels: dict[str, str] = {}
    try:
        for line, row in table.read_rows(path, ("name", column)):
            name, said = row.get("name", ""), row.get(column.lower(), "").strip()
            if labels.setdefault(_normalise_path(name), said) != said:
                raise InputError(
                    f"{escape(path)}: line {line} has {escape(name)} again, with another {column}; "
                    "leave one"
                )
    except InputError as error:
        raise InputError(f"--{option}: {error}") from error

    def label(name: str) -> str:
        try:
            return labels[_normalise_path(name)]
        except KeyError:
            raise InputError(
                f"--{option}: {escape(path)}: has no row for {escape(name)}; its column 'name' "
                "holds the inputs' paths within IN"
            ) from None

    return label


def _normalise_path(name: str) -> str:
    """A path within IN, whatever system wrote it."""
    path = unicodedata.normalize("NFC", name.strip()).replace("\\", "/")
    return path.removeprefix("./")
