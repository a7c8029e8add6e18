"""A dataset that is laid out, read back through its manifest: what lies where, and whether it is
still what was made.

Only the manifest's lines are held in memory, besides one image, or a hundred rows of a table.
"""

from __future__ import annotations

import os
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pix2pix_batch.dataset import complete, manifest
from pix2pix_batch.dataset.complete import Complete
from pix2pix_batch.dataset.layout import COLUMNS, as_line, link, told
from pix2pix_batch.dataset.naming import named
from pix2pix_batch.errors import ImageError
from pix2pix_batch.files import storage
from pix2pix_batch.files.whole import whole
from pix2pix_batch.images import SUFFIXES
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.records.examination import (
    CHANGED,
    DAMAGED,
    FINE,
    MISSING,
    UNREADABLE,
    Finding,
    digest_of,
    examined,
)

BATCH = 32
"""Files that are looked at together, a fraction of a second of work; a shard is one such batch."""

UNKNOWN = (OSError, ValueError, KeyError)
"""Raised where the manifest is gone or damaged: then nothing is known of the dataset."""


@dataclass(frozen=True)
class Stored:
    """An image of a dataset, or something else that its manifest speaks of.

    ``name``: what names it in the journal, empty for what is no image; ``file``: where it lies,
    within OUT; ``inside``: a tar's member, or a table's row and column; ``hash``: BLAKE2b of its
    bytes, empty where it is not known.
    """

    name: str
    file: str
    inside: str = ""
    hash: str = ""

    def __str__(self) -> str:
        return f"{self.file}, {self.inside}" if self.inside else self.file


def found(out: Path, copies: Mapping[str, str] | None = None) -> Iterator[Stored]:
    """The images of the dataset in ``out``, each as often as it lies there, and what stands with
    them in shards. ``copies``: hashes of the inputs' copies, by their names in the journal."""
    header, rows = manifest.read(complete.copy_of_manifest(out))
    settings = header.get("settings", {})
    hashes, last = copies or {}, ""
    for row in rows:
        name = named(row["input"], row["variant"])
        copy = named(row["input"], SOURCE)
        file, inside, others = _places(settings, row)
        yield Stored(name, file, inside, row["hash"])
        for place, within, is_copy in others:
            if not is_copy:
                yield Stored("", place, within, digest_of(as_line(told(row))))
            elif settings["sources"] and (within or place != last):  # several variants share one
                yield Stored(copy, place, within, hashes.get(copy, ""))
                last = place


def _places(
    settings: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[str, str, list[tuple[str, str, bool]]]:
    """Where an image lies; and where do its input's copy and the columns that tell of it, each
    with whether it is the copy."""
    layout, file = settings["layout"], row["file"]
    suffix = SUFFIXES[settings["format"]]
    if layout == "webdataset":
        key = row["key"]
        return file, key + suffix, [(file, f"{key}.source.png", True), (file, f"{key}.json", False)]
    if layout == "parquet":
        number = row["row"]
        others = [(file, f"row {number}, {what}", what == "source") for what in ("source", TOLD)]
        return file, f"row {number}, image", others
    if layout == "imagefolder":
        base = file.removesuffix(suffix).rpartition(".v")[0]
        return file, "", [(base.replace("/images/", "/inputs/", 1) + ".png", "", True)]
    if layout == "a-b":
        return file, "", [("A" + file.removesuffix(suffix).removeprefix("B") + ".png", "", True)]
    return file, "", []


TOLD = "columns"
"""Of a table's row: all that is no image."""


def batches(stored: Iterable[Stored]) -> Iterator[list[Stored]]:
    """Those that are read together: a shard's, or some files."""
    files: list[Stored] = []
    shards: dict[str, list[Stored]] = defaultdict(list)
    for one in stored:
        if one.inside:
            shards[one.file].append(one)
            continue
        files.append(one)
        if len(files) == BATCH:
            yield files
            files = []
    if files:
        yield files
    yield from shards.values()


def contents(out: Path, batch: Sequence[Stored]) -> Iterator[tuple[Stored, bytes | Finding]]:
    """The bytes of each of a batch, or why there are none; in some order."""
    if batch[0].file.endswith(".tar"):
        yield from _of_tar(out / batch[0].file, batch)
    elif batch[0].inside:
        yield from _of_table(out / batch[0].file, batch)
    else:
        for one in batch:
            yield one, _of_file(out / one.file)


def _of_file(path: Path) -> bytes | Finding:
    if not os.path.lexists(path):
        return MISSING, "no such file"
    try:
        return storage.read_file(str(path))[0]
    except ImageError as error:
        return UNREADABLE, str(error)


def _of_tar(path: Path, batch: Sequence[Stored]) -> Iterator[tuple[Stored, bytes | Finding]]:
    left = {one.inside: one for one in batch}
    fault = MISSING, "no such member in the tar"
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.name in left and member.isreg():
                    stream = tar.extractfile(member)
                    data = stream.read() if stream is not None else b""
                    yield left.pop(member.name), data
    except FileNotFoundError:
        fault = MISSING, "no such file"
    except OSError as error:
        fault = UNREADABLE, f"cannot be read ({error.strerror})"
    except (tarfile.TarError, EOFError) as error:
        fault = DAMAGED, f"the tar is damaged ({error})"
    for one in left.values():
        yield one, fault


def _of_table(path: Path, batch: Sequence[Stored]) -> Iterator[tuple[Stored, bytes | Finding]]:
    import pyarrow
    import pyarrow.parquet

    left = {one.inside: one for one in batch}
    fault = MISSING, "no such row in the table"
    try:
        with path.open("rb") as file:
            try:
                for inside, data in _cells(pyarrow.parquet.ParquetFile(file)):
                    if inside in left:
                        yield left.pop(inside), data
            except (OSError, pyarrow.ArrowException) as error:
                fault = DAMAGED, f"the table is damaged ({' '.join(str(error).split())[:200]})"
    except FileNotFoundError:
        fault = MISSING, "no such file"
    except OSError as error:
        fault = UNREADABLE, f"cannot be read ({error.strerror})"
    for one in left.values():
        yield one, fault


def _cells(table: Any) -> Iterator[tuple[str, bytes | Finding]]:
    """The rows' images, and what their other columns hold, as JSON."""
    number = 0
    for group in range(table.num_row_groups):
        for row in table.read_row_group(group).to_pylist():
            for column in ("image", "source"):
                cell = row.get(column)
                data = cell.get("bytes") if isinstance(cell, dict) else None
                if isinstance(data, bytes):
                    yield f"row {number}, {column}", data
            try:
                yield f"row {number}, {TOLD}", as_line({key: row.get(key) for key in COLUMNS})
            except (TypeError, ValueError) as error:
                yield f"row {number}, {TOLD}", (DAMAGED, str(error))
            number += 1


def check(out: str, batch: Sequence[Stored]) -> list[Finding]:
    """What is wrong with each of a batch, in their order."""
    known = {}
    for one, content in contents(Path(out), batch):
        known[one] = _finding(one, content)
    return [known[one] for one in batch]


def _finding(one: Stored, content: bytes | Finding) -> Finding:
    if isinstance(content, tuple):
        return content
    if one.name:
        return examined(content, one.hash)
    if one.hash and digest_of(content) != one.hash:
        return CHANGED, "is not what was written"
    return FINE


def tables(found: Complete) -> Iterator[Stored]:
    """The files of a dataset that hold no images."""
    for file, digest in found.digests.items():
        yield Stored("", file, hash=digest)


def gone(out: Path, known: Complete) -> list[str]:
    """The files of the dataset that are not there, without opening any."""
    try:
        files = {one.file for one in found(out)} | known.digests.keys()
    except UNKNOWN:
        return [complete.MANIFEST]
    return sorted(file for file in files if not os.path.lexists(out / file))


def restore(out: Path, wanted: Mapping[str, tuple[str, Path]]) -> None:
    """Put images of the dataset where they were before it was laid out.

    ``wanted``: their hashes, and where to, by their names in the journal. What is not there, or
    is not what it was, is left out. Raises ``OSError`` where it cannot be written.
    """
    left = dict(wanted)
    try:
        there = [one for one in found(out) if one.name in left and _is_within(one.file)]
    except UNKNOWN:
        return
    for batch in batches(there):
        for one, content in contents(out, batch):
            if one.name not in left or isinstance(content, tuple):
                continue
            digest, target = left[one.name]
            if digest_of(content) == digest:
                _put(out / one.file if not one.inside else None, content, target)
                del left[one.name]


def _is_within(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts


def _put(file: Path | None, content: bytes, target: Path) -> None:
    """``file``: what holds nothing but the content, where there is such a file."""
    if file is not None and not file.is_symlink():
        link(file, target)
        return
    with whole(target) as copy:
        copy.write(content)
