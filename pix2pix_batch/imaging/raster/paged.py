"""One page of a GeoTIFF, as GDAL reads a file that has no other.

GDAL gives overviews and masks to the first page of a file alone, those of other pages too
(its "GTiff", "Subdatasets"). So it is shown the file with another beginning, and with an end behind
what belongs to the page; nothing is copied (its "Virtual File Systems", ``/vsisparse/``).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape

from pix2pix_batch.imaging import pages
from pix2pix_batch.imaging.raster import library


class PagedFile:
    """A file of this machine that GDAL reads otherwise in some places; ``name``: by which it does
    so, until it is closed."""

    def __init__(self, path: str, patches: Sequence[tuple[int, bytes]]) -> None:
        """``patches``: offsets and bytes. Raises ``OSError``."""
        patches, size = sorted(patches), os.stat(path).st_size
        memory = library.rasterio().io.MemoryFile
        self._patch: Any = memory(b"".join(data for _, data in patches))
        regions = []
        at = source = 0
        for start, data in patches:
            regions.append(_format_region(path, at, at, start - at))
            regions.append(_format_region(self._patch.name, start, source, len(data)))
            at, source = start + len(data), source + len(data)
        regions.append(_format_region(path, at, at, size - at))
        text = f"<VSISparseFile><Length>{size}</Length>{''.join(regions)}</VSISparseFile>"
        self._file: Any = memory(os.fsencode(text))
        self.name = f"/vsisparse/{self._file.name}"

    def close(self) -> None:
        self._file.close()
        self._patch.close()


@contextlib.contextmanager
def open_named(path: str) -> Iterator[Any]:
    """rasterio's dataset of the file, or of the page, that ``path`` names. Raises what rasterio
    raises, and :class:`ImageError`."""
    file, page = pages.locate(path)
    with contextlib.ExitStack() as stack:
        if page:
            paged = PagedFile(file, pages.find_patches_of_file(file, page))
            stack.callback(paged.close)
            file = paged.name
        yield stack.enter_context(library.open_dataset(file))


def _format_region(path: str, at: int, source: int, length: int) -> str:
    if length <= 0:
        return ""
    return (
        f'<SubfileRegion><Filename relative="0">{escape(os.path.abspath(path))}</Filename>'
        f"<DestinationOffset>{at}</DestinationOffset><SourceOffset>{source}</SourceOffset>"
        f"<RegionLength>{length}</RegionLength></SubfileRegion>"
    )
