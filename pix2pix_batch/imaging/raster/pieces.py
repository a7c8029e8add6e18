"""What is done of an image that does not fit in memory: its rows, in files of their own."""

from __future__ import annotations

import contextlib
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pix2pix_batch.storage.common import explain_output_error
from pix2pix_batch.storage.whole import whole

PARTS = "parts"
"""The directory of pieces, beside the journal's."""


@dataclass(frozen=True)
class Piece:
    """The output's rows that one row of tiles completes: ``pixels`` ``(h, W, C)``; ``valid``
    ``bool (h, W)``, or ``None`` where there is data everywhere; ``squared_distances``: of the
    tiles; ``warnings``: what was odd of the input."""

    pixels: np.ndarray
    valid: np.ndarray | None
    squared_distances: np.ndarray
    warnings: tuple[str, ...] = ()


class PieceStore:
    """Pieces of one image in a directory. Each is there whole or not at all, whenever a process
    dies; one that is damaged is as none."""

    def __init__(self, directory: Path) -> None:
        """Open or make the directory. Raises :class:`OutputError`."""
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
        """Read a piece; ``None`` if it is not there, or damaged."""
        try:
            with np.load(self._path(number), allow_pickle=False) as stored:
                pixels, squared_distances = stored["pixels"], stored["squares"]
                warnings = tuple(stored["warnings"].tolist()) if "warnings" in stored else ()
                valid = None
                if "valid" in stored:
                    bits = np.unpackbits(stored["valid"], count=pixels.shape[0] * pixels.shape[1])
                    valid = bits.astype(bool).reshape(pixels.shape[:2])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        return Piece(pixels, valid, squared_distances, warnings)

    def write(self, number: int, piece: Piece) -> None:
        """Write a piece. Raises :class:`OutputError`, or :class:`ImageError` for a problem that not
        every image has."""
        arrays = {"pixels": piece.pixels, "squares": piece.squared_distances}
        if piece.valid is not None:
            arrays["valid"] = np.packbits(piece.valid)
        if piece.warnings:
            arrays["warnings"] = np.array(piece.warnings)
        # a directory that is gone is not made again: OUT's mount may be
        with self._explain_errors(), whole(self._path(number), make_directory=False) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:06}.npz"

    @contextlib.contextmanager
    def _explain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise explain_output_error(str(self.directory), error) from error
