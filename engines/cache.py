"""The engine cache: engines built once, found again, never trusted blindly.

An engine is code that the GPU's driver loads: the directory is the user's alone, and one that
others can write to is refused. Each engine ``<id>.engine`` has a JSON sidecar beside it with its
key, its size, its SHA-256 and the figures of its parity check, and what TensorRT-RTX has compiled
of it for this GPU.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import filelock

from pix2pix_batch import environment
from pix2pix_batch.engines.key import SCHEMA, Key, list_differences
from pix2pix_batch.errors import InputError, OutputError
from pix2pix_batch.storage.common import FULL
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import escape

VARIABLE = environment.CACHE
"""The environment variable that names another place for the cache."""

ENGINE, SIDECAR, LOCK, TIMINGS, RUNTIME = ".engine", ".json", ".lock", ".timings", ".runtime"
PART = ".part."
"""Begins the names of files that are being written."""

ELSEWHERE = f"set {VARIABLE} to a directory of your own"


@dataclass(frozen=True)
class Entry:
    """An engine on disk. ``facts``: its sidecar, with all the fields that are written here."""

    path: Path
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        return self.path.stem

    @property
    def key(self) -> Key:
        return Key(**self.facts["key"])

    @property
    def refusal(self) -> str:
        """Why it must not be used; empty where nothing is known against it."""
        return str(self.facts.get("refused", ""))

    def read(self) -> bytes:
        """The engine, which is the one that the sidecar describes. Raises :class:`InputError`."""
        try:
            plan = self.path.read_bytes()
        except OSError as error:
            raise InputError(f"{escape(self.path)}: cannot be read ({error.strerror})") from error
        if hashlib.sha256(plan).hexdigest() != self.facts["sha256"]:
            raise InputError(f"{escape(self.path)}: is damaged")
        return plan


@dataclass(frozen=True)
class RuntimeFile:
    """What a library compiled of an engine when it was loaded: code as the engine is, and like it
    only read if it is whole. Its file begins with the SHA-256 of the rest."""

    cache: Cache
    path: Path

    def read(self) -> bytes:
        """Empty where there is none, or a damaged one."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return b""
        digest, data = content[:32], content[32:]
        return data if hashlib.sha256(data).digest() == digest else b""

    def write(self, data: bytes) -> None:
        """Replace the file. If that is not possible nothing happens, since it can be made again."""
        with contextlib.suppress(InputError, OutputError):
            self.cache._write(self.path, hashlib.sha256(data).digest() + data)


Build = Callable[[], tuple[bytes, dict[str, Any]]]
"""Makes an engine, and facts for its sidecar."""


class ObtainedEngine(NamedTuple):
    """An engine of the cache.

    Attributes:
        entry: The engine.
        built: Whether it was built just now.
        notice: Why an earlier engine was not used, in a sentence; empty if there was none.
    """

    entry: Entry
    built: bool
    notice: str


class Cache:
    """A directory of engines: ``engines`` in ``folder`` or in :func:`default_folder`."""

    def __init__(self, folder: Path | None = None) -> None:
        """Makes the directory. Raises :class:`InputError` where it is not private."""
        place = (folder or default_folder()) / "engines"
        try:
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder = place.resolve()  # a link that is turned later leads nowhere else
            status = self.folder.stat()
        except FileExistsError as error:
            raise InputError(f"{escape(place)}: is no directory; {ELSEWHERE}") from error
        except OSError as error:
            raise _write_error(place, error) from error
        if status.st_uid != os.geteuid():
            raise InputError(
                f"{escape(place)}: belongs to another user, and an engine is code; {ELSEWHERE}"
            )
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise InputError(
                f"{escape(place)}: others can write to it, and an engine is code; remove what is "
                f"in it and 'chmod 700' it, or {ELSEWHERE}"
            )

    def path(self, key: Key) -> Path:
        return self.folder / f"{key.digest}{ENGINE}"

    def find(self, key: Key) -> tuple[Entry | None, str]:
        """The engine of ``key``, whole, or why there is none (empty: it was never built)."""
        path = self.path(key)
        if not path.exists():
            return None, ""
        try:
            entry = self.entry(path)
            entry.read()
        except InputError as error:
            return None, str(error)
        if entry.key != key:
            return None, f"{escape(path)}: belongs to another engine"
        return entry, ""

    def entries(self) -> Iterator[Entry | InputError]:
        """Every engine, oldest first, or what is wrong with it; does not read them whole."""
        for path in sorted(self.folder.glob(f"*{ENGINE}"), key=_modification_time):
            try:
                yield self.entry(path)
            except InputError as error:
                yield error

    def entry(self, path: Path) -> Entry:
        """Read an engine's sidecar. Raises :class:`InputError` if there is none, or it is for a
        file of another size."""
        try:
            facts = json.loads(path.with_suffix(SIDECAR).read_text(encoding="utf-8"))
            entry = Entry(path, facts)
            known = facts["key"]["schema"] == SCHEMA and len(facts["sha256"]) == 64
            if known and entry.key.digest == path.stem and facts["bytes"] == path.stat().st_size:
                return entry
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{escape(path)}: its sidecar is missing or damaged") from error
        raise InputError(f"{escape(path)}: is damaged, or from another version of pix2pix-batch")

    def find_by_id(self, start: str) -> Entry:
        """The one engine whose id begins with ``start``. Raises :class:`InputError`."""
        named = [path for path in self.folder.glob(f"*{ENGINE}") if path.stem.startswith(start)]
        if len(start) < 4 or not named:
            raise InputError(
                f"{start!r}: no engine here has that id; 'pix2pix-batch engine list' shows them"
            )
        if len(named) > 1:
            raise InputError(f"{start!r}: {len(named)} engines begin so; give more of the id")
        return self.entry(named[0])

    def find_alternative(self, key: Key) -> Entry | None:
        """The newest engine for the same purpose that was built with or on something else."""
        newest = None
        for entry in self.entries():
            if isinstance(entry, Entry) and entry.key.purpose == key.purpose and entry.key != key:
                # The entries come oldest first.
                newest = entry
        return newest

    def obtain(
        self, key: Key, build: Build, *, fits: Callable[[Entry], bool] = lambda _: True
    ) -> ObtainedEngine:
        """Return the engine of ``key``, built if need be.

        If several processes ask for the same engine, one builds it and the others wait. A builder
        that dies leaves no lock behind.

        Args:
            key: Which engine is wanted.
            build: Makes the engine's bytes, and facts for its sidecar.
            fits: Says whether an engine that is there may be used; one that may not is replaced.

        Returns:
            The entry, whether it was built just now, and a notice of why an earlier engine was not
            used.

        Raises:
            OutputError: The engine cannot be stored.
        """
        with self.lock(key.digest):
            entry, notice = self.find(key)
            if entry is not None and fits(entry):
                return ObtainedEngine(entry, False, "")
            if notice:
                notice += "; built again"
            elif entry is None and (old := self.find_alternative(key)) is not None:
                notice = f"built again: {list_differences(old.key, key)}"
            plan, known = build()
            path = self.path(key)
            facts = {
                **known,
                "key": key.as_dict(),
                "bytes": len(plan),
                "sha256": hashlib.sha256(plan).hexdigest(),
                "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "parity": None,
                "refused": "",
            }
            # The old one first and the new one last: a crash in between leaves an engine without a
            # sidecar, which is never loaded, and not one with another's.
            path.with_suffix(SIDECAR).unlink(missing_ok=True)
            self._write(path, plan)
            self._write_facts(path, facts)
            return ObtainedEngine(Entry(path, facts), True, notice)

    def update_facts(self, entry: Entry, **facts: Any) -> Entry:
        """Write ``facts`` into an engine's sidecar. Raises :class:`OutputError`."""
        facts = {**entry.facts, **facts}
        with self.lock(entry.id):
            self._write_facts(entry.path, facts)
        return Entry(entry.path, facts)

    def touch(self, entry: Entry) -> None:
        """Remember that an engine was used just now, for :meth:`prune`."""
        try:
            os.utime(entry.path)
        except OSError:
            return

    def runtime_file(self, entry: Entry) -> RuntimeFile:
        """The file for what a library compiles of an engine as it loads it: it lies beside the
        engine and is removed with it."""
        return RuntimeFile(self, entry.path.with_suffix(RUNTIME))

    def read_timings(self, name: str) -> bytes:
        """TensorRT's timing cache ``name``; empty where there is none."""
        try:
            return (self.folder / f"{name}{TIMINGS}").read_bytes()
        except OSError:
            return b""

    def write_timings(self, name: str, data: bytes) -> None:
        if data:
            with self.lock(name):
                self._write(self.folder / f"{name}{TIMINGS}", data)

    def prune(
        self, unwanted: Callable[[Entry], bool] = lambda _: False, *, timings: bool = False
    ) -> tuple[int, int]:
        """Remove damaged and ``unwanted`` engines and what killed builders have left.

        ``timings``: these too. Returns the number of engines and the bytes of all that went. What
        is being built stays.
        """
        engines = freed = 0
        for path in self.folder.glob(f"*{TIMINGS}") if timings else ():
            freed += path.stat().st_size
            path.unlink()
        for path in sorted(self.folder.glob(f"*{ENGINE}")):
            try:
                entry = self.entry(path)
                entry.read()
                gone = unwanted(entry)
            except InputError:
                gone = True
            if gone and (size := self._remove(path.stem)):
                engines, freed = engines + 1, freed + size
        stems = {path.name.removeprefix(PART).partition(".")[0] for path in self._others()}
        return engines, freed + sum(self._remove(stem, leftovers=True) for stem in sorted(stems))

    def _others(self) -> Iterator[Path]:
        """Files that belong to no engine."""
        for path in self.folder.iterdir():
            beside = path.suffix in (SIDECAR, LOCK, RUNTIME)
            orphan = beside and not path.with_suffix(ENGINE).exists()
            if orphan or path.name.startswith(PART):
                yield path

    def _remove(self, stem: str, *, leftovers: bool = False) -> int:
        """Remove the files of one engine; returns their bytes, 0 where it is in use."""
        whole = leftovers and (self.folder / f"{stem}{ENGINE}").exists()
        # An engine is there for what looked like leftovers: another process has just built it.
        kinds = [LOCK] if whole else [ENGINE, SIDECAR, RUNTIME, LOCK]
        freed = 0
        try:
            with self.lock(stem, wait=False):
                paths = [self.folder / f"{stem}{kind}" for kind in kinds]
                for path in [*self.folder.glob(f"{PART}{stem}.*"), *paths]:
                    if path.exists():
                        freed += path.stat().st_size
                        path.unlink()
        except filelock.Timeout:
            return 0
        return freed

    @contextlib.contextmanager
    def lock(self, stem: str, *, wait: bool = True) -> Iterator[None]:
        """The operating system's lock, which goes when its holder dies.

        Raises ``filelock.Timeout`` where it is held and ``wait`` is false.
        """
        path = self.folder / f"{stem}{LOCK}"
        lock = filelock.FileLock(path, timeout=-1 if wait else 0, mode=0o600)
        try:
            lock.acquire()
        except NotImplementedError as error:
            raise InputError(f"{escape(path)}: its disk has no locks; {ELSEWHERE}") from error
        except filelock.Timeout:
            raise
        except OSError as error:
            raise _write_error(path, error) from error
        try:
            yield
        finally:
            lock.release()

    def _write_facts(self, path: Path, facts: dict[str, Any]) -> None:
        text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
        self._write(path.with_suffix(SIDECAR), text.encode())

    def _write(self, path: Path, data: bytes) -> None:
        """Whole or not at all. Raises :class:`OutputError`, :class:`InputError`."""
        try:
            with whole(path, prefix=f"{PART}{path.stem}.") as file:
                # Before anything is in it, whatever the user's umask: an engine is code.
                os.fchmod(file.fileno(), 0o600)
                file.write(data)
        except OSError as error:
            raise _write_error(path, error) from error


def default_folder() -> Path:
    """The directory of ``$PIX2PIX_BATCH_CACHE``, else ``pix2pix-batch`` in the user's cache
    directory (XDG). Raises :class:`InputError`."""
    if chosen := environment.read_cache():
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "pix2pix-batch"


def _modification_time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # pruned just now
        return 0.0


def _write_error(path: Path, error: OSError) -> InputError | OutputError:
    """A full disk is no wrong use; a place that cannot be written is."""
    if error.errno in FULL or error.errno == errno.EIO:
        return OutputError(
            f"{escape(path)}: cannot be written ({error.strerror}); make room there "
            f"('pix2pix-batch engine prune' helps), or {ELSEWHERE}"
        )
    return InputError(f"{escape(path)}: cannot be written ({error.strerror}); {ELSEWHERE}")
