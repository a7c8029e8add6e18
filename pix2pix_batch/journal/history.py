"""The results of earlier runs, from the journals of an OUT. Reading them writes nothing and takes
no lock."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain, combinations
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import InputError
from pix2pix_batch.journal import files_beside
from pix2pix_batch.journal.events import (
    Begun,
    Claimed,
    Counted,
    Event,
    Header,
    Recorded,
    Returned,
)
from pix2pix_batch.journal.index import DETAIL, DETAILS, OURS, Index, decode_status
from pix2pix_batch.journal.input_count import InputCount
from pix2pix_batch.journal.reader import (
    FirstLine,
    read_first_lines,
    read_lines,
    require_maker,
    require_readable,
    require_schema,
    select_valid,
    unreadable_error,
)
from pix2pix_batch.journal.record import DONE, GONE, SCHEMA, UNDER
from pix2pix_batch.journal.shard import Shard, journal_of
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.text import escape, format_count

DIRECTORY_OF_NAMES = "directory"
"""In the job's line, for a list: the directory that its relative paths were relative to at
first."""

OUT_OF_JOURNAL = "out"
"""In the job's line: the URL that outputs go to, where the journal lies apart from them."""

RANGES = "ranges"
"""In the job's line: the value ranges of the sides that are no pictures, as the bundle has them."""

READER_KEYS = ("model_name", DIRECTORY_OF_NAMES, OUT_OF_JOURNAL, RANGES)
"""Keys of the job's line that are for readers only: another value does not make another job."""

CHOSEN_KEYS = ("backend", "precision", "batch_size")
"""What a run chooses when it begins, and later runs keep."""

DIGITS = 12
"""Characters of a file's SHA-256 that messages show, as ``status`` does."""


# What a journal says, in the forms in which it is asked for ten million inputs.
class History:
    """What the journals say of each input.

    The first line of a journal is the job: what decides the outputs' bytes. The index in memory
    holds 16 bytes an input, and as many an output and a file beside one, and a hash of each input
    that was read with a warning; tars are held by name.
    """

    def __init__(
        self,
        out: Path,
        job: dict[str, Any],
        *,
        overwrite: bool = False,
        shard: Shard | None = None,
    ) -> None:
        """Read the journals of ``out``, if there are any, as far as they are written.

        ``job``: plain JSON values. Journals of another job are refused unless ``overwrite``,
        with which all begins anew. ``shard``: only what regards this part of the job. Raises
        :class:`InputError`, :class:`OutputError`.
        """
        self.out, self.shard, self.starts_over = out, shard, overwrite
        self.directory = out / DIRECTORY
        self.path = journal_of(out, shard)
        self.job = {"schema": SCHEMA, **job, "overwrite": int(overwrite)}
        self._asked = job
        self._paths: list[Path] = []
        self._ends: dict[Path, int] = {}  # of the last whole line of each journal
        self.index = Index()
        self.input_count = InputCount()
        self.tars: set[str] = set()
        self._gone = Index()  # inputs that a count did not find, and those that were back since
        self._gone_here: set[str] = set()  # of the journal that is being read
        # of outputs and what lies beside them: a hash of the input that each is made of
        self._owners = Index()
        self._failed_members: dict[str, int] = {}
        self._together: list[tuple[str, str]] = []  # names and outputs that came back together
        # of each tar that was unpacked, hashes of the outputs; and those with a wrong one
        self._unpacked: dict[str, array[int]] = {}
        self._doubted: set[str] = set()
        self._warned: set[int] = set()
        self._read()

    def _read(self) -> None:
        self._find_journals()
        self._load()

    @property
    def overwrites(self) -> bool:
        """Whether this job may replace files that it did not make."""
        return bool(self.job["overwrite"])

    def _read_first_lines(self) -> list[FirstLine]:
        return read_first_lines(self.out)

    def _find_journals(self) -> None:
        """Find the journals and check that they are this job's."""
        lines = self._read_first_lines()
        # Also with --overwrite: the other command's files are not this one's to replace.
        require_maker(self.out, lines, self._asked.get("kind"))
        if self.starts_over:
            self._note_files_beside(lines)
            return
        require_readable(lines)
        headers: list[tuple[bool, int, Header]] = []
        for line in select_valid(lines):
            header, shard = line.header, line.shard
            if header is None:
                continue
            require_same(self.out, header, self._asked)
            if shard and self.shard and shard.count != self.shard.count:
                raise InputError(
                    f"{escape(self.out)}: holds journals of {format_count(shard.count, 'shard')}; "
                    f"go on with --shard i/{shard.count}, or run once without --shard, which does "
                    "the rest and merges them"
                )
            is_own = self.shard is not None and shard == self.shard
            headers.append((is_own, header.overwriting, header))
            if self.shard is None or shard in (None, self.shard):
                self._paths.append(line.path)
        # Each overrules those before it, so what counts most comes last.
        for *_, header in sorted(headers, key=lambda known: known[:2]):
            self._take_over(header)

    def _note_files_beside(self, lines: Sequence[FirstLine]) -> None:
        """Note which files beside outputs are this job's, of which nothing else counts any more."""
        journals = [line.path for line in select_valid(lines) if line.header]
        for path in (files_beside.path_of(self.out), *journals):
            with suppress(OSError):  # what cannot be read says nothing
                for event, _ in read_lines(path):
                    if isinstance(event, Recorded):
                        self._own_files_beside(event)

    def _own_files_beside(self, event: Recorded) -> None:
        for path in event.values.get("beside", ()):
            self._owners.update(path, DONE, hash(event.name))

    def _take_over(self, header: Header) -> None:
        """Take over what an earlier run or another shard has chosen. The shard's own choice counts
        first, then that of the latest overwriting."""
        overwrite = max(self.job["overwrite"], header.overwriting)
        values = {
            key: header.values[key] for key in (*READER_KEYS, *CHOSEN_KEYS) if key in header.values
        }
        self.job = {**self.job, **values, "overwrite": overwrite}

    def _load(self) -> None:
        """Read what the journals say of each input into the index."""
        for path in self._paths:
            self._gone_here.clear()
            try:
                for event, end in read_lines(path):
                    if event is not None:
                        self._note(event)
                    self._ends[path] = end
            except OSError as error:
                raise unreadable_error(path, error) from error

    def _note(self, event: Event) -> None:
        if isinstance(event, Recorded):
            name, values = event.name, event.values
            detail = _detail(values.get("stamp", ""), values.get("under", ""))
            self.index.update(name, event.status, detail)
            if event.is_refused:
                self._note_found([name])
            if "warning" in values:
                self._warned.add(hash(name))
            elif self._warned:
                self._warned.discard(hash(name))
            if output := values.get("output"):
                # DONE because an index keeps a detail only with a status.
                self._owners.update(output, DONE, hash(name))
            self._own_files_beside(event)
            if event.is_tar:
                self._note_tar(event)
            else:
                self._together.append((name, event.get("output")))
            if self._unpacked and event.is_found_wrong:  # the tar is to be made again
                self._doubted.update(tar for tar in directories_of(name) if tar in self._unpacked)
        elif isinstance(event, Returned):
            self._together.clear()
        elif isinstance(event, Claimed):
            for name in event.names:
                self.index.claim(name)
            self._note_found(event.names)
        elif isinstance(event, Begun | Counted):
            self.input_count.note(event)
            if isinstance(event, Counted) and isinstance(event.gone, list):
                self._note_presence(event.gone, event.back)

    def _note_found(self, names: Sequence[str]) -> None:
        """By a run, which need not have counted all inputs."""
        if self._gone_here and (back := self._gone_here.intersection(names)):
            self._note_presence([], list(back))

    def _note_presence(self, gone: Sequence[str], back: Sequence[str]) -> None:
        for status, names in ((GONE, gone), (DONE, back)):
            for name in names:
                self._gone.update(name, status, 0)
        self._gone_here.update(gone)
        self._gone_here.difference_update(back)

    def _note_tar(self, event: Recorded) -> None:
        """The record of a tar that was made, which follows those of its images."""
        name, values = event.name, event.values
        self.tars.add(name)
        self._doubted.discard(name)
        self._failed_members.pop(name, None)
        if lacking := values.get("failed"):
            self._failed_members[name] = lacking
        images = [output for one, output in self._together if one.startswith(f"{name}/")]
        self._together.clear()
        if values.get("hash"):
            self._unpacked.pop(name, None)
        elif images or not values["members"]:  # else a check of the output has restored it
            self._unpacked[name] = array("q", map(hash, filter(None, images)))

    def status_of(self, name: str, stamp_now: str, under: Sequence[str] = ()) -> str:
        """The status of the input ``name`` if its file still has this stamp: ``done``, ``failed``,
        ``quarantined``, or nothing yet. ``under``: the options that failures may depend on, as they
        now are, in order."""
        state = self.index.get(name)
        if not (state and stamp_now):
            return ""
        is_same = state >> DETAIL == _detail(stamp_now)
        if not is_same:
            # The index has only a hash of stamp and options, so each set of options under which the
            # failure would still hold is tried: a handful, as few options are such.
            some = chain.from_iterable(combinations(under, n + 1) for n in range(len(under)))
            is_same = any(state >> DETAIL == _detail(stamp_now, UNDER.join(one)) for one in some)
        return decode_status(state) if is_same else ""

    def is_gone(self, name: str) -> bool:
        """Whether the last count that regards the input ``name`` did not find it."""
        return decode_status(self._gone.get(name)) == GONE

    def count_gone(self) -> int:
        """How many inputs are gone in this sense."""
        return self._gone.count_statuses()[GONE]

    def recorded_names(self) -> Iterator[str]:
        """The names of all records, some more than once, as the journals have them now. Raises
        :class:`OutputError`."""
        for path in {self.path, *self._paths}:  # of which some may have been merged into the first
            try:
                for event, _ in read_lines(path):
                    if isinstance(event, Recorded):
                        yield event.name
            except FileNotFoundError:
                continue
            except OSError as error:
                raise unreadable_error(path, error) from error

    def was_warned(self, name: str) -> bool:
        """Whether something was wrong with the input ``name`` when it was converted last."""
        return hash(name) in self._warned

    def failed_within(self, name: str) -> int:
        """How many members of the tar ``name`` failed when it was made last."""
        return self._failed_members.get(name, 0)

    def is_unpacked_to_none(self, name: str) -> bool:
        """Whether the tar ``name`` was unpacked last and no image of it could be made, so that it
        may have no directory."""
        return name in self._unpacked and not self._unpacked[name]

    def lacks_outputs(self, name: str, there: Iterable[str]) -> bool:
        """Whether the directory of the tar ``name``, if that was unpacked, has lost an output, or a
        check has found one of them wrong. ``there``: the files in it, by their paths in OUT."""
        if name in self._doubted:
            return True
        wanted = set(self._unpacked.get(name, ()))
        return bool(wanted) and not wanted.issubset(map(hash, there))

    def knows(self, output: str) -> bool:
        """Whether ``output`` is recorded."""
        return bool(self._owners.get(output))

    @property
    def knows_outputs(self) -> bool:
        """Whether any output is recorded."""
        return bool(self._owners)

    def owns(self, name: str, output: str) -> bool:
        """Whether ``output`` is the one that was made of the input ``name``."""
        state = self._owners.get(output)
        return bool(state) and state >> DETAIL == hash(name) & DETAILS

    def is_of_another(self, name: str, output: str) -> bool:
        """Whether ``output`` was made of another input than ``name``."""
        return bool(self._owners.get(output)) and not self.owns(name, output)

    def is_ours(self, name: str) -> bool:
        """Whether this job may have written the output of ``name`` in an earlier run."""
        return bool(self.index.get(name) & OURS)


def directories_of(name: str) -> Iterator[str]:
    """The paths that ``name`` lies in, one of which may be a tar."""
    return accumulate(name.split("/")[:-1], "{}/{}".format)


def _detail(stamp: str, under: str = "") -> int:
    """The part of a record that the index keeps."""
    return hash(f"{stamp} {under}" if under else stamp) & DETAILS


def require_same(out: Path, header: Header, job: dict[str, Any]) -> None:
    """Raises :class:`InputError` if the journal with this first line is not that of ``job``."""
    require_schema(out, header)
    earlier = header.values
    differing = [key for key in job if key not in READER_KEYS and earlier.get(key) != job[key]]
    if differing:
        differences = "; ".join(_difference(key, earlier, job) for key in differing)
        some = ", with a list of the damaged images as IN" if "lenient" in differing else ""
        raise InputError(
            f"{escape(out)}: holds another job's images ({differences}); "
            f"choose another OUT{some}, or pass --overwrite to convert everything again"
        )


def _difference(key: str, earlier: dict[str, Any], job: dict[str, Any]) -> str:
    before, now = earlier.get(key), job[key]
    names = earlier.get("model_name"), job.get("model_name")
    if key != "model" or None in names:
        was = "not given" if before is None else repr(before)
        return f"{key} was {was}, now {'not given' if now is None else repr(now)}"
    if names[0] != names[1]:
        return f"model was {names[0]!r}, now {names[1]!r}"
    return describe_changed_model(names[0], before, now)


def describe_changed_model(name: object, before: object, now: object) -> str:
    """What to say where a model of the same name is another file. ``before``, ``now``: SHA-256."""
    return (
        f"the file of model {name!r} has changed since: its SHA-256 began {str(before)[:DIGITS]}, "
        f"now {str(now)[:DIGITS]}; to go on, give --model the file of before"
    )
