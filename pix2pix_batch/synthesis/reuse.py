"""Which images of earlier runs can be used again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pix2pix_batch.dataset import reader
from pix2pix_batch.dataset.naming import output_of, source_of, variant_of
from pix2pix_batch.journal.events import Recorded
from pix2pix_batch.journal.integrity import digest_of_file
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.journal.record import DONE, GONE, MADE
from pix2pix_batch.synthesis.plan import Input

Records = Mapping[str, Mapping[str, Any]]
"""The journal's last word on each image, by its name there."""


def records_of(out: Path) -> dict[str, dict[str, Any]]:
    """Without what is gone."""
    records: dict[str, dict[str, Any]] = {}
    for event in read_events(out):
        if isinstance(event, Recorded):
            if event.status == GONE:
                records.pop(event.name, None)
            else:
                records[event.name] = event.values
    return records


def reuse_images(
    out: Path, inputs: Sequence[Input], records: Records, source_form: str
) -> list[str]:
    """Fill the directory of made images with the good images of these inputs, and with no
    others.

    Images that are laid out are taken back from the dataset. ``source_form``: of the inputs'
    copies. Returns the names of those whose input is no more. Raises ``OSError``.
    """
    known = {one.name: one for one in inputs}
    good: dict[str, tuple[str, Path]] = {}
    gone = []
    for name, record in records.items():
        one, variant = known.get(source_of(name)), variant_of(name)
        if one is None or variant is None:
            gone.append(name)
        elif record["status"] == DONE and one.stamp and record.get("stamp") == one.stamp:
            place = output_of(one.item, variant, source_form)
            if record.get("output") == place:  # else it is called otherwise now
                good[name] = record.get("hash", ""), out / place
    # Also what is half-written, or of an input that is gone.
    _remove_others(out / MADE, (target for _, target in good.values()))
    lacking = {name: place for name, place in good.items() if not _is_as_made(*place)}
    if lacking:
        reader.restore_images(out, lacking)
    return gone


def _is_as_made(digest: str, file: Path) -> bool:
    """Whether the image is there as it was made; one that is not, as after a power cut, is
    removed."""
    if not os.path.lexists(file):
        return False
    try:
        if file.is_file() and not file.is_symlink() and digest_of_file(file) == digest:
            return True
    except OSError:  # cannot be read
        pass
    file.unlink()
    return False


def _remove_others(directory: Path, files: Iterable[Path]) -> None:
    kept = {os.fspath(file) for file in files}
    for root, _, names in os.walk(directory):
        for name in names:
            if (path := os.path.join(root, name)) not in kept:
                os.unlink(path)
