"""Patterns that name several inputs: braces, and globs over stores that have none of their own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from itertools import product

from pix2pix_batch.errors import InputError
from pix2pix_batch.text import escape

MOST = 10_000_000
"""Names that a pattern of braces may stand for."""

BRACE = re.compile(r"\{([^{},/]*(?:,[^{},/]*)+|\d{1,18}\.\.\d{1,18})\}")


def has_braces(text: str) -> bool:
    """``shards-{0000..0099}.tar`` or ``{train,val}.tar``."""
    return BRACE.search(text) is not None


def expand_braces(text: str) -> Iterator[str]:
    """The names that a pattern of braces stands for, in order, as a shell has it.

    Raises :class:`InputError` where they are too many.
    """
    plain = BRACE.split(text)[::2]
    choices = [_choices(inside) for inside in BRACE.findall(text)]
    count = math.prod(map(len, choices))
    if count > MOST:
        raise InputError(f"{escape(text)}: stands for {count:,} names; {MOST:,} are the most")
    for chosen in product(*choices):
        yield "".join(part for pair in zip(plain, (*chosen, ""), strict=True) for part in pair)


def _choices(inside: str) -> list[str]:
    if "," in inside:
        return inside.split(",")
    first, _, last = inside.partition("..")
    if abs(int(last) - int(first)) >= MOST:
        raise InputError(f"{{{inside}}}: stands for too many names; {MOST:,} are the most")
    step = 1 if int(last) >= int(first) else -1
    padded = any(text.startswith("0") and len(text) > 1 for text in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]


class Glob:
    """A glob's part with wildcards, over relative paths; ``**`` is any number of directories."""

    def __init__(self, pattern: str) -> None:
        self._parts = [part for part in pattern.split("/") if part]

    def matches(self, path: str) -> bool:
        return _matches(path.split("/"), self._parts)

    def enters(self, directory: str) -> bool:
        """Whether something below ``directory`` may match."""
        parts = directory.split("/")
        for position, part in enumerate(parts):
            if position < len(self._parts) and self._parts[position] == "**":
                return True
            if position + 1 >= len(self._parts) or not _part(part, self._parts[position]):
                return False
        return True


def _matches(path: list[str], parts: list[str]) -> bool:
    if not parts:
        return not path
    if parts[0] == "**":
        rest = parts[1:] or ["*"]
        hidden = next((i for i, name in enumerate(path) if name.startswith(".")), len(path))
        return any(_matches(path[skip:], rest) for skip in range(min(len(path), hidden + 1)))
    return bool(path) and _part(path[0], parts[0]) and _matches(path[1:], parts[1:])


def _part(name: str, pattern: str) -> bool:
    """As in a shell, wildcards do not stand for a leading dot."""
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
