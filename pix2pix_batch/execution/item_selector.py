"""Selects the inputs to convert: drops those that are done, hopeless or refused."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pix2pix_batch.errors import EMPTY, ImageError, InputError, OutputError
from pix2pix_batch.execution.output_placement import InputGuard, OutputNames
from pix2pix_batch.imaging import sidecars, tileset
from pix2pix_batch.inference.autotune import PROBE_IMAGES
from pix2pix_batch.inputs.source import InputSource
from pix2pix_batch.item import Item
from pix2pix_batch.journal.history import DIRECTORY_OF_NAMES, History
from pix2pix_batch.journal.record import DONE, FAILED, QUARANTINED, Record
from pix2pix_batch.journal.roll_call import Presence, RollCall
from pix2pix_batch.journal.shard import Shard
from pix2pix_batch.options import Options
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.storage import destination, files, local
from pix2pix_batch.storage.common import DIRECTORY, IN_THE_WAY
from pix2pix_batch.storage.store import Outputs, store_of
from pix2pix_batch.text import escape

REPLACES = "its output would replace an input, or lie among them; choose another OUT"

TOGETHER = 512
"""Inputs that cannot be converted are recorded so many at a time."""


# What it was given and what it has counted; who reads the counts needs them after it.
@dataclass
class ItemSelector:
    """Takes the items that ``scan`` finds, and gives those to be converted.

    ``out``: path or URL of OUT; ``kept``: the directory that holds its journal. What is not given
    is counted in ``summary``. Once ``stop`` is set, no more is taken. ``missing``: inputs that
    cannot be found; ``presence``: which of those recorded have gone or come back, once that is
    known; ``left``: what of the scan's descriptions is not carried over, and why;
    ``outdated``: the outputs from before of inputs that are given, until somebody takes them out;
    ``beside``: the same for the files beside these.
    """

    scan: InputSource
    options: Options
    out: str
    kept: Path
    summary: Summary
    stop: threading.Event
    missing: int = 0
    left: str = ""
    presence: Presence | None = None
    taken: int = 0
    outdated: dict[str, str] = field(default_factory=dict)
    beside: dict[str, list[str]] = field(default_factory=dict)
    outputs: Outputs = field(init=False)

    records_inputs = True
    """Whether the journal has a record for each input, and for nothing else."""

    def __post_init__(self) -> None:
        self.found = InputGuard(self.scan, self.out)
        self.shard = Shard.parse(self.options.shard) if self.options.shard else None
        self.is_remote = not store_of(self.out).is_local
        self.outputs = destination.list_outputs(self.out)
        # once a run: it takes longer to make than all else that an item that is done costs
        self.failure_conditions = self.options.failure_conditions

    def require_images(self) -> None:
        """Raises :class:`InputError`, before anything is made, where there is nothing to do."""
        first = self.found.next()
        if first is not None:
            self.found.push_back(first)
        elif not self.scan.unlisted:
            raise InputError(self.scan.explain_no_images())

    def count(self, scan: InputSource, history: History) -> int | None:
        """How many inputs of this run another scan of the same input finds.

        ``None`` if there are tars, because the number of their images is not known.
        """
        total = 0
        found = RollCall(history, scan.seeks)
        for item in scan:
            if item.tar:
                return None
            if self._is_mine(item.name):
                found.add(item.name)
                total += self._images(item)
        for name, _ in scan.unlisted:
            if self._is_mine(name):
                found.add(name)
                total += 1
        self.presence = self._end_roll_call(found)
        return total if self.options.limit is None else min(total, self.options.limit)

    def _end_roll_call(self, found: RollCall) -> Presence | None:
        """``None`` where not all inputs were looked at, or nobody is to know."""
        options = self.options
        is_all = options.limit is None and self.records_inputs and not options.dry_run
        return found.end() if is_all else None

    def select(
        self, history: History, record: Callable[[list[Record]], None]
    ) -> Generator[Item, None, None]:
        """The items to convert. ``record`` is called with the records of those that cannot be
        converted, several at a time.

        The first :data:`PROBE_IMAGES` are looked at before the job begins; until then nothing but
        records is written. Raises :class:`InputError` where all will fail as one of these does.
        """
        failed: list[Record] = []
        given = 0
        names = OutputNames(self.scan, history)
        roll_call = RollCall(history, self.scan.seeks)
        try:
            for found in self._items():
                roll_call.add(found.name, is_tar=found.tar)
                self._require_directory(history, found, is_first=not given)
                item = self._place(found, names)
                if given >= PROBE_IMAGES and not self.options.dry_run:  # it has begun
                    self.describe(history.overwrites)
                now, missing = _stamp_of(item)
                if self.options.scheduler:  # whose workers may see what this machine does not
                    missing = ""
                self.missing += bool(missing)
                if self._count_settled(history, item, now):
                    continue
                if refused := self._failure(
                    history, item, now, missing, is_early=given < PROBE_IMAGES
                ):
                    failed.append(refused)
                    self.scan.drop_rename(item.name)
                    if len(failed) == TOGETHER:
                        record(failed)
                        failed = []
                else:
                    given += 1
                    if not self.options.dry_run:
                        self._note_outdated(history, item)
                    yield item
            unlisted = [(name, why) for name, why in self.scan.unlisted if self._is_mine(name)]
            self.summary.total += len(unlisted)
            failed += [Record(name, FAILED, reason=why) for name, why in unlisted]
            if not self.stop.is_set():
                for name, _ in unlisted:
                    roll_call.add(name)
                self.presence = self._end_roll_call(roll_call)
        # Also when the job closes this generator early: what was refused by then is recorded.
        finally:
            if failed:
                record(failed)

    def _count_settled(self, history: History, item: Item, now: str) -> bool:
        """Whether nothing is left to do for an item, because it is done or because it failed before
        and is not tried again. Such an item is counted. ``now``: its stamp."""
        summary, retry = self.summary, self.options.retry_failed
        before = history.status_of(item.name, now, self.failure_conditions)
        lacking = history.failed_within(item.name)
        is_made = before == DONE and (
            history.is_unpacked_to_none(item.name)
            or (self._is_there(item) and self._is_whole(item, history))
        )
        if is_made and not (retry and lacking):
            summary.skipped += self._images(item)
            summary.failed_before += lacking
            summary.total += lacking
            if self.options.strict and history.was_warned(item.name):
                summary.add_warned_before(item.output)
            return True
        if before in (FAILED, QUARANTINED) and not retry:
            summary.failed_before += self._images(item)
            self.scan.drop_rename(item.name)
            summary.add_outdated(self._outdated_output(history, item))
            return True
        return False

    def _place(self, item: Item, names: OutputNames) -> Item:
        """The item with its final output."""
        return names.place(item)

    def take_back(self, items: Iterable[Item]) -> None:
        """Count items that were given, but not begun before the run ended, as if they had not been
        seen."""
        for item in items:
            self.summary.total -= self._images(item)
            self.scan.drop_rename(item.name)

    def _items(self) -> Iterator[Item]:
        for item in self.found:
            is_mine, is_enough = self._is_mine(item.name), self.taken == self.options.limit
            if not is_mine or is_enough:
                self.scan.drop_rename(item.name)
            if not is_mine:
                continue
            if is_enough:
                return
            if self.stop.is_set():
                self.summary.interrupted = True
                return
            self.taken += 1
            self.summary.total += self._images(item)
            yield item

    def _images(self, item: Item) -> int:
        """As how many images the item counts."""
        return 1

    def _is_mine(self, name: str) -> bool:
        return self.shard is None or self.shard.holds(name)

    def _is_there(self, item: Item) -> bool:
        """Whether the item's output is there, and what goes beside it."""
        if self.is_remote:
            return self.outputs.has(item.output)
        path = f"{self.out}/{item.output}"
        if not (os.path.isfile(path) or (item.tar and os.path.isdir(path))):
            return False
        image = os.path.basename(item.path)
        return all(
            self.outputs.has(sidecars.output_name(name, image, item.output))
            for name in (item.sidecars if self.options.georeference else ())
            if not name.endswith(sidecars.AUXILIARY)  # of which nothing may be left
        )

    def _is_whole(self, item: Item, history: History) -> bool:
        """Whether the directory of an unpacked tar still has all of its outputs; of others, yes."""
        if not item.tar or self.is_remote:
            return True
        there = (
            os.path.relpath(os.path.join(directory, name), self.out)
            for directory, _, names in os.walk(os.path.join(self.out, item.output))
            for name in names
        )
        return not history.lacks_outputs(item.name, there)

    def _failure(
        self, history: History, item: Item, now: str, missing: str, *, is_early: bool
    ) -> Record | None:
        """The record of an item that cannot be converted; ``None`` if it can. ``now``: its stamp;
        ``missing``: why it has none."""
        reason = (
            self._refusal(history, item) or self._store_problem(item, is_early=is_early) or missing
        )
        is_empty = not reason and now.startswith("0:") and local.is_empty(item.path)
        if not reason and not is_empty:
            return None
        # what an output would replace may be an input, which nobody is to be told to remove
        outdated = "" if reason == REPLACES else self._outdated_output(history, item)
        record = Record(item.name, FAILED, reason=reason, outdated=outdated)
        return replace(record, stamp=now, reason=EMPTY) if is_empty else record

    def _outdated_output(self, history: History, item: Item) -> str:
        """The file in OUT that the item's output will replace, unless the item fails."""
        is_claimed = history.is_ours(item.name) or history.overwrites
        return item.output if is_claimed and self._is_there(item) else ""

    def _note_outdated(self, history: History, item: Item) -> None:
        if outdated := self._outdated_output(history, item):
            self.outdated[item.name] = outdated
        if not (history.is_ours(item.name) or history.starts_over):
            return  # as for most of a first run, where looking for each name would cost the scan
        directory, image = os.path.split(item.output)
        names = [os.path.join(directory, name) for name in sidecars.names(image)]
        # With another suffix, such as .prj, it may go with another input's output.
        found = [
            name
            for name in names
            if history.owns(item.name, name)
            or (history.knows(name) and not name.lower().endswith(sidecars.PLAIN))
        ]
        if found:
            self.beside[item.name] = found

    def remove_leftovers(self, record: Record) -> None:
        """Remove the files beside an output that was made anew which were made for the one before
        alone: they would say of this one what is true of that. Raises :class:`OutputError`."""
        before = self.beside.pop(record.name, [])
        if record.status != DONE or not (left := {*before} - {*(record.beside or ())}):
            return
        try:
            with destination.open_destination(self.out) as opened:
                for name in sorted(left):
                    opened.remove(name)
        except ImageError as error:
            raise OutputError(
                f"{escape(files.join(self.out, name))}: belongs to an earlier output, and {error}; "
                "remove it, then run the same command again"
            ) from error

    def _refusal(self, history: History, item: Item) -> str:
        """Why an item may not be converted; empty where it may."""
        if item.refusal:
            return item.refusal
        if not {"..", DIRECTORY}.isdisjoint(item.output.split("/")):
            return "its path leads out of the input; give one from the root, without '..'"
        outputs = [item.output]
        if self.options.georeference and not item.tar:
            outputs += sidecars.outputs(item.path, item.sidecars, item.output, item.form)
        if self.found.find_replaced(item, outputs):
            return REPLACES
        if history.is_of_another(item.name, item.output):
            return (
                "its output would have the name of another input's, which an earlier run has "
                "made; rename the input, or choose another OUT"
            )
        if history.is_ours(item.name):
            return ""
        theirs = [files.join(self.out, output) for output in outputs if self.outputs.has(output)]
        if not theirs:
            return ""
        sources = (item.path, *sidecars.paths(item.path, item.sidecars))
        # OUT may be IN, perhaps by another name or through a link; then --overwrite must not help.
        if {*map(os.path.realpath, theirs)} & {*map(os.path.realpath, sources)}:
            return "its output would replace it; choose another OUT"
        if os.path.isdir(theirs[0]) and not item.tar:
            return f"{IN_THE_WAY[errno.EISDIR]}; remove what is there, or choose another OUT"
        if history.overwrites:
            return ""
        what = "" if theirs[0].endswith(item.output) else f" ({os.path.basename(theirs[0])})"
        return (
            f"its output{what} exists and is not this job's; pass --overwrite, or choose another "
            "OUT"
        )

    def _require_directory(self, history: History, item: Item, is_first: bool) -> None:
        """Raises :class:`InputError`, or :class:`OutputError` where the run has begun, for a
        relative path of a list that this job takes from another directory: it would be taken
        for a file of the same name there."""
        here = self.scan.directory_of_names
        before = history.job.get(DIRECTORY_OF_NAMES, here)
        if before == here or not store_of(item.name).is_local or item.path.startswith("/"):
            return
        raise (InputError if is_first else OutputError)(
            f"{escape(item.name)}: is a relative path, and {escape(self.out)} holds another job's "
            f"images, whose list was relative to {escape(str(before))}, not {escape(str(here))}; "
            "go there, list absolute paths, or choose another OUT"
        )

    def _store_problem(self, item: Item, is_early: bool) -> str:
        """Why the store that a list names cannot be opened here; empty where it can.

        Raises :class:`InputError` for one of the first images, with which nothing has begun.
        """
        if self.options.scheduler:  # the workers are elsewhere
            return ""
        try:
            store_of(item.path).require_installed(item.path)
        except InputError as error:
            if is_early:
                raise
            return str(error)
        return ""

    def describe(self, overwrites: bool) -> None:
        """Carry over the descriptions of sets of map tiles that the scan has found so far."""
        while self.scan.descriptions:
            name = self.scan.descriptions.pop(0)
            if self.is_remote:
                self.left = f"{escape(name)} is not carried over to a URL"
                continue
            path = os.path.join(self.scan.root, name)
            why_not = tileset.carry(path, self.kept, name, self.options.format, overwrites)
            if why_not and not self.left:
                self.left = f"{escape(name)} is not carried over: {why_not}"


def _stamp_of(item: Item) -> tuple[str, str]:
    """The input's stamp as it is now, or why it has none."""
    try:
        return item.stamp or files.stamp_of(item.path), ""
    except ImageError as error:
        return "", str(error)
