"""Files in the stores behind URLs."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path, PurePosixPath
from typing import IO

from pix2pix_batch.errors import ImageError, InputError
from pix2pix_batch.storage import common, remote
from pix2pix_batch.storage.common import NameRules, require_size
from pix2pix_batch.storage.remote_destination import RemoteDestination, RemoteOutputs
from pix2pix_batch.storage.remote_stream import RemoteRawFile, RemoteStream
from pix2pix_batch.text import escape


class RemoteStore:
    """All stores behind URLs, as one :class:`~pix2pix_batch.storage.store.Store`."""

    is_local = False

    def join(self, base: str, name: str) -> str:
        return remote.join(base, name)

    def absolute(self, path: str) -> str:
        return path

    def resolve(self, path: str) -> str:
        return remote.normalise(path)

    def find_within(self, path: str, directory: str) -> str | None:
        inside, top = PurePosixPath(self.resolve(path)), PurePosixPath(self.resolve(directory))
        return "/".join(inside.relative_to(top).parts) if inside.is_relative_to(top) else None

    def stamp_of(self, path: str) -> str:
        return remote.stamp_of(path)

    def exists(self, path: str) -> bool:
        return remote.scheme(path) not in remote.WEB and remote.exists(path)

    def file_size(self, path: str) -> int:
        """Never known at once: the store would have to be asked."""
        return 0

    def read(self, path: str, known: str = "") -> tuple[bytes, str]:
        # Before it is read: if the file changes in between, the next run sees another stamp and
        # converts it again.
        known = known or remote.stamp_of(path)
        data = remote.read(path, common.LARGEST + 1)
        return require_size(data, len(data)), known

    def open_beginning(self, path: str, size: int) -> IO[bytes]:
        return io.BytesIO(remote.read(path, size))

    def open_stream(self, path: str) -> RemoteStream:
        try:
            return RemoteStream(path)
        except InputError as error:
            raise ImageError(str(error)) from error

    def open_list(self, path: str) -> IO[bytes]:
        return io.BufferedReader(RemoteRawFile(path))

    def require_installed(self, path: str) -> None:
        remote.require_store(path)

    def require_writable(self, out: str) -> None:
        if remote.scheme(out) in remote.WEB:
            raise InputError(f"{escape(remote.redact(out))}: nothing can be written to the web")
        fs, path = remote.open_store(out)
        bucket = path.strip("/").partition("/")[0]
        try:
            if remote.scheme(out) in remote.ATOMIC - {remote.MEMORY}:
                # Only object stores have buckets; that of memory:// is made by the first write.
                remote.retry(lambda: fs.info(bucket))
        except FileNotFoundError as error:
            raise InputError(
                f"{escape(remote.redact(out))}: no such bucket; make it first"
            ) from error
        except PermissionError:  # it may still be written to
            pass
        except Exception as error:
            raise InputError(
                f"{escape(remote.redact(out))}: cannot be reached ({remote.explain_error(error)})"
            ) from error

    def name_rules(self, out: str) -> NameRules:
        return NameRules()

    def journal_directory(self, out: str, chosen: str | None) -> Path:
        if chosen is not None:
            return Path(chosen)
        base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        # Without its secrets: new credentials must find the same journal.
        name = hashlib.sha256(remote.redact(out).encode("utf-8", "surrogateescape")).hexdigest()[
            :24
        ]
        return Path(base) / "pix2pix-batch" / name

    def open_destination(self, out: str) -> RemoteDestination:
        return RemoteDestination(out)

    def list_outputs(self, out: str) -> RemoteOutputs:
        return RemoteOutputs(out)
