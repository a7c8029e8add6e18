"""Inputs that are named one by one: by a list of paths or URLs, or by braces."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

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
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import escape

LISTED = "listed"
"""The stamp of a URL from a list of images: its file is assumed never to change, because asking the
server about each would take longer than converting it."""


class NamedSource(InputSource):
    """Paths or URLs, one after the other, in any place."""

    names_each = True

    def seeks(self, name: str) -> bool:
        """No: each input that is named is found, to fail where it is not there."""
        return False

    def from_paths(self, paths: Iterable[tuple[str, str, str]]) -> Iterator[Item]:
        """Items of paths, names and refusals.

        An output has its input's place, that of a URL without the ``s3://``. If an
        earlier output has that name, the new one keeps the input's whole name and adds the suffix,
        repeated until the name is free.
        """
        naming, taken, listed = self.naming, HashSet(), HashSet()
        options = self.options
        with_sidecars = options.georeference
        for path, untidy, refusal in paths:
            is_local, tidy = store_of(untidy).is_local, tidy_name(untidy)
            name = tidy if is_local else untidy
            other = tidy if untidy.startswith("/") else f"/{tidy}"
            if not listed.add(f"/{tidy}" if untidy.startswith("/") else name):
                self.left.other.append(name)
                continue
            if is_local and other in listed:  # '/d/a.png' and, of this directory, 'd/a.png'
                self._note_same_name(name, path, other)
                continue
            if (why := self.choice.classify_listed(tidy)) != TAKEN:
                self.left.of(why).append(name)
                continue
            file, page = pages.locate(path)
            mark, path = path.removeprefix(file), file
            output, is_longer = self._choose_output(tidy, mark, taken)
            if is_longer or naming.is_shortened(tidy):
                self.note_rename(name, output)
            tar = is_tar(name)
            stamp = "" if tar or not self.is_list or store_of(path).is_local else LISTED
            beside = folder.list_sidecars(path, os.path.dirname(path)) if with_sidecars else ()
            form = options.form if tar else form_of(path if page else name, options.form)
            yield Item(path, name, output, form, beside, stamp, refusal, tar, page=page)

    def _choose_output(self, tidy: str, mark: str, taken: HashSet) -> tuple[str, bool]:
        """The output's name, which is added to ``taken``, and whether it had to be lengthened.
        ``mark``: a page's ``#3``; empty for a whole file."""
        naming = self.naming
        plain = tidy.removesuffix(mark)
        usual, suffix = naming.output(plain)
        longer = plain
        output = naming.name_page(usual, mark) if mark else usual
        while not taken.add(naming.key(output)):
            longer += suffix
            output = naming.name_page(longer, mark) if mark else naming.shorten(longer)
        return output, longer != plain

    def _note_same_name(self, name: str, path: str, other: str) -> None:
        """Handle two lines that differ only in a ``/`` at the beginning, which may be one file or
        two."""
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
        self._list_store = store_of(self._list_of)
        is_there = not self._list_store.is_local or _is_list(Path(self._list_of))
        if source != "-" and not is_there:
            raise InputError(f"{escape(self._list_of)}: no such list file")

    @property
    def display_name(self) -> str:
        return "standard input" if self.source == "-" else super().display_name

    @property
    def identity(self) -> str:
        return "list"

    @property
    def is_read_once(self) -> bool:  # type: ignore[override]
        return self._list_store.is_local and not os.path.isfile(self._list_of)

    @property
    def directory_of_names(self) -> str:  # type: ignore[override]
        return remote.redact(self._list_store.resolve(self._directory))

    @property
    def _directory(self) -> str:
        """The directory that relative lines are relative to: the current one, or the list's own in
        a store."""
        return "." if self._list_store.is_local else self._list_of.rpartition("/")[0]

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
        """The paths or URLs in a list, their names, and why they may not be read.

        Names of absolute paths lose the leading ``/``, those of URLs their secret parts. Relative
        paths in a list from a store are relative to that place in the store.
        """
        is_here = self._list_store.is_local
        for number, line in enumerate(lines):
            if number == 0 and not lines.exact and listing.is_heading(line):
                continue
            found = listing.Located(line)
            if not lines.exact:
                found = listing.locate(line, anywhere=not is_here)
            path = found.path
            if found.comment:
                self.left.other.append(line)
            elif is_here or not store_of(path).is_local:
                yield path, remote.redact(path), found.refusal
            elif path.startswith("/"):
                yield path, path, "a list from elsewhere cannot name files of this machine"
            else:
                yield f"{self._directory}/{path}", path, found.refusal

    def _open(self) -> IO[bytes]:
        if self.source == "-":
            return sys.stdin.buffer
        return self._list_store.open_list(self._list_of)


class BracesSource(NamedSource):
    """``shards-{0000..0099}.tar``, or the URL of a single file."""

    def __init__(self, source: str, options: ScanOptions, root: str, tars: bool) -> None:
        super().__init__(source, options, root, tars)
        self.require_apart(deep=False)

    def iterate_files(self) -> Iterator[Item]:
        length = len(self.root) + 1 if self.root not in ("", ".") else 0
        yield from self.from_paths((path, path[length:], "") for path in expand_braces(self.source))


def _is_list(path: Path) -> bool:
    """A file, or a pipe as of a shell's ``@<(find ...)``."""
    return path.is_file() or path.is_fifo()
