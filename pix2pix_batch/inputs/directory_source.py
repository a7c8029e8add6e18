"""Inputs in directories, which are walked, on disks and in stores."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from functools import partial

from pix2pix_batch.imaging import pages
from pix2pix_batch.inputs import folder
from pix2pix_batch.inputs.choice import TAKEN
from pix2pix_batch.inputs.folder import Folder
from pix2pix_batch.inputs.pattern import Glob
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.item import Item
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.files import join


class DirectorySource(InputSource):
    """Walks a directory and those below it, one at a time."""

    @abstractmethod
    def list_folder(self, inside: str) -> Folder:
        """List the directory ``inside`` the root; one that cannot be listed is noted and counts as
        empty."""

    def iterate_files(self) -> Iterator[Item]:
        """Each directory's files, then its directories, depth first and in order."""
        # a directory and the device and inode of those over it, against link loops
        pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
        while pending:
            inside, above = pending.pop()
            found = self.list_folder(inside)
            if found.identity in above:
                self.links += 1
                continue
            self.links += found.links
            self.left.join(found.left)
            self.descriptions += [os.path.join(inside, name) for name in found.descriptions]
            taken_names = () if self.is_pattern else found.directories
            yield from self.make_items(inside, found.files, taken_names, found)
            below = (*above, found.identity) if found.identity else above
            # Reversed, since the last is taken first.
            pending += [(os.path.join(inside, name), below) for name in reversed(found.directories)]


class LocalDirectory(DirectorySource):
    """A directory of this machine."""

    def __init__(self, root: str, options: ScanOptions, tars: bool) -> None:
        super().__init__(root, options, root, tars)
        self.require_apart(deep=True)

    def list_folder(self, inside: str) -> Folder:
        options = self.options
        try:
            return folder.list_folder(
                self.root, inside, self.choice, options.follow_links, options.georeference
            )
        except OSError as error:
            self.unlisted.append((inside, f"the directory cannot be listed ({error.strerror})"))
            return Folder()


class StoreDirectory(DirectorySource):
    """A directory of a store, or what a glob finds below it."""

    def __init__(self, source: str, options: ScanOptions, root: str, glob: str, tars: bool) -> None:
        """``glob``: that paths relative to ``root`` must match; empty takes all of them."""
        self._glob = Glob(glob) if glob else None
        self.is_pattern = bool(glob)
        super().__init__(source, options, root, tars)
        self.require_apart(deep=not glob or "**" in glob)

    def _list_spelled_names(self) -> list[str]:
        return self.source.split("/") if self.is_pattern else []

    def seeks(self, name: str) -> bool:
        file = pages.split_name(name)[0]
        return (self._glob is None or self._glob.looks_at(file)) and super().seeks(name)

    def list_folder(self, inside: str) -> Folder:
        url = join(self.root, inside) if inside else self.root
        try:
            found = remote.list_directory(url)
        except Exception as error:
            reason = f"the directory cannot be listed ({remote.explain_error(error)})"
            self.unlisted.append((inside, reason))
            return Folder()
        for name in found.odd:
            reason = f"a name such as {name!r} has no place in a directory; rename it"
            self.unlisted.append((f"{inside}/{name}", reason))
        names, directories = list(found.files), found.directories
        start = os.path.join(inside, "")
        if self._glob is not None:
            names = [name for name in names if self._glob.matches(start + name)]
            directories = [name for name in directories if self._glob.enters(start + name)]
        listed = Folder(stamps=found.files)
        for name in directories:
            if (verdict := self.choice.classify_directory(start + name)) == TAKEN:
                listed.directories.append(name)
            else:
                listed.left.of(verdict).add(start + name)
        for name in names:
            look = partial(folder.open_beginning, join(url, name))
            if (verdict := self.choice.classify_file(start + name, look)) == TAKEN:
                listed.files.add(name)
            else:
                listed.left.of(verdict).add(start + name)
        return listed
