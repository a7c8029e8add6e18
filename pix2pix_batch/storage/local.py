"""Files on the disks of this machine."""

from __future__ import annotations

import errno
import hashlib
import html
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.storage import common
from pix2pix_batch.storage.common import NameRules, require_size
from pix2pix_batch.storage.local_destination import LocalDestination, LocalOutputs
from pix2pix_batch.storage.retry import retry_disk
from pix2pix_batch.text import escape

NAME_BYTES = 255
"""What a name may have on Linux's file systems, unless these say otherwise (eCryptfs: 143)."""

VRT = ".vrt"
ENVI = (".img", ".dat", ".bsq", ".bil", ".bip", "")
"""Suffixes that ENVI's rasters have; Erdas's have the first."""

SOURCES = re.compile(r"<Source(?:Filename|Dataset)\b([^>]*)>([^<]*)<")
"""What a VRT says of the files that it is made of (gdal.org, "VRT -- GDAL Virtual Format")."""
RELATIVE = re.compile(r"relativeToVRT\s*=\s*[\"']\s*1")
"""That a name counts from where the VRT lies; the default is 0."""

MASK, AUXILIARY = ".msk", ".aux.xml"
"""What GDAL adds to a raster's name for files beside it: a mask, and what else it knows."""
TOLD = re.compile(rb"<(?:NoDataValue|Description)\b[^>]*>[^<]*<")
"""What decides values among what GDAL knows; programs that show a file add statistics."""
LARGEST_TOLD = 1 << 24
"""Bytes of it that are looked at."""
IN_PLACE_OF_SUFFIX = (".hdr", ".HDR", ".ige")
"""Of a raster's name: ENVI's header (which may be added to the whole name, too), and the pixels of
large files of Erdas."""
WITH_OTHERS = {
    **dict.fromkeys((VRT, ".tif", ".tiff", ".jp2", ".j2k", ".jpx"), (MASK,)),
    **dict.fromkeys(ENVI, (MASK, ".hdr", ".HDR")),
}
"""Suffixes of files whose values others decide too, and what these add to the whole name. Beside
pictures of other kinds nothing is looked for: it would take longer than to list them."""

DEEPEST = 4
"""VRTs of VRTs that are looked into; one may name itself."""

SEEN_ALIKE = frozenset({
    "vfat", "msdos", "exfat", "ntfs", "ntfs3", "fuseblk", "cifs", "smb3", "smbfs", "hfs", "hfsplus",
    "apfs", "9p", "drvfs", "virtiofs", "vboxsf", "fakeowner", "fuse", "fuse.exfat",
    "fuse.lowntfs-3g", "fuse.ntfs-3g", "fuse.fusefat", "fuse.grpcfuse", "fuse.osxfs",
    "fuse.vmhgfs-fuse",
})  # fmt: skip
"""File systems, by Linux's names, on which ``A.png`` and ``a.png`` may be one file: of other
systems' disks, of their shares, and of what virtual machines share with their hosts."""


class LocalStore:
    """The disks of this machine, as a :class:`~pix2pix_batch.storage.store.Store`."""

    is_local = True

    def join(self, base: str, name: str) -> str:
        return os.path.join(base, name)

    def absolute(self, path: str) -> str:
        return os.path.abspath(path)

    def resolve(self, path: str) -> str:
        return os.path.realpath(path)

    def find_within(self, path: str, directory: str) -> str | None:
        return find_within(path, directory)

    def stamp_of(self, path: str) -> str:
        try:
            found = os.stat(path)
            if stat.S_ISDIR(found.st_mode):
                raise ImageError("is a directory; name the files in it")
            return _stamp(path, found)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def file_size(self, path: str) -> int:
        return file_size(path)

    def read(self, path: str, known: str = "") -> tuple[bytes, str]:
        """The stamp is that of the file as it was opened, whatever is ``known``."""
        try:
            return retry_disk(lambda: _read(path))
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error

    def open_beginning(self, path: str, size: int) -> IO[bytes]:
        return open_regular(path)

    def open_stream(self, path: str) -> IO[bytes]:
        try:
            return open_regular(path)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error

    def open_list(self, path: str) -> IO[bytes]:
        """A file, or a pipe as of a shell's ``@<(find ...)``."""
        try:
            return open(path, "rb")
        except OSError as error:
            message = f"{escape(path)}: the list cannot be read ({error.strerror})"
            raise InputError(message) from error

    def require_installed(self, path: str) -> None:
        pass

    def require_writable(self, out: str) -> None:
        """Nothing is asked here: making the directory shows it."""

    def name_rules(self, out: str) -> NameRules:
        above = (Path(out), *Path(out).absolute().parents)
        there = next((one for one in above if os.path.isdir(one)), Path("/"))
        try:
            longest = os.pathconf(there, "PC_NAME_MAX")
        except (OSError, ValueError):
            longest = NAME_BYTES
        return NameRules(longest, _folds_case(there.absolute()))

    def journal_directory(self, out: str, chosen: str | None) -> Path:
        if chosen is not None:
            raise InputError("--journal is for an OUT that is a URL: a local one holds its journal")
        return Path(out)

    def open_destination(self, out: str) -> LocalDestination:
        return LocalDestination(out)

    def list_outputs(self, out: str) -> LocalOutputs:
        return LocalOutputs(out)


def find_within(path: str | os.PathLike[str], directory: str | os.PathLike[str]) -> str | None:
    """Where ``path``, which need not be there, lies in ``directory``: empty for that itself,
    ``None`` outside of it.

    The same by whatever name: through links, another mount of the same files, or in another case
    where that makes no difference.
    """
    real, top = Path(os.path.realpath(path)), Path(os.path.realpath(directory))
    if real.is_relative_to(top):
        return _relative(real, top)
    same = next((one for one in (real, *real.parents) if _is_same(one, top)), None)
    return None if same is None else _relative(real, same)


def _relative(path: Path, directory: Path) -> str:
    return "/".join(path.relative_to(directory).parts)


def _is_same(one: Path, other: Path) -> bool:
    """Whether two paths without links lead to one directory."""
    try:
        if os.path.samefile(one, other):
            return True
        # exFAT through FUSE gives each spelling an inode of its own, and lists one of them
        if str(one).casefold() != str(other).casefold() or len(one.parts) != len(other.parts):
            return False
        pairs = ((a, b) for a, b in zip((one, *one.parents), (other, *other.parents), strict=True))
        return not any(
            {a.name, b.name} <= set(os.listdir(a.parent)) for a, b in pairs if a.name != b.name
        )
    except OSError:
        return False


def file_size(path: str) -> int:
    """0 where it is not known at once."""
    try:
        return os.stat(path).st_size
    except (OSError, ValueError):
        return 0


def _stamp(path: str, status: os.stat_result) -> str:
    """A file's stamp; of a raster whose values other files decide too, it changes when these do."""
    stamp = common.stamp(status)
    if os.path.splitext(path)[1].lower() not in WITH_OTHERS:
        return stamp
    told = [read_told(path)]
    for source in list_sources(path):
        there = os.stat(source) if os.path.isfile(source) else None
        told.append(common.stamp(there).encode() if there else b"absent")
    if not any(told):
        return stamp
    return f"{stamp}:{hashlib.blake2b(b''.join(told), digest_size=8).hexdigest()}"


def read_told(path: str) -> bytes:
    """What a file beside a raster tells of its values (:data:`TOLD`); empty if there is none."""
    if os.path.splitext(path)[1].lower() not in WITH_OTHERS:
        return b""
    try:
        with open_regular(path + AUXILIARY) as file:
            return b"".join(TOLD.findall(file.read(LARGEST_TOLD)))
    except (OSError, ImageError, ValueError):
        return b""


def list_sources(path: str, depth: int = 0) -> Iterator[str]:
    """The paths of the other files that decide a raster's values: those beside it
    (:data:`WITH_OTHERS`, :data:`IN_PLACE_OF_SUFFIX`), and of a VRT those that it names, and theirs.

    What a VRT names is left to GDAL, which refuses what it does not find.
    """
    stem, suffix = os.path.splitext(path)
    own = WITH_OTHERS.get(suffix.lower())
    if own is None:
        return
    instead = IN_PLACE_OF_SUFFIX if suffix.lower() in ENVI else ()
    beside = [*(path + name for name in own), *(stem + name for name in instead)]
    yield from filter(os.path.isfile, beside)
    if suffix.lower() != VRT:
        return
    try:
        with open_regular(path) as file:
            text = file.read(common.LARGEST).decode(errors="surrogateescape")
    except (OSError, ImageError, ValueError):
        return
    for told, name in SOURCES.findall(text):
        source = html.unescape(name).strip()
        if RELATIVE.search(told):  # else it counts from where the process runs
            source = os.path.join(os.path.dirname(path), source)
        yield source
        if depth < DEEPEST:
            yield from list_sources(source, depth + 1)


def _read(path: str) -> tuple[bytes, str]:
    # With few calls to the system: at each one threads of Python may change, at some cost.
    descriptor, status = open_descriptor(path)
    try:
        require_size(b"", status.st_size)
        # One byte more than it had: so a file that grows meanwhile shows, without a second call for
        # one that does not.
        pieces = [os.read(descriptor, status.st_size + 1)]
        read = len(pieces[0])
        while (
            pieces[-1] and read != status.st_size and read <= common.LARGEST
        ):  # it is being written
            pieces.append(os.read(descriptor, common.LARGEST + 1 - read))
            read += len(pieces[-1])
    finally:
        os.close(descriptor)
    return require_size(b"".join(pieces), read), _stamp(path, status)


def open_regular(path: str) -> IO[bytes]:
    """An open regular file; nothing else is waited for, as opening a pipe would.

    Raises :class:`ImageError` or ``OSError``.
    """
    return open(open_descriptor(path)[0], "rb")


def open_descriptor(path: str) -> tuple[int, os.stat_result]:
    """The descriptor of an open regular file, and its status, as :func:`open_regular`."""
    # Without O_NONBLOCK, opening a pipe waits for somebody who writes to it, for ever. What it is,
    # is asked of the open file: by name it may be another one by then.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(status.st_mode):
            raise ImageError("not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, status


def unreadable(path: str | os.PathLike[str], error: Exception) -> ImageError:
    """Why a file of this machine cannot be read; of a link that leads nowhere, where it leads."""
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ELOOP):
        try:
            leads = escape(os.readlink(path))
        except (OSError, ValueError):  # it is no link
            leads = ""
        if leads and error.errno == errno.ELOOP:
            return ImageError(f"is a link that leads in a circle, by {leads}; mend or remove it")
        if leads:
            return ImageError(f"is a link to {leads}, which is not there; mend or remove it")
    return ImageError(f"cannot be read ({common.explain(error)})")


def is_empty(path: str) -> bool:
    """Whether it is a file of this machine that holds nothing; also where its size is not told."""
    try:
        with open_regular(path) as file:
            return not file.read(1)
    except (ImageError, OSError, ValueError):
        return False


def _folds_case(directory: Path) -> bool:
    """Whether names that differ in case alone are one file there."""
    try:
        # Tried on a name that is there: whether case counts may differ by directory (ext4, NTFS),
        # and nothing is to be written to find out.
        with os.scandir(directory) as entries:
            tried = next((one.name for one in entries if _has_case(one.name)), "")
        if not tried and _has_case(directory.name) and not os.path.ismount(directory):
            directory, tried = directory.parent, directory.name
        if not tried:
            return _file_system(directory) in SEEN_ALIKE
        other = directory / tried.swapcase()
        if not other.exists():
            return False
        # exFAT through FUSE gives each spelling an inode of its own, and lists one of them
        is_same = os.path.samefile(other, directory / tried)
        return is_same or other.name not in os.listdir(directory)
    except OSError:
        return False


def _has_case(name: str) -> bool:
    other = name.swapcase()
    return other != name and other.casefold() == name.casefold()


def _file_system(directory: Path) -> str:
    import psutil

    real, found, longest = os.path.realpath(directory), "", -1
    for mount in psutil.disk_partitions(all=True):
        inside = real == mount.mountpoint or real.startswith(os.path.join(mount.mountpoint, ""))
        # The deepest mount holds it; of two at one place, the later lies over the earlier.
        if inside and len(mount.mountpoint) >= longest:
            found, longest = mount.fstype, len(mount.mountpoint)
    return found
