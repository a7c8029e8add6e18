"""Which files beside outputs a job has made, kept for shards that begin anew one after the other:
the first of them replaces the journals that say so."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pix2pix_batch.journal.events import Recorded
from pix2pix_batch.journal.reader import read_lines
from pix2pix_batch.journal.record import to_line
from pix2pix_batch.storage.common import DIRECTORY


def path_of(out: Path) -> Path:
    """Where they are kept, as lines of journals; there may be none."""
    return out / DIRECTORY / "beside.jsonl"


def keep(out: Path, replaced: Iterable[Path]) -> None:
    """Add what these journals say; what cannot be read says nothing."""
    kept = path_of(out)
    for path in replaced:
        with suppress(OSError), kept.open("ab") as file:
            for event, _ in read_lines(path):
                if isinstance(event, Recorded) and event.values.get("beside"):
                    file.write(to_line(event.values))
    if kept.exists() and not kept.stat().st_size:
        kept.unlink()
