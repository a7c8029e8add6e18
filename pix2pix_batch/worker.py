"""The tasks that run on Dask workers.

Importing this module does not import torch: the client does so to name the tasks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pix2pix_batch.converter import Converter
from pix2pix_batch.journal import Record
from pix2pix_batch.probe import probe
from pix2pix_batch.scan import Item
from pix2pix_batch.settings import Settings

__all__ = ["ChunkResult", "convert_chunk", "probe"]


@dataclass(frozen=True)
class ChunkResult:
    """What became of a chunk's items. ``fatal``: why the rest of the job cannot be written."""

    records: list[Record]
    seconds: float
    fatal: str = ""


def convert_chunk(settings: Settings, items: Sequence[Item]) -> ChunkResult:
    """Convert ``items``; one record each, in any order. Running it twice does no harm."""
    start = time.perf_counter()
    converter = Converter(settings)
    converter.run(items)
    return ChunkResult(converter.records, time.perf_counter() - start, converter.fatal)
