"""What is done of an image that does not fit in memory: its rows, in files of their own."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2pix_batch.errors import ImageError, OutputError
from pix2pix_batch.storage.common import FULL
from pix2pix_batch.text import escape

PARTS = "parts"
"""The directory of pieces, beside the journal's."""


@dataclass(frozen=True)
class Piece:
    """The output's rows that one row of tiles completes: ``pixels`` ``(h, W, C)``; ``valid``
    ``bool (h, W)``, or ``None`` where there is data everywhere; ``squares``: of the tiles'
    distances; ``warnings``: what was odd of the input."""

    pixels: np.ndarray
    valid: np.ndarray | None
    squares: np.ndarray
    warnings: tuple[str, ...] = ()


class PieceStore:
    """Pieces of one image in a directory. Each is there whole or not at all, whenever a process
    dies; one that is damaged is as none."""

    def __init__(self, directory: Path) -> None:
        """Raises :class:`OutputError`."""
        self.directory = directory
        with self._explain_errors():
            directory.mkdir(parents=True, exist_ok=True)

    def count_done(self, begin: int = 0) -> int:
        """The number of the first piece, from ``begin`` on, that is not there."""
        done = begin
        while self._path(done).is_file():
            done += 1
        # the last may be of a machine that went down
        if done > begin and self.read(done - 1) is None:
            return done - 1
        return done

    def read(self, number: int) -> Piece | None:
        """``None`` where it is not there, or damaged."""
        try:
            with np.load(self._path(number), allow_pickle=False) as found:
                pixels, squares = found["pixels"], found["squares"]
                warnings = tuple(found["warnings"].tolist()) if "warnings" in found else ()
                valid = None
                if "valid" in found:
                    bits = np.unpackbits(found["valid"], count=pixels.shape[0] * pixels.shape[1])
                    valid = bits.astype(bool).reshape(pixels.shape[:2])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return Piece(pixels, valid, squares, warnings)

    def write(self, number: int, piece: Piece) -> None:
        """Raises :class:`OutputError`, or :class:`ImageError` for what is not every image's."""
        arrays = {"pixels": piece.pixels, "squares": piece.squares}
        if piece.valid is not None:
            arrays["valid"] = np.packbits(piece.valid)
        if piece.warnings:
            arrays["warnings"] = np.array(piece.warnings)
        temporary = self.directory / f"{uuid.uuid4().hex}.tmp"
        with self._explain_errors():
            try:
                with temporary.open("wb") as file:
                    np.savez(file, **arrays)  # type: ignore[arg-type]
                os.replace(temporary, self._path(number))
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:06}.npz"

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL | {errno.EROFS}:
                raise OutputError(
                    f"{escape(self.directory)}: {error.strerror}; make room there, then run the "
                    "same command again: it goes on where this run stopped"
                ) from error
            raise ImageError(f"its output cannot be written ({error.strerror})") from error
