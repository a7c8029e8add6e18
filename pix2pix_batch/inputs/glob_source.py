"""Inputs that a glob finds on this machine, or a single file."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from itertools import chain

from pix2pix_batch.imaging import pages
from pix2pix_batch.inputs import folder
from pix2pix_batch.inputs.choice import TAKEN
from pix2pix_batch.inputs.pattern import Glob, expand_braces, find_matches
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.item import Item
from pix2pix_batch.storage.local import find_within
from pix2pix_batch.storage.name_set import Names
from pix2pix_batch.storage.store import store_of


class GlobSource(InputSource):
    """What matches ``source``; where that is a file, whose name may look like a pattern, it alone.

    ``root``: the directory that holds no wildcard.
    """

    is_pattern = True

    def __init__(self, source: str, options: ScanOptions, root: str, tars: bool) -> None:
        self._is_file = os.path.isfile(source)
        self._pattern = glob.escape(source) if self._is_file else source
        super().__init__(source, options, root, tars)
        self.require_apart(deep="**" in self._pattern)

    def _list_spelled_names(self) -> list[str]:
        return self._pattern.split("/")

    def seeks(self, name: str) -> bool:
        file = os.path.join(self.root, pages.split_name(name)[0])
        path = os.path.normpath(file).lstrip("/")
        return any(one.looks_at(path) for one in self._globs) and super().seeks(name)

    @cached_property
    def _globs(self) -> list[Glob]:
        return [Glob(os.path.normpath(one)) for one in self._list_patterns()]

    def _list_patterns(self) -> Iterable[str]:
        return [self._pattern] if self._is_file else expand_braces(self._pattern)

    def iterate_files(self) -> Iterator[Item]:
        """Directory by directory, so that clashing names are seen."""
        here, names, before = "", Names(), None
        for inside, _, name in (path.partition("\0") for path in self._find()):
            if inside != here:
                yield from self.make_items(here, names)
                here, names = inside, Names()
            if (inside, name) == before:  # '**/**' finds it twice
                continue
            before = inside, name
            path = os.path.join(inside, name)
            look = partial(folder.open_beginning, os.path.join(self.root, path))
            if (why := self.choice.classify_path(path, look)) == TAKEN:
                names.add(name)
            else:
                self.left.of(why).append(path)
        yield from self.make_items(here, names)

    def _find(self) -> Names:
        """Directory and name of each file that matches, with a NUL between."""
        found, unlisted = Names(), set[str]()
        out = os.fspath(self.options.out)
        out_is_here, above, in_out = store_of(out).is_local, "", False

        def note(directory: str, error: OSError) -> None:
            inside = os.path.relpath(directory or ".", self.root or ".")
            if inside not in unlisted:
                unlisted.add(inside)
                self.unlisted.append((inside, f"the directory cannot be listed ({error.strerror})"))

        for path in chain.from_iterable(find_matches(one, note) for one in self._list_patterns()):
            if out_is_here and os.path.dirname(path) != above:
                above = os.path.dirname(path)
                in_out = find_within(above, out) is not None
            if not (in_out or os.path.isdir(path)):
                found.add("\0".join(os.path.split(os.path.relpath(path, self.root))))
        return found
