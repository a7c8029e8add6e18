"""Finding the inputs, one by one, and naming their outputs."""

from __future__ import annotations

import glob
import io
import os
import sys
from array import array
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pix2pix_batch.errors import InputError
from pix2pix_batch.files import remote
from pix2pix_batch.files.storage import joined
from pix2pix_batch.images import SAME, SUFFIXES, form_of, suffixes
from pix2pix_batch.inputs import folder
from pix2pix_batch.inputs.folder import Folder
from pix2pix_batch.inputs.names import Names, Seen, meeting, repeated
from pix2pix_batch.inputs.pattern import Glob, expanded, has_braces
from pix2pix_batch.text import counted, shown

USUAL = (*SAME, ".gif", ".bmp")
"""The suffixes that a message names, of the many that Pillow reads."""

TARS = (".tar", ".tar.gz", ".tgz")
"""The suffixes of tars, which hold many images each."""

EXAMPLES = 3
"""How many of the files left alone, and of the renamed outputs, are kept by name."""

LONGEST = 1 << 16
"""Bytes of a line of a list: more than paths have, less than a file that is no list."""

LISTED = "listed"
"""The stamp of a URL from a list of images: what it names is taken never to change, for to ask
for each would take longer than to convert them."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input and where its output goes: an image, or a tar of them.

    ``path``: the file to read, or its URL; ``name``: its path within the input, which names it in
    the journal; ``output``: the path of its output within OUT; ``form``: the output's format, of a
    tar as it was asked for; ``sidecars``: the names of the files beside it that go with it;
    ``stamp``: where a store has told it already; ``refusal``: why it may not be read; ``content``:
    its bytes, of a tar's member; ``variant``: which of several outputs it is
    (:mod:`pix2pix_batch.noise`).
    """

    path: str
    name: str
    output: str
    form: str
    sidecars: tuple[str, ...] = ()
    stamp: str = ""
    refusal: str = ""
    tar: bool = False
    content: bytes | None = None
    variant: int | None = None


@dataclass
class Scan:
    """The inputs of a job. Iterate once; then the counts are known.

    ``ignored``: files without an image suffix, or lines that repeat one, the first of them in
    ``others``; ``renamed``: outputs with another name than the input's, for two would have met,
    the first in ``renames`` by input; ``links``: links to directories not followed; ``unlisted``:
    directories that could not be listed, and why. With ``georeference`` items have their
    sidecars, and ``descriptions`` is what sets of map tiles say of themselves, by input: whoever
    iterates takes them out. With ``unpack`` a tar's output is a directory.

    Memory (``benchmarks/scan.py``): 26 bytes for each file of the largest directory, 50 for each
    line of a list. A store's listing of one directory is held whole, and so are the names that a
    glob finds in one.
    """

    source: str
    form: str
    out: Path | str
    follow_links: bool = False
    georeference: bool = False
    unpack: bool = False
    ignored: int = 0
    renamed: int = 0
    links: int = 0
    others: list[str] = field(default_factory=list)
    renames: list[tuple[str, str]] = field(default_factory=list)
    unlisted: list[tuple[str, str]] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises :class:`InputError` where ``source`` cannot be scanned into ``out``."""
        self._suffixes = suffixes()
        self._pattern, self._braces, self._glob = "", False, Glob("")
        self.tars = self.source.lower().endswith(TARS)
        self.is_list = self.source == "-" or self.source.startswith("@")
        if self.is_list:
            self._list_of = remote.plain(self.source[1:])
            if self.source != "-" and not (
                remote.is_url(self._list_of) or Path(self._list_of).is_file()
            ):
                raise InputError(f"{shown(self._list_of)}: no such list file")
            return
        self.source = remote.plain(self.source)
        self.is_remote = remote.is_url(self.source)
        if self.is_remote:
            self._begin_remote()
        else:
            self._begin_local()
        self._check_apart()

    def _begin_local(self) -> None:
        path = Path(self.source)
        if not path.exists():
            self._pattern = self.source if glob.has_magic(self.source) else ""
            self._braces = not self._pattern and has_braces(self.source)
        self.root: Path | str = path
        if self._pattern or self._braces:
            self.root = _root_of(path)
        if not Path(self.root).exists():
            raise InputError(f"{shown(self.root)}: no such file or directory")
        if Path(self.root).is_file():
            self._pattern, self.root = glob.escape(self.source), path.parent
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise InputError(f"{shown(self.root)}: cannot be read; check its permissions")
        if not (self._pattern or self._braces):
            self.tars = folder.holds_tars(self.root, self._is_image, TARS)

    def _begin_remote(self) -> None:
        self._braces = has_braces(self.source)
        wild = glob.has_magic(self.source) and remote.scheme(self.source) not in remote.WEB
        self.root = self.source
        if self._braces or wild:
            self.root, inside = _url_root(self.source)
            self._glob = Glob("" if self._braces else inside)
            self._pattern = "" if self._braces else self.source
        elif remote.is_file(self.source):
            self._braces, self.root = True, self.source.rpartition("/")[0]
        if self._braces:
            return
        if remote.scheme(self.source) in remote.WEB:
            raise InputError(f"{self._shown}: the web has no directories; give a list (@urls.txt)")
        if not self._pattern:
            self.tars = self._is_of_tars()

    def _is_of_tars(self) -> bool:
        """Whether the remote directory holds tars and no image."""
        try:
            files = remote.listing(self.source).files
        except Exception as error:
            raise InputError(f"{self._shown}: cannot be listed ({remote.reason(error)})") from error
        return not any(map(self._is_image, files)) and any(
            name.lower().endswith(TARS) for name in files
        )

    @property
    def _shown(self) -> str:
        return "standard input" if self.source == "-" else shown(remote.safe(self.source))

    @property
    def identity(self) -> str:
        """What names the input in a journal: the directory that names are relative to."""
        if self.is_list:
            return "list"
        return remote.safe(self.root) if self.is_remote else os.path.realpath(self.root)

    def _check_apart(self) -> None:
        out_is_remote = remote.is_url(str(self.out))
        if self.is_remote != out_is_remote:
            return
        if self.is_remote:
            root, out = Path(str(self.root)), Path(remote.plain(str(self.out)))
        else:
            root, out = Path(self.root).resolve(), Path(self.out).resolve()
        shown_out = shown(remote.safe(self.out))
        if root == out:
            raise InputError(
                f"{shown_out}: is the input directory too; give another directory as OUT"
            )
        deep = not (self._pattern or self._braces) or "**" in self._pattern
        if out.is_relative_to(root) and deep:
            raise InputError(
                f"{shown_out}: lies inside the input directory {shown(remote.safe(self.root))}, "
                "so its images would become inputs of the next run; give a directory outside it"
            )

    def __iter__(self) -> Iterator[Item]:
        if self.is_list:
            return self._from_list()
        if self._braces:
            return self._from_braces()
        if self._pattern and not self.is_remote:
            return self._from_glob()
        return self._from_directories()

    def _from_directories(self) -> Iterator[Item]:
        """Each directory's files, then its directories, depth first and in order."""
        # a directory and the device and inode of those over it, against link loops
        pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
        while pending:
            inside, above = pending.pop()
            found = self._listing(inside)
            if found.identity in above:
                self.links += 1
                continue
            self.links += found.links
            self._leave(inside, found.left, found.first)
            self.descriptions += [os.path.join(inside, name) for name in found.descriptions]
            meets = () if self._pattern else found.directories
            yield from self._items(inside, found.files, meets, found)
            below = (*above, found.identity) if found.identity else above
            pending += [(os.path.join(inside, name), below) for name in reversed(found.directories)]

    def _listing(self, inside: str) -> Folder:
        if self.is_remote:
            return self._remote_listing(inside)
        try:
            return folder.listed(
                os.fspath(self.root), inside, self._wanted, self.follow_links, self.georeference
            )
        except OSError as error:
            self.unlisted.append((inside, f"the directory cannot be listed ({error.strerror})"))
            return Folder()

    def _remote_listing(self, inside: str) -> Folder:
        url = joined(self.root, inside) if inside else str(self.root)
        try:
            found = remote.listing(url)
        except Exception as error:
            reason = f"the directory cannot be listed ({remote.reason(error)})"
            self.unlisted.append((inside, reason))
            return Folder()
        for name in found.odd:
            reason = f"a name such as {name!r} has no place in a directory; rename it"
            self.unlisted.append((f"{inside}/{name}", reason))
        if self._pattern:
            near = [name for name in found.files if self._glob.matches(os.path.join(inside, name))]
            directories = [
                name for name in found.directories if self._glob.enters(os.path.join(inside, name))
            ]
        else:
            near, directories = list(found.files), found.directories
        files = Names(filter(self._wanted, near))
        left = sorted(name for name in near if not self._wanted(name))
        return Folder(files, directories, left=len(left), first=left[:EXAMPLES], stamps=found.files)

    def _from_glob(self) -> Iterator[Item]:
        """The files that match, directory by directory so that clashing names are seen."""
        found = Names()
        out = os.path.join(os.path.abspath(self.out), "")
        for path in glob.iglob(self._pattern, recursive=True):
            if not (os.path.isdir(path) or os.path.abspath(path).startswith(out)):
                found.add("\0".join(os.path.split(os.path.relpath(path, self.root))))
        here, names = "", Names()
        before = None
        for inside, _, name in (path.partition("\0") for path in found):
            if inside != here:
                yield from self._items(here, names)
                here, names = inside, Names()
            if (inside, name) == before:  # '**/**' finds it twice
                continue
            before = inside, name
            if self._wanted(name):
                names.add(name)
            else:
                self._leave(inside, 1, [name])
        yield from self._items(here, names)

    def _from_braces(self) -> Iterator[Item]:
        length = len(str(self.root)) + 1 if str(self.root) not in ("", ".") else 0
        yield from self._from_paths((path, path[length:], "") for path in expanded(self.source))

    def _from_list(self) -> Iterator[Item]:
        """A path or URL a line."""
        yield from self._from_paths(map(self._located, self._lines()))

    def _located(self, line: str) -> tuple[str, str, str]:
        """A line's path or URL, its name, and why it may not be read.

        Absolute paths lose the leading ``/``, URLs what is secret. Relative ones in a list from a
        store are meant there.
        """
        far = remote.is_url(self._list_of)
        path = remote.plain(line)
        if far and not remote.is_url(path):
            if path.startswith("/"):
                return path, path, "a list from elsewhere cannot name files of this machine"
            return f"{self._list_of.rpartition('/')[0]}/{path}", path, ""
        return path, remote.safe(path) if remote.is_url(path) else path, ""

    def _from_paths(self, paths: Iterable[tuple[str, str, str]]) -> Iterator[Item]:
        """Items of paths, names and refusals.

        An output has its input's place, that of a URL without the ``s3://``. One that meets an
        earlier one's keeps its whole name plus the new suffix, which is repeated until it meets
        none.
        """
        taken, listed = Seen(), Seen()
        for path, untidy, refusal in paths:
            is_url = remote.is_url(untidy)
            inside = untidy.partition("://")[2] if is_url else untidy
            tidy = os.path.normpath(inside).lstrip("/")
            name = untidy if is_url else tidy
            if not listed.add(name):
                self._leave("", 1, [name])
                continue
            output, suffix = self._named(tidy)
            if not taken.add(output):
                output = tidy + suffix
                while not taken.add(output):
                    output += suffix
                self._rename(name, output)
            is_tar = name.lower().endswith(TARS)
            stamp = LISTED if remote.is_url(path) and self.is_list and not is_tar else ""
            beside = folder.beside(path, os.path.dirname(path)) if self.georeference else ()
            form = self.form if is_tar else form_of(name, self.form)
            yield Item(path, name, output, form, beside, stamp, refusal, is_tar)

    def _lines(self) -> Iterator[str]:
        with self._list() as file:
            number = 0
            while line := file.readline(LONGEST):
                number += 1
                path = os.fsdecode(line.rstrip(b"\r\n"))
                if "\0" in path or len(line) == LONGEST:
                    what = "holds a NUL byte" if "\0" in path else f"has {LONGEST:,} bytes or more"
                    raise InputError(
                        f"{self._shown}: line {number} {what}; give a path a line, in the file "
                        "system's own encoding"
                    )
                if path:
                    yield path

    def _list(self) -> BinaryIO:
        if self.source == "-":
            return sys.stdin.buffer
        if remote.is_url(self._list_of):
            return io.BufferedReader(remote.Raw(self._list_of))
        try:
            return open(self._list_of, "rb")
        except OSError as error:
            name = shown(self._list_of)
            raise InputError(f"{name}: the list cannot be read ({error.strerror})") from error

    def _is_image(self, name: str) -> bool:
        return os.path.splitext(name)[1].lower() in self._suffixes

    def _wanted(self, name: str) -> bool:
        return name.lower().endswith(TARS) if self.tars else self._is_image(name)

    def _leave(self, inside: str, count: int, first: Iterable[str]) -> None:
        self.ignored += count
        for name in first:
            if len(self.others) < EXAMPLES:
                self.others.append(os.path.join(inside, name))

    def _rename(self, name: str, output: str) -> None:
        self.renamed += 1
        if len(self.renames) < EXAMPLES:
            self.renames.append((name, output))

    def _named(self, name: str) -> tuple[str, str]:
        """The output's name, and what the whole name gets where that is taken.

        With ``same``, a suffix that already names the format stays.
        """
        if name.lower().endswith(TARS):
            stem = name[: -len(next(suffix for suffix in TARS if name.lower().endswith(suffix)))]
            stem = stem or name
            return (stem, ".d") if self.unpack else (f"{stem}.tar", ".tar")
        stem, own = os.path.splitext(name)
        if self.form != "same":
            suffix = SUFFIXES[self.form]
            return stem + suffix, suffix
        suffix = SUFFIXES[SAME.get(own.lower(), "png")]
        return stem + (own if own.lower() in SAME else suffix), suffix

    def _items(
        self,
        inside: str,
        names: Names,
        directories: Collection[str] = (),
        found: Folder | None = None,
    ) -> Iterator[Item]:
        """The files ``names`` of the directory ``inside`` as items, all outputs distinct.

        ``a.jpg`` becomes ``a.png``; where two would meet, or meet one of ``directories``, each
        keeps its whole name: ``a.jpg.png`` and ``a.gif.png``. Without ``found`` the directory
        was not listed.
        """
        whole = self._clashing(names, directories)
        root = os.fspath(self.root)
        here = joined(joined(root, inside) if inside else root, "")
        start = os.path.join(inside, "")
        about = found or folder.Unlisted(root, inside, self.follow_links, self.georeference)
        for name in names:
            output, suffix = self._named(name)
            path = start + name
            if whole and name in whole:
                output = name + suffix
                self._rename(path, start + output)
            yield Item(
                here + name,
                path,
                start + output,
                self.form if self.tars else form_of(name, self.form),
                about.sidecars_of(name),
                about.stamps.get(name, ""),
                about.refusal_of(name),
                self.tars,
            )

    def _clashing(self, names: Names, directories: Collection[str]) -> Seen:
        """The names whose output is also another's, or a directory's.

        As they then keep their whole names, they may meet others, which keep theirs too.
        """
        outputs = array("q", map(hash, directories))
        outputs.extend(hash(self._named(name)[0]) for name in names)
        whole, clashing = Seen(), repeated(outputs)
        while len(clashing):
            renamed = array("q")
            for name in names:
                output, suffix = self._named(name)
                if output in clashing and whole.add(name):
                    renamed.append(hash(name + suffix))
            clashing = meeting(outputs, renamed)
        return whole

    def nothing(self) -> str:
        """What to tell who gave an input in which no image was found."""
        if self.is_list:
            return f"{self._shown}: no image found: it names no file; give a path a line"
        if self._pattern and not self.ignored:
            return (
                f"{self._shown}: no image found: no file matches; check the pattern ('**' "
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
            f"{self._shown}: no image found: looked for {looked}, saw {seen}; give another "
            "input, or name files of any suffix in a list (@files.txt)"
        )


def _root_of(pattern: Path) -> Path:
    """The directory of a pattern that holds no wildcard and no brace."""
    plain = []
    for part in pattern.parts[:-1]:
        if glob.has_magic(part) or "{" in part:
            break
        plain.append(part)
    return Path(*plain)


def _url_root(url: str) -> tuple[str, str]:
    """The same of a URL, and the rest of it."""
    scheme, _, rest = url.partition("://")
    parts = rest.split("/")
    count = next(i for i, part in enumerate(parts) if glob.has_magic(part) or "{" in part)
    count = min(count, len(parts) - 1)
    if count == 0:
        raise InputError(f"{shown(remote.safe(url))}: name the bucket or host in full")
    return f"{scheme}://{'/'.join(parts[:count])}", "/".join(parts[count:])
