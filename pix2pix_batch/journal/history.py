"""What the journals of an OUT say. Reading them writes nothing, and takes no lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, combinations
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.journal.index import DETAIL, DETAILS, OURS, Index, status_of
from pix2pix_batch.journal.record import DONE, SCHEMA, UNDER, parse_line
from pix2pix_batch.journal.shard import Shard, journal_of, shards_of
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.text import escape, format_count

DIRECTORY_OF_NAMES = "directory"
"""In the job's line of a list: where its relative paths were taken from at first."""

ABOUT = ("model_name", DIRECTORY_OF_NAMES)
"""What the job's line tells people; another value makes no other job."""

SYNTHESIZE = "synthesize"
"""The ``kind`` of a job that makes a dataset; one of ``convert`` has none."""

DECIDED = ("backend", "precision", "batch_size")
"""What a run decides at its start and later ones keep."""

SHOWN = 24
"""Bytes of a damaged line that a message tells."""

DIGITS = 12
"""Of a file's SHA-256 that a message tells, as ``status`` does."""

REPLACES = "replaces"
"""In a job's line while its journal takes the place of others: these do not count any more, though
a crash may have left them."""


def is_locked(lock: Path) -> bool:
    """Whether some process holds the lock now. Only looks, so that a read-only OUT will do."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_header(path: Path) -> dict[str, Any] | None:
    """The first line of a journal, the job; ``None`` where there is none. Raises ``OSError``."""
    try:
        with path.open("rb") as file:
            return parse_line(file.readline())
    except FileNotFoundError:
        return None


def require_readable(out: Path) -> None:
    """Raises :class:`InputError` where the first line of a journal of ``out`` is none of a
    journal, as after an editor or a merge; :class:`OutputError` where one cannot be read."""
    for shard in (None, *shards_of(out)):
        path = journal_of(out, shard)
        try:
            with path.open("rb") as file:
                line = file.readline()
            is_torn = line.startswith(b"{") and not line.endswith(b"\n")
            if not line or is_torn or parse_line(line) is not None:
                continue
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable_error(path, error) from error
        raise InputError(
            f"{escape(path)}: is damaged: line 1 must be the job, and begins "
            f"{line[:SHOWN].rstrip()!r}, as an editor or a merge leaves it; put it back as it was "
            "(no byte order mark, no conflict markers), or pass --overwrite to convert everything "
            "again"
        )


def replaces(new: Shard | None, old: Shard | None) -> bool:
    """Whether the journal of ``new``, begun anew, forgets the other one ``old``: all but those of
    its own job's other shards."""
    return old != new and (new is None or old is None or old.count != new.count)


def overwriting_of(header: dict[str, Any]) -> int:
    """Which overwriting a journal is of, from 1; 0 where it was begun without."""
    number = header.get("overwrite")
    return int(number) if isinstance(number, int) else 0


def list_valid(out: Path) -> list[Shard | None]:
    """Whose journals count; ``None`` is the whole's. Those do not that another one was replacing
    when its run was cut off. Raises :class:`OutputError`."""
    there: list[Shard | None] = [None, *shards_of(out)]
    replacing = list_replacing(out)
    return [one for one in there if not any(replaces(new, one) for new in replacing)]


def list_replacing(out: Path) -> list[Shard | None]:
    """Whose journals are taking the place of others, or were when their run was cut off."""
    return [
        one
        for one in (None, *shards_of(out))
        if (_read_header(journal_of(out, one)) or {}).get(REPLACES)
    ]


def _read_header(path: Path) -> dict[str, Any] | None:
    """As :func:`read_header`, but raises :class:`OutputError`."""
    try:
        return read_header(path)
    except OSError as error:
        raise unreadable_error(path, error) from error


def read_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """A journal's whole lines, the job's first, and where each ends in the file."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                end += len(line)
                yield parse_line(line) or {}, end


def read_all_lines(out: Path) -> Iterator[dict[str, Any]]:
    """The lines of all journals of ``out``, one journal after the other, each beginning with the
    job. What regards one input comes in the order of events.

    Raises :class:`InputError` where there is no journal, :class:`OutputError` where one cannot
    be read.
    """
    require_readable(out)
    found = False
    for path in [journal_of(out, shard) for shard in list_valid(out)]:
        try:
            for number, (values, _) in enumerate(read_lines(path)):
                if number == 0:
                    require_schema(out, values)
                    values.pop(REPLACES, None)
                    found = True
                yield values
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable_error(path, error) from error
    if not out.is_dir():
        raise InputError(f"{escape(out)}: no such directory; give the OUT of a job")
    if not found:
        raise InputError(
            f"{escape(out)}: holds no journal; give a directory that 'pix2pix-batch convert' or "
            "'synthesize' has written to"
        )


class History:
    """What is known of each input.

    The first line of a journal is the job: what decides the outputs' bytes. The index in memory
    holds 16 bytes an input and as many an output, and a hash of each input that was read with a
    warning; tars that lack members are held by name.
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
        self.out, self.shard, self.fresh = out, shard, overwrite
        self.directory = out / DIRECTORY
        self.path = journal_of(out, shard)
        self.job = {"schema": SCHEMA, **job, "overwrite": int(overwrite)}
        self._asked = job
        self._paths: list[Path] = []
        self._ends: dict[Path, int] = {}  # of the last whole line of each journal
        self._index = Index()
        self._owners = Index()  # of outputs: a hash of the input that each is made of
        self._lacking: dict[str, int] = {}
        self._warned: set[int] = set()
        self._read()

    def _read(self) -> None:
        self._find_journals()
        self._load()

    @property
    def overwrites(self) -> bool:
        """Whether this job was begun with leave to replace files that it did not make."""
        return bool(self.job["overwrite"])

    def _find_journals(self) -> None:
        """Find the journals and check that they are this job's."""
        require_maker(self.out, self._asked.get("kind"))
        if self.fresh:
            return
        require_readable(self.out)
        headers: list[tuple[bool, int, dict[str, Any]]] = []
        for shard in list_valid(self.out):
            path = journal_of(self.out, shard)
            header = _read_header(path)
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
            headers.append((is_own, overwriting_of(header), header))
            if self.shard is None or shard in (None, self.shard):
                self._paths.append(path)
        for *_, header in sorted(headers, key=lambda one: one[:2]):
            self._take_over(header)

    def _take_over(self, header: dict[str, Any]) -> None:
        """What an earlier run decided, or a run of another shard. The last counts: the shard's own,
        else that of the latest overwriting."""
        overwrite = max(self.job["overwrite"], overwriting_of(header))
        decided = {key: header[key] for key in DECIDED if key in header}
        about = {key: header[key] for key in ABOUT if key in header}
        self.job = {**self.job, **about, **decided, "overwrite": overwrite}

    def _load(self) -> None:
        """Read what the journals say of each input into the index."""
        for path in self._paths:
            try:
                for values, end in read_lines(path):
                    self._note_line(values)
                    self._ends[path] = end
            except OSError as error:
                raise unreadable_error(path, error) from error

    def _note_line(self, values: dict[str, Any]) -> None:
        name = values.get("name")
        if isinstance(name, str):
            stamp, under = values.get("stamp", ""), values.get("under", "")
            self._index.update(name, values.get("status", ""), _detail(stamp, under))
            note = self._warned.add if values.get("warning") else self._warned.discard
            note(hash(name))
            if output := values.get("output"):
                self._owners.update(output, DONE, hash(name))
            if "members" in values:
                self._lacking.pop(name, None)
            if lacking := values.get("failed"):
                self._lacking[name] = lacking
        elif "claim" in values:
            for name in values["claim"]:
                self._index.claim(name)

    def status_of(self, name: str, stamp_now: str, under: Sequence[str] = ()) -> str:
        """What became of ``name`` as the file now is: ``done``, ``failed``, ``quarantined``,
        or nothing yet. ``under``: the options that failures may depend on, as they now are,
        in order."""
        state = self._index.get(name)
        if not (state and stamp_now):
            return ""
        is_same = state >> DETAIL == _detail(stamp_now)
        if not is_same:
            some = chain.from_iterable(combinations(under, n + 1) for n in range(len(under)))
            is_same = any(state >> DETAIL == _detail(stamp_now, UNDER.join(one)) for one in some)
        return status_of(state) if is_same else ""

    def last_status_of(self, name: str) -> str:
        """What became of ``name`` last, whatever the file is now."""
        return status_of(self._index.get(name))

    def count_statuses(self) -> dict[str, int]:
        """How many inputs the journals knew of when they were read, by their last status."""
        return self._index.count_statuses()

    def was_warned(self, name: str) -> bool:
        """Whether something was wrong with the input ``name`` when it was converted last."""
        return hash(name) in self._warned

    def failed_within(self, name: str) -> int:
        """How many members of the tar ``name`` failed when it was made last."""
        return self._lacking.get(name, 0)

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
        return bool(self._index.get(name) & OURS)


def _detail(stamp: str, under: str = "") -> int:
    """What the index keeps of a record."""
    return hash(f"{stamp} {under}" if under else stamp) & DETAILS


def unreadable_error(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{escape(path)}: cannot be read ({error.strerror}); check its permissions, "
        "or give another directory as OUT"
    )


def require_schema(out: Path, header: dict[str, Any]) -> None:
    """Raises :class:`InputError` where the journal that begins so is of another version."""
    if header.get("schema") != SCHEMA:
        raise InputError(
            f"{escape(out)}: its journal was written by another version of pix2pix-batch; "
            "finish it with that one, or pass --overwrite to convert everything again"
        )


def require_maker(out: Path, kind: str | None) -> None:
    """Raises :class:`InputError` where ``out`` holds what another command than that of ``kind``
    (``synthesize``, or ``None``: ``convert``) makes. What cannot be read is passed over."""
    for shard in (None, *shards_of(out)):
        with suppress(OSError):
            header = read_header(journal_of(out, shard))
            if header is None or header.get("kind") == kind:
                continue
            if header.get("kind") == SYNTHESIZE:
                raise InputError(
                    f"{escape(out)}: holds a dataset of 'pix2pix-batch synthesize', finished or "
                    "not; choose another OUT, or go on with it by the command that began it"
                )
            raise InputError(
                f"{escape(out)}: holds images of 'pix2pix-batch convert'; choose another OUT for "
                "the dataset"
            )


def require_same(out: Path, header: dict[str, Any], job: dict[str, Any]) -> None:
    """Raises :class:`InputError` where the journal that begins so is not of ``job``."""
    require_schema(out, header)
    for key, value in job.items():
        if key not in ABOUT and header.get(key) != value:
            raise InputError(
                f"{escape(out)}: holds another job's images ({_difference(key, header, job)}); "
                "choose another OUT, or pass --overwrite to convert everything again"
            )


def _difference(key: str, header: dict[str, Any], job: dict[str, Any]) -> str:
    before, now = header.get(key), job[key]
    names = header.get("model_name"), job.get("model_name")
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
