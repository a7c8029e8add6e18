"""An image that does not fit in memory, as tiles: read window by window, kept row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from pix2pix_batch.errors import ImageError, NotToleratedError
from pix2pix_batch.imaging.raster.pieces import Piece, PieceStore
from pix2pix_batch.imaging.raster.profile import RasterExtras
from pix2pix_batch.imaging.raster.reading import Raster
from pix2pix_batch.imaging.raster.samples import count_pixel_bytes
from pix2pix_batch.imaging.raster.writing import COLUMNS, RasterWriter
from pix2pix_batch.imaging.tiling import Axis, round_to
from pix2pix_batch.value_ranges import ValueRange

Watched = Callable[[], AbstractContextManager[None]]
"""Makes the context in which one step is done, which ends a step that hangs."""

PANEL = 8 << 20
"""Bytes of samples that are read at once."""

LARGEST_BLOCK = 512
"""Rows that blocks of files have at most, mostly."""


# Has the interface of Tiles, whose attributes the pipeline reads, and the state of rows on disk.
class StreamedTiles:
    """As :class:`pix2pix_batch.imaging.tiling.Tiles`, of a :class:`Raster` too large to be held.

    The tiles, and how they blend, are the same to the bit. Rows that are complete go to ``store``,
    and those that were there before are not made again. Memory is a strip: one row of tiles.
    """

    result = None

    def __init__(
        self,
        raster: Raster,
        size: int,
        store: PieceStore,
        *,
        part: int | None = None,
        some: tuple[int, int] | None = None,
        strict: bool = False,
    ) -> None:
        """``size``: side of the tiles; ``part``: as of
        :class:`pix2pix_batch.imaging.tiling.SharingTiles`, where norms are shared; ``some``: the
        first row of tiles that is to be made, and the one behind the last, where others make the
        rest; ``strict``: whether what is odd of it is refused, wherever it shows. Raises
        :class:`NotToleratedError`, for what was found before it was strict."""
        self.raster, self.size, self.store, self.part = raster, size, store, part
        self.rows, self.columns = (Axis.plan(side, size) for side in (raster.height, raster.width))
        begin, self.end = some or (0, self.rows.count)
        self.done = min(store.count_done(begin), self.end)
        self.squared_distances: list[float] = []
        """Of the tiles that are made now, in order."""
        self.strict = strict
        self._require_tolerated(raster.warnings)
        for number in range(begin, self.done) if strict else ():
            self._require_tolerated(self._piece(number).warnings)
        self._sums: Sums | None = None
        self._valid: dict[int, np.ndarray] = {}
        self._seen = 0  # of the squared distances, in pieces

    @property
    def first_row(self) -> int:
        """Of the tiles that are made: the last that is done again, for what the next shares with
        it."""
        return self.done if self.done in (0, self.end) else self.done - 1

    def __len__(self) -> int:
        """Tiles that are to be made."""
        return (self.end - self.first_row) * self.columns.count

    @property
    def shares(self) -> list[float]:
        """See :attr:`Tiles.shares`; of all tiles."""
        rows, columns = self.rows.inside(), self.columns.inside()
        return [row * column for row in rows for column in columns]

    def list_numbered(self) -> Iterator[tuple[int, np.ndarray]]:
        """The tiles that are to be made, each with its number. Raises :class:`ImageError`."""
        count = self.columns.count
        for row in range(self.first_row, self.end):
            top = row * self.rows.stride - self.rows.before
            for first, last in self._panels():
                left = first * self.columns.stride - self.columns.before
                width = self.size + (last - 1 - first) * self.columns.stride
                panel = self._read(row, top, left, width)
                for column in range(first, last):
                    x = (column - first) * self.columns.stride
                    tile = panel[:, x : x + self.size]
                    yield row * count + column, tile

    def _panels(self) -> Iterator[tuple[int, int]]:
        """Columns of tiles that are read together."""
        count = self.columns.count
        a_tile = self.size * self.columns.stride * self.raster.pixel_bytes
        step = max(1, PANEL // max(1, a_tile))
        for first in range(0, count, step):
            yield first, min(count, first + step)

    def _read(self, row: int, top: int, left: int, width: int) -> np.ndarray:
        pixels, valid = self._window(top, left, self.size, width)
        if valid is not None:
            cached = self._valid.get(row)
            if cached is None:
                cached = self._valid[row] = np.ones((self.size, self.columns.padded), bool)
            x = left + self.columns.before
            cached[:, x : x + width] = valid
        return pixels

    def _window(
        self, top: int, left: int, height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """A window that may reach beyond the image, which is mirrored there as by
        ``numpy.pad(mode="reflect")``."""
        rows = mirror(np.arange(top, top + height), self.raster.height)
        columns = mirror(np.arange(left, left + width), self.raster.width)
        y, x = int(rows.min()), int(columns.min())
        pixels, valid = self.raster.read(y, x, int(rows.max()) - y + 1, int(columns.max()) - x + 1)
        self._require_tolerated(self.raster.warnings)
        # Only at the image's edges: elsewhere this would copy the window for nothing.
        if pixels.shape[:2] != (height, width) or top < 0 or left < 0:
            place = np.ix_(rows - y, columns - x)
            pixels = pixels[place]
            valid = None if valid is None else valid[place]
        return pixels, valid

    def _require_tolerated(self, warnings: Sequence[str]) -> None:
        """Raises :class:`NotToleratedError` if there are warnings and the tolerance is strict."""
        if self.strict and warnings:
            raise NotToleratedError(f"{'; '.join(warnings)}: refused by --strict")

    @property
    def parts(self) -> np.ndarray:
        """See :attr:`pix2pix_batch.imaging.tiling.SharingTiles.parts`."""
        assert self.part is not None
        parts = [
            self._window(y - self.rows.before, x - self.columns.before, self.part, self.part)[0]
            for y in self.rows.spread(self.part)
            for x in self.columns.spread(self.part)
        ]
        return np.stack(parts)

    def add_tile(self, index: int, tile: np.ndarray) -> None:
        """Take the translation of tile ``index``: ``(size, size, C)``, in order. Raises what
        :meth:`PieceStore.write` raises."""
        row, column = divmod(index, self.columns.count)
        if self._sums is None:
            self._sums = Sums(self.rows, self.columns, tile)
        if column == 0:
            self._sums.begin(row, self._find_rows(row))
        self._sums.add(row, column, tile)
        if column == self.columns.count - 1:
            self._finish_row(row, self._sums.made)

    def _find_rows(self, row: int) -> tuple[int, int]:
        """Find the rows of pixels that a row of tiles completes: the first that is image, and the
        one behind the last."""
        y = row * self.rows.stride - self.rows.before
        ready = self.size if row == self.rows.count - 1 else self.rows.stride
        first = max(0, -y)
        return first, max(first, min(ready, self.raster.height - y))

    def _finish_row(self, row: int, pixels: np.ndarray) -> None:
        squared_distances = np.array(self.squared_distances[self._seen :], np.float64)
        self._seen = len(self.squared_distances)
        valid = self._valid.pop(row, None)
        # Made once more only for the sums that the next row shares; its piece is there.
        if row < self.done:
            return
        (first, last), left = self._find_rows(row), self.columns.before
        inside = None if valid is None else valid[first:last, left : left + self.raster.width]
        self.store.write(row, Piece(pixels, inside, squared_distances, tuple(self.raster.warnings)))

    def all_squared_distances(self) -> list[float]:
        """The squared distances of all tiles, also of those that were made before. Raises
        :class:`ImageError`."""
        squared_distances: list[float] = []
        for number in range(self.rows.count):
            squared_distances += self._piece(number).squared_distances.tolist()
        return squared_distances

    def _piece(self, number: int) -> Piece:
        piece = self.store.read(number)
        if piece is None:
            # All pieces: they could be damaged too, and the next run makes them anew.
            self.store.remove()
            raise ImageError("a part of it that was done is damaged; run the same command again")
        return piece

    def assemble(
        self,
        path: Path,
        driver: str,
        extras: RasterExtras,
        watched: Watched,
    ) -> bool:
        """Write the output from the pieces that its rows of tiles made.

        Args:
            path: The output's file.
            driver: GDAL's driver that writes it.
            extras: What the file says beside the pixels.
            watched: Makes the context in which each step is done, so that a step that hangs is
                ended.

        Returns:
            Whether any pixel has data.

        Raises:
            ImageError: A piece is damaged, or the output cannot be written.
        """
        first = self._piece(0).pixels
        shape, dtype = (self.raster.height, self.raster.width, first.shape[2]), first.dtype
        del first  # of megabytes
        with RasterWriter(str(path), driver, shape, dtype, extras) as writer:
            return self._write_rows(writer, dtype, watched)

    def _write_rows(self, writer: RasterWriter, dtype: np.dtype, watched: Watched) -> bool:
        """Whole rows of blocks at a time: a block that is written in two goes is there twice."""
        height, width, bands = writer.shape
        room = min(height, writer.block_rows + self.size)
        pixels = np.empty((room, width, bands), dtype)
        valid = np.ones((room, width), bool) if writer.gaps.is_needed else None
        top = held = 0
        has_data = False
        for number in range(self.rows.count):
            with watched():
                piece = self._piece(number)
            has_data = has_data or piece.valid is None or bool(piece.valid.any())
            known = self.raster.warnings
            known += [warning for warning in piece.warnings if warning not in known]
            until = held + len(piece.pixels)
            pixels[held:until] = piece.pixels
            if valid is not None:
                valid[held:until] = True if piece.valid is None else piece.valid
            is_last = number == self.rows.count - 1
            ready = until if is_last else until // writer.block_rows * writer.block_rows
            held = until - ready
            if not ready:
                continue
            with watched():
                writer.write(top, pixels[:ready], None if valid is None else valid[:ready])
            pixels[:held] = pixels[ready:until].copy()
            if valid is not None:
                valid[:held] = valid[ready:until].copy()
            top += ready
        return has_data

    def restart(self) -> StreamedTiles:
        """Not possible: variants are not made of what does not fit in memory."""
        raise NotImplementedError


class Sums:
    """Adds up tiles that come from left to right and from the top down, each weighted, as
    :class:`pix2pix_batch.imaging.tiling.Tiles` does, to the bit; holds a tile's width of sums, and
    of what is not complete the rows that the next row of tiles shares.

    ``made``: of the row of tiles that was added, ``(h, W, C)`` of the tiles' type.
    """

    def __init__(self, rows: Axis, columns: Axis, tile: np.ndarray) -> None:
        """``tile``: any, ``(size, size, C)``."""
        self.rows, self.columns = rows, columns
        size, _, channels = tile.shape
        self.shared = size - rows.stride
        self.made = np.empty((0, columns.length, channels), tile.dtype)
        self._above = np.zeros((self.shared, columns.padded, channels), np.float32)
        self._window = np.zeros((size, size, channels), np.float32)
        self._inside = 0, 0

    def begin(self, row: int, inside: tuple[int, int]) -> None:
        """A row of tiles, of whose completed rows of pixels those from ``inside[0]`` to
        ``inside[1]`` are image."""
        self._inside = inside
        self.made = np.empty((inside[1] - inside[0], *self.made.shape[1:]), self.made.dtype)
        self._window[:] = 0
        self._window[: self.shared] = self._above[:, : self._window.shape[1]]

    def add(self, row: int, column: int, tile: np.ndarray) -> None:
        """Add a translated tile, the next to the right in its row.

        Args:
            row: The number of its row of tiles.
            column: Its number within the row.
            tile: ``(size, size, C)``.
        """
        size, x = len(tile), column * self.columns.stride
        share = self.rows.weights(row)[:, None] * self.columns.weights(column)
        self._window += tile * share[:, :, None]
        done = size if column == self.columns.count - 1 else self.columns.stride
        self._round(x, done)
        if row < self.rows.count - 1:
            self._above[:, x : x + done] = self._window[self.rows.stride :, :done]
        self._window[:, : size - done] = self._window[:, done:].copy()
        self._window[:, size - done :] = 0
        following = self._above[:, x + size : x + size + done]
        self._window[: self.shared, size - done : size - done + following.shape[1]] = following

    def _round(self, x: int, done: int) -> None:
        """The window's first columns, which lie at ``x``, as far as they are image."""
        before, width = self.columns.before, self.columns.length
        left, right = max(x, before), min(x + done, before + width)
        if left >= right:
            return
        sums = self._window[slice(*self._inside), left - x : right - x].copy()
        self.made[:, left - before : right - before] = round_to(sums, self.made.dtype)


def strip_memory(width: int, size: int, side: ValueRange, outputs: ValueRange) -> int:
    """Compute the most memory that a strip of an image takes, in bytes.

    That is what its rows hold while they are made or, if that is more, while they are put together.

    Args:
        width: The image's width in pixels.
        size: The side of the tiles.
        side: What the model's inputs mean.
        outputs: What its outputs mean.
    """
    columns = Axis.plan(width, size)
    a_made_row = width * count_pixel_bytes(outputs)
    read = max(PANEL, size * size * count_pixel_bytes(side))
    # as it is read, with its bands together, without gaps, mirrored, and what was read before it;
    # the sums that the next row of tiles shares, what is complete, and where there is data
    making = 5 * read + 4 * columns.padded * outputs.channels * (size - columns.stride)
    making += columns.stride * a_made_row + 2 * size * columns.padded
    # what a row of tiles makes, and as much as fills blocks; what is written at once
    putting = (LARGEST_BLOCK + 2 * size) * (a_made_row + width)
    putting += 3 * LARGEST_BLOCK * min(COLUMNS, width) * count_pixel_bytes(outputs)
    return max(making, putting)


def mirror(places: np.ndarray, length: int) -> np.ndarray:
    """Where in an image of ``length`` pixels what lies beyond it is found."""
    if length == 1:
        return np.zeros_like(places)
    period = 2 * (length - 1)
    folded = places % period
    return np.where(folded < length, folded, period - folded)
