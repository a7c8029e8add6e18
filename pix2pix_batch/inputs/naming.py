"""Names for outputs that never clash and are never too long for the file system."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from array import array
from collections.abc import Collection, Iterable

from pix2pix_batch.imaging.output_formats import SAME, SUFFIXES
from pix2pix_batch.inputs.choice import TARS, is_tar
from pix2pix_batch.storage.local import NAME_BYTES
from pix2pix_batch.storage.name_set import HashSet, Names, find_repeated, intersect
from pix2pix_batch.storage.store import store_of

LONGEST_SUFFIX = max(len(suffix) for suffix in SUFFIXES.values())
TAR_ENDINGS = frozenset(f".{suffix.rpartition('.')[2]}" for suffix in TARS)


PAGED = re.compile(r"#[0-9]+\Z")
"""How the stems of pages' outputs end."""


class Naming:
    """Gives outputs their names.

    ``form``: of the outputs, ``same`` for each input's own; ``unpack``: tars become directories;
    ``longest``: bytes that a name may have; ``fold``: names that differ in case alone meet;
    ``pages``: names that end like those of pages are left to these.
    """

    def __init__(
        self,
        form: str,
        unpack: bool = False,
        longest: int | None = NAME_BYTES,
        fold: bool = False,
        pages: bool = False,
    ) -> None:
        self.form, self.unpack, self.longest, self.fold = form, unpack, longest, fold
        self.pages = pages

    @classmethod
    def within(
        cls, out: str | os.PathLike[str], form: str, unpack: bool, pages: bool = False
    ) -> Naming:
        """As the file system of ``out`` needs them, be it there yet or not."""
        rules = store_of(out).name_rules(os.fspath(out))
        return cls(form, unpack, rules.longest, rules.folds_case, pages)

    def key(self, output: str) -> str:
        """The same key for two outputs that clash."""
        # NFC too, for Apple's file systems take composed and decomposed letters for one name.
        return unicodedata.normalize("NFC", output).casefold() if self.fold else output

    def output(self, name: str) -> tuple[str, str]:
        """The name of an input's output, and the suffix that its whole name gets if that name is
        taken.

        With ``same``, a suffix that already names the format stays.
        """
        output, suffix = self._name_unbounded(name)
        return self.shorten(output), suffix

    def output_of_alike(self, name: str) -> str:
        """What the output of an input would be called beside another whose whole name differs in
        case alone, where case makes no difference."""
        return self._mark(self._name_whole(name))

    def output_without_pages(self, name: str) -> str:
        """What the output of an input would be called where no name is left to pages."""
        return self.shorten(self._name_unbounded(name, pages=False)[0])

    def _name_unbounded(self, name: str, *, pages: bool = True) -> tuple[str, str]:
        """As :meth:`output`, however long. ``pages``: heed what :attr:`pages` says."""
        stem, own = os.path.splitext(name)
        kind = own.lower()
        if kind in TAR_ENDINGS and is_tar(name):
            stem = name[: -len(next(suffix for suffix in TARS if name.lower().endswith(suffix)))]
            stem = stem or name
            return (stem, ".d") if self.unpack else (f"{stem}.tar", ".tar")
        suffix = SUFFIXES[SAME.get(kind, "png") if self.form == "same" else self.form]
        if pages and self.pages and PAGED.search(stem):
            return name + suffix, suffix
        return stem + (own if self.form == "same" and kind in SAME else suffix), suffix

    def name_page(self, output: str, mark: str) -> str:
        """The output of a page of the input that would have ``output``; ``mark``: of its number.

        It meets no other input's: where there may be pages, these have no stem that ends so.
        """
        stem, suffix = os.path.splitext(output)
        return self.shorten(f"{stem}{mark}{suffix}")

    def shorten(self, path: str) -> str:
        """The same path, or if its last name is too long, the beginning of it and a hash of the
        whole."""
        return self._mark(path) if self._is_long(path) else path

    def _mark(self, path: str) -> str:
        """The path with a hash of its last name at the end, as long as names may be."""
        above, slash, name = path.rpartition("/")
        stem, suffix = os.path.splitext(name)
        mark = f"~{hashlib.blake2b(os.fsencode(name), digest_size=5).hexdigest()}{suffix}"
        room = max(1, (self.longest or len(path) * 4) - len(os.fsencode(mark)))
        start = os.fsencode(stem)[:room]
        while not stem.startswith(os.fsdecode(start)):  # within a character
            start = start[:-1]
        return above + slash + os.fsdecode(start) + mark

    def _is_long(self, path: str) -> bool:
        if self.longest is None or 4 * len(path) <= self.longest:  # UTF-8 has four at most
            return False
        return len(os.fsencode(path.rpartition("/")[2])) > self.longest

    def is_shortened(self, name: str) -> bool:
        """Whether an input's output has lost a part of its name."""
        if self.longest is None or 4 * (len(name) + LONGEST_SUFFIX) <= self.longest:
            return False
        return self._is_long(self._name_unbounded(name)[0])

    def find_whole_named(self, names: Names, directories: Collection[str]) -> WholeNamed:
        """The names of one directory whose output is also another's, or a directory's.

        As they then keep their whole names, they may meet others, which keep theirs too. Where a
        whole name would be too long, the first of those that meet keeps its short one. Whole names
        that differ in case alone, where that makes no difference, get a hash.
        """
        outputs = self._hashes(directories)
        outputs.extend(self._hashes(self.output(name)[0] for name in names))
        whole, clashing = HashSet(), find_repeated(outputs)
        taken = {self.key(name) for name in directories} if len(clashing) else set()
        is_first = True
        while len(clashing):
            renamed = array("q")
            for name in names:
                output, suffix = self.output(name)
                key = self.key(output)
                if key not in clashing:
                    continue
                if is_first and self._is_long(name + suffix) and key not in taken:
                    taken.add(key)
                elif whole.add(name):
                    renamed.append(hash(self.key(self.shorten(name + suffix))))
            clashing, is_first = intersect(outputs, renamed), False
        alike = array("q")
        if self.fold and len(whole):
            alike = self._hashes(self._name_whole(name) for name in names if name in whole)
        return WholeNamed(self, whole, find_repeated(alike))

    def _name_whole(self, name: str) -> str:
        return self.shorten(name + self.output(name)[1])

    def _hashes(self, outputs: Iterable[str]) -> array[int]:
        return array("q", (hash(self.key(output)) for output in outputs))


class WholeNamed:
    """The inputs of a directory whose outputs keep their whole names."""

    def __init__(self, naming: Naming, names: HashSet, alike: HashSet) -> None:
        """``alike``: the keys of outputs that more than one of ``names`` would have."""
        self._naming, self._names, self._alike = naming, names, alike

    def __contains__(self, name: str) -> bool:
        return len(self._names) > 0 and name in self._names

    def output(self, name: str) -> str:
        """The output of one of them."""
        naming = self._naming
        output = naming._name_whole(name)
        return naming.output_of_alike(name) if naming.key(output) in self._alike else output
