"""Putting outputs in their place in OUT, whole, on disk or in a store behind a URL."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pix2pix_batch.errors import ImageError, InputError, OutputError
from pix2pix_batch.storage import common, files, placement, remote
from pix2pix_batch.storage.name_set import HashSet
from pix2pix_batch.text import escape

FATAL = common.FULL | {errno.EROFS}
"""What makes writing on useless for every image, not for one. A disk that is read-only from the
start is wrong use; one that becomes so ends the job as a full one does."""

REMEMBERED = 16
"""Directories of a remote OUT whose names are kept, the last that were asked for."""


def parts_of(output: str) -> list[str]:
    """The directories and the name of an output. Raises :class:`ImageError` where it would leave
    OUT or meet the journal."""
    parts = output.split("/")
    if "\0" in output or {"", ".", "..", common.DIRECTORY} & set(parts):
        raise ImageError("its output would lie outside OUT; give it another name")
    return parts


def place(out: str | os.PathLike[str], output: str, data: bytes) -> None:
    """Write ``data`` to ``output`` within ``out``, as :func:`open_output` does."""
    with Destination(out) as destination:
        destination.place(output, data)


@contextmanager
def open_output(out: str | os.PathLike[str], output: str) -> Iterator[IO[bytes]]:
    """A file to write ``output`` to, which is in its place, whole, once the block has ended well.

    It never lies outside ``out``: directories of it that are links count as where they lead, and
    none can be put there meanwhile. Raises :class:`ImageError`, or :class:`OutputError` where
    nothing more can be written.
    """
    with Destination(out) as destination, destination.open_output(output) as file:
        yield file


class Destination:
    """OUT, for a few outputs one soon after the other: its directories stay open between them.

    A context manager, for one thread.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = os.fspath(out)
        self._open: ExitStack | None = None
        self._top = self._beside = self._target = -1
        self._inside: list[str] | None = None  # of OUT, where the target is

    def __enter__(self) -> Destination:
        return self

    def __exit__(self, *error: object) -> None:
        if self._open is not None:
            self._open.close()

    def place(self, output: str, data: bytes) -> None:
        """Write ``data`` to ``output``, as :func:`open_output` does."""
        if remote.is_url(self.out):
            parts_of(output)
            remote.write(files.join(self.out, output), lambda fs, path: fs.pipe_file(path, data))
            return
        # With few calls to the system: at each one threads of Python may change, at some cost.
        with self._explain_errors(), self._local(output) as descriptor:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)

    @contextmanager
    def open_output(self, output: str) -> Iterator[IO[bytes]]:
        """As :func:`open_output`."""
        with self._explain_errors():
            if remote.is_url(self.out):
                with _remote(self.out, output) as file:
                    yield file
                return
            with self._local(output) as descriptor, open(descriptor, "wb") as file:
                yield file

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_output_error(self.out, error) from error

    @contextmanager
    def _local(self, output: str) -> Iterator[int]:
        """The descriptor of a file for the block to write and to close."""
        *inside, name = parts_of(output)
        self._enter(inside)
        beside, target = self._beside, self._target
        if _apart and _identity(target) in _apart:
            with placement.open_to_place(beside, target, inside, name) as descriptor:
                yield descriptor
            return
        temporary = uuid.uuid4().hex
        try:
            yield placement.create(temporary, beside)
            try:
                os.replace(temporary, name, src_dir_fd=beside, dst_dir_fd=target)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            _apart.add(_identity(target))
            with (
                open(os.open(temporary, os.O_RDONLY, dir_fd=beside), "rb") as made,
                placement.open_to_place(beside, target, inside, name) as descriptor,
                open(descriptor, "wb") as file,
            ):
                shutil.copyfileobj(made, file)
            os.unlink(temporary, dir_fd=beside)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=beside)
            raise

    def _enter(self, inside: list[str]) -> None:
        """Have the directory open that is ``inside`` OUT."""
        if self._inside == inside:
            return
        if self._open is None:
            with ExitStack() as opened:
                top = beside = _enter_directory(opened, self.out)
                for part in (common.DIRECTORY, "tmp"):  # not made here: without them OUT has gone
                    beside = _enter_directory(opened, part, beside)
                self._open, self._top, self._beside = opened.pop_all(), top, beside
        self._inside = None
        self._target = _target(self._open, self._top, self.out, inside)
        self._inside = inside


def explain_output_error(out: str, error: OSError) -> ImageError | OutputError:
    """Why an output of ``out`` cannot be written: it, or no other either."""
    if error.errno in FATAL:
        return OutputError(
            f"{escape(remote.redact(out))}: {error.strerror}; make room there, then run the same "
            "command again: it goes on where this run stopped"
        )
    return ImageError(f"its output cannot be written ({files.why(error)})")


def require_room(out: str) -> None:
    """Raises :class:`OutputError` where the disk is full: what a library said of it may be less
    clear."""
    if shutil.disk_usage(out).free < LEAST_FREE:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise explain_output_error(out, full)


LEAST_FREE = 1 << 20
"""Bytes under which a disk is full."""

_apart: set[tuple[int, int]] = set()
"""The directories of OUT, by device and inode, into which nothing can be moved from where the
journal is: they are mounts of their own, or of another quota."""


def _identity(directory: int) -> tuple[int, int]:
    status = os.fstat(directory)
    return status.st_dev, status.st_ino


def _target(open_directories: ExitStack, top: int, out: str, inside: list[str]) -> int:
    """The directory ``inside`` OUT; where there are links, the one they lead to."""
    try:
        return _descend(open_directories, top, inside)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
    base = os.path.realpath(out)
    real = os.path.realpath(os.path.join(out, *inside))
    if os.path.commonpath([base, real]) != base:
        raise ImageError("its output would lie outside OUT, through a link in OUT")
    return _descend(open_directories, top, Path(real).relative_to(base).parts)


def _descend(open_directories: ExitStack, top: int, parts: list[str] | tuple[str, ...]) -> int:
    """Open the directory ``parts`` below ``top``, made where it is not there; no link on the way
    is followed."""
    for part in parts:
        try:
            top = _enter_directory(open_directories, part, top)
        except FileNotFoundError:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=top)
            top = _enter_directory(open_directories, part, top)
    return top


def _enter_directory(open_directories: ExitStack, name: str, within: int | None = None) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    if within is not None:
        flags |= os.O_NOFOLLOW
    found = os.open(name, flags, dir_fd=within)
    open_directories.callback(os.close, found)
    return found


@contextmanager
def _remote(out: str, output: str) -> Iterator[IO[bytes]]:
    parts_of(output)
    with tempfile.NamedTemporaryFile(prefix="pix2pix-batch-") as file:
        try:
            yield file
            file.flush()
        except OSError as error:
            if error.errno not in FATAL:
                raise
            raise OutputError(
                f"{escape(tempfile.gettempdir())}: {error.strerror}; make room there, or set "
                "TMPDIR to a directory that has it, then run the same command again"
            ) from error
        remote.write(files.join(out, output), lambda fs, path: fs.put_file(file.name, path))


class Outputs:
    """Which outputs are there. A remote directory is listed once, when it is first asked for."""

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out = os.fspath(out)
        self._known: OrderedDict[str, HashSet] = OrderedDict()

    def has(self, output: str) -> bool:
        """Whether something is there, be it a link that leads nowhere."""
        if not remote.is_url(self.out):
            return os.path.lexists(os.path.join(self.out, output))
        directory, _, name = output.rpartition("/")
        if directory not in self._known:
            self._known[directory] = self._list_directory(directory)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        self._known.move_to_end(directory)
        return name in self._known[directory]

    def _list_directory(self, directory: str) -> HashSet:
        names = HashSet()
        url = files.join(self.out, directory) if directory else self.out
        try:
            found = remote.list_directory(url)
        except (FileNotFoundError, NotADirectoryError):
            return names
        except Exception as error:
            raise OutputError(
                f"{escape(remote.redact(url))}: cannot be listed ({remote.explain_error(error)}); "
                "check your permissions there"
            ) from error
        for name in (*found.files, *found.directories):
            names.add(name)
        return names


def require_writable(out: str | os.PathLike[str]) -> None:
    """Raises :class:`InputError` for a store that cannot take outputs, as far as can be told."""
    base = os.fspath(out)
    if not remote.is_url(base):
        return
    if remote.scheme(base) in remote.WEB:
        raise InputError(f"{escape(remote.redact(base))}: nothing can be written to the web")
    fs, path = remote.open_store(base)
    bucket = path.strip("/").partition("/")[0]
    try:
        if remote.scheme(base) in remote.WHOLE - {remote.MEMORY}:
            remote.retry(lambda: fs.info(bucket))
    except FileNotFoundError as error:
        raise InputError(f"{escape(remote.redact(base))}: no such bucket; make it first") from error
    except PermissionError:  # it may still be written to
        pass
    except Exception as error:
        raise InputError(
            f"{escape(remote.redact(base))}: cannot be reached ({remote.explain_error(error)})"
        ) from error
