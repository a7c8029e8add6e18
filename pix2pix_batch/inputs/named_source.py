"""Inputs that are named one by one: by a list of paths or URLs, or by braces."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.output_formats import form_of
from pix2pix_batch.inputs import folder, listing
from pix2pix_batch.inputs.choice import TAKEN, is_tar
from pix2pix_batch.inputs.pattern import expand_braces
from pix2pix_batch.inputs.source import InputSource, ScanOptions, tidy_name
from pix2pix_batch.item import Item
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.name_set import HashSet
from pix2pix_batch.storage.remote_stream import RemoteRawFile
from pix2pix_batch.text import escape

LISTED = "listed"
"""The stamp of a URL from a list of images: what it names is taken never to change, for to ask
for each would take longer than to convert them."""


class NamedSource(InputSource):
    """Paths or URLs, one after the other, which may lie anywhere."""

    names_each = True

    def from_paths(self, paths: Iterable[tuple[str, str, str]]) -> Iterator[Item]:
        """Items of paths, names and refusals.

        An output has its input's place, that of a URL without the ``s3://``. One that meets an
        earlier one's keeps its whole name plus the new suffix, which is repeated until it meets
        none.
        """
        naming, taken, listed = self.naming, HashSet(), HashSet()
        options = self.options
        with_sidecars = options.georeference
        for path, untidy, refusal in paths:
            is_url, tidy = remote.is_url(untidy), tidy_name(untidy)
            name = untidy if is_url else tidy
            other = tidy if untidy.startswith("/") else f"/{tidy}"
            if not listed.add(f"/{tidy}" if untidy.startswith("/") else name):
                self.left.other.append(name)
                continue
            if not is_url and other in listed:  # '/d/a.png' and, of this directory, 'd/a.png'
                self._note_same_name(name, path, other)
                continue
            if (why := self.choice.classify_listed(tidy)) != TAKEN:
                self.left.of(why).append(name)
                continue
            path, page = pages.locate(path)
            output, is_longer = self._choose_output(tidy, bool(page), taken)
            if is_longer or naming.is_shortened(tidy):
                self.note_rename(name, output)
            tar = is_tar(name)
            stamp = LISTED if remote.is_url(path) and self.is_list and not tar else ""
            beside = folder.list_sidecars(path, os.path.dirname(path)) if with_sidecars else ()
            form = options.form if tar else form_of(path if page else name, options.form)
            yield Item(path, name, output, form, beside, stamp, refusal, tar, page=page)

    def _choose_output(self, tidy: str, is_page: bool, taken: HashSet) -> tuple[str, bool]:
        """The output of an input, and whether it is longer than its own, which is ``taken``."""
        naming = self.naming
        plain, mark = pages.split_mark(tidy) if is_page else (tidy, "")
        usual, suffix = naming.output(plain)
        longer = plain
        output = naming.name_page(usual, mark) if mark else usual
        while not taken.add(naming.key(output)):
            longer += suffix
            output = naming.name_page(longer, mark) if mark else naming.shorten(longer)
        return output, longer != plain

    def _note_same_name(self, name: str, path: str, other: str) -> None:
        """Two lines differ in a ``/`` at the beginning: they may be one file, or two."""
        if os.path.realpath(path) == os.path.realpath(other):
            self.left.other.append(name)
            return
        self.unlisted.append(
            (path, f"{other!r} is listed too, and both would be {name!r} in OUT; list one of them")
        )


class ListSource(NamedSource):
    """A list, a path or URL a line: ``@FILE``, ``@URL``, or ``-``, standard input."""

    is_list = True

    def __init__(self, source: str, options: ScanOptions) -> None:
        """Raises :class:`InputError` where there is no such list."""
        super().__init__(source, options, root="", tars=False)
        self._list_of = remote.normalise(source[1:])
        if source != "-" and not (remote.is_url(self._list_of) or _is_list(Path(self._list_of))):
            raise InputError(f"{escape(self._list_of)}: no such list file")

    @property
    def display_name(self) -> str:
        return "standard input" if self.source == "-" else super().display_name

    @property
    def identity(self) -> str:
        return "list"

    @property
    def is_read_once(self) -> bool:  # type: ignore[override]
        if remote.is_url(self._list_of):
            return False
        return self.source == "-" or not Path(self._list_of).is_file()

    @property
    def directory_of_names(self) -> str:  # type: ignore[override]
        if remote.is_url(self._list_of):
            return remote.redact(self._list_of.rpartition("/")[0])
        return os.path.realpath(os.getcwd())

    def explain_no_images(self) -> str:
        excluded = self.left.excluded.count
        what = "all that it names is excluded" if excluded else "it names no file"
        return f"{self.display_name}: no image found: {what}; give a path a line"

    def iterate_files(self) -> Iterator[Item]:
        """A path or URL a line."""
        with self._open() as file:
            lines = listing.Lines(file, self.display_name)
            yield from self.from_paths(self._located_lines(lines))

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

    def _open(self) -> BinaryIO:
        if self.source == "-":
            return sys.stdin.buffer
        if remote.is_url(self._list_of):
            return io.BufferedReader(RemoteRawFile(self._list_of))
        try:
            return open(self._list_of, "rb")
        except OSError as error:
            name = escape(self._list_of)
            raise InputError(f"{name}: the list cannot be read ({error.strerror})") from error


class BracesSource(NamedSource):
    """``shards-{0000..0099}.tar``, or the URL of a single file."""

    def __init__(self, source: str, options: ScanOptions, root: str, tars: bool) -> None:
        self.is_remote = remote.is_url(source)
        super().__init__(source, options, root, tars)
        self.require_apart(deep=False)

    def iterate_files(self) -> Iterator[Item]:
        length = len(self.root) + 1 if self.root not in ("", ".") else 0
        yield from self.from_paths((path, path[length:], "") for path in expand_braces(self.source))


def _is_list(path: Path) -> bool:
    """A file, or a pipe as of a shell's ``@<(find ...)``."""
    return path.is_file() or path.is_fifo()
