"""The journal: a job's durable record in OUT, one JSON line an input. ``docs/journal.md``."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.text import shown

DIRECTORY = ".pix2pix-batch"
"""Within OUT: the journal, its lock, and files not yet in place."""

SCHEMA = 1

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What passes when somebody makes room: the same command then goes on."""


@dataclass(frozen=True)
class Record:
    """What became of one input. ``stamp``: its size and modification time when it was read;
    ``hash``: BLAKE2b of the output's bytes, 128 bits, hex; ``distance``: how far from the model's
    training inputs it lies, where the bundle can tell.
    """

    name: str
    status: str
    stamp: str = ""
    output: str = ""
    reason: str = ""
    hash: str = ""
    distance: float | None = None


def stamp(status: os.stat_result) -> str:
    """Size and modification time: changes when the file does, without opening it."""
    return f"{status.st_size}:{status.st_mtime_ns}"


def _digest(text: str) -> int:
    raw = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little")


class History:
    """What a journal says. Reading it writes nothing, and takes no lock.

    The first line is the job: what decides the output's bytes. The index in memory holds two
    64-bit numbers an input.
    """

    def __init__(self, out: Path, job: dict[str, Any], *, overwrite: bool = False) -> None:
        """Read the journal of ``out``, if there is one, as far as it is written.

        ``job``: plain JSON values. A journal of another job is refused unless ``overwrite``,
        with which all begins anew. Raises :class:`InputError`, :class:`OutputError`.
        """
        self.directory = out / DIRECTORY
        self.path = self.directory / "journal.jsonl"
        self.job = {"schema": SCHEMA, **job, "overwrite": overwrite}
        self._index: dict[int, int] = {}
        self._end = 0  # of the last whole line
        self.resumed = not overwrite and self._read(out, job)

    @property
    def overwrites(self) -> bool:
        """Whether this job was begun with leave to replace files that it did not make."""
        return bool(self.job.get("overwrite"))

    def _read(self, out: Path, job: dict[str, Any]) -> bool:
        """Read an existing journal into the index; false where there is none."""
        try:
            with self.path.open("rb") as file:
                header = _parse(file.readline())
                if header is None:
                    return False
                self._require_same(out, header, job)
                self.job = header
                self._end = file.tell()
                for line in file:
                    if line.endswith(b"\n"):
                        self._end += len(line)
                        self._note(_parse(line) or {})
        except FileNotFoundError:
            return False
        except OSError as error:
            raise OutputError(
                f"{shown(self.path)}: cannot be read ({error.strerror}); check its permissions, "
                "or give another directory as OUT"
            ) from error
        return True

    def _require_same(self, out: Path, header: dict[str, Any], job: dict[str, Any]) -> None:
        if header.get("schema") != SCHEMA:
            raise InputError(
                f"{shown(out)}: its journal was written by another version of pix2pix-batch; "
                "finish it with that one, or pass --overwrite to convert everything again"
            )
        for key, value in job.items():
            if header.get(key) != value:
                raise InputError(
                    f"{shown(out)}: holds another job's images ({key} was {header.get(key)!r}, "
                    f"now {value!r}); choose another OUT, or pass --overwrite to convert "
                    "everything again"
                )

    def _note(self, values: dict[str, Any]) -> None:
        if "claim" in values:
            for name in values["claim"]:
                self._index.setdefault(_digest(name), 0)
        elif "name" in values:
            key = _digest(values["name"])
            if values.get("status") == "done":
                self._index[key] = _digest(values.get("stamp", ""))
            elif key in self._index:
                self._index[key] = 0

    def is_done(self, name: str, stamp_now: str) -> bool:
        """Whether this job has converted ``name`` as the file now is."""
        return self._index.get(_digest(name)) == _digest(stamp_now)

    def is_ours(self, name: str) -> bool:
        """Whether this job may have written the output of ``name``."""
        return _digest(name) in self._index


class Journal(History):
    """A journal to add to: open it, ask what is done, add, close it. One process at a time."""

    def __init__(self, out: Path, job: dict[str, Any], *, overwrite: bool = False) -> None:
        """Open or begin the journal of ``out``, as :class:`History` reads it."""
        directory = out / DIRECTORY
        try:
            (directory / "tmp").mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(directory / "lock", timeout=0)
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"{shown(out)}: another run is writing there; wait for it, or choose another OUT"
            ) from error
        except OSError as error:
            raise _refused(out, error) from error
        try:
            super().__init__(out, job, overwrite=overwrite)
            for leftover in self.temporary.iterdir():
                leftover.unlink()
            if self.resumed:
                os.truncate(self.path, self._end)  # a last line that a crash tore
            else:
                self._renew(io.BytesIO())
            self._file = self.path.open("ab")
        except OSError as error:
            self._lock.release()
            raise _refused(self.path, error) from error
        except BaseException:
            self._lock.release()
            raise

    @property
    def temporary(self) -> Path:
        """Where outputs are written before they move into place."""
        return self.directory / "tmp"

    def settle(self, **decisions: Any) -> None:
        """Write what was decided at the job's start (such as the precision) into its first line.

        Only before the first claim: the file is made anew. Raises :class:`OutputError`.
        """
        self.job |= decisions
        try:
            with self.path.open("rb") as old:
                old.readline()
                self._renew(old)
            self._file.close()
            self._file = self.path.open("ab")
        except OSError as error:
            raise OutputError(_unwritable(self.path, error)) from error

    def _renew(self, rest: IO[bytes]) -> None:
        """Make the file anew, whole or not at all: the job's line, then ``rest``."""
        fresh = self.path.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(_line(self.job))
                shutil.copyfileobj(rest, file)
            os.replace(fresh, self.path)
        finally:
            fresh.unlink(missing_ok=True)

    def claim(self, names: list[str]) -> None:
        """Say that the outputs of ``names`` are about to be written, so that they are ours."""
        self._write(_line({"claim": names}))
        for name in names:
            self._index.setdefault(_digest(name), 0)

    def add(self, records: list[Record]) -> None:
        """Record a chunk, durably. Raises :class:`OutputError`."""
        lines = []
        for record in records:
            values = {key: value for key, value in vars(record).items() if value not in ("", None)}
            lines.append(_line(values))
            self._note(values)
        self._write(b"".join(lines))

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise OutputError(_unwritable(self.path, error)) from error

    def close(self) -> None:
        with suppress(OSError):  # a full disk: what did not fit was reported when it was written
            self._file.close()
        self._lock.release()


def _unwritable(path: Path, error: OSError) -> str:
    remedy = "make room there; " if error.errno in FULL else ""
    return (
        f"{shown(path)}: cannot be written ({error.strerror}); {remedy}what is converted stays, "
        "and the same command goes on from there"
    )


def _refused(path: Path, error: OSError) -> OutputError:
    """The journal cannot be opened or begun."""
    if error.errno in FULL:
        return OutputError(_unwritable(path, error))
    return OutputError(
        f"{shown(path)}: cannot be written ({error.strerror}); check its permissions, or give "
        "another directory as OUT"
    )


def _line(values: dict[str, Any]) -> bytes:
    """ASCII JSON: names that are no UTF-8 survive as escaped surrogates."""
    return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
