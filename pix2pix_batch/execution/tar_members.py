"""The members of a tar, read as WebDataset has them: those of one name are a sample.

A tar is read once from front to back and never held whole.
"""

from __future__ import annotations

import gzip
import io
import itertools
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import IO, Any

from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import kinds
from pix2pix_batch.imaging.decoding import beginnings
from pix2pix_batch.imaging.kinds import Open
from pix2pix_batch.inputs import litter
from pix2pix_batch.inputs.choice import EXCLUDED, LITTER, OTHER, TAKEN, InputFilter
from pix2pix_batch.item import Item
from pix2pix_batch.storage import common, files, remote
from pix2pix_batch.storage.common import DIRECTORY

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

FIRST_IMAGES = 4
"""Images of a tar that decide the precision."""
LOOK = 100
"""Members that are looked at for each image that is wanted to decide the precision."""

BLOCK = 512
"""Bytes that all in a tar is a multiple of."""

PADDING = 1 << 20
"""Bytes of zeros that an archive may end with: records of 10 KiB are usual, of 1 MiB the largest
(GNU tar's manual, "The Blocking Factor of an Archive")."""

MAGIC = b"ustar"
"""Of a header, at byte 257."""

GNU_MAGIC, GNU_DIRECTORY, GNU_LABEL = b"ustar  \0", b"D", b"V"
"""GNU tar's manual, "Basic Tar Format": its older format, and two kinds of members in it."""

TRAILER = bytes(BLOCK)
"""The block that ends an archive."""


GZIP = b"\x1f\x8b\x08"
"""How gzip's files begin (RFC 1952, section 2.3.1: its mark, and Deflate)."""

DAMAGE = (tarfile.TarError, EOFError, ValueError, RecursionError, zlib.error, gzip.BadGzipFile)
"""What reading a damaged tar raises."""


class Header(tarfile.TarInfo):
    """A member's header. In GNU's older format times stand where others have the beginning of the
    name, for which :mod:`tarfile` takes them."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Header:  # type: ignore[override]
        found = super().frombuf(buf, encoding, errors)
        if buf[257:265] == GNU_MAGIC:
            prefix = buf[345:500].partition(b"\0")[0].decode(encoding, errors)
            found.name = found.name.removeprefix(f"{prefix}/") if prefix else found.name
        return found


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
    why: str = OTHER
    """What it is taken for (:class:`pix2pix_batch.inputs.choice.InputFilter`)."""

    @property
    def key(self) -> str:
        """What its sample's members have in common: all up to the first dot of the file's name."""
        directory, _, name = self.path.rpartition("/")
        return f"{directory}/{name.partition('.')[0]}"

    @property
    def is_image(self) -> bool:
        return self.why == TAKEN

    @property
    def is_left(self) -> bool:
        """Whether it is left out as litter or by the user."""
        return self.why in (LITTER, EXCLUDED)


class Forward:
    """What :mod:`tarfile` reads from: a stream that is never taken back, of bounded appetite."""

    def __init__(self, read: Callable[[int], bytes], compressed: Callable[[], int] | None) -> None:
        """``compressed``: how many bytes of the compressed file have been read."""
        self._read, self._compressed = read, compressed
        self._place = 0
        self.last = b""
        self.allowance = HEADER
        """Bytes that may still be read before the next member must begin."""

    def tell(self) -> int:
        return self._place

    def read(self, size: int) -> bytes:
        self.allowance -= size
        if self.allowance < 0:
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
        allowance = self.allowance
        while self._place < place:
            self.allowance = PIECE
            if not self.read(min(PIECE, place - self._place)):
                raise Damaged("the tar is cut off within a member")
        self.allowance = allowance
        return self._place


def members(path: str, choice: InputFilter | None = None) -> Generator[Member, None, None]:
    """The files of the tar at ``path``, each once, in order. Take its content before the next.

    Directories are left out; links, devices and names that lead elsewhere come with a refusal.
    ``choice`` says which are images.
    Raises :class:`ImageError`.
    """
    choice = choice or InputFilter()
    with ExitStack() as stack:
        raw = files.open_stream(path)
        stack.callback(raw.close)
        try:
            forward = _forward(raw)
        except Exception as error:  # of the disk or of the store
            raise ImageError(f"cannot be read ({remote.explain_error(error)})") from error
        try:
            archive = _open(forward)
            while (found := archive.next()) is not None:
                if not found.isdir() and found.type not in (GNU_DIRECTORY, GNU_LABEL):
                    yield _member(archive, found, forward, choice)
                archive.members = []  # type: ignore[attr-defined]  # which would grow with the tar
                forward.allowance = HEADER
            # tarfile takes the end of the file for the end of the tar, so that one cut off between
            # two members would pass for whole.
            if forward.last != TRAILER:
                raise Damaged("the tar is damaged or cut off: it ends without an end mark")
            _check_behind(forward)
        except ImageError:
            raise
        except DAMAGE as error:
            raise Damaged(f"the tar is damaged: {error or type(error).__name__}") from error
        except Exception as error:  # of the disk or of the store
            raise ImageError(f"cannot be read ({remote.explain_error(error)})") from error


def _open(forward: Forward) -> tarfile.TarFile:
    """Its first header is read. Raises :class:`Damaged` where it is known what else the file is."""
    try:
        return tarfile.TarFile(
            fileobj=forward,  # type: ignore[arg-type]
            mode="r",
            # The same everywhere: tarfile's default is the locale's, and names decide output bytes.
            encoding="utf-8",
            errors="surrogateescape",
            tarinfo=Header,
        )
    except tarfile.TarError as error:
        is_what = beginnings.describe_file(forward.last) if forward.last else ""
        if not is_what.startswith("not an image"):
            raise
        raise Damaged(is_what.replace("not an image", "not a tar", 1)) from error


def _check_behind(forward: Forward) -> None:
    """Look at what lies behind the block of zeros that was taken for the end mark: padding may, and
    what else 'tar' leaves alone.

    Raises :class:`Damaged` where members do, and what the compression raises, whose checksum comes
    last.
    """
    zeros = 1
    forward.allowance = BLOCK
    while len(block := forward.read(BLOCK)) == BLOCK and not any(block):
        zeros += 1
        if zeros * BLOCK > PADDING:
            raise Damaged(
                f"the tar is damaged: more than {PADDING:,} bytes of zeros stand where it ends, in "
                "place of members perhaps; get it again, or pack it anew"
            )
        forward.allowance = BLOCK
    if len(block) == BLOCK and _is_header(block):
        raise Damaged(
            "another tar lies behind its end mark, as 'cat' joins them, and would be lost; join "
            "them with 'tar -A', or give them one by one"
        )
    # one block of zeros is no end mark, which has two, and behind one there is no further member
    has_members = any(block) and zeros == 1
    forward.allowance = PIECE
    while piece := forward.read(PIECE):
        has_members |= MAGIC in (piece[i + 257 : i + 262] for i in range(0, len(piece), BLOCK))
        forward.allowance = PIECE
    if has_members:
        raise Damaged("the tar is damaged: zeros stand where a member should begin")


def _is_header(block: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


class _Gzip:
    """The content of a gzip file: of all its parts, and not what follows them and is none, which
    'gzip' leaves alone too."""

    def __init__(self, raw: Any, start: bytes) -> None:
        """``start``: what has been read of ``raw``."""
        self.taken = 0
        self._raw, self._start = raw, start
        self._file = gzip.GzipFile(fileobj=self, mode="rb")  # type: ignore[call-overload]
        self._has_begun = False

    def read(self, size: int = -1) -> bytes:
        """Of the compressed file."""
        size = size if size >= 0 else PIECE
        data, self._start = self._start[:size], self._start[size:]
        data = data or self._raw.read(size)
        self.taken += len(data)
        return data

    def read_content(self, size: int) -> bytes:
        try:
            content = self._file.read1(size)
        except gzip.BadGzipFile as error:
            if self._has_begun and "Not a gzipped file" in str(error):
                return b""
            raise
        self._has_begun = True
        return content


def _forward(raw: Any) -> Forward:
    """Whether a tar is compressed is told by its first bytes, whatever it is called."""
    start = raw.read(len(GZIP))
    if start == GZIP:
        packed = _Gzip(raw, start)
        return Forward(packed.read_content, lambda: packed.taken)

    def read(size: int) -> bytes:
        nonlocal start
        piece, start = (start[:size], start[size:]) if start else (raw.read(size), b"")
        return piece

    return Forward(read, None)


def _member(
    archive: tarfile.TarFile, found: tarfile.TarInfo, forward: Forward, choice: InputFilter
) -> Member:
    path = os.path.normpath(found.name)
    member = Member(found.name, path, found.size)
    member.refusal = _refusal(found, path)
    by_name = _classify_member(choice, path, lambda: None)
    if member.refusal or by_name in (LITTER, EXCLUDED):
        member.why = by_name
        return member
    if by_name == TAKEN and found.size > common.LARGEST:
        member.refusal = f"is larger than {common.LARGEST:,} bytes, the most that is read"
        member.why = by_name
        return member
    file = archive.extractfile(found)
    assert file is not None
    if found.size <= IN_MEMORY or by_name == TAKEN:
        content = member.content = b"".join(_pieces(file, forward))
        member.why = _classify_member(choice, path, lambda: io.BytesIO(content))
    else:
        member.content = tempfile.TemporaryFile()  # noqa: SIM115 (lives until its turn)
        member.content.writelines(_pieces(file, forward))
    return member


def _classify_member(choice: InputFilter, path: str, look: Open) -> str:
    """What a member is. Hidden ones that are no pictures may belong to a sample, and go along."""
    path = "/".join(part for part in path.lstrip("/").split("/") if part != "..") or path
    why = choice.classify_path(path, look)
    is_picture = kinds.suffix_of(path) in kinds.suffixes()
    return OTHER if why == LITTER and not is_picture and not litter.is_known(path) else why


def _pieces(file: IO[bytes], forward: Forward) -> Iterator[bytes]:
    while True:
        forward.allowance = 2 * PIECE
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


def samples(found: Iterator[Member]) -> Iterator[list[Member]]:
    """Members of one key in a row, up to :data:`SAMPLE`."""
    # Neighbours only, as WebDataset groups them: finding a sample's scattered members would need
    # the whole tar in memory.
    for _, group in itertools.groupby(found, key=lambda member: member.key):
        while sample := list(itertools.islice(group, SAMPLE)):
            yield sample


def first_images(item: Item, choice: InputFilter) -> list[Item]:
    """The first images of a tar, to look at; few where it cannot be read."""
    found: list[Item] = []
    with suppress(ImageError), closing(members(item.path, choice)) as all_members:
        for member in itertools.islice(all_members, LOOK * FIRST_IMAGES):
            if member.is_image and not member.refusal and isinstance(member.content, bytes):
                name = f"{item.name}/{member.path}"
                found.append(Item("", name, "", "", content=member.content))
                if len(found) == FIRST_IMAGES:
                    break
    return found
