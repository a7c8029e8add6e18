"""Which files of a folder, a tar or a store are inputs, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from pathspec import GitIgnoreSpec

from pix2pix_batch.errors import InputError
from pix2pix_batch.imaging import kinds
from pix2pix_batch.imaging.kinds import Open
from pix2pix_batch.inputs import litter, unread
from pix2pix_batch.text import escape

TARS = (".tar", ".tar.gz", ".tgz")
"""The suffixes of tars, which hold many images each."""

TAKEN, OTHER, LITTER, EXCLUDED = "taken", "other", "litter", "excluded"
UNREAD, TAR = "unread", "tar"
"""What a file or a directory is: an input, or to be entered; a file that is no image; what systems
and programs leave (:mod:`pix2pix_batch.inputs.litter`); what the user does not want; an image of a
kind that is not read (:mod:`pix2pix_batch.inputs.unread`); a tar where the inputs are images."""

EXAMPLES = 3
"""How many of the files left alone are kept by name."""


def is_tar(name: str) -> bool:
    return name.lower().endswith(TARS)


@dataclass
class Left:
    """Files and directories that are skipped: how many, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        """Add a name of a directory's listing, which has no order."""
        self.count += 1
        self.first.append(path)
        # Sorted now and then, not at each name: a directory may hold millions.
        if len(self.first) > 64 * EXAMPLES:
            self.first = sorted(self.first)[:EXAMPLES]

    def append(self, path: str) -> None:
        """Add a name that was found after those before it."""
        self.count += 1
        if len(self.first) < EXAMPLES:
            self.first.append(path)

    def join(self, other: Left) -> None:
        """Append what was found in another directory."""
        self.count += other.count
        self.first += sorted(other.first)[: max(0, EXAMPLES - len(self.first))]


@dataclass
class LeftUnread:
    """Images of kinds that are not read, ``by_kind``: its name."""

    by_kind: dict[str, Left] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(left.count for left in self.by_kind.values())

    def _count_of(self, path: str) -> Left:
        kind = unread.kind_of(path)
        return self.by_kind.setdefault(kind.name if kind else "others", Left())

    def add(self, path: str) -> None:
        self._count_of(path).add(path)

    def append(self, path: str) -> None:
        self._count_of(path).append(path)

    def join(self, other: LeftUnread) -> None:
        for name, left in other.by_kind.items():
            self.by_kind.setdefault(name, Left()).join(left)

    def lines(self) -> Iterator[str]:
        """Each kind, the most frequent first: how many, one of them, and what to do."""
        for name, left in sorted(self.by_kind.items(), key=lambda one: -one[1].count):
            such = min(left.first)
            kind = unread.kind_of(such)
            then = f"; {kind.remedy}" if kind else ""
            yield f"{name}: {left.count:,}, such as {escape(such)}{then}"


@dataclass
class LeftAlone:
    """Everything that is skipped, by reason: ``other`` are no images, ``litter`` is what systems
    leave, ``excluded`` what the user does not want, ``unread`` images of kinds that are not read,
    ``tar`` tars beside images; ``links`` to directories, where they are not followed."""

    other: Left = field(default_factory=Left)
    litter: Left = field(default_factory=Left)
    excluded: Left = field(default_factory=Left)
    unread: LeftUnread = field(default_factory=LeftUnread)
    tar: Left = field(default_factory=Left)
    links: int = 0

    def of(self, why: str) -> Left | LeftUnread:
        """``why``: :data:`OTHER`, :data:`LITTER`, :data:`EXCLUDED`, :data:`UNREAD` or
        :data:`TAR`."""
        left: Left | LeftUnread = getattr(self, why)
        return left

    def join(self, found: LeftAlone) -> None:
        self.other.join(found.other)
        self.litter.join(found.litter)
        self.excluded.join(found.excluded)
        self.unread.join(found.unread)
        self.tar.join(found.tar)
        self.links += found.links


class InputFilter:
    """Judges files and directories by their paths within the input.

    ``exclude`` and ``include`` are patterns with the rules of ``.gitignore``, but that none is a
    comment or negated. What matches an ``include`` is taken, whatever ``exclude`` and its name
    say: a file also without an image suffix, in a directory that matches the images. ``spelled``:
    names that stand in the input's own pattern, which are no litter; ``tars``: the inputs are tars;
    ``rasters``: so are files that are rasters and no pictures.
    """

    def __init__(
        self,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        spelled: Sequence[str] = (),
        tars: bool = False,
        rasters: bool = False,
    ) -> None:
        """Raises :class:`InputError` for what is no pattern."""
        self._exclude = _spec(exclude, "exclude")
        self._include = _spec(include, "include")
        names = [pattern for pattern in include if "/" not in pattern]
        paths = [pattern for pattern in include if "/" in pattern]
        self._include_names = _spec(names, "include")
        self._include_paths = _spec(paths, "include")
        self._above_included = [part for one in paths for part in one.split("/")[:-1] if part]
        self._spelled = frozenset(spelled)
        self._hidden = any(part.startswith(".") for part in spelled)
        self.tars, self.rasters = tars, rasters

    def classify_directory(self, path: str) -> str:
        """Whether a directory is entered."""
        if self._include and self._include.match_file(f"{path}/"):
            return TAKEN
        if self._is_litter(path):
            return TAKEN if self._leads_to_included(path) else LITTER
        # what lies in it may still be included
        excluded = self._exclude and not self._include and self._exclude.match_file(f"{path}/")
        return EXCLUDED if excluded else TAKEN

    def classify_file(self, path: str, look: Open) -> str:
        """``look`` opens the file if its name does not tell what it is."""
        name = path.rpartition("/")[2]
        included = False
        if self._include:
            if self._is_named(path, name):
                return TAKEN
            included = self._include.match_file(path)
        if not included:
            if not self._is_spelled(path) and litter.is_file(name):
                return UNREAD if not self.tars and unread.is_placeholder(name) else LITTER
            if self._include_paths and self._lies_in_litter(path):
                return LITTER
            if self._exclude and self._exclude.match_file(path):
                return EXCLUDED
        wanted = is_tar(name) if self.tars else kinds.is_picture(name, look)
        if wanted or (self.rasters and kinds.suffix_of(name) in kinds.RASTERS):
            return TAKEN
        if self.tars:
            return OTHER
        return UNREAD if unread.kind_of(name) else TAR if is_tar(name) else OTHER

    def classify_listed(self, path: str) -> str:
        """Classify a file that a list names: it is taken unless the user excludes it."""
        if self._exclude and self._exclude.match_file(path):
            return TAKEN if self._include and self._include.match_file(path) else EXCLUDED
        return TAKEN

    def classify_path(self, path: str, look: Open) -> str:
        """Classify a file whose directories were not classified before."""
        place = path.find("/")
        while place >= 0:
            if (why := self.classify_directory(path[:place])) != TAKEN:
                return why
            place = path.find("/", place + 1)
        return self.classify_file(path, look)

    def _is_named(self, path: str, name: str) -> bool:
        """Whether an ``include`` means the file itself, not a directory that it lies in."""
        if self._include_names and self._include_names.match_file(name):
            return True
        if not self._include_paths or not self._include_paths.match_file(path):
            return False
        above = path[: len(path) - len(name)]
        return not (above and self._include_paths.match_file(above))

    def _is_litter(self, directory: str) -> bool:
        return not self._is_spelled(directory) and litter.is_directory(directory)

    def _leads_to_included(self, directory: str) -> bool:
        """Whether an ``include`` such as ``@eaDir/*.jpg`` may mean files below it."""
        name = directory.rpartition("/")[2]
        return any(part != "**" and fnmatchcase(name, part) for part in self._above_included)

    def _lies_in_litter(self, path: str) -> bool:
        """Whether a file is in a directory that was entered for what is included alone."""
        above = path.rpartition("/")[0]
        while above:
            if self._is_litter(above):
                assert self._include is not None
                return not self._include.match_file(f"{above}/")
            above = above.rpartition("/")[0]
        return False

    def _is_spelled(self, path: str) -> bool:
        name = path.rpartition("/")[2]
        if name in self._spelled:
            return True
        return self._hidden and name.startswith(".") and not name.startswith(("._", ".Trash"))


def _spec(patterns: Sequence[str], option: str) -> GitIgnoreSpec | None:
    if not patterns:
        return None
    for pattern in patterns:
        if pattern.startswith("!"):
            other = "include" if option == "exclude" else "exclude"
            raise InputError(
                f"--{option} {pattern!r}: patterns are not negated here; use --{other} "
                f"{pattern[1:]!r}, or '\\!...' for a name that begins with '!'"
            )
        if not pattern.strip("/ "):
            raise InputError(
                f"--{option} {pattern!r}: matches nothing; give a pattern such as '*_mask.png'"
            )
    lines = [f"\\{one}" if one.startswith("#") else one for one in patterns]  # no comments here
    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        raise InputError(f"--{option}: {error}; give a pattern such as '*_mask.png'") from error
