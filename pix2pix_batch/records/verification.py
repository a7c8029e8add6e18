"""Checking a job's outputs against its journal. ``pix2pix-batch status OUT --verify``."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from pix2pix_batch.cores import cores
from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.files import remote, storage
from pix2pix_batch.records.history import DECIDED, lines
from pix2pix_batch.records.index import DETAIL, Index
from pix2pix_batch.records.journal import Journal
from pix2pix_batch.records.record import DONE, FAILED, MADE, Record
from pix2pix_batch.text import shown

MISSING, UNREADABLE, DAMAGED, CHANGED = "missing", "unreadable", "damaged", "changed"
KINDS = (MISSING, UNREADABLE, DAMAGED, CHANGED)
"""What can be wrong with an output: not there; cannot be read; is no whole image; is an image,
but not the one that the job made."""

BATCH = 32
"""Outputs that a process checks at once, a fraction of a second of work."""

KEPT = 100
"""Outputs of each kind whose names are kept; the journal has all."""


@dataclass
class Verification:
    """``checked``: outputs; ``wrong``: how many of them; ``counts`` and ``examples``: by kind,
    an example with the output's name and why."""

    checked: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

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
            "examples": {
                kind: [{"output": output, "reason": why} for output, why in examples]
                for kind, examples in self.examples.items()
            },
        }


def verify(
    out: str, journal: str | None = None, *, watch: Callable[[int], None] | None = None
) -> Verification:
    """Read and decode every output that the journal has as done, and compare its hash.

    What is wrong is journaled as failed, so that the next run makes it again. ``watch`` is
    called with the number checked so far. ``journal``: the directory of the journal, where OUT is
    a URL and it was chosen. Memory: 16 bytes an input, twice. Raises :class:`InputError` where
    there is no journal or a run is writing there, :class:`OutputError` where the journal cannot
    be written.
    """
    kept = storage.kept(out, journal)
    others = ("schema", "overwrite", *DECIDED)
    job = {key: value for key, value in next(lines(kept)).items() if key not in others}
    if job.get("kind") == "synthesize" and not (kept / MADE).is_dir():
        raise InputError(
            f"{shown(out)}: its images have been laid out as a dataset, whose manifest.jsonl has "
            "their hashes; --verify is for what 'convert' made"
        )
    book = Journal(kept, job)
    try:
        return _verify(out, kept, book, watch)
    finally:
        book.close()


def _verify(
    out: str, kept: Path, journal: Journal, watch: Callable[[int], None] | None
) -> Verification:
    found = Verification()
    for batch, results in _checked(out, _batches(_last_done(kept))):
        wrong = []
        for values, (kind, why) in zip(batch, results, strict=True):
            if kind:
                found.add(kind, values["output"], why)
                reason = f"its output was {kind}: {why}"
                wrong.append(Record(values["name"], FAILED, reason=reason))
        found.checked += len(batch)
        if wrong:
            journal.add(wrong)
        if watch is not None:
            watch(found.checked)
    return found


def _last_done(kept: Path) -> Iterator[dict[str, Any]]:
    """The records of what is done, each input's last."""
    last = Index()
    for number, values in enumerate(lines(kept)):
        if "name" in values:
            last.note(values["name"], values.get("status", ""), number)
    for number, values in enumerate(lines(kept)):
        if not values.get("output"):  # a tar's member: the tar is checked
            continue
        if values.get("status") == DONE and last.get(values["name"]) >> DETAIL == number:
            yield values


def _batches(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(records, BATCH)):
        yield batch


Checked = list[tuple[str, str]]
"""What is wrong with each output of a batch, and why; empty where nothing is."""


def _checked(
    out: str, batches: Iterator[list[dict[str, Any]]]
) -> Iterator[tuple[list[dict[str, Any]], Checked]]:
    """Batches with what was found, in order, by a process a core; a few are under way at once."""
    count = cores()
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(count, context) as pool:
        ahead: deque[tuple[list[dict[str, Any]], Future[Checked]]] = deque()
        for batch in batches:
            wanted = [
                (values["output"], values.get("hash", ""), "members" in values) for values in batch
            ]
            ahead.append((batch, pool.submit(check, out, wanted)))
            if len(ahead) > 3 * count:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()


def check(out: str, wanted: list[tuple[str, str, bool]]) -> Checked:
    """Look at some outputs, given with their hashes and whether they are tars."""
    return [
        _wrong_tar(out, output, digest) if is_tar else _wrong(out, output, digest)
        for output, digest, is_tar in wanted
    ]


def _wrong_tar(out: str, output: str, digest: str) -> tuple[str, str]:
    """A directory, of an unpacked one, has no hash."""
    if not storage.Outputs(out).has(output):
        return MISSING, "no such file"
    if not digest:
        return "", ""
    found = hashlib.blake2b(digest_size=16)
    try:
        for piece in storage.pieces(storage.joined(out, output)):
            found.update(piece)
    except ImageError as error:
        return UNREADABLE, str(error)
    return ("", "") if found.hexdigest() == digest else (CHANGED, "is not the tar the job made")


def _wrong(out: str, output: str, digest: str) -> tuple[str, str]:
    path = storage.joined(out, output)
    if not remote.is_url(path) and not os.path.lexists(path):
        return MISSING, "no such file"
    try:
        data, _ = storage.read_file(path)
    except ImageError as error:
        return UNREADABLE, str(error)
    if why := _damage(data):
        return DAMAGED, why
    if digest and hashlib.blake2b(data, digest_size=16).hexdigest() != digest:
        return CHANGED, "is not the image that the job made"
    return "", ""


def _damage(data: bytes) -> str:
    """Why the bytes are no whole image; empty where they are one."""
    if not data:
        return "is empty"
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception as error:  # decoders raise almost anything
        return f"does not decode ({' '.join(str(error).split())[:200]})"
    return ""
