"""What is known of the dataset that lies in OUT: ``.pix2pix-batch/complete.json``, and beside it a
copy of its manifest, by which it is read back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from pix2pix_batch.files.whole import whole
from pix2pix_batch.records.record import DIRECTORY, as_line

COMPLETE = "complete.json"
MANIFEST = "manifest.jsonl"
"""Of the dataset; its copy has the same name."""


@dataclass(frozen=True)
class Complete:
    """A dataset that is laid out.

    ``mark``: what decides its bytes; ``header``: the manifest's first line; ``images``: how many
    were ``wanted``, are ``made``, ``failed``, and of these ``retriable`` by the next run;
    ``digests``: BLAKE2b of its files that hold no images, by path within OUT, empty where people
    may change them; ``wrong``: how much of it is known not to be as it was made.
    """

    mark: dict[str, Any]
    header: dict[str, Any]
    images: dict[str, int]
    digests: dict[str, str] = field(default_factory=dict)
    wrong: int = 0


def path_of(out: Path) -> Path:
    return out / DIRECTORY / COMPLETE


def copy_of_manifest(out: Path) -> Path:
    return out / DIRECTORY / MANIFEST


def read(out: Path) -> Complete | None:
    """``None`` where ``out`` holds no dataset, or not yet the whole of it."""
    try:
        found = json.loads(path_of(out).read_bytes())
        return Complete(**{key: found[key] for key in (one.name for one in fields(Complete))})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(out: Path, found: Complete) -> None:
    """Raises ``OSError``."""
    with whole(path_of(out), sync=True) as file:
        file.write(as_line(asdict(found)))
