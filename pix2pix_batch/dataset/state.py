"""What is known of the dataset that lies in OUT: ``.pix2pix-batch/complete.json``, and beside it a
copy of its manifest, by which it is read back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pix2pix_batch.errors import OutputError
from pix2pix_batch.journal.record import to_line
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import escape

COMPLETE = "complete.json"
MANIFEST = "manifest.jsonl"
"""Of the dataset; its copy has the same name."""


@dataclass(frozen=True)
class Complete:
    """A dataset that is laid out.

    ``mark``: what decides its bytes; ``header``: the manifest's first line; ``images``: how many
    were ``wanted``, are ``made``, ``failed``, and of these ``retriable`` by the next run;
    ``digests``: BLAKE2b of its files that hold no images, by path within OUT, empty where people
    may change them; ``wrong``: how much of it is known not to be as it was made; ``card``: BLAKE2b
    of the card as it was made; ``is_whole``: not while another is about to take its place.
    """

    mark: dict[str, Any]
    header: dict[str, Any]
    images: dict[str, int]
    digests: dict[str, str] = field(default_factory=dict)
    wrong: int = 0
    card: str = ""
    is_whole: bool = True


def path_of(out: Path) -> Path:
    return out / DIRECTORY / COMPLETE


def copy_of_manifest(out: Path) -> Path:
    return out / DIRECTORY / MANIFEST


def read(out: Path) -> Complete | None:
    """``None`` where ``out`` holds no dataset, or not yet the whole of it."""
    found = read_last(out)
    return found if found is not None and found.is_whole else None


def read_last(out: Path) -> Complete | None:
    """As :func:`read`; also where another is about to take its place."""
    try:
        values = json.loads(path_of(out).read_bytes())
        known = {one.name: values[one.name] for one in fields(Complete) if one.name in values}
        found = Complete(**known)
    except (OSError, ValueError, TypeError):
        return None
    parts = (found.mark, found.header, found.images, found.digests)
    return found if all(isinstance(part, dict) for part in parts) else None


def unwritable(out: Path, error: OSError) -> OutputError:
    """What to raise where it cannot be written."""
    return OutputError(
        f"{escape(path_of(out))}: cannot be written ({error.strerror}); see that there is room and "
        "that it may be written, then run the same command again"
    )


def write(out: Path, found: Complete) -> None:
    """Raises ``OSError``."""
    with whole(path_of(out), sync=True) as file:
        file.write(to_line(asdict(found)))
