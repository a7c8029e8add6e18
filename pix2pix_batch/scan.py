"""Finding the inputs, one by one, and naming their outputs."""

from __future__ import annotations

import glob
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
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

    ``ignored``: files without an image suffix; ``links``: links to directories not followed;
    ``unlisted``: directories that could not be listed, and why.
    """

    source: str
    form: str
    out: Path
    follow_links: bool = False
    ignored: int = 0
    links: int = 0
    unlisted: list[tuple[str, str]] = field(default_factory=list)

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

    @property
    def identity(self) -> str:
        """What names the input in a journal: the directory that names are relative to."""
        return "list" if self._list else os.path.realpath(self.root)

    def _check_apart(self) -> None:
        root, out = self.root.resolve(), self.out.resolve()
        if root == out:
            raise InputError(
                f"{shown(self.out)}: is the input directory too; give another directory as OUT"
            )
        if out.is_relative_to(root) and (not self._pattern or "**" in self.source):
            raise InputError(
                f"{shown(self.out)}: lies inside the input directory {shown(self.root)}, so its "
                "images would become inputs of the next run; give a directory outside it"
            )

    def __iter__(self) -> Iterator[Item]:
        if self._list:
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
            for name, output, form in self._outputs(files, directories):
                path = os.path.join(inside, name)
                yield Item(os.path.join(self.root, path), path, os.path.join(inside, output), form)
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
            elif self._wanted(entry.name):
                files.append(entry.name)
        return files, directories, identity

    def _from_glob(self) -> Iterator[Item]:
        """The files that match, directory by directory so that clashing names are seen."""
        together: dict[str, list[str]] = {}
        out = os.path.join(os.path.abspath(self.out), "")
        for path in sorted(set(glob.iglob(self.source, recursive=True))):
            if os.path.isdir(path) or os.path.abspath(path).startswith(out):
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

        A line that meets an earlier line's output keeps its whole name plus the new suffix, which
        is repeated until it meets none.
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
            while hash(output) in taken:
                output += SUFFIXES[form]
            taken.add(hash(output))
            yield Item(line, name, output, form)

    def _lines(self) -> Iterator[str]:
        with sys.stdin.buffer if self.source == "-" else open(self.source[1:], "rb") as file:
            for number, line in enumerate(file, 1):
                path = os.fsdecode(line.rstrip(b"\r\n"))
                if "\0" in path:
                    raise InputError(
                        f"{shown(self.source)}: line {number} holds a NUL byte; give a path a "
                        "line, in the file system's own encoding"
                    )
                if path:
                    yield path

    def _wanted(self, name: str) -> bool:
        if os.path.splitext(name)[1].lower() in self._suffixes:
            return True
        self.ignored += 1
        return False

    def _outputs(
        self, names: list[str], directories: Collection[str] = ()
    ) -> Iterator[tuple[str, str, str]]:
        """Name, output name and format of each of one directory's files, all outputs distinct.

        ``a.jpg`` becomes ``a.png``; where two would meet, or meet one of ``directories``, each
        keeps its whole name: ``a.jpg.png`` and ``a.gif.png``.
        """
        forms = {name: form_of(name, self.form) for name in names}
        outputs = {
            name: os.path.splitext(name)[0] + _suffix(name, forms[name], self.form)
            for name in names
        }
        whole: set[str] = set()
        while clashing := _clashing(outputs, directories) - whole:
            whole |= clashing
            outputs |= {name: name + SUFFIXES[forms[name]] for name in clashing}
        for name in names:
            yield name, outputs[name], forms[name]


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself: fails as a file, by its name
        return False


def _clashing(outputs: dict[str, str], directories: Collection[str]) -> set[str]:
    """The names whose output is also another's, or a directory's."""
    count = Counter([*outputs.values(), *directories])
    return {name for name, output in outputs.items() if count[output] > 1}


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
