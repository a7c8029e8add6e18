"""What all kinds of inputs share: the names of outputs, and the counts of files that are
skipped."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.kinds import RASTERS, suffixes
from pix2pix_batch.imaging.output_formats import SAME, form_of
from pix2pix_batch.inputs import folder
from pix2pix_batch.inputs.choice import TAKEN, InputFilter, LeftAlone, is_tar
from pix2pix_batch.inputs.folder import Folder
from pix2pix_batch.inputs.naming import Naming
from pix2pix_batch.inputs.page_items import split_into_pages
from pix2pix_batch.item import Item
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.files import join
from pix2pix_batch.storage.name_set import HashSet, Names
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import escape, format_count

USUAL = (*(suffix for suffix in SAME if suffix not in RASTERS), ".gif", ".bmp")
"""The suffixes that a message names, of the many that Pillow reads."""

ARCHIVES = (".zip", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".tbz2", ".txz", ".iso", ".dmg")

RENAMES = 100
"""Renamed outputs held, of which some may not be made."""

ALIKE = (
    "its directory and another differ in case alone, and OUT's file system would take its output "
    "for one of that directory's; rename one of the directories, or choose an OUT where case counts"
)

NESTED = (
    "its output would hold another input's, or lie in its: in the directory that a tar is unpacked "
    "into, where a member may have the same name; rename the tar, or choose another OUT for it"
)

SUFFIXED = 4
"""How often an output's suffix may stand at its end, so that its name is no other's: once, or so
often where there are inputs called like that."""


@dataclass(frozen=True)
class ScanOptions:
    """What decides which inputs there are and what their outputs are called.

    ``form``: the outputs' format; ``out``: path or URL of OUT; ``exclude``, ``include``,
    ``rasters``: as of :class:`pix2pix_batch.inputs.choice.InputFilter`; ``pages``: ``all`` where
    each page of a TIFF file is an item, else ``first``. With ``georeference`` items have their
    sidecars; with ``unpack`` a tar's output is a directory.
    """

    form: str
    out: Path | str
    follow_links: bool = False
    georeference: bool = False
    unpack: bool = False
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    rasters: bool = False
    pages: str = "first"

    @property
    def has_pages(self) -> bool:
        """Whether each page of a TIFF file is an item."""
        return self.pages == "all"

    def make_filter(self, spelled: Sequence[str] = (), tars: bool = False) -> InputFilter:
        """Raises :class:`InputError` where ``exclude`` or ``include`` are no patterns."""
        return InputFilter(self.exclude, self.include, spelled, tars, self.rasters)


# What was asked for, and what is counted and remarked as the inputs are found.
class InputSource(ABC):
    """The inputs of a job. Iterate once; then the counts are known.

    ``left``: what is left alone, and why; lines of a list that repeat one, or are comments, too;
    ``renamed``: outputs with another name than the input's, for two would have met, the first in
    ``renames`` by input, less those that :meth:`drop_rename` was told of; ``links``: links to
    directories not followed; ``unlisted``: directories that could not be listed, and why;
    ``descriptions``: what sets of map tiles say of themselves, by input: whoever iterates takes
    them out. ``root``: the directory, or the URL of one, that the inputs' names are relative to,
    empty where there is none; ``tars``: whether the inputs are tars.

    Memory (``benchmarks/scan.py``): 26 bytes for each file of the largest directory, 50 for each
    line of a list. A store's listing of one directory is held whole, and so are the names that a
    glob finds in one.
    """

    is_list = False
    """Whether it is a list of paths or URLs."""

    names_each = False
    """Whether it names files one by one, as a list and braces do."""

    is_pattern = False
    """Whether it is a glob, or a single file."""

    is_read_once = False
    """Whether the inputs can be found but once: of a list that comes through a pipe."""

    directory_of_names: str | None = None
    """Where a list's relative paths are taken from; ``None`` of what is no list."""

    def __init__(self, source: str, options: ScanOptions, root: str, tars: bool) -> None:
        """Raises :class:`InputError` where ``exclude`` or ``include`` are no patterns."""
        self.source, self.options, self.root, self.tars = source, options, root, tars
        self.store = store_of(source)
        self.naming = Naming.within(options.out, options.form, options.unpack, options.has_pages)
        self.choice = options.make_filter(self._list_spelled_names(), tars)
        self.renamed = self.links = 0
        self.renames: list[tuple[str, str]] = []
        self._renamed, self._dropped = HashSet(), HashSet()
        self._made = HashSet()  # keys of outputs, where case makes no difference
        self.left = LeftAlone()
        self.unlisted: list[tuple[str, str]] = []
        self.descriptions: list[str] = []

    def _list_spelled_names(self) -> list[str]:
        """The names that are spelled out in the input's own pattern."""
        return []

    @abstractmethod
    def iterate_files(self) -> Iterator[Item]:
        """An item for each file, and for each page that is named."""

    def __iter__(self) -> Iterator[Item]:
        items = self.iterate_files()
        if self.options.unpack:
            items = self._refuse_nested(items)
        if not self.options.has_pages:
            yield from items
            return
        named = HashSet()
        for item in split_into_pages(items, self.naming):
            if item.page and not named.add(item.name):  # in a list that names the file too
                self.left.other.append(item.name)
            else:
                yield item

    def _refuse_nested(self, items: Iterator[Item]) -> Iterator[Item]:
        """Refuse what would lie among the members of a tar, which might replace each other."""
        tars, above = HashSet(), HashSet()
        for item in items:
            key = self.naming.key(item.output)
            over = list(accumulate(key.split("/")[:-1], "{}/{}".format))
            if any(one in tars for one in over) or (item.tar and key in above):
                yield replace(item, refusal=item.refusal or NESTED)
                continue
            for one in over:
                above.add(one)
            if item.tar:
                tars.add(key)
            yield item

    def seeks(self, name: str) -> bool:
        """Whether an input of this name, which was not found, would have been found if it were
        there."""
        file, mark, _ = pages.split_name(name)
        is_page_unsought = mark and not self.options.has_pages
        return not is_page_unsought and self.choice.classify_path(file, lambda: None) == TAKEN

    @property
    def is_remote(self) -> bool:
        """Whether the inputs lie behind a URL; of a list, each input may or may not."""
        return not self.store.is_local

    @property
    def display_name(self) -> str:
        return escape(remote.redact(self.source))

    @property
    def identity(self) -> str:
        """The input's name in a journal: the directory that names are relative to."""
        return remote.redact(self.store.resolve(self.root))

    def require_apart(self, deep: bool) -> None:
        """Raises :class:`InputError` where OUT is the input's directory or, if that is searched
        ``deep``, lies in it."""
        given = os.fspath(self.options.out)
        if self.store is not store_of(given):
            return
        inside = self.store.find_within(given, self.root)
        shown_out = escape(remote.redact(given))
        if inside == "":
            raise InputError(
                f"{shown_out}: is the input directory too; give another directory as OUT"
            )
        if inside and deep:
            raise InputError(
                f"{shown_out}: lies inside the input directory {escape(remote.redact(self.root))}, "
                "so its images would become inputs of the next run; give a directory outside it"
            )

    def note_rename(self, name: str, output: str) -> None:
        self.renamed += 1
        self._renamed.add(name)
        if len(self.renames) < RENAMES:
            self.renames.append((name, output))

    def drop_rename(self, name: str) -> None:
        """Leave the output of an input out of those renamed, if it is one: it is not made."""
        if name in self._renamed and self._dropped.add(name):
            self.renamed -= 1
            self.renames = [one for one in self.renames if one[0] != name]

    def key_of(self, output: str) -> str:
        """The same key for two outputs that would be the same file in OUT."""
        return self.naming.key(output)

    def list_outputs(self, item: Item) -> Iterator[str]:
        """The names that the output of an input may have: its usual one, and those for
        when that is taken."""
        plain = tidy_name(item.file_name)
        mark = item.name.removeprefix(item.file_name)
        output, suffix = self.naming.output(plain)
        longer = (self.naming.shorten(plain + count * suffix) for count in range(1, 1 + SUFFIXED))
        # whether case counts in an OUT that is not there yet can only be guessed from its disk
        alike = self.naming.output_of_alike(plain)
        for one in (output, *longer, alike):
            yield self.naming.name_page(one, mark) if mark else one
        if self.naming.pages and not mark:  # as a run without pages has named it
            yield self.naming.output_without_pages(plain)

    def change_output(self, item: Item, now: str) -> None:
        """Note that the output of an input has another name than the scan gave it."""
        name, before = item.name, item.output
        usual = next(self.list_outputs(item))
        if before == usual:
            self.note_rename(name, now)
        elif now == usual:
            self.drop_rename(name)
        else:
            self.renames = [(one, now if one == name else to) for one, to in self.renames]

    def make_items(
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
        naming = self.naming
        whole = naming.find_whole_named(names, directories)
        root, options = self.root, self.options
        here = join(join(root, inside) if inside else root, "")
        start = os.path.join(inside, "")
        about = found or folder.Unlisted(root, inside, options.follow_links, options.georeference)
        for name in names:
            path, is_whole = start + name, name in whole
            output = whole.output(name) if is_whole else naming.output(name)[0]
            if is_whole or naming.is_shortened(name):
                self.note_rename(path, start + output)
            refusal = about.refusal_of(name)
            if naming.fold and not self._made.add(naming.key(start + output)):
                refusal = ALIKE
            yield Item(
                here + name,
                path,
                start + output,
                options.form if (tar := is_tar(name)) else form_of(name, options.form),
                about.sidecars_of(name),
                about.stamps.get(name, ""),
                refusal,
                tar,
            )

    def explain_no_images(self) -> str:
        """The message for an input in which no image was found."""
        left = self.left
        other = left.tar.first or left.other.first
        count = left.other.count + left.tar.count
        if left.unread.count:
            kinds = "; ".join(left.unread.lines())
            return (
                f"{self.display_name}: no image found that can be read here, but "
                f"{format_count(left.unread.count, 'image')} of other kinds: {kinds}"
            )
        if self.is_pattern and not count + left.litter.count + left.excluded.count:
            return (
                f"{self.display_name}: no image found: no file matches; check the pattern ('**' "
                "stands for directories of any depth), or give a directory"
            )
        looked = ", ".join(USUAL) + f" and {len(suffixes()) - len(USUAL)} more suffixes"
        seen = format_count(count, "other file")
        if other:
            seen += f" (such as {escape(other[0])})"
            if is_tar(other[0]):
                seen += "; give the tar itself as IN to have what it holds"
            elif other[0].lower().endswith(ARCHIVES):
                seen += "; unpack archives, or pack them as .tar, .tar.gz or .tgz, which are read"
        if left.litter.count:
            seen += f", {left.litter.count:,} hidden or left by systems (see --include)"
        if left.excluded.count:
            seen += f", {left.excluded.count:,} excluded"
        if self.links:
            links = format_count(self.links, "link")
            seen += f", {links} to directories, not followed (see --follow-links)"
        return (
            f"{self.display_name}: no image found: looked for {looked}, saw {seen}; give "
            "another input, or name files of any suffix with --include or in a list (@files.txt)"
        )


def tidy_name(name: str) -> str:
    """An input's path within OUT: a URL without the ``s3://``, or a path without a leading
    ``/``."""
    return os.path.normpath(remote.strip_scheme(name)).lstrip("/")
