"""Files that running chunks leave on disk, to find the image that killed a worker.

Dask reports every chunk that was assigned to a dead worker, also those that only waited there. A
chunk that has begun has a marker, a small file that is removed when the chunk ends. A chunk that
runs carefully writes into it the image that is being processed, and the records of the images
before it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pix2pix_batch.journal.record import Record, parse_line, to_line

DIRECTORY = "running"
"""Within the journal's directory: the markers of the chunks that are running."""

FATAL = b"Fatal Python error: "
"""What ``faulthandler`` writes before the signal's name."""


@contextlib.contextmanager
def marker_directory(journal: Path) -> Iterator[str]:
    """Make a directory for the markers of this run of ``journal``, and remove those of killed
    runs.

    Its name is new every time, so that a worker that sees it sees this run's OUT and no copy of it.
    The path is empty if no directory can be made, as on a full disk.
    """
    all_runs = journal.absolute().parent / DIRECTORY / journal.stem  # workers stand elsewhere
    shutil.rmtree(all_runs, ignore_errors=True)
    this_run = all_runs / uuid.uuid4().hex
    try:
        this_run.mkdir(parents=True)
    except OSError:
        yield ""
        return
    try:
        yield str(this_run)
    finally:
        shutil.rmtree(all_runs, ignore_errors=True)
        with contextlib.suppress(OSError):
            all_runs.parent.rmdir()


@dataclass
class Trace:
    """The content of a chunk's marker after its worker died.

    ``records``: of the images that were finished; ``index``: the position in the chunk of the image
    that was being processed, and ``stamp``: its stamp; ``member``: the name of that image if it is
    a member of a tar; ``hung``: the step that took too long; ``signal``: the name of the signal
    that ended the worker, if it could be caught.
    """

    records: list[Record] = field(default_factory=list)
    index: int | None = None
    stamp: str = ""
    member: str = ""
    hung: str = ""
    signal: str = ""


def read_trace(path: str) -> Trace | None:
    """Read a marker; ``None`` if there is none, because the chunk had not begun."""
    try:
        lines = Path(path).read_bytes().splitlines(keepends=True)
    except OSError:
        return None
    trace = Trace()
    for line in lines:
        values = parse_line(line)
        if values is None:
            if line.startswith(FATAL):
                trace.signal = line.removeprefix(FATAL).decode("ascii", "replace").strip()
        elif "begin" in values:
            trace.index, trace.stamp = values["begin"], values["stamp"]
        elif "member" in values:
            trace.member = values["member"]
        elif "hung" in values:
            trace.hung = values["hung"]
        elif "record" in values:
            trace.records.append(Record(**values["record"]))
            trace.index = None
    return trace


def remove_marker(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


class Marker:
    """A running chunk's marker; use it as a context manager."""

    def __init__(self, path: str) -> None:
        """Raises ``FileExistsError`` where the chunk has been begun before: its worker died, and
        Dask has given it to this one. Without a ``path``, or where it cannot be made, nothing is
        marked.
        """
        self.path = path
        self._file: BinaryIO | None = None
        if path:
            with contextlib.suppress(_NoMarker):
                self._file = _create(path)

    def __enter__(self) -> Marker:
        return self

    def __exit__(self, *error: object) -> None:
        """The chunk has ended, well or not: its worker lives."""
        if self._file is not None:
            self._file.close()
            remove_marker(self.path)

    @contextlib.contextmanager
    def naming_signals(self) -> Iterator[None]:
        """Have a deadly signal leave its name in the marker."""
        if self._file is None:
            yield
            return
        was_enabled = faulthandler.is_enabled()
        # Its file must be open before: nothing can be opened any more while a signal is handled.
        faulthandler.enable(self._file.fileno(), all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
            if was_enabled:
                # sys.stderr itself may have been replaced by an object without a descriptor, or be
                # None.
                faulthandler.enable(sys.__stderr__ or 2)

    def begin(self, index: int, stamp: str) -> None:
        """Note that the image ``index`` of the chunk is being processed."""
        self._add({"begin": index, "stamp": stamp})

    @contextlib.contextmanager
    def member(self, name: str) -> Iterator[None]:
        """Note that this image of the current tar is being processed."""
        self._add({"member": name})
        yield
        self._add({"member": ""})

    def hung(self, doing: str) -> None:
        """Note that the current image takes too long, for which the worker will end."""
        self._add({"hung": doing})

    def finish(self, record: Record) -> None:
        """Note the result of the current image."""
        self._add({"record": vars(record)})

    def _add(self, values: dict[str, object]) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk is told by the outputs
                self._file.write(to_line(values))


class Trial:
    """What autotuning has tried so far. When an image kills the worker, Dask submits the task to
    another one, which then leaves that image out."""

    def __init__(self, path: str) -> None:
        """Without a ``path`` nothing is kept."""
        self.path = path
        self.harmful: set[str] = set()
        """The names of the images that were begun and never ended."""
        with contextlib.suppress(OSError):
            for line in Path(path).read_bytes().splitlines(keepends=True) if path else ():
                values = parse_line(line) or {}
                self.harmful.add(values.get("begin", ""))
                self.harmful.discard(values.get("end", ""))

    def begin(self, name: str) -> None:
        self._add({"begin": name})

    def end(self, name: str) -> None:
        self._add({"end": name})

    def _add(self, values: dict[str, object]) -> None:
        if self.path:
            with contextlib.suppress(OSError), open(self.path, "ab", buffering=0) as file:
                file.write(to_line(values))


class _NoMarker(OSError):
    """Raised where no marker can be made, as on a full disk."""


def _create(path: str) -> BinaryIO:
    try:
        # Unbuffered: what was noted must be with the system when the process dies. It need not be
        # on the disk (no fsync): a machine that goes down ends the job, and with it all markers.
        return open(path, "xb", buffering=0)
    except FileExistsError:
        raise
    except OSError as error:
        raise _NoMarker from error
