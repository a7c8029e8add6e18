"""Tars of images, read and written as WebDataset has them: members of one name are a sample.

A tar is read once from front to back and never held whole. ``docs/storage.md`` says what becomes
of its members.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import tarfile
import tempfile
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import IO, Any

from pix2pix_batch.errors import ImageError, OutputError
from pix2pix_batch.files import remote, storage
from pix2pix_batch.images import SAME, SUFFIXES, form_of, suffixes
from pix2pix_batch.inputs.names import Seen
from pix2pix_batch.inputs.scan import Item
from pix2pix_batch.records.record import DIRECTORY, DONE, FAILED, Record
from pix2pix_batch.settings import Settings
from pix2pix_batch.workers.converter import Converter, Watch

PIECE = 1 << 20
"""Bytes read at a time."""

HEADER = 1 << 20
"""Bytes that the headers of one member may have: names, times and attributes are far shorter."""

EXPANDED, RATIO = 1 << 30, 100
"""A compressed tar may become so many bytes, and beyond them so many times as large as it is.
Images hardly shrink, text shrinks to a tenth; a bomb to a thousandth."""

IN_MEMORY = 1 << 24
"""Bytes from which on a member that is no image waits on disk for its turn."""

SAMPLE = 64
"""Members that a sample has at most: more of one name in a row are no sample."""

HELD, HELD_BYTES = 4096, 64 << 20
"""Members, and their bytes in memory, that wait at most for images before them to be done."""

LOOK = 100
"""Members that are looked at for each image that is wanted to decide the precision."""

TRAILER = bytes(512)
"""The block that ends an archive."""


Hold = Callable[[str], AbstractContextManager[None]]
"""What an image is converted under, alone: told its name."""

_suffixes = cache(suffixes)


class Damaged(ImageError):
    """A tar that cannot be read to its end."""


@dataclass
class Member:
    """A file of a tar. ``name``: as the tar has it; ``path``: tidied; ``content``: its bytes,
    empty for a ``refusal``, which says why it is left out."""

    name: str
    path: str
    size: int
    content: bytes | IO[bytes] = b""
    refusal: str = ""

    @property
    def key(self) -> str:
        """What its sample's members have in common: all up to the first dot of the file's name."""
        directory, _, name = self.path.rpartition("/")
        return f"{directory}/{name.partition('.')[0]}"

    @property
    def is_image(self) -> bool:
        return os.path.splitext(self.path)[1].lower() in _suffixes()


class Forward:
    """What :mod:`tarfile` reads from: a stream that is never taken back, of bounded appetite."""

    def __init__(self, read: Callable[[int], bytes], compressed: Callable[[], int] | None) -> None:
        """``compressed``: how many bytes of the compressed file have been read."""
        self._read, self._compressed = read, compressed
        self._place = 0
        self.last = b""
        self.left = HEADER
        """Bytes that may still be read before the next member must begin."""

    def tell(self) -> int:
        return self._place

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise Damaged(f"the tar is damaged: a header of more than {HEADER:,} bytes")
        pieces, wanted = [], size
        while wanted > 0 and (piece := self._read(min(wanted, PIECE))):
            pieces.append(piece)
            wanted -= len(piece)
        self.last = b"".join(pieces)
        self._place += len(self.last)
        if (
            self._compressed is not None
            and self._place > EXPANDED
            and self._place > RATIO * self._compressed()
        ):
            raise Damaged(f"expands more than {RATIO} fold: refused as a decompression bomb")
        return self.last

    def seek(self, place: int) -> int:
        if place < self._place:
            raise Damaged("the tar is damaged: a member ends before it begins")
        left = self.left
        while self._place < place:
            self.left = PIECE
            if not self.read(min(PIECE, place - self._place)):
                raise Damaged("the tar is cut off within a member")
        self.left = left
        return self._place


def members(path: str) -> Generator[Member, None, None]:
    """The files of the tar at ``path``, each once, in order. Take its content before the next.

    Directories are left out; links, devices and names that lead elsewhere come with a refusal.
    Raises :class:`ImageError`.
    """
    with ExitStack() as stack:
        raw = storage.opened(path)
        stack.callback(raw.close)
        forward = _forward(stack, raw, path)
        try:
            archive = tarfile.TarFile(
                fileobj=forward,  # type: ignore[arg-type]
                mode="r",
                encoding="utf-8",
                errors="surrogateescape",
            )
            while (found := archive.next()) is not None:
                if not found.isdir():
                    yield _member(archive, found, forward)
                archive.members = []  # type: ignore[attr-defined]  # which would grow with the tar
                forward.left = HEADER
        except ImageError:
            raise
        except (tarfile.TarError, EOFError, ValueError, RecursionError, zlib.error) as error:
            raise Damaged(f"the tar is damaged: {error or type(error).__name__}") from error
        except Exception as error:  # of the disk or of the store
            raise ImageError(f"cannot be read ({remote.reason(error)})") from error
        if forward.last != TRAILER:
            raise Damaged("the tar is damaged or cut off: it ends without an end mark")


def _forward(stack: ExitStack, raw: Any, path: str) -> Forward:
    if not path.partition("?")[0].lower().endswith("gz"):
        return Forward(raw.read, None)
    taken = 0

    class Counted:
        def read(self, size: int = -1) -> bytes:
            nonlocal taken
            data: bytes = raw.read(size if size >= 0 else PIECE)
            taken += len(data)
            return data

    file = stack.enter_context(gzip.GzipFile(fileobj=Counted(), mode="rb"))  # type: ignore[call-overload]
    return Forward(file.read1, lambda: taken)


def _member(archive: tarfile.TarFile, found: tarfile.TarInfo, forward: Forward) -> Member:
    path = os.path.normpath(found.name)
    member = Member(found.name, path, found.size)
    member.refusal = _refusal(found, path)
    if member.refusal:
        return member
    if member.is_image and found.size > storage.LARGEST:
        member.refusal = f"is larger than {storage.LARGEST:,} bytes, the most that is read"
        return member
    file = archive.extractfile(found)
    assert file is not None
    if found.size <= IN_MEMORY or member.is_image:
        member.content = b"".join(_pieces(file, forward))
    else:
        member.content = tempfile.TemporaryFile()  # noqa: SIM115 (lives until its turn)
        member.content.writelines(_pieces(file, forward))
    return member


def _pieces(file: IO[bytes], forward: Forward) -> Iterator[bytes]:
    while True:
        forward.left = 2 * PIECE
        piece = file.read(PIECE)
        if not piece:
            return
        yield piece


def _refusal(found: tarfile.TarInfo, path: str) -> str:
    if found.issym() or found.islnk():
        return "a link in a tar; links are not followed"
    if found.issparse():
        return "a sparse file in a tar; pack it anew without --sparse"
    if not found.isreg() or found.size < 0:
        return "neither a file nor a directory"
    if found.name.startswith("/") or "\0" in found.name:
        return "its name would lead out of the tar"
    if {"..", DIRECTORY} & set(path.split("/")) or path == ".":
        return "its name would lead out of the tar"
    return ""


class TarTarget:
    """A tar whose bytes depend on its members' names and contents alone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self._place = file, hashlib.blake2b(digest_size=16), 0
        self._archive = tarfile.TarFile(
            fileobj=self,  # type: ignore[arg-type]
            mode="w",
            format=tarfile.PAX_FORMAT,
            encoding="utf-8",
            errors="surrogateescape",
        )

    def tell(self) -> int:
        return self._place

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._hash.update(data)
        self._place += len(data)
        return len(data)

    def add(self, name: str, size: int, content: bytes | IO[bytes]) -> None:
        header = tarfile.TarInfo(name)  # mode 0644, and all else, time and owner too, 0
        header.size = size
        self._archive.addfile(header)
        for piece in _content(content):
            self.write(piece)
        self.write(bytes(-size % tarfile.BLOCKSIZE))
        self._archive.offset = self._place
        self._archive.members = []  # type: ignore[attr-defined]  # which would grow with the tar

    def end(self) -> str:
        """Write the end mark. Returns the hash of all that was written."""
        self._archive.close()
        return self._hash.hexdigest()


class FolderTarget:
    """Plain files in a directory of OUT."""

    def __init__(self, out: str, directory: str) -> None:
        self._out, self._directory = out, directory

    def add(self, name: str, size: int, content: bytes | IO[bytes]) -> None:
        """Raises :class:`ImageError`."""
        with storage.placing(self._out, f"{self._directory}/{os.path.normpath(name)}") as file:
            file.writelines(_content(content))

    def end(self) -> str:
        return ""


def _content(content: bytes | IO[bytes]) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    content.seek(0)
    while piece := content.read(PIECE):
        yield piece


@contextmanager
def _target(settings: Settings, item: Item) -> Iterator[TarTarget | FolderTarget]:
    if settings.unpack:
        yield FolderTarget(settings.out, item.output)
        return
    with storage.placing(settings.out, item.output) as file:
        yield TarTarget(file)


@dataclass
class Sample:
    """What is known of the images of a sample: how many are ``made``, ``failed`` and still
    ``waiting``."""

    made: int = 0
    failed: int = 0
    waiting: int = 0

    @property
    def is_kept(self) -> bool | None:
        """Whether its other members are, as far as that is known: not where all images failed."""
        if self.made or not (self.failed or self.waiting):
            return True
        return None if self.waiting else False


@dataclass
class Slot:
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
    def held(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else 0


class Passage:
    """A tar on its way from members to members, in order and in little memory."""

    def __init__(
        self,
        settings: Settings,
        item: Item,
        stamp: str,
        target: TarTarget | FolderTarget,
        watch: Watch | None,
        without: Sequence[Record] = (),
    ) -> None:
        # what lies on the ground or bears a time is a file beside others
        self.settings = replace(settings, georeference=False, keep_times=False)
        self.item, self.stamp, self.target, self.watch = item, stamp, target, watch
        self.without = {record.name: record for record in without}
        self.records: dict[str, Record] = {}
        """What became of each image, and of each member that was refused."""
        self._slots: deque[Slot] = deque()
        self._waiting: dict[str, Slot] = {}
        self._made: dict[str, bytes] = {}
        self._taken = Seen()
        self._ended = False

    def run(self) -> None:
        """Raises :class:`ImageError` for a tar that cannot be read, and what ``target`` does."""
        with closing(members(self.item.path)) as found:
            samples = _samples(found)
            while not self._ended:
                converter = Converter(self.settings, self._made.__setitem__, self.watch)
                converter.run(self._images(samples, converter))
                self._drain(converter)

    def run_one_by_one(self, hold: Hold) -> None:
        """As :meth:`run`, one image after the other."""
        converter = Converter(self.settings, self._made.__setitem__, self.watch)
        with closing(members(self.item.path)) as found:
            for sample in _samples(found):
                for image in self._enqueue(sample):
                    with hold(image.name):
                        converter.run([image])
                self._drain(converter)

    def _images(self, samples: Iterator[list[Member]], converter: Converter) -> Iterator[Item]:
        """The images to make; ends early where too much waits for those that are being made."""
        for sample in samples:
            yield from self._enqueue(sample)
            self._drain(converter)
            held = sum(slot.held for slot in self._slots)
            if len(self._slots) > HELD or held > HELD_BYTES:
                return
        self._ended = True

    def _enqueue(self, group: list[Member]) -> list[Item]:
        sample = Sample()
        names = _outputs(group, self.item.form)
        items = []
        for member in group:
            output, is_image = names[member.path], member.is_image
            if harmful := self.without.get(self._name(member)):
                sample.failed += is_image
                self._note(harmful)
                continue
            refusal = member.refusal
            if not refusal and not self._taken.add(os.path.normpath(output)):
                refusal = f"its output {output} is that of an earlier member; rename one"
            if refusal:
                sample.failed += is_image
                self._note(Record(self._name(member), FAILED, self.stamp, reason=refusal))
                continue
            slot = Slot(output, member.size, member.content, sample)
            self._slots.append(slot)
            if not is_image:
                continue
            assert isinstance(member.content, bytes)
            slot.record, slot.content, slot.waits = self._name(member), None, True
            sample.waiting += 1
            self._waiting[slot.record] = slot
            form = form_of(member.path, self.item.form)
            made = Item("", slot.record, slot.record, form, content=member.content)
            items.append(replace(made, stamp=self.stamp))
        return items

    def _name(self, member: Member) -> str:
        return f"{self.item.name}/{member.path}"

    def _note(self, record: Record) -> None:
        self.records[record.name] = record

    def _drain(self, converter: Converter) -> None:
        """Take what the converter has done, and hand on what is now complete."""
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
            self._note(replace(record, output=self._output(slot) if slot.content else ""))
        while self._slots and self._slots[0].is_settled:
            self._hand_on(self._slots.popleft())

    def _output(self, slot: Slot) -> str:
        """A file of OUT, where it is one."""
        inside = f"{self.item.output}/{os.path.normpath(slot.name)}"
        return inside if self.settings.unpack else ""

    def _hand_on(self, slot: Slot) -> None:
        if not slot.is_kept:
            return
        assert slot.content is not None
        try:
            self.target.add(slot.name, slot.size, slot.content)
        except ImageError as error:
            name = slot.record or f"{self.item.name}/{os.path.normpath(slot.name)}"
            self._note(Record(name, FAILED, reason=str(error)))


def _samples(found: Iterator[Member]) -> Iterator[list[Member]]:
    """Members of one key in a row, up to :data:`SAMPLE`."""
    for _, group in itertools.groupby(found, key=lambda member: member.key):
        while sample := list(itertools.islice(group, SAMPLE)):
            yield sample


def _outputs(group: list[Member], form: str) -> dict[str, str]:
    """The members' names in the output; where two images would meet, both keep the whole name."""
    names, whole = {}, {}
    for member in group:
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
    without: Sequence[Record] = (),
) -> tuple[list[Record], str]:
    """The records of a tar's images and of itself, and why nothing more can be written.

    With ``hold`` one image is converted after the other, each under it. ``without``: what became
    of images that are not to be tried any more.
    """
    stamp = ""
    try:
        stamp = item.stamp or storage.stamp_of(item.path)
        with _target(settings, item) as target:
            passage = Passage(settings, item, stamp, target, watch, without)
            if hold is None:
                passage.run()
            else:
                passage.run_one_by_one(hold)
            digest = target.end()
    except Damaged as error:
        return [Record(item.name, FAILED, stamp, reason=str(error))], ""
    except ImageError as error:
        return [Record(item.name, FAILED, reason=str(error))], ""
    except OutputError as error:
        return [], str(error)
    records = list(passage.records.values())
    whole = Record(item.name, DONE, stamp, item.output, hash=digest, members=len(records))
    return [*records, whole], ""


def some(item: Item, count: int = 4) -> list[Item]:
    """The first images of a tar, to look at; few where it cannot be read."""
    found: list[Item] = []
    with suppress(ImageError), closing(members(item.path)) as all_members:
        for member in itertools.islice(all_members, LOOK * count):
            if member.is_image and not member.refusal and isinstance(member.content, bytes):
                name = f"{item.name}/{member.path}"
                found.append(Item("", name, "", "", content=member.content))
                if len(found) == count:
                    break
    return found
