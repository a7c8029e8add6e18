"""Checking a job's outputs against its journal. ``pix2pix-batch status OUT --verify``."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from pix2pix_batch.cores import cores
from pix2pix_batch.dataset import state
from pix2pix_batch.dataset.state import Complete
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.journal.events import Header, Recorded, Returned
from pix2pix_batch.journal.history import CHOSEN_KEYS, OUT_OF_JOURNAL, directories_of
from pix2pix_batch.journal.index import DETAIL, Index, decode_status
from pix2pix_batch.journal.integrity import (
    CHANGED,
    FINE,
    KINDS,
    MISSING,
    UNREADABLE,
    Finding,
    batches,
    examine,
)
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.journal.record import (
    COPY,
    DONE,
    FAILED,
    FOUND_WRONG,
    MADE,
    QUARANTINED,
    Record,
)
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.storage import destination, files
from pix2pix_batch.storage.common import DIRECTORY
from pix2pix_batch.storage.store import store_of
from pix2pix_batch.text import escape

if TYPE_CHECKING:
    from pix2pix_batch.dataset.reader import StoredImage

KEPT = 100
"""Outputs of each kind whose names are kept; the journal has all."""


@dataclass
class Verification:
    """``checked``: outputs; ``wrong``: how many of them; ``counts`` and ``examples``: by kind,
    an example with the output's name and why; ``outdated``: files whose inputs have failed since
    they were made, the first in ``outdated_such``."""

    checked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    outdated: int = 0
    outdated_such: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        return sum(self.counts.values())

    def add(self, kind: str, output: str, why: str) -> None:
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < KEPT:
            examples.append((output, why))

    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "checked": self.checked,
            "wrong": self.wrong,
            **{kind: self.counts[kind] for kind in KINDS},
            "outdated": self.outdated,
            "outdated_outputs": self.outdated_such,
            "examples": {
                kind: [{"output": output, "reason": why} for output, why in examples]
                for kind, examples in self.examples.items()
            },
        }


@dataclass(frozen=True)
class Output:
    """One of a job. ``name``: of what was converted, in the journal; ``path``: within OUT;
    ``beside``: the files that go with it."""

    name: str
    path: str
    hash: str
    is_tar: bool = False
    beside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.path


Batch: TypeAlias = "Sequence[Output] | Sequence[StoredImage]"
"""Outputs that are looked at together: files of a job, or what lies in a dataset."""


def verify(
    out: str, journal: str | None = None, *, watch: Callable[[int], None] | None = None
) -> Verification:
    """Read and decode every output that the journal has as done, and compare its hash; of a
    dataset that is laid out, every image where it lies now.

    What is wrong is journaled as failed, so that the next run makes it again. ``watch`` is
    called with the number checked so far. ``journal``: the directory of the journal, where OUT is
    a URL and it was chosen. Memory: 16 bytes an input, twice; of a dataset, its manifest. Raises
    :class:`InputError` where there is no journal or a run is writing there, :class:`OutputError`
    where the journal cannot be written.
    """
    kept = files.journal_directory(out, journal)
    others = ("schema", "overwrite", *CHOSEN_KEYS)
    header = next(read_events(kept))
    assert isinstance(header, Header)
    url = header.values.get(OUT_OF_JOURNAL)
    if url and store_of(files.absolute(out)).is_local:
        raise InputError(
            f"{escape(out)}: holds the journal of {escape(url)} and not its outputs; ask for "
            f"'pix2pix-batch status {escape(url)} --journal {escape(out)} --verify'"
        )
    job = {key: value for key, value in header.values.items() if key not in others}
    with ExitStack() as stack:
        if header.is_dataset:
            from pix2pix_batch.dataset.lock import lock_directory

            stack.enter_context(lock_directory(kept))
        book = Journal(kept, job)
        stack.callback(book.close)
        known = state.read(kept) if header.is_dataset else None
        if known is not None:
            return _verify_dataset(kept, known, book, watch)
        found = Verification()
        outdated, doubted = _list_outdated(kept), _doubtful_records(kept)
        # what an earlier check found wrong is looked at again: it may be right by now, or still is
        # to be made again
        listed = chain(_list_outputs(kept), map(_output_of, doubted.values()))
        for output, is_fine in _verify(out, batches(listed), book, watch, found):
            if is_fine and output.name in doubted:
                book.add([doubted[output.name]])
        there = destination.list_outputs(out)
        old = [output for output in outdated if there.has(output)]
        found.outdated, found.outdated_such = len(old), old[:KEPT]
        return found


def _verify_dataset(
    kept: Path, known: Complete, book: Journal, watch: Callable[[int], None] | None
) -> Verification:
    """What is wrong is also told to the next run, also where the check is cut off; what an
    earlier check found wrong and is right again is done again."""
    found, told, is_all = Verification(), known.wrong, False
    doubted = _doubtful_records(kept)
    right: set[str] = set()
    wrong: set[str] = set()
    try:
        lying = _dataset_batches(kept, known, doubted)
        for output, is_fine in _verify(str(kept), lying, book, watch, found):
            if output.name in doubted:
                (right if is_fine else wrong).add(output.name)
            if found.wrong and not told:
                told = found.wrong
                _tell_next_run(kept, replace(known, wrong=told))
        if back := [doubted[name] for name in sorted(right - wrong)]:
            book.add(back)
        is_all = True
    finally:
        if (now := found.wrong if is_all else max(known.wrong, found.wrong)) != told:
            _tell_next_run(kept, replace(known, wrong=now))
    return found


def _tell_next_run(kept: Path, known: Complete) -> None:
    """Raises :class:`OutputError`."""
    try:
        state.write(kept, known)
    except OSError as error:
        raise state.unwritable(kept, error) from error


def _doubtful_records(kept: Path) -> dict[str, Record]:
    """What an earlier check has journaled as failed and no run has tried since: its record from
    before that, by its name."""
    found: dict[str, int] = {}
    for number, event in enumerate(_read_records(kept)):
        if event.is_found_wrong:
            found[event.name] = number
        else:
            found.pop(event.name, None)
    if not found:  # as mostly, which spares reading the journal once more
        return {}
    last = _number_last_records(kept)
    names = {name for name, number in found.items() if not last.is_past(number, name)}
    return {
        event.name: event.record()
        for event in _read_records(kept)
        if event.name in names and event.status == DONE
    }


def _read_records(kept: Path) -> Iterator[Recorded]:
    return (event for event in read_events(kept) if isinstance(event, Recorded))


@dataclass
class LastRecords:
    """``index``: each input's last status, and the number of that record as its detail; ``since``:
    of each tar, the number of the first record that came back together with its last one, or, where
    it has failed since, of that failure; before it no record is of an image that it still has."""

    index: Index = field(default_factory=Index)
    since: dict[str, int] = field(default_factory=dict)

    def is_past(self, number: int, name: str) -> bool:
        """Whether the record of this number is of an image that its tar had before, and no more."""
        return bool(self.since) and any(
            number < self.since.get(tar, 0) for tar in directories_of(name)
        )


def _number_last_records(kept: Path) -> LastRecords:
    last, number, first = LastRecords(), 0, 0
    for event in read_events(kept):
        if isinstance(event, Recorded):
            last.index.update(event.name, event.status, number)
            number += 1
            # As a check of the output restores a tar's record, it comes alone.
            if event.is_tar and (number - first > 1 or not event.values["members"]):
                last.since[event.name] = first
            elif event.name in last.since and not (event.is_tar or event.is_found_wrong):
                last.since[event.name] = number
        elif isinstance(event, Returned):
            first = number
    return last


def _verify(
    out: str,
    left: Iterator[Batch],
    journal: Journal,
    watch: Callable[[int], None] | None,
    found: Verification,
) -> Iterator[tuple[Output | StoredImage, bool]]:
    """Each output, and whether it is fine; ``found`` grows meanwhile."""
    for batch, results in _check_in_processes(out, left):
        wrong = []
        outputs: Sequence[Output | StoredImage] = batch
        for output, (kind, why) in zip(outputs, results, strict=True):
            if kind:
                found.add(kind, str(output), why)
                wrong.append(Record(output.name, FAILED, reason=f"{FOUND_WRONG} {kind}: {why}"))
        found.checked += len(batch)
        for output, (kind, _) in zip(outputs, results, strict=True):
            yield output, not kind
        if wrong := [record for record in wrong if record.name]:
            journal.add(wrong)
        if watch is not None:
            watch(found.checked)


def _list_outputs(kept: Path) -> Iterator[Output]:
    """What is done, by each input's last record."""
    last = _number_last_records(kept)
    for number, event in enumerate(_read_records(kept)):
        path = event.get("output")
        if not path:  # a tar's member: the tar is checked
            continue
        if event.is_tar and not event.get("hash"):  # unpacked: its members are checked
            continue
        if last.is_past(number, event.name):
            continue
        if event.status == DONE and last.index.get(event.name) >> DETAIL == number:
            beside = tuple(event.values.get("beside", ()))
            yield Output(event.name, path, event.get("hash"), event.is_tar, beside)


def _output_of(record: Record) -> Output:
    is_tar = record.members is not None
    return Output(record.name, record.output, record.hash, is_tar, record.beside or ())


def _list_outdated(kept: Path) -> list[str]:
    """The outputs, where there may be one, of what has failed since it was made."""
    last = _number_last_records(kept)
    outputs: dict[str, str] = {}
    for number, event in enumerate(_read_records(kept)):
        state = last.index.get(event.name)
        if decode_status(state) not in (FAILED, QUARANTINED):
            continue
        if last.is_past(state >> DETAIL, event.name):
            continue
        if output := event.get("outdated") or event.get("output"):
            outputs[event.name] = output
        if state >> DETAIL == number and event.is_found_wrong:
            outputs.pop(event.name, None)  # by an earlier check: it is made again
    return list(outputs.values())


def _dataset_batches(kept: Path, known: Complete, doubted: Mapping[str, Record]) -> Iterator[Batch]:
    """The images of a dataset where they lie, its tables, and what was made for it and lies
    apart."""
    from pix2pix_batch.dataset import reader
    from pix2pix_batch.dataset.layout import require_library

    if known.mark.get("layout") == "parquet":
        require_library("parquet")
    outputs = list(_list_outputs(kept))
    hashes = {one.name: one.hash for one in outputs}
    hashes |= {name: record.hash for name, record in doubted.items()}
    copies = {name: digest for name, digest in hashes.items() if name.endswith(COPY)}
    images: list[StoredImage] = []
    try:
        images += reader.list_images(kept, copies)
        is_known = reader.is_copy_good(kept, known)
    except reader.UNKNOWN:  # the next run makes all of it again
        is_known = False
    if not is_known:
        images.append(reader.StoredImage("", f"{DIRECTORY}/{state.MANIFEST}", hash="none"))
    yield from reader.group_by_container(chain(reader.list_tables(known), images))
    if (kept / MADE).is_dir():
        yield from batches(one for one in outputs if _is_apart(kept / one.path))


def _is_apart(path: Path) -> bool:
    """Whether the file is there, and not a dataset's under another name."""
    try:
        return path.lstat().st_nlink == 1
    except OSError:
        return False


def _check_in_processes(out: str, left: Iterator[Batch]) -> Iterator[tuple[Batch, list[Finding]]]:
    """Batches with what was found, in order, by a process a core; a few are under way at once."""
    count = cores()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(count, context) as pool:
        ahead: deque[tuple[Batch, Future[list[Finding]]]] = deque()
        for batch in left:
            ahead.append((batch, pool.submit(check_batch, out, batch)))
            if len(ahead) > 3 * count:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()


def check_batch(out: str, batch: Batch) -> list[Finding]:
    """What is wrong with each of a batch."""
    outputs = [one for one in batch if isinstance(one, Output)]
    if not outputs:
        from pix2pix_batch.dataset import reader

        return reader.check_batch(
            out, [one for one in batch if isinstance(one, reader.StoredImage)]
        )
    return [_wrong_tar(out, one) if one.is_tar else _wrong(out, one) for one in outputs]


def _wrong_tar(out: str, output: Output) -> Finding:
    if not destination.list_outputs(out).has(output.path):
        return MISSING, "no such file"
    found = hashlib.blake2b(digest_size=16)
    try:
        for piece in files.pieces(files.join(out, output.path)):
            found.update(piece)
    except ImageError as error:
        return UNREADABLE, str(error)
    return FINE if found.hexdigest() == output.hash else (CHANGED, "is not the tar the job made")


def _wrong(out: str, output: Output) -> Finding:
    path = files.join(out, output.path)
    if store_of(path).is_local and not os.path.lexists(path):
        return MISSING, "no such file"
    try:
        data, _ = files.read_file(path)
    except ImageError as error:
        return UNREADABLE, str(error)
    there = destination.list_outputs(out)
    if lacking := next((one for one in output.beside if not there.has(one)), None):
        return MISSING, f"no such file: {escape(lacking)}, which goes with it"
    return examine(data, output.hash)
