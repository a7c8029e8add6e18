"""Finding the inputs, one by one, and naming their outputs."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.images import SAME, SUFFIXES, form_of, suffixes


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

    ``ignored``: files without an image suffix; ``links``: links to directories not followed.
    """

    source: str
    form: str
    out: Path
    follow_links: bool = False
    ignored: int = 0
    links: int = 0

    def __post_init__(self) -> None:
        """Raises :class:`InputError` where ``source`` cannot be scanned into ``out``."""
        self._suffixes = suffixes()
        self._list = self.source == "-" or self.source.startswith("@")
        if self._list:
            if self.source != "-" and not Path(self.source[1:]).is_file():
                raise InputError(f"{shown(self.source[1:])}: no such list file")
            return
        path = Path(self.source)
        self._pattern = not path.exists() and glob.has_magic(self.source)
        self.root = _glob_root(self.source) if self._pattern else path
        if not self.root.exists():
            raise InputError(f"{shown(self.root)}: no such file or directory")
        if self.root.is_file():
            self._pattern, self.root = True, self.root.parent
            self.source = glob.escape(self.source)
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise InputError(f"{shown(self.root)}: cannot be read; check its permissions")
        self._check_apart()

    def _check_apart(self) -> None:
        root, out = self.root.resolve(), self.out.resolve()
        if root == out:
            raise InputError(
                f"{shown(self.out)}: is the input directory too; give another directory as OUT"
            )
        if out.is_relative_to(root):
            raise InputError(
                f"{shown(self.out)}: lies inside the input directory {shown(self.root)}, so its "
                "images would become inputs of the next run; give a directory outside it"
            )

    def __iter__(self) -> Iterator[Item]:
        if self._list:
            return self._from_list()
        return self._from_glob() if self._pattern else self._from_directory("", ())

    def _from_directory(self, inside: str, above: tuple[tuple[int, int], ...]) -> Iterator[Item]:
        """``above``: device and inode of the directories over this one, against link loops."""
        here = os.path.join(self.root, inside)
        try:
            status = os.stat(here)
            with os.scandir(here) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{shown(here)}: cannot be listed ({error.strerror})") from error
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            self.links += 1
            return
        files, directories = [], []
        for entry in entries:
            if entry.is_dir():
                if entry.is_symlink() and not self.follow_links:
                    self.links += 1
                else:
                    directories.append(entry.name)
            elif self._wanted(entry.name):
                files.append(entry.name)
        for name, output, form in self._outputs(files):
            path = os.path.join(inside, name)
            yield Item(os.path.join(here, name), path, os.path.join(inside, output), form)
        for name in directories:
            yield from self._from_directory(os.path.join(inside, name), (*above, identity))

    def _from_glob(self) -> Iterator[Item]:
        """The files that match, directory by directory so that clashing names are seen."""
        together: dict[str, list[str]] = {}
        for path in sorted(glob.iglob(self.source, recursive=True)):
            if os.path.isdir(path):
                continue
            inside, name = os.path.split(os.path.relpath(path, self.root))
            if self._wanted(name):
                together.setdefault(inside, []).append(name)
        for inside, names in together.items():
            for name, output, form in self._outputs(names):
                relative = os.path.join(inside, name)
                path = os.path.join(self.root, relative)
                yield Item(path, relative, os.path.join(inside, output), form)

    def _from_list(self) -> Iterator[Item]:
        """A path a line. Relative ones keep their place, absolute ones lose the leading ``/``.

        A line that meets an earlier line's output keeps its whole name plus the new suffix.
        """
        taken: set[int] = set()
        listed: set[int] = set()
        for line in self._lines():
            name = os.path.normpath(line).lstrip("/")
            if hash(name) in listed:
                self.ignored += 1
                continue
            listed.add(hash(name))
            form = form_of(name, self.form)
            output = os.path.splitext(name)[0] + _suffix(name, form, self.form)
            if hash(output) in taken:
                output = name + SUFFIXES[form]
            taken.add(hash(output))
            yield Item(line, name, output, form)

    def _lines(self) -> Iterator[str]:
        with sys.stdin.buffer if self.source == "-" else open(self.source[1:], "rb") as file:
            for line in file:
                path = os.fsdecode(line.rstrip(b"\r\n"))
                if path:
                    yield path

    def _wanted(self, name: str) -> bool:
        if os.path.splitext(name)[1].lower() in self._suffixes:
            return True
        self.ignored += 1
        return False

    def _outputs(self, names: list[str]) -> Iterator[tuple[str, str, str]]:
        """Name, output name and format of each of one directory's files, all outputs distinct.

        ``a.jpg`` becomes ``a.png``; where two would meet, each keeps its whole name:
        ``a.jpg.png`` and ``a.gif.png``.
        """
        forms = {name: form_of(name, self.form) for name in names}
        outputs = {
            name: os.path.splitext(name)[0] + _suffix(name, forms[name], self.form)
            for name in names
        }
        while clashes := {o for o, count in Counter(outputs.values()).items() if count > 1}:
            for name, output in outputs.items():
                if output in clashes:
                    outputs[name] = name + SUFFIXES[forms[name]]
        for name in names:
            yield name, outputs[name], forms[name]


def _suffix(name: str, form: str, asked: str) -> str:
    """The output's suffix; with ``same``, a suffix that already names the format stays."""
    own = os.path.splitext(name)[1]
    return own if asked == "same" and own.lower() in SAME else SUFFIXES[form]


def _glob_root(pattern: str) -> Path:
    """The directory of a glob pattern that holds no wildcard."""
    parts = Path(pattern).parts
    plain = []
    for part in parts[:-1]:
        if glob.has_magic(part):
            break
        plain.append(part)
    return Path(*plain)


def shown(path: object) -> str:
    """A path for people: control characters and undecodable bytes escaped."""
    text = str(path)
    return (
        text if text.isprintable() else text.encode("unicode_escape", "backslashreplace").decode()
    )
