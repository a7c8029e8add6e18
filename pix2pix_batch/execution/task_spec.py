"""What is sent to the workers: what all chunks have in common, and a chunk that was sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from pix2pix_batch.execution import worker
from pix2pix_batch.execution.chunk import Chunk
from pix2pix_batch.execution.split_items import Split
from pix2pix_batch.execution.worker import ChunkOptions, ChunkResult
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item

Task = Callable[..., ChunkResult]
"""What is sent to the workers: :func:`worker.convert_chunk`, or what is measured in its place."""


def _keep_whole(item: Item) -> list[Item]:
    return []


@dataclass(frozen=True)
class TaskSpec:
    """What all chunks have in common. ``markers``: a directory that client and workers see, empty
    where there is none; ``streamed``: items come from a pipe, which may make one wait for ever;
    ``split``: makes the parts of an item that several workers are to make."""

    settings: Settings
    chunk_options: ChunkOptions = field(default_factory=ChunkOptions)
    markers: str = ""
    task: Task = worker.convert_chunk
    streamed: bool = False
    split: Split = _keep_whole


@dataclass(frozen=True)
class InFlightChunk:
    """A chunk that was sent. ``marker``: its path; ``to``: the workers that may take it; empty
    for any."""

    chunk: Chunk
    marker: str
    to: frozenset[str]
