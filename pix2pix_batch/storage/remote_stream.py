"""Files of stores and of the web that are read once, from front to back."""

from __future__ import annotations

import io
from typing import IO, Any

from pix2pix_batch.errors import InputError
from pix2pix_batch.storage.remote import (
    PIECE,
    WEB,
    explain_error,
    open_store,
    open_web_file,
    redact,
    retry,
    scheme,
)


class RemoteStream:
    """A remote file read once, from front to back, in little memory; a break is mended."""

    def __init__(self, url: str) -> None:
        self._store, self._path = open_store(url)
        self._is_web = scheme(url) in WEB
        self._file: IO[bytes] | None = None
        self._place = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; none at the end. Raises what the store does."""

        def mended() -> bytes:
            try:
                return self._open().read(size)
            except Exception:
                self.close()
                raise

        data = retry(mended)
        self._place += len(data)
        return data

    def _open(self) -> IO[bytes]:
        if self._file is not None:
            return self._file
        if self._is_web:
            self._file, left = open_web_file(self._store, self._path), self._place
            while left > 0:
                # Read again up to the place of the break: servers need not know ranges. The "or
                # left" ends the loop where the file has become shorter.
                left -= len(self._file.read(min(left, PIECE))) or left
        else:
            self._file = self._store.open(self._path, "rb", cache_type="readahead")
            self._file.seek(self._place)
        return self._file

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class RemoteRawFile(io.RawIOBase):
    """A :class:`RemoteStream` for Python's buffered files. Raises :class:`InputError`."""

    def __init__(self, url: str) -> None:
        self._url, self._stream = url, RemoteStream(url)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except Exception as error:
            raise InputError(
                f"{redact(self._url)}: cannot be read ({explain_error(error)})"
            ) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()
