"""The journal: a job's durable record in OUT, one JSON line an input. ``docs/journal.md``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.journal import files_beside
from pix2pix_batch.journal.events import REPLACES, Begun, Claimed, Counted, Ended, Header, Returned
from pix2pix_batch.journal.history import CHOSEN_KEYS, History, require_same
from pix2pix_batch.journal.reader import FirstLine, is_locked, read_header, replaces
from pix2pix_batch.journal.record import Record, to_line
from pix2pix_batch.journal.shard import Shard, journal_of, lock_of, shards_of
from pix2pix_batch.storage import placement
from pix2pix_batch.storage.common import FULL
from pix2pix_batch.text import escape

LOCK_SECONDS = 0.5
"""Seconds to wait for a lock, because ``status`` holds it for a moment to see whether it is
free."""

SHARD_LOCK_SECONDS = 15.0
"""Seconds that a shard waits while other shards begin; it does not wait for a run of the whole job,
which takes longer."""

PIECE = 1 << 20
"""Bytes copied at a time."""


class Journal(History):
    """A journal to write: open it, ask what is done, add records, close it.

    One process at a time; or one a shard, each with a journal of its own, which the next run
    without a shard merges. Records that are added are not put into the index, because no run finds
    an input twice. A journal that is to replace others (``overwrite``) is a draft until the run is
    settled or begun, so that a run that is refused before leaves the old journals.
    """

    _is_closed = False
    _is_unsynced = False

    def _read(self) -> None:
        self._held = ExitStack()
        try:
            super()._read()
        except OSError as error:
            self._held.close()
            raise _open_error(self.path, error) from error
        except BaseException:
            self._held.close()
            raise

    @property
    def temporary(self) -> Path:
        """Where outputs are written before they move into place."""
        return self.directory / "tmp"

    @property
    def is_draft(self) -> bool:
        """Whether what it is to replace still counts."""
        return self._write_path != self.path

    def _find_journals(self) -> None:
        """Take the locks, then begin the journal where there is none yet.

        A run without a shard keeps the lock of the whole OUT; a shard keeps its own, and the
        whole OUT's only while it begins.
        """
        try:
            self.temporary.mkdir(parents=True, exist_ok=True)
            with ExitStack() as beginning:
                whole = self._held if self.shard is None else beginning
                whole.enter_context(
                    self._lock(None, LOCK_SECONDS if self.shard is None else SHARD_LOCK_SECONDS)
                )
                if self.shard is not None:
                    self._held.enter_context(self._lock(self.shard, LOCK_SECONDS))
                # Under the lock: a shard that starts at the same time cannot slip in between.
                alone = self._require_apart()
                super()._find_journals()
                # Other shards may be writing in tmp/ at this moment.
                if alone:
                    self._tidy()
                read = self._paths if self.shard is None else {self.path}.intersection(self._paths)
                self._is_new = not read
                replaced = self._list_replaced() if self.starts_over else []
                self._write_path = self.temporary / self.path.name if replaced else self.path
                headers = [header for path in replaced if (header := read_header(path))]
                self._overwriting_before = max((one.overwriting for one in headers), default=0)
                self._number()
                if self.path not in self._paths:
                    self._renew(iter(()))
        except OSError as error:
            raise _open_error(self.out, error) from error

    @contextmanager
    def _lock(self, shard: Shard | None, patience: float) -> Iterator[None]:
        """``patience``: seconds, where it may be shards that hold it; else a moment."""
        lock = FileLock(lock_of(self.out, shard))
        try:
            try:
                lock.acquire(timeout=LOCK_SECONDS)
            except Timeout:
                if not self._running_shards():
                    raise
                lock.acquire(timeout=patience)
        except Timeout as error:
            raise self._in_use_error(shard) from error
        try:
            yield
        finally:
            lock.release()

    def _running_shards(self) -> list[Shard]:
        """The other shards that are running."""
        shards = shards_of(self.out, "lock")
        others = (shard for shard in shards if shard != self.shard)
        return [shard for shard in others if is_locked(lock_of(self.out, shard))]

    def _require_apart(self) -> bool:
        """Whether no shard is running besides; refused where that one may not."""
        others = self._running_shards()
        for other in others:
            if self.shard is None or other.count != self.shard.count:
                raise self._in_use_error(other)
        return not others

    def _in_use_error(self, shard: Shard | None) -> InputError:
        who = f"shard {shard} is running" if shard else "another run is writing"
        return InputError(f"{escape(self.out)}: {who} there; wait for it, or choose another OUT")

    def _list_replaced(self) -> list[Path]:
        """The journals that a new beginning replaces, its own among them."""
        there = (None, *shards_of(self.out))
        gone = [one for one in there if one == self.shard or replaces(self.shard, one)]
        return [path for one in gone if (path := journal_of(self.out, one)).exists()]

    def _read_first_lines(self) -> list[FirstLine]:
        """After what is left where a crash cut off a journal that took the place of others."""
        lines = super()._read_first_lines()
        for line in lines:
            if isinstance(line.problem, OutputError):
                raise line.problem
        replacing = [line for line in lines if line.header is not None and line.header.replaces]
        for new in replacing:
            for old in (None, *shards_of(self.out)):
                if replaces(new.shard, old):
                    journal_of(self.out, old).unlink(missing_ok=True)
            assert new.header is not None
            header = {key: new.header.values[key] for key in new.header.values if key != REPLACES}
            _rewrite(new.path, header, read_pieces(new.path, os.path.getsize(new.path)))
        return super()._read_first_lines() if replacing else lines

    def _number(self) -> None:
        """Which overwriting this is of: that of the job's other shards, if one has begun anew since
        this one did; else the next."""
        if self.starts_over:
            before = self._overwriting_before
            theirs = max((header.overwriting for header in self._others_begun()), default=0)
            self.job["overwrite"] = theirs if theirs > before else before + 1

    def _others_begun(self) -> list[Header]:
        """The first lines of the journals of this job's other shards."""
        if self.shard is None:
            return []
        shards = [one for one in shards_of(self.out) if one.count == self.shard.count]
        paths = [journal_of(self.out, one) for one in shards if one != self.shard]
        return [header for path in paths if (header := read_header(path)) is not None]

    def replace(self) -> None:
        """Put the journal in the place of those that it replaces. Raises
        :class:`OutputError`."""
        with self._publication_lock():
            self._replace()

    def _replace(self) -> None:
        if not self.is_draft:
            return
        try:
            replaced = self._list_replaced()
            if self.shard is None:
                files_beside.path_of(self.out).unlink(missing_ok=True)  # it was read before
            else:
                files_beside.keep(self.out, (path for path in replaced if path != self.path))
            # First this, then the removal of the old ones: a crash in between leaves journals that
            # its first line has put out of force.
            os.replace(self._write_path, self.path)  # it says that the others do not count any more
            self._write_path, self._is_new = self.path, False
            for path in replaced:
                if path != self.path:
                    path.unlink(missing_ok=True)
            self._make_anew()
        except OSError as error:
            raise OutputError(_write_problem(self.path, error)) from error

    @contextmanager
    def _publication_lock(self) -> Iterator[None]:
        """A lock that is held while the part of this journal changes that other shards read."""
        with ExitStack() as beginning:
            if self.shard is not None:
                beginning.enter_context(self._lock(None, SHARD_LOCK_SECONDS))
            yield

    def _load(self) -> None:
        super()._load()
        others = [path for path in self._paths if path != self.path]
        if self.shard is None and others:
            # Whole before the shards' journals go: after a crash in between, their records are read
            # twice, which changes nothing.
            self._renew(chain_pieces(self._ends))
            for path in others:
                path.unlink()
            for shard in shards_of(self.out, "lock"):
                lock_of(self.out, shard).unlink()
        elif (end := self._ends.get(self.path)) and os.path.getsize(self.path) > end:
            os.truncate(self.path, end)  # a last line that a crash tore
        self._file = self._write_path.open("ab")

    def settle(self, **decisions: Any) -> dict[str, Any]:
        """Write what was decided at the job's start (such as the precision) into its first line.

        Returns what counts: where another shard was first, its decisions. Only before the first
        claim: the file is made anew. Raises :class:`OutputError`.
        """
        with self._publication_lock():
            try:
                self._number()
                # Under the lock, or two shards that start together would each decide, perhaps
                # differently.
                theirs = self._decided_by_others()
                self.job |= decisions | theirs
                self._make_anew()
            except OSError as error:
                raise OutputError(_write_problem(self.path, error)) from error
            if not theirs:  # else it may still be refused: it was asked for otherwise
                self._replace()
        return decisions | theirs

    def _decided_by_others(self) -> dict[str, Any]:
        """By this job's other shards, of the same overwriting where this one begins anew."""
        for header in self._others_begun():
            if self.starts_over and header.overwriting != self.job["overwrite"]:
                continue
            if header.values.keys() >= set(CHOSEN_KEYS):
                with suppress(InputError):
                    require_same(self.out, header, self._asked)
                    return {key: header.values[key] for key in CHOSEN_KEYS}
        return {}

    def _make_anew(self) -> None:
        """With the job's line as it is now, and open it again."""
        self._renew(read_pieces(self._write_path, os.path.getsize(self._write_path)))
        self._file.close()
        self._file = self._write_path.open("ab")

    def _renew(self, rest: Iterator[bytes]) -> None:
        """Make the file anew, whole or not at all: the job's line, then ``rest``."""
        header = {**self.job, REPLACES: True} if self.is_draft else self.job
        _rewrite(self._write_path, header, rest)

    def begin(self, workers: int | None = None, shard: str = "") -> None:
        """The run sends its first chunk. Raises :class:`OutputError`."""
        self.replace()
        self.add_event(Begun(round(time.time(), 3), workers, shard))

    def claim(self, *chunks: list[str]) -> None:
        """Record that outputs of these names are about to be written, so that they count as the
        job's own: one line for each chunk, all on disk when it returns."""
        self._write(b"".join(Claimed(names).line() for names in chunks))

    def add(self, records: Sequence[Record], seconds: float = 0.0, worker: str = "") -> None:
        """Record the results of a chunk, for which ``worker`` took ``seconds``; without a worker if
        the inputs were never sent to one. They are on disk after the next :meth:`sync`. Raises
        :class:`OutputError`."""
        returned = Returned(round(time.time(), 3), round(seconds, 3), worker)
        lines = b"".join(record.line() for record in records) + returned.line()
        self._write(lines, durably=False)

    def add_event(self, event: Begun | Counted | Ended) -> None:
        """Write a line about the run itself."""
        self._write(event.line())

    def sync(self) -> None:
        """Flush what was added to the disk. This may take as long as an image, so chunks that came
        back together are flushed together. Raises :class:`OutputError`."""
        if self._is_unsynced:
            self._write(b"")

    def _write(self, data: bytes, durably: bool = True) -> None:
        try:
            self._file.write(data)
            # To the system at once, so that status and a crash of the program alone find all of it.
            self._file.flush()
            if durably:
                os.fsync(self._file.fileno())
            self._is_unsynced = not durably
        except OSError as error:
            raise OutputError(_write_problem(self.path, error)) from error

    def _tidy(self) -> None:
        """Remove what killed workers left half-written."""
        for leftover in self.temporary.iterdir():
            if leftover.name.endswith(placement.NOTE):
                placement.remove(self.out, leftover)
            leftover.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Close the journal of a run that was refused before it began. What was there stays; if
        nothing was there, nothing is left."""
        self._is_closed = True
        self._file.close()
        if self._is_new:
            self._write_path.unlink(missing_ok=True)
        with suppress(InputError, OSError), self._publication_lock():
            if not any(self.directory.glob("journal*")):  # of other shards, or of the whole
                self._tidy()
                self.temporary.rmdir()
                for shard in {None, self.shard}:
                    lock_of(self.out, shard).unlink()
                self.directory.rmdir()
        self._held.close()

    def close(self) -> None:
        if self._is_closed:  # another run may have the locks now
            return
        self._is_closed = True
        with suppress(OSError):  # a full disk: what did not fit was reported when it was written
            self._file.close()
        with suppress(OSError):
            if self.is_draft:  # the run ended before it began
                self._write_path.unlink()
            if self.shard is None:
                self._tidy()
        self._held.close()


def _rewrite(path: Path, header: dict[str, Any], rest: Iterator[bytes]) -> None:
    """Make a journal of these parts, whole or not at all. Raises ``OSError``.

    Not by :func:`~pix2pix_batch.storage.whole.whole`, whose temporary files have names that nobody
    knows: nothing would remove what a run that is killed here leaves, which may be gigabytes.
    """
    rewritten = path.with_suffix(".new")
    try:
        with rewritten.open("wb") as file:
            file.write(to_line(header))
            file.writelines(rest)
            file.flush()
            # Before it gets its name: after a power cut the name could else lead to an empty
            # journal.
            os.fsync(file.fileno())
        os.replace(rewritten, path)
    finally:
        rewritten.unlink(missing_ok=True)


def read_pieces(path: Path, end: int) -> Iterator[bytes]:
    """A journal after its first line, up to ``end``."""
    with path.open("rb") as file:
        left = end - len(file.readline())
        while left > 0 and (piece := file.read(min(PIECE, left))):
            left -= len(piece)
            yield piece


def chain_pieces(ends: dict[Path, int]) -> Iterator[bytes]:
    for path, end in ends.items():
        yield from read_pieces(path, end)


def _write_problem(path: Path, error: OSError) -> str:
    remedy = "make room there; " if error.errno in FULL else ""
    return (
        f"{escape(path)}: cannot be written ({error.strerror}); {remedy}what is converted stays, "
        "and the same command goes on from there"
    )


def _open_error(path: Path, error: OSError) -> OutputError:
    """The journal cannot be opened or begun."""
    if error.errno in FULL:
        return OutputError(_write_problem(path, error))
    return OutputError(
        f"{escape(path)}: cannot be written ({error.strerror}); check its permissions, or give "
        "another directory as OUT"
    )
