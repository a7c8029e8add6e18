"""Finding the inputs, one by one, and naming their outputs."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pix2pix_batch.errors import InputError
from pix2pix_batch.images import SAME, SUFFIXES, form_of, suffixes
from pix2pix_batch.text import counted, shown

USUAL = (*SAME, ".gif", ".bmp")
"""The suffixes that a message names, of the many that Pillow reads."""

EXAMPLES = 3
"""How many of the files left alone, and of the renamed outputs, are kept by name."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input image and where its output goes.

    ``path``: the file to read; ``name``: its path within the input, which names it in the
    journal; ``output``: the path of its output within OUT; ``form``: the output's format.
    """

    path: str
    name: str
    output: str
    form: str


@dataclass
class Scan:
    """The inputs of a job. Iterate once; then the counts are known.

    ``ignored``: files without an image suffix, or lines that repeat one, the first of them in
    ``others``; ``renamed``: outputs with another name than the input's, for two would have met,
    the first in ``renames`` by input; ``links``: links to directories not followed; ``unlisted``:
    directories that could not be listed, and why.
    """

    source: str
    form: str
    out: Path
    follow_links: bool = False
    ignored: int = 0
    renamed: int = 0
    links: int = 0
    others: list[str] = field(default_factory=list)
    renames: list[tuple[str, str]] = field(default_factory=list)
    unlisted: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises :class:`InputError` where ``source`` cannot be scanned into ``out``."""
        self._suffixes = suffixes()
        self.is_list = self.source == "-" or self.source.startswith("@")
        if self.is_list:
            if self.source != "-" and not Path(self.source[1:]).is_file():
                raise InputError(f"{shown(self.source[1:])}: no such list file")
            return
        path = Path(self.source)
        self._pattern = self.source if not path.exists() and glob.has_magic(self.source) else ""
        self.root = _glob_root(self._pattern) if self._pattern else path
        if not self.root.exists():
            raise InputError(f"{shown(self.root)}: no such file or directory")
        if self.root.is_file():
            self._pattern, self.root = glob.escape(self.source), self.root.parent
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise InputError(f"{shown(self.root)}: cannot be read; check its permissions")
        self._check_apart()

    @property
    def identity(self) -> str:
        """What names the input in a journal: the directory that names are relative to."""
        return "list" if self.is_list else os.path.realpath(self.root)

    def _check_apart(self) -> None:
        root, out = self.root.resolve(), self.out.resolve()
        if root == out:
            raise InputError(
                f"{shown(self.out)}: is the input directory too; give another directory as OUT"
            )
        if out.is_relative_to(root) and (not self._pattern or "**" in self._pattern):
            raise InputError(
                f"{shown(self.out)}: lies inside the input directory {shown(self.root)}, so its "
                "images would become inputs of the next run; give a directory outside it"
            )

    def __iter__(self) -> Iterator[Item]:
        if self.is_list:
            return self._from_list()
        return self._from_glob() if self._pattern else self._from_directories()

    def _from_directories(self) -> Iterator[Item]:
        """Each directory's files, then its directories, depth first and in order."""
        # a directory and the device and inode of those over it, against link loops
        pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
        while pending:
            inside, above = pending.pop()
            listing = self._listing(inside, above)
            if listing is None:
                self.links += 1
                continue
            files, directories, identity = listing
            yield from self._items(inside, files, directories)
            below = (*above, identity)
            pending += [(os.path.join(inside, name), below) for name in reversed(directories)]

    def _listing(
        self, inside: str, above: tuple[tuple[int, int], ...]
    ) -> tuple[list[str], list[str], tuple[int, int]] | None:
        """A directory's images, its directories and its identity; ``None`` if it is ``above``."""
        here = os.path.join(self.root, inside)
        try:
            status = os.stat(here)
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            self.unlisted.append((inside, f"the directory cannot be listed ({error.strerror})"))
            return [], [], (0, 0)
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            return None
        files: list[str] = []
        directories: list[str] = []
        for entry in entries:
            if _is_directory(entry):
                if entry.is_symlink() and not self.follow_links:
                    self.links += 1
                else:
                    directories.append(entry.name)
            elif self._wanted(inside, entry.name):
                files.append(entry.name)
        return files, directories, identity

    def _from_glob(self) -> Iterator[Item]:
        """The files that match, directory by directory so that clashing names are seen."""
        together: dict[str, list[str]] = {}
        out = os.path.join(os.path.abspath(self.out), "")
        for path in sorted(set(glob.iglob(self._pattern, recursive=True))):
            if os.path.isdir(path) or os.path.abspath(path).startswith(out):
                continue
            inside, name = os.path.split(os.path.relpath(path, self.root))
            if self._wanted(inside, name):
                together.setdefault(inside, []).append(name)
        for inside, names in together.items():
            yield from self._items(inside, names)

    def _from_list(self) -> Iterator[Item]:
        """A path a line. Relative ones keep their place, absolute ones lose the leading ``/``.

        A line that meets an earlier line's output keeps its whole name plus the new suffix, which
        is repeated until it meets none.
        """
        taken: set[int] = set()
        listed: set[int] = set()
        for line in self._lines():
            name = os.path.normpath(line).lstrip("/")
            if hash(name) in listed:
                self._leave(name)
                continue
            listed.add(hash(name))
            form = form_of(name, self.form)
            output = plain = _output(name, form, self.form)
            if hash(output) in taken:
                output = name + SUFFIXES[form]
            while hash(output) in taken:
                output += SUFFIXES[form]
            taken.add(hash(output))
            if output != plain:
                self._rename(name, output)
            yield Item(line, name, output, form)

    def _lines(self) -> Iterator[str]:
        with self._list() as file:
            for number, line in enumerate(file, 1):
                path = os.fsdecode(line.rstrip(b"\r\n"))
                if "\0" in path:
                    raise InputError(
                        f"{shown(self.source)}: line {number} holds a NUL byte; give a path a "
                        "line, in the file system's own encoding"
                    )
                if path:
                    yield path

    def _list(self) -> BinaryIO:
        if self.source == "-":
            return sys.stdin.buffer
        try:
            return open(self.source[1:], "rb")
        except OSError as error:
            name = shown(self.source[1:])
            raise InputError(f"{name}: the list cannot be read ({error.strerror})") from error

    def _wanted(self, inside: str, name: str) -> bool:
        if os.path.splitext(name)[1].lower() in self._suffixes:
            return True
        self._leave(os.path.join(inside, name))
        return False

    def _leave(self, name: str) -> None:
        self.ignored += 1
        if len(self.others) < EXAMPLES:
            self.others.append(name)

    def _rename(self, name: str, output: str) -> None:
        self.renamed += 1
        if len(self.renames) < EXAMPLES:
            self.renames.append((name, output))

    def _items(
        self, inside: str, names: list[str], directories: Collection[str] = ()
    ) -> Iterator[Item]:
        """The files ``names`` of the directory ``inside`` as items, all outputs distinct.

        ``a.jpg`` becomes ``a.png``; where two would meet, or meet one of ``directories``, each
        keeps its whole name: ``a.jpg.png`` and ``a.gif.png``.
        """
        forms = {name: form_of(name, self.form) for name in names}
        outputs = {name: _output(name, forms[name], self.form) for name in names}
        whole: set[str] = set()
        while clashing := _clashing(outputs, directories) - whole:
            whole |= clashing
            outputs |= {name: name + SUFFIXES[forms[name]] for name in clashing}
        for name in names:
            path = os.path.join(inside, name)
            output = os.path.join(inside, outputs[name])
            if name in whole:
                self._rename(path, output)
            yield Item(os.path.join(self.root, path), path, output, forms[name])

    def nothing(self) -> str:
        """What to tell who gave an input in which no image was found."""
        if self.is_list:
            what = "standard input" if self.source == "-" else shown(self.source)
            return f"{what}: no image found: it names no file; give a path a line"
        if self._pattern and not self.ignored:
            return (
                f"{shown(self.source)}: no image found: no file matches; check the pattern ('**' "
                "stands for directories of any depth), or give a directory"
            )
        looked = ", ".join(USUAL) + f" and {len(self._suffixes) - len(USUAL)} more suffixes"
        seen = counted(self.ignored, "other file")
        if self.others:
            seen += f" (such as {shown(self.others[0])})"
        if self.links:
            links = counted(self.links, "link")
            seen += f", {links} to directories, not followed (see --follow-links)"
        return (
            f"{shown(self.source)}: no image found: looked for {looked}, saw {seen}; give another "
            "input, or name files of any suffix in a list (@files.txt)"
        )


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself: fails as a file, by its name
        return False


def _clashing(outputs: dict[str, str], directories: Collection[str]) -> set[str]:
    """The names whose output is also another's, or a directory's."""
    count = Counter([*outputs.values(), *directories])
    return {name for name, output in outputs.items() if count[output] > 1}


def _output(name: str, form: str, asked: str) -> str:
    """The output's name; with ``same``, a suffix that already names the format stays."""
    stem, own = os.path.splitext(name)
    return stem + (own if asked == "same" and own.lower() in SAME else SUFFIXES[form])


def _glob_root(pattern: str) -> Path:
    """The directory of a glob pattern that holds no wildcard."""
    parts = Path(pattern).parts
    plain = []
    for part in parts[:-1]:
        if glob.has_magic(part):
            break
        plain.append(part)
    return Path(*plain)
