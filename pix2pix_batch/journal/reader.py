"""Reading the journals of an OUT. It writes nothing, and takes no lock."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pix2pix_batch.errors import InputError, OutputError, Pix2PixBatchError
from pix2pix_batch.journal.events import REPLACES, Event, Header, parse_event
from pix2pix_batch.journal.record import SCHEMA, parse_line
from pix2pix_batch.journal.shard import Shard, journal_of, shards_of
from pix2pix_batch.text import escape

SHOWN = 24
"""Bytes of a damaged line that a message shows."""


def is_locked(lock: Path) -> bool:
    """Whether some process holds the lock now. Only looks, so that a read-only OUT will do."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        # Shared: several that look at once do not take each other for a run. A run that starts at
        # this moment waits a little for the lock (LOCK_SECONDS in writer.py).
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(frozen=True)
class FirstLine:
    """The beginning of a journal. ``shard``: the shard that the journal belongs to, ``None`` for
    the whole job; ``header``: the job, if the line describes one; ``problem``: the error to raise
    if it does not (an editor or a merge may have changed it) or cannot be read."""

    path: Path
    shard: Shard | None
    header: Header | None = None
    problem: Pix2PixBatchError | None = None


def read_first_lines(out: Path) -> list[FirstLine]:
    """Of all journals of ``out``, each read once."""
    paths = {shard: journal_of(out, shard) for shard in (None, *shards_of(out))}
    return [
        line for shard, path in paths.items() if (line := _read_first_line(path, shard)) is not None
    ]


def read_header(path: Path) -> Header | None:
    """The first line of a journal; ``None`` where there is none. Raises ``OSError``."""
    try:
        with path.open("rb") as file:
            values = parse_line(file.readline())
    except FileNotFoundError:
        return None
    return None if values is None else Header(values)


def _read_first_line(path: Path, shard: Shard | None) -> FirstLine | None:
    """``None`` where there is no journal."""
    try:
        with path.open("rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    except OSError as error:
        return FirstLine(path, shard, problem=unreadable_error(path, error))
    if (values := parse_line(line)) is not None:
        return FirstLine(path, shard, Header(values))
    # A crash may have cut it off as the journal was begun: nothing was converted yet, so it is no
    # damage.
    is_torn = line.startswith(b"{") and not line.endswith(b"\n")
    if not line or is_torn:
        return FirstLine(path, shard)
    problem = InputError(
        f"{escape(path)}: is damaged: line 1 must be the job, and begins "
        f"{line[:SHOWN].rstrip()!r}, as an editor or a merge leaves it; put it back as it was "
        "(no byte order mark, no conflict markers), or pass --overwrite to convert everything "
        "again"
    )
    return FirstLine(path, shard, problem=problem)


def require_readable(lines: Sequence[FirstLine]) -> None:
    """Raises :class:`InputError` where the first line of a journal is none of a journal;
    :class:`OutputError` where one cannot be read."""
    for line in lines:
        if line.problem is not None:
            raise line.problem


def replaces(new: Shard | None, old: Shard | None) -> bool:
    """Whether the journal of ``new``, begun anew, forgets the other one ``old``: all but those of
    its own job's other shards."""
    return old != new and (new is None or old is None or old.count != new.count)


def select_valid(lines: Sequence[FirstLine]) -> list[FirstLine]:
    """The journals that count: not those that another one was replacing when its run was killed."""
    replacing = [line.shard for line in lines if line.header is not None and line.header.replaces]
    return [line for line in lines if not any(replaces(new, line.shard) for new in replacing)]


def read_lines(path: Path) -> Iterator[tuple[Event | None, int]]:
    """The events of a journal's complete lines, the job's first, each with the position at which
    its line ends. Raises ``OSError``."""
    end = 0
    with path.open("rb") as file:
        for line in file:
            # A line without its end is still being written, or was cut off by a crash.
            if line.endswith(b"\n"):
                end += len(line)
                yield parse_event(line), end


def read_events(out: Path) -> Iterator[Event]:
    """The events of all journals of ``out``, one journal after the other, each beginning with its
    :class:`Header`. The events of one input come in the order in which they happened.

    Raises :class:`InputError` where there is no journal, :class:`OutputError` where one cannot
    be read.
    """
    first_lines = read_first_lines(out)
    require_readable(first_lines)
    valid = [line for line in select_valid(first_lines) if line.header is not None]
    for line in valid:
        try:
            events = read_lines(line.path)
            next(events, None)
            assert line.header is not None
            require_schema(out, line.header)
            line.header.values.pop(REPLACES, None)
            yield line.header
            for event, _ in events:
                if event is not None:
                    yield event
        except FileNotFoundError:
            continue
        except OSError as error:
            raise unreadable_error(line.path, error) from error
    if not out.is_dir():
        raise InputError(f"{escape(out)}: no such directory; give the OUT of a job")
    if not valid:
        raise InputError(
            f"{escape(out)}: holds no journal; {_describe_training_run(out)}give a directory that "
            "'pix2pix-batch convert' or 'synthesize' has written to"
        )


def _describe_training_run(directory: Path) -> str:
    """Where to look instead, if ``directory`` is one of ``pix2pix-batch train``."""
    if not (directory / "recipe.yaml").is_file() or not (directory / "checkpoints").is_dir():
        return ""
    told = [
        path for name in ("report.html", "metrics.jsonl") if (path := directory / name).exists()
    ]
    where = f", which {escape(told[0])} describes" if told else ""
    return f"it is a run of 'pix2pix-batch train'{where}; for a job, "


def unreadable_error(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{escape(path)}: cannot be read ({error.strerror}); check its permissions, "
        "or give another directory as OUT"
    )


def require_schema(out: Path, header: Header) -> None:
    """Raises :class:`InputError` where the journal that begins so is of another version."""
    if header.values.get("schema") != SCHEMA:
        raise InputError(
            f"{escape(out)}: its journal was written by another version of pix2pix-batch; "
            "finish it with that one, or pass --overwrite to convert everything again"
        )


def require_maker(out: Path, lines: Sequence[FirstLine], kind: str | None) -> None:
    """Raises :class:`InputError` where ``out`` holds what another command than that of ``kind``
    (``synthesize``, or ``None``: ``convert``) makes. What cannot be read is passed over."""
    for header in [line.header for line in lines if line.header is not None]:
        if header.kind == kind:
            continue
        if header.is_dataset:
            raise InputError(
                f"{escape(out)}: holds a dataset of 'pix2pix-batch synthesize', finished or "
                "not; choose another OUT, or go on with it by the command that began it"
            )
        raise InputError(
            f"{escape(out)}: holds images of 'pix2pix-batch convert'; choose another OUT for "
            "the dataset"
        )
