"""Putting outputs in their place in an OUT behind a URL, whole."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pix2pix_batch.errors import OutputError
from pix2pix_batch.storage import remote
from pix2pix_batch.storage.common import FATAL, output_errors, parts_of
from pix2pix_batch.storage.name_set import HashSet
from pix2pix_batch.text import escape

CACHED_LISTINGS = 16
"""How many directory listings of OUT are kept, the most recently used."""


class RemoteDestination:
    """OUT behind a URL. Nothing stays open between outputs."""

    def __init__(self, out: str) -> None:
        self.out = out

    def __enter__(self) -> RemoteDestination:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def place(self, output: str, data: bytes) -> None:
        """As :meth:`pix2pix_batch.storage.store.Destination.place`."""
        parts_of(output)
        remote.write(remote.join(self.out, output), lambda fs, path: fs.pipe_file(path, data))

    def remove(self, output: str) -> None:
        """As :meth:`pix2pix_batch.storage.store.Destination.remove`."""
        parts_of(output)
        remote.remove(remote.join(self.out, output))

    @contextmanager
    def open_output(self, output: str) -> Iterator[IO[bytes]]:
        """As :meth:`pix2pix_batch.storage.store.Destination.open_output`; what is written is a
        temporary file, which is sent when the block ends."""
        parts_of(output)
        with output_errors(self.out), tempfile.NamedTemporaryFile(prefix="pix2pix-batch-") as file:
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
            url = remote.join(self.out, output)
            remote.write(url, lambda fs, path: fs.put_file(file.name, path))


class RemoteOutputs:
    """Which outputs are there. A directory is listed once, when it is first asked for."""

    def __init__(self, out: str) -> None:
        self.out = out
        self._known: OrderedDict[str, HashSet] = OrderedDict()

    def has(self, output: str) -> bool:
        """Whether something is there. Raises :class:`OutputError` where nobody can tell."""
        directory, _, name = output.rpartition("/")
        if directory not in self._known:
            self._known[directory] = self._list_directory(directory)
            if len(self._known) > CACHED_LISTINGS:
                self._known.popitem(last=False)
        self._known.move_to_end(directory)
        return name in self._known[directory]

    def _list_directory(self, directory: str) -> HashSet:
        names = HashSet()
        url = remote.join(self.out, directory) if directory else self.out
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
