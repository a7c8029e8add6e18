"""The files of one local directory: which of them are inputs, their sidecars, and which links are
followed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.imaging import sidecars, tileset
from pix2pix_batch.imaging.kinds import LOOKED_AT
from pix2pix_batch.inputs.choice import OTHER, TAKEN, InputFilter, LeftAlone, is_tar
from pix2pix_batch.storage.name_set import HashSet, Names
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import escape

OUTSIDE = (
    "a link that leads out of the input; pass --follow-links to read what it leads to, or leave "
    "it out"
)

NO_STAMPS: Mapping[str, str] = {}


@dataclass
class Folder:
    """What a directory holds.

    ``files``: the inputs; ``directories``, sorted; ``identity``: device and inode; ``left``: what
    is left alone, by its path within the input; ``links``: those to directories that are not
    followed; ``descriptions``: of sets of map tiles; ``beside``: the sidecars; ``refused``: the
    inputs that are links out of IN; ``stamps``: of the files, where a store has told them.
    """

    files: Names = field(default_factory=Names)
    directories: list[str] = field(default_factory=list)
    identity: tuple[int, int] | None = None
    left: LeftAlone = field(default_factory=LeftAlone)
    links: int = 0
    descriptions: list[str] = field(default_factory=list)
    beside: HashSet = field(default_factory=HashSet)
    refused: HashSet = field(default_factory=HashSet)
    stamps: Mapping[str, str] = field(default_factory=dict)

    def sidecars_of(self, name: str) -> tuple[str, ...]:
        if not len(self.beside):
            return ()
        return tuple(one for one in sidecars.names(name) if one in self.beside)

    def refusal_of(self, name: str) -> str:
        return OUTSIDE if len(self.refused) and name in self.refused else ""


def list_folder(
    root: str, inside: str, choice: InputFilter, follow_links: bool, georeference: bool
) -> Folder:
    """List the directory ``inside`` ``root``. Raises ``OSError``."""
    here, start = os.path.join(root, inside), os.path.join(inside, "")
    status = os.stat(here)
    found = Folder(identity=(status.st_dev, status.st_ino))
    likely, described = Names(), []
    with os.scandir(here) as listing:
        for entry in listing:
            name = entry.name
            if _is_directory(entry):
                if (why := choice.classify_directory(start + name)) != TAKEN:
                    found.left.of(why).add(start + name)
                elif entry.is_symlink() and not follow_links:
                    found.links += 1
                else:
                    found.directories.append(name)
            elif (
                why := choice.classify_file(start + name, partial(open_beginning, entry.path))
            ) == TAKEN:
                found.files.add(name)
                if entry.is_symlink() and not follow_links and leads_out(entry.path, root):
                    found.refused.add(name)
            elif why != OTHER or not georeference:
                found.left.of(why).add(start + name)
            elif sidecars.may_be_sidecar(name) and sidecars.is_allowed(entry.path, root):
                likely.add(name)
                found.beside.add(name)
            elif tileset.may_be_description(name) and sidecars.is_allowed(entry.path, root):
                described.append(name)
            else:
                found.left.of(OTHER).add(start + name)
    # The order of a listing differs between file systems; that of items must not.
    found.directories.sort()
    found.descriptions = tileset.list_descriptions(sorted(described), found.directories)
    for name in described:
        if name not in found.descriptions:
            found.left.of(OTHER).add(start + name)
    _leave_strays(found, likely, start)
    return found


def open_beginning(path: str) -> IO[bytes] | None:
    """Open a file on a disk or in a store, to look at its beginning; ``None`` if it cannot be
    read."""
    try:
        return store_of(path).open_beginning(path, LOOKED_AT)
    except (ImageError, OSError, ValueError):
        return None


def _leave_strays(found: Folder, likely: Names, start: str) -> None:
    """Count sidecars that belong to no image as other files."""
    if not len(likely):
        return
    taken = HashSet()
    for name in found.files:
        for own in found.sidecars_of(name):
            taken.add(own)
    for name in likely:
        if name not in taken:
            found.left.of(OTHER).add(start + name)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # such as a link to itself: fails as a file, by its name
        return False


def leads_out(path: str, root: str) -> bool:
    """Whether the path leads, through links, to an existing file that is not below ``root``."""
    real, base = os.path.realpath(path), os.path.realpath(root)
    # One that leads nowhere is no refusal: it fails later, with a message that says where it leads.
    return os.path.exists(real) and not real.startswith(os.path.join(base, ""))


def list_sidecars(path: str, root: str) -> tuple[str, ...]:
    """The sidecars of an image whose directory was not listed."""
    return sidecars.list_sidecars(path, root) if store_of(path).is_local else ()


def image_files(root: Path, left: LeftAlone | None = None, rasters: bool = False) -> Iterator[Path]:
    """Find every image below a local directory, as a scan would, sorted; links to directories are
    not followed. ``left`` is given what is left alone; ``rasters``: as of
    :class:`~pix2pix_batch.inputs.choice.InputFilter`. Raises :class:`InputError` where a
    directory cannot be listed."""
    choice, left = InputFilter(rasters=rasters), LeftAlone() if left is None else left

    def refuse(error: OSError) -> None:
        raise InputError(
            f"{escape(error.filename)}: cannot be listed ({error.strerror}); see to its permissions"
        ) from error

    for here, directories, names in os.walk(root, onerror=refuse):
        start = os.path.join(os.path.relpath(here, root), "").removeprefix("./")
        directories.sort()
        # A copy: os.walk does not enter what is removed from the list itself.
        for name in list(directories):
            if (why := choice.classify_directory(start + name)) != TAKEN:
                directories.remove(name)
                left.of(why).append(start + name)
            elif os.path.islink(os.path.join(here, name)):
                left.links += 1
        for name in sorted(names):
            path = os.path.join(here, name)
            if (why := choice.classify_file(start + name, partial(open_beginning, path))) == TAKEN:
                yield Path(path)
            else:
                left.of(why).append(start + name)


class Unlisted:
    """A directory of which only the files that match a pattern are known; anything else is looked
    up."""

    stamps: Mapping[str, str] = NO_STAMPS

    def __init__(self, root: str, inside: str, follow_links: bool, georeference: bool) -> None:
        self.root, self.here = root, os.path.join(root, inside)
        self.georeference, self.follow_links = georeference, follow_links
        self._is_out = bool(inside) and not follow_links and leads_out(self.here, root)

    def sidecars_of(self, name: str) -> tuple[str, ...]:
        return list_sidecars(os.path.join(self.here, name), self.root) if self.georeference else ()

    def refusal_of(self, name: str) -> str:
        if self.follow_links:
            return ""
        path = os.path.join(self.here, name)
        out = self._is_out or (os.path.islink(path) and leads_out(path, self.root))
        return OUTSIDE if out else ""


def holds_tars(root: str | os.PathLike[str], choice: InputFilter) -> bool:
    """Whether the directory, not those below it, holds tars and no image."""
    found = False
    try:
        with os.scandir(root) as listing:
            for entry in listing:
                if choice.classify_file(entry.name, partial(open_beginning, entry.path)) == TAKEN:
                    return False
                found = found or is_tar(entry.name)
    except OSError:
        return False
    return found
