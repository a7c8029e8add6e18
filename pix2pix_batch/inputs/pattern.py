"""Patterns that name several inputs: braces, and globs: over stores that have none of their
own, and over this machine's directories, of which none is passed over without a word."""

from __future__ import annotations

import errno
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from glob import has_magic
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
    braces = BRACE.findall(text)
    count = math.prod(map(_count_choices, braces))
    if count > MOST:
        raise InputError(f"{escape(text)}: stands for {count:,} names; {MOST:,} are the most")
    for chosen in product(*map(_choices, braces)):
        yield "".join(part for pair in zip(plain, (*chosen, ""), strict=True) for part in pair)


def _count_choices(inside: str) -> int:
    if "," in inside:
        return inside.count(",") + 1
    first, _, last = inside.partition("..")
    return abs(int(last) - int(first)) + 1


def _choices(inside: str) -> list[str]:
    if "," in inside:
        return inside.split(",")
    first, _, last = inside.partition("..")
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

    def looks_at(self, path: str) -> bool:
        """Whether ``path`` matches, or is a directory that is searched, for which a name without a
        suffix is taken."""
        is_directory = "." not in path.rpartition("/")[2]
        return self.matches(path) or (is_directory and self.enters(path))

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
        # As in a shell, ** does not enter hidden directories.
        hidden = next((i for i, name in enumerate(path) if name.startswith(".")), len(path))
        return any(_matches(path[skip:], rest) for skip in range(min(len(path), hidden + 1)))
    return bool(path) and _part(path[0], parts[0]) and _matches(path[1:], parts[1:])


def _part(name: str, pattern: str) -> bool:
    """As in a shell, wildcards do not stand for a leading dot."""
    return fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))


def find_matches(pattern: str, note: Callable[[str, OSError], None]) -> Iterator[str]:
    """Paths that match, as ``glob.iglob(pattern, recursive=True)`` has them, some twice where
    ``**`` stands twice. ``note`` is called with each directory that cannot be searched, and why:
    to leave what is in it out without a word would make a job look whole that is not."""
    start = "/" if pattern.startswith("/") else ""
    return _search(start, [part for part in pattern.split("/") if part], note)


def _search(here: str, parts: list[str], note: Callable[[str, OSError], None]) -> Iterator[str]:
    """``here``: a directory, ``""`` for the current one."""
    if not parts:
        yield here
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _search_below(here, rest, (), note)
    elif has_magic(part):
        for name, is_directory in _list_directory(here, note):
            if _part(name, part) and (is_directory or not rest):
                yield from _search(os.path.join(here, name), rest, note)
    else:
        path = os.path.join(here, part)
        if _is_there(path, is_directory=bool(rest), note=note):
            yield from _search(path, rest, note)


def _search_below(
    here: str,
    rest: list[str],
    above: tuple[tuple[int, int], ...],
    note: Callable[[str, OSError], None],
) -> Iterator[str]:
    """Any number of directories, then ``rest``. ``above``: device and inode of the directories
    that it lies in, by links too, which may lead back to one of them."""
    try:
        status = os.stat(here or ".")
    except OSError as error:
        note(here, error)
        return
    identity = status.st_dev, status.st_ino
    if identity in above:
        return
    if rest:
        yield from _search(here, rest, note)
    for name, is_directory in _list_directory(here, note):
        if name.startswith("."):
            continue
        path = os.path.join(here, name)
        if not rest:
            yield path
        if is_directory:
            yield from _search_below(path, rest, (*above, identity), note)


def _list_directory(here: str, note: Callable[[str, OSError], None]) -> Iterator[tuple[str, bool]]:
    """Names, and which are directories."""
    try:
        with os.scandir(here or ".") as listing:
            # All at once, so that the directory is closed before the search goes down: else each
            # level would hold one open.
            entries = [(entry.name, entry) for entry in listing]
    except (FileNotFoundError, NotADirectoryError):  # it has just gone
        return
    except OSError as error:
        note(here, error)
        return
    for name, entry in entries:
        try:
            yield name, entry.is_dir()
        except OSError:  # such as a link to itself: fails as a file, by its name
            yield name, False


def _is_there(path: str, *, is_directory: bool, note: Callable[[str, OSError], None]) -> bool:
    try:
        # A link that leads nowhere counts as there: it then fails by name instead of being passed
        # over.
        return stat.S_ISDIR(os.stat(path).st_mode) if is_directory else bool(os.lstat(path))
    except PermissionError as error:
        note(os.path.dirname(path), error)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
            note(os.path.dirname(path), error)
    return False
