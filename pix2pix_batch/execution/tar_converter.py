"""Converts a tar of images into another tar. ``docs/storage.md`` says what becomes of its
members."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import IO

from pix2pix_batch.errors import ImageError, OutputError
from pix2pix_batch.execution.tar_members import Damaged, Member, members, samples
from pix2pix_batch.execution.tar_writer import FolderTarget, TarWriter, target_of
from pix2pix_batch.imaging.metadata.tiff_pages import count_in
from pix2pix_batch.imaging.output_formats import SAME, SUFFIXES, form_of
from pix2pix_batch.imaging.pages import MARK, may_have_pages
from pix2pix_batch.inference.converter import Converter
from pix2pix_batch.inference.pending_image import Watch
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.inputs.choice import EXCLUDED, LITTER, UNREAD, InputFilter
from pix2pix_batch.inputs.naming import Naming
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import DONE, FAILED, UNDER, Record
from pix2pix_batch.storage import destination, files
from pix2pix_batch.storage.name_set import HashSet

HELD, HELD_BYTES = 4096, 64 << 20
"""Members, and their bytes in memory, that wait at most for images before them to be done."""

Hold = Callable[[str], AbstractContextManager[None]]
"""Makes, of an image's name, the context in which that image is converted, alone."""


@dataclass
class Sample:
    """The state of a sample's images: how many are ``made``, ``failed`` and still ``waiting``."""

    made: int = 0
    failed: int = 0
    waiting: int = 0

    @property
    def is_kept(self) -> bool | None:
        """Whether the sample's other members are kept, as far as is known: not if all its images
        failed."""
        if self.made or not (self.failed or self.waiting):
            return True
        return None if self.waiting else False


@dataclass
class PendingMember:
    """A member's place in the output. ``content``: ``None`` where it is left out;
    ``waits``: an image that is not made yet."""

    name: str
    size: int
    content: bytes | IO[bytes] | None
    sample: Sample
    record: str = ""
    waits: bool = False

    @property
    def is_settled(self) -> bool:
        return not self.waits and (bool(self.record) or self.sample.is_kept is not None)

    @property
    def is_kept(self) -> bool:
        return self.content is not None and (bool(self.record) or self.sample.is_kept is True)

    @property
    def buffered_bytes(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else 0


# The state of a tar that is read, translated and written at once.
class TarConverter:
    """Converts the members of one tar, in order and in little memory."""

    def __init__(
        self,
        settings: Settings,
        item: Item,
        stamp: str,
        target: TarWriter | FolderTarget,
        watch: Watch | None,
        excluded_records: Sequence[Record] = (),
    ) -> None:
        # what lies on the ground or bears a time is a file beside others
        self.settings = replace(settings, georeference=False, keep_times=False)
        self.item, self.stamp, self.target, self.watch = item, stamp, target, watch
        self.excluded_records = {record.name: record for record in excluded_records}
        self.records: dict[str, Record] = {}
        """What became of each image, and of each member that was refused."""
        self._slots: deque[PendingMember] = deque()
        self._waiting: dict[str, PendingMember] = {}
        self._made: dict[str, bytes] = {}
        self.taken_for: Counter[str] = Counter()
        """How many members are what, as of :class:`InputFilter`."""
        self._choice = InputFilter(settings.exclude, settings.include)
        # a tar's members are told apart by case, whatever disk the tar lies on
        out = settings.out if settings.unpack else ""
        self._naming = Naming.within(out, item.form, True) if out else Naming(item.form)
        self._taken, self._named = HashSet(), HashSet()
        self._copies: Counter[str] = Counter()
        self._ended = False

    def run(self) -> None:
        """Raises :class:`ImageError` for a tar that cannot be read, and what ``target`` does."""
        with closing(members(self.item.path, self._choice)) as found:
            groups = samples(found)
            while not self._ended:
                converter = Converter(self.settings, self._made.__setitem__, self.watch)
                converter.run(self._images(groups, converter))
                self._drain(converter)

    def run_one_by_one(self, hold: Hold) -> None:
        """As :meth:`run`, one image after the other."""
        converter = Converter(self.settings, self._made.__setitem__, self.watch)
        with closing(members(self.item.path, self._choice)) as found:
            for sample in samples(found):
                for image in self._enqueue(sample):
                    with hold(image.name):
                        converter.run([image])
                self._drain(converter)

    def _images(self, groups: Iterator[list[Member]], converter: Converter) -> Iterator[Item]:
        """The images to make; ends early where too much waits for those that are being made."""
        for group in groups:
            yield from self._enqueue(group)
            self._drain(converter)
            held = sum(slot.buffered_bytes for slot in self._slots)
            if len(self._slots) > HELD or held > HELD_BYTES:
                return
        self._ended = True

    def _enqueue(self, group: list[Member]) -> list[Item]:
        sample = Sample()
        self.taken_for.update(member.why for member in group)
        group = [member for member in group if not member.is_left]
        names = _outputs(group, self.item.form)
        items = []
        for member in group:
            for page in self._list_pages(member):
                output = _name_page(names[member.path], page)
                if (item := self._enqueue_one(member, page, output, sample)) is not None:
                    items.append(item)
        return items

    def _list_pages(self, member: Member) -> Sequence[int]:
        """The pages of a member that are images of their own; 0 for what is one."""
        content = member.content
        is_wanted = self.settings.pages == "all" and member.is_image and not member.refusal
        if not (is_wanted and isinstance(content, bytes) and may_have_pages(member.path)):
            return (0,)
        count = count_in(content)
        return range(1, count + 1) if count > 1 else (0,)

    def _enqueue_one(self, member: Member, page: int, output: str, sample: Sample) -> Item | None:
        """A place for a member or one of its pages; the image that is to be made for it."""
        name, refusal = self._name(member, page), member.refusal
        if not refusal and not self._taken.add(self._naming.key(os.path.normpath(output))):
            alike = ", as OUT's file system does not heed case" if self._naming.fold else ""
            refusal = f"its output {output} is that of an earlier member{alike}; rename one"
        refused = Record(name, FAILED, self.stamp, reason=refusal) if refusal else None
        if refused := refused or self.excluded_records.get(name):
            sample.failed += member.is_image
            self._count_record(
                replace(refused, outdated="" if refusal else self._outdated_output(output))
            )
            return None
        slot = PendingMember(output, member.size, member.content, sample)
        self._slots.append(slot)
        if not member.is_image:
            return None
        assert isinstance(member.content, bytes)
        slot.record, slot.content, slot.waits = name, None, True
        sample.waiting += 1
        self._waiting[slot.record] = slot
        form = form_of(member.path, self.item.form)
        made = Item("", slot.record, slot.record, form, content=member.content, page=page)
        return replace(made, stamp=self.stamp)

    def _name(self, member: Member, page: int) -> str:
        """The member's name in the journal: a second member of the same name is ``a.png#2``."""
        name = path = f"{self.item.name}/{_name_page(member.path, page, at_end=True)}"
        while not self._named.add(name):
            self._copies[path] += 1
            name = f"{path}#{self._copies[path] + 1}"
        return name

    def _count_record(self, record: Record) -> None:
        self.records[record.name] = record

    def _drain(self, converter: Converter) -> None:
        """Take the converter's records, and pass on the members that are now complete."""
        records, converter.records = converter.records, []
        for record in records:
            slot = self._waiting.pop(record.name)
            slot.waits = False
            slot.sample.waiting -= 1
            if record.status == DONE:
                slot.content = self._made.pop(record.output)
                slot.size = len(slot.content)
                slot.sample.made += 1
            else:
                slot.sample.failed += 1
            if slot.content:
                self._count_record(replace(record, output=self._output(slot), beside=None))
            else:
                self._count_record(
                    replace(record, output="", outdated=self._outdated_output(slot.name))
                )
        # In the members' order, whatever order the codecs finish in: the tar's bytes must not
        # depend on it.
        while self._slots and self._slots[0].is_settled:
            self._hand_on(self._slots.popleft())

    def _output(self, slot: PendingMember) -> str:
        """The path in OUT if the member becomes a file of its own; else empty."""
        return self._inside(slot.name) if self.settings.unpack else ""

    def _outdated_output(self, name: str) -> str:
        """The file in OUT that an earlier version of a member that failed has left."""
        if not self.settings.unpack:
            return ""
        inside = self._inside(name)
        return inside if destination.list_outputs(self.settings.out).has(inside) else ""

    def _inside(self, name: str) -> str:
        return f"{self.item.output}/{os.path.normpath(name)}"

    def _hand_on(self, slot: PendingMember) -> None:
        if not slot.is_kept:
            return
        assert slot.content is not None
        try:
            self.target.add(slot.name, slot.size, slot.content)
        except ImageError as error:
            name = slot.record or f"{self.item.name}/{os.path.normpath(slot.name)}"
            self._count_record(Record(name, FAILED, reason=str(error)))


def _name_page(name: str, page: int, *, at_end: bool = False) -> str:
    """A name with a page's number, before its suffix or ``at_end``."""
    if not page:
        return name
    stem, suffix = (name, "") if at_end else os.path.splitext(name)
    return f"{stem}{MARK}{page}{suffix}"


def _outputs(group: list[Member], form: str) -> dict[str, str]:
    """The members' names in the output; where two images would meet, both keep the whole name."""
    names, whole = {}, {}
    # The first of those with one path has its own name; a later one is refused.
    for member in {one.path: one for one in reversed(group)}.values():
        names[member.path] = member.name
        if member.is_image:
            stem, own = os.path.splitext(member.name)
            suffix = SUFFIXES[form_of(member.path, form)]
            is_same = form == "same" and own.lower() in SAME
            names[member.path] = member.name if is_same else stem + suffix
            whole[member.path] = member.name + suffix
    count = Counter(names.values())
    return {
        path: whole[path] if path in whole and count[name] > 1 else name
        for path, name in names.items()
    }


def convert(
    settings: Settings,
    item: Item,
    watch: Watch | None = None,
    hold: Hold | None = None,
    excluded_records: Sequence[Record] = (),
) -> tuple[list[Record], str]:
    """Convert a tar. Returns the records of its images and of itself, and why nothing more can be
    written.

    With ``hold`` one image is converted after the other, each under it. ``excluded_records``: what
    became of images that are not to be tried any more.
    """
    stamp = ""
    try:
        stamp = item.stamp or files.stamp_of(item.path)
        with target_of(settings, item) as target:
            converter = TarConverter(settings, item, stamp, target, watch, excluded_records)
            if hold is None:
                converter.run()
            else:
                converter.run_one_by_one(hold)
            digest = target.end()
    except Damaged as error:
        return [Record(item.name, FAILED, stamp, reason=str(error))], ""
    except ImageError as error:
        return [Record(item.name, FAILED, reason=str(error))], ""
    except OutputError as error:
        return [], str(error)
    records = list(converter.records.values())
    failed = [record for record in records if record.status != DONE]
    # A failure without a stamp may pass; a tar with a stamp would count as settled and keep the
    # gap.
    if not all(record.stamp for record in failed):  # the next run tries it again
        stamp = ""
    whole = Record(item.name, DONE, stamp, item.output, hash=digest, members=len(records))
    under = UNDER.join(sorted({record.under for record in failed if record.under}))
    whole = replace(whole, failed=len(failed) or None, under=under)
    count = converter.taken_for
    litter, excluded, unread = (count[why] or None for why in (LITTER, EXCLUDED, UNREAD))
    return [*records, replace(whole, litter=litter, excluded=excluded, unread=unread)], ""
