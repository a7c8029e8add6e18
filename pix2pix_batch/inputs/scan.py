"""Finding the inputs, one by one, and naming their outputs."""

from __future__ import annotations

import glob
import io
import os
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging.kinds import RASTERS, suffix_of, suffixes
from pix2pix_batch.imaging.output_formats import SAME, form_of
from pix2pix_batch.inputs import folder, listing
from pix2pix_batch.inputs.choice import (
    EXAMPLES,
    TAKEN,
    TARS,
    InputFilter,
    LeftAlone,
    is_tar,
)
from pix2pix_batch.inputs.folder import Folder
from pix2pix_batch.inputs.naming import Naming
from pix2pix_batch.inputs.pattern import Glob, expand_braces, has_braces
from pix2pix_batch.item import Item
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.files import join
from pix2pix_batch.storage.name_set import HashSet, Names
from pix2pix_batch.text import escape, format_count

USUAL = (*(suffix for suffix in SAME if suffix not in RASTERS), ".gif", ".bmp")
"""The suffixes that a message names, of the many that Pillow reads."""

ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".tbz2", ".txz", ".iso", ".dmg")

LISTED = "listed"
"""The stamp of a URL from a list of images: what it names is taken never to change, for to ask
for each would take longer than to convert them."""


SUFFIXED = 4
"""How often an output's suffix may stand at its end, so that its name is no other's: once, or so
often where there are inputs called like that."""


@dataclass
class Scan:
    """The inputs of a job. Iterate once; then the counts are known.

    ``exclude``, ``include``, ``rasters``: as of
    :class:`pix2pix_batch.inputs.choice.InputFilter`; a name of a raster's suffix stands for
    ``rasters``. ``left``:
    what is left alone, and why; lines of a list that repeat one, or are comments, too;
    ``renamed``: outputs with another name than the input's, for two would have met,
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
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    rasters: bool = False
    renamed: int = 0
    links: int = 0
    left: LeftAlone = field(default_factory=LeftAlone)
    renames: list[tuple[str, str]] = field(default_factory=list)
    unlisted: list[tuple[str, str]] = field(default_factory=list)
    descriptions: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises :class:`InputError` where ``source`` cannot be scanned into ``out``."""
        self.rasters = self.rasters or suffix_of(self.source) in RASTERS
        self._choice = InputFilter(self.exclude, self.include, rasters=self.rasters)
        self._naming = Naming.within(self.out, self.form, self.unpack)
        self._pattern, self._braces, self._glob = "", False, Glob("")
        self.tars = self.source.lower().endswith(TARS)
        self.is_list = self.source == "-" or self.source.startswith("@")
        if self.is_list:
            self.is_remote = False
            self._list_of = remote.normalise(self.source[1:])
            if self.source != "-" and not (
                remote.is_url(self._list_of) or _is_list(Path(self._list_of))
            ):
                raise InputError(f"{escape(self._list_of)}: no such list file")
            return
        self.source = remote.normalise(self.source)
        self.is_remote = remote.is_url(self.source)
        if self.is_remote:
            self._begin_remote()
        else:
            self._begin_local()
        self._check_apart()
        pattern = self._pattern
        self._choice = InputFilter(
            self.exclude, self.include, pattern.split("/"), self.tars, self.rasters
        )

    def _begin_local(self) -> None:
        path = Path(self.source)
        if not path.exists():
            self._pattern = self.source if glob.has_magic(self.source) else ""
            self._braces = not self._pattern and has_braces(self.source)
        self.root: Path | str = path
        if self._pattern or self._braces:
            self.root = _root_of(path)
        if not Path(self.root).exists():
            raise InputError(f"{escape(self.root)}: no such file or directory")
        if Path(self.root).is_file():
            self._pattern, self.root = glob.escape(self.source), path.parent
        if not os.access(self.root, os.R_OK | os.X_OK):
            raise InputError(f"{escape(self.root)}: cannot be read; check its permissions")
        if not (self._pattern or self._braces):
            self.tars = folder.holds_tars(self.root, self._choice)

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
            raise InputError(
                f"{self._display_source}: the web has no directories; give a list (@urls.txt)"
            )
        if not self._pattern:
            self.tars = self._is_of_tars()

    def _is_of_tars(self) -> bool:
        """Whether the remote directory holds tars and no image."""
        try:
            files = remote.list_directory(self.source).files
        except Exception as error:
            raise InputError(
                f"{self._display_source}: cannot be listed ({remote.explain_error(error)})"
            ) from error
        return not any(map(self._is_wanted_at_top, files)) and any(map(is_tar, files))

    def _is_wanted_at_top(self, name: str) -> bool:
        look = partial(folder.open_beginning, f"{self.source}/{name}")
        return self._choice.classify_file(name, look) == TAKEN

    @property
    def _display_source(self) -> str:
        return "standard input" if self.source == "-" else escape(remote.redact(self.source))

    @property
    def is_read_once(self) -> bool:
        """Whether the inputs can be found but once: of a list that comes through a pipe."""
        if not self.is_list or remote.is_url(self._list_of):
            return False
        return self.source == "-" or not Path(self._list_of).is_file()

    @property
    def ignored(self) -> int:
        """How many files are left alone that are no images, or were listed before."""
        return self.left.other.count

    @property
    def others(self) -> list[str]:
        """The first of them."""
        return self.left.other.first

    @property
    def identity(self) -> str:
        """What names the input in a journal: the directory that names are relative to."""
        if self.is_list:
            return "list"
        return remote.redact(self.root) if self.is_remote else os.path.realpath(self.root)

    @property
    def has_braces(self) -> bool:
        """Whether it names files one by one, as a list does."""
        return self._braces

    @property
    def directory_of_names(self) -> str | None:
        """Where a list's relative paths are taken from; ``None`` of what is no list."""
        if not self.is_list:
            return None
        if remote.is_url(self._list_of):
            return remote.redact(self._list_of.rpartition("/")[0])
        return os.path.realpath(os.getcwd())

    def _check_apart(self) -> None:
        out_is_remote = remote.is_url(str(self.out))
        if self.is_remote != out_is_remote:
            return
        if self.is_remote:
            root, out = Path(str(self.root)), Path(remote.normalise(str(self.out)))
        else:
            root, out = Path(self.root).resolve(), Path(self.out).resolve()
        shown_out = escape(remote.redact(self.out))
        if root == out:
            raise InputError(
                f"{shown_out}: is the input directory too; give another directory as OUT"
            )
        deep = not (self._pattern or self._braces) or "**" in self._pattern
        if out.is_relative_to(root) and deep:
            raise InputError(
                f"{shown_out}: lies inside the input directory {escape(remote.redact(self.root))}, "
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
            found = self._list_folder(inside)
            if found.identity in above:
                self.links += 1
                continue
            self.links += found.links
            self.left.join(found.left)
            self.descriptions += [os.path.join(inside, name) for name in found.descriptions]
            meets = () if self._pattern else found.directories
            yield from self._items(inside, found.files, meets, found)
            below = (*above, found.identity) if found.identity else above
            pending += [(os.path.join(inside, name), below) for name in reversed(found.directories)]

    def _list_folder(self, inside: str) -> Folder:
        if self.is_remote:
            return self._remote_listing(inside)
        try:
            return folder.list_folder(
                os.fspath(self.root), inside, self._choice, self.follow_links, self.georeference
            )
        except OSError as error:
            self.unlisted.append((inside, f"the directory cannot be listed ({error.strerror})"))
            return Folder()

    def _remote_listing(self, inside: str) -> Folder:
        url = join(self.root, inside) if inside else str(self.root)
        try:
            found = remote.list_directory(url)
        except Exception as error:
            reason = f"the directory cannot be listed ({remote.explain_error(error)})"
            self.unlisted.append((inside, reason))
            return Folder()
        for name in found.odd:
            reason = f"a name such as {name!r} has no place in a directory; rename it"
            self.unlisted.append((f"{inside}/{name}", reason))
        near, directories = list(found.files), found.directories
        start = os.path.join(inside, "")
        if self._pattern:
            near = [name for name in near if self._glob.matches(start + name)]
            directories = [name for name in directories if self._glob.enters(start + name)]
        kept = Folder(stamps=found.files)
        for name in directories:
            if (why := self._choice.classify_directory(start + name)) == TAKEN:
                kept.directories.append(name)
            else:
                kept.left.of(why).add(start + name)
        for name in near:
            look = partial(folder.open_beginning, join(url, name))
            if (why := self._choice.classify_file(start + name, look)) == TAKEN:
                kept.files.add(name)
            else:
                kept.left.of(why).add(start + name)
        return kept

    def _from_glob(self) -> Iterator[Item]:
        """The files that match, directory by directory so that clashing names are seen."""
        found = Names()
        out = os.path.join(os.path.abspath(self.out), "")
        is_file = os.path.isfile(self.source)  # whose name may have braces
        patterns = [self._pattern] if is_file else expand_braces(self._pattern)
        for path in chain.from_iterable(glob.iglob(one, recursive=True) for one in patterns):
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
            path = os.path.join(inside, name)
            look = partial(folder.open_beginning, os.path.join(self.root, path))
            if (why := self._choice.classify_path(path, look)) == TAKEN:
                names.add(name)
            else:
                self.left.of(why).append(path)
        yield from self._items(here, names)

    def _from_braces(self) -> Iterator[Item]:
        length = len(str(self.root)) + 1 if str(self.root) not in ("", ".") else 0
        yield from self._from_paths(
            (path, path[length:], "") for path in expand_braces(self.source)
        )

    def _from_list(self) -> Iterator[Item]:
        """A path or URL a line."""
        with self._list() as file:
            lines = listing.Lines(file, self._display_source)
            yield from self._from_paths(self._located_lines(lines))

    def _located_lines(self, lines: listing.Lines) -> Iterator[tuple[str, str, str]]:
        """Paths or URLs, their names, and why they may not be read.

        Absolute paths lose the leading ``/``, URLs what is secret. Relative ones in a list from a
        store are meant there.
        """
        far = remote.is_url(self._list_of)
        for number, line in enumerate(lines):
            if number == 0 and not lines.exact and listing.is_heading(line):
                continue
            found = listing.Located(line)
            if not lines.exact:
                found = listing.locate(line, anywhere=far)
            path = found.path
            if found.comment:
                self.left.other.append(line)
            elif remote.is_url(path):
                yield path, remote.redact(path), found.refusal
            elif not far:
                yield path, path, found.refusal
            elif path.startswith("/"):
                yield path, path, "a list from elsewhere cannot name files of this machine"
            else:
                yield f"{self._list_of.rpartition('/')[0]}/{path}", path, found.refusal

    def _from_paths(self, paths: Iterable[tuple[str, str, str]]) -> Iterator[Item]:
        """Items of paths, names and refusals.

        An output has its input's place, that of a URL without the ``s3://``. One that meets an
        earlier one's keeps its whole name plus the new suffix, which is repeated until it meets
        none.
        """
        naming, taken, listed = self._naming, HashSet(), HashSet()
        for path, untidy, refusal in paths:
            is_url, tidy = remote.is_url(untidy), _tidy(untidy)
            name = untidy if is_url else tidy
            other = tidy if untidy.startswith("/") else f"/{tidy}"
            if not listed.add(f"/{tidy}" if untidy.startswith("/") else name):
                self.left.other.append(name)
                continue
            if not is_url and other in listed:  # '/d/a.png' and, of this directory, 'd/a.png'
                self._note_same_name(name, path, other)
                continue
            if (why := self._choice.classify_listed(tidy)) != TAKEN:
                self.left.of(why).append(name)
                continue
            output, suffix = naming.output(tidy)
            longer = tidy
            while not taken.add(naming.key(output)):
                longer += suffix
                output = naming.shorten(longer)
            if longer != tidy or naming.is_shortened(tidy):
                self._note_rename(name, output)
            tar = is_tar(name)
            stamp = LISTED if remote.is_url(path) and self.is_list and not tar else ""
            beside = folder.list_sidecars(path, os.path.dirname(path)) if self.georeference else ()
            form = self.form if tar else form_of(name, self.form)
            yield Item(path, name, output, form, beside, stamp, refusal, tar)

    def _note_same_name(self, name: str, path: str, other: str) -> None:
        """Two lines differ in a ``/`` at the beginning: they may be one file, or two."""
        if os.path.realpath(path) == os.path.realpath(other):
            self.left.other.append(name)
            return
        self.unlisted.append(
            (path, f"{other!r} is listed too, and both would be {name!r} in OUT; list one of them")
        )

    def _list(self) -> BinaryIO:
        if self.source == "-":
            return sys.stdin.buffer
        if remote.is_url(self._list_of):
            return io.BufferedReader(remote.RemoteRawFile(self._list_of))
        try:
            return open(self._list_of, "rb")
        except OSError as error:
            name = escape(self._list_of)
            raise InputError(f"{name}: the list cannot be read ({error.strerror})") from error

    def _note_rename(self, name: str, output: str) -> None:
        self.renamed += 1
        if len(self.renames) < EXAMPLES:
            self.renames.append((name, output))

    def key_of(self, output: str) -> str:
        """What two outputs have in common that are one file in OUT."""
        return self._naming.key(output)

    def list_outputs(self, name: str) -> Iterator[str]:
        """The names that the output of the input ``name`` may have: by itself, and where others
        have these."""
        tidy = _tidy(name)
        output, suffix = self._naming.output(tidy)
        yield output
        for count in range(1, 1 + SUFFIXED):
            yield self._naming.shorten(tidy + count * suffix)

    def change_output(self, name: str, before: str, now: str) -> None:
        """The output of the input ``name`` has another name than the scan has given it."""
        usual = next(self.list_outputs(name))
        if before != usual:
            self.renamed -= 1
            self.renames = [one for one in self.renames if one != (name, before)]
        if now != usual:
            self._note_rename(name, now)

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
        naming = self._naming
        whole = naming.find_whole_named(names, directories)
        root = os.fspath(self.root)
        here = join(join(root, inside) if inside else root, "")
        start = os.path.join(inside, "")
        about = found or folder.Unlisted(root, inside, self.follow_links, self.georeference)
        for name in names:
            path, is_whole = start + name, name in whole
            output = whole.output(name) if is_whole else naming.output(name)[0]
            if is_whole or naming.is_shortened(name):
                self._note_rename(path, start + output)
            yield Item(
                here + name,
                path,
                start + output,
                self.form if (tar := is_tar(name)) else form_of(name, self.form),
                about.sidecars_of(name),
                about.stamps.get(name, ""),
                about.refusal_of(name),
                tar,
            )

    def explain_no_images(self) -> str:
        """What to tell who gave an input in which no image was found."""
        if self.is_list:
            what = (
                "all that it names is excluded" if self.left.excluded.count else "it names no file"
            )
            return f"{self._display_source}: no image found: {what}; give a path a line"
        left = self.left
        count = left.other.count
        if left.unread.count:
            kinds = "; ".join(left.unread.lines())
            return (
                f"{self._display_source}: no image found that can be read here, but "
                f"{format_count(left.unread.count, 'image')} of other kinds: {kinds}"
            )
        if self._pattern and not count + left.litter.count + left.excluded.count:
            return (
                f"{self._display_source}: no image found: no file matches; check the pattern ('**' "
                "stands for directories of any depth), or give a directory"
            )
        looked = ", ".join(USUAL) + f" and {len(suffixes()) - len(USUAL)} more suffixes"
        seen = format_count(count, "other file")
        if left.other.first:
            seen += f" (such as {escape(left.other.first[0])})"
            if left.other.first[0].lower().endswith(ARCHIVES):
                seen += "; unpack archives, or pack them as .tar, .tar.gz or .tgz, which are read"
        if left.litter.count:
            seen += f", {left.litter.count:,} hidden or left by systems (see --include)"
        if left.excluded.count:
            seen += f", {left.excluded.count:,} excluded"
        if self.links:
            links = format_count(self.links, "link")
            seen += f", {links} to directories, not followed (see --follow-links)"
        return (
            f"{self._display_source}: no image found: looked for {looked}, saw {seen}; give "
            "another input, or name files of any suffix with --include or in a list (@files.txt)"
        )


def _tidy(name: str) -> str:
    """An input's place within OUT: of a URL without the ``s3://``, of a path without ``/``."""
    inside = name.partition("://")[2] if remote.is_url(name) else name
    return os.path.normpath(inside).lstrip("/")


def _is_list(path: Path) -> bool:
    """A file, or a pipe as of a shell's ``@<(find ...)``."""
    return path.is_file() or path.is_fifo()


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
        raise InputError(f"{escape(remote.redact(url))}: name the bucket or host in full")
    return f"{scheme}://{'/'.join(parts[:count])}", "/".join(parts[count:])
