"""A dataset that is laid out, read back through its manifest: what lies where, and whether it is
still what was made.

Only the manifest's lines are held in memory, besides one image, or a hundred rows of a table.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pix2pix_batch.dataset import manifest, state
from pix2pix_batch.dataset.layout import CARD, COLUMNS, column_values, link, require_library
from pix2pix_batch.dataset.naming import variant_name
from pix2pix_batch.dataset.state import Complete
from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging.output_formats import SUFFIXES
from pix2pix_batch.journal import integrity
from pix2pix_batch.journal.integrity import (
    CHANGED,
    DAMAGED,
    FINE,
    MISSING,
    UNREADABLE,
    Finding,
    digest_of,
    digest_of_file,
    examine,
)
from pix2pix_batch.journal.record import to_line
from pix2pix_batch.noise import SOURCE
from pix2pix_batch.storage import common, files, local
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.storage.whole import whole

UNKNOWN = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""Raised where the manifest is gone or damaged: then nothing is known of the dataset."""


@dataclass(frozen=True)
class StoredImage:
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


def list_images(out: Path, copies: Mapping[str, str] | None = None) -> Iterator[StoredImage]:
    """The images of the dataset in ``out``, each as often as it lies there, and what stands with
    them in shards. ``copies``: hashes of the inputs' copies, by their names in the journal. Raises
    one of :data:`UNKNOWN`."""
    header, rows = manifest.read_manifest(_manifest_of(out))
    settings = header.get("settings", {})
    hashes, last = copies or {}, ""
    for row in rows:
        name = variant_name(row["input"], row["variant"])
        copy = variant_name(row["input"], SOURCE)
        file, inside, others = _places(settings, row)
        if not all(map(_is_within, (file, *(place for place, _, _ in others)))):
            raise ValueError(f"{file!r} leads out of the dataset")
        yield StoredImage(name, file, inside, row["hash"])
        for place, within, is_copy in others:
            if not is_copy:
                yield StoredImage("", place, within, digest_of(to_line(column_values(row))))
            elif settings["sources"] and (within or place != last):  # several variants share one
                yield StoredImage(copy, place, within, hashes.get(copy, ""))
                last = place


def _manifest_of(out: Path) -> Path:
    """The copy of the manifest; where it is not what was written, the dataset's own, if that is.
    Raises ``OSError``, ``ValueError``."""
    copy = state.copy_of_manifest(out)
    if is_copy_good(out, state.read_last(out)):
        return copy
    if is_copy_good(out, state.read_last(out), out / state.MANIFEST):
        return out / state.MANIFEST
    raise ValueError("the manifest is not what was written")


def is_copy_good(out: Path, known: Complete | None, path: Path | None = None) -> bool:
    """Whether the copy of the manifest, or what stands at ``path``, is what was written, as far
    as that is known."""
    digest = known.digests.get(state.MANIFEST) if known is not None else None
    try:
        return not digest or digest_of_file(path or state.copy_of_manifest(out)) == digest
    except OSError:
        return False


def list_files(out: Path) -> set[str] | None:
    """The dataset's files, by their paths within OUT; ``None`` where nothing tells."""
    try:
        header, _ = manifest.read_manifest(_manifest_of(out))
        tables = {f"{split}/metadata.jsonl" for split in header["splits"]}
        return {one.file for one in list_images(out)} | tables | {state.MANIFEST, CARD}
    except UNKNOWN:
        return None


def _places(
    settings: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[str, str, list[tuple[str, str, bool]]]:
    """Where an image lies; and where do its input's copy and the columns that tell of it, each
    with whether it is the copy."""
    layout, file = settings["layout"], row["file"]
    suffix = SUFFIXES[settings["format"]]
    copy = SUFFIXES[settings.get("source_format", "png")]
    if layout == "webdataset":
        key = row["key"]
        return (
            file,
            key + suffix,
            [(file, f"{key}.source{copy}", True), (file, f"{key}.json", False)],
        )
    if layout == "parquet":
        number = row["row"]
        others = [(file, f"row {number}, {what}", what == "source") for what in ("source", TOLD)]
        return file, f"row {number}, image", others
    if layout == "imagefolder":
        base = file.removesuffix(suffix).rpartition(".v")[0]
        return file, "", [(base.replace("/images/", "/inputs/", 1) + copy, "", True)]
    if layout == "a-b":
        return file, "", [("A" + file.removesuffix(suffix).removeprefix("B") + copy, "", True)]
    return file, "", []


TOLD = "columns"
"""Of a table's row: all that is no image."""


def group_by_container(stored: Iterable[StoredImage]) -> Iterator[list[StoredImage]]:
    """Those that are read together: a shard's, or some files."""
    shards: dict[str, list[StoredImage]] = defaultdict(list)

    def loose_images() -> Iterator[StoredImage]:
        for one in stored:
            if one.inside:
                shards[one.file].append(one)
            else:
                yield one

    yield from integrity.batches(loose_images())
    yield from shards.values()


def read_batch(
    out: Path, batch: Sequence[StoredImage]
) -> Iterator[tuple[StoredImage, bytes | Finding]]:
    """The bytes of each of a batch, or why there are none; in some order."""
    if batch[0].file.endswith(".tar"):
        yield from _read_tar(out / batch[0].file, batch)
    elif batch[0].inside:
        yield from _read_table(out / batch[0].file, batch)
    else:
        for one in batch:
            yield one, _read_file(out / one.file)


def _read_file(path: Path) -> bytes | Finding:
    if not os.path.lexists(path):
        return MISSING, "no such file"
    try:
        return files.read_file(str(path))[0]
    except ImageError as error:
        return UNREADABLE, str(error)


def _read_tar(
    path: Path, batch: Sequence[StoredImage]
) -> Iterator[tuple[StoredImage, bytes | Finding]]:
    left = _group_by_member(batch)
    fault = MISSING, "no such member in the tar"
    try:
        with _open_shard(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.name in left and member.isreg():
                    data = _read_member(tar, member)
                    yield from ((one, data) for one in left.pop(member.name))
    except FileNotFoundError:
        fault = MISSING, "no such file"
    except OSError as error:
        fault = UNREADABLE, f"cannot be read ({error.strerror})"
    except (tarfile.TarError, EOFError, ValueError) as error:
        fault = DAMAGED, f"the tar is damaged ({error})"
    yield from ((one, fault) for some in left.values() for one in some)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | Finding:
    """Holes, which take no room in the tar, could have any size; no image has them."""
    if member.issparse():
        return DAMAGED, "is a sparse file, which no image is"
    if member.size > common.LARGEST:
        return DAMAGED, f"is larger than {common.LARGEST:,} bytes, the most that is read"
    stream = tar.extractfile(member)
    return stream.read() if stream is not None else b""


def _group_by_member(batch: Iterable[StoredImage]) -> dict[str, list[StoredImage]]:
    """A damaged manifest may name one place twice."""
    found: dict[str, list[StoredImage]] = defaultdict(list)
    for one in batch:
        found[one.inside].append(one)
    return found


def _open_shard(path: Path) -> IO[bytes]:
    """An open regular file; nothing else is waited for, as opening a pipe would. Raises
    ``OSError``."""
    try:
        return local.open_regular(os.fspath(path))
    except (ImageError, IsADirectoryError) as error:
        raise OSError(errno.EINVAL, "is no file") from error


def _read_table(
    path: Path, batch: Sequence[StoredImage]
) -> Iterator[tuple[StoredImage, bytes | Finding]]:
    require_library("parquet")
    import pyarrow
    import pyarrow.parquet

    left = _group_by_member(batch)
    fault = MISSING, "no such row in the table"
    try:
        with _open_shard(path) as file:
            try:
                for inside, data in _cells(pyarrow.parquet.ParquetFile(file)):
                    yield from ((one, data) for one in left.pop(inside, ()))
            except (OSError, ValueError, pyarrow.ArrowException) as error:  # text that is none
                fault = DAMAGED, f"the table is damaged ({' '.join(str(error).split())[:200]})"
    except FileNotFoundError:
        fault = MISSING, "no such file"
    except OSError as error:
        fault = UNREADABLE, f"cannot be read ({error.strerror})"
    yield from ((one, fault) for some in left.values() for one in some)


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
                yield f"row {number}, {TOLD}", to_line({key: row.get(key) for key in COLUMNS})
            except (TypeError, ValueError) as error:
                yield f"row {number}, {TOLD}", (DAMAGED, str(error))
            number += 1


def check_batch(out: str, batch: Sequence[StoredImage]) -> list[Finding]:
    """What is wrong with each of a batch, in their order."""
    known = {}
    for one, content in read_batch(Path(out), batch):
        known[one] = _compare(one, content)
    return [known[one] for one in batch]


def _compare(one: StoredImage, content: bytes | Finding) -> Finding:
    if isinstance(content, tuple):
        return content
    if one.name:
        return examine(content, one.hash)
    if one.hash and digest_of(content) != one.hash:
        return CHANGED, "is not what was written"
    return FINE


def list_tables(found: Complete) -> Iterator[StoredImage]:
    """The files of a dataset that hold no images."""
    for file, digest in found.digests.items():
        yield StoredImage("", file, hash=digest)


def list_missing(out: Path, known: Complete) -> list[str]:
    """The files of the dataset that are not there, without opening any but the manifest's copy."""
    if not is_copy_good(out, known):
        return [f"{DIRECTORY}/{state.MANIFEST}"]
    try:
        wanted = {one.file for one in list_images(out)} | known.digests.keys()
    except UNKNOWN:
        return [state.MANIFEST]
    return sorted(file for file in wanted if not os.path.lexists(out / file))


def restore_images(out: Path, wanted: Mapping[str, tuple[str, Path]]) -> None:
    """Put images of the dataset where they were before it was laid out.

    ``wanted``: their hashes, and where to, by their names in the journal. What is not there, or
    is not what it was, is left out. Raises ``OSError`` where it cannot be written.
    """
    left = dict(wanted)
    try:
        there = [one for one in list_images(out) if one.name in left]
    except UNKNOWN:
        return
    for batch in group_by_container(there):
        for one, content in read_batch(out, batch):
            if one.name not in left or isinstance(content, tuple):
                continue
            digest, target = left[one.name]
            if digest_of(content) == digest:
                _put_back(out / one.file if not one.inside else None, content, target)
                del left[one.name]


def _is_within(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in file


def _put_back(file: Path | None, content: bytes, target: Path) -> None:
    """``file``: what holds nothing but the content, where there is such a file."""
    if file is not None and not file.is_symlink():
        link(file, target)
        return
    with whole(target) as copy:
        copy.write(content)
