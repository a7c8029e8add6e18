"""Putting outputs in their place in an OUT on a disk, whole."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from pix2pix_batch.errors import ImageError
from pix2pix_batch.storage import common, placement
from pix2pix_batch.storage.common import output_errors, parts_of


class LocalDestination:
    """OUT on a disk: its directories stay open between outputs."""

    def __init__(self, out: str) -> None:
        self.out = out
        self._open: ExitStack | None = None
        self._top = self._staging = self._target = -1
        self._inside: list[str] | None = None  # of OUT, where the target is

    def __enter__(self) -> LocalDestination:
        return self

    def __exit__(self, *error: object) -> None:
        if self._open is not None:
            self._open.close()

    def place(self, output: str, data: bytes) -> None:
        """As :meth:`pix2pix_batch.storage.store.Destination.place`."""
        # With few calls to the system: at each one threads of Python may change, at some cost.
        with output_errors(self.out), self._create(output) as descriptor:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(descriptor, left) :]
            finally:
                os.close(descriptor)

    def remove(self, output: str) -> None:
        """As :meth:`pix2pix_batch.storage.store.Destination.remove`."""
        *inside, name = parts_of(output)
        with output_errors(self.out), suppress(FileNotFoundError):
            self._enter(inside)
            os.unlink(name, dir_fd=self._target)

    @contextmanager
    def open_output(self, output: str) -> Iterator[IO[bytes]]:
        """As :meth:`pix2pix_batch.storage.store.Destination.open_output`."""
        with output_errors(self.out), self._create(output) as at, open(at, "wb") as file:
            yield file

    @contextmanager
    def _create(self, output: str) -> Iterator[int]:
        """The descriptor of a file for the block to write and to close."""
        *inside, name = parts_of(output)
        self._enter(inside)
        staging, target = self._staging, self._target
        if _other_mounts and _identity(target) in _other_mounts:
            with placement.open_to_place(staging, target, inside, name) as descriptor:
                yield descriptor
            return
        # Not made of the output's name, which may be as long as names can be.
        temporary = uuid.uuid4().hex
        try:
            yield placement.create(temporary, staging)
            try:
                # By descriptors, so that a directory swapped for a link meanwhile cannot lead out
                # of OUT.
                os.replace(temporary, name, src_dir_fd=staging, dst_dir_fd=target)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            # Tried, not told by the device: quotas of projects and bind mounts refuse too, on one
            # device.
            _other_mounts.add(_identity(target))
            with (
                open(os.open(temporary, os.O_RDONLY, dir_fd=staging), "rb") as made,
                placement.open_to_place(staging, target, inside, name) as descriptor,
                open(descriptor, "wb") as file,
            ):
                shutil.copyfileobj(made, file)
            os.unlink(temporary, dir_fd=staging)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=staging)
            raise

    def _enter(self, inside: list[str]) -> None:
        """Have the directory open that is ``inside`` OUT."""
        if self._inside == inside:
            return
        if self._open is None:
            with ExitStack() as opened:
                top = staging = _enter_directory(opened, self.out)
                for part in (common.DIRECTORY, "tmp"):  # not made here: without them OUT has gone
                    staging = _enter_directory(opened, part, staging)
                self._open, self._top, self._staging = opened.pop_all(), top, staging
        # If what follows fails, nothing may take the target of before for this one's.
        self._inside = None
        self._target = _target(self._open, self._top, self.out, inside)
        self._inside = inside


_other_mounts: set[tuple[int, int]] = set()
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
    # Links within OUT are the user's own layout; one that leads out could have the job overwrite
    # anything.
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
            # Another worker may make it at the same moment.
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=top)
            top = _enter_directory(open_directories, part, top)
    return top


def _enter_directory(open_directories: ExitStack, name: str, within: int | None = None) -> int:
    # O_PATH needs no right to read the directory, only to go through it.
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    if within is not None:
        flags |= os.O_NOFOLLOW
    found = os.open(name, flags, dir_fd=within)
    open_directories.callback(os.close, found)
    return found


class LocalOutputs:
    """Which outputs are there."""

    def __init__(self, out: str) -> None:
        self._out = out

    def has(self, output: str) -> bool:
        """Whether something is there, be it a link that leads nowhere."""
        return os.path.lexists(os.path.join(self._out, output))
